//! Bytes that are longer than a row may be, in several rows, with what tells whether
//! they are whole.
//!
//! ```text
//! value = length u32  sha256 [32]  bytes      (cut into rows of 6 KiB)
//! ```

use sha2::{Digest as _, Sha256};

use crate::primitives::limits::PIECE_ROW_BYTES;
use crate::store::{Batch, Engine, StoreError};

/// Length and hash before the bytes.
const HEAD: usize = 36;

/// How many rows so many bytes take.
fn rows_of(length: usize) -> u16 {
    u16::try_from((HEAD + length).div_ceil(PIECE_ROW_BYTES)).unwrap_or(u16::MAX)
}

/// Adds the rows of `bytes` to a batch; `key` gives the key of each part.
pub(super) fn put(batch: &mut Batch, bytes: &[u8], key: impl Fn(u16) -> Vec<u8>) {
    let mut value = Vec::with_capacity(HEAD + bytes.len());
    let length = u32::try_from(bytes.len()).expect("what is kept so has a limit far below");
    value.extend(length.to_be_bytes());
    value.extend(Sha256::digest(bytes));
    value.extend(bytes);
    for (part, piece) in (0_u16..).zip(value.chunks(PIECE_ROW_BYTES)) {
        batch.put(key(part), piece);
    }
}

/// Removes the rows from part `from` on of what is stored now.
///
/// # Errors
/// [`StoreError`] when the first row cannot be read.
pub(super) fn remove(
    engine: &dyn Engine,
    batch: &mut Batch,
    from: u16,
    key: impl Fn(u16) -> Vec<u8>,
) -> Result<(), StoreError> {
    if let Some(length) = engine.get(&key(0))?.as_deref().and_then(length_said) {
        for part in from..rows_of(length) {
            batch.remove(key(part));
        }
    }
    Ok(())
}

/// Adds the rows of `bytes` in the place of what is stored now.
///
/// # Errors
/// [`StoreError`] when the first row cannot be read.
pub(super) fn replace(
    engine: &dyn Engine,
    batch: &mut Batch,
    bytes: &[u8],
    key: impl Fn(u16) -> Vec<u8>,
) -> Result<(), StoreError> {
    remove(engine, batch, rows_of(bytes.len()), &key)?;
    put(batch, bytes, key);
    Ok(())
}

fn length_said(first: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(*first.first_chunk()?)).ok()
}

/// The bytes, `None` where there are none; `what` they are stands in the error.
///
/// # Errors
/// [`StoreError::Damaged`] where they are not what was written, or more than `most`.
pub(super) fn read(
    engine: &dyn Engine,
    most: usize,
    key: impl Fn(u16) -> Vec<u8>,
    what: impl Fn() -> String,
) -> Result<Option<Vec<u8>>, StoreError> {
    let row = |part| engine.get(&key(part));
    let Some(mut value) = row(0)? else {
        return Ok(None);
    };
    let damaged = || StoreError::Damaged(what());
    let length = length_said(&value)
        .filter(|length| *length <= most)
        .ok_or_else(damaged)?;
    let mut part = 1;
    while value.len() < HEAD + length {
        value.extend(row(part)?.filter(|piece| !piece.is_empty()).ok_or_else(damaged)?);
        part += 1;
    }
    // A longer one may have stood there before; its last rows are no part of this.
    value.truncate(HEAD + length);
    if value.len() < HEAD {
        return Err(damaged());
    }
    let bytes = value.split_off(HEAD);
    if Sha256::digest(&bytes).as_slice() != &value[4..] {
        return Err(damaged());
    }
    Ok(Some(bytes))
}

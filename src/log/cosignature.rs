//! Witness cosignatures, Ed25519 (c2sp.org/tlog-cosignature v1.1.0-rc.1).

use ed25519_dalek::{Signature, VerifyingKey};

use super::{KeyKind, LogError, NoteSignature, VerifierKey};
use crate::primitives::UnixSeconds;

/// What a cosignature signs: two header lines, then the checkpoint's whole
/// body, extension lines included.
#[must_use]
pub fn message(time: UnixSeconds, body: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{body}").into_bytes()
}

/// Cosigns the body of a checkpoint: `sign` is given the bytes to sign. The
/// caller has checked the checkpoint's signature and consistency, and has made
/// what it witnesses durable.
///
/// # Errors
/// [`LogError::WrongKey`] when the key is none for cosignatures,
/// [`LogError::Checkpoint`] when `time` is past 2^63 - 1.
pub fn cosign(
    body: &str,
    key: &VerifierKey,
    time: UnixSeconds,
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> Result<NoteSignature, LogError> {
    if key.kind() != KeyKind::Cosignature {
        return Err(LogError::WrongKey {
            name: key.name().to_owned(),
        });
    }
    if i64::try_from(time.0).is_err() {
        return Err(LogError::Checkpoint("a cosignature's time is below 2^63"));
    }
    let signature = sign(&message(time, body));
    let payload = [&time.0.to_be_bytes()[..], &signature].concat();
    Ok(NoteSignature::by(key, payload))
}

/// Checks a cosignature's payload (8 bytes of big-endian time, 64 of
/// signature) over `body`; the time when it holds.
pub(super) fn verify(body: &str, payload: &[u8], key: &VerifyingKey) -> Option<UnixSeconds> {
    let (time, signature) = payload.split_first_chunk::<8>()?;
    let time = UnixSeconds(u64::from_be_bytes(*time));
    i64::try_from(time.0).ok()?;
    let signature = Signature::from_slice(signature).ok()?;
    key.verify_strict(&message(time, body), &signature).ok()?;
    Some(time)
}

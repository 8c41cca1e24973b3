//! Bodies of the messages `entries-request` and `entries` (`schemas/entries.cddl`). Pure.
//!
//! ```text
//! entries-request = [1, path, offset] / [2, list, index, log-size]
//! entries         = [1, length, bytes] / [2, entry, entry-path, leaf, tag, tag-path, log] / [3]
//! ```

use serde_cbor::Value;

use crate::encoding::cbor::{GateError, as_array, as_byte_array, as_bytes, as_int, as_text};
use crate::encoding::cbor_write as write;
use crate::federation::redemption::wire::{LogState, read_hashes, write_hashes};
use crate::log::TilePath;
use crate::log::tile_path::TileKind;
use crate::merkle::Hash;
use crate::primitives::{CouponName, Tag, limits};

/// What a member asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A bundle of entries or a tile of tags, as c2sp.org/tlog-tiles has it.
    File {
        /// Which: of entries or of tags.
        path: TilePath,
        /// The bytes from here on: a file may be longer than an answer.
        offset: u64,
    },
    /// What proves that a coupon was issued.
    Coupon {
        /// What it is called.
        name: CouponName,
        /// Entries of the log that the one who asks has verified.
        log_size: u64,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A file, or a piece of it.
    Piece {
        /// Bytes of the whole file.
        length: u64,
        /// Those from the offset on, as many as an answer carries.
        bytes: Vec<u8>,
    },
    /// The way from a coupon to the log's checkpoint.
    Coupon(Box<CouponPath>),
    /// The log has no such entries, or no such coupon was issued.
    Nothing,
}

/// The way from a coupon's tag to the root in its batch's entry, and from that entry to
/// the root in the log's checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CouponPath {
    /// The batch's entry; it says its index itself.
    pub entry: Vec<u8>,
    /// Its audit path in the checkpoint's tree (RFC 9162).
    pub entry_path: Vec<Hash>,
    /// The coupon's number in the batch, from 0.
    pub leaf: u32,
    /// The tag of the coupon of that name.
    pub tag: Tag,
    /// Its audit path in the batch.
    pub tag_path: Vec<Hash>,
    /// The log, as that tree is its.
    pub log: LogState,
}

const NOT_A_REQUEST: &str = "a request for entries is one of the forms in schemas/entries.cddl";
const NOT_AN_ANSWER: &str = "an answer about entries is one of the forms in schemas/entries.cddl";

impl Request {
    /// The body of the message that carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        match self {
            Self::File { path, offset } => {
                write::head(&mut out, write::ARRAY, 3);
                write::uint(&mut out, 1);
                write::text(&mut out, &path.to_string());
                write::uint(&mut out, *offset);
            }
            Self::Coupon { name, log_size } => {
                write::head(&mut out, write::ARRAY, 4);
                write::uint(&mut out, 2);
                write::uint(&mut out, name.list.into());
                write::uint(&mut out, name.index.into());
                write::uint(&mut out, *log_size);
            }
        }
        out
    }

    /// Reads such a body.
    ///
    /// # Errors
    /// [`GateError`], also for a file that is not read by message.
    pub fn decode(body: &Value) -> Result<Self, GateError> {
        let what = NOT_A_REQUEST;
        match as_array(body, what)? {
            [Value::Integer(1), path, offset] => {
                let path = TilePath::parse(as_text(path, what)?)
                    .map_err(|_| GateError::Shape("a path is tile/entries/NUMBER or tile/tags/NUMBER"))?;
                if !matches!(path.kind(), TileKind::Entries | TileKind::Tags) {
                    return Err(GateError::Shape(
                        "entries and tags are asked for by message: hashes are everyone's, stubs an auditor's",
                    ));
                }
                let offset = as_int(offset, what)?;
                Ok(Self::File { path, offset })
            }
            [Value::Integer(2), list, index, log_size] => {
                let name = CouponName {
                    list: as_int(list, what)?,
                    index: as_int(index, what)?,
                };
                if name.index >= limits::STATUS_LIST_LEN {
                    return Err(GateError::Shape("an index is below the length of a status list"));
                }
                let log_size = as_int(log_size, what)?;
                Ok(Self::Coupon { name, log_size })
            }
            _ => Err(GateError::Shape(what)),
        }
    }
}

impl Answer {
    /// The body of the message that carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        match self {
            Self::Piece { length, bytes } => {
                write::head(&mut out, write::ARRAY, 3);
                write::uint(&mut out, 1);
                write::uint(&mut out, *length);
                write::bytes(&mut out, bytes);
            }
            Self::Coupon(path) => {
                write::head(&mut out, write::ARRAY, 7);
                write::uint(&mut out, 2);
                write::bytes(&mut out, &path.entry);
                write_hashes(&mut out, &path.entry_path);
                write::uint(&mut out, path.leaf.into());
                write::bytes(&mut out, &path.tag.0);
                write_hashes(&mut out, &path.tag_path);
                path.log.write(&mut out);
            }
            Self::Nothing => {
                write::head(&mut out, write::ARRAY, 1);
                write::uint(&mut out, 3);
            }
        }
        out
    }

    /// Reads such a body.
    ///
    /// # Errors
    /// [`GateError`].
    pub fn decode(body: &Value) -> Result<Self, GateError> {
        let what = NOT_AN_ANSWER;
        match as_array(body, what)? {
            [Value::Integer(1), length, bytes] => {
                let bytes = as_bytes(bytes, what)?;
                if bytes.is_empty() {
                    return Err(GateError::Shape("a piece of a file is not empty"));
                }
                Ok(Self::Piece {
                    length: as_int(length, what)?,
                    bytes: bytes.to_vec(),
                })
            }
            [Value::Integer(2), entry, entry_path, leaf, tag, tag_path, log] => {
                Ok(Self::Coupon(Box::new(CouponPath {
                    entry: as_bytes(entry, what)?.to_vec(),
                    entry_path: read_hashes(entry_path, what)?,
                    leaf: as_int(leaf, what)?,
                    tag: Tag(as_byte_array(tag, what)?),
                    tag_path: read_hashes(tag_path, what)?,
                    log: LogState::read(log)?,
                })))
            }
            [Value::Integer(3)] => Ok(Self::Nothing),
            _ => Err(GateError::Shape(what)),
        }
    }
}

//! What is written down of an audit, so that a later one goes on with it: a file of the
//! auditor's own.
//!
//! ```text
//! "tallystick audit state 2\n"
//! the log's key; the signed checkpoint up to which the log was known; whether stubs
//! and tags could be had
//! what the pass has gathered (`Pass::write`)
//! SHA-256 of all before it
//! ```
//!
//! Numbers are big-endian and have their type's length; texts, lists and tables begin
//! with their length in eight bytes. The checksum tells damage from what was written,
//! and is no signature: who goes on with a state trusts whoever has kept it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hash};
use std::io::{self, BufReader, Read, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::AuditError;
use super::pass::Pass;
use crate::credential::Terms;
use crate::encoding::cbor;
use crate::ledger::{CampaignState, Event, Intent, RegisterState, State, StatusFlags};
use crate::merkle::TileBuilder;
use crate::primitives::limits::ENTRY_BYTES_MAX;
use crate::primitives::{
    Amount, CampaignId, CouponName, Digest, Position, RedemptionId, Register, Tag, UnixSeconds,
};

const MAGIC: &[u8] = b"tallystick audit state 2\n";

const SEAL_LEN: u64 = 32;

/// Bytes that are hashed and written together.
const PIECE: usize = 64 * 1024;

/// What stands at the beginning.
pub(super) struct Head {
    /// The log's key.
    pub log_key: String,
    /// A checkpoint that the log has signed, of these entries or more.
    pub note: Vec<u8>,
    /// Stubs and tags could be had beside all entries.
    pub has_stubs: bool,
}

/// A file that is whole, read up to what the pass has gathered.
pub(super) struct SavedAudit {
    pub head: Head,
    pub rest: In,
}

impl SavedAudit {
    /// Opens the state in `path`; `None` where there is no such file.
    pub fn open(path: &Path) -> Result<Option<Self>, AuditError> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("read", path, source)),
        };
        let content = check_seal(&mut file).map_err(|source| failed("read", path, source))?;
        let opened = content.and_then(|left| {
            let mut rest = In {
                file: BufReader::with_capacity(PIECE, file),
                left,
            };
            rest.take(MAGIC.len() as u64)?;
            let head = Head::read(&mut rest)?;
            Ok(Self { head, rest })
        });
        opened.map(Some).map_err(|why| AuditError::State {
            path: path.to_owned(),
            why,
        })
    }

    /// Nothing may follow.
    pub fn end(self) -> Result<(), String> {
        match self.rest.left {
            0 => Ok(()),
            left => Err(format!("{left} bytes too many stand in it")),
        }
    }
}

/// Length of what stands before the seal; why it is no such file.
fn check_seal(file: &mut File) -> io::Result<Result<u64, String>> {
    let wrong = |why: &str| Ok(Err(why.to_owned()));
    let len = file.metadata()?.len();
    let mut first = [0; MAGIC.len()];
    if len < MAGIC.len() as u64 + SEAL_LEN {
        return wrong("it is too short");
    }
    file.read_exact(&mut first)?;
    if first != MAGIC {
        return wrong("it is something else, or was made by another version of the program");
    }
    let mut left = len - SEAL_LEN;
    file.rewind()?;
    let (mut hasher, mut piece) = (Sha256::new(), vec![0; PIECE]);
    while left > 0 {
        let some = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        file.read_exact(&mut piece[..some])?;
        hasher.update(&piece[..some]);
        left -= some as u64;
    }
    let mut seal = [0; SEAL_LEN as usize];
    file.read_exact(&mut seal)?;
    file.rewind()?;
    if hasher.finalize()[..] != seal {
        return wrong("it was damaged, or cut off: its checksum does not fit");
    }
    Ok(Ok(len - SEAL_LEN))
}

/// Writes the state to `path` in the place of what is there, all of it or nothing.
pub(super) fn save(path: &Path, head: &Head, pass: &Pass<'_>) -> Result<(), AuditError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let written = || {
        // What an audit that was killed has left there.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // It tells a shop's trade.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        let mut out = Out {
            file,
            hasher: Sha256::new(),
            piece: MAGIC.to_vec(),
        };
        head.write(&mut out)?;
        pass.write(&mut out)?;
        out.seal()?.sync_all()?;
        fs::rename(&beside, path)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
    };
    written().map_err(|source| failed("write", path, source))
}

fn failed(what: &str, path: &Path, source: io::Error) -> AuditError {
    AuditError::Io {
        context: format!("could not {what} the audit's state {}", path.display()),
        source,
    }
}

/// A state that is being written.
pub(super) struct Out {
    file: File,
    hasher: Sha256,
    piece: Vec<u8>,
}

impl Out {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() < PIECE {
            return Ok(());
        }
        self.hasher.update(&self.piece);
        self.file.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }

    fn seal(mut self) -> io::Result<File> {
        self.hasher.update(&self.piece);
        self.file.write_all(&self.piece)?;
        self.file.write_all(&self.hasher.finalize())?;
        Ok(self.file)
    }
}

/// A state that is being read.
pub(super) struct In {
    file: BufReader<File>,
    left: u64,
}

impl In {
    fn take(&mut self, len: u64) -> Result<Vec<u8>, String> {
        let within = usize::try_from(len).ok().filter(|_| len <= self.left);
        let mut bytes = vec![0; within.ok_or("a length in it reaches beyond its end")?];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or("it ends too early")?;
        self.file.read_exact(bytes).map_err(|error| error.to_string())
    }

    /// How many elements follow; each takes a byte at least.
    fn count(&mut self) -> Result<usize, String> {
        let count = u64::read(self)?;
        let within = usize::try_from(count).ok().filter(|_| count <= self.left);
        within.ok_or_else(|| "a length in it reaches beyond its end".to_owned())
    }
}

/// What can be written down and read again.
pub(super) trait Keep: Sized {
    fn write(&self, out: &mut Out) -> io::Result<()>;

    /// Errors say why it cannot be what was written.
    fn read(from: &mut In) -> Result<Self, String>;
}

/// A structure is its fields, one after the other.
macro_rules! keep {
    ($kept:ty { $($field:ident),* $(,)? }) => {
        impl $crate::node::audit::saved::Keep for $kept {
            fn write(&self, out: &mut $crate::node::audit::saved::Out) -> std::io::Result<()> {
                $($crate::node::audit::saved::Keep::write(&self.$field, out)?;)*
                Ok(())
            }

            fn read(from: &mut $crate::node::audit::saved::In) -> Result<Self, String> {
                Ok(Self { $($field: $crate::node::audit::saved::Keep::read(from)?),* })
            }
        }
    };
}
pub(super) use keep;

keep!(Head {
    log_key,
    note,
    has_stubs,
});
keep!(CouponName { list, index });
keep!(RegisterState {
    last_sequence_number,
    as_of,
});
keep!(CampaignState {
    terms,
    issued_at,
    not_before,
    not_after,
    entry,
    issued,
    redemptions,
    spent,
    flags,
    as_of,
});

macro_rules! keep_numbers {
    ($($number:ty),*) => {$(
        impl Keep for $number {
            fn write(&self, out: &mut Out) -> io::Result<()> {
                out.put(&self.to_be_bytes())
            }

            fn read(from: &mut In) -> Result<Self, String> {
                let mut bytes = [0; size_of::<Self>()];
                from.fill(&mut bytes)?;
                Ok(Self::from_be_bytes(bytes))
            }
        }
    )*};
}
keep_numbers!(u8, u32, u64, i64, i128);

impl<const N: usize> Keep for [u8; N] {
    fn write(&self, out: &mut Out) -> io::Result<()> {
        out.put(self)
    }

    fn read(from: &mut In) -> Result<Self, String> {
        let mut bytes = [0; N];
        from.fill(&mut bytes)?;
        Ok(bytes)
    }
}

/// What is written as something else: how it becomes that, and what it is made from.
macro_rules! keep_as {
    ($($kept:ty as $plain:ty: $to:expr, $of:expr;)*) => {$(
        impl Keep for $kept {
            fn write(&self, out: &mut Out) -> io::Result<()> {
                let to: fn(&Self) -> $plain = $to;
                to(self).write(out)
            }

            fn read(from: &mut In) -> Result<Self, String> {
                let of: fn($plain) -> Result<Self, String> = $of;
                of(Keep::read(from)?)
            }
        }
    )*};
}
keep_as! {
    bool as u8: |is| u8::from(*is), |byte| match byte {
        0 | 1 => Ok(byte == 1),
        _ => Err("it is neither yes nor no where it should be one".to_owned()),
    };
    Digest as [u8; 32]: |digest| digest.0, |bytes| Ok(Self(bytes));
    Tag as [u8; Tag::LEN]: |tag| tag.0, |bytes| Ok(Self(bytes));
    CampaignId as [u8; CampaignId::LEN]: |id| id.0, |bytes| Ok(Self(bytes));
    RedemptionId as [u8; RedemptionId::LEN]: |id| id.0, |bytes| Ok(Self(bytes));
    UnixSeconds as u64: |time| time.0, |seconds| Ok(Self(seconds));
    Position as u64: |position| position.0, |number| Ok(Self(number));
    StatusFlags as u8: |flags| flags.to_byte(), |byte| Ok(Self::from_byte(byte));
    Amount as i64: |amount| amount.minor_units(), |units| Self::new(units).map_err(|error| error.to_string());
    Register as String: |register| register.as_str().to_owned(),
        |name| Self::new(&name).map_err(|error| error.to_string());
    Arc<str> as String: |text| text.to_string(), |text| Ok(Self::from(text));
    Intent as Vec<u8>: |intent| Event::Intent(intent.clone()).encode_body(None, [0; 16]), read_intent;
    Terms as Vec<u8>: Terms::encode, |bytes| Self::decode(&bytes).map_err(|error| error.to_string());
}

/// An intent as its entry has it.
fn read_intent(body: Vec<u8>) -> Result<Intent, String> {
    let value = cbor::decode(&body, ENTRY_BYTES_MAX).map_err(|error| error.to_string())?;
    let kind = Intent::KIND;
    match Event::from_body(kind, &value).map_err(|error| error.to_string())? {
        (Event::Intent(intent), _) => Ok(intent),
        _ => Err("it has another entry where an intent should be".to_owned()),
    }
}

impl Keep for String {
    fn write(&self, out: &mut Out) -> io::Result<()> {
        (self.len() as u64).write(out)?;
        out.put(self.as_bytes())
    }

    fn read(from: &mut In) -> Result<Self, String> {
        let len = u64::read(from)?;
        Self::from_utf8(from.take(len)?).map_err(|error| error.to_string())
    }
}

impl<T: Keep> Keep for Option<T> {
    fn write(&self, out: &mut Out) -> io::Result<()> {
        self.is_some().write(out)?;
        self.as_ref().map_or(Ok(()), |value| value.write(out))
    }

    fn read(from: &mut In) -> Result<Self, String> {
        bool::read(from)?.then(|| T::read(from)).transpose()
    }
}

impl<A: Keep, B: Keep> Keep for (A, B) {
    fn write(&self, out: &mut Out) -> io::Result<()> {
        self.0.write(out)?;
        self.1.write(out)
    }

    fn read(from: &mut In) -> Result<Self, String> {
        Ok((A::read(from)?, B::read(from)?))
    }
}

impl<T: Keep> Keep for Vec<T> {
    fn write(&self, out: &mut Out) -> io::Result<()> {
        (self.len() as u64).write(out)?;
        self.iter().try_for_each(|one| one.write(out))
    }

    fn read(from: &mut In) -> Result<Self, String> {
        let count = from.count()?;
        (0..count).map(|_| T::read(from)).collect()
    }
}

/// Tables and sets are written as their elements.
macro_rules! keep_each {
    ($([$($bound:tt)*] $kept:ty: $write:expr;)*) => {$(
        impl<$($bound)*> Keep for $kept {
            fn write(&self, out: &mut Out) -> io::Result<()> {
                (self.len() as u64).write(out)?;
                let write = $write;
                self.iter().try_for_each(|one| write(one, out))
            }

            fn read(from: &mut In) -> Result<Self, String> {
                let count = from.count()?;
                (0..count).map(|_| Keep::read(from)).collect()
            }
        }
    )*};
}
keep_each! {
    [K: Keep + Ord, V: Keep] BTreeMap<K, V>: |(key, value): (&K, &V), out: &mut Out| write_pair(key, value, out);
    [K: Keep + Eq + Hash, V: Keep, S: BuildHasher + Default] HashMap<K, V, S>:
        |(key, value): (&K, &V), out: &mut Out| write_pair(key, value, out);
    [T: Keep + Ord] BTreeSet<T>: |one: &T, out: &mut Out| one.write(out);
    [T: Keep + Eq + Hash, S: BuildHasher + Default] HashSet<T, S>: |one: &T, out: &mut Out| one.write(out);
}

fn write_pair<K: Keep, V: Keep>(key: &K, value: &V, out: &mut Out) -> io::Result<()> {
    key.write(out)?;
    value.write(out)
}

impl Keep for TileBuilder {
    fn write(&self, out: &mut Out) -> io::Result<()> {
        let (size, peaks, unfinished) = self.parts();
        size.write(out)?;
        peaks.to_vec().write(out)?;
        unfinished.to_vec().write(out)
    }

    fn read(from: &mut In) -> Result<Self, String> {
        let (size, peaks, unfinished) = (Keep::read(from)?, Keep::read(from)?, Keep::read(from)?);
        Self::from_parts(size, peaks, unfinished).ok_or_else(|| "its tree is none".to_owned())
    }
}

/// Coupons, redemptions and the statuses of lists are in the ledger's state only
/// while an entry is judged.
impl Keep for State {
    fn write(&self, out: &mut Out) -> io::Result<()> {
        self.did.write(out)?;
        self.campaigns.write(out)?;
        self.registers.write(out)?;
        self.list_versions.write(out)?;
        self.next_position.write(out)
    }

    fn read(from: &mut In) -> Result<Self, String> {
        Ok(Self {
            did: Keep::read(from)?,
            campaigns: Keep::read(from)?,
            registers: Keep::read(from)?,
            list_versions: Keep::read(from)?,
            next_position: Keep::read(from)?,
            ..Self::default()
        })
    }
}

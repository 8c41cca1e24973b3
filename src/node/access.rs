//! Access keys: what tills, the office and auditors send as
//! `Authorization: Bearer …` (formats, section 4, 'Who may read').
//!
//! A key is shown once, when it is made, and kept only as its SHA-256, in an
//! owner-only file `keys/access.json`. A fast hash is right here: a key is 256
//! random bits, not a password, so there is nothing to guess that a slow hash
//! would protect, and the check stands on the path of every request. A key is
//! looked up by its hash; comparing hashes need not take constant time, for
//! what a clock could tell about a hash says nothing about its preimage.
//!
//! The file is replaced whole (written beside, synced, renamed, directory
//! synced), under a lock file, so that two commands at once lose nothing and a
//! serving node never sees a half.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::primitives::{Digest, Entropy, Register, UnixSeconds, limits};

/// The file's name in the directory of keys.
pub const ACCESS_FILE: &str = "access.json";

const VERSION: u32 = 1;
const FILE_MODE: u32 = 0o600;
const GROUP_AND_OTHERS: u32 = 0o077;

/// How often a serving node looks whether the file has changed, at most.
const RECHECK: Duration = Duration::from_secs(1);

/// Why access keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// There is no such file.
    #[error("{path} is missing: restore it from your backup, or make keys with `tallystick key add`")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Others than the owner can read it.
    #[error("{path} has mode {mode:04o}, so others than its owner can get at it: run `chmod 600 {path}`")]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is not what this program writes.
    #[error("{path} cannot be read as a file of access keys: {why}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No key has that id.
    #[error("there is no access key with the id {0}; `tallystick key list` shows them")]
    Unknown(String),
    /// A label is text of 1 to 128 bytes on one line.
    #[error("a key's label is text of 1 to 128 bytes on one line")]
    Label,
    /// The operating system refused.
    #[error("{path}: {}", crate::primitives::WithRemedy(source))]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What a key may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Receipts and redemptions at one register.
    Till(Register),
    /// Everything.
    Office,
    /// Reads receipts, redemptions and entries.
    Auditor,
}

impl Role {
    /// Its word: `till`, `office` or `auditor`. Keys begin with it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Till(_) => "till",
            Self::Office => "office",
            Self::Auditor => "auditor",
        }
    }

    /// The register that it is bound to.
    #[must_use]
    pub fn register(&self) -> Option<&Register> {
        match self {
            Self::Till(register) => Some(register),
            _ => None,
        }
    }
}

/// An access key without the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// What it is called in lists and logs: eight hexadecimal digits.
    pub id: String,
    /// What it may do.
    pub role: Role,
    /// What people call it.
    pub label: String,
    /// When it was made.
    pub created: UnixSeconds,
    /// When it was revoked, if it was.
    pub revoked: Option<UnixSeconds>,
    hash: Digest,
}

/// A key as it is shown, once. Wiped from memory when dropped.
#[derive(Debug)]
pub struct NewKey {
    /// What it is called.
    pub id: String,
    /// What its holder sends: role, `_`, and 32 random bytes in base64url.
    pub key: Zeroizing<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    keys: Vec<StoredKey>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    id: String,
    role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    register: Option<String>,
    label: String,
    created: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<u64>,
    sha256: String,
}

impl From<&AccessKey> for StoredKey {
    fn from(key: &AccessKey) -> Self {
        Self {
            id: key.id.clone(),
            role: key.role.word().to_owned(),
            register: key.role.register().map(ToString::to_string),
            label: key.label.clone(),
            created: key.created.0,
            revoked: key.revoked.map(|at| at.0),
            sha256: key.hash.to_string(),
        }
    }
}

impl StoredKey {
    fn read(self) -> Result<AccessKey, String> {
        let register = self.register.map(Register::new).transpose();
        let register = register.map_err(|error| format!("key {}: {error}", self.id))?;
        let role = match (self.role.as_str(), register) {
            ("till", Some(register)) => Role::Till(register),
            ("office", None) => Role::Office,
            ("auditor", None) => Role::Auditor,
            _ => {
                return Err(format!(
                    "key {}: a role is till with a register, office, or auditor",
                    self.id
                ));
            }
        };
        let hash = Digest::parse(&self.sha256).ok_or(format!("key {}: sha256 is no hash", self.id))?;
        Ok(AccessKey {
            id: self.id,
            role,
            label: self.label,
            created: UnixSeconds(self.created),
            revoked: self.revoked.map(UnixSeconds),
            hash,
        })
    }
}

/// The file of access keys, as commands use it.
#[derive(Clone, Debug)]
pub struct AccessFile {
    path: PathBuf,
}

impl AccessFile {
    /// The file in the directory of keys `keys`; nothing is read yet.
    #[must_use]
    pub fn in_dir(keys: &Path) -> Self {
        Self {
            path: keys.join(ACCESS_FILE),
        }
    }

    /// Makes a key. The file is made when it is missing.
    ///
    /// # Errors
    /// [`AccessError`]; no key was made then.
    pub fn add(
        &self,
        role: Role,
        label: &str,
        now: UnixSeconds,
        entropy: &dyn Entropy,
    ) -> Result<NewKey, AccessError> {
        let plain = (1..=limits::REFERENCE_BYTES_MAX).contains(&label.len());
        if !plain || label.chars().any(char::is_control) {
            return Err(AccessError::Label);
        }
        let key = new_key(&role, entropy);
        let id = HEXLOWER.encode(&entropy.bytes::<4>());
        let _lock = self.lock()?;
        let mut keys = match self.list() {
            Err(AccessError::Missing { .. }) => Vec::new(),
            read => read?,
        };
        keys.push(AccessKey {
            id: id.clone(),
            role,
            label: label.to_owned(),
            created: now,
            revoked: None,
            hash: hash_of(&key),
        });
        self.replace(&keys)?;
        Ok(NewKey { id, key })
    }

    /// All keys, in the order in which they were made.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn list(&self) -> Result<Vec<AccessKey>, AccessError> {
        Ok(self.read()?.0)
    }

    /// Revokes the key `id`, which stays in the list. A node that runs refuses
    /// it within a second or two.
    ///
    /// # Errors
    /// [`AccessError::Unknown`] and the others.
    pub fn revoke(&self, id: &str, now: UnixSeconds) -> Result<AccessKey, AccessError> {
        let _lock = self.lock()?;
        let mut keys = self.list()?;
        let key = keys
            .iter_mut()
            .find(|key| key.id == id)
            .ok_or_else(|| AccessError::Unknown(id.to_owned()))?;
        key.revoked.get_or_insert(now);
        let revoked = key.clone();
        self.replace(&keys)?;
        Ok(revoked)
    }

    fn read(&self) -> Result<(Vec<AccessKey>, Version), AccessError> {
        let mut file = File::open(&self.path).map_err(|source| self.io(source))?;
        let metadata = file.metadata().map_err(|source| self.io(source))?;
        let mode = metadata.mode() & 0o7777;
        if mode & GROUP_AND_OTHERS != 0 {
            return Err(AccessError::TooOpen {
                path: self.path.clone(),
                mode,
            });
        }
        let mut bytes = Vec::new();
        (&mut file)
            .take(limits::ACCESS_FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| self.io(source))?;
        let malformed = |why: String| AccessError::Malformed {
            path: self.path.clone(),
            why,
        };
        if bytes.len() as u64 > limits::ACCESS_FILE_BYTES_MAX {
            return Err(malformed("it is too long".to_owned()));
        }
        Ok((parse(&bytes).map_err(malformed)?, Version::of(&metadata)))
    }

    fn replace(&self, keys: &[AccessKey]) -> Result<(), AccessError> {
        let bytes = write(keys);
        if bytes.len() as u64 > limits::ACCESS_FILE_BYTES_MAX {
            return Err(AccessError::Malformed {
                path: self.path.clone(),
                why: "with one more key it would be too long; remove revoked ones".to_owned(),
            });
        }
        let beside = self.path.with_extension("json.new");
        let replaced = || {
            // What a command that was killed has left there.
            match fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(FILE_MODE)
                .open(&beside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&beside, &self.path)?;
            File::open(self.dir())?.sync_all()
        };
        replaced().map_err(|source| self.io(source))
    }

    /// Held while the file is read, changed and replaced.
    fn lock(&self) -> Result<File, AccessError> {
        let path = self.path.with_extension("lock");
        let lock = || {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(FILE_MODE)
                .open(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|source| AccessError::Io {
            path: path.clone(),
            source,
        })
    }

    fn dir(&self) -> &Path {
        match self.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        }
    }

    fn io(&self, source: io::Error) -> AccessError {
        let path = self.path.clone();
        if source.kind() == io::ErrorKind::NotFound {
            AccessError::Missing { path }
        } else {
            AccessError::Io { path, source }
        }
    }
}

/// Reads the text of the file; what is wrong with it otherwise.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<AccessKey>, String> {
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if stored.version != VERSION {
        return Err(format!(
            "it has version {}, this program reads {VERSION}",
            stored.version
        ));
    }
    stored.keys.into_iter().map(StoredKey::read).collect()
}

/// The text of the file.
pub(crate) fn write(keys: &[AccessKey]) -> Vec<u8> {
    let stored = Stored {
        version: VERSION,
        keys: keys.iter().map(StoredKey::from).collect(),
    };
    let mut bytes = serde_json::to_vec_pretty(&stored).expect("plain members only");
    bytes.push(b'\n');
    bytes
}

/// What tells one file from the one that replaced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
    size: u64,
}

impl Version {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
            size: metadata.len(),
        }
    }
}

/// The keys as a serving node uses them: read again when the file has changed,
/// so that keys are made and revoked while it runs.
#[derive(Debug)]
pub struct AccessKeys {
    file: AccessFile,
    loaded: RwLock<HashMap<[u8; 32], Arc<AccessKey>>>,
    /// Known to this process only, never written.
    one_off: RwLock<Option<Arc<AccessKey>>>,
    checked: Mutex<Checked>,
    recheck: Duration,
}

#[derive(Debug)]
struct Checked {
    at: Instant,
    version: Option<Version>,
}

impl AccessKeys {
    /// Reads the file.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn open(file: AccessFile) -> Result<Self, AccessError> {
        let (keys, version) = file.read()?;
        Ok(Self {
            file,
            loaded: RwLock::new(by_hash(keys)),
            one_off: RwLock::default(),
            checked: Mutex::new(Checked {
                at: Instant::now(),
                version: Some(version),
            }),
            recheck: RECHECK,
        })
    }

    /// Looks at the file on every use, as tests like it.
    #[must_use]
    pub fn checking_always(mut self) -> Self {
        self.recheck = Duration::ZERO;
        self
    }

    /// Makes a key that is written nowhere and gone with this process, for a
    /// command that serves a directory to itself. There is one at a time.
    #[must_use]
    pub fn add_one_off(&self, role: Role, now: UnixSeconds, entropy: &dyn Entropy) -> Zeroizing<String> {
        let key = new_key(&role, entropy);
        let made = Arc::new(AccessKey {
            id: "one-off".to_owned(),
            role,
            label: "a command of this process".to_owned(),
            created: now,
            revoked: None,
            hash: hash_of(&key),
        });
        *self.one_off.write().expect("no holder of this lock panics") = Some(made);
        key
    }

    /// The key that `presented` is, unless it was revoked.
    #[must_use]
    pub fn find(&self, presented: &str) -> Option<Arc<AccessKey>> {
        self.refresh();
        let hash = hash_of(presented);
        let loaded = self.loaded.read().expect("no holder of this lock panics");
        if let Some(found) = loaded.get(&hash.0) {
            return Some(Arc::clone(found));
        }
        let one_off = self.one_off.read().expect("no holder of this lock panics");
        one_off.clone().filter(|key| key.hash == hash)
    }

    fn refresh(&self) {
        // Whoever finds the lock taken goes by what is loaded: another is looking.
        let Ok(mut checked) = self.checked.try_lock() else {
            return;
        };
        if checked.at.elapsed() < self.recheck {
            return;
        }
        checked.at = Instant::now();
        let version = fs::metadata(&self.file.path)
            .ok()
            .map(|found| Version::of(&found));
        if version == checked.version {
            return;
        }
        checked.version = version;
        match self.file.read() {
            Ok((keys, version)) => {
                checked.version = Some(version);
                *self.loaded.write().expect("no holder of this lock panics") = by_hash(keys);
                tracing::info!("access keys were read again");
            }
            // Locking every till out over a slip in the file would be worse.
            Err(error) => tracing::error!(%error, "access keys could not be read again; the last ones stay"),
        }
    }
}

fn by_hash(keys: Vec<AccessKey>) -> HashMap<[u8; 32], Arc<AccessKey>> {
    let valid = keys.into_iter().filter(|key| key.revoked.is_none());
    valid.map(|key| (key.hash.0, Arc::new(key))).collect()
}

/// Role, `_`, and 32 random bytes in base64url.
fn new_key(role: &Role, entropy: &dyn Entropy) -> Zeroizing<String> {
    let random = Zeroizing::new(entropy.bytes::<32>());
    Zeroizing::new(format!(
        "{}_{}",
        role.word(),
        BASE64URL_NOPAD.encode(random.as_slice())
    ))
}

fn hash_of(key: &str) -> Digest {
    Digest(Sha256::digest(key).into())
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;

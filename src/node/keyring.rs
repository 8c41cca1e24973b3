//! A node's keys on disk: `DIR/keys/`, owner-only.
//!
//! ```text
//! credential.pem      signs credentials
//! credential-next.pem the one that takes its place
//! credential-KID.pem  one that was in its place before: what it signed is signed again
//! log.pem             signs checkpoints
//! witness.pem         cosigns other logs
//! messages.pem        signs messages to other nodes
//! messages-next.pem   the one that takes its place, once it is listed in the roster
//! index-secret.pem    keys the status-index permutation
//! request-secret.pem  keys the hashes of requests in entries
//! ```
//! `KID` is the key's own in hex (16 digits); files of other names are let be.
//!
//! All are PKCS#8 PEM files, encrypted where the node has a passphrase. `messages.pem`
//! came later than the others: a directory without it gets one ([`complete`]).
//! The two secrets are no Ed25519 keys, but 32 random bytes kept in the same
//! form, so that one passphrase covers all.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::credential::{KeyError, SecretKey};
use crate::primitives::{Entropy, KeyId, limits};

const CREDENTIAL: &str = "credential.pem";
const CREDENTIAL_NEXT: &str = "credential-next.pem";
const LOG: &str = "log.pem";
const WITNESS: &str = "witness.pem";
const MESSAGES: &str = "messages.pem";
const MESSAGES_NEXT: &str = "messages-next.pem";
const INDEX_SECRET: &str = "index-secret.pem";
const REQUEST_SECRET: &str = "request-secret.pem";

const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const GROUP_AND_OTHERS: u32 = 0o077;

/// Why there is no keyring. None is cured by trying again.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The directory holds keys already, or something else stands there.
    #[error("{path} exists already: keys are never overwritten")]
    Exists {
        /// What exists.
        path: PathBuf,
    },
    /// A file or the directory is not there.
    #[error(
        "{path} is missing: restore it from your backup of the keys, or make a new node with `tallystick init`"
    )]
    Missing {
        /// What is missing.
        path: PathBuf,
    },
    /// Others than the owner can get at it.
    #[error(
        "{path} has mode {mode:04o}, so others than its owner can get at the keys: run `chmod {wanted:o} {path}`"
    )]
    TooOpen {
        /// What is too open.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode it should have.
        wanted: u32,
    },
    /// A file is no key, or the passphrase does not fit.
    #[error("{path}: {source}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// An earlier key stands under another one's name.
    #[error(
        "{path} holds the key {kid}: name the file credential-{kid}.pem, or move it out of this directory"
    )]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// The key in it.
        kid: KeyId,
    },
    /// The operating system refused.
    #[error("{path}: {}", crate::primitives::WithRemedy(source))]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What a node signs and keys its hashes with. Wiped from memory when dropped;
/// none of it is in `Debug`.
pub struct Keyring {
    /// Signs credentials and status lists.
    pub credential: SecretKey,
    /// The key that takes the place of `credential` ([`use_next`]).
    pub credential_next: Option<SecretKey>,
    /// Those that were in its place before, by their kids. They sign nothing new.
    pub credentials_before: Vec<SecretKey>,
    /// Signs the log's checkpoints.
    pub log: SecretKey,
    /// Cosigns other nodes' checkpoints.
    pub witness: SecretKey,
    /// Signs messages to other nodes.
    pub messages: SecretKey,
    /// The key that takes the place of `messages` ([`use_next`]).
    pub messages_next: Option<SecretKey>,
    /// Keys the permutation of status indices.
    pub index_secret: Zeroizing<[u8; 32]>,
    /// Keys the hashes of idempotency keys and requests.
    pub request_secret: Zeroizing<[u8; 32]>,
}

impl Keyring {
    /// Gathers it from what `key` gives for each file's name.
    fn of(key: impl Fn(&str) -> Result<SecretKey, KeyringError>) -> Result<Self, KeyringError> {
        Ok(Self {
            credential: key(CREDENTIAL)?,
            credential_next: None,
            credentials_before: Vec::new(),
            log: key(LOG)?,
            witness: key(WITNESS)?,
            messages: key(MESSAGES)?,
            messages_next: None,
            index_secret: key(INDEX_SECRET)?.seed(),
            request_secret: key(REQUEST_SECRET)?.seed(),
        })
    }

    /// The key with that kid which credentials are or were signed with, if it is held.
    #[must_use]
    pub fn credential_of(&self, kid: KeyId) -> Option<&SecretKey> {
        let mut held = std::iter::once(&self.credential).chain(&self.credentials_before);
        held.find(|key| key.kid() == kid)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("credential", &self.credential)
            .field("credential_next", &self.credential_next)
            .field("credentials_before", &self.credentials_before)
            .field("log", &self.log)
            .field("witness", &self.witness)
            .field("messages", &self.messages)
            .field("messages_next", &self.messages_next)
            .finish_non_exhaustive()
    }
}

/// Makes new keys in `dir`, which is made too (its parent has to exist) and
/// holds none yet. Everything is synced when this returns.
///
/// # Errors
/// [`KeyringError::Exists`] and [`KeyringError::Io`]. After an error the
/// directory may hold some of the files; remove it and begin again.
pub fn create(dir: &Path, entropy: &dyn Entropy, passphrase: Option<&str>) -> Result<Keyring, KeyringError> {
    make_dir(dir)?;
    let make = |name: &str| {
        let key = SecretKey::generate(entropy);
        let pem = key.to_pkcs8_pem(passphrase, entropy);
        write_new(&dir.join(name), pem.as_bytes()).map(|()| key)
    };
    let keyring = Keyring::of(make)?;
    sync_dir(dir)?;
    sync_parent(dir)?;
    Ok(keyring)
}

fn sync_parent(path: &Path) -> Result<(), KeyringError> {
    match path.parent() {
        None => Ok(()),
        // The parent of a relative path of one name is the working directory.
        Some(parent) if parent.as_os_str().is_empty() => sync_dir(Path::new(".")),
        Some(parent) => sync_dir(parent),
    }
}

/// Loads the keys in `dir`.
///
/// # Errors
/// [`KeyringError`]: something missing, too open, damaged, or a passphrase
/// that does not fit.
pub fn load(dir: &Path, passphrase: Option<&str>) -> Result<Keyring, KeyringError> {
    check_mode(
        dir,
        &fs::metadata(dir).map_err(|source| io_error(dir, source))?,
        DIR_MODE,
    )?;
    let mut keyring = Keyring::of(|name| read_key(&dir.join(name), passphrase))?;
    let next = |role: NextKey| match read_key(&dir.join(role.files().1), passphrase) {
        Ok(next) => Ok(Some(next)),
        Err(KeyringError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    };
    keyring.messages_next = next(NextKey::Messages)?;
    keyring.credential_next = next(NextKey::Credentials)?;
    keyring.credentials_before = load_before(dir, &keyring.credential, passphrase)?;
    Ok(keyring)
}

/// The keys for credentials that were in use before `in_use`, in order of their kids.
fn load_before(
    dir: &Path,
    in_use: &SecretKey,
    passphrase: Option<&str>,
) -> Result<Vec<SecretKey>, KeyringError> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir).map_err(|source| io_error(dir, source))? {
        let name = entry.map_err(|source| io_error(dir, source))?.file_name();
        names.extend(name.to_str().and_then(kid_in_name));
    }
    let mut before = Vec::new();
    for named in names {
        let path = dir.join(file_before(named));
        let key = read_key(&path, passphrase)?;
        let kid = key.kid();
        if kid != named {
            return Err(KeyringError::OtherKey { path, kid });
        }
        // A change that was cut off leaves the key in use here too.
        if kid != in_use.kid() {
            before.push(key);
        }
    }
    Ok(before)
}

/// The name of the file of a key for credentials that is not in use any more.
fn file_before(kid: KeyId) -> String {
    format!("credential-{kid}.pem")
}

fn kid_in_name(name: &str) -> Option<KeyId> {
    let hex = name.strip_prefix("credential-")?.strip_suffix(".pem")?;
    let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).ok()?;
    bytes.try_into().ok().map(KeyId)
}

/// A key that can be replaced while the node goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextKey {
    /// The one that signs messages to other nodes.
    Messages,
    /// The one that signs credentials and status lists.
    Credentials,
}

impl NextKey {
    /// The file of the key in use, and of the one that takes its place.
    fn files(self) -> (&'static str, &'static str) {
        match self {
            Self::Messages => (MESSAGES, MESSAGES_NEXT),
            Self::Credentials => (CREDENTIAL, CREDENTIAL_NEXT),
        }
    }
}

/// Makes the key for messages where it is lacking in `dir`: a directory that is
/// older than that key. Says whether it did; nothing is made where other keys are
/// lacking too, or beside those that the passphrase does not fit.
///
/// # Errors
/// [`KeyringError::Io`], and what reading a key gives.
pub fn complete(dir: &Path, entropy: &dyn Entropy, passphrase: Option<&str>) -> Result<bool, KeyringError> {
    let is_older = !dir.join(MESSAGES).exists() && dir.join(REQUEST_SECRET).exists();
    if is_older {
        read_key(&dir.join(WITNESS), passphrase)?;
        make_key(&dir.join(MESSAGES), entropy, passphrase)?;
    }
    Ok(is_older)
}

/// Makes the key that takes the place of the one in use. Until [`use_next`] the node
/// goes on signing with that one.
///
/// # Errors
/// [`KeyringError::Exists`] where there is one; as [`load`].
pub fn make_next(
    dir: &Path,
    role: NextKey,
    entropy: &dyn Entropy,
    passphrase: Option<&str>,
) -> Result<SecretKey, KeyringError> {
    load(dir, passphrase)?;
    make_key(&dir.join(role.files().1), entropy, passphrase)
}

/// Puts the next key in the place of the one before: one for messages is gone
/// afterwards, one for credentials stays under its kid, since coupons that it signed
/// may have to be signed again. A node takes the new one when it is started.
///
/// # Errors
/// [`KeyringError::Missing`] where there is none; as [`load`].
pub fn use_next(dir: &Path, role: NextKey, passphrase: Option<&str>) -> Result<SecretKey, KeyringError> {
    let (in_use, next) = role.files();
    let (in_use, path) = (dir.join(in_use), dir.join(next));
    let next = read_key(&path, passphrase)?;
    if role == NextKey::Credentials {
        let old = read_key(&in_use, passphrase)?.kid();
        let name = dir.join(file_before(old));
        match fs::hard_link(&in_use, &name) {
            // A change that was cut off has done it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let kid = read_key(&name, passphrase)?.kid();
                if kid != old {
                    return Err(KeyringError::OtherKey { path: name, kid });
                }
            }
            linked => linked.map_err(|source| io_error(&name, source))?,
        }
        // Before the key loses its first name.
        sync_dir(dir)?;
    }
    fs::rename(&path, &in_use).map_err(|source| io_error(&path, source))?;
    sync_dir(dir)?;
    Ok(next)
}

/// A new key as the file `path`, whole or not at all: a process that starts
/// meanwhile reads no half of it, and none is overwritten.
fn make_key(path: &Path, entropy: &dyn Entropy, passphrase: Option<&str>) -> Result<SecretKey, KeyringError> {
    let key = SecretKey::generate(entropy);
    let pem = key.to_pkcs8_pem(passphrase, entropy);
    let suffix = data_encoding::HEXLOWER.encode(&entropy.bytes::<8>());
    let half = path.with_extension(format!("{suffix}.tmp"));
    write_new(&half, pem.as_bytes())?;
    let linked = fs::hard_link(&half, path).map_err(|source| io_error(path, source));
    fs::remove_file(&half).map_err(|source| io_error(&half, source))?;
    linked?;
    if let Some(dir) = path.parent() {
        sync_dir(dir)?;
    }
    Ok(key)
}

/// Makes a key file of its own, outside of a node's directory, such as a signer's.
///
/// # Errors
/// [`KeyringError::Exists`] and [`KeyringError::Io`].
pub fn create_file(
    path: &Path,
    entropy: &dyn Entropy,
    passphrase: Option<&str>,
) -> Result<SecretKey, KeyringError> {
    let key = SecretKey::generate(entropy);
    let pem = key.to_pkcs8_pem(passphrase, entropy);
    write_new(path, pem.as_bytes())?;
    sync_parent(path)?;
    Ok(key)
}

/// Reads such a file.
///
/// # Errors
/// [`KeyringError`] as [`load`] gives it.
pub fn load_file(path: &Path, passphrase: Option<&str>) -> Result<SecretKey, KeyringError> {
    read_key(path, passphrase)
}

/// True if the keys in `dir` are encrypted, so that a caller knows whether to
/// ask for a passphrase. Looks at one file's first line.
///
/// # Errors
/// [`KeyringError`] as [`load`] gives it.
pub fn is_encrypted(dir: &Path) -> Result<bool, KeyringError> {
    let pem = read_file(&dir.join(CREDENTIAL))?;
    Ok(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"))
}

fn make_dir(dir: &Path) -> Result<(), KeyringError> {
    match DirBuilder::new().mode(DIR_MODE).create(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut entries = fs::read_dir(dir).map_err(|source| io_error(dir, source))?;
            if entries.next().is_some() {
                return Err(KeyringError::Exists { path: dir.to_owned() });
            }
            let owner_only = fs::Permissions::from_mode(DIR_MODE);
            fs::set_permissions(dir, owner_only).map_err(|source| io_error(dir, source))
        }
        Err(source) => Err(io_error(dir, source)),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), KeyringError> {
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| io_error(path, source))
}

fn sync_dir(dir: &Path) -> Result<(), KeyringError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| io_error(dir, source))
}

fn read_key(path: &Path, passphrase: Option<&str>) -> Result<SecretKey, KeyringError> {
    let pem = read_file(path)?;
    SecretKey::from_pkcs8_pem(&pem, passphrase).map_err(|source| KeyringError::Key {
        path: path.to_owned(),
        source,
    })
}

fn read_file(path: &Path) -> Result<Zeroizing<String>, KeyringError> {
    let file = File::open(path).map_err(|source| io_error(path, source))?;
    let metadata = file.metadata().map_err(|source| io_error(path, source))?;
    check_mode(path, &metadata, FILE_MODE)?;
    let mut pem = Zeroizing::new(String::with_capacity(1_024));
    file.take(limits::KEY_FILE_BYTES_MAX)
        .read_to_string(&mut pem)
        .map_err(|source| io_error(path, source))?;
    Ok(pem)
}

fn check_mode(path: &Path, metadata: &fs::Metadata, wanted: u32) -> Result<(), KeyringError> {
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & GROUP_AND_OTHERS == 0 {
        Ok(())
    } else {
        Err(KeyringError::TooOpen {
            path: path.to_owned(),
            mode,
            wanted,
        })
    }
}

fn io_error(path: &Path, source: io::Error) -> KeyringError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => KeyringError::Missing { path },
        io::ErrorKind::AlreadyExists => KeyringError::Exists { path },
        _ => KeyringError::Io { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::OsEntropy;

    const FILES: [&str; 6] = [CREDENTIAL, LOG, WITNESS, MESSAGES, INDEX_SECRET, REQUEST_SECRET];

    fn keys_dir() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("keys");
        (root, dir)
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn refusal(dir: &Path, passphrase: Option<&str>) -> String {
        load(dir, passphrase).unwrap_err().to_string()
    }

    #[test]
    fn keys_come_back_and_are_the_owners_alone() {
        for passphrase in [None, Some("correct horse")] {
            let (_root, dir) = keys_dir();
            let made = create(&dir, &OsEntropy, passphrase).unwrap();
            let loaded = load(&dir, passphrase).unwrap();
            assert_eq!(made.credential.public(), loaded.credential.public());
            assert_eq!(made.log.public(), loaded.log.public());
            assert_eq!(made.witness.public(), loaded.witness.public());
            assert_eq!(made.index_secret, loaded.index_secret);
            assert_eq!(made.request_secret, loaded.request_secret);
            assert_eq!(is_encrypted(&dir).unwrap(), passphrase.is_some());
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
            assert_eq!(mode(&dir), 0o700);
            for name in FILES {
                assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
            }
            // Six different keys, none of them in what `Debug` shows.
            let publics = [&made.credential, &made.log, &made.witness, &made.messages].map(SecretKey::kid);
            let distinct: std::collections::HashSet<_> = publics.into_iter().collect();
            assert_eq!(distinct.len(), 4);
            assert_ne!(made.index_secret, made.request_secret);
            assert!(!format!("{made:?}").contains("secret"));
        }
    }

    #[test]
    fn keys_are_never_overwritten() {
        let (_root, dir) = keys_dir();
        let made = create(&dir, &OsEntropy, None).unwrap();
        assert!(matches!(
            create(&dir, &OsEntropy, None),
            Err(KeyringError::Exists { .. })
        ));
        assert_eq!(load(&dir, None).unwrap().log.public(), made.log.public());
        // An empty directory is taken over, and closed to others.
        let (_root, dir) = keys_dir();
        fs::create_dir(&dir).unwrap();
        chmod(&dir, 0o755);
        assert!(create(&dir, &OsEntropy, None).is_ok());
    }

    #[test]
    fn an_older_directory_gets_its_key_for_messages() {
        for passphrase in [None, Some("correct horse")] {
            let (_root, dir) = keys_dir();
            create(&dir, &OsEntropy, passphrase).unwrap();
            assert!(!complete(&dir, &OsEntropy, passphrase).unwrap());
            fs::remove_file(dir.join(MESSAGES)).unwrap();
            assert!(refusal(&dir, passphrase).contains("messages.pem is missing"));
            if passphrase.is_some() {
                assert!(complete(&dir, &OsEntropy, Some("wrong")).is_err());
            }
            assert!(complete(&dir, &OsEntropy, passphrase).unwrap());
            let made = load(&dir, passphrase).unwrap();
            assert!(!complete(&dir, &OsEntropy, passphrase).unwrap());
            assert_eq!(
                load(&dir, passphrase).unwrap().messages.kid(),
                made.messages.kid()
            );
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 6, "nothing is left beside");
        }
        // A directory that lacks others too is damaged, not older.
        let (_root, dir) = keys_dir();
        create(&dir, &OsEntropy, None).unwrap();
        for name in [MESSAGES, REQUEST_SECRET] {
            fs::remove_file(dir.join(name)).unwrap();
        }
        assert!(!complete(&dir, &OsEntropy, None).unwrap());
        assert!(refusal(&dir, None).contains("messages.pem is missing"));
    }

    #[test]
    fn the_next_key_for_messages_takes_its_place_when_told_to() {
        let (_root, dir) = keys_dir();
        let made = create(&dir, &OsEntropy, None).unwrap();
        assert!(matches!(
            use_next(&dir, NextKey::Messages, None),
            Err(KeyringError::Missing { .. })
        ));
        let next = make_next(&dir, NextKey::Messages, &OsEntropy, None).unwrap();
        assert!(matches!(
            make_next(&dir, NextKey::Messages, &OsEntropy, None),
            Err(KeyringError::Exists { .. })
        ));
        let both = load(&dir, None).unwrap();
        assert_eq!(both.messages.kid(), made.messages.kid());
        assert_eq!(both.messages_next.map(|key| key.kid()), Some(next.kid()));
        assert_eq!(use_next(&dir, NextKey::Messages, None).unwrap().kid(), next.kid());
        let after = load(&dir, None).unwrap();
        assert_eq!(
            (after.messages.kid(), after.messages_next.is_none()),
            (next.kid(), true)
        );
    }

    #[test]
    fn a_key_for_credentials_that_was_replaced_is_kept() {
        for passphrase in [None, Some("correct horse")] {
            let (_root, dir) = keys_dir();
            let first = create(&dir, &OsEntropy, passphrase).unwrap().credential;
            // Other files that begin alike are nobody's.
            fs::write(dir.join("credential-old.pem"), "no key").unwrap();
            let mut used = vec![first.kid()];
            for _ in 0..2 {
                let next = make_next(&dir, NextKey::Credentials, &OsEntropy, passphrase).unwrap();
                let both = load(&dir, passphrase).unwrap();
                assert_eq!(Some(&both.credential.kid()), used.last(), "it goes on signing");
                assert_eq!(
                    both.credential_next.as_ref().map(SecretKey::kid),
                    Some(next.kid())
                );
                assert!(both.credential_of(next.kid()).is_none());
                use_next(&dir, NextKey::Credentials, passphrase).unwrap();
                used.push(next.kid());
                let after = load(&dir, passphrase).unwrap();
                assert_eq!(after.credential.kid(), next.kid());
                assert!(after.credential_next.is_none());
                for kid in &used {
                    assert_eq!(after.credential_of(*kid).map(SecretKey::kid), Some(*kid));
                }
                assert_eq!(after.credentials_before.len(), used.len() - 1);
            }
            let kept = dir.join(file_before(used[0]));
            assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o7777, 0o600);
            // Taken away, it is not held any more.
            fs::remove_file(&kept).unwrap();
            let after = load(&dir, passphrase).unwrap();
            assert!(after.credential_of(used[0]).is_none());
            assert!(after.credential_of(used[1]).is_some());
        }
    }

    #[test]
    fn a_change_that_was_cut_off_is_made_once_more() {
        let (_root, dir) = keys_dir();
        let first = create(&dir, &OsEntropy, None).unwrap().credential.kid();
        let next = make_next(&dir, NextKey::Credentials, &OsEntropy, None).unwrap();
        fs::hard_link(dir.join(CREDENTIAL), dir.join(file_before(first))).unwrap();
        let between = load(&dir, None).unwrap();
        assert_eq!(between.credential.kid(), first);
        assert!(between.credentials_before.is_empty());
        use_next(&dir, NextKey::Credentials, None).unwrap();
        let after = load(&dir, None).unwrap();
        assert_eq!(after.credential.kid(), next.kid());
        assert!(after.credential_of(first).is_some());
    }

    #[test]
    fn a_key_under_the_name_of_another_is_refused_and_nothing_is_lost() {
        let (_root, dir) = keys_dir();
        let first = create(&dir, &OsEntropy, None).unwrap().credential.kid();
        make_next(&dir, NextKey::Credentials, &OsEntropy, None).unwrap();
        fs::copy(dir.join(LOG), dir.join(file_before(first))).unwrap();
        let said = refusal(&dir, None);
        assert!(said.contains("name the file credential-"), "{said}");
        let refused = use_next(&dir, NextKey::Credentials, None);
        assert!(matches!(refused, Err(KeyringError::OtherKey { .. })));
        fs::remove_file(dir.join(file_before(first))).unwrap();
        assert_eq!(load(&dir, None).unwrap().credential.kid(), first);
    }

    #[test]
    fn what_others_can_read_is_refused_with_the_cure() {
        let (_root, dir) = keys_dir();
        create(&dir, &OsEntropy, None).unwrap();
        let file = dir.join(REQUEST_SECRET);
        chmod(&file, 0o640);
        let said = refusal(&dir, None);
        assert!(
            said.contains("request-secret.pem") && said.contains("0640"),
            "{said}"
        );
        assert!(said.contains("chmod 600"), "{said}");
        chmod(&file, 0o400);
        assert!(load(&dir, None).is_ok());
        chmod(&dir, 0o750);
        let said = refusal(&dir, None);
        assert!(said.contains("0750") && said.contains("chmod 700"), "{said}");
    }

    #[test]
    fn missing_and_damaged_files_are_named() {
        let (_root, dir) = keys_dir();
        let said = refusal(&dir, None);
        assert!(said.contains("keys is missing"), "{said}");
        create(&dir, &OsEntropy, None).unwrap();
        fs::write(dir.join(WITNESS), "no key").unwrap();
        let said = refusal(&dir, None);
        assert!(said.contains("witness.pem") && said.contains("PKCS#8"), "{said}");
        fs::remove_file(dir.join(LOG)).unwrap();
        let said = refusal(&dir, None);
        assert!(
            said.contains("log.pem is missing") && said.contains("backup"),
            "{said}"
        );
    }

    #[test]
    fn passphrases_have_to_fit() {
        let (_root, dir) = keys_dir();
        create(&dir, &OsEntropy, Some("correct horse")).unwrap();
        assert!(refusal(&dir, None).contains("no passphrase was given"));
        assert!(refusal(&dir, Some("wrong")).contains("does not open"));
        let (_root, dir) = keys_dir();
        create(&dir, &OsEntropy, None).unwrap();
        assert!(refusal(&dir, Some("correct horse")).contains("not encrypted"));
    }
}

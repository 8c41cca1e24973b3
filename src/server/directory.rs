//! A node's directory (house.md, 'A node's directory'): making it, opening it.
//!
//! ```text
//! DIR/                 owner-only
//!   config.toml        settings, see [`super::config`]
//!   keys/              secret keys ([`crate::node::keyring`]) and, hashed, the
//!                      bearer keys of tills and office ([`crate::node::access`])
//!   store/             the log and what is derived from it
//! DIR.guard            what was signed last; outside backups
//! ```
//!
//! A compaction makes its new store in `DIR/store.compacting` ([`super::compact`]).
//! While `init` is at work there is also `DIR/init-unfinished`, so that a
//! directory that was left half made is told apart from a damaged one.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prometheus::Registry;
use zeroize::Zeroizing;

use super::config::{CONFIG_FILE, Config, LISTEN_DEFAULT, Overrides};
use super::{ServerError, federation, mirrors};
use crate::credential::PublicKey;
use crate::federation::entries::Letters;
use crate::federation::keeper::KeptMirror;
use crate::federation::{Peers, Rosters};
use crate::log::{KeyKind, Policy, VerifierKey};
use crate::node::access::{AccessFile, AccessKeys, Role};
use crate::node::keyring::{self, Keyring, NextKey};
use crate::node::{NewNode, Node, NodeOptions, NodeParts, OpenReport, create_log};
use crate::primitives::limits::POLICY_BYTES_MAX;
use crate::primitives::{Clock, Entropy, Origin, OsEntropy, Register, SystemClock};
use crate::store::{Disk, Engine, Guard, GuardState, OsDisk, SledEngine};

const UNFINISHED: &str = "init-unfinished";
const KEYS: &str = "keys";
const STORE: &str = "store";
const COMPACTING: &str = "store.compacting";

/// The passphrase of the key files. Wiped from memory when dropped, never shown.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes a passphrase.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The passphrase itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the first line of a file.
    ///
    /// # Errors
    /// [`ServerError::Io`], and [`ServerError::Refused`] for an empty line.
    pub fn from_file(path: &Path) -> Result<Self, ServerError> {
        let text = Zeroizing::new(
            fs::read_to_string(path).map_err(ServerError::io("cannot read the passphrase file", path))?,
        );
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Self::new(line.to_owned())),
            _ => Err(ServerError::Refused(format!(
                "the first line of {} is empty; write the passphrase there",
                path.display()
            ))),
        }
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

pub(super) fn node_options(config: &Config) -> NodeOptions {
    NodeOptions {
        origin: config.base_url.clone(),
        algorithm: config.algorithm,
        status_list_seconds: config.status_list_seconds,
        compares_first: true,
    }
}

/// What a node takes from the machine that it runs on.
#[derive(Clone)]
pub struct System {
    /// What makes its store and its guard durable.
    pub disk: Arc<dyn Disk>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Default for System {
    /// The operating system's own.
    fn default() -> Self {
        Self {
            disk: Arc::new(OsDisk),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
        }
    }
}

/// What a new directory is made with.
#[derive(Clone, Debug)]
pub struct NewDir {
    /// The base URL.
    pub base_url: Origin,
    /// The co-op's name.
    pub name: String,
    /// The register of the first till key.
    pub register: Register,
    /// The guard file, where it is not to stand beside the directory.
    pub guard: Option<PathBuf>,
    /// Encrypts the key files.
    pub passphrase: Option<Passphrase>,
}

/// What `init` made. The two bearer keys are shown once and kept nowhere.
#[derive(Clone)]
pub struct Initialised {
    /// Where.
    pub directory: NodeDir,
    /// The guard file.
    pub guard: PathBuf,
    /// The first till's bearer key.
    pub till_key: Zeroizing<String>,
    /// The office's bearer key.
    pub office_key: Zeroizing<String>,
    /// The log's key as a C2SP verifier key.
    pub vkey: VerifierKey,
    /// The witness key as a C2SP verifier key.
    pub witness_vkey: VerifierKey,
    /// The public key of credentials.
    pub credential_key: PublicKey,
}

/// An opened node with all that serving it needs.
pub struct OpenedNode {
    /// The node.
    pub node: Node,
    /// What opening found and did.
    pub report: OpenReport,
    /// Its settings.
    pub config: Config,
    /// Who witnesses its log.
    pub policy: Option<Policy>,
    /// The logs that are mirrored.
    pub mirrors: Vec<KeptMirror>,
    /// Who may call.
    pub access: Arc<AccessKeys>,
    /// The roster of the federation that it belongs to.
    pub rosters: Option<Arc<Rosters>>,
    /// What calls the nodes of its other members.
    pub peers: Option<Peers>,
    /// Its metrics.
    pub registry: Registry,
    /// Whether it asks the other members what they hold of its log before it serves. Who
    /// does not want to be told that its store was set back asks nobody.
    pub asks_members: bool,
}

/// The directory of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDir {
    root: PathBuf,
}

impl NodeDir {
    /// Makes a node's directory, its guard file, its first keys and entry 0.
    ///
    /// # Errors
    /// [`ServerError::Refused`] for a directory that holds something and for a
    /// guard file that is there already; otherwise what failed, with how to
    /// clean up.
    pub fn create(root: &Path, new: &NewDir) -> Result<Initialised, ServerError> {
        Self::create_in(&System::default(), root, new)
    }

    /// [`create`](Self::create) on another system than the machine's.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_in(system: &System, root: &Path, new: &NewDir) -> Result<Initialised, ServerError> {
        check_root(root)?;
        let guard = guard_of_new(root, new.guard.as_deref())?;
        make_root(system.disk.as_ref(), root)?;
        let dir = Self::at(root)?;
        dir.fill(system, new, &guard)
            .map_err(|error| ServerError::Refused(format!("{error}. {}", dir.clean_up(&guard))))
    }

    /// Names a directory that is there.
    ///
    /// # Errors
    /// [`ServerError::Refused`] when it is not.
    pub fn at(root: &Path) -> Result<Self, ServerError> {
        match root.canonicalize() {
            Ok(root) if root.is_dir() => Ok(Self { root }),
            Ok(_) => Err(ServerError::Refused(format!(
                "{} is not a directory; name a node's directory, or make one with `tallystick init DIR`",
                root.display()
            ))),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(ServerError::Refused(format!(
                "there is no directory {}; name the right one, or make a node with `tallystick init {}`",
                root.display(),
                root.display()
            ))),
            Err(source) => Err(ServerError::io("cannot open", root)(source)),
        }
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The settings file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.root.join(CONFIG_FILE)
    }

    /// The store's directory.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join(STORE)
    }

    /// Where a compaction makes the new store.
    pub(super) fn compacting(&self) -> PathBuf {
        self.root.join(COMPACTING)
    }

    /// The keys' directory.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.root.join(KEYS)
    }

    /// The file of access keys.
    #[must_use]
    pub fn access_file(&self) -> AccessFile {
        AccessFile::in_dir(&self.keys())
    }

    /// The guard file under these settings.
    #[must_use]
    pub fn guard_file(&self, config: &Config) -> PathBuf {
        match &config.guard {
            // `join` takes an absolute path as it is.
            Some(path) => self.root.join(path),
            None => beside(&self.root),
        }
    }

    /// The policy of the log's own witnesses, if the settings name one.
    ///
    /// # Errors
    /// [`ServerError::Refused`] when it is none, [`ServerError::Io`].
    pub fn witness_policy(&self, config: &Config) -> Result<Option<Policy>, ServerError> {
        let Some(path) = &config.witness_policy else {
            return Ok(None);
        };
        let path = self.root.join(path);
        let mut text = Vec::new();
        fs::File::open(&path)
            .and_then(|file| file.take(POLICY_BYTES_MAX as u64 + 1).read_to_end(&mut text))
            .map_err(ServerError::io("cannot read the witness_policy", &path))?;
        Policy::parse(&text).map(Some).map_err(|error| {
            ServerError::Refused(format!(
                "the witness_policy {} cannot be used: {error}. docs/witness.md shows one",
                path.display()
            ))
        })
    }

    /// Reads the settings, after checking that this is a node's directory.
    ///
    /// # Errors
    /// [`ServerError::Refused`] for another directory or one half made;
    /// [`ServerError::Config`].
    pub fn config(&self, overrides: &Overrides) -> Result<Config, ServerError> {
        if is_there(&self.root.join(UNFINISHED))? {
            return Err(ServerError::Refused(format!(
                "`tallystick init` of {} did not finish. {}",
                self.root.display(),
                self.clean_up(&beside(&self.root))
            )));
        }
        let file = self.config_file();
        if !is_there(&file)? && !is_there(&self.store())? {
            return Err(ServerError::Refused(format!(
                "{} is no node's directory: it holds no {CONFIG_FILE}. Name the right one, or make a node with \
                 `tallystick init`",
                self.root.display()
            )));
        }
        Ok(Config::load(&file, overrides)?)
    }

    /// Loads the node's secret keys. A directory that is older than the key for
    /// messages gets one.
    ///
    /// # Errors
    /// [`ServerError::Keyring`], and [`ServerError::Refused`] when they are
    /// encrypted and there is no passphrase, or the other way round.
    pub fn keyring(&self, passphrase: Option<&Passphrase>) -> Result<Keyring, ServerError> {
        let passphrase = self.fitting(passphrase)?;
        let keys = self.keys();
        keyring::complete(&keys, &OsEntropy, passphrase)?;
        Ok(keyring::load(&keys, passphrase)?)
    }

    /// Makes the key that takes the place of the one in use; with `use_it` the one
    /// that was made before takes it. Its public half comes back.
    ///
    /// # Errors
    /// As [`keyring`](Self::keyring).
    pub fn next_key(
        &self,
        role: NextKey,
        passphrase: Option<&Passphrase>,
        use_it: bool,
    ) -> Result<PublicKey, ServerError> {
        self.keyring(passphrase)?;
        let (keys, passphrase) = (self.keys(), self.fitting(passphrase)?);
        let key = if use_it {
            keyring::use_next(&keys, role, passphrase)
        } else {
            keyring::make_next(&keys, role, &OsEntropy, passphrase)
        };
        Ok(*key?.public())
    }

    /// The passphrase, if it is there exactly where the keys need one.
    fn fitting<'a>(&self, passphrase: Option<&'a Passphrase>) -> Result<Option<&'a str>, ServerError> {
        let keys = self.keys();
        let encrypted = match keyring::is_encrypted(&keys) {
            Ok(encrypted) => encrypted,
            // `load` says it better: it looks at the directory first.
            Err(_) => passphrase.is_some(),
        };
        match (encrypted, passphrase) {
            (true, None) => Err(ServerError::Refused(format!(
                "the keys in {} are encrypted; give their passphrase in TALLYSTICK_KEY_PASSPHRASE or with \
                 --passphrase-file FILE",
                keys.display()
            ))),
            (false, Some(_)) => Err(ServerError::Refused(format!(
                "a passphrase was given, but the keys in {} are not encrypted; unset \
                 TALLYSTICK_KEY_PASSPHRASE and leave out --passphrase-file",
                keys.display()
            ))),
            (_, passphrase) => Ok(passphrase.map(Passphrase::as_str)),
        }
    }

    /// Opens the node: settings, keys, store, guard, log.
    ///
    /// # Errors
    /// [`ServerError`], each saying what to do: a missing directory or key, a
    /// store that another process has open, a missing guard, a store behind it.
    pub fn open(
        &self,
        overrides: &Overrides,
        passphrase: Option<&Passphrase>,
    ) -> Result<OpenedNode, ServerError> {
        self.open_in(&System::default(), overrides, passphrase)
    }

    /// [`open`](Self::open) on another system than the machine's.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(
        &self,
        system: &System,
        overrides: &Overrides,
        passphrase: Option<&Passphrase>,
    ) -> Result<OpenedNode, ServerError> {
        let mut config = self.config(overrides)?;
        let followed = mirrors::to_keep(&config.mirrors, &self.root)?;
        for mirror in config.mirrors.values_mut() {
            // `join` takes an absolute path as it is.
            mirror.dir = self.root.join(&mirror.dir);
        }
        let policy = self.witness_policy(&config)?;
        let peers = federation::peers(&self.root, &config)?;
        let keyring = self.keyring(passphrase)?;
        let access = AccessKeys::open(self.access_file())?;
        let (engine, mut notes) = SledEngine::open_on(Arc::clone(&system.disk), &self.store())?;
        notes.extend(self.remove_left_over()?);
        let (guard, state) = Guard::open_on(Arc::clone(&system.disk), &self.guard_file(&config))?;
        let registry = Registry::new();
        let (node, mut report) = Node::open(NodeParts {
            engine: Arc::new(engine),
            guard: (Box::new(guard), state),
            keyring: Arc::new(keyring),
            options: node_options(&config),
            clock: Arc::clone(&system.clock),
            entropy: Arc::clone(&system.entropy),
            registry: registry.clone(),
        })?;
        node.check_room_to_witness(config.witness_logs.iter().map(VerifierKey::name))?;
        notes.append(&mut report.notes);
        let rosters = federation::rosters(&node, &config, &registry, &mut notes)?;
        report.notes = notes;
        let letters = rosters.as_ref().map(|rosters| Letters {
            node: node.clone(),
            rosters: Arc::clone(rosters),
            entropy: Arc::clone(&system.entropy),
        });
        let kept = |mirror: mirrors::Followed| mirror.kept(letters.as_ref());
        let mirrors = followed.into_iter().map(kept).collect();
        Ok(OpenedNode {
            node,
            report,
            config,
            policy,
            mirrors,
            rosters,
            asks_members: true,
            peers,
            access: Arc::new(access),
            registry,
        })
    }

    fn fill(&self, system: &System, new: &NewDir, guard: &Path) -> Result<Initialised, ServerError> {
        let disk = system.disk.as_ref();
        self.write_new(disk, UNFINISHED, b"tallystick init has not finished\n")?;
        let text = Config::commented(
            &new.base_url,
            &new.name,
            listen_of(&new.base_url),
            new.guard.as_ref().map(|_| guard),
        );
        self.write_new(disk, CONFIG_FILE, text.as_bytes())?;
        let passphrase = new.passphrase.as_ref().map(|text| text.0.as_str());
        let entropy = system.entropy.as_ref();
        let keyring = keyring::create(&self.keys(), entropy, passphrase)?;
        let (access, now) = (self.access_file(), system.clock.now());
        let till = Role::Till(new.register.clone());
        let till_key = access.add(till, "first till", now, entropy)?.key;
        let office_key = access.add(Role::Office, "first office key", now, entropy)?.key;
        let signed = self.create_store(system, new, &keyring)?;
        Guard::create_on(Arc::clone(&system.disk), guard, &signed)?;
        sync_dir(disk, &self.root)?;
        let unfinished = self.root.join(UNFINISHED);
        fs::remove_file(&unfinished).map_err(ServerError::io("cannot remove", unfinished))?;
        sync_dir(disk, &self.root)?;
        Ok(Initialised {
            directory: self.clone(),
            guard: guard.to_owned(),
            till_key,
            office_key,
            vkey: verifier_key(&new.base_url, KeyKind::Ed25519, keyring.log.public()),
            witness_vkey: verifier_key(&new.base_url, KeyKind::Cosignature, keyring.witness.public()),
            credential_key: *keyring.credential.public(),
        })
    }

    fn create_store(
        &self,
        system: &System,
        new: &NewDir,
        keyring: &Keyring,
    ) -> Result<GuardState, ServerError> {
        let store = self.store();
        make_store_dir(&store)?;
        let engine = SledEngine::create_on(Arc::clone(&system.disk), &store)?;
        let begun = NewNode {
            name: new.name.clone(),
            origin: new.base_url.clone(),
        };
        let engine: &dyn Engine = &engine;
        Ok(create_log(engine, &begun, keyring, system.clock.now())?)
    }

    /// Writes a file that only its owner can read, durably.
    fn write_new(&self, disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), ServerError> {
        let path = self.root.join(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                disk.sync_file(&file, &path)
            })
            .map_err(ServerError::io("cannot write", path.clone()))
    }

    fn clean_up(&self, guard: &Path) -> String {
        let guard = if guard.exists() {
            format!(" and {}", guard.display())
        } else {
            String::new()
        };
        format!(
            "Nothing was issued from it yet: remove {}{guard}, then run `tallystick init` again",
            self.root.display()
        )
    }
}

/// A directory that may not be looked into is not an empty one.
pub(super) fn is_there(path: &Path) -> Result<bool, ServerError> {
    path.try_exists().map_err(ServerError::io("cannot look at", path))
}

/// Refuses a directory that holds something.
fn check_root(root: &Path) -> Result<(), ServerError> {
    let mut entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(ServerError::io("cannot list", root)(source)),
    };
    if entries.next().is_none() {
        return Ok(());
    }
    Err(ServerError::Refused(if root.join(UNFINISHED).exists() {
        format!(
            "an earlier `tallystick init` of {0} did not finish; nothing was issued from it: remove {0} (and its \
             guard file, if there is one), then run it again",
            root.display()
        )
    } else {
        format!(
            "{} is not empty, and nothing is overwritten; name a directory that is empty or not there yet",
            root.display()
        )
    }))
}

/// Makes the directory, or takes an empty one.
fn make_root(disk: &dyn Disk, root: &Path) -> Result<(), ServerError> {
    match DirBuilder::new().mode(0o700).create(root) {
        Ok(()) => sync_dir(disk, &root.parent().map_or_else(PathBuf::new, Path::to_owned)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let owner_only = fs::Permissions::from_mode(0o700);
            fs::set_permissions(root, owner_only).map_err(ServerError::io("cannot make owner-only", root))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Err(ServerError::Refused(format!(
            "the directory above {} is not there; make it first",
            root.display()
        ))),
        Err(source) => Err(ServerError::io("cannot make", root)(source)),
    }
}

/// Makes the directory of a store, for its owner alone.
pub(super) fn make_store_dir(store: &Path) -> Result<(), ServerError> {
    DirBuilder::new()
        .mode(0o700)
        .create(store)
        .map_err(ServerError::io("cannot make", store))
}

/// Where the guard of a new directory goes; refuses one that is there.
fn guard_of_new(root: &Path, guard: Option<&Path>) -> Result<PathBuf, ServerError> {
    let path = std::path::absolute(guard.unwrap_or(root)).map_err(ServerError::io("cannot find", root))?;
    let path = match guard {
        Some(_) => path,
        // `absolute` leaves `..` in place, so the name is taken from what exists.
        None => match root.canonicalize() {
            Ok(root) => beside(&root),
            Err(_) => beside(&path),
        },
    };
    if path.exists() {
        return Err(ServerError::Refused(format!(
            "the guard file {} is there already: it says what another node, or an earlier one of this name, has \
             signed. Choose another directory, or move that file away if its log is gone for good",
            path.display()
        )));
    }
    Ok(path)
}

/// `DIR.guard` beside `DIR`.
fn beside(root: &Path) -> PathBuf {
    let mut name = root.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".guard");
    root.with_file_name(name)
}

/// A base URL on loopback says where to listen; others stand for a proxy.
fn listen_of(base_url: &Origin) -> std::net::SocketAddr {
    let authority = base_url.authority();
    let with_port = if authority
        .rsplit(']')
        .next()
        .is_some_and(|rest| rest.contains(':'))
    {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let numeric = with_port.replacen("localhost:", "127.0.0.1:", 1);
    numeric
        .parse::<std::net::SocketAddr>()
        .ok()
        .filter(|address| address.ip().is_loopback())
        .unwrap_or_else(|| LISTEN_DEFAULT.parse().expect("a constant, valid address"))
}

/// A node's C2SP verifier key: its name is the base URL's host and port.
///
/// # Panics
/// Never: an authority is a name, and our keys are points.
#[must_use]
pub fn verifier_key(base_url: &Origin, kind: KeyKind, key: &PublicKey) -> VerifierKey {
    let key = ed25519_dalek::VerifyingKey::from_bytes(key.as_bytes()).expect("a public key is a point");
    VerifierKey::new(base_url.authority(), kind, key).expect("an authority holds no space and no plus")
}

fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<(), ServerError> {
    // The parent of a relative path of one name is the working directory.
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    disk.sync_dir(dir).map_err(ServerError::io("cannot sync", dir))
}

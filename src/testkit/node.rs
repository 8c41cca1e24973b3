//! A node for tests: in memory or on sled, with a clock that the test sets and
//! randomness that comes from a seed, so that a run can be repeated.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use prometheus::Registry;
use zeroize::Zeroizing;

use crate::credential::{Algorithm, SecretKey};
use crate::http::{HttpOptions, HttpState};
use crate::node::access::{AccessFile, AccessKeys, Role};
use crate::node::keyring::Keyring;
use crate::node::{NewNode, Node, NodeError, NodeOptions, NodeParts, OpenReport, create_log};
use crate::primitives::{Clock as _, Entropy, Origin, OsEntropy, Register, UnixSeconds};
use crate::store::{Engine, Guard, GuardFile, GuardState, MemoryEngine, SledEngine, StoreError};
use crate::testkit::{ManualClock, SeededEntropy};

/// Where a fixture's clock starts: 2026-03-07T15:21:09Z.
pub const START: UnixSeconds = UnixSeconds(1_772_896_869);

/// A guard in memory. Clones share it, so that a log can be opened anew.
#[derive(Clone, Debug)]
pub struct MemoryGuard(Arc<std::sync::Mutex<GuardState>>);

impl MemoryGuard {
    /// A guard that remembers `state`.
    #[must_use]
    pub fn new(state: GuardState) -> Self {
        Self(Arc::new(std::sync::Mutex::new(state)))
    }

    /// What was signed last.
    ///
    /// # Panics
    /// When a holder of its lock has.
    #[must_use]
    pub fn state(&self) -> GuardState {
        self.0.lock().expect("no holder of the lock panics").clone()
    }

    /// A guard of its own that remembers the same.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::new(self.state())
    }
}

impl GuardFile for MemoryGuard {
    fn write(&mut self, state: &GuardState) -> Result<(), StoreError> {
        *self.0.lock().expect("no holder of the lock panics") = state.clone();
        Ok(())
    }
}

/// A directory of one's own that goes away with its owner.
#[derive(Debug)]
pub struct ScratchDir(PathBuf);

impl ScratchDir {
    /// Makes one in the system's directory for such.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let entropy: &dyn Entropy = &OsEntropy;
        let name = format!("tallystick-{:016x}", u64::from_be_bytes(entropy.bytes()));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a fresh name in the temporary directory");
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for ScratchDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a fixture is kept in.
enum Kept {
    Memory(MemoryEngine, MemoryGuard),
    Sled,
}

/// A node with all that belongs to it. Each fixture has keys for a till at
/// [`TestNode::REGISTER`], a second one at [`TestNode::OTHER_REGISTER`], the
/// office and an auditor.
pub struct TestNode {
    /// The node.
    pub node: Node,
    /// What opening it found.
    pub report: OpenReport,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// Where its metrics are.
    pub registry: Registry,
    /// The file of its access keys.
    pub access: AccessFile,
    /// The key of the till at [`TestNode::REGISTER`].
    pub till_key: String,
    /// The key of the till at [`TestNode::OTHER_REGISTER`].
    pub other_till_key: String,
    /// The office's key.
    pub office_key: String,
    /// An auditor's key.
    pub auditor_key: String,
    origin: Origin,
    seed: u64,
    opened: u64,
    kept: Kept,
    dir: Arc<ScratchDir>,
}

impl TestNode {
    /// The first till's register.
    pub const REGISTER: &str = "shop1-lane3";
    /// The second till's register.
    pub const OTHER_REGISTER: &str = "shop1-lane4";

    /// A node in memory.
    #[must_use]
    pub fn in_memory(seed: u64) -> Self {
        Self::new("https://coop.example", seed, false)
    }

    /// A node on sled, in a directory that goes away with the fixture.
    #[must_use]
    pub fn on_sled(seed: u64) -> Self {
        Self::new("https://coop.example", seed, true)
    }

    /// A node with the base URL `origin`.
    ///
    /// # Panics
    /// When anything fails: this is for tests.
    #[must_use]
    pub fn new(origin: &str, seed: u64, on_sled: bool) -> Self {
        let origin = Origin::parse(origin).expect("a base URL");
        let dir = ScratchDir::new();
        let clock = Arc::new(ManualClock::new(START.0));
        let keyring = keyring(seed);
        let new = NewNode {
            name: "Test co-op".to_owned(),
            origin: origin.clone(),
        };
        let make =
            |engine: &dyn Engine| create_log(engine, &new, &keyring, clock.now()).expect("an empty engine");
        let kept = if on_sled {
            let engine = SledEngine::create(&dir.path().join("store")).expect("a fresh directory");
            Guard::create(&dir.path().join("guard"), &make(&engine)).expect("a fresh directory");
            Kept::Sled
        } else {
            let engine = MemoryEngine::new();
            let state = make(&engine);
            Kept::Memory(engine, MemoryGuard::new(state))
        };
        let access = AccessFile::in_dir(dir.path());
        let add = |role: Role| {
            let label = role.word();
            let made = access.add(role, label, START, &OsEntropy).expect("a fresh file");
            made.key.to_string()
        };
        let till = |name: &str| Role::Till(Register::new(name).expect("a register's name"));
        let (till_key, other_till_key) = (add(till(Self::REGISTER)), add(till(Self::OTHER_REGISTER)));
        let (office_key, auditor_key) = (add(Role::Office), add(Role::Auditor));
        let registry = Registry::new();
        let (node, report) =
            open(&kept, &dir, &origin, &clock, &registry, (seed, 0)).expect("the fixture's own log");
        Self {
            node,
            report,
            clock,
            registry,
            access,
            till_key,
            other_till_key,
            office_key,
            auditor_key,
            origin,
            seed,
            opened: 0,
            kept,
            dir: Arc::new(dir),
        }
    }

    /// A second node over a copy of what this one, in memory, has stored, with
    /// a clock of its own; `change` may change the copy before it is opened.
    ///
    /// # Errors
    /// When it cannot be opened.
    ///
    /// # Panics
    /// For a node on sled.
    pub fn fork(&self, change: impl FnOnce(&MemoryEngine)) -> Result<Self, NodeError> {
        let Kept::Memory(engine, guard) = &self.kept else {
            panic!("only a node in memory is forked");
        };
        let engine = engine.fork();
        change(&engine);
        let kept = Kept::Memory(engine, guard.fork());
        let clock = Arc::new(ManualClock::new(self.clock.now().0));
        let registry = Registry::new();
        let opened = self.opened + 1;
        let streams = (self.seed, opened);
        let (node, report) = open(&kept, &self.dir, &self.origin, &clock, &registry, streams)?;
        Ok(Self {
            node,
            report,
            clock,
            registry,
            access: self.access.clone(),
            till_key: self.till_key.clone(),
            other_till_key: self.other_till_key.clone(),
            office_key: self.office_key.clone(),
            auditor_key: self.auditor_key.clone(),
            origin: self.origin.clone(),
            seed: self.seed,
            opened,
            kept,
            dir: Arc::clone(&self.dir),
        })
    }

    /// What a node in memory has stored.
    ///
    /// # Panics
    /// For a node on sled.
    #[must_use]
    pub fn memory_engine(&self) -> &MemoryEngine {
        match &self.kept {
            Kept::Memory(engine, _) => engine,
            Kept::Sled => panic!("this node is on sled"),
        }
    }

    /// What guards a node in memory.
    ///
    /// # Panics
    /// For a node on sled.
    #[must_use]
    pub fn memory_guard(&self) -> &MemoryGuard {
        match &self.kept {
            Kept::Memory(_, guard) => guard,
            Kept::Sled => panic!("this node is on sled"),
        }
    }

    /// Its secrets.
    #[must_use]
    pub fn keyring(&self) -> Keyring {
        keyring(self.seed)
    }

    /// The fixture's directory: access keys, and store and guard if on sled.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The node over HTTP, looking for new access keys on every request.
    ///
    /// # Panics
    /// When the access keys cannot be read.
    #[must_use]
    pub fn http(&self, options: HttpOptions) -> Arc<HttpState> {
        let keys = AccessKeys::open(self.access.clone()).expect("the fixture's own file");
        let keys = Arc::new(keys.checking_always());
        HttpState::new(self.node.clone(), keys, self.registry.clone(), options)
    }

    /// Shuts the node down and opens its log anew. All other handles have to
    /// be gone when it is on sled.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn reopened(self) -> Self {
        let Self { node, .. } = self;
        node.shut_down().await;
        // On sled the lock goes with the last handle.
        drop(node);
        let opened = self.opened + 1;
        let registry = Registry::new();
        let streams = (self.seed, opened);
        let (node, report) = open(
            &self.kept,
            &self.dir,
            &self.origin,
            &self.clock,
            &registry,
            streams,
        )
        .expect("the fixture's own log");
        Self {
            node,
            report,
            registry,
            opened,
            ..self
        }
    }
}

fn open(
    kept: &Kept,
    dir: &ScratchDir,
    origin: &Origin,
    clock: &Arc<ManualClock>,
    registry: &Registry,
    (seed, opened): (u64, u64),
) -> Result<(Node, OpenReport), NodeError> {
    let (engine, guard): (Arc<dyn Engine>, (Box<dyn GuardFile>, GuardState)) = match kept {
        Kept::Memory(engine, guard) => {
            let state = guard.state();
            (Arc::new(engine.clone()), (Box::new(guard.clone()), state))
        }
        Kept::Sled => {
            let (engine, _) = SledEngine::open(&dir.path().join("store")).expect("the fixture's own store");
            let (guard, state) = Guard::open(&dir.path().join("guard")).expect("the fixture's own guard");
            (Arc::new(engine), (Box::new(guard), state))
        }
    };
    let parts = NodeParts {
        engine,
        guard,
        keyring: Arc::new(keyring(seed)),
        options: NodeOptions {
            origin: origin.clone(),
            algorithm: Algorithm::EdDsa,
            status_list_seconds: 86_400,
            compares_first: false,
        },
        clock: Arc::<ManualClock>::clone(clock),
        // Another stream each time, or identities would repeat.
        entropy: Arc::new(SeededEntropy::new(
            seed.wrapping_add(opened.wrapping_mul(0x9e37_79b9)),
        )),
        registry: registry.clone(),
    };
    Node::open(parts)
}

/// The keys that a seed gives, the same each time.
pub(super) fn keyring(seed: u64) -> Keyring {
    let entropy: &dyn Entropy = &SeededEntropy::new(!seed);
    Keyring {
        credential: SecretKey::generate(entropy),
        credential_next: None,
        credentials_before: Vec::new(),
        log: SecretKey::generate(entropy),
        witness: SecretKey::generate(entropy),
        index_secret: Zeroizing::new(entropy.bytes()),
        request_secret: Zeroizing::new(entropy.bytes()),
        messages: SecretKey::generate(entropy),
        messages_next: None,
    }
}

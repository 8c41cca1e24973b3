//! The simulated members: whole ones, each with its node, what answers and asks
//! partners, its gossip, and everything that is served over HTTP.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use actix_web::App;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use prometheus::Registry;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tokio::time::Instant;

use super::check::log_of;
use super::line::{Alive, Arrival, Door, Lines};
use super::prepared::{MEMBERS, Prepared};
use super::till::Told;
use super::writers::{Faults, Writers};
use crate::credential::Algorithm;
use crate::federation::gossiper::{Gossiper, GossiperParts};
use crate::federation::message;
use crate::federation::peers::Peers;
use crate::federation::redemption::{Issuer, Knowledge, NoKnowledge, Redeemer, RedeemerParts};
use crate::federation::rosters::Rosters;
use crate::http::{HttpOptions, HttpState, members_config};
use crate::log::{Checkpoint, Note};
use crate::node::{Node, NodeOptions, NodeParts};
use crate::primitives::{Clock, Digest, UnixSeconds};
use crate::store::MemoryEngine;
use crate::testkit::node::{MemoryGuard, START, keyring};
use crate::testkit::{FaultyEngine, FaultyGuard, SeededEntropy};

/// How long a till is kept waiting.
const TILL_WAITS: Duration = Duration::from_secs(2);
/// From one round of gossip to the next: long, since most of a run would be gossip.
const GOSSIP_EVERY: Duration = Duration::from_secs(20);
/// Seconds from what was prepared to the beginning of a run.
const BEGINS_AFTER: u64 = 1_000;

/// What a member keeps over crashes: its rows, and what guards them.
pub type Disk = (MemoryEngine, MemoryGuard);

/// A clock that goes with the simulated time, and wrong.
#[derive(Debug)]
pub struct SimClock {
    began: Instant,
    skew_ms: AtomicI64,
    /// Milliseconds that it gains in a thousand seconds.
    drift: i64,
}

impl SimClock {
    /// Sets it wrong by so much.
    pub fn skew(&self, seconds: i64) {
        self.skew_ms.store(seconds * 1_000, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn now(&self) -> UnixSeconds {
        let passed = i64::try_from(self.began.elapsed().as_millis()).expect("hours at most");
        let ms = passed + passed * self.drift / 1_000_000 + self.skew_ms.load(Ordering::SeqCst);
        UnixSeconds((START.0 + BEGINS_AFTER).saturating_add_signed(ms.div_euclid(1_000)))
    }
}

/// A member while it runs.
pub struct Life {
    /// Whether it still does.
    pub alive: Arc<Alive>,
    /// Its node.
    pub node: Node,
    /// The roster as it follows it.
    pub rosters: Arc<Rosters>,
    /// What redeems other co-ops' coupons.
    pub redeemer: Arc<Redeemer>,
    /// What gossips for it, where the federation does.
    pub gossiper: Option<Arc<Gossiper>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Life {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// All members, with what is between them.
pub struct World {
    /// What they began with.
    pub prepared: &'static Prepared,
    /// The lines between them.
    pub lines: Arc<Lines>,
    /// Their writers.
    pub writers: Arc<Writers>,
    /// Their clocks.
    pub clocks: Vec<Arc<SimClock>>,
    /// What tills were told.
    pub told: Told,
    /// Batches whose coupons are much in demand, the first of each most of all.
    pub hot: Vec<usize>,
    /// Who has left the federation.
    pub left: RefCell<BTreeSet<usize>>,
    /// Who has gone on from an older copy of its disk, and signs a second history.
    pub forked: Cell<Option<usize>>,
    /// The entries of its first history.
    pub first_history: RefCell<BTreeSet<Digest>>,
    gossips: bool,
    disks: RefCell<Vec<Disk>>,
    lives: RefCell<Vec<Option<Rc<Life>>>>,
    seed: u64,
    born: Cell<u64>,
}

impl World {
    /// The members, none of which is up.
    #[must_use]
    pub fn new(
        prepared: &'static Prepared,
        (lines, writers): (Arc<Lines>, Arc<Writers>),
        (drifts, hot): (&[i64], Vec<usize>),
        gossips: bool,
        seed: u64,
    ) -> Rc<Self> {
        let began = Instant::now();
        let clock = |drift: &i64| {
            Arc::new(SimClock {
                began,
                skew_ms: AtomicI64::new(0),
                drift: *drift,
            })
        };
        let disk = |n: usize| {
            let member = &prepared.members[n];
            (member.engine.fork(), member.guard.fork())
        };
        Rc::new(Self {
            prepared,
            lines,
            writers,
            clocks: drifts.iter().map(clock).collect(),
            told: Told::default(),
            hot,
            left: RefCell::default(),
            forked: Cell::new(None),
            first_history: RefCell::default(),
            gossips,
            disks: RefCell::new((0..MEMBERS).map(disk).collect()),
            lives: RefCell::new((0..MEMBERS).map(|_| None).collect()),
            seed,
            born: Cell::new(0),
        })
    }

    /// A member, if it is up.
    #[must_use]
    pub fn life(&self, member: usize) -> Option<Rc<Life>> {
        let life = self.lives.borrow()[member].clone();
        life.filter(|life| life.alive.goes_on())
    }

    /// A member that has to be up.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn up(&self, member: usize) -> Rc<Life> {
        self.life(member).expect("everyone is up in the end")
    }

    /// Has a member do something; `None` when it is down, or goes down meanwhile.
    pub async fn at<T>(&self, member: usize, ask: impl AsyncFnOnce(&Life) -> T) -> Option<T> {
        let life = self.life(member)?;
        let answer = ask(&life).await;
        life.alive.goes_on().then_some(answer)
    }

    /// Ends a member where it stands.
    pub fn crash(&self, member: usize) {
        self.writers.crash(member);
        self.bury();
    }

    /// What is on a member's disk now.
    #[must_use]
    pub fn copy_of_disk(&self, member: usize) -> Disk {
        let (engine, guard) = &self.disks.borrow()[member];
        (engine.fork(), guard.fork())
    }

    /// Ends a member, and has it go on from `disk`: what it has signed since is forgotten.
    ///
    /// # Panics
    /// When it is down.
    pub fn set_back(&self, member: usize, disk: Disk) {
        let history = log_of(&self.up(member));
        *self.first_history.borrow_mut() = history.iter().map(|told| told.at.hash).collect();
        self.told.count("forks");
        self.crash(member);
        self.disks.borrow_mut()[member] = disk;
        self.forked.set(Some(member));
        self.start(member);
    }

    /// Whether the others can count on a member: it has neither left the federation nor
    /// signed two histories.
    #[must_use]
    pub fn counts(&self, member: usize) -> bool {
        !self.left.borrow().contains(&member) && self.forked.get() != Some(member)
    }

    /// The member with this did.
    #[must_use]
    pub fn by_did(&self, did: &str) -> Option<usize> {
        let members = &self.prepared.members;
        members.iter().position(|member| member.did == did)
    }

    /// The checkpoint of a member's log that another one has cosigned last: its note and
    /// its size.
    ///
    /// # Panics
    /// When it is no checkpoint.
    #[must_use]
    pub fn cosigned(&self, by: usize, log: usize) -> Option<(Arc<str>, u64)> {
        let origin = self.prepared.members[log].origin.authority();
        let note = self.life(by)?.node.witnessed(&Sha256::digest(origin).into())?;
        let parsed = Note::parse(note.as_bytes()).and_then(|note| Checkpoint::parse(note.text()));
        let size = parsed.expect("a checkpoint").size;
        Some((note, size))
    }

    /// Lets go of all members that have crashed; which they are comes back.
    pub fn bury(&self) -> Vec<usize> {
        let mut dead = Vec::new();
        for (member, life) in self.lives.borrow_mut().iter_mut().enumerate() {
            if life.as_ref().is_some_and(|life| !life.alive.goes_on()) {
                self.lines.door(member, None);
                dead.push(member);
                *life = None;
            }
        }
        dead
    }

    /// Starts a member with what is on its disk, unless it is up.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(&self, member: usize) {
        if self.life(member).is_some() {
            return;
        }
        let alive = Alive::new();
        let begun = &self.prepared.members[member];
        self.born.set(self.born.get() + 1);
        let entropy = |what: u64| {
            let life = self.seed.wrapping_mul(1_000_003).wrapping_add(self.born.get());
            Arc::new(SeededEntropy::new(life.wrapping_mul(16).wrapping_add(what)))
        };
        let registry = Registry::new();
        let (engine, guard) = self.disks.borrow()[member].clone();
        let (engine, store_faults) = FaultyEngine::new(engine);
        let (faulty_guard, guard_faults) = FaultyGuard::new(guard.clone());
        let parts = NodeParts {
            engine: Arc::new(engine),
            guard: (Box::new(faulty_guard), guard.state()),
            keyring: Arc::new(keyring(begun.seed)),
            options: NodeOptions {
                origin: begun.origin.clone(),
                algorithm: Algorithm::EdDsa,
                status_list_seconds: 86_400,
                compares_first: false,
            },
            clock: Arc::<SimClock>::clone(&self.clocks[member]),
            entropy: entropy(0),
            registry: registry.clone(),
        };
        let (node, writer, _) = Node::open_by_hand(parts).expect("a log that was never harmed");
        let faults = Faults {
            store: store_faults,
            guard: guard_faults,
        };
        self.writers.put(member, writer, faults, Arc::clone(&alive));
        let pin = self.prepared.pin();
        let (rosters, _) = Rosters::open(node.clone(), pin, &[], &registry).expect("a readable store");
        let peers = Peers::over(self.lines.carrier(member, &alive));
        let gossiper = self.gossips.then(|| {
            let parts = GossiperParts {
                node: node.clone(),
                rosters: Arc::clone(&rosters),
                peers: peers.clone(),
                entropy: entropy(1),
                every: GOSSIP_EVERY,
                // Who forks is told not to mind what it hears of it, and goes on.
                forgiven: if self.forked.get() == Some(member) {
                    BTreeSet::from([self.prepared.members[member].did.clone()])
                } else {
                    BTreeSet::new()
                },
            };
            Gossiper::open(parts, &registry).expect("a readable store")
        });
        let parts = RedeemerParts {
            node: node.clone(),
            rosters: Arc::clone(&rosters),
            peers: peers.clone(),
            knowledge: match &gossiper {
                Some(gossiper) => Arc::clone(gossiper) as Arc<dyn Knowledge>,
                None => Arc::new(NoKnowledge),
            },
            entropy: entropy(2),
            waits: TILL_WAITS,
        };
        let redeemer = Redeemer::new(parts, &registry);
        let options = HttpOptions {
            rosters: Some(Arc::clone(&rosters)),
            issuer: Some(Issuer::new(node.clone(), Arc::clone(&rosters), peers, &registry)),
            redeemer: Some(Arc::clone(&redeemer)),
            gossiper: gossiper.clone(),
            ..HttpOptions::default()
        };
        let http = HttpState::new(node.clone(), Arc::clone(&begun.access), registry, options);
        let (into, arrivals) = mpsc::unbounded_channel();
        let mut tasks = vec![
            spawn_local(serve(http, arrivals)),
            tokio::spawn(Arc::clone(&redeemer).run()),
        ];
        tasks.extend(gossiper.clone().map(|gossiper| tokio::spawn(gossiper.run())));
        let door = Door {
            arrivals: into,
            node: node.clone(),
            rosters: Arc::clone(&rosters),
        };
        self.lines.door(member, Some(door));
        self.lives.borrow_mut()[member] = Some(Rc::new(Life {
            alive,
            node,
            rosters,
            redeemer,
            gossiper,
            tasks,
        }));
    }
}

/// Answers what arrives as the node's HTTP does, without sockets; ends with its task.
async fn serve(state: Arc<HttpState>, mut arrivals: mpsc::UnboundedReceiver<Arrival>) {
    let service = Rc::new(init_service(App::new().configure(members_config(state))).await);
    let mut under_way = JoinSet::new();
    while let Some(Arrival { call, answer }) = arrivals.recv().await {
        let service = Rc::clone(&service);
        under_way.spawn_local(async move {
            let request = match call.message {
                Some(message) => TestRequest::post()
                    .insert_header((CONTENT_TYPE, message::CONTENT_TYPE))
                    .set_payload(message),
                None => TestRequest::get(),
            };
            let request = request
                .uri(&call.path)
                .insert_header(("host", "simulated.example"));
            let response = call_service(service.as_ref(), request.to_request()).await;
            let status = response.status().as_u16();
            // Whoever asked may have gone away.
            let _ = answer.send((status, read_body(response).await.to_vec()));
        });
        while under_way.try_join_next().is_some() {}
    }
}

//! A federation whose nodes gossip over a simulated network: the state machines are
//! the real ones, disks are maps that outlive crashes, and one member may lie.

mod liar;
mod members;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

pub use self::liar::Lie;
pub use self::members::{Member, SimFederation};
use crate::credential::Algorithm;
use crate::credential::status_list::{Status, StatusList, Statuses};
use crate::federation::gossip::{CouponStatus, Effects, Gossip, Identity, Kind, Name, View};
use crate::federation::roster::Directory;
use crate::primitives::UnixSeconds;
use crate::testkit::network::{Conditions, Event, Network};
use crate::testkit::{Dice, SeededEntropy};

/// Milliseconds from one round of a node to its next.
pub const ROUND_MS: u64 = 5_000;
/// Milliseconds by which a round may come sooner or later.
const JITTER_MS: u64 = 1_000;
/// Milliseconds after which no answer is awaited any more.
const TIMEOUT_MS: u64 = 3_000;
/// Statuses of a list here: few, so that a run is short.
const LIST_BYTES: usize = 16;

const WAKE_ROUND: u64 = 0;
const WAKE_TIMEOUT: u64 = 1;

/// What the nodes send each other.
#[derive(Clone, Debug)]
pub enum Packet {
    /// A message, and what the sender calls it.
    Asks(u64, Arc<[u8]>),
    /// The answer to it; none where it was refused.
    Answers(u64, Option<Arc<[u8]>>),
    /// Asks for the roster after this version.
    AsksForRoster(u64),
    /// A version of the roster.
    Roster(Arc<Directory>),
}

/// What a node has on its disk.
#[derive(Debug, Default)]
struct Disk {
    items: BTreeMap<(Kind, [u8; 16]), (u64, Vec<u8>)>,
    roster: u64,
}

struct Running {
    gossip: Gossip,
    view: View,
}

/// A node's own status list, which its log would bring back.
#[derive(Debug)]
struct OwnList {
    statuses: Statuses,
    issued_at: UnixSeconds,
    token: Vec<u8>,
}

struct SimNode {
    running: Option<Running>,
    disk: Disk,
    own: Option<OwnList>,
    /// Highest version that was ever durable, of each item.
    highest: BTreeMap<(Kind, [u8; 16]), u64>,
}

/// All of it.
pub struct GossipWorld {
    /// The network.
    pub network: Network<Packet>,
    /// Its members, by the order of the nodes.
    pub federation: SimFederation,
    nodes: Vec<SimNode>,
    dice: Dice,
    seed: u64,
    /// Bytes of messages that were sent.
    pub bytes: u64,
    /// Reasons for which messages and items were refused.
    pub refused: BTreeSet<&'static str>,
    liar: Option<usize>,
    told: Vec<(usize, Arc<[u8]>)>,
    /// Hashes of all lists that honest members have signed.
    signed: HashSet<Vec<u8>>,
    /// Whether nodes may crash in the middle of taking something in.
    pub crashing: bool,
    fanout: Option<usize>,
}

impl GossipWorld {
    /// `nodes` nodes that follow version 1 of their roster and begin their rounds.
    #[must_use]
    pub fn new(nodes: usize, conditions: Conditions, seed: u64) -> Self {
        Self::of(SimFederation::new(nodes), conditions, seed, None)
    }

    /// The same of a federation that was made before; with `fanout`, news are told at
    /// once to as many peers.
    ///
    /// # Panics
    /// Never: a federation has a first version.
    #[must_use]
    pub fn of(federation: SimFederation, conditions: Conditions, seed: u64, fanout: Option<usize>) -> Self {
        let count = federation.members.len();
        let nodes = (0..count).map(|_| SimNode {
            running: None,
            disk: Disk::default(),
            own: None,
            highest: BTreeMap::new(),
        });
        let start = UnixSeconds(federation.first().roster().issued.0 + 1_000);
        let mut world = Self {
            network: Network::new(count, start, conditions, seed),
            nodes: nodes.collect(),
            federation,
            dice: Dice::new(seed ^ 0x5eed),
            seed,
            bytes: 0,
            refused: BTreeSet::new(),
            liar: None,
            told: Vec::new(),
            signed: HashSet::new(),
            crashing: false,
            fanout,
        };
        for node in 0..count {
            world.nodes[node].disk.roster = 1;
            world.start(node);
        }
        world
    }

    /// Throws of this world's own.
    #[must_use]
    pub fn dice(&self) -> &Dice {
        &self.dice
    }

    fn start(&mut self, node: usize) {
        let member = &self.federation.members[node];
        let identity = Identity {
            did: member.did.clone(),
            key: member.messages(),
        };
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut gossip = Gossip::new(identity, Arc::new(SeededEntropy::new(self.seed)));
        if let Some(fanout) = self.fanout {
            gossip.fanout(fanout);
        }
        let now = self.network.clock(node);
        let disk = &self.nodes[node].disk;
        gossip.follow(Arc::clone(self.federation.version(disk.roster)), now);
        let items = disk
            .items
            .iter()
            .map(|((kind, _), (_, bytes))| (*kind, bytes.clone()));
        let effects = gossip.restore(items.collect(), now);
        let view = View::default();
        view.keep(&effects.kept);
        self.nodes[node].running = Some(Running { gossip, view });
        let after = self.dice.below(ROUND_MS);
        self.network.wake(node, after, WAKE_ROUND);
        if let Some(own) = &self.nodes[node].own {
            let token = own.token.clone();
            self.publish(node, &token);
        }
    }

    /// A node stops, in the middle of whatever it does.
    pub fn crash(&mut self, node: usize) {
        self.network.crash(node);
        self.nodes[node].running = None;
    }

    /// It is started again, with what is on its disk.
    pub fn restart(&mut self, node: usize) {
        if self.nodes[node].running.is_none() {
            self.network.restart(node);
            self.start(node);
        }
    }

    /// All nodes are up, everything is joined, and messages come at once.
    pub fn calm(&mut self) {
        self.network.heal();
        self.network.conditions(Conditions::GOOD);
        self.crashing = false;
        self.liar = None;
        for node in 0..self.nodes.len() {
            self.restart(node);
        }
    }

    /// A node signs its status list with one more coupon revoked (or the first one,
    /// with none), and tells the others.
    pub fn revoke(&mut self, node: usize, index: Option<u32>) {
        let now = self.network.clock(node);
        let member = &self.federation.members[node];
        let (mut statuses, issued_at) = match &self.nodes[node].own {
            Some(own) => (own.statuses.clone(), now.max(own.issued_at.plus(1))),
            None => (
                Statuses::from_packed(vec![0; LIST_BYTES]).expect("some bytes"),
                now,
            ),
        };
        if let Some(index) = index {
            assert!(statuses.set(index, Status::Revoked), "within the list");
        }
        let token = member.list(&statuses, issued_at);
        self.signed.insert(token.clone());
        self.nodes[node].own = Some(OwnList {
            statuses,
            issued_at,
            token: token.clone(),
        });
        self.publish(node, &token);
    }

    fn publish(&mut self, node: usize, token: &[u8]) {
        let now = self.network.clock(node);
        if let Some(running) = &mut self.nodes[node].running {
            let effects = running.gossip.publish(Kind::StatusList, token, now);
            self.apply(node, effects);
        }
    }

    /// Gives a node the next version of the roster.
    pub fn give_roster(&mut self, node: usize, version: u64) {
        let directory = Arc::clone(self.federation.version(version));
        self.follow(node, &directory);
    }

    fn follow(&mut self, node: usize, directory: &Arc<Directory>) {
        let version = directory.roster().version;
        let now = self.network.clock(node);
        let sim = &mut self.nodes[node];
        if version <= sim.disk.roster {
            return;
        }
        sim.disk.roster = version;
        if let Some(running) = &mut sim.running {
            let effects = running.gossip.follow(Arc::clone(directory), now);
            self.apply(node, effects);
        }
    }

    /// From now on this member lies, whenever it is its turn.
    pub fn lies(&mut self, node: usize) {
        self.liar = Some(node);
    }

    /// Runs for some milliseconds.
    pub fn run(&mut self, for_ms: u64) {
        let until = self.network.now_ms() + for_ms;
        while self.step(until) {}
    }

    /// Runs until `is_done`, which is asked after every event; `false` if it was not
    /// within so many milliseconds.
    pub fn run_until(&mut self, within_ms: u64, mut is_done: impl FnMut(&Self) -> bool) -> bool {
        let until = self.network.now_ms() + within_ms;
        while !is_done(self) {
            if !self.step(until) {
                return false;
            }
        }
        true
    }

    fn step(&mut self, until: u64) -> bool {
        let Some(event) = self.network.next(until) else {
            return false;
        };
        match event {
            Event::Wakes {
                node,
                what: WAKE_ROUND,
            } => self.round(node),
            Event::Wakes { node, what } => {
                let now = self.network.clock(node);
                let exchange = what - WAKE_TIMEOUT;
                self.with(node, |gossip| gossip.failed(exchange, now));
            }
            Event::Arrives { from, to, message } => self.arrived(from, to, message),
        }
        true
    }

    fn round(&mut self, node: usize) {
        let after = ROUND_MS - JITTER_MS + self.dice.below(2 * JITTER_MS);
        self.network.wake(node, after, WAKE_ROUND);
        if self.liar == Some(node) {
            self.lie(node);
        }
        let now = self.network.clock(node);
        self.with(node, |gossip| gossip.tick(now));
    }

    fn arrived(&mut self, from: usize, to: usize, packet: Packet) {
        let now = self.network.clock(to);
        let Some(running) = &mut self.nodes[to].running else {
            return;
        };
        match packet {
            Packet::Asks(exchange, bytes) => match running.gossip.receive(&bytes, now) {
                Ok((answer, effects)) => {
                    if self.apply(to, effects) {
                        self.bytes += answer.len() as u64;
                        self.network
                            .send(to, from, Packet::Answers(exchange, Some(answer.into())));
                    }
                }
                Err(error) => {
                    self.refused.insert(error.reason());
                    self.network.send(to, from, Packet::Answers(exchange, None));
                }
            },
            Packet::Answers(exchange, answer) => {
                let effects = match answer.map(|bytes| running.gossip.answered(exchange, &bytes, now)) {
                    Some(Ok(effects)) => effects,
                    Some(Err(error)) => {
                        self.refused.insert(error.reason());
                        running.gossip.failed(exchange, now)
                    }
                    None => running.gossip.failed(exchange, now),
                };
                self.apply(to, effects);
            }
            Packet::AsksForRoster(after) => {
                let own = self.nodes[to].disk.roster;
                if own > after {
                    let next = Arc::clone(self.federation.version(after + 1));
                    self.network.send(to, from, Packet::Roster(next));
                }
            }
            Packet::Roster(directory) => self.follow(to, &directory),
        }
    }

    fn with(&mut self, node: usize, change: impl FnOnce(&mut Gossip) -> Effects) {
        if let Some(running) = &mut self.nodes[node].running {
            let effects = change(&mut running.gossip);
            self.apply(node, effects);
        }
    }

    /// What a node's driver does: what is new is durable before anything is sent.
    /// False where it crashed on the way.
    fn apply(&mut self, node: usize, effects: Effects) -> bool {
        self.refused
            .extend(effects.refused.iter().map(|error| error.reason()));
        if self.crashing && !effects.kept.is_empty() && self.dice.once_in(40) {
            self.crash(node);
            return false;
        }
        self.keep(node, &effects);
        if self.crashing && !effects.sends.is_empty() && self.dice.once_in(200) {
            self.crash(node);
            return false;
        }
        if let Some(did) = effects.ask_for_roster
            && let Some(peer) = self.federation.place(&did)
        {
            let version = self.nodes[node].disk.roster;
            self.network.send(node, peer, Packet::AsksForRoster(version));
        }
        for sending in effects.sends {
            let Some(peer) = self.federation.place(&sending.to) else {
                continue;
            };
            self.bytes += sending.bytes.len() as u64;
            let bytes: Arc<[u8]> = sending.bytes.into();
            if self.liar.is_some() {
                self.told.push((peer, Arc::clone(&bytes)));
            }
            self.network
                .send(node, peer, Packet::Asks(sending.exchange, bytes));
            self.network
                .wake(node, TIMEOUT_MS, WAKE_TIMEOUT + sending.exchange);
        }
        true
    }

    fn keep(&mut self, node: usize, effects: &Effects) {
        let sim = &mut self.nodes[node];
        let directory = self.federation.version(sim.disk.roster);
        for kept in &effects.kept {
            let key = &kept.stored.key;
            let member = directory.by_did(&key.author);
            let is_member = member.is_some_and(|member| member.is_active() || key.kind == Kind::Evidence);
            assert!(is_member, "an item of {}, who is no member, is kept", key.author);
            let is_honest = self.federation.place(&key.author) != self.federation.liar;
            if key.kind == Kind::StatusList && is_honest {
                assert!(
                    self.signed.contains(&kept.stored.bytes.to_vec()),
                    "a list that its author has not signed is kept"
                );
            }
            let place = (key.kind, key.id());
            let highest = sim.highest.entry(place).or_default();
            assert!(
                kept.stored.version >= *highest,
                "{} went back from {highest} to {}",
                key.author,
                kept.stored.version
            );
            *highest = kept.stored.version;
            let row = (kept.stored.version, kept.stored.bytes.to_vec());
            sim.disk.items.insert(place, row);
        }
        for gone in &effects.forgotten {
            sim.disk.items.remove(&(gone.key.kind, gone.key.id()));
        }
        if let Some(running) = &sim.running {
            running.view.keep(&effects.kept);
            running.view.forget(&effects.forgotten);
        }
    }

    /// What a node's look-ups say of a coupon.
    #[must_use]
    pub fn status(&self, node: usize, issuer: usize, index: u32) -> Option<CouponStatus> {
        let running = self.nodes[node].running.as_ref()?;
        let did = &self.federation.members[issuer].did;
        let now = self.network.clock(node);
        Some(running.view.status(did, 0, index, now, None))
    }

    /// Whether a node holds evidence against a member.
    #[must_use]
    pub fn convicts(&self, node: usize, member: usize) -> bool {
        let did = &self.federation.members[member].did;
        self.nodes[node].running.as_ref().is_some_and(|running| {
            let mut evidence = running.gossip.held().of_kind(Kind::Evidence);
            evidence.any(|(_, stored)| stored.key.author == *did && stored.key.name == Name::TwoLists(0))
        })
    }

    /// The version of the roster that a node follows.
    #[must_use]
    pub fn roster_version(&self, node: usize) -> u64 {
        self.nodes[node].disk.roster
    }

    /// What a node holds, as others would compare it.
    #[must_use]
    pub fn summary(&self, node: usize) -> Vec<Vec<u8>> {
        let running = self.nodes[node].running.iter();
        running
            .flat_map(|running| Kind::ALL.map(|kind| running.gossip.held().summary(kind, None)))
            .collect()
    }
}

impl Member {
    /// Its status list 0, signed.
    #[must_use]
    pub fn list(&self, statuses: &Statuses, issued_at: UnixSeconds) -> Vec<u8> {
        StatusList {
            uri: self.origin.status_uri(0),
            issued_at,
            expires: issued_at.plus(86_400),
            ttl: 60,
            statuses: statuses.clone(),
        }
        .sign(&self.credentials(), Algorithm::EdDsa)
    }
}

//! The exchange as a state machine: messages and the time go in; messages to send and
//! items to keep come out. It reads no clock and no disk, and is given its randomness.
//!
//! A round begins with digests. Whoever is asked answers where it differs: with the
//! hashes of buckets, or with a summary of what it holds; to a summary the other one
//! answers with what is lacking there, and asks for what it lacks itself. Every answer
//! follows from the message and from what is held, so a message that is lost, late or
//! repeated does no harm.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::super::message::{self, Head, MessageError, MessageName, Replays};
use super::super::roster::{Directory, Role};
use super::body::Body;
use super::held::{BUCKET_HASH_LEN, Held, Outcome, SUMMARY_LEN, Stored, Taken};
use super::item::{self, Content, Item, ItemError, ItemId, Kind, named};
use super::news;
use crate::credential::SecretKey;
use crate::encoding::cbor::GateError;
use crate::log::{KeyKind, VerifierKey};
use crate::primitives::{Digest, Entropy, UnixSeconds, limits};

/// Who a node is to the others.
pub struct Identity {
    /// Its did.
    pub did: String,
    /// Its key for messages.
    pub key: SecretKey,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("did", &self.did)
            .finish_non_exhaustive()
    }
}

/// A message to another node.
#[derive(Clone, Debug)]
pub struct Sending {
    /// What to call it when its answer has come, or none.
    pub exchange: u64,
    /// The did of the member that it is for.
    pub to: String,
    /// The sealed message.
    pub bytes: Vec<u8>,
}

/// An item that has to be made durable, and counts then.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its key, version and bytes.
    pub stored: Stored,
    /// What it says.
    pub content: Content,
}

/// What follows from a message, or from time.
#[derive(Debug, Default)]
pub struct Effects {
    /// What is to be sent.
    pub sends: Vec<Sending>,
    /// What is to be kept, in this order.
    pub kept: Vec<Kept>,
    /// What is to be forgotten.
    pub forgotten: Vec<Stored>,
    /// Checkpoints beside the newest of their logs, which may contradict it: those that
    /// came when a newer one was held, and those in whose place a newer one has come.
    pub older: Vec<Stored>,
    /// What was not taken, and why.
    pub refused: Vec<ItemError>,
    /// The did of a member that follows another roster, a newer one or a second of the
    /// same number: it is to be asked for it.
    pub ask_for_roster: Option<String>,
}

/// Why a message has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GossipError {
    /// The envelope is refused.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The body is none.
    #[error("its body is no gossip: {0}")]
    Body(GateError),
    /// It answers nothing that was asked.
    #[error("it answers nothing that was asked")]
    NotAsked,
}

impl GossipError {
    /// The reason as a word for machines.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Message(error) => error.reason(),
            Self::Body(_) => "body_malformed",
            Self::NotAsked => "not_asked",
        }
    }
}

/// An item that is told at once.
#[derive(Clone, Copy, Debug)]
struct News {
    kind: Kind,
    id: ItemId,
    /// Whether it was signed some time ago.
    is_late: bool,
}

/// A message under way whose answer is awaited.
#[derive(Debug)]
struct Exchange {
    to: String,
    id: [u8; 16],
    steps: u32,
    /// What is told at once, to be told to somebody else should this fail.
    news: Vec<News>,
    /// Whether it stands in the place of one that failed: it is not begun once more.
    instead: bool,
    /// Something did not fit.
    more: bool,
    /// Something came or went.
    moved: bool,
}

/// What is known of a peer.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    /// Failures in a row.
    failures: u32,
    /// Messages that it may still send at once.
    tokens: u32,
    /// Until when they were counted.
    counted: UnixSeconds,
}

impl Peer {
    fn is_silent(self) -> bool {
        self.failures >= limits::GOSSIP_FAILURES_MAX
    }
}

/// A node's part in gossip.
pub struct Gossip {
    identity: Identity,
    entropy: Arc<dyn Entropy>,
    directory: Option<Arc<Directory>>,
    held: Held,
    replays: Replays,
    peers: BTreeMap<String, Peer>,
    exchanges: BTreeMap<u64, Exchange>,
    next_exchange: u64,
    fanout: usize,
    /// Silent peers that may still be tried before the next round.
    probes: usize,
    /// Items that are no longer fresh, and may still be told at once before the next round.
    late: usize,
}

impl fmt::Debug for Gossip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gossip")
            .field("identity", &self.identity)
            .field("exchanges", &self.exchanges)
            .finish_non_exhaustive()
    }
}

impl Gossip {
    /// A node that holds nothing yet.
    #[must_use]
    pub fn new(identity: Identity, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            identity,
            entropy,
            directory: None,
            held: Held::default(),
            replays: Replays::default(),
            peers: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            next_exchange: 0,
            fanout: limits::GOSSIP_FANOUT,
            probes: 0,
            late: 0,
        }
    }

    /// How many peers are told news at once, other than usual: with none the rounds
    /// alone carry them.
    pub fn fanout(&mut self, peers: usize) {
        self.fanout = peers;
    }

    /// What is held.
    #[must_use]
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// The version of the roster that counts.
    #[must_use]
    pub fn directory(&self) -> Option<&Arc<Directory>> {
        self.directory.as_ref()
    }

    /// Peers that did not answer lately.
    #[must_use]
    pub fn failing(&self) -> usize {
        self.peers.values().filter(|peer| peer.is_silent()).count()
    }

    /// Takes up what was kept before, in the bytes that were kept. What does not count
    /// any more by the roster in force comes back to be forgotten; call it after
    /// [`follow`](Self::follow).
    pub fn restore(&mut self, kept: Vec<(Kind, Vec<u8>)>, now: UnixSeconds) -> Effects {
        let mut effects = Effects::default();
        for (kind, bytes) in kept {
            self.take(kind, &bytes, now, &mut effects);
        }
        effects
    }

    /// Goes by another version of the roster: what its members and keys no longer
    /// vouch for is forgotten.
    pub fn follow(&mut self, directory: Arc<Directory>, now: UnixSeconds) -> Effects {
        let empty = Held::default();
        let forgotten = self
            .held
            .retain(|stored| item::check(stored.key.kind, &stored.bytes, &directory, &empty, now).is_ok());
        let is_active = |did: &String| {
            let member = directory.by_did(did);
            member.is_some_and(super::super::roster::Member::is_active)
        };
        self.peers.retain(|did, _| is_active(did));
        self.directory = Some(directory);
        Effects {
            forgotten,
            ..Effects::default()
        }
    }

    /// Takes in an item of the node's own, and tells it where it is news.
    pub fn publish(&mut self, kind: Kind, bytes: &[u8], now: UnixSeconds) -> Effects {
        let mut effects = Effects::default();
        let news = self.take(kind, bytes, now, &mut effects);
        self.tell(&news, None, now, &mut effects);
        effects
    }

    /// A round begins: one peer that answers, and beside it one of those that did not
    /// lately; two while they are most.
    pub fn tick(&mut self, now: UnixSeconds) -> Effects {
        let mut effects = Effects::default();
        if self.directory.is_none() {
            return effects;
        }
        (self.probes, self.late) = (limits::GOSSIP_PROBES_MAX, limits::GOSSIP_LATE_NEWS_MAX);
        let (good, silent) = self.choice(None);
        let tried = if silent.len() > good.len() { 2 } else { 1 };
        self.begin(good, 1, now, &mut effects);
        self.begin(silent, tried, now, &mut effects);
        effects
    }

    /// Begins exchanges with some of these peers.
    fn begin(&mut self, mut peers: Vec<String>, count: usize, now: UnixSeconds, effects: &mut Effects) {
        for _ in 0..count {
            let Some(at) = self.place(peers.len()) else { break };
            let to = peers.swap_remove(at);
            let body = self.digest();
            self.send(to, &body, 0, Vec::new(), now, effects);
        }
    }

    /// A peer is there. If it was silent, others that were may be back with it, and have
    /// much to tell: some are tried at once, and do the same when they hear of it.
    fn heard(&mut self, did: &str, failures: u32, now: UnixSeconds, effects: &mut Effects) {
        let peer = self.peers.entry(did.to_owned()).or_default();
        let was_silent = peer.is_silent();
        peer.failures = peer.failures.min(failures);
        if was_silent && self.probes > 0 {
            let (_, silent) = self.choice(None);
            let count = std::mem::take(&mut self.probes);
            self.begin(silent, count, now, effects);
        }
    }

    /// A message of another node; what is answered, if anything is.
    ///
    /// # Errors
    /// [`GossipError`]; nothing of it has had an effect.
    pub fn receive(&mut self, bytes: &[u8], now: UnixSeconds) -> Result<(Vec<u8>, Effects), GossipError> {
        let (head, body) = self.open(bytes, MessageName::Gossip, now)?;
        self.allow(&head.sender, now)?;
        self.replays.take(&head, now)?;
        let mut effects = Effects::default();
        // It may hear badly itself: the next failure counts again.
        self.heard(&head.sender, limits::GOSSIP_FAILURES_MAX - 1, now, &mut effects);
        let (mut answer, news) = self.respond(&head.sender, &body, now, &mut effects);
        self.tell(&news, Some(&head.sender), now, &mut effects);
        answer.roster = self.roster();
        let answer = self.seal(MessageName::GossipAnswer, &head.sender, head.id, &answer, now);
        Ok((answer, effects))
    }

    /// The answer to a message that was sent.
    ///
    /// # Errors
    /// [`GossipError`]; it counts as no answer.
    pub fn answered(
        &mut self,
        exchange: u64,
        bytes: &[u8],
        now: UnixSeconds,
    ) -> Result<Effects, GossipError> {
        let asked = self.exchanges.get(&exchange).ok_or(GossipError::NotAsked)?;
        let (to, id) = (asked.to.clone(), asked.id);
        let opened = self.open(bytes, MessageName::GossipAnswer, now);
        let (head, body) = match opened {
            Ok((head, body)) if head.sender == to && head.id == id => (head, body),
            other => return Err(other.err().unwrap_or(GossipError::NotAsked)),
        };
        let asked = self.exchanges.remove(&exchange).expect("it was found");
        let mut effects = Effects::default();
        self.heard(&to, 0, now, &mut effects);
        let (next, news) = self.respond(&head.sender, &body, now, &mut effects);
        self.tell(&news, Some(&head.sender), now, &mut effects);
        let moved = asked.moved || !effects.kept.is_empty() || !next.items.is_empty();
        let more = asked.more || body.more || next.more;
        let steps = asked.steps + 1;
        if steps >= limits::GOSSIP_STEPS_MAX {
            return Ok(effects);
        }
        if !next.is_empty() {
            let number = self.send(asked.to, &next, steps, Vec::new(), now, &mut effects);
            if let Some(begun) = self.exchanges.get_mut(&number) {
                (begun.more, begun.moved) = (more, moved);
            }
        } else if more && moved {
            let body = self.digest();
            self.send(asked.to, &body, steps, Vec::new(), now, &mut effects);
        }
        Ok(effects)
    }

    /// A message that was sent got no answer, or one that is none. What it was for is done
    /// with one other peer instead, once.
    pub fn failed(&mut self, exchange: u64, now: UnixSeconds) -> Effects {
        let mut effects = Effects::default();
        let Some(failed) = self.exchanges.remove(&exchange) else {
            return effects;
        };
        let peer = self.peers.entry(failed.to.clone()).or_default();
        let was_silent = peer.is_silent();
        peer.failures = peer.failures.saturating_add(1);
        // Of a silent peer nothing else was to be expected.
        if failed.instead || was_silent {
            return effects;
        }
        let (good, _) = self.choice(Some(&failed.to));
        if let Some(to) = self.pick(&good).cloned() {
            let body = if failed.news.is_empty() {
                self.digest()
            } else {
                self.items(&failed.news)
            };
            let number = self.send(to, &body, failed.steps, failed.news, now, &mut effects);
            if let Some(begun) = self.exchanges.get_mut(&number) {
                begun.instead = true;
            }
        }
        effects
    }

    /// A message is not sent at all, for want of room; its peer has done nothing wrong.
    pub fn dropped(&mut self, exchange: u64) {
        self.exchanges.remove(&exchange);
    }

    fn open(&self, bytes: &[u8], name: MessageName, now: UnixSeconds) -> Result<(Head, Body), GossipError> {
        let directory = self.directory.as_ref().ok_or(MessageError::NotAMember)?;
        let (head, body) = message::open(bytes, name, directory, &self.identity.did, now)?;
        let body = Body::read(&body).map_err(GossipError::Body)?;
        Ok((head, body))
    }

    /// Whether one more message of a peer is taken now.
    fn allow(&mut self, did: &str, now: UnixSeconds) -> Result<(), MessageError> {
        let peer = self.peers.entry(did.to_owned()).or_default();
        let passed = u32::try_from(now.0.saturating_sub(peer.counted.0)).unwrap_or(u32::MAX);
        let earned = passed.saturating_mul(limits::GOSSIP_MESSAGES_PER_SECOND);
        peer.tokens = peer.tokens.saturating_add(earned).min(limits::GOSSIP_BURST);
        peer.counted = peer.counted.max(now);
        peer.tokens = peer.tokens.checked_sub(1).ok_or(MessageError::TooMany)?;
        Ok(())
    }

    fn roster(&self) -> Option<(u64, Digest)> {
        let directory = self.directory.as_ref()?;
        Some((directory.roster().version, directory.hash()))
    }

    /// What a round begins with.
    fn digest(&mut self) -> Body {
        let digests = Kind::ALL.map(|kind| (u64::from(kind.number()), self.held.kind_hash(kind)));
        Body {
            digests: digests.to_vec(),
            ..Body::default()
        }
    }

    /// Items in a message, as many as fit.
    fn items(&self, which: &[News]) -> Body {
        let mut body = Body::default();
        let mut room = Room::new();
        for News { kind, id, .. } in which {
            self.add_item(&mut body, &mut room, *kind, id);
        }
        body
    }

    fn add_item(&self, body: &mut Body, room: &mut Room, kind: Kind, id: &ItemId) {
        let Some(stored) = self.held.get(kind, id) else {
            return;
        };
        if room.take_item(stored.bytes.len()) {
            body.items.push((u64::from(kind.number()), stored.bytes.to_vec()));
        } else {
            body.more = true;
        }
    }

    /// Takes in what a message says, and says what follows; with what of it is news.
    fn respond(
        &mut self,
        sender: &str,
        body: &Body,
        now: UnixSeconds,
        effects: &mut Effects,
    ) -> (Body, Vec<News>) {
        if let (Some(theirs), Some(ours)) = (body.roster, self.roster())
            && (theirs.0 > ours.0 || (theirs.0 == ours.0 && theirs.1 != ours.1))
        {
            effects.ask_for_roster = Some(sender.to_owned());
        }
        let mut news = Vec::new();
        let refused_before = effects.refused.len();
        for (kind, bytes) in &body.items {
            if effects.refused.len() - refused_before >= limits::GOSSIP_BAD_ITEMS_MAX {
                break;
            }
            match Kind::from_number(*kind) {
                Ok(kind) => news.extend(self.take(kind, bytes, now, effects)),
                Err(error) => effects.refused.push(error),
            }
        }
        // Who keeps the rules holds one checkpoint of a log: it came too late, or another
        // has given way to it. More of them in one message need not be compared.
        let mut of_one: BTreeMap<String, usize> = BTreeMap::new();
        effects.older.retain(|older| {
            let count = of_one.entry(older.key.author.clone()).or_default();
            *count += 1;
            *count <= limits::GOSSIP_OLDER_OF_ONE_MAX
        });
        (self.compare(body), news)
    }

    /// What follows from another's digests, hashes, summaries and wants.
    fn compare(&mut self, body: &Body) -> Body {
        let mut answer = Body::default();
        let mut room = Room::new();
        for (number, theirs) in &body.digests {
            let Ok(kind) = Kind::from_number(*number) else {
                continue;
            };
            if self.held.kind_hash(kind) == *theirs {
                continue;
            }
            if self.held.count(kind) <= limits::GOSSIP_SUMMED_UP_MAX {
                self.add_summary(&mut answer, &mut room, kind, None);
            } else {
                answer
                    .bucket_hashes
                    .push((*number, self.held.bucket_hashes(kind)));
            }
        }
        for (number, theirs) in &body.bucket_hashes {
            let Ok(kind) = Kind::from_number(*number) else {
                continue;
            };
            let ours = self.held.bucket_hashes(kind);
            let pairs = ours.chunks(BUCKET_HASH_LEN).zip(theirs.chunks(BUCKET_HASH_LEN));
            for (bucket, _) in (0..).zip(pairs).filter(|(_, (ours, theirs))| ours != theirs) {
                self.add_summary(&mut answer, &mut room, kind, Some(bucket));
            }
        }
        for (number, ids) in &body.wants {
            let Ok(kind) = Kind::from_number(*number) else {
                continue;
            };
            for id in ids {
                self.add_item(&mut answer, &mut room, kind, id);
            }
        }
        for (number, bucket, lines) in &body.summaries {
            let Ok(kind) = Kind::from_number(*number) else {
                continue;
            };
            let (lacking, wanted) = self.held.compare(kind, *bucket, lines);
            for id in &lacking {
                self.add_item(&mut answer, &mut room, kind, id);
            }
            if !wanted.is_empty() {
                match answer.wants.iter_mut().find(|(kind, _)| kind == number) {
                    Some((_, ids)) => ids.extend(wanted),
                    None => answer.wants.push((*number, wanted)),
                }
            }
        }
        answer
    }

    fn add_summary(&self, answer: &mut Body, room: &mut Room, kind: Kind, bucket: Option<u8>) {
        let lines = self.held.summary(kind, bucket);
        if room.take_summary(lines.len()) {
            answer.summaries.push((u64::from(kind.number()), bucket, lines));
        } else {
            answer.more = true;
        }
    }

    /// Takes an item in, and what it proves; gives what of it is news.
    fn take(&mut self, kind: Kind, bytes: &[u8], now: UnixSeconds, effects: &mut Effects) -> Vec<News> {
        let mut news = Vec::new();
        let mut evidence = None;
        match self.take_one(kind, bytes, now, effects, &mut evidence) {
            Ok(found) => news.extend(found),
            Err(error) => effects.refused.push(error),
        }
        if let Some(bytes) = evidence {
            match self.take_one(Kind::Evidence, &bytes, now, effects, &mut None) {
                Ok(found) => news.extend(found),
                Err(error) => effects.refused.push(error),
            }
        }
        news
    }

    fn take_one(
        &mut self,
        kind: Kind,
        bytes: &[u8],
        now: UnixSeconds,
        effects: &mut Effects,
        evidence: &mut Option<Vec<u8>>,
    ) -> Result<Option<News>, ItemError> {
        let Some(directory) = &self.directory else {
            return Ok(None);
        };
        // What is held already, or was, byte for byte, was verified then.
        if self.held.knows(bytes) {
            return Ok(None);
        }
        let item = item::check(kind, bytes, directory, &self.held, now)?;
        let keys = log_keys(&item, directory);
        let (id, version, content) = (item.key.id(), item.version, item.content.clone());
        let Outcome {
            taken,
            evidence: proven,
        } = self.held.take(item, &keys)?;
        *evidence = proven;
        let before = match taken {
            Taken::Known => return Ok(None),
            Taken::Older(stored) => {
                self.held.pass(bytes);
                effects.older.extend((kind == Kind::Checkpoint).then_some(stored));
                return Ok(None);
            }
            Taken::Merged => None,
            Taken::New(before) => {
                // Of two of one size the evidence says it all.
                let is_older = |before: &Stored| kind == Kind::Checkpoint && before.version < version;
                effects.older.extend(before.clone().filter(is_older));
                Some(before)
            }
        };
        let is_late = !news::is_fresh(&content, now);
        let is_news = before.is_some_and(|before| news::is_news(&content, before.as_ref()))
            && (!is_late || self.may_be_late());
        let stored = self.held.get(kind, &id).expect("it was taken in").clone();
        effects.kept.push(Kept { stored, content });
        Ok(is_news.then_some(News { kind, id, is_late }))
    }

    /// Whether something old that is new here is told at once all the same: after a cut it
    /// is news to half of all. What a node was away for is not, and the rounds bring it.
    fn may_be_late(&mut self) -> bool {
        let may = self.late > 0;
        self.late = self.late.saturating_sub(1);
        may
    }

    /// Tells news to a few peers at once.
    fn tell(&mut self, news: &[News], except: Option<&str>, now: UnixSeconds, effects: &mut Effects) {
        if news.is_empty() || self.fanout == 0 {
            return;
        }
        let (mut good, _) = self.choice(except);
        let body = self.items(news);
        // Half of all may lack what is late, and nobody knows which half.
        let is_late = news.iter().any(|news| news.is_late);
        for _ in 0..if is_late { 2 * self.fanout } else { self.fanout } {
            let Some(at) = self.place(good.len()) else { break };
            let to = good.swap_remove(at);
            self.send(to, &body, 0, news.to_vec(), now, effects);
        }
    }

    /// Tells all other members what convicts this node itself: the last that it says.
    pub fn part(&mut self, now: UnixSeconds) -> Effects {
        let mut effects = Effects::default();
        let against = self.held.of_kind(Kind::Evidence);
        let against = against.filter(|(_, stored)| stored.key.author == self.identity.did);
        let news: Vec<News> = against
            .map(|(id, _)| News {
                kind: Kind::Evidence,
                id: *id,
                is_late: false,
            })
            .collect();
        if news.is_empty() {
            return effects;
        }
        let body = self.items(&news);
        let (good, silent) = self.choice(None);
        for to in good.into_iter().chain(silent) {
            self.send(to, &body, 0, Vec::new(), now, &mut effects);
        }
        effects
    }

    /// The other members: those that answer, and those that did not lately.
    fn choice(&self, except: Option<&str>) -> (Vec<String>, Vec<String>) {
        let directory = self.directory.iter();
        directory
            .flat_map(|directory| directory.active())
            .map(super::super::roster::Member::did)
            .filter(|did| *did != self.identity.did && Some(did.as_str()) != except)
            .partition(|did| self.peers.get(did).is_none_or(|peer| !peer.is_silent()))
    }

    fn pick<'a>(&self, from: &'a [String]) -> Option<&'a String> {
        self.place(from.len()).map(|at| &from[at])
    }

    /// A random place in something of this length; `None` where it is empty.
    fn place(&self, len: usize) -> Option<usize> {
        let random = u64::from_be_bytes(self.entropy.bytes());
        let len = u64::try_from(len).ok().filter(|len| *len > 0)?;
        usize::try_from(random % len).ok()
    }

    fn send(
        &mut self,
        to: String,
        body: &Body,
        steps: u32,
        news: Vec<News>,
        now: UnixSeconds,
        effects: &mut Effects,
    ) -> u64 {
        let body = Body {
            roster: self.roster(),
            ..body.clone()
        };
        let id = self.entropy.bytes();
        let bytes = self.seal(MessageName::Gossip, &to, id, &body, now);
        let exchange = self.next_exchange;
        self.next_exchange += 1;
        let begun = Exchange {
            to: to.clone(),
            id,
            steps,
            news,
            instead: false,
            more: body.more,
            moved: !body.items.is_empty(),
        };
        self.exchanges.insert(exchange, begun);
        effects.sends.push(Sending { exchange, to, bytes });
        exchange
    }

    fn seal(&self, name: MessageName, to: &str, id: [u8; 16], body: &Body, now: UnixSeconds) -> Vec<u8> {
        let head = Head {
            sender: self.identity.did.clone(),
            audience: to.to_owned(),
            time: now,
            id,
            roster_version: self.roster().map_or(0, |(version, _)| version),
        };
        message::seal(&self.identity.key, name, &head, &body.encode())
    }
}

/// The keys for the log of an item's author, as two checkpoints are held against.
fn log_keys(item: &Item, directory: &Directory) -> Vec<VerifierKey> {
    let Content::Checkpoint(checkpoint, _) = &item.content else {
        return Vec::new();
    };
    let member = directory.by_did(&item.key.author).into_iter();
    member
        .flat_map(|member| &member.keys)
        .filter(|key| key.role == Role::Log)
        .filter_map(|key| named(&checkpoint.origin, KeyKind::Ed25519, &key.key))
        .collect()
}

/// The room of one message.
struct Room {
    items: usize,
    bytes: usize,
    summaries: usize,
    summary_bytes: usize,
}

impl Room {
    fn new() -> Self {
        Self {
            items: limits::GOSSIP_ITEMS_MAX,
            bytes: limits::GOSSIPED_EVIDENCE_BYTES_MAX,
            summaries: limits::GOSSIP_SUMMARIES_MAX,
            summary_bytes: limits::GOSSIP_SUMMARY_BYTES_MAX,
        }
    }

    fn take_item(&mut self, bytes: usize) -> bool {
        let fits = self.items > 0 && bytes <= self.bytes;
        if fits {
            self.items -= 1;
            self.bytes -= bytes;
        }
        fits
    }

    fn take_summary(&mut self, bytes: usize) -> bool {
        let fits = self.summaries > 0 && bytes <= self.summary_bytes && bytes <= self.bytes;
        debug_assert!(bytes.is_multiple_of(SUMMARY_LEN), "whole lines");
        if fits {
            self.summaries -= 1;
            self.summary_bytes -= bytes;
            self.bytes -= bytes;
        }
        fits
    }
}

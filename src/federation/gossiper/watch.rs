//! Watching each other (protocol, section 6): every checkpoint of another member that
//! gossip brings has to continue the one that this node has cosigned last. It is
//! cosigned then, and the line travels on with it; a contradiction is evidence, and
//! travels at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use sha2::{Digest as _, Sha256};

use super::Gossiper;
use crate::federation::client::LogClient;
use crate::federation::error::FollowError;
use crate::federation::gossip::{Content, Gossip, Kept, Kind, Stored, evidence, item};
use crate::federation::peers::PeerError;
use crate::federation::roster::{KeyState, Member, Role};
use crate::federation::source::{FetchError, LogSource};
use crate::log::{Checkpoint, ForkEvidence, KeyKind, Note, VerifierKey};
use crate::merkle::Hash;
use crate::node::{KeyId, NodeError, ToWitness};
use crate::primitives::{Origin, limits};

/// The files of a member's log that were fetched so far. One that is lacking is noted:
/// it is fetched, without a thread that waits, and whoever asked begins again.
#[derive(Debug)]
struct Fetched {
    name: String,
    state: Mutex<FetchedState>,
}

#[derive(Debug, Default)]
struct FetchedState {
    files: BTreeMap<String, Option<Vec<u8>>>,
    /// The first that was lacking, and the bytes that it may have.
    lacking: Option<(String, usize)>,
}

impl Fetched {
    fn state(&self) -> MutexGuard<'_, FetchedState> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// What is lacking still, while there is room for more.
    fn lacking(&self) -> Option<(String, usize)> {
        let mut state = self.state();
        let lacking = state.lacking.take();
        lacking.filter(|_| state.files.len() < limits::WATCHED_FILES_MAX)
    }
}

impl LogSource for Fetched {
    fn get(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, FetchError> {
        let mut state = self.state();
        if let Some(file) = state.files.get(path) {
            return Ok(file.clone());
        }
        state.lacking.get_or_insert_with(|| (path.to_owned(), most));
        Err(FetchError::Unreachable {
            what: format!("{}/{path}", self.name),
            why: "it takes more files than a log's tree has".to_owned(),
        })
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// What a checkpoint turned out to be.
enum Seen {
    /// It continues the one of this size.
    Continues(u64, Vec<Hash>),
    /// A newer one was cosigned, and that continues this one.
    Older,
}

impl Gossiper {
    /// A checkpoint that was shown elsewhere: it is told to others if it is the newest,
    /// and held against the one cosigned last in any case.
    pub(super) async fn watch_shown(&self, note: &str) {
        self.publish(Kind::Checkpoint, note.as_bytes()).await;
        let said = Note::parse(note.as_bytes()).and_then(|note| Checkpoint::parse(note.text()));
        let Ok(said) = said else { return };
        let chain = self.parts.rosters.chain();
        let author = chain.directory().and_then(|directory| {
            let member = directory.by_log_origin(&said.origin)?;
            Some(member.did())
        });
        if let Some(author) = author.filter(|author| *author != self.own)
            && self.watch(&author, note.as_bytes()).await == Watched::Done
        {
            self.unread().done(&author, note.as_bytes());
        }
    }

    /// Another member's checkpoint that has come is held against the one cosigned last.
    pub(super) fn take_checkpoint(&self, kept: &Kept) {
        let Content::Checkpoint(_, note) = &kept.content else {
            return;
        };
        if !self.has_cosigned(note) {
            let (author, bytes) = (&kept.stored.key.author, kept.stored.bytes.to_vec());
            self.unread().newest(author, bytes);
            self.seen_more.notify_one();
        }
    }

    /// One that is older than what is held waits for the next round, so that nobody can have
    /// logs read all the time by telling old things.
    pub(super) fn take_older(&self, older: &Stored) {
        let Ok(note) = Note::parse(&older.bytes) else {
            return;
        };
        let author = &older.key.author;
        if !self.has_cosigned(&note) && !self.unread().older(author, older.bytes.to_vec()) {
            tracing::warn!(
                member = author,
                "a checkpoint of its log is not compared: too many wait until the log can be read"
            );
            self.metrics.watched("no_room");
        }
    }

    fn has_cosigned(&self, note: &Note) -> bool {
        let key = self.parts.node.witness_key();
        note.signatures().iter().any(|line| key.made(line))
    }

    /// Has those checkpoints of others looked at once more that are beyond what this node
    /// has cosigned of their logs: a log could not be read when its checkpoint came, or the
    /// node has started since. So are those that newer ones have overtaken unread. What
    /// convicts a log is not looked for again.
    pub(super) fn look_again(&self, machine: &Gossip) {
        for (_, stored) in machine.held().of_kind(Kind::Checkpoint) {
            let author = &stored.key.author;
            let said = size_and_origin(&stored.bytes);
            let Some((size, origin)) = said.filter(|_| *author != self.own && self.fork(author).is_none())
            else {
                continue;
            };
            let held = self.cosigned_last(author, &origin);
            let cosigned = held.and_then(|note| size_and_origin(note.as_bytes()));
            if cosigned.is_none_or(|(cosigned, _)| cosigned < size) {
                self.unread().newest(author, stored.bytes.to_vec());
                self.seen_more.notify_one();
            }
        }
        if self.unread().look_again() {
            self.seen_more.notify_one();
        }
    }

    /// What was cosigned last of a member's log: of one that the roster has declared in the
    /// place of another, what was cosigned of that.
    fn cosigned_last(&self, did: &str, origin: &str) -> Option<Arc<str>> {
        let chain = self.parts.rosters.chain();
        let member = chain.directory().and_then(|directory| directory.by_did(did));
        let compromised = member.map(compromised).unwrap_or_default();
        let origin_hash = Sha256::digest(origin).into();
        self.parts.node.witnessed_but_for(&origin_hash, &compromised)
    }

    /// Holds checkpoints of a member that are not its newest against the one cosigned last.
    /// Those that cannot be read stay for the next round.
    pub(super) async fn watch_older(&self, did: &str, notes: &[Vec<u8>]) {
        for note in notes {
            if self.fork(did).is_some() {
                self.unread().forget(did);
                return;
            }
            match self.watch(did, note).await {
                Watched::Done => self.unread().done(did, note),
                Watched::Unread => {}
                // Nor can the others be read.
                Watched::Unreachable => return,
            }
        }
    }

    /// Holds a member's checkpoint, a signed note, against the one cosigned last.
    pub(super) async fn watch(&self, did: &str, note: &[u8]) -> Watched {
        let (result, watched) = match self.watched(did, note).await {
            Ok(word) => (word, Watched::Done),
            Err(WatchError::Node(error)) => {
                tracing::warn!(member = did, "its checkpoint was not cosigned: {error}");
                let watched = match error {
                    NodeError::Busy | NodeError::NotCosigned(_) => Watched::Unread,
                    // As it is, it will never be compared.
                    _ => Watched::Done,
                };
                ("failed", watched)
            }
            Err(WatchError::Follow(FollowError::Forked(found))) => {
                tracing::error!(
                    member = did,
                    "its log has two histories: evidence is kept and told"
                );
                if let Some(bytes) = evidence::of_fork(&found) {
                    self.publish(Kind::Evidence, &bytes).await;
                }
                ("forked", Watched::Done)
            }
            Err(WatchError::Follow(error)) => {
                tracing::warn!(member = did, "its checkpoint was not cosigned: {error}");
                let watched = match &error {
                    FollowError::Fetch(FetchError::Unreachable { .. }) => Watched::Unreachable,
                    // By keys that count no more, nothing will ever be compared.
                    FollowError::Key(_) | FollowError::Checkpoint { .. } => Watched::Done,
                    _ => Watched::Unread,
                };
                (error.rule(), watched)
            }
        };
        self.metrics.watched(result);
        watched
    }

    async fn watched(&self, did: &str, note: &[u8]) -> Result<&'static str, WatchError> {
        let wrong = |error: crate::log::LogError| NodeError::Inconsistent(error.to_string());
        let chain = self.parts.rosters.chain();
        let member = chain.directory().and_then(|directory| {
            let member = directory.by_did(did)?;
            let keys = directory.keys(member, Role::Log, self.parts.node.now());
            let keys: Vec<VerifierKey> = keys
                .filter_map(|key| item::named(member.log_origin(), KeyKind::Ed25519, &key.key))
                .collect();
            Some((member.base_url.clone(), keys, compromised(member)))
        });
        let Some((base_url, keys, compromised)) = member else {
            return Ok("not_a_member");
        };
        let parsed = Note::parse(note).map_err(wrong)?;
        let signed_by = parsed.verify(&keys).map_err(wrong)?[0].key.clone();
        let origin_hash = Sha256::digest(base_url.authority()).into();
        let held = self.parts.node.witnessed_but_for(&origin_hash, &compromised);
        let log = (base_url, signed_by);
        let Seen::Continues(old, proof) = self.held_against(&log, &keys, held, note).await? else {
            return Ok("older");
        };
        let asked = ToWitness::open(&parsed, &keys, old, proof)
            .map_err(wrong)?
            .but_for(compromised);
        let line = self.parts.node.witness(asked).await?;
        let mut cosigned = parsed;
        cosigned.replace(line);
        self.publish(Kind::Checkpoint, cosigned.to_string().as_bytes())
            .await;
        Ok("cosigned")
    }

    /// What a checkpoint turns out to be, by the files of its log that it takes.
    async fn held_against(
        &self,
        (base_url, signed_by): &(Origin, VerifierKey),
        keys: &[VerifierKey],
        held: Option<Arc<str>>,
        note: &[u8],
    ) -> Result<Seen, WatchError> {
        let fetched = Arc::new(Fetched {
            name: base_url.to_string(),
            state: Mutex::default(),
        });
        loop {
            let client = LogClient::new(Arc::<Fetched>::clone(&fetched), signed_by.clone());
            let (shown, all, held) = (note.to_vec(), keys.to_vec(), held.clone());
            let work = move || hold_against(&client, &all, held.as_deref(), &shown);
            let seen = self.parts.node.aside(work).await?;
            let Some((path, most)) = fetched.lacking() else {
                return Ok(seen?);
            };
            let file = self.fetch(base_url, &path, most).await?;
            fetched.state().files.insert(path, file);
        }
    }

    /// A file of the log that the node at `base_url` keeps.
    async fn fetch(
        &self,
        base_url: &Origin,
        path: &str,
        most: usize,
    ) -> Result<Option<Vec<u8>>, FollowError> {
        let got = self.parts.peers.get(base_url, &format!("/{path}"), most).await;
        got.map_err(|error| {
            let what = format!("{base_url}/{path}");
            let error = match error {
                PeerError::TooLong { most, .. } => FetchError::TooLong { what, most },
                error => FetchError::Unreachable {
                    what,
                    why: error.to_string(),
                },
            };
            error.into()
        })
    }
}

/// The keys of a member's log that the roster has marked compromised.
fn compromised(member: &Member) -> Vec<KeyId> {
    let of_log = member.keys.iter().filter(|key| key.role == Role::Log);
    of_log
        .filter(|key| matches!(key.state, KeyState::Compromised { .. }))
        .filter_map(|key| item::named(member.log_origin(), KeyKind::Ed25519, &key.key))
        .map(|key| key.key_id())
        .collect()
}

/// The size and the log that a checkpoint names.
fn size_and_origin(note: &[u8]) -> Option<(u64, String)> {
    let said = Checkpoint::parse(Note::parse(note).ok()?.text()).ok()?;
    Some((said.size, said.origin))
}

/// What became of a checkpoint that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    /// It was compared, or never can be.
    Done,
    /// What it takes cannot be read now.
    Unread,
    /// Nor can anything else of its log.
    Unreachable,
}

enum WatchError {
    Node(NodeError),
    Follow(FollowError),
}

impl From<NodeError> for WatchError {
    fn from(error: NodeError) -> Self {
        Self::Node(error)
    }
}

impl From<FollowError> for WatchError {
    fn from(error: FollowError) -> Self {
        Self::Follow(error)
    }
}

/// Compares with the checkpoint that was cosigned last, from tiles that the member's
/// node serves and that are checked here.
fn hold_against(
    client: &LogClient,
    keys: &[VerifierKey],
    held: Option<&str>,
    shown: &[u8],
) -> Result<Seen, FollowError> {
    let shown = client.open(shown)?;
    let Some(held) = held else {
        return Ok(Seen::Continues(0, Vec::new()));
    };
    // It may have been signed by the key before.
    let opened = keys
        .iter()
        .map(|key| LogClient::new(Arc::clone(client.source()), key.clone()))
        .find_map(|earlier| earlier.open(held.as_bytes()).ok());
    let Some(held) = opened else {
        return Err(FollowError::Key(
            "the checkpoint that was cosigned last is by a key that the roster no longer has".to_owned(),
        ));
    };
    let (old, new) = (held.checkpoint.size, shown.checkpoint.size);
    if new < old {
        client.begins_with(&client.tree(held)?, &shown)?;
        return Ok(Seen::Older);
    }
    if new == old {
        // The notes alone tell.
        let (one, other) = (held.note.as_bytes(), shown.note.as_bytes());
        return match ForkEvidence::new(client.key(), one, other, None) {
            Ok(found) => Err(FollowError::Forked(Box::new(found))),
            Err(_) => Ok(Seen::Continues(old, Vec::new())),
        };
    }
    let tree = client.tree(shown)?;
    client.begins_with(&tree, &held)?;
    Ok(Seen::Continues(old, tree.consistency(old)?))
}

//! What is held of others' items: of each author, kind and name the newest, with
//! what two nodes compare.
//!
//! Items lie in 64 buckets by the first bits of their ids. Whoever holds the same
//! has the same hash of every bucket, and of a kind one over its buckets.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::evidence;
use super::item::{Content, Item, ItemError, ItemId, ItemKey, Kind, first_half, hash, merged};
use crate::credential::ListEvidence;
use crate::credential::status_list::StatusListToken;
use crate::log::{Note, VerifierKey};
use crate::primitives::{Digest, limits};

/// Buckets of a kind.
pub const BUCKETS: u8 = 64;
/// Bytes of a bucket's hash.
pub const BUCKET_HASH_LEN: usize = 8;
/// Bytes of one item in a summary: id, version, half of the hash of its bytes.
pub const SUMMARY_LEN: usize = 40;

/// An item that is held.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Author, kind and name.
    pub key: ItemKey,
    /// Its version.
    pub version: u64,
    /// As it travels.
    pub bytes: Arc<[u8]>,
    identity: Digest,
    /// Half of the hash of its bytes.
    seal: [u8; 16],
}

impl From<Item> for Stored {
    fn from(item: Item) -> Self {
        Self {
            version: item.version,
            identity: item.identity,
            seal: first_half(hash(&item.bytes).0),
            bytes: item.bytes.into(),
            key: item.key,
        }
    }
}

/// What became of an item.
#[derive(Debug)]
pub enum Taken {
    /// It is held now; what was held before under its key.
    New(Option<Stored>),
    /// Cosignatures of it were new.
    Merged,
    /// It was held already.
    Known,
    /// A newer one is held.
    Older(Stored),
}

/// An item taken in, and what it proved.
#[derive(Debug)]
pub struct Outcome {
    /// What became of it.
    pub taken: Taken,
    /// An item about two bodies of one version, if this was the second.
    pub evidence: Option<Vec<u8>>,
}

#[derive(Debug)]
struct OfKind {
    items: BTreeMap<ItemId, Stored>,
    hashes: Vec<Option<[u8; BUCKET_HASH_LEN]>>,
}

impl Default for OfKind {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            hashes: vec![None; usize::from(BUCKETS)],
        }
    }
}

/// All that is held.
#[derive(Debug, Default)]
pub struct Held {
    kinds: BTreeMap<Kind, OfKind>,
    shares: HashMap<String, Share>,
    /// Halves of the hashes of all bytes that are held.
    seals: HashSet<[u8; 16]>,
    passed: Passed,
}

/// Halves of the hashes of what was older than what is held, so that whoever brings it
/// again costs a hash and no signature is verified once more.
#[derive(Debug, Default)]
struct Passed {
    seals: HashSet<[u8; 16]>,
    order: VecDeque<[u8; 16]>,
}

impl Passed {
    fn put(&mut self, seal: [u8; 16]) {
        if !self.seals.insert(seal) {
            return;
        }
        self.order.push_back(seal);
        if self.order.len() > limits::GOSSIP_PASSED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.seals.remove(&oldest);
        }
    }
}

/// What one author has here.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    items: usize,
    bytes: usize,
}

fn bucket_of(id: &ItemId) -> u8 {
    id[0] >> 2
}

impl Held {
    /// Takes an item in that was checked. `keys` are the log keys of its author, for
    /// what two checkpoints prove.
    ///
    /// # Errors
    /// [`ItemError::ShareFull`].
    pub fn take(&mut self, item: Item, keys: &[VerifierKey]) -> Result<Outcome, ItemError> {
        let id = item.key.id();
        let held = self.get(item.key.kind, &id);
        let Some(held) = held else {
            self.check_share(&item, 0)?;
            let before = self.put(id, item);
            return Ok(Outcome {
                taken: Taken::New(before),
                evidence: None,
            });
        };
        if item.version != held.version {
            let taken = if item.version > held.version {
                self.check_share(&item, held.bytes.len())?;
                let before = self.put(id, item);
                if let Some(before) = &before {
                    self.passed.put(before.seal);
                }
                Taken::New(before)
            } else {
                Taken::Older(item.into())
            };
            return Ok(Outcome {
                taken,
                evidence: None,
            });
        }
        if item.identity == held.identity {
            return Ok(Outcome {
                taken: self.merge(id, item),
                evidence: None,
            });
        }
        let evidence = proven(&item, held, keys);
        // Whoever holds both keeps the same one.
        let taken = if item.identity < held.identity {
            Taken::New(self.put(id, item))
        } else {
            Taken::Known
        };
        Ok(Outcome { taken, evidence })
    }

    /// The same item once more: of a checkpoint its cosignatures may be new.
    fn merge(&mut self, id: ItemId, mut item: Item) -> Taken {
        let held = self.get(item.key.kind, &id).expect("it is held");
        let Content::Checkpoint(_, note) = &item.content else {
            return Taken::Known;
        };
        let Ok(ours) = Note::parse(&held.bytes) else {
            return Taken::Known;
        };
        let both = merged(&ours, note).to_string().into_bytes();
        if both == *held.bytes {
            return Taken::Known;
        }
        item.bytes = both;
        self.put(id, item);
        Taken::Merged
    }

    fn check_share(&self, item: &Item, replaced: usize) -> Result<(), ItemError> {
        let share = self.shares.get(&item.key.author).copied().unwrap_or_default();
        let one_more = usize::from(replaced == 0);
        let fits = share.items + one_more <= limits::GOSSIPED_ITEMS_OF_ONE_MAX
            && share.bytes + item.bytes.len() <= limits::GOSSIPED_BYTES_OF_ONE_MAX + replaced;
        if fits {
            Ok(())
        } else {
            Err(ItemError::ShareFull(item.key.author.clone()))
        }
    }

    fn put(&mut self, id: ItemId, item: Item) -> Option<Stored> {
        let stored = Stored::from(item);
        self.seals.insert(stored.seal);
        let share = self.shares.entry(stored.key.author.clone()).or_default();
        share.items += 1;
        share.bytes += stored.bytes.len();
        let of_kind = self.kinds.entry(stored.key.kind).or_default();
        of_kind.hashes[usize::from(bucket_of(&id))] = None;
        let before = of_kind.items.insert(id, stored);
        if let Some(before) = &before {
            self.give_back(before);
        }
        before
    }

    fn give_back(&mut self, stored: &Stored) {
        self.seals.remove(&stored.seal);
        if let Some(share) = self.shares.get_mut(&stored.key.author) {
            share.items -= 1;
            share.bytes -= stored.bytes.len();
        }
    }

    /// Forgets all items but those that `keep` wants; what was forgotten comes back.
    pub fn retain(&mut self, mut keep: impl FnMut(&Stored) -> bool) -> Vec<Stored> {
        let mut gone = Vec::new();
        for of_kind in self.kinds.values_mut() {
            let OfKind { items, hashes } = of_kind;
            items.retain(|id, stored| {
                let stays = keep(stored);
                if !stays {
                    hashes[usize::from(bucket_of(id))] = None;
                    gone.push(stored.clone());
                }
                stays
            });
        }
        for stored in &gone {
            self.give_back(stored);
        }
        if !gone.is_empty() {
            // What was older than they were may be the newest now.
            self.passed = Passed::default();
        }
        gone
    }

    /// Whether an item with these bytes is held, or was found older than what is.
    #[must_use]
    pub fn knows(&self, bytes: &[u8]) -> bool {
        let seal = first_half(hash(bytes).0);
        self.seals.contains(&seal) || self.passed.seals.contains(&seal)
    }

    /// These bytes were found older than what is held.
    pub fn pass(&mut self, bytes: &[u8]) {
        self.passed.put(first_half(hash(bytes).0));
    }

    /// The item with this id.
    #[must_use]
    pub fn get(&self, kind: Kind, id: &ItemId) -> Option<&Stored> {
        self.kinds.get(&kind)?.items.get(id)
    }

    /// All items of a kind, by id.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&ItemId, &Stored)> {
        self.kinds
            .get(&kind)
            .into_iter()
            .flat_map(|of_kind| &of_kind.items)
    }

    /// How many items of a kind are held.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.kinds.get(&kind).map_or(0, |of_kind| of_kind.items.len())
    }

    /// The hash over a kind.
    pub fn kind_hash(&mut self, kind: Kind) -> [u8; 16] {
        first_half(Sha256::digest(self.bucket_hashes(kind)).into())
    }

    /// The hashes of a kind's buckets, one after the other.
    pub fn bucket_hashes(&mut self, kind: Kind) -> Vec<u8> {
        let of_kind = self.kinds.entry(kind).or_default();
        let mut all = Vec::with_capacity(usize::from(BUCKETS) * BUCKET_HASH_LEN);
        for bucket in 0..BUCKETS {
            let place = usize::from(bucket);
            let hash = of_kind.hashes[place].unwrap_or_else(|| {
                let mut hasher = Sha256::new();
                for (id, stored) in range(&of_kind.items, Some(bucket)) {
                    hasher.update(line(id, stored));
                }
                let whole: [u8; 32] = hasher.finalize().into();
                let (short, _) = whole.split_at(BUCKET_HASH_LEN);
                short.try_into().expect("eight of 32 bytes")
            });
            of_kind.hashes[place] = Some(hash);
            all.extend(hash);
        }
        all
    }

    /// The items of a bucket, or of all of a kind, in a summary.
    #[must_use]
    pub fn summary(&self, kind: Kind, bucket: Option<u8>) -> Vec<u8> {
        let items = self.kinds.get(&kind).map(|of_kind| &of_kind.items);
        items
            .into_iter()
            .flat_map(|items| range(items, bucket))
            .flat_map(|(id, stored)| line(id, stored))
            .collect()
    }

    /// Compares with another's summary of a bucket, or of all of a kind: what it
    /// lacks of ours, and what we lack of it.
    #[must_use]
    pub fn compare(&self, kind: Kind, bucket: Option<u8>, theirs: &[u8]) -> (Vec<ItemId>, Vec<ItemId>) {
        let theirs: BTreeMap<ItemId, (u64, [u8; 16])> = theirs
            .chunks_exact(SUMMARY_LEN)
            .filter_map(|line| {
                let (id, rest) = line.split_first_chunk::<16>()?;
                let (version, seal) = rest.split_first_chunk::<8>()?;
                Some((*id, (u64::from_be_bytes(*version), seal.try_into().ok()?)))
            })
            .filter(|(id, _)| bucket.is_none_or(|bucket| bucket_of(id) == bucket))
            .collect();
        let empty = BTreeMap::new();
        let items = self.kinds.get(&kind).map_or(&empty, |of_kind| &of_kind.items);
        let lacking = range(items, bucket)
            .filter(|(id, ours)| {
                theirs
                    .get(*id)
                    .is_none_or(|theirs| *theirs < (ours.version, [0; 16]) || differs(ours, *theirs))
            })
            .map(|(id, _)| *id)
            .collect();
        let wanted = theirs
            .iter()
            .filter(|(id, theirs)| {
                items
                    .get(*id)
                    .is_none_or(|ours| theirs.0 > ours.version || differs(ours, **theirs))
            })
            .map(|(id, _)| *id)
            .collect();
        (lacking, wanted)
    }
}

/// Whether there are two bodies of one version, or other cosignatures.
fn differs(ours: &Stored, theirs: (u64, [u8; 16])) -> bool {
    ours.version == theirs.0 && ours.seal != theirs.1
}

fn range(
    items: &BTreeMap<ItemId, Stored>,
    bucket: Option<u8>,
) -> std::collections::btree_map::Range<'_, ItemId, Stored> {
    let (mut first, mut last) = ([0; 16], [0xff; 16]);
    if let Some(bucket) = bucket {
        first[0] = bucket << 2;
        last[0] = bucket << 2 | 3;
    }
    items.range(first..=last)
}

fn line(id: &ItemId, stored: &Stored) -> [u8; SUMMARY_LEN] {
    let mut line = [0; SUMMARY_LEN];
    line[..16].copy_from_slice(id);
    line[16..24].copy_from_slice(&stored.version.to_be_bytes());
    line[24..].copy_from_slice(&stored.seal);
    line
}

/// What two bodies of one version prove.
fn proven(item: &Item, held: &Stored, keys: &[VerifierKey]) -> Option<Vec<u8>> {
    match &item.content {
        Content::StatusList(token) => {
            let other = StatusListToken::parse(&held.bytes).ok()?;
            let differs = other.sign1().payload() != token.sign1().payload();
            differs.then(|| ListEvidence::of(&item.bytes, &held.bytes))
        }
        Content::Checkpoint(_, note) => {
            let other = Note::parse(&held.bytes).ok()?;
            evidence::of_two_checkpoints(note, &other, keys)
        }
        // A campaign's identity is its content; of evidence one pair is enough.
        Content::Campaign(_) | Content::Evidence(_) => None,
    }
}

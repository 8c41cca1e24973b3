//! Before a node serves: does a mirror, or another member of its federation, hold more of
//! its log than it does itself, or another history (protocol, section 6)?
//!
//! What they show counts only under the own log's key, so none of them can keep a node
//! from starting by what it makes up. One that does not answer says nothing.

use std::cmp::Reverse;
use std::time::Duration;

use data_encoding::HEXLOWER;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::client::CHECKPOINT;
use super::gossip::Kind;
use super::gossip::evidence::{self, Unchecked};
use super::peers::Peers;
use super::roster::Directory;
use super::submit::{answer_of, http_client};
use crate::credential::status_list::StatusListToken;
use crate::log::Checkpoint;
use crate::node::{Node, NodeError};
use crate::primitives::limits::{MIRROR_START_SECONDS_MAX, NOTE_BYTES_MAX};
use crate::primitives::{Digest, Origin};

/// Who shows a checkpoint of a node's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A mirror, by its prefix.
    Mirror(String),
    /// A member of the federation, by its did, which watches the log.
    Member(String),
    /// Whoever has told it in gossip.
    Gossip,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mirror(prefix) => write!(f, "the mirror {prefix}"),
            Self::Member(did) => write!(f, "the member {did}"),
            Self::Gossip => f.write_str("gossip"),
        }
    }
}

impl Holder {
    /// What `tallystick recover` is told to fetch from.
    fn source(&self) -> &str {
        match self {
            Self::Mirror(prefix) => prefix,
            Self::Member(_) | Self::Gossip => "MIRROR",
        }
    }
}

/// What others show that the node's store does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// More entries.
    #[error(
        "{holder} shows a checkpoint of this log over {held} entries, signed with its own key, but the store holds {size}: \
         entries that were signed are missing, and going on would give out a second history. Fetch them back with \
         `tallystick recover DIR --from {}`, or put the newer store back", holder.source()
    )]
    Behind {
        /// Who shows it.
        holder: Holder,
        /// Entries under the checkpoint that it shows.
        held: u64,
        /// Entries of the node.
        size: u64,
    },
    /// Other entries.
    #[error(
        "{holder} shows a checkpoint of this log over {held} entries, signed with its own key, whose root is {signed}; in \
         the store these entries have the root {root}. Two histories were signed: keep both, do not serve this store, and \
         compare them with `tallystick audit DIR --checkpoint FILE`. If this store is the wrong one, move DIR/store away \
         and fetch the log with `tallystick recover DIR --from {}`", holder.source()
    )]
    Forked {
        /// Who shows it.
        holder: Holder,
        /// Entries under the checkpoint that it shows.
        held: u64,
        /// Their root as it was signed.
        signed: Digest,
        /// Their root in the store.
        root: Digest,
    },
    /// Others hold evidence that convicts this node, whatever its store holds.
    #[error(
        "gossip has brought evidence that {said}, under this node's own key: a second node runs with its keys, an older \
         store was put in place, or the key is stolen. Other members take no new redemption of its coupons. Look at it with \
         `tallystick federation evidence --node URL --key KEY --save FILE` at another member; then declare a new {key} in \
         the federation's next roster (docs/federation.md). If this store is the history that the others have cosigned, and \
         they forgive it, go on with federation_forgiven = [\"{did}\"] in config.toml"
    )]
    Convicted {
        /// The node's did.
        did: String,
        /// What was done, in a sentence without its end.
        said: String,
        /// Which key did it.
        key: &'static str,
    },
}

/// Why a start did not come to compare, or must not go on.
#[derive(Debug, thiserror::Error)]
pub enum MirroredError {
    /// A mirror holds what the node lost.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// A URL is none.
    #[error("{0:?} is no URL of a mirror (https://HOST/mirror/NAME/)")]
    Url(String),
    /// The HTTP client cannot be set up.
    #[error("the HTTP client for mirrors cannot be set up: {0}")]
    Client(String),
    /// The own tree cannot be read.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// Under which name a member serves the mirror of another one: the other's host, and
/// its port after a hyphen, since a path has no colon.
#[must_use]
pub fn mirror_name(log: &Origin) -> String {
    log.authority().replace(':', "-")
}

/// Who of the federation shows checkpoints of the log of `own`, and at which member's base
/// URL and path: each watches it, and those that the roster names mirror it.
#[must_use]
pub fn holders(directory: &Directory, own: &Origin) -> Vec<(Holder, Origin, String)> {
    let Some(member) = directory.by_base_url(own) else {
        return Vec::new();
    };
    let origin = HEXLOWER.encode(&Sha256::digest(member.log_origin()));
    let mut holders = Vec::new();
    for other in directory
        .roster()
        .members
        .iter()
        .filter(|other| other.is_active())
    {
        let (did, base) = (other.did(), &other.base_url);
        if base == own {
            continue;
        }
        if member.mirrors.contains(&did) {
            let path = format!("/mirror/{}/", mirror_name(own));
            let place = format!("{path}{CHECKPOINT}");
            holders.push((Holder::Mirror(format!("{base}{path}")), base.clone(), place));
        }
        holders.push((
            Holder::Member(did),
            base.clone(),
            format!("/{origin}/{CHECKPOINT}"),
        ));
    }
    holders
}

/// Asks each of `mirrors` (prefixes of copies of this log) for its checkpoint, all at
/// once and for a short time, and compares.
///
/// # Errors
/// [`MirroredError::Lost`] when one shows what the store does not have; otherwise
/// why nothing could be compared.
pub async fn check_before_serving(node: &Node, mirrors: &[String]) -> Result<(), MirroredError> {
    if mirrors.is_empty() {
        return Ok(());
    }
    let mut places = Vec::with_capacity(mirrors.len());
    for mirror in mirrors {
        let place = format!("{}/{CHECKPOINT}", mirror.trim_end_matches('/'));
        let place = reqwest::Url::parse(&place).map_err(|_| MirroredError::Url(mirror.clone()))?;
        places.push(place);
    }
    let within = Duration::from_secs(MIRROR_START_SECONDS_MAX);
    let http = http_client(&places, within).map_err(MirroredError::Client)?;
    let asked = std::iter::zip(mirrors, places).map(|(mirror, place)| {
        let request = http.get(place);
        async move {
            let shown = match answer_of(request, NOTE_BYTES_MAX).await {
                Ok((200, _, note)) => Ok(note),
                Ok((status, ..)) => Err(format!("it answers {status}")),
                Err(why) => Err(why),
            };
            (Holder::Mirror(mirror.clone()), shown)
        }
    });
    compare_all(node, asked.collect()).await
}

/// The same with the other members of the federation: those that mirror this log, and
/// all others, each of which holds the checkpoint that it has cosigned last.
///
/// # Errors
/// As [`check_before_serving`].
pub async fn check_with_members(
    node: &Node,
    peers: &Peers,
    directory: &Directory,
) -> Result<(), MirroredError> {
    let holders = holders(directory, &node.options().origin);
    let asked = holders.into_iter().map(|(holder, member, path)| async move {
        let shown = match peers.get(&member, &path, NOTE_BYTES_MAX).await {
            Ok(Some(note)) => Ok(note),
            Ok(None) => Err("it has none".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        (holder, shown)
    });
    compare_all(node, asked.collect()).await
}

/// Compares what each shows with the own log, as it comes, for a short time.
async fn compare_all(
    node: &Node,
    mut asked: FuturesUnordered<impl Future<Output = (Holder, Result<Vec<u8>, String>)>>,
) -> Result<(), MirroredError> {
    let compare_each = async {
        while let Some((holder, shown)) = asked.next().await {
            let unheard = match shown {
                Ok(note) => match compare(node, &holder, &note)? {
                    Some(size) => {
                        tracing::info!(size, "{holder} holds the same log");
                        continue;
                    }
                    None => "it shows no checkpoint that this log's key has signed".to_owned(),
                },
                Err(why) => why,
            };
            tracing::warn!("this log was not compared with what {holder} holds of it: {unheard}");
        }
        Ok(())
    };
    let within = Duration::from_secs(MIRROR_START_SECONDS_MAX);
    timeout(within, compare_each).await.unwrap_or_else(|_| {
        tracing::warn!(
            "not all that hold copies of this log have answered within {MIRROR_START_SECONDS_MAX} s; the others hold \
             nothing that this node has not"
        );
        Ok(())
    })
}

/// The same with what gossip has brought before, and is kept: what has stopped this node
/// once stops each start, until it is cured.
///
/// # Errors
/// As [`check_before_serving`].
pub fn check_with_gossip(node: &Node) -> Result<(), MirroredError> {
    let (mut kept, _) = node.gossiped().map_err(NodeError::from)?;
    // Evidence says it best.
    kept.sort_by_key(|(kind, ..)| Reverse(*kind));
    for (kind, _, bytes) in kept {
        if let Ok(kind) = Kind::from_number(kind.into()) {
            check_gossiped(node, kind, &bytes)?;
        }
    }
    Ok(())
}

/// Whether an item of gossip shows that this node's log is not what the node has signed.
/// Only what its own keys have signed counts, and a key that it no longer holds does not.
///
/// # Errors
/// [`MirroredError::Lost`] if so; [`MirroredError::Node`] when the tree cannot be read.
pub fn check_gossiped(node: &Node, kind: Kind, bytes: &[u8]) -> Result<(), MirroredError> {
    let convicted = |said: String, key| {
        let did = node.options().origin.did_web();
        Err(Lost::Convicted { did, said, key }.into())
    };
    match kind {
        Kind::StatusList | Kind::Campaign => Ok(()),
        Kind::Checkpoint => compare(node, &Holder::Gossip, bytes).map(|_| ()),
        Kind::Evidence => match evidence::unchecked(bytes) {
            Ok(Unchecked::Fork(fork)) => match fork.verify(&node.log_key()) {
                Ok(found) => convicted(found.to_string(), "log"),
                Err(_) => Ok(()),
            },
            Ok(Unchecked::TwoLists(lists)) => {
                let keys = node.credential_keys();
                let is_own = |token: &StatusListToken| keys.iter().any(|key| token.verify(key).is_ok());
                if lists.tokens().into_iter().all(is_own) {
                    convicted(lists.to_string(), "key for credentials")
                } else {
                    Ok(())
                }
            }
            Err(_) => Ok(()),
        },
    }
}

/// Compares what somebody shows with the own log; the size of what agrees, `None`
/// where the own key has not signed it.
fn compare(node: &Node, holder: &Holder, note: &[u8]) -> Result<Option<u64>, MirroredError> {
    let Ok(shown) = Checkpoint::open(note, &node.log_key()) else {
        return Ok(None);
    };
    let holder = holder.clone();
    let (held, size) = (shown.size, node.size());
    if held > size {
        return Err(Lost::Behind { holder, held, size }.into());
    }
    let root = node.consistency(held, None)?.first_root;
    if root != shown.root {
        return Err(Lost::Forked {
            holder,
            held,
            signed: shown.root,
            root,
        }
        .into());
    }
    Ok(Some(held))
}

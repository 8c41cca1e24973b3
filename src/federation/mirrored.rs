//! Before a node serves: does a mirror hold more of its log than it does itself, or
//! another history?
//!
//! What a mirror shows counts only under the own log's key, so none of them can keep
//! a node from starting by what it makes up. One that does not answer says nothing.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use super::client::CHECKPOINT;
use super::roster::Directory;
use super::submit::{answer_of, http_client};
use crate::log::Checkpoint;
use crate::node::{Node, NodeError};
use crate::primitives::limits::{MIRROR_START_SECONDS_MAX, NOTE_BYTES_MAX};
use crate::primitives::{Digest, Origin};

/// What a mirror shows that the node's store does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// More entries.
    #[error(
        "the mirror {mirror} shows a checkpoint of this log over {held} entries, signed with its own key, but the store \
         holds {size}: entries that were signed are missing, and going on would give out a second history. Fetch them back \
         with `tallystick recover DIR --from {mirror}`, or put the newer store back"
    )]
    Behind {
        /// The mirror's prefix.
        mirror: String,
        /// Entries under the checkpoint that it shows.
        held: u64,
        /// Entries of the node.
        size: u64,
    },
    /// Other entries.
    #[error(
        "the mirror {mirror} shows a checkpoint of this log over {held} entries, signed with its own key, whose root is \
         {signed}; in the store these entries have the root {root}. Two histories were signed: keep both, do not serve \
         this store, and compare them with `tallystick audit DIR --checkpoint FILE`. If this store is the wrong one, move \
         DIR/store away and fetch the log with `tallystick recover DIR --from {mirror}`"
    )]
    Forked {
        /// The mirror's prefix.
        mirror: String,
        /// Entries under the checkpoint that it shows.
        held: u64,
        /// Their root as it was signed.
        signed: Digest,
        /// Their root in the store.
        root: Digest,
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

/// The prefixes under which the members that the roster names serve mirrors of `own`.
#[must_use]
pub fn prefixes(directory: &Directory, own: &Origin) -> Vec<String> {
    let Some(member) = directory.by_base_url(own) else {
        return Vec::new();
    };
    let mirrors = member.mirrors.iter().filter_map(|did| directory.by_did(did));
    mirrors
        .map(|mirror| format!("{}/mirror/{}/", mirror.base_url, mirror_name(own)))
        .collect()
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
    let mut asked: FuturesUnordered<_> = std::iter::zip(mirrors, places)
        .map(|(mirror, place)| {
            let request = http.get(place);
            async move { (mirror, answer_of(request, NOTE_BYTES_MAX).await) }
        })
        .collect();
    let compare_each = async {
        while let Some((mirror, answer)) = asked.next().await {
            let unheard = match answer {
                Ok((200, _, note)) => match compare(node, mirror, &note)? {
                    Some(size) => {
                        tracing::info!(mirror, size, "a mirror agrees with this log");
                        continue;
                    }
                    None => "it shows no checkpoint that this log's key has signed".to_owned(),
                },
                Ok((status, ..)) => format!("it answers {status}"),
                Err(why) => why,
            };
            tracing::warn!(
                mirror,
                "this log was not compared with what a mirror of it holds: {unheard}"
            );
        }
        Ok(())
    };
    timeout(within, compare_each).await.unwrap_or_else(|_| {
        tracing::warn!(
            "not every mirror of this log has answered within {MIRROR_START_SECONDS_MAX} s; the others hold nothing that \
             this node has not"
        );
        Ok(())
    })
}

/// Compares what a mirror shows with the own log; the size of what agrees, `None`
/// where the own key has not signed it.
fn compare(node: &Node, mirror: &str, note: &[u8]) -> Result<Option<u64>, MirroredError> {
    let Ok(shown) = Checkpoint::open(note, &node.log_key()) else {
        return Ok(None);
    };
    let mirror = mirror.to_owned();
    let (held, size) = (shown.size, node.size());
    if held > size {
        return Err(Lost::Behind { mirror, held, size }.into());
    }
    let root = node.consistency(held, None)?.first_root;
    if root != shown.root {
        return Err(Lost::Forked {
            mirror,
            held,
            signed: shown.root,
            root,
        }
        .into());
    }
    Ok(Some(held))
}

//! Catching up with the federation's roster from another member's node.

use std::sync::Arc;

use super::peers::{PeerError, Peers};
use super::roster::{Member, RosterError, SignedRoster};
use super::rosters::{Rosters, RostersError};
use crate::primitives::limits;

/// Why catching up stopped.
#[derive(Debug, thiserror::Error)]
pub enum CatchUpError {
    /// The member's node could not be asked.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// What it shows is refused, or the own node failed.
    #[error(transparent)]
    Rosters(#[from] RostersError),
}

/// Fetches the versions after the one in force from the node of `member`, one after
/// the other, and offers each; the version that is then in force comes back. A
/// hundred versions at most are fetched at a time.
///
/// # Errors
/// [`CatchUpError`]; what was followed before it stays followed.
pub async fn catch_up(peers: &Peers, rosters: &Rosters, member: &Member) -> Result<u64, CatchUpError> {
    for _ in 0..limits::ROSTER_STEPS_MAX {
        let next = rosters.chain().version().saturating_add(1);
        let path = format!("/federation/roster/{next}");
        let Some(bytes) = peers
            .get(&member.base_url, &path, limits::ROSTER_BYTES_MAX)
            .await?
        else {
            break;
        };
        let signed = SignedRoster::decode(&bytes).map_err(RostersError::from)?;
        // An older one that is known is no error, and would be fetched for ever.
        if signed.version_said() != Some(next) {
            let found = signed.version_said().unwrap_or_default();
            return Err(RostersError::from(RosterError::Gap { version: found, next }).into());
        }
        rosters.offer(&signed, None).await?;
    }
    Ok(rosters.chain().version())
}

/// Fetches the newer roster of a message's sender, beside whatever else goes on.
pub(super) fn catch_up_beside(peers: &Peers, rosters: &Arc<Rosters>, sender: Option<&Member>) {
    let Some(sender) = sender.cloned() else { return };
    let (peers, rosters) = (peers.clone(), Arc::clone(rosters));
    tokio::spawn(async move {
        if let Err(error) = catch_up(&peers, &rosters, &sender).await {
            tracing::warn!(member = sender.did(), %error, "the newer roster of a member cannot be had");
        }
    });
}

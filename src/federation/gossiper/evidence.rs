//! Evidence that a node holds, for whoever has to decide what comes of it.

use crate::federation::gossip::evidence::check;
use crate::federation::gossip::{Content, Evidence};
use crate::federation::roster::Directory;
use crate::primitives::UnixSeconds;

/// A piece of evidence against a member.
#[derive(Clone, Debug)]
pub struct HeldEvidence {
    /// `did:web` of the member whom it convicts.
    pub member: String,
    /// What was proven.
    pub evidence: Evidence,
    /// Of a fork what convicts the log (schemas/fork-evidence.cddl); of two lists the
    /// evidence as it travels (schemas/gossip.cddl).
    pub bytes: Vec<u8>,
    /// Whether this node takes no new redemption of the member's coupons for it.
    pub stops_redemptions: bool,
}

impl HeldEvidence {
    pub(super) fn read(bytes: &[u8], directory: &Directory) -> Option<Self> {
        let item = check(bytes, directory).ok()?;
        let Content::Evidence(evidence) = item.content else {
            return None;
        };
        let bytes = match evidence.as_ref() {
            Evidence::Fork { evidence, .. } => evidence.encode(),
            Evidence::TwoLists { .. } => item.bytes,
        };
        Some(Self {
            member: item.key.author,
            evidence: *evidence,
            bytes,
            stops_redemptions: false,
        })
    }

    pub(super) fn is_fork(&self) -> bool {
        matches!(self.evidence, Evidence::Fork { .. })
    }

    /// What the member has done, in a sentence without its end.
    #[must_use]
    pub fn said(&self) -> String {
        match &self.evidence {
            Evidence::Fork { said, .. } => said.clone(),
            Evidence::TwoLists { list, version } => format!(
                "two status lists {list} that say different things were signed as of {}",
                UnixSeconds(*version).rfc3339()
            ),
        }
    }
}

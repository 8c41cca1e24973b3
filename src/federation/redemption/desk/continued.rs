//! What ties each answer of an issuer to all that its log has shown before.

use std::sync::Arc;

use super::super::answers::{self, Tree, VerifiedLog};
use super::super::redeemer::Redeemer;
use super::super::wire::Link;
use super::{Desk, Failure, Newest};
use crate::federation::roster::Member;
use crate::merkle::verify_consistency;
use crate::primitives::limits;

impl Desk {
    /// Holds a verified log against the newest one that was verified before: answers
    /// may overtake each other.
    pub(super) async fn continue_held(
        &self,
        redeemer: &Redeemer,
        member: &Member,
        named: &Tree,
        (log, link): (&VerifiedLog, Option<Link>),
    ) -> Result<(), Failure> {
        let new = Newest {
            tree: log.tree(),
            key: log.key.clone(),
            note: Arc::from(log.note.as_str()),
            link,
        };
        self.prove_earlier(redeemer, member, &new.tree).await?;
        let mut shown = None;
        loop {
            let held = {
                let mut state = self.state();
                let Some(held) = state.log.clone() else {
                    state.log = Some(new);
                    return Ok(());
                };
                if held.tree == new.tree {
                    return Ok(());
                }
                // From the one that the request named, the answer has shown it.
                let is_shown = held.tree == *named || shown == Some(held.tree);
                if is_shown || continues(&held, &new) {
                    if new.tree.size > held.tree.size {
                        state.log = Some(new);
                    }
                    return Ok(());
                }
                held.tree
            };
            self.prove_continued(redeemer, member, &held, &new.tree).await?;
            // Another answer may have come in between: once more against that one.
            shown = Some(held);
        }
    }

    /// Makes sure that `tree` continues what was cosigned and what was verified before this
    /// node was started: of a log with two histories that can be one of each.
    async fn prove_earlier(&self, redeemer: &Redeemer, member: &Member, tree: &Tree) -> Result<(), Failure> {
        let earlier = self.state().earlier.clone();
        for held in earlier.iter().filter(|held| held.tree != *tree) {
            let proven = self.prove_continued(redeemer, member, &held.tree, tree).await;
            if let Err(Failure::Answer(_)) = proven {
                redeemer.knowledge.saw_other(&held.note);
            }
            proven?;
        }
        let proven = |held: &Newest| earlier.iter().any(|proven| proven.tree == held.tree);
        self.state().earlier.retain(|held| !proven(held));
        Ok(())
    }

    /// Asks the issuer for the proof that of two of its trees the larger continues the
    /// other.
    async fn prove_continued(
        &self,
        redeemer: &Redeemer,
        member: &Member,
        one: &Tree,
        other: &Tree,
    ) -> Result<(), Failure> {
        let (first, second) = in_order(one, other);
        let not_continued = || answers::AnswerError::NotContinued(first.size);
        if first.size == second.size {
            return Err(not_continued().into());
        }
        if first.size == 0 {
            return Ok(());
        }
        let path = format!(
            "/v1/log/proofs/consistency?first={}&second={}",
            first.size, second.size
        );
        let most = limits::CONSISTENCY_ANSWER_BYTES_MAX;
        let answer = redeemer.peers.get(&member.base_url, &path, most).await?;
        let proof = answer
            .and_then(|answer| answers::read_consistency(&answer))
            .ok_or_else(not_continued)?;
        verify_consistency(first.size, second.size, &first.root, &second.root, &proof)
            .map_err(|_| not_continued())?;
        Ok(())
    }
}

fn in_order<'a>(one: &'a Tree, other: &'a Tree) -> (&'a Tree, &'a Tree) {
    if one.size <= other.size {
        (one, other)
    } else {
        (other, one)
    }
}

/// Whether the link of the larger of two trees shows that it continues the other.
fn continues(one: &Newest, other: &Newest) -> bool {
    let (first, second) = if one.tree.size <= other.tree.size {
        (one, other)
    } else {
        (other, one)
    };
    let link = second.link.as_ref();
    link.filter(|link| link.old_size == first.tree.size)
        .is_some_and(|link| {
            let (first, second) = (&first.tree, &second.tree);
            verify_consistency(first.size, second.size, &first.root, &second.root, &link.proof).is_ok()
        })
}

//! Messages that came before, as far as they could come again: those whose time
//! lies further back are refused for that.
//!
//! Kept in memory: a node that starts anew would take a message of the last
//! minutes a second time. So what a message does has to be harmless twice, as it
//! has to for answers that get lost; this keeps a replay from costing anything.

use std::collections::{BTreeSet, HashMap};

use super::{Head, MessageError};
use crate::primitives::{UnixSeconds, limits};

/// Ids of messages, by sender and time.
#[derive(Clone, Debug, Default)]
pub struct Replays {
    by_sender: HashMap<String, BTreeSet<(UnixSeconds, [u8; 16])>>,
}

impl Replays {
    /// Takes in a message that was opened at `now`.
    ///
    /// # Errors
    /// [`MessageError::Replayed`]; [`MessageError::TooMany`] when the sender's
    /// messages of the last minutes fill its share.
    pub fn take(&mut self, head: &Head, now: UnixSeconds) -> Result<(), MessageError> {
        let known = self.by_sender.entry(head.sender.clone()).or_default();
        let oldest = now.minus(limits::CLOCK_SKEW_SECONDS_MAX);
        while known.first().is_some_and(|(time, _)| *time < oldest) {
            known.pop_first();
        }
        if known.contains(&(head.time, head.id)) {
            return Err(MessageError::Replayed);
        }
        if known.len() >= limits::MESSAGES_REMEMBERED_MAX {
            return Err(MessageError::TooMany);
        }
        known.insert((head.time, head.id));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sender: &str, time: u64, id: u16) -> Head {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        Head {
            sender: sender.to_owned(),
            audience: "did:web:us.example".to_owned(),
            time: UnixSeconds(time),
            id: bytes,
            roster_version: 1,
        }
    }

    #[test]
    fn a_message_counts_once_while_it_could_come_again() {
        let mut replays = Replays::default();
        let mut take = |head: &Head, now| replays.take(head, UnixSeconds(now));
        let first = head("did:web:a.example", 1_000, 1);
        assert_eq!(take(&first, 1_000), Ok(()));
        assert_eq!(take(&first, 1_300), Err(MessageError::Replayed));
        assert_eq!(take(&head("did:web:a.example", 1_000, 2), 1_300), Ok(()));
        assert_eq!(take(&head("did:web:b.example", 1_000, 1), 1_300), Ok(()));
    }

    #[test]
    fn one_sender_has_a_share_that_empties() {
        let mut replays = Replays::default();
        let most = u16::try_from(limits::MESSAGES_REMEMBERED_MAX).unwrap();
        let now = UnixSeconds(1_000);
        for id in 0..most {
            assert_eq!(replays.take(&head("did:web:a.example", 1_000, id), now), Ok(()));
        }
        let one_more = head("did:web:a.example", 1_000, most);
        assert_eq!(replays.take(&one_more, now), Err(MessageError::TooMany));
        assert_eq!(replays.take(&head("did:web:b.example", 1_000, 0), now), Ok(()));
        let later = head("did:web:a.example", 1_301, most);
        assert_eq!(replays.take(&later, UnixSeconds(1_301)), Ok(()));
    }
}

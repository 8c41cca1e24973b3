//! How many messages of one member are worked on at a time, so that none of them
//! holds up the others.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Who has messages that are being worked on.
#[derive(Debug)]
pub(super) struct Turns {
    most: usize,
    under_way: Mutex<HashMap<String, usize>>,
}

impl Turns {
    /// Each member has `most` at a time.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            under_way: Mutex::default(),
        }
    }

    /// A place for a message of `member`; `None` where all of its own are taken.
    pub fn take(&self, member: &str) -> Option<Turn<'_>> {
        let mut under_way = self.under_way();
        let count = under_way.entry(member.to_owned()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Turn {
            turns: self,
            member: member.to_owned(),
        })
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A member's place among the messages that are being worked on.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    member: String,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut under_way = self.turns.under_way();
        if let Some(count) = under_way.get_mut(&self.member) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.member);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_has_its_own_places() {
        let turns = Turns::new(2);
        let [first, second] = [turns.take("did:web:a.example"), turns.take("did:web:a.example")];
        assert!(first.is_some() && second.is_some());
        assert!(turns.take("did:web:a.example").is_none());
        assert!(turns.take("did:web:b.example").is_some());
        drop(first);
        assert!(turns.take("did:web:a.example").is_some());
        drop(second);
        assert!(turns.under_way().is_empty());
    }
}

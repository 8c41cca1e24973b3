//! Checkpoints of other members that wait to be held against the ones cosigned: the newest
//! of each, and a few that newer ones have overtaken before their log could be read. What
//! contradicts a log may stand in one of those alone.

use std::collections::BTreeMap;

use crate::primitives::limits;

/// What waits, by the did of the member whose log it is of.
#[derive(Debug, Default)]
pub(super) struct Unread {
    newest: BTreeMap<String, Vec<u8>>,
    older: BTreeMap<String, Vec<Vec<u8>>>,
    /// Whose older ones are to be looked at.
    due: Vec<String>,
}

impl Unread {
    /// A member's newest one, in the place of an earlier one.
    pub fn newest(&mut self, did: &str, note: Vec<u8>) {
        self.newest.insert(did.to_owned(), note);
    }

    /// One that is not its member's newest any more, or never was; whether there is room.
    pub fn older(&mut self, did: &str, note: Vec<u8>) -> bool {
        let of_one = self.older.entry(did.to_owned()).or_default();
        // More cosignatures make no other checkpoint.
        if of_one.iter().any(|known| text(known) == text(&note)) {
            return true;
        }
        let fits = of_one.len() < limits::GOSSIP_UNREAD_MAX;
        if fits {
            of_one.push(note);
        }
        fits
    }

    /// All older ones are looked at next; whether there are any.
    pub fn look_again(&mut self) -> bool {
        self.due = self.older.keys().rev().cloned().collect();
        !self.due.is_empty()
    }

    /// The next newest one.
    pub fn next(&mut self) -> Option<(String, Vec<u8>)> {
        self.newest.pop_first()
    }

    /// Of the next member whose older ones are to be looked at all of them. They stay until
    /// they are [`done`](Self::done).
    pub fn next_older(&mut self) -> Option<(String, Vec<Vec<u8>>)> {
        let did = self.due.pop()?;
        let notes = self.older.get(&did).cloned().unwrap_or_default();
        Some((did, notes))
    }

    /// An older one was compared, or counts no more.
    pub fn done(&mut self, did: &str, note: &[u8]) {
        if let Some(of_one) = self.older.get_mut(did) {
            of_one.retain(|other| text(other) != text(note));
            if of_one.is_empty() {
                self.older.remove(did);
            }
        }
    }

    /// A member's log is convicted: nothing more is looked for.
    pub fn forget(&mut self, did: &str) {
        self.newest.remove(did);
        self.older.remove(did);
    }
}

/// What was signed: a note up to the empty line before its signatures.
fn text(note: &[u8]) -> &[u8] {
    let end = note.windows(2).position(|pair| pair == b"\n\n");
    end.map_or(note, |end| &note[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(size: usize, line: &str) -> Vec<u8> {
        format!("coop.example\n{size}\nroot\n\n{line}\n").into_bytes()
    }

    #[test]
    fn older_ones_stay_until_they_are_compared_and_each_member_has_few() {
        let mut unread = Unread::default();
        assert!(!unread.look_again());
        for size in 0..limits::GOSSIP_UNREAD_MAX {
            assert!(unread.older("a", note(size, "signed")));
        }
        // The same ones once more take no room, and there is none for another.
        assert!(unread.older("a", note(0, "signed and cosigned")));
        assert!(!unread.older("a", note(100, "signed")));
        assert!(unread.older("b", note(100, "signed")));

        // Nothing of it is looked at before a round says so, and then all of it, once.
        assert_eq!(unread.next_older(), None);
        for _ in 0..2 {
            assert!(unread.look_again());
            let (first, of_a) = unread.next_older().unwrap();
            assert_eq!((first.as_str(), of_a.len()), ("a", limits::GOSSIP_UNREAD_MAX));
            assert_eq!(
                unread.next_older(),
                Some(("b".to_owned(), vec![note(100, "signed")]))
            );
            assert_eq!(unread.next_older(), None);
        }
        unread.done("a", &note(0, "cosigned since"));
        assert!(unread.older("a", note(101, "signed")), "there is room again");
        unread.done("b", &note(100, "signed"));
        unread.newest("a", note(200, "signed"));
        unread.forget("a");
        assert!(!unread.look_again());
        assert_eq!(unread.next(), None);
    }

    #[test]
    fn of_each_member_the_newest_waits_once() {
        let mut unread = Unread::default();
        for (did, size) in [("b", 1), ("a", 2), ("b", 3)] {
            unread.newest(did, note(size, "signed"));
        }
        assert_eq!(unread.next(), Some(("a".to_owned(), note(2, "signed"))));
        assert_eq!(unread.next(), Some(("b".to_owned(), note(3, "signed"))));
        assert_eq!(unread.next(), None);
    }
}

//! What a witness answers to add-checkpoint, and what to do then. Sans IO.

use crate::log::NoteSignature;
use crate::log::witness::{SIZE_TYPE, parse_cosignatures, parse_size};

/// Longest excerpt of an answer in an error, in characters.
const EXCERPT_CHARS_MAX: usize = 200;

/// One checkpoint on its way to one witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    old: u64,
    size: u64,
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Lines, not verified yet.
    Lines(Vec<NoteSignature>),
    /// It holds another size: ask again, from that one.
    Again,
    /// It holds a larger log than the checkpoint's.
    Behind(u64),
    /// It does not find the checkpoint consistent with what it holds.
    Inconsistent,
    /// It refuses, or fails; in words.
    Refused(String),
}

impl Exchange {
    /// A checkpoint of `size`, to a witness that is believed to hold `held`.
    #[must_use]
    pub fn new(held: u64, size: u64) -> Self {
        Self {
            old: held.min(size),
            size,
        }
    }

    /// The size that the proof begins at.
    #[must_use]
    pub fn old(&self) -> u64 {
        self.old
    }

    /// The checkpoint's size.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes an answer in.
    pub fn answered(&mut self, status: u16, media: &str, body: &str) -> Answered {
        let excerpt = || {
            let begin: String = body.trim().chars().take(EXCERPT_CHARS_MAX).collect();
            format!("it answered {status}: {}", begin.escape_debug())
        };
        let media = media.split(';').next().unwrap_or_default().trim();
        match status {
            200 => match parse_cosignatures(body) {
                Ok(lines) => Answered::Lines(lines),
                Err(error) => Answered::Refused(format!("its answer is no cosignature: {error}")),
            },
            409 if media.eq_ignore_ascii_case(SIZE_TYPE) => match parse_size(body) {
                Ok(held) if held > self.size => Answered::Behind(held),
                // The size that was asked with: it contradicts itself.
                Ok(held) if held == self.old => Answered::Refused(excerpt()),
                Ok(held) => {
                    self.old = held;
                    Answered::Again
                }
                Err(error) => Answered::Refused(format!("{}: {error}", excerpt())),
            },
            // Version 1.0.0 has it so for another root at the same size.
            409 if self.old == self.size => Answered::Inconsistent,
            422 => Answered::Inconsistent,
            404 => Answered::Refused(
                "it was not told of this log: give its operator this node's vkey".to_owned(),
            ),
            403 => Answered::Refused(
                "it knows another key of this log: give its operator this node's vkey".to_owned(),
            ),
            _ => Answered::Refused(excerpt()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "\u{2014} witness.example AAAAAAA=\n";

    #[track_caller]
    fn check(held: u64, (status, media, body): (u16, &str, &str), expected: Answered, old: u64) {
        let mut exchange = Exchange::new(held, 10);
        assert_eq!(exchange.answered(status, media, body), expected);
        assert_eq!(exchange.old(), old);
    }

    #[test]
    fn answers_say_what_to_do() {
        let lines = Answered::Lines(vec![NoteSignature::parse(LINE.trim_end()).unwrap()]);
        check(3, (200, "text/plain", LINE), lines.clone(), 3);
        check(3, (200, "", LINE), lines, 3);
        let size = "text/x.tlog.size";
        check(3, (409, size, "7\n"), Answered::Again, 7);
        check(3, (409, size, "0\n"), Answered::Again, 0);
        check(
            3,
            (409, "Text/X.tlog.size; charset=utf-8", "10\n"),
            Answered::Again,
            10,
        );
        check(3, (409, size, "11\n"), Answered::Behind(11), 3);
        check(10, (409, "text/plain", "conflict"), Answered::Inconsistent, 10);
        check(10, (422, "text/plain", ""), Answered::Inconsistent, 10);
        check(
            3,
            (422, "application/problem+json", "{}"),
            Answered::Inconsistent,
            3,
        );
        // What is believed of a witness is never above what it is sent.
        assert_eq!(Exchange::new(20, 10).old(), 10);
        for refused in [
            (409, size, "3\n"),
            (409, size, "07\n"),
            (409, size, "7"),
            (409, size, ""),
            (409, "text/plain", "7\n"),
            (200, "text/plain", ""),
            (200, "text/plain", "<html>\n"),
            (403, "", ""),
            (404, "", ""),
            (429, "", ""),
            (500, "", "\u{1b}[31moops"),
            (302, "", ""),
        ] {
            let mut exchange = Exchange::new(3, 10);
            let answered = exchange.answered(refused.0, refused.1, refused.2);
            let Answered::Refused(why) = answered else {
                panic!("{refused:?}: {answered:?}");
            };
            assert!(!why.contains('\u{1b}'), "{why}");
            assert_eq!(exchange.old(), 3);
        }
    }
}

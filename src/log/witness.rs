//! What logs and their witnesses say to each other (c2sp.org/tlog-witness, as
//! its main branch has it), and when a witness cosigns.
//!
//! ```text
//! request = "old " decimal LF
//!           *63(base64(hash) LF)
//!           LF
//!           checkpoint
//! answer  = 1*(signature line of a note)
//! size    = decimal LF
//! ```
//!
//! In scope: these texts, and the decision. Out of scope: which logs a witness
//! is told of, how it remembers what it cosigned, HTTP.

use std::fmt;

use data_encoding::BASE64;

use super::checkpoint::parse_decimal;
use super::note::decode_base64;
use super::{Checkpoint, LogError, NoteSignature};
use crate::merkle::{Hash, ProofError, root_of, verify_consistency};
use crate::primitives::Digest;
use crate::primitives::limits::{
    ADD_CHECKPOINT_BYTES_MAX, ADD_CHECKPOINT_PROOF_MAX, COSIGNATURES_ANSWERED_MAX, NOTE_BYTES_MAX,
};

/// The media type of a size.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// A checkpoint that is to be cosigned, with the proof that it continues the
/// one that the witness has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size of the checkpoint that the witness cosigned last; 0 for none.
    pub old: u64,
    /// Consistency from that size to the checkpoint's (RFC 6962, section 2.1.2).
    pub proof: Vec<Hash>,
    /// The checkpoint: a signed note, verbatim.
    pub note: String,
}

impl AddCheckpoint {
    /// Reads a request's body. The checkpoint is not opened yet.
    ///
    /// # Errors
    /// [`LogError::AddCheckpoint`] with the reason.
    pub fn parse(body: &[u8]) -> Result<Self, LogError> {
        let refuse = LogError::AddCheckpoint;
        if body.len() > ADD_CHECKPOINT_BYTES_MAX {
            return Err(refuse("it is too long"));
        }
        let mut rest = str::from_utf8(body).map_err(|_| refuse("it is not UTF-8"))?;
        let mut line = || {
            let (line, after) = rest
                .split_once('\n')
                .ok_or(refuse("it ends before its checkpoint"))?;
            rest = after;
            Ok::<_, LogError>(line)
        };
        let old = line()?
            .strip_prefix("old ")
            .and_then(parse_decimal)
            .ok_or(refuse("its first line is `old` and a size"))?;
        let mut proof = Vec::new();
        loop {
            let coded = line()?;
            if coded.is_empty() {
                break;
            }
            if proof.len() == ADD_CHECKPOINT_PROOF_MAX {
                return Err(refuse("its proof has more than 63 lines"));
            }
            let hash = decode_base64(coded).and_then(|bytes| bytes.try_into().ok());
            proof.push(hash.ok_or(refuse("its proof is lines of 32 bytes in base64"))?);
        }
        if rest.is_empty() || rest.len() > NOTE_BYTES_MAX {
            return Err(refuse("its checkpoint is missing, or too long"));
        }
        Ok(Self {
            old,
            proof,
            note: rest.to_owned(),
        })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{}", BASE64.encode(hash))?;
        }
        write!(f, "\n{}", self.note)
    }
}

/// Size and root of a log that was cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// Entries.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Digest,
}

impl TreeHead {
    /// The head of a log without entries, where nothing was cosigned yet.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            size: 0,
            root: Digest(root_of(&[])),
        }
    }
}

impl From<&Checkpoint> for TreeHead {
    fn from(checkpoint: &Checkpoint) -> Self {
        Self {
            size: checkpoint.size,
            root: checkpoint.root,
        }
    }
}

/// Why a checkpoint with a good signature is not cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCosigned {
    /// The proof would go backwards.
    #[error("the old size {old} is above the checkpoint's size {size}")]
    OldAboveSize {
        /// The old size.
        old: u64,
        /// The checkpoint's.
        size: u64,
    },
    /// The proof begins elsewhere than at what was cosigned last.
    #[error("the checkpoint cosigned last is of size {held}")]
    OtherOld {
        /// The size cosigned last; 0 for none.
        held: u64,
    },
    /// It does not continue what was cosigned last.
    #[error("it is not shown to continue the checkpoint cosigned last: {0}")]
    Inconsistent(ProofError),
}

/// Whether a witness that cosigned `held` last may cosign `new`: the rules of
/// add-checkpoint in their order, after those about origin and signature.
///
/// # Errors
/// [`NotCosigned`] says which rule is broken.
pub fn decide(held: &TreeHead, old: u64, proof: &[Hash], new: &TreeHead) -> Result<(), NotCosigned> {
    if old > new.size {
        return Err(NotCosigned::OldAboveSize { old, size: new.size });
    }
    if old != held.size {
        return Err(NotCosigned::OtherOld { held: held.size });
    }
    verify_consistency(old, new.size, &held.root.0, &new.root.0, proof).map_err(NotCosigned::Inconsistent)
}

/// Reads the lines that a witness answers with. What they sign is not checked
/// yet.
///
/// # Errors
/// [`LogError::Note`] for what is no line of a signature.
pub fn parse_cosignatures(body: &str) -> Result<Vec<NoteSignature>, LogError> {
    let lines = body
        .strip_suffix('\n')
        .ok_or(LogError::Note("the last line does not end in a newline"))?;
    let mut found = Vec::new();
    for line in lines.split('\n') {
        if found.len() == COSIGNATURES_ANSWERED_MAX {
            return Err(LogError::Note("too many signatures"));
        }
        found.push(NoteSignature::parse(line)?);
    }
    Ok(found)
}

/// Reads the size that a witness names when it holds another than `old`.
///
/// # Errors
/// [`LogError::AddCheckpoint`] when it is none.
pub fn parse_size(body: &str) -> Result<u64, LogError> {
    body.strip_suffix('\n')
        .and_then(parse_decimal)
        .ok_or(LogError::AddCheckpoint(
            "a size is a decimal without leading zeros and a newline",
        ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::merkle::leaf_hash;

    /// The example of the specification.
    const EXAMPLE: &str = "old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u{2014} example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
";

    #[test]
    fn the_example_of_the_specification_is_read() {
        let read = AddCheckpoint::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!((read.old, read.proof.len()), (20_852_014, 4));
        assert!(read.note.starts_with("example.com/behind-the-sofa\n20852163\n"));
        assert_eq!(read.to_string(), EXAMPLE);
        let answer = "\u{2014} witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==\n\
            \u{2014} witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==\n";
        let lines = parse_cosignatures(answer).unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1].name, "witness.example/w2");
        assert_eq!(parse_size("20852014\n"), Ok(20_852_014));
    }

    #[test]
    fn other_bodies_are_refused() {
        let hash = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n";
        let with_lines = |count: usize| EXAMPLE.replacen(hash, &hash.repeat(count), 1);
        assert_eq!(
            AddCheckpoint::parse(with_lines(60).as_bytes())
                .unwrap()
                .proof
                .len(),
            63
        );
        let mut bad = vec![
            String::new(),
            "old 5\n".into(),
            "old 5\n\n".into(),
            with_lines(61),
        ];
        for (from, to) in [
            ("old 20852014", "old 020852014"),
            ("old 20852014", "old -1"),
            ("old 20852014", "old  20852014"),
            ("old 20852014", "old 18446744073709551616"),
            ("old 20852014", "Old 20852014"),
            ("old 20852014\n", ""),
            ("old 20852014\n", "old 20852014\r\n"),
            (hash, "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw\n"),
            (hash, "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkax=\n"),
            (hash, "AAAA\n"),
            (hash, " \n"),
        ] {
            let changed = EXAMPLE.replacen(from, to, 1);
            assert_ne!(changed, EXAMPLE);
            bad.push(changed);
        }
        for body in bad {
            let refused = AddCheckpoint::parse(body.as_bytes());
            assert!(matches!(refused, Err(LogError::AddCheckpoint(_))), "{body:?}");
        }
        assert!(AddCheckpoint::parse(b"old 1\n\n\xff").is_err());
        let long = format!("old 1\n\n{}", "x".repeat(ADD_CHECKPOINT_BYTES_MAX));
        assert!(AddCheckpoint::parse(long.as_bytes()).is_err());
        for size in ["", "5", "05\n", "5\n\n", " 5\n", "-5\n", "x\n"] {
            assert!(parse_size(size).is_err(), "{size:?}");
        }
        for lines in ["", "\n", "\u{2014} name AAAAAAA=", "name\n"] {
            assert!(parse_cosignatures(lines).is_err(), "{lines:?}");
        }
        let line = "\u{2014} name AAAAAAA=\n";
        assert!(parse_cosignatures(&line.repeat(COSIGNATURES_ANSWERED_MAX)).is_ok());
        assert!(parse_cosignatures(&line.repeat(COSIGNATURES_ANSWERED_MAX + 1)).is_err());
    }

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|leaf| leaf_hash(&leaf.to_be_bytes())).collect()
    }

    fn head(count: u64) -> TreeHead {
        TreeHead {
            size: count,
            root: Digest(root_of(&leaves(count))),
        }
    }

    /// RFC 6962, section 2.1.2, as it stands there.
    fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if m == leaves.len() {
            return if whole { Vec::new() } else { vec![root_of(leaves)] };
        }
        let k = leaves.len().next_power_of_two() / 2;
        if m <= k {
            let mut proof = subproof(m, &leaves[..k], whole);
            proof.push(root_of(&leaves[k..]));
            proof
        } else {
            let mut proof = subproof(m - k, &leaves[k..], false);
            proof.push(root_of(&leaves[..k]));
            proof
        }
    }

    #[test]
    fn every_step_forward_is_cosigned_and_none_back() {
        for old in 0..20_u64 {
            for new in 0..20_u64 {
                let proof = if 0 < old && old < new {
                    subproof(old as usize, &leaves(new), true)
                } else {
                    Vec::new()
                };
                let decided = decide(&head(old), old, &proof, &head(new));
                if new < old {
                    assert_eq!(decided, Err(NotCosigned::OldAboveSize { old, size: new }));
                    continue;
                }
                assert_eq!(decided, Ok(()), "{old} to {new}");
                let other = decide(&head(old + 1), old, &proof, &head(new));
                assert_eq!(other, Err(NotCosigned::OtherOld { held: old + 1 }));
                let forked = TreeHead {
                    root: Digest([9; 32]),
                    ..head(new)
                };
                let refused = decide(&head(old), old, &proof, &forked);
                // What follows on nothing is not proven to follow.
                let anything = old == 0 && new > 0;
                assert_eq!(refused.is_ok(), anything, "{old} to {new}");
                let longer = [&proof[..], &[[1; 32]]].concat();
                assert!(matches!(
                    decide(&head(old), old, &longer, &head(new)),
                    Err(NotCosigned::Inconsistent(_))
                ));
            }
        }
    }

    #[test]
    fn an_empty_log_has_one_root() {
        let other = TreeHead {
            size: 0,
            root: Digest([1; 32]),
        };
        assert_eq!(decide(&TreeHead::empty(), 0, &[], &TreeHead::empty()), Ok(()));
        assert_eq!(
            decide(&TreeHead::empty(), 0, &[], &other),
            Err(NotCosigned::Inconsistent(ProofError::WrongRoot))
        );
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_again(at in any::<prop::sample::Index>(), byte in 0..128_u8) {
            let mut bytes = EXAMPLE.as_bytes().to_vec();
            let at = at.index(bytes.len());
            if bytes[at].is_ascii() {
                bytes[at] = byte;
            }
            if let Ok(read) = AddCheckpoint::parse(&bytes) {
                prop_assert_eq!(read.to_string().into_bytes(), bytes);
            }
        }
    }
}

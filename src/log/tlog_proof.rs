//! Proofs that stand on their own, as text (c2sp.org/tlog-proof, as its main
//! branch has it).
//!
//! ```text
//! proof = "c2sp.org/tlog-proof@v1" LF
//!         ["extra " base64 LF]
//!         "index " decimal LF
//!         *(base64(hash) LF)
//!         LF
//!         checkpoint
//! ```
//!
//! In scope: the text, and whether it proves an entry under a log's key. Out of
//! scope: how many witnesses have to have cosigned (a policy of the reader's).

use std::fmt;

use data_encoding::BASE64;

use super::checkpoint::parse_decimal;
use super::note::decode_base64;
use super::{Checkpoint, LogError, VerifierKey};
use crate::merkle::{Hash, PROOF_LEN_MAX, verify_inclusion};
use crate::primitives::Digest;
use crate::primitives::limits::{NOTE_BYTES_MAX, TLOG_PROOF_EXTRA_BYTES_MAX};

/// The first line of a proof.
pub const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A proof as it is read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Opaque bytes that nothing vouches for; a node writes none.
    pub extra: Option<Vec<u8>>,
    /// The entry's index.
    pub index: u64,
    /// The audit path from the leaf upwards.
    pub path: Vec<Hash>,
    /// The checkpoint whose tree the path leads into: a signed note, verbatim.
    pub checkpoint: String,
}

impl TlogProof {
    /// Reads a proof. The checkpoint is not opened yet.
    ///
    /// # Errors
    /// [`LogError::TlogProof`] with the reason.
    pub fn parse(text: &str) -> Result<Self, LogError> {
        let refuse = LogError::TlogProof;
        let mut rest = text;
        if line(&mut rest)? != HEADER {
            return Err(refuse("its first line is c2sp.org/tlog-proof@v1"));
        }
        let mut next = line(&mut rest)?;
        let mut extra = None;
        if let Some(coded) = next.strip_prefix("extra ") {
            let bytes = decode_base64(coded).filter(|bytes| bytes.len() <= TLOG_PROOF_EXTRA_BYTES_MAX);
            extra = Some(bytes.ok_or(refuse("its extra data is not base64, or too long"))?);
            next = line(&mut rest)?;
        }
        let index = next.strip_prefix("index ").and_then(parse_decimal);
        let index = index.ok_or(refuse("a line `index NUMBER` is missing"))?;
        let mut path = Vec::new();
        loop {
            let coded = line(&mut rest)?;
            if coded.is_empty() {
                break;
            }
            if path.len() == PROOF_LEN_MAX {
                return Err(refuse("its path is longer than any tree is high"));
            }
            let hash = decode_base64(coded).and_then(|bytes| bytes.try_into().ok());
            path.push(hash.ok_or(refuse("its path is lines of 32 bytes in base64"))?);
        }
        if rest.is_empty() || rest.len() > NOTE_BYTES_MAX {
            return Err(refuse("its checkpoint is missing, or too long"));
        }
        Ok(Self {
            extra,
            index,
            path,
            checkpoint: rest.to_owned(),
        })
    }

    /// Checks that the entry with hash `entry_hash` is at the proof's index in
    /// the tree of its checkpoint, which `log_key` has signed; gives the
    /// checkpoint.
    ///
    /// # Errors
    /// What [`Checkpoint::open`] gives, and [`LogError::Proof`] when the path
    /// does not lead from the entry to the checkpoint's root.
    pub fn verify(&self, entry_hash: &Digest, log_key: &VerifierKey) -> Result<Checkpoint, LogError> {
        let checkpoint = Checkpoint::open(self.checkpoint.as_bytes(), log_key)?;
        let (size, root) = (checkpoint.size, &checkpoint.root.0);
        verify_inclusion(&entry_hash.0, self.index, size, &self.path, root)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", BASE64.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", BASE64.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Takes the next line off the front.
fn line<'a>(text: &mut &'a str) -> Result<&'a str, LogError> {
    let ends = LogError::TlogProof("it ends before its checkpoint");
    let (line, rest) = text.split_once('\n').ok_or(ends)?;
    *text = rest;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};
    use proptest::prelude::*;

    use super::*;
    use crate::log::KeyKind;
    use crate::merkle::{ProofError, leaf_hash, path_in, root_of};

    const LEAVES: u8 = 7;

    fn log_key() -> (SigningKey, VerifierKey) {
        let key = SigningKey::from_bytes(&[9; 32]);
        let named = VerifierKey::new("coop.example", KeyKind::Ed25519, key.verifying_key());
        (key, named.unwrap())
    }

    fn leaves() -> Vec<Hash> {
        (0..LEAVES).map(|leaf| leaf_hash(&[leaf])).collect()
    }

    fn proof(index: usize) -> TlogProof {
        let (key, named) = log_key();
        let checkpoint = Checkpoint::new("coop.example", u64::from(LEAVES), Digest(root_of(&leaves())));
        let note = checkpoint.sign(&named, |text| key.sign(text).to_bytes()).unwrap();
        TlogProof {
            extra: None,
            index: index as u64,
            path: path_in(&leaves(), index).unwrap(),
            checkpoint: note.to_string(),
        }
    }

    #[test]
    fn a_proof_proves_its_entry_and_no_other() {
        let (_, named) = log_key();
        for index in 0..usize::from(LEAVES) {
            let read = TlogProof::parse(&proof(index).to_string()).unwrap();
            assert_eq!(read, proof(index));
            let checkpoint = read.verify(&Digest(leaves()[index]), &named).unwrap();
            assert_eq!(checkpoint.size, u64::from(LEAVES));
            let other = Digest(leaves()[(index + 1) % usize::from(LEAVES)]);
            let wrong = LogError::Proof(ProofError::WrongRoot);
            assert_eq!(read.verify(&other, &named), Err(wrong));
        }
        let stranger = SigningKey::from_bytes(&[8; 32]).verifying_key();
        let stranger = VerifierKey::new("coop.example", KeyKind::Ed25519, stranger).unwrap();
        let refused = proof(0).verify(&Digest(leaves()[0]), &stranger);
        assert_eq!(refused, Err(LogError::NotSigned));
    }

    /// The lines of the specification's example, whose hashes are whole.
    #[test]
    fn the_example_of_the_specification_is_read() {
        let text = "c2sp.org/tlog-proof@v1\n\
            index 73894\n\
            gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n\
            B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=\n\
            EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=\n\
            RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=\n\
            AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=\n\
            \n\
            example.com/fancylog\n109482\nsFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=\n\n";
        let read = TlogProof::parse(text).unwrap();
        assert_eq!(
            (read.index, read.path.len(), read.extra.is_none()),
            (73_894, 5, true)
        );
        assert!(read.checkpoint.starts_with("example.com/fancylog\n109482\n"));
        assert_eq!(read.to_string(), text);
        let with_extra = text.replace("index 73894", "extra YWdl\nindex 73894");
        let read = TlogProof::parse(&with_extra).unwrap();
        assert_eq!(read.extra.as_deref(), Some(&b"age"[..]));
        assert_eq!(read.to_string(), with_extra);
    }

    #[test]
    fn other_texts_are_refused() {
        let good = proof(3).to_string();
        for (from, to) in [
            ("tlog-proof@v1", "tlog-proof@v2"),
            ("index 3", "index 03"),
            ("index 3", "index -3"),
            ("index 3", "index  3"),
            ("index 3", "Index 3"),
            ("index 3\n", ""),
            ("index 3", "extra !!\nindex 3"),
            ("index 3", "extra YQ\nindex 3"),
            ("index 3", "index 3\nAAAA"),
            ("index 3\n", "index 3\r\n"),
        ] {
            let changed = good.replacen(from, to, 1);
            assert_ne!(changed, good);
            let refused = TlogProof::parse(&changed);
            assert!(matches!(refused, Err(LogError::TlogProof(_))), "{changed}");
        }
        let (head, _) = good.split_once("\n\n").unwrap();
        assert!(TlogProof::parse(head).is_err());
        assert!(TlogProof::parse(&format!("{head}\n\n")).is_err());
        let hash = format!("{}\n", BASE64.encode(&[1; 32]));
        let long = good.replacen("index 3\n", &format!("index 3\n{}", hash.repeat(64)), 1);
        assert!(TlogProof::parse(&long).is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_again(at in any::<prop::sample::Index>(), byte in 0..128_u8) {
            let mut bytes = proof(5).to_string().into_bytes();
            let at = at.index(bytes.len());
            if bytes[at].is_ascii() {
                bytes[at] = byte;
            }
            let text = String::from_utf8(bytes).unwrap();
            if let Ok(read) = TlogProof::parse(&text) {
                prop_assert_eq!(read.to_string(), text);
            }
        }
    }
}

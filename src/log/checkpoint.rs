//! Checkpoints: the signed size and root of a log (c2sp.org/tlog-checkpoint
//! v1.0.0).
//!
//! ```text
//! body = origin LF size LF base64(root) LF *(extension LF)
//! ```

use std::fmt;

use data_encoding::BASE64;

use super::note::{Signed, decode_base64};
use super::{LogError, Note, VerifierKey};
use crate::merkle::root_of;
use crate::primitives::Digest;

/// Size and root of a log at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: the base URL's host and port, also the name of its key.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Root of the Merkle tree over them.
    pub root: Digest,
    /// Further lines without their newlines; ours have none.
    pub extensions: Vec<String>,
}

/// A checkpoint whose signatures have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCheckpoint<'k> {
    /// What the log has signed.
    pub checkpoint: Checkpoint,
    /// The note it came in, all signature lines included.
    pub note: Note,
    /// The known witnesses that have cosigned it.
    pub cosigned: Vec<Signed<'k>>,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    #[must_use]
    pub fn new(origin: impl Into<String>, size: u64, root: Digest) -> Self {
        Self {
            origin: origin.into(),
            size,
            root,
            extensions: Vec::new(),
        }
    }

    /// The checkpoint of a log without entries: the root is SHA-256 of nothing.
    #[must_use]
    pub fn empty(origin: impl Into<String>) -> Self {
        Self::new(origin, 0, Digest(root_of(&[])))
    }

    /// Reads a checkpoint's body (the note's text). Whether a tree of that
    /// size can have that root is not checked.
    ///
    /// # Errors
    /// [`LogError::Checkpoint`] with the reason.
    pub fn parse(body: &str) -> Result<Self, LogError> {
        let refuse = LogError::Checkpoint;
        let lines = body
            .strip_suffix('\n')
            .ok_or(refuse("it does not end in a newline"))?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(refuse("fewer than three lines"));
        };
        if origin.is_empty() {
            return Err(refuse("the origin is empty"));
        }
        let size = parse_decimal(size).ok_or(refuse("the size is no decimal without leading zeros"))?;
        let root = decode_base64(root)
            .and_then(|root| Digest::from_slice(&root))
            .ok_or(refuse("the root is not 32 bytes in base64"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(refuse("an extension line is empty"));
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
            extensions,
        })
    }

    /// Signs the checkpoint under the log's key: `sign` is given the bytes to
    /// sign. The caller has made the entries and the guard durable before.
    ///
    /// # Errors
    /// [`LogError::WrongKey`] when the key's name is not the origin or its kind
    /// not Ed25519, [`LogError::Checkpoint`] when origin or extensions do not
    /// each fit one line.
    pub fn sign(&self, key: &VerifierKey, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Result<Note, LogError> {
        if key.name() != self.origin {
            return Err(LogError::WrongKey {
                name: key.name().to_owned(),
            });
        }
        let body = self.to_string();
        if Self::parse(&body)? != *self {
            return Err(LogError::Checkpoint("origin or extension with a newline"));
        }
        let mut note = Note::new(body)?;
        note.sign(key, sign)?;
        Ok(note)
    }

    /// Opens a signed checkpoint of the log whose key is `log_key`.
    ///
    /// # Errors
    /// [`LogError`]: not a note, not signed by that key, or not a checkpoint
    /// of the origin that the key names.
    pub fn open(note: &[u8], log_key: &VerifierKey) -> Result<Self, LogError> {
        Self::open_cosigned(note, log_key, &[]).map(|open| open.checkpoint)
    }

    /// Opens a signed checkpoint of the log whose key is `log_key` and tells
    /// which of the known witnesses have cosigned it.
    ///
    /// # Errors
    /// As [`open`](Self::open); and a known witness's wrong cosignature refuses
    /// the whole note.
    pub fn open_cosigned<'k>(
        note: &[u8],
        log_key: &VerifierKey,
        witnesses: &'k [VerifierKey],
    ) -> Result<OpenCheckpoint<'k>, LogError> {
        let note = Note::parse(note)?;
        note.verify(std::slice::from_ref(log_key))?;
        let cosigned = match note.verify(witnesses) {
            Err(LogError::NotSigned) => Vec::new(),
            checked => checked?,
        };
        let checkpoint = Self::parse(note.text())?;
        if checkpoint.origin != log_key.name() {
            return Err(LogError::Checkpoint(
                "the origin is not the name of the log's key",
            ));
        }
        Ok(OpenCheckpoint {
            checkpoint,
            note,
            cosigned,
        })
    }
}

impl fmt::Display for Checkpoint {
    /// The body: what is signed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.origin)?;
        writeln!(f, "{}", self.size)?;
        writeln!(f, "{}", BASE64.encode(&self.root.0))?;
        for extension in &self.extensions {
            writeln!(f, "{extension}")?;
        }
        Ok(())
    }
}

/// A decimal without sign or leading zeros.
pub(crate) fn parse_decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;

    use super::*;
    use crate::log::{KeyKind, NoteSignature, cosignature};
    use crate::primitives::UnixSeconds;

    /// A checkpoint of a public log with signatures of other types (0x05),
    /// by other witnesses and by the two keys below.
    const PUBLIC: &str = "arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

\u{2014} arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
\u{2014} arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
\u{2014} witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
\u{2014} remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
";
    const PUBLIC_LOG: &str =
        "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
    const PUBLIC_WITNESS: &str = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";

    fn pair(seed: u8, name: &str, kind: KeyKind) -> (SigningKey, VerifierKey) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let verifier = VerifierKey::new(name, kind, key.verifying_key()).unwrap();
        (key, verifier)
    }

    #[test]
    fn a_public_checkpoint_opens_with_its_cosignature() {
        let log = VerifierKey::parse(PUBLIC_LOG).unwrap();
        let witnesses = [VerifierKey::parse(PUBLIC_WITNESS).unwrap()];
        let open = Checkpoint::open_cosigned(PUBLIC.as_bytes(), &log, &witnesses).unwrap();
        assert_eq!(open.checkpoint.size, 1_432_088_532);
        assert_eq!(open.note.to_string(), PUBLIC);
        assert_eq!(
            open.cosigned,
            [Signed {
                key: &witnesses[0],
                time: Some(UnixSeconds(0x6a12_2120)),
            }]
        );
        let other = PUBLIC.replace("1432088532", "1432088533");
        assert!(Checkpoint::open(other.as_bytes(), &log).is_err());
        assert_eq!(
            Checkpoint::open(PUBLIC.as_bytes(), &witnesses[0]),
            Err(LogError::Checkpoint(
                "the origin is not the name of the log's key"
            ))
        );
    }

    #[test]
    fn the_body_is_these_lines() {
        assert_eq!(
            Checkpoint::empty("coop.example").to_string(),
            "coop.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
        );
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        let body = format!("example.com/behind-the-sofa\n20852163\n{root}\none\ntwo\n");
        let checkpoint = Checkpoint::parse(&body).unwrap();
        assert_eq!((checkpoint.size, checkpoint.extensions.len()), (20_852_163, 2));
        assert_eq!(checkpoint.to_string(), body);
        for bad in [
            String::new(),
            "\n".into(),
            format!("o\n1\n{root}"),
            "o\n1\n".into(),
            format!("\n1\n{root}\n"),
            format!("o\n01\n{root}\n"),
            format!("o\n\n{root}\n"),
            format!("o\n+1\n{root}\n"),
            format!("o\n-1\n{root}\n"),
            format!("o\n18446744073709551616\n{root}\n"),
            "o\n1\nAAAA\n".into(),
            format!("o\n1\n{}\n", root.trim_end_matches('=')),
            format!("o\n1\n{root}\n\n"),
            format!("o\n1\n{root}\n\nx\n"),
        ] {
            assert!(
                matches!(Checkpoint::parse(&bad), Err(LogError::Checkpoint(_))),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn only_the_logs_own_key_signs_and_opens() {
        let (key, log) = pair(1, "coop.example", KeyKind::Ed25519);
        let (_, other) = pair(1, "other.example", KeyKind::Ed25519);
        let (_, witness) = pair(1, "coop.example", KeyKind::Cosignature);
        let sign = |text: &[u8]| key.sign(text).to_bytes();
        let mut checkpoint = Checkpoint::new("coop.example", 5, Digest([7; 32]));
        let note = checkpoint.sign(&log, sign).unwrap().to_string();
        assert_eq!(Checkpoint::open(note.as_bytes(), &log), Ok(checkpoint.clone()));
        assert_eq!(
            Checkpoint::open(note.as_bytes(), &other),
            Err(LogError::NotSigned)
        );
        for wrong in [&other, &witness] {
            assert!(matches!(
                checkpoint.sign(wrong, sign),
                Err(LogError::WrongKey { .. })
            ));
        }
        checkpoint.extensions = vec!["a\nb".into()];
        assert!(checkpoint.sign(&log, sign).is_err());
    }

    #[test]
    fn a_cosignature_carries_its_time() {
        let (log_key, log) = pair(1, "coop.example", KeyKind::Ed25519);
        let (key, witness) = pair(2, "w.example", KeyKind::Cosignature);
        let checkpoint = Checkpoint::new("coop.example", 5, Digest([7; 32]));
        let mut note = checkpoint
            .sign(&log, |text| log_key.sign(text).to_bytes())
            .unwrap();
        let sign = |message: &[u8]| {
            assert!(message.starts_with(b"cosignature/v1\ntime 1679315147\ncoop.example\n5\n"));
            key.sign(message).to_bytes()
        };
        let time = UnixSeconds(1_679_315_147);
        let line = cosignature::cosign(note.text(), &witness, time, sign).unwrap();
        note.push(NoteSignature::parse(&line.to_string()).unwrap());
        let witnesses = [witness.clone()];
        let cosigned = |note: &Note| {
            Checkpoint::open_cosigned(note.to_string().as_bytes(), &log, &witnesses)
                .map(|open| open.cosigned.iter().map(|signed| signed.time).collect::<Vec<_>>())
        };
        assert_eq!(cosigned(&note).unwrap(), [Some(time)]);

        // The signature holds for this time only.
        let mut moved = line.clone();
        moved.payload[7] ^= 1;
        note.push(moved);
        assert!(matches!(cosigned(&note), Err(LogError::BadSignature { .. })));
        let sign = |message: &[u8]| key.sign(message).to_bytes();
        assert!(cosignature::cosign(note.text(), &log, time, sign).is_err());
        assert!(cosignature::cosign(note.text(), &witness, UnixSeconds(1 << 63), sign).is_err());
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_written_the_same(
            origin in "[ -~]{1,20}", size in any::<u64>(), root in any::<[u8; 32]>(),
            extensions in proptest::collection::vec("[ -~]{1,10}", 0..3),
        ) {
            let checkpoint = Checkpoint { origin, size, root: Digest(root), extensions };
            prop_assert_eq!(Checkpoint::parse(&checkpoint.to_string()), Ok(checkpoint));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "[0-9a-zA-Z+/=\n\u{2014} ]{0,120}") {
            if let Ok(checkpoint) = Checkpoint::parse(&text) {
                prop_assert_eq!(checkpoint.to_string(), text.clone());
            }
            if let Ok(note) = Note::parse(text.as_bytes()) {
                prop_assert_eq!(note.to_string(), text);
            }
        }
    }
}

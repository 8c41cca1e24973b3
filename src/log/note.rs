//! Signed notes (c2sp.org/signed-note v1.0.0).
//!
//! ```text
//! note      = text LF 1*signature
//! text      = 1*(*char LF)
//! signature = "— " name " " base64(key-id payload) LF
//! key-id    = 4 bytes: SHA-256(name LF type public-key)[:4]
//! vkey      = name "+" 8 hexadecimal digits of key-id "+" base64(type public-key)
//! ```
//!
//! In scope: types 0x01 (Ed25519) and 0x04 (Ed25519 cosignature, see
//! [`super::cosignature`]). Signatures of other types are carried along and
//! count as unknown.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

use super::{LogError, cosignature};
use crate::credential::PublicKey;
use crate::primitives::UnixSeconds;
use crate::primitives::limits::{NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX};

/// Begins every signature line.
const DASH: &str = "\u{2014} ";

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Type 0x01: the note's text.
    Ed25519,
    /// Type 0x04: a time and a checkpoint's body.
    Cosignature,
}

impl KeyKind {
    fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
        }
    }
}

/// A public key with the name it signs notes under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: KeyKind,
    key: VerifyingKey,
    key_id: [u8; 4],
}

impl VerifierKey {
    /// Names a key.
    ///
    /// # Errors
    /// [`LogError::VerifierKey`] when the name is empty or holds a space, a
    /// control character or `+`.
    pub fn new(name: impl Into<String>, kind: KeyKind, key: VerifyingKey) -> Result<Self, LogError> {
        let name = name.into();
        if !is_name(&name) {
            return Err(LogError::VerifierKey("a name holds no space and no +"));
        }
        let mut hasher = Sha256::new();
        hasher.update(name.as_bytes());
        hasher.update([b'\n', kind.byte()]);
        hasher.update(key.as_bytes());
        let hash: [u8; 32] = hasher.finalize().into();
        let key_id = [hash[0], hash[1], hash[2], hash[3]];
        Ok(Self {
            name,
            kind,
            key,
            key_id,
        })
    }

    /// Names a key of a credential's kind.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of(name: impl Into<String>, kind: KeyKind, key: &PublicKey) -> Result<Self, LogError> {
        let point = VerifyingKey::from_bytes(key.as_bytes());
        Self::new(name, kind, point.expect("a public key is a point"))
    }

    /// Reads the form that [`fmt::Display`] prints: `name+key id+key`.
    ///
    /// # Errors
    /// [`LogError::VerifierKey`] with the reason.
    pub fn parse(vkey: &str) -> Result<Self, LogError> {
        let refuse = LogError::VerifierKey;
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(refuse("it is name+key id+key"));
        };
        let id = HEXLOWER
            .decode(id.as_bytes())
            .map_err(|_| refuse("the key id is not lower-case hexadecimal"))?;
        let key = decode_base64(key).ok_or(refuse("the key is not base64"))?;
        let (kind, key) = match key.split_first() {
            Some((0x01, key)) => (KeyKind::Ed25519, key),
            Some((0x04, key)) => (KeyKind::Cosignature, key),
            _ => return Err(refuse("its type is neither 01 nor 04")),
        };
        let key: &[u8; 32] = key.try_into().map_err(|_| refuse("the key is not 32 bytes"))?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| refuse("not a point of Ed25519"))?;
        let found = Self::new(name, kind, key)?;
        if found.key_id[..] == id[..] {
            Ok(found)
        } else {
            Err(refuse("the key id does not belong to name and key"))
        }
    }

    /// The name in signature lines.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the key signs.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// First 4 bytes of SHA-256(name || LF || type || key).
    #[must_use]
    pub fn key_id(&self) -> [u8; 4] {
        self.key_id
    }

    /// The Ed25519 public key.
    #[must_use]
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Whether this signature line is this key's: name *and* key id are equal.
    #[must_use]
    pub fn made(&self, signature: &NoteSignature) -> bool {
        self.key_id == signature.key_id && self.name == signature.name
    }

    /// Checks one of this key's signatures; the time of a cosignature.
    fn verify(&self, text: &str, payload: &[u8]) -> Option<Option<UnixSeconds>> {
        match self.kind {
            KeyKind::Ed25519 => {
                let signature = Signature::from_slice(payload).ok()?;
                self.key.verify_strict(text.as_bytes(), &signature).ok()?;
                Some(None)
            }
            KeyKind::Cosignature => cosignature::verify(text, payload, &self.key).map(Some),
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = HEXLOWER.encode(&self.key_id);
        let key = [&[self.kind.byte()], &self.key.as_bytes()[..]].concat();
        write!(f, "{}+{id}+{}", self.name, BASE64.encode(&key))
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace() || is_control(c))
}

/// The ASCII control characters, without the newline where lines are split.
fn is_control(c: char) -> bool {
    c < ' '
}

/// A signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: String,
    /// Key id.
    pub key_id: [u8; 4],
    /// The signature, as its type has it.
    pub payload: Vec<u8>,
}

impl NoteSignature {
    pub(super) fn by(key: &VerifierKey, payload: Vec<u8>) -> Self {
        Self {
            name: key.name.clone(),
            key_id: key.key_id,
            payload,
        }
    }

    /// Reads one signature line without its newline.
    ///
    /// # Errors
    /// [`LogError::Note`] with the reason.
    pub fn parse(line: &str) -> Result<Self, LogError> {
        let refuse = LogError::Note;
        let (name, blob) = line
            .strip_prefix(DASH)
            .and_then(|rest| rest.split_once(' '))
            .ok_or(refuse("a signature line is: em dash, name, base64"))?;
        if !is_name(name) {
            return Err(refuse("a key's name holds no space and no +"));
        }
        let blob = decode_base64(blob).ok_or(refuse("a signature is not base64"))?;
        let (key_id, payload) = blob
            .split_first_chunk::<4>()
            .filter(|(_, payload)| !payload.is_empty())
            .ok_or(refuse("a signature is shorter than 5 bytes"))?;
        Ok(Self {
            name: name.to_owned(),
            key_id: *key_id,
            payload: payload.to_vec(),
        })
    }
}

impl fmt::Display for NoteSignature {
    /// The signature line, without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = [&self.key_id[..], &self.payload].concat();
        write!(f, "{DASH}{} {}", self.name, BASE64.encode(&blob))
    }
}

/// A text with the signatures under it. Nothing of it counts before
/// [`verify`](Self::verify).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// A known key that has signed a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'k> {
    /// The key.
    pub key: &'k VerifierKey,
    /// When it cosigned; `None` for a key of [`KeyKind::Ed25519`].
    pub time: Option<UnixSeconds>,
}

impl Note {
    /// A note without signatures yet.
    ///
    /// # Errors
    /// [`LogError::Note`] when the text does not end in a newline, holds
    /// another control character or is too long.
    pub fn new(text: impl Into<String>) -> Result<Self, LogError> {
        let text = text.into();
        check_characters(&text)?;
        if !text.ends_with('\n') {
            return Err(LogError::Note("the text does not end in a newline"));
        }
        Ok(Self {
            text,
            signatures: Vec::new(),
        })
    }

    /// Reads a note with 1 to [`NOTE_SIGNATURES_MAX`] signatures.
    ///
    /// # Errors
    /// [`LogError::Note`] with the reason.
    pub fn parse(note: &[u8]) -> Result<Self, LogError> {
        let refuse = LogError::Note;
        // The length first: the check for UTF-8 reads all of it.
        if note.len() > NOTE_BYTES_MAX {
            return Err(refuse("too long"));
        }
        let note = str::from_utf8(note).map_err(|_| refuse("not UTF-8"))?;
        check_characters(note)?;
        let end = note
            .rfind("\n\n")
            .ok_or(refuse("no empty line before signatures"))?;
        let (text, rest) = note.split_at(end + 1);
        let lines = rest[1..]
            .strip_suffix('\n')
            .ok_or(refuse("the last line does not end in a newline"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == NOTE_SIGNATURES_MAX {
                return Err(refuse("too many signatures"));
            }
            signatures.push(NoteSignature::parse(line)?);
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// The text, its last newline included.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures in the order of their lines, verified or not.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature made elsewhere (a witness's).
    pub fn push(&mut self, signature: NoteSignature) {
        self.signatures.push(signature);
    }

    /// Adds a signature made elsewhere, in the place of an earlier one by the
    /// same key.
    pub fn replace(&mut self, signature: NoteSignature) {
        let same = |earlier: &&mut NoteSignature| {
            earlier.name == signature.name && earlier.key_id == signature.key_id
        };
        match self.signatures.iter_mut().find(same) {
            Some(earlier) => *earlier = signature,
            None => self.signatures.push(signature),
        }
    }

    /// Signs the text: `sign` is given the bytes to sign.
    ///
    /// # Errors
    /// [`LogError::WrongKey`] when the key is one for cosignatures.
    pub fn sign(&mut self, key: &VerifierKey, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Result<(), LogError> {
        if key.kind != KeyKind::Ed25519 {
            return Err(LogError::WrongKey {
                name: key.name.clone(),
            });
        }
        let payload = sign(self.text.as_bytes()).to_vec();
        self.push(NoteSignature::by(key, payload));
        Ok(())
    }

    /// Checks the signatures against the known keys and returns those keys
    /// that have signed, each once. Signatures of unknown keys are ignored.
    ///
    /// # Errors
    /// [`LogError::BadSignature`] when a known key's signature is wrong (the
    /// whole note is refused), [`LogError::NotSigned`] when no known key has
    /// signed.
    pub fn verify<'k>(&self, known: &'k [VerifierKey]) -> Result<Vec<Signed<'k>>, LogError> {
        let mut signed: Vec<Signed<'k>> = Vec::new();
        for signature in &self.signatures {
            let Some(key) = known.iter().find(|key| key.made(signature)) else {
                continue;
            };
            let time = key
                .verify(&self.text, &signature.payload)
                .ok_or_else(|| LogError::BadSignature {
                    name: key.name.clone(),
                })?;
            match signed.iter_mut().find(|earlier| earlier.key == key) {
                // Two cosignatures of one witness: the later time counts.
                Some(earlier) => earlier.time = earlier.time.max(time),
                None => signed.push(Signed { key, time }),
            }
        }
        if signed.is_empty() {
            return Err(LogError::NotSigned);
        }
        Ok(signed)
    }
}

impl fmt::Display for Note {
    /// Text, empty line, signature lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            writeln!(f, "{signature}")?;
        }
        Ok(())
    }
}

/// Base64 in its one form. The decoder takes padding within a text too, as of
/// texts that were joined, which would make several signatures of one.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64.decode(text.as_bytes()).ok()?;
    (BASE64.encode(&bytes) == text).then_some(bytes)
}

fn check_characters(text: &str) -> Result<(), LogError> {
    if text.len() > NOTE_BYTES_MAX {
        return Err(LogError::Note("too long"));
    }
    if text.contains(|c: char| c != '\n' && is_control(c)) {
        return Err(LogError::Note("a control character other than newline"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn pair(seed: u8, name: &str, kind: KeyKind) -> (SigningKey, VerifierKey) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let verifier = VerifierKey::new(name, kind, key.verifying_key()).unwrap();
        (key, verifier)
    }

    #[test]
    fn known_verifier_keys() {
        for vkey in [
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            VKEY,
            // The key's base64 holds a plus, too.
            "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6",
            "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
        ] {
            assert_eq!(VerifierKey::parse(vkey).unwrap().to_string(), vkey);
        }
        for vkey in [
            "",
            "example.com/foo",
            "example.com/foo+530d903a",
            "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/fop+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2",
            "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        ] {
            assert!(VerifierKey::parse(vkey).is_err(), "{vkey}");
        }
    }

    /// The example of the first implementation, golang.org/x/mod/sumdb/note.
    #[test]
    fn a_known_note() {
        let key = VerifierKey::parse(VKEY).unwrap();
        let note = Note::parse(NOTE.as_bytes()).unwrap();
        assert_eq!(note.to_string(), NOTE);
        let known = [key.clone()];
        assert_eq!(
            note.verify(&known).unwrap(),
            [Signed {
                key: &key,
                time: None
            }]
        );

        let changed = Note::parse(NOTE.replace("crypto", "krypto").as_bytes()).unwrap();
        let name = "PeterNeumann".to_owned();
        assert_eq!(changed.verify(&known), Err(LogError::BadSignature { name }));
        assert_eq!(changed.verify(&[]), Err(LogError::NotSigned));
    }

    #[test]
    fn unknown_signatures_are_ignored_and_known_ones_are_checked() {
        let (a, a_key) = pair(1, "a.example", KeyKind::Ed25519);
        let (b, b_key) = pair(2, "b.example", KeyKind::Ed25519);
        // The same name with another key is another signer.
        let (_, other_a) = pair(3, "a.example", KeyKind::Ed25519);
        let mut note = Note::new("first\n\nsecond\n").unwrap();
        note.sign(&a_key, |text| a.sign(text).to_bytes()).unwrap();
        note.sign(&b_key, |text| b.sign(text).to_bytes()).unwrap();
        let mut note = Note::parse(note.to_string().as_bytes()).unwrap();
        assert_eq!(note.text(), "first\n\nsecond\n");
        let names = |note: &Note, known: &[VerifierKey]| {
            note.verify(known)
                .map(|signed| signed.iter().map(|s| s.key.name().to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(
            names(&note, &[b_key.clone(), other_a.clone()]).unwrap(),
            ["b.example"]
        );
        assert_eq!(
            names(&note, &[b_key.clone(), a_key.clone()]).unwrap(),
            ["a.example", "b.example"]
        );
        assert_eq!(names(&note, &[other_a]), Err(LogError::NotSigned));

        // A second line of a known key counts once, a wrong one refuses all.
        note.push(note.signatures()[0].clone());
        assert_eq!(names(&note, std::slice::from_ref(&a_key)).unwrap(), ["a.example"]);
        note.push(NoteSignature::by(&a_key, vec![0; 64]));
        assert!(matches!(
            names(&note, std::slice::from_ref(&a_key)),
            Err(LogError::BadSignature { .. })
        ));
        assert_eq!(names(&note, &[b_key]).unwrap(), ["b.example"]);
    }

    #[test]
    fn a_cosigning_key_signs_no_plain_note() {
        let (key, witness) = pair(1, "w.example", KeyKind::Cosignature);
        let mut note = Note::new("text\n").unwrap();
        assert!(note.sign(&witness, |text| key.sign(text).to_bytes()).is_err());
        note.push(NoteSignature::by(
            &witness,
            key.sign(b"text\n").to_bytes().to_vec(),
        ));
        assert!(note.verify(&[witness]).is_err());
    }

    #[test]
    fn malformed_notes_are_refused() {
        let line = NOTE.lines().last().unwrap();
        let many = |count: usize| format!("t\n\n{}", format!("{line}\n").repeat(count));
        assert!(Note::parse(many(NOTE_SIGNATURES_MAX).as_bytes()).is_ok());
        for (note, why) in [
            (String::new(), "nothing"),
            ("text\n".into(), "no signatures"),
            ("text\n\n".into(), "no signature line"),
            (format!("text\n{line}\n"), "no empty line"),
            (format!("text\n\n{line}"), "no last newline"),
            (format!("text\n\n{line}\n\n"), "an empty line after"),
            (format!("te\txt\n\n{line}\n"), "a tab"),
            (format!("text\r\n\n{line}\n"), "a carriage return"),
            (format!("text\0\n\n{line}\n"), "a zero"),
            (format!("text\n\n{line}\nnote\n"), "no signature line"),
            (format!("text\n\n{}\n", line.replace('\u{2014}', "-")), "a hyphen"),
            (
                format!("text\n\n{}\n", line.replace("Neumann ", "Neumann  ")),
                "two spaces",
            ),
            (format!("text\n\n{}\n", line.replace("Peter", "Peter+")), "a plus"),
            (
                format!("text\n\n{}\n", line.replace("Peter", "Peter\u{a0}")),
                "a space in the name",
            ),
            (format!("text\n\n{}\n", line.replace("AM=", "AM")), "no padding"),
            (
                format!("text\n\n{}\n", line.replace("AM=", "AN=")),
                "bits after the end",
            ),
            ("text\n\n\u{2014} name AAAAAA==\n".into(), "no payload"),
            (
                "text\n\n\u{2014} name AAAAAA==AAAAAAAA\n".into(),
                "padding in the middle",
            ),
            (many(NOTE_SIGNATURES_MAX + 1), "too many"),
            (format!("{}\n\n{line}\n", "x".repeat(NOTE_BYTES_MAX)), "too long"),
        ] {
            assert!(
                matches!(Note::parse(note.as_bytes()), Err(LogError::Note(_))),
                "{why}"
            );
        }
        assert!(Note::parse(b"\xff\n\n").is_err());
        for text in ["", "text", "a\tb\n"] {
            assert!(Note::new(text).is_err(), "{text:?}");
        }
    }
}

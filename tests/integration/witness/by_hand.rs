//! A log, and a client of witnesses, by the specifications alone: nothing here
//! comes from the program.

use data_encoding::BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

pub type Hash = [u8; 32];

fn sha(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// RFC 6962, section 2.1, over hashes of leaves.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha(&[]),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            sha(&[&[1], &root(left), &root(right)])
        }
    }
}

/// RFC 6962, section 2.1.2.
fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut proof, sibling) = if m <= k {
        (subproof(m, &leaves[..k], whole), &leaves[k..])
    } else {
        (subproof(m - k, &leaves[k..], false), &leaves[..k])
    };
    proof.push(root(sibling));
    proof
}

/// signed-note: first 4 bytes of SHA-256(name || LF || type || key).
fn key_id(name: &str, kind: u8, key: &VerifyingKey) -> [u8; 4] {
    let hash = sha(&[name.as_bytes(), b"\n", &[kind], key.as_bytes()]);
    [hash[0], hash[1], hash[2], hash[3]]
}

/// A log of numbered leaves.
#[derive(Clone)]
pub struct HandLog {
    pub origin: String,
    pub leaves: Vec<Hash>,
    key: SigningKey,
}

impl HandLog {
    pub fn new(origin: &str, seed: u8) -> Self {
        Self {
            origin: origin.to_owned(),
            leaves: Vec::new(),
            key: SigningKey::from_bytes(&[seed; 32]),
        }
    }

    /// The same log with leaves up to `size`, those after its present ones made of `what`.
    pub fn grown(&self, size: usize, what: &str) -> Self {
        let mut log = self.clone();
        for n in log.leaves.len()..size {
            log.leaves.push(sha(&[&[0], what.as_bytes(), &n.to_be_bytes()]));
        }
        log
    }

    /// The same log with its first `size` leaves.
    pub fn cut(&self, size: usize) -> Self {
        let mut log = self.clone();
        log.leaves.truncate(size);
        log
    }

    pub fn vkey(&self) -> String {
        let key = self.key.verifying_key();
        let id: String = key_id(&self.origin, 1, &key)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let coded = BASE64.encode(&[&[1], &key.as_bytes()[..]].concat());
        format!("{}+{id}+{coded}", self.origin)
    }

    pub fn text(&self, size: usize) -> String {
        let root = BASE64.encode(&root(&self.leaves[..size]));
        format!("{}\n{size}\n{root}\n", self.origin)
    }

    /// A line that signs `text`.
    pub fn line(&self, text: &str) -> String {
        let id = key_id(&self.origin, 1, &self.key.verifying_key());
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        let coded = BASE64.encode(&[&id[..], &signature].concat());
        format!("\u{2014} {} {coded}\n", self.origin)
    }

    pub fn note(&self, size: usize) -> String {
        let text = self.text(size);
        format!("{text}\n{}", self.line(&text))
    }

    pub fn proof(&self, old: usize, size: usize) -> Vec<Hash> {
        if 0 < old && old < size {
            subproof(old, &self.leaves[..size], true)
        } else {
            Vec::new()
        }
    }

    /// The body of add-checkpoint from `old` to `size`.
    pub fn request(&self, old: usize, size: usize) -> String {
        request(old, &self.proof(old, size), &self.note(size))
    }
}

pub fn request(old: usize, proof: &[Hash], note: &str) -> String {
    let lines: String = proof
        .iter()
        .map(|hash| format!("{}\n", BASE64.encode(hash)))
        .collect();
    format!("old {old}\n{lines}\n{note}")
}

/// The time in a cosignature `line` of the witness `vkey` over the checkpoint's
/// `text`, if it holds.
pub fn cosigned_at(vkey: &str, text: &str, line: &str) -> Option<u64> {
    let mut parts = vkey.splitn(3, '+');
    let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
    let key = BASE64.decode(key.as_bytes()).ok()?;
    assert_eq!(key[0], 4, "a witness's key is of type 0x04");
    let key = VerifyingKey::from_bytes(key[1..].try_into().ok()?).ok()?;
    let hexed: String = key_id(name, 4, &key)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hexed, id);
    let line = line.strip_prefix("\u{2014} ")?.strip_suffix('\n')?;
    let (by, coded) = line.split_once(' ')?;
    let bytes = BASE64.decode(coded.as_bytes()).ok()?;
    if by != name || bytes.len() != 4 + 8 + 64 || bytes[..4] != key_id(name, 4, &key) {
        return None;
    }
    let time = u64::from_be_bytes(bytes[4..12].try_into().ok()?);
    let signature = Signature::from_slice(&bytes[12..]).ok()?;
    let message = format!("cosignature/v1\ntime {time}\n{text}");
    key.verify_strict(message.as_bytes(), &signature).ok()?;
    Some(time)
}

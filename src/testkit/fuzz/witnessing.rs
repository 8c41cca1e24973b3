//! Floor 3: what logs and witnesses say to each other.

use super::{Target, texts};
use crate::credential::SecretKey;
use crate::log::witness::{decide, parse_cosignatures, parse_size};
use crate::log::{AddCheckpoint, Checkpoint, KeyKind, Note, Policy, TreeHead, VerifierKey};
use crate::merkle::{Hash, leaf_hash, root_of};
use crate::node::ToWitness;
use crate::primitives::Digest;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "add_checkpoint",
        run: add_checkpoint,
        seeds: add_checkpoint_seeds,
    },
    Target {
        name: "witness_policy",
        run: policy,
        seeds: policy_seeds,
    },
    Target {
        name: "witness_answer",
        run: witness_answer,
        seeds: || {
            texts([
                "0\n",
                "20852163\n",
                "\u{2014} witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==\n",
                "\u{2014} a AAAAAAA=\n\u{2014} b AAAAAAA=\n",
            ])
        },
    },
];

/// A policy says of any subset of its witnesses whether it is a quorum, all of them
/// are one, and one more is never less.
fn policy(data: &[u8]) -> bool {
    let Ok(policy) = Policy::parse(data) else {
        return false;
    };
    let keys: Vec<&VerifierKey> = policy.witnesses().iter().map(|witness| &witness.key).collect();
    assert!(policy.is_met(&keys));
    assert_eq!(policy.is_met(&[]), !policy.asks_for_witnesses());
    let met: Vec<bool> = (0..=keys.len())
        .map(|count| policy.is_met(&keys[..count]))
        .collect();
    assert!(met.is_sorted());
    true
}

fn policy_seeds() -> Vec<Vec<u8>> {
    let witness = |seed: u8| {
        let key = SecretKey::from_seed(&[seed; 32]);
        let key = ed25519_dalek::VerifyingKey::from_bytes(key.public().as_bytes()).expect("a public key");
        VerifierKey::new(format!("w{seed}.example"), KeyKind::Cosignature, key).expect("a plain name")
    };
    let [a, b, c] = [1, 2, 3].map(witness);
    let log = key();
    [
        "quorum none\n".to_owned(),
        format!("witness a {a}\nquorum a\n"),
        format!(
            "# whose\nlog {log} https://coop.example\n\nwitness a {a} https://a.example/\nwitness b {b}\nwitness c {c}\n\
             group ab any a b\ngroup all 2 ab c\nquorum all\n"
        ),
    ]
    .map(String::into_bytes)
    .to_vec()
}

const NAME: &str = "coop.example";
/// What the witness holds.
const HELD: u64 = 5;

fn secret() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn key() -> VerifierKey {
    let key = ed25519_dalek::VerifyingKey::from_bytes(secret().public().as_bytes()).expect("a public key");
    VerifierKey::new(NAME, KeyKind::Ed25519, key).expect("a plain name")
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|leaf| leaf_hash(&leaf.to_be_bytes())).collect()
}

fn head(size: u64) -> TreeHead {
    TreeHead {
        size,
        root: Digest(root_of(&leaves(size))),
    }
}

fn note(size: u64) -> String {
    Checkpoint::new(NAME, size, head(size).root)
        .sign(&key(), |text| secret().sign(text))
        .expect("a short text")
        .to_string()
}

/// A request is written as it was read, and nothing is cosigned that goes back
/// or shows another root at one size.
fn add_checkpoint(data: &[u8]) -> bool {
    let Ok(read) = AddCheckpoint::parse(data) else {
        return false;
    };
    assert_eq!(read.to_string().as_bytes(), data);
    let Ok(note) = Note::parse(read.note.as_bytes()) else {
        return true;
    };
    // A signature that fits is `signed_note`'s; here its absence is no matter.
    let _ = ToWitness::open(&note, &[key()], read.old, read.proof.clone());
    if let Ok(checkpoint) = Checkpoint::parse(note.text()) {
        let new = TreeHead::from(&checkpoint);
        for held in [TreeHead::empty(), head(HELD), head(8)] {
            if decide(&held, read.old, &read.proof, &new).is_ok() {
                assert_eq!(read.old, held.size);
                assert!(new.size > held.size || new == held);
            }
        }
    }
    true
}

fn add_checkpoint_seeds() -> Vec<Vec<u8>> {
    let all = leaves(8);
    // From 5 to 8: leaf 4, leaf 5, leaves 6 and 7, leaves 0 to 3.
    let proof = vec![all[4], all[5], root_of(&all[6..]), root_of(&all[..4])];
    assert!(decide(&head(HELD), HELD, &proof, &head(8)).is_ok());
    let ask = |old, proof: &[Hash], size| AddCheckpoint {
        old,
        proof: proof.to_vec(),
        note: note(size),
    };
    [ask(0, &[], 0), ask(0, &[], 5), ask(5, &[], 5), ask(5, &proof, 8)]
        .iter()
        .map(|asked| asked.to_string().into_bytes())
        .collect()
}

/// What a witness answers: lines, or a size, written as they were read.
fn witness_answer(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let size = parse_size(text);
    if let Ok(size) = size {
        assert_eq!(format!("{size}\n"), text);
    }
    let lines = parse_cosignatures(text);
    if let Ok(lines) = &lines {
        let written: String = lines.iter().map(|line| format!("{line}\n")).collect();
        assert_eq!(written, text);
    }
    assert!(size.is_err() || lines.is_err(), "a text is one or the other");
    size.is_ok() || lines.is_ok()
}

//! Tests of policies.

use ed25519_dalek::{Signer as _, SigningKey};

use super::*;
use crate::log::{NoteSignature, cosignature};
use crate::primitives::{Digest, UnixSeconds};

fn pair(seed: u8, name: &str, kind: KeyKind) -> (SigningKey, VerifierKey) {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let named = VerifierKey::new(name, kind, key.verifying_key()).unwrap();
    (key, named)
}

fn witness(seed: u8) -> (SigningKey, VerifierKey) {
    pair(seed, &format!("w{seed}.example"), KeyKind::Cosignature)
}

fn vkey(seed: u8) -> String {
    witness(seed).1.to_string()
}

fn log() -> (SigningKey, VerifierKey) {
    pair(99, "coop.example", KeyKind::Ed25519)
}

/// The example of the specification, with keys in it.
fn example() -> String {
    let mut text = format!("log {}\n\n", log().1);
    for (name, seed) in [("X1", 1), ("X2", 2), ("X3", 3)] {
        text.push_str(&format!("witness {name} {}\n", vkey(seed)));
    }
    text.push_str("group X-witnesses 2 X1 X2 X3\n\n");
    for (name, seed) in [("Y1", 4), ("Y2", 5), ("Y3", 6)] {
        text.push_str(&format!("witness {name} {}\n", vkey(seed)));
    }
    text.push_str(
        "group Y-witnesses any Y1 Y2 Y3\n\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
    );
    text
}

#[test]
fn the_example_of_the_specification_is_evaluated() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    assert_eq!(policy.logs()[0].key, log().1);
    let keys: Vec<VerifierKey> = policy.witnesses().iter().map(|w| w.key.clone()).collect();
    for subset in 0..64_u8 {
        let has: Vec<&VerifierKey> = (0..6)
            .filter(|n| subset >> n & 1 == 1)
            .map(|n| &keys[n])
            .collect();
        let (x, y) = ((subset & 7).count_ones(), (subset >> 3).count_ones());
        assert_eq!(policy.is_met(&has), x >= 2 && y >= 1, "{subset:06b}");
    }
    // A stranger counts for nobody.
    let (_, stranger) = witness(50);
    let has = [&stranger, &keys[0], &keys[1]];
    assert!(!policy.is_met(&has));
}

#[test]
fn white_space_comments_urls_and_opaque_names() {
    let text = format!(
        "# a comment\n\n \t # another\n\tlog  {} \thttps://coop.example/log \nwitness \u{212a} {} \
         https://w1.example\nwitness K {}\ngroup both 2 \u{212a} K\nquorum both\nwitness later {}\n",
        log().1,
        vkey(1),
        vkey(2),
        vkey(3)
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert_eq!(policy.logs()[0].url.as_deref(), Some("https://coop.example/log"));
    assert_eq!(policy.witnesses().len(), 3);
    assert_eq!(policy.witnesses()[0].url.as_deref(), Some("https://w1.example"));
    assert_eq!(policy.witnesses()[1].url, None);
    let keys: Vec<&VerifierKey> = policy.witnesses().iter().map(|w| &w.key).collect();
    assert!(policy.is_met(&keys[..2]) && !policy.is_met(&keys[1..]));
    // Octets that are no UTF-8 are names like others.
    let mut octets = b"witness \xff\xfe ".to_vec();
    octets.extend(format!("{}\nquorum ", vkey(1)).as_bytes());
    octets.extend(b"\xff\xfe\n");
    assert!(Policy::parse(&octets).unwrap().is_met(&[&witness(1).1]));
}

#[test]
fn none_asks_for_nothing() {
    let policy = Policy::parse(b"quorum none\n").unwrap();
    assert!(policy.is_met(&[]) && !policy.asks_for_witnesses());
    let text = format!("witness a {}\nquorum a\n", vkey(1));
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert!(policy.asks_for_witnesses() && !policy.is_met(&[]));
    assert!(policy.is_met(&[&witness(1).1]));
}

#[test]
fn other_texts_are_refused_with_their_line() {
    let (a, b) = (vkey(1), vkey(2));
    let log = log().1.to_string();
    for (text, said) in [
        (String::new(), "no line `quorum"),
        ("\n".to_owned(), "no line `quorum"),
        ("quorum none".to_owned(), "newline"),
        ("quorum none\r\n".to_owned(), "line 1: a control character"),
        ("quorum none\0\n".to_owned(), "line 1: a control character"),
        ("quorum\n".to_owned(), "`quorum NAME`"),
        ("quorum none none\n".to_owned(), "`quorum NAME`"),
        (
            "quorum none\nquorum none\n".to_owned(),
            "line 2: there is one quorum",
        ),
        ("quorum a\n".to_owned(), "line 1: a is not defined"),
        (format!("quorum a\nwitness a {a}\n"), "line 1: a is not defined"),
        ("Quorum none\n".to_owned(), "neither log, witness"),
        ("log\n".to_owned(), "`log VKEY [URL]`"),
        (format!("log {log} u v\n"), "`log VKEY [URL]`"),
        (format!("log {a}\n"), "a witness's key"),
        (
            format!("log {log}\nlog {log}\n"),
            "line 2: a log with the same key",
        ),
        ("log x\n".to_owned(), "line 1: x: "),
        (format!("witness a {log}\n"), "a log's key"),
        ("witness a\n".to_owned(), "`witness NAME VKEY [URL]`"),
        (format!("witness none {a}\n"), "the name none is taken"),
        (
            format!("witness a {a}\nwitness a {b}\n"),
            "line 2: the name a is taken",
        ),
        (
            format!("witness a {a}\nwitness b {a}\n"),
            "line 2: a witness with the same key",
        ),
        (
            format!("witness a {a}\ngroup g all\n"),
            "`group NAME all|any|K NAME...`",
        ),
        (format!("witness a {a}\ngroup g 0 a\n"), "from 1 to 1"),
        (format!("witness a {a}\ngroup g 2 a\n"), "from 1 to 1"),
        (format!("witness a {a}\ngroup g 01 a\n"), "from 1 to 1"),
        (format!("witness a {a}\ngroup g some a\n"), "from 1 to 1"),
        (
            format!("witness a {a}\ngroup g any a a\n"),
            "a is a member already",
        ),
        (
            format!("witness a {a}\ngroup g any a\ngroup h any a\n"),
            "line 3: a is a member already",
        ),
        (format!("witness a {a}\ngroup a any a\n"), "the name a is taken"),
        (format!("witness a {a}\ngroup g any g\n"), "g is not defined"),
        ("group g any none\n".to_owned(), "none is not defined"),
        (
            format!("{}quorum none\n", "# long\n".repeat(20_000)),
            "longer than any",
        ),
    ] {
        let error = Policy::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(said), "{text:?}: {error}");
    }
    // A witness of one key under two names is one.
    let (_, renamed) = pair(1, "other.example", KeyKind::Cosignature);
    let text = format!("witness a {a}\nwitness b {renamed}\nquorum a\n");
    assert!(Policy::parse(text.as_bytes()).is_err());
    let many = |count: u8| -> String {
        let lines: Vec<String> = (1..=count)
            .map(|n| format!("witness w{n} {}\n", vkey(n)))
            .collect();
        let groups: Vec<String> = (1..=count).map(|n| format!("group g{n} any w{n}\n")).collect();
        format!("{}{}quorum g1\n", lines.concat(), groups.concat())
    };
    assert!(Policy::parse(many(32).as_bytes()).is_ok());
    assert!(Policy::parse(many(33).as_bytes()).is_err());
}

/// A checkpoint under the log's key, cosigned by witnesses of these seeds.
fn note(seeds: &[u8]) -> String {
    note_of(5, seeds)
}

fn note_of(size: u64, seeds: &[u8]) -> String {
    let (key, named) = log();
    let mut note = Checkpoint::new("coop.example", size, Digest([7; 32]))
        .sign(&named, |text| key.sign(text).to_bytes())
        .unwrap();
    for seed in seeds {
        let (key, named) = witness(*seed);
        let sign = |message: &[u8]| key.sign(message).to_bytes();
        let line = cosignature::cosign(note.text(), &named, UnixSeconds(1_772_896_869), sign).unwrap();
        note.push(NoteSignature::parse(&line.to_string()).unwrap());
    }
    note.to_string()
}

#[test]
fn a_checkpoint_needs_its_log_and_a_quorum() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    let own = log().1;
    let (_, other) = pair(98, "coop.example", KeyKind::Ed25519);
    for log in [None, Some(&own)] {
        assert_eq!(policy.open(note(&[1, 3, 6]).as_bytes(), log).unwrap().size, 5);
        let error = policy.open(note(&[1, 6, 50]).as_bytes(), log).unwrap_err();
        assert!(
            matches!(&error, LogError::NoQuorum { cosigned } if cosigned == "only w1.example, w6.example")
        );
        assert!(policy.open(note(&[]).as_bytes(), log).is_err());
    }
    let refused = policy.open(note(&[1, 3, 6]).as_bytes(), Some(&other));
    assert_eq!(refused, Err(LogError::NotSigned));
    // A known witness's wrong cosignature refuses the note, a quorum or not.
    let of_another_size = note_of(6, &[2]);
    let wrong = format!(
        "{}{}\n",
        note(&[1, 3, 6]),
        of_another_size.lines().last().unwrap()
    );
    assert_eq!(
        policy.open(wrong.as_bytes(), None),
        Err(LogError::BadSignature {
            name: "w2.example".to_owned()
        })
    );
    // Without logs of its own it takes the one that is given.
    let text = format!("witness a {}\nquorum a\n", vkey(1));
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert!(policy.open(note(&[1]).as_bytes(), Some(&own)).is_ok());
    assert_eq!(policy.open(note(&[1]).as_bytes(), None), Err(LogError::NotSigned));
}

/// What other people's log and witness have signed.
#[test]
fn a_public_checkpoint_is_valid_by_a_policy() {
    let note = "arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

\u{2014} arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
\u{2014} remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
";
    let log = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
    let witness = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";
    let text = format!(
        "log {log}\nwitness remora {witness}\nwitness w {}\ngroup g any remora w\nquorum g\n",
        vkey(1)
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert_eq!(policy.open(note.as_bytes(), None).unwrap().size, 1_432_088_532);
    let both = text.replace("g any", "g all");
    let policy = Policy::parse(both.as_bytes()).unwrap();
    let refused = policy.open(note.as_bytes(), None);
    assert!(matches!(refused, Err(LogError::NoQuorum { .. })));
}

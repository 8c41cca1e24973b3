//! Whose signatures an audit takes: those of the keys that the log names, from the entry
//! on that names them.

use std::sync::Arc;

use tallystick::credential::SecretKey;
use tallystick::credential::verify::DidDocument;
use tallystick::ledger::CredentialKeyAdded;
use tallystick::node::audit::Part;
use tallystick::node::keyring::Keyring;

use super::*;

fn second() -> SecretKey {
    SecretKey::from_seed(&[60; 32])
}

/// A shop that changes its key for credentials and sells on; the entry that names it.
async fn changed() -> (World, u64) {
    let mut world = shop().await;
    let first = Arc::into_inner(keyring(10)).unwrap();
    world.keyring = Arc::new(Keyring {
        credentials_before: vec![first.credential],
        credential: second(),
        ..Arc::into_inner(keyring(10)).unwrap()
    });
    let node = world.open();
    let named = node.size();
    story(&node, "changed").await;
    node.shut_down().await;
    drop(node);
    (world, named)
}

fn told(keys: Vec<tallystick::credential::PublicKey>) -> DidDocument {
    DidDocument {
        authority: "coop.example".to_owned(),
        keys,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_two_keys_is_clean_and_its_newer_part_once_the_key_is_told() {
    let (world, named) = changed().await;
    let report = run(&options(&world));
    assert_eq!(report.verdict(), Verdict::Clean, "{:#?}", report.findings.kept());
    assert_eq!(report.summary.kind("credential_key"), 1);
    assert!(report.notes.iter().all(|note| !note.contains("signatures")));

    let part = |from: u64, trusted: Vec<DidDocument>| {
        let options = AuditOptions {
            part: Part { from, to: None },
            trusted,
            ..options(&world)
        };
        let report = run(&options);
        assert_eq!(report.findings.total(), 0, "{:#?}", report.findings.kept());
        assert_eq!(report.verdict(), Verdict::CleanAsFarAsKnown);
        let unchecked = report
            .notes
            .iter()
            .find(|note| note.contains("signatures could not"));
        unchecked.cloned()
    };
    assert_eq!(part(named, Vec::new()), None, "the part names the key");
    // The story's campaign, batch and receipt.
    let note = part(named + 1, Vec::new()).unwrap();
    let kid = second().kid().to_string();
    assert!(note.starts_with("3 signatures") && note.contains(&kid), "{note}");
    assert_eq!(part(named + 1, vec![told(vec![*second().public()])]), None);
    assert_eq!(part(named, vec![told(vec![*second().public()])]), None);
    let elsewhere = DidDocument {
        authority: "elsewhere.example".to_owned(),
        ..told(vec![*second().public()])
    };
    assert!(part(named + 1, vec![elsewhere]).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_log_does_not_name_signs_nothing_of_it() {
    let (world, named) = changed().await;
    let engine = engine_of(&world);
    let good = entries(&engine);
    drop(engine);
    let forged = |change: &dyn Fn(&mut CredentialKeyAdded)| {
        let mut all = good.clone();
        let at = forge(&mut all, |event| match event {
            Event::CredentialKeyAdded(added) => {
                change(added);
                true
            }
            _ => false,
        });
        assert_eq!(at as u64, named);
        relink(&mut all, at);
        let engine = engine_of(&world);
        put_entries(&engine, &all);
        drop(engine);
        run(&options(&world))
    };
    let third = SecretKey::from_seed(&[61; 32]);
    let report = forged(&|added| added.key = *third.public().as_bytes());
    for rule in [Rule::CampaignSignature, Rule::BatchKey, Rule::ReceiptSignature] {
        finds(&report, rule, None);
    }
    assert!(!rules(&report).contains("credential_key"));
    let changes: [fn(&mut CredentialKeyAdded); 4] = [
        |added| added.previous = 3,
        |added| added.key = *keyring(10).credential.public().as_bytes(),
        |added| added.key = *keyring(10).log.public().as_bytes(),
        |added| added.key = [0; 32],
    ];
    for change in changes {
        finds(&forged(&change), Rule::CredentialKey, Some(named));
    }
}

//! Floor 6: messages between nodes.

use super::Target;
use crate::credential::{Algorithm, cose};
use crate::encoding::cbor;
use crate::federation::message::{Head, MessageName, open, seal};
use crate::federation::roster::{Directory, Role};
use crate::testkit::roster::{ISSUED, after, description, founded, member_key};

pub(super) const TARGETS: &[Target] = &[Target {
    name: "message",
    run: message,
    seeds: message_seeds,
}];

/// Reads bytes as they are, and then as if a member had signed them.
fn message(data: &[u8]) -> bool {
    let roster = after(&founded(&[1], 1), |draft| {
        for n in 1..=2 {
            draft.member(description(n, 0)).expect("a new member");
        }
    });
    let directory = Directory::new(roster);
    let own = description(2, 0).member.did();
    let key = member_key(1, Role::Messages, 0);
    let (name, alg) = (MessageName::Gossip, Algorithm::EdDsa);
    let signed = cose::sign1(&key, alg, cose::TYP_MESSAGE, key.kid(), data, name.external_aad());
    let mut accepted = false;
    for bytes in [data, &signed] {
        let Ok((head, body)) = open(bytes, name, &directory, &own, ISSUED) else {
            continue;
        };
        accepted = true;
        assert_eq!(
            seal(&key, name, &head, &cbor::encode(&body)),
            bytes,
            "sealed again"
        );
        assert!(
            open(bytes, MessageName::Redemption, &directory, &own, ISSUED).is_err(),
            "of two names"
        );
    }
    accepted
}

fn message_seeds() -> Vec<Vec<u8>> {
    let head = Head {
        sender: description(1, 0).member.did(),
        audience: description(2, 0).member.did(),
        time: ISSUED,
        id: [7; 16],
        roster_version: 2,
    };
    let body = cbor::encode(&cbor::text("to be told"));
    let sealed = seal(
        &member_key(1, Role::Messages, 0),
        MessageName::Gossip,
        &head,
        &body,
    );
    // What was signed alone is a seed too: only its payload can be changed.
    let parts = cose::Parts::read(&sealed, cose::TYP_MESSAGE, sealed.len());
    let payload = parts.expect("a message").payload.to_vec();
    vec![sealed, payload]
}

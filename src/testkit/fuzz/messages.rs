//! Floor 6: messages between nodes.

use std::sync::Arc;

use super::{Target, take};
use crate::credential::ListEvidence;
use crate::credential::status_list::{Status, Statuses};
use crate::credential::{Algorithm, cose};
use crate::encoding::cbor;
use crate::federation::gossip::body::Body;
use crate::federation::gossip::{Evidence, Gossip, Held, Identity, Kind, Name, evidence, item};
use crate::federation::message::{Head, MessageName, open, seal};
use crate::federation::roster::{Directory, Role};
use crate::log::{Checkpoint, ForkEvidence, KeyKind, VerifierKey};
use crate::primitives::{Digest, limits};
use crate::testkit::SeededEntropy;
use crate::testkit::gossip::{Member, SimFederation};
use crate::testkit::roster::{ISSUED, after, description, founded, member_key};

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "message",
        run: message,
        seeds: message_seeds,
    },
    Target {
        name: "gossip",
        run: gossip,
        seeds: gossip_seeds,
    },
    Target {
        name: "gossip_item",
        run: gossip_item,
        seeds: gossip_item_seeds,
    },
];

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

/// Reads a body, and gives it to a node that holds a list, as a member's.
fn gossip(data: &[u8]) -> bool {
    let Ok(value) = cbor::decode(data, limits::GOSSIP_MESSAGE_BYTES_MAX) else {
        return false;
    };
    let Ok(body) = Body::read(&value) else {
        return false;
    };
    assert_eq!(body.encode(), data, "read and written again");
    let federation = SimFederation::new(2);
    let [own, other] = [&federation.members[0], &federation.members[1]];
    let now = ISSUED.plus(1_000);
    let identity = Identity {
        did: own.did.clone(),
        key: own.messages(),
    };
    let mut node = Gossip::new(identity, Arc::new(SeededEntropy::new(1)));
    node.follow(Arc::clone(federation.first()), now);
    node.publish(Kind::StatusList, &list(own), now);
    let head = Head {
        sender: other.did.clone(),
        audience: own.did.clone(),
        time: now,
        id: [7; 16],
        roster_version: 1,
    };
    let message = seal(&other.messages(), MessageName::Gossip, &head, data);
    let (answer, effects) = node.receive(&message, now).expect("a member's message");
    assert!(
        answer.len() <= limits::GOSSIP_MESSAGE_BYTES_MAX,
        "a longer answer than is read"
    );
    assert!(effects.kept.len() <= body.items.len(), "more kept than came");
    assert!(node.receive(&message, now).is_err(), "taken twice");
    true
}

fn list(of: &Member) -> Vec<u8> {
    let mut statuses = Statuses::from_packed(vec![0; 16]).expect("some bytes");
    statuses.set(3, Status::Revoked);
    of.list(&statuses, ISSUED)
}

fn gossip_seeds() -> Vec<Vec<u8>> {
    let federation = SimFederation::new(2);
    let [own, other] = [&federation.members[0], &federation.members[1]];
    let held = Body {
        digests: vec![(2, [0; 16])],
        bucket_hashes: vec![(2, vec![0; 512])],
        summaries: vec![(2, None, Vec::new()), (4, Some(7), vec![1; 80])],
        ..Body::default()
    };
    let bringing = Body {
        roster: Some((1, Digest([0; 32]))),
        items: vec![(2, list(other)), (2, list(own)), (6, vec![1])],
        wants: vec![(2, vec![[0; 16]])],
        more: true,
        ..Body::default()
    };
    vec![Body::default().encode(), held.encode(), bringing.encode()]
}

/// Checks an item of the kind that the first byte says. What is good is good once more
/// in the bytes that it is kept in.
fn gossip_item(mut data: &[u8]) -> bool {
    let [number] = take::<1>(&mut data);
    let Ok(kind) = Kind::from_number(number.into()) else {
        return false;
    };
    let federation = SimFederation::new(2);
    let (directory, held, now) = (federation.first(), Held::default(), ISSUED.plus(1_000));
    let Ok(item) = item::check(kind, data, directory, &held, now) else {
        return false;
    };
    assert_eq!(item.key.kind, kind);
    assert!(
        federation.place(&item.key.author).is_some(),
        "an item of a stranger"
    );
    let again = item::check(kind, &item.bytes, directory, &held, now).expect("good in the kept bytes");
    assert_eq!((&again.key, again.version), (&item.key, item.version));
    assert_eq!((again.bytes, again.identity), (item.bytes, item.identity));
    if let item::Content::Evidence(found) = item.content {
        match *found {
            Evidence::Fork { .. } => assert!(matches!(item.key.name, Name::Fork(_))),
            Evidence::TwoLists { list, .. } => assert_eq!(item.key.name, Name::TwoLists(list)),
        }
    }
    true
}

fn gossip_item_seeds() -> Vec<Vec<u8>> {
    let federation = SimFederation::new(2);
    let member = &federation.members[1];
    let (name, log) = (member.origin.authority(), member.key(Role::Log));
    let key = VerifierKey::of(name, KeyKind::Ed25519, log.public()).expect("a host's name");
    let [one, other] = [1, 2].map(|root| {
        let checkpoint = Checkpoint::new(name, 5, Digest([root; 32]));
        let note = checkpoint.sign(&key, |bytes| log.sign(bytes));
        note.expect("the log's key").to_string().into_bytes()
    });
    let fork = ForkEvidence::new(&key, &one, &other, None).expect("two roots of one size");
    let mut statuses = Statuses::from_packed(vec![0; 16]).expect("some bytes");
    statuses.set(4, Status::Revoked);
    let twice = ListEvidence::of(&list(member), &member.list(&statuses, ISSUED));
    let of = |kind: Kind, bytes: Vec<u8>| [vec![kind.number()], bytes].concat();
    vec![
        of(Kind::StatusList, list(member)),
        of(Kind::Checkpoint, one),
        of(Kind::Evidence, evidence::of_fork(&fork).expect("it convicts")),
        of(Kind::Evidence, twice),
    ]
}

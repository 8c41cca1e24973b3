use std::sync::Arc;

use super::body::Body;
use super::*;
use crate::credential::Algorithm;
use crate::credential::status_list::{Status, StatusList, Statuses};
use crate::credential::{Benefit, Campaign, Content as _, ListEvidence, SecretKey, Terms};
use crate::federation::message::{Head, MessageError, MessageName, seal};
use crate::federation::roster::{Directory, Role};
use crate::log::{Checkpoint, KeyKind, Note, VerifierKey};
use crate::primitives::{Amount, Currency, Digest, UnixSeconds, limits};
use crate::testkit::SeededEntropy;
use crate::testkit::gossip::{Member, SimFederation};

struct World {
    federation: SimFederation,
    now: UnixSeconds,
}

impl World {
    fn new(members: usize) -> Self {
        let federation = SimFederation::new(members);
        let now = federation.first().roster().issued.plus(1_000);
        Self { federation, now }
    }

    fn member(&self, n: usize) -> &Member {
        &self.federation.members[n]
    }

    fn directory(&self) -> &Arc<Directory> {
        self.federation.first()
    }

    fn node(&self, n: usize) -> Gossip {
        let member = self.member(n);
        let identity = Identity {
            did: member.did.clone(),
            key: member.messages(),
        };
        let mut gossip = Gossip::new(identity, Arc::new(SeededEntropy::new(n as u64)));
        gossip.follow(Arc::clone(self.directory()), self.now);
        gossip
    }

    fn check(&self, kind: Kind, bytes: &[u8]) -> Result<Item, ItemError> {
        item::check(kind, bytes, self.directory(), &Held::default(), self.now)
    }

    #[track_caller]
    fn refused(&self, kind: Kind, bytes: &[u8], reason: &str) {
        let error = self.check(kind, bytes).expect_err("it is refused");
        assert_eq!(error.reason(), reason, "{error}");
    }

    /// The list `list` of member `n`, with some coupons revoked.
    fn list(&self, n: usize, list: u32, at: UnixSeconds, revoked: &[u32]) -> StatusList {
        let mut statuses = Statuses::new();
        for index in revoked {
            statuses.set(*index, Status::Revoked);
        }
        StatusList {
            uri: self.member(n).origin.status_uri(list),
            issued_at: at,
            expires: at.plus(3_600),
            ttl: 60,
            statuses,
        }
    }

    fn token(&self, n: usize, list: u32, at: UnixSeconds, revoked: &[u32]) -> Vec<u8> {
        self.list(n, list, at, revoked)
            .sign(&self.member(n).credentials(), Algorithm::EdDsa)
    }

    fn campaign(&self, key: &SecretKey) -> Vec<u8> {
        let benefit = Benefit::AmountOff {
            amount: Amount::new(100).unwrap(),
        };
        Campaign {
            issued_at: self.now,
            not_before: self.now,
            not_after: self.now.plus(86_400),
            terms: Terms::new(
                "Apples",
                "One euro off",
                Currency::from_letters("EUR").unwrap(),
                benefit,
            ),
        }
        .sign(key, Algorithm::EdDsa)
    }

    fn log_key(&self, n: usize) -> VerifierKey {
        let member = self.member(n);
        VerifierKey::of(
            member.origin.authority(),
            KeyKind::Ed25519,
            member.key(Role::Log).public(),
        )
        .unwrap()
    }

    fn checkpoint(&self, n: usize, size: u64, root: u8) -> Note {
        let checkpoint = Checkpoint::new(self.member(n).origin.authority(), size, Digest([root; 32]));
        checkpoint
            .sign(&self.log_key(n), |bytes| {
                self.member(n).key(Role::Log).sign(bytes)
            })
            .unwrap()
    }

    fn cosigned(&self, note: &Note, by: usize) -> Note {
        let witness = self.member(by).key(Role::Witness);
        let roster = self.directory().roster();
        let name = &roster.member(&self.member(by).did).unwrap().witness_name;
        let key = VerifierKey::of(name, KeyKind::Cosignature, witness.public()).unwrap();
        let mut note = note.clone();
        let line = crate::log::cosignature::cosign(note.text(), &key, self.now, |bytes| witness.sign(bytes));
        note.push(line.unwrap());
        note
    }
}

/// Carries messages between two nodes until neither has more to say; how many and how
/// many bytes.
fn exchange(from: &mut Gossip, to: &mut Gossip, begun: Effects, now: UnixSeconds) -> (usize, usize) {
    let (mut messages, mut bytes) = (0, 0);
    let mut open = begun.sends;
    while let Some(sending) = open.pop() {
        let (answer, effects) = to.receive(&sending.bytes, now).unwrap();
        assert!(effects.refused.is_empty(), "{:?}", effects.refused);
        messages += 2;
        bytes += sending.bytes.len() + answer.len();
        assert!(sending.bytes.len() <= limits::GOSSIP_MESSAGE_BYTES_MAX);
        open.extend(from.answered(sending.exchange, &answer, now).unwrap().sends);
    }
    (messages, bytes)
}

#[test]
fn a_status_list_is_its_authors_alone() {
    let world = World::new(3);
    let now = world.now;
    let good = world.token(1, 7, now, &[3]);
    let item = world.check(Kind::StatusList, &good).unwrap();
    assert_eq!(
        (item.key.author.as_str(), item.version),
        (world.member(1).did.as_str(), now.0)
    );
    assert_eq!(item.key.name, Name::List(7));
    let by = |key: &SecretKey, uri: &str| {
        let list = StatusList {
            uri: uri.to_owned(),
            ..world.list(1, 7, now, &[])
        };
        list.sign(key, Algorithm::EdDsa)
    };
    let own = world.member(1).credentials();
    let base = world.member(1).origin.to_string();
    for uri in [
        format!("{base}/s/07"),
        format!("{base}/s/7/"),
        format!("{base}/s/7?a"),
        format!("{base}/x/s/7"),
        format!("{base}.evil.example/s/7"),
        "http://coop-1.example/s/7".to_owned(),
        "https://coop-9.example/s/7".to_owned(),
    ] {
        world.refused(Kind::StatusList, &by(&own, &uri), "author_not_a_member");
    }
    let uri = format!("{base}/s/7");
    // By another member, by a stranger, by another key of its own.
    for key in [
        world.member(2).credentials(),
        SecretKey::from_seed(&[9; 32]),
        world.member(1).key(Role::Messages),
    ] {
        world.refused(Kind::StatusList, &by(&key, &uri), "author_key_not_good");
    }
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    world.refused(Kind::StatusList, &forged, "item_signature_wrong");
    world.refused(Kind::StatusList, &good[1..], "item_malformed");
    let skew = limits::CLOCK_SKEW_SECONDS_MAX;
    assert!(
        world
            .check(Kind::StatusList, &world.token(1, 7, now.plus(skew), &[]))
            .is_ok()
    );
    let ahead = world.token(1, 7, now.plus(skew + 1), &[]);
    world.refused(Kind::StatusList, &ahead, "item_from_the_future");
    world.refused(
        Kind::StatusList,
        &vec![0; limits::STATUS_TOKEN_BYTES_MAX + 1],
        "item_too_long",
    );
}

#[test]
fn campaigns_and_checkpoints_are_their_authors_too() {
    let world = World::new(3);
    let item = world
        .check(Kind::Campaign, &world.campaign(&world.member(2).credentials()))
        .unwrap();
    assert_eq!(
        (item.key.author.as_str(), item.version),
        (world.member(2).did.as_str(), 1)
    );
    let stranger = world.campaign(&SecretKey::from_seed(&[9; 32]));
    world.refused(Kind::Campaign, &stranger, "author_not_a_member");
    let other_role = world.campaign(&world.member(2).key(Role::Log));
    world.refused(Kind::Campaign, &other_role, "author_key_not_good");

    let bytes = |note: &Note| note.to_string().into_bytes();
    let note = world.checkpoint(1, 5, 1);
    let item = world.check(Kind::Checkpoint, &bytes(&note)).unwrap();
    assert_eq!((item.version, &item.bytes), (5, &bytes(&note)));
    // Cosignatures of members are kept, in one order; a stranger's, and wrong ones, not.
    let (one, other) = (world.cosigned(&note, 0), world.cosigned(&note, 2));
    let mut both = world.cosigned(&one, 2);
    let item = world.check(Kind::Checkpoint, &bytes(&both)).unwrap();
    let Content::Checkpoint(_, kept) = &item.content else {
        panic!("{item:?}")
    };
    assert_eq!(kept.signatures().len(), 3);
    let mut wrong = one.signatures()[1].clone();
    *wrong.payload.last_mut().unwrap() ^= 1;
    let mut changed = note.clone();
    changed.push(wrong);
    assert_eq!(
        world.check(Kind::Checkpoint, &bytes(&changed)).unwrap().bytes,
        bytes(&note)
    );
    both.push(other.signatures()[1].clone());
    assert_eq!(
        world.check(Kind::Checkpoint, &bytes(&both)).unwrap().bytes,
        item.bytes
    );
    let unsigned = Note::new(note.text()).unwrap();
    let mut cosigned_only = unsigned.clone();
    cosigned_only.push(one.signatures()[1].clone());
    world.refused(Kind::Checkpoint, &bytes(&cosigned_only), "author_key_not_good");
    let foreign = bytes(&note)
        .iter()
        .map(|byte| if *byte == b'1' { b'7' } else { *byte })
        .collect::<Vec<_>>();
    world.refused(Kind::Checkpoint, &foreign, "author_not_a_member");
}

#[test]
fn lease_grants_and_unknown_kinds_are_refused() {
    assert_eq!(Kind::from_number(6), Err(ItemError::KindReserved));
    assert_eq!(Kind::from_number(7), Err(ItemError::KindUnknown(7)));
    for kind in Kind::ALL {
        assert_eq!(Kind::from_number(kind.number().into()), Ok(kind));
    }
}

#[test]
fn the_newest_counts_and_of_two_the_smaller_hash() {
    let world = World::new(2);
    let mut node = world.node(0);
    let now = world.now;
    let mut publish = |bytes: &[u8]| {
        let effects = node.publish(Kind::StatusList, bytes, now);
        assert!(effects.refused.is_empty(), "{:?}", effects.refused);
        effects
            .kept
            .iter()
            .map(|kept| kept.stored.key.kind)
            .collect::<Vec<_>>()
    };
    let second = world.token(1, 0, now, &[1]);
    assert_eq!(publish(&second), [Kind::StatusList]);
    assert!(publish(&second).is_empty(), "it is known");
    assert!(
        publish(&world.token(1, 0, now.minus(1), &[2])).is_empty(),
        "it is older"
    );
    // Another of the same version: evidence, and one of the two is held by all.
    let other = world.token(1, 0, now, &[3]);
    let kept = publish(&other);
    assert!(kept.contains(&Kind::Evidence), "{kept:?}");
    let mut other_way = world.node(0);
    for bytes in [&other, &second] {
        other_way.publish(Kind::StatusList, bytes, now);
    }
    for kind in [Kind::StatusList, Kind::Evidence] {
        assert_eq!(
            node.held().summary(kind, None),
            other_way.held().summary(kind, None)
        );
        assert_eq!(node.held().count(kind), 1);
    }
    let newer = world.token(1, 0, now.plus(1), &[1]);
    assert_eq!(node.publish(Kind::StatusList, &newer, now).kept.len(), 1);
}

#[test]
fn two_checkpoints_of_one_size_convict_their_log() {
    let world = World::new(3);
    let mut node = world.node(0);
    let publish = |node: &mut Gossip, note: &Note| {
        node.publish(Kind::Checkpoint, note.to_string().as_bytes(), world.now)
    };
    let (one, other) = (world.checkpoint(1, 5, 1), world.checkpoint(1, 5, 2));
    assert_eq!(publish(&mut node, &one).kept.len(), 1);
    // A cosignature is merged, and brings no new version.
    assert_eq!(publish(&mut node, &world.cosigned(&one, 2)).kept.len(), 1);
    assert_eq!(publish(&mut node, &one).kept.len(), 0);
    let effects = publish(&mut node, &world.cosigned(&other, 0));
    let evidence = effects
        .kept
        .iter()
        .find(|kept| kept.stored.key.kind == Kind::Evidence)
        .unwrap();
    assert_eq!(evidence.stored.key.author, world.member(1).did);
    // It is told at once, and convicts wherever it comes.
    assert_eq!(effects.sends.len(), 2);
    let view = View::default();
    view.keep(&effects.kept);
    assert!(
        view.forks_of(&world.member(1).did)
            .pop()
            .unwrap()
            .said
            .contains("two histories")
    );
    assert!(view.forks_of(&world.member(2).did).is_empty());
    let item = world.check(Kind::Evidence, &evidence.stored.bytes).unwrap();
    assert!(matches!(item.key.name, Name::Fork(_)));
    // Two of one history prove nothing, nor do two of different sizes.
    let mut innocent = world.node(0);
    for note in [&one, &world.checkpoint(1, 9, 3), &world.checkpoint(1, 12, 4)] {
        let effects = publish(&mut innocent, note);
        assert!(
            effects
                .kept
                .iter()
                .all(|kept| kept.stored.key.kind == Kind::Checkpoint)
        );
    }
    world.refused(Kind::Evidence, &[0x80], "item_malformed");
    let twice = ListEvidence::of(
        &world.token(1, 0, world.now, &[]),
        &world.token(1, 0, world.now.plus(1), &[]),
    );
    world.refused(Kind::Evidence, &twice, "evidence_proves_nothing");
}

/// They may contradict what is held, so whoever keeps logs apart gets them, once.
#[test]
fn checkpoints_beside_the_newest_come_out_once() {
    let world = World::new(3);
    let mut node = world.node(0);
    let mut publish = |note: &Note| {
        let effects = node.publish(Kind::Checkpoint, note.to_string().as_bytes(), world.now);
        assert!(effects.refused.is_empty(), "{:?}", effects.refused);
        let older: Vec<u64> = effects.older.iter().map(|older| older.version).collect();
        (effects.kept.len(), older)
    };
    let (five, nine) = (world.checkpoint(1, 5, 1), world.checkpoint(1, 9, 2));
    assert_eq!(publish(&nine), (1, vec![]));
    assert_eq!(publish(&five), (0, vec![5]));
    assert_eq!(publish(&five), (0, vec![]));
    assert_eq!(publish(&world.cosigned(&five, 2)), (0, vec![5]), "other bytes");
    // What a newer one takes the place of, and what comes back of it.
    assert_eq!(publish(&world.checkpoint(1, 12, 3)), (1, vec![9]));
    assert_eq!(publish(&nine), (0, vec![]));
    // Of two of one size there is evidence.
    assert_eq!(publish(&world.checkpoint(1, 12, 4)).1, [0_u64; 0]);
    // An honest member holds one of a log: of more in one message not all are compared.
    let notes = [1, 2, 3, 4].map(|size| (4, world.checkpoint(1, size, 1).to_string().into_bytes()));
    let items = notes.to_vec();
    let body = Body {
        items,
        ..Body::default()
    };
    let head = Head {
        sender: world.member(1).did.clone(),
        audience: world.member(0).did.clone(),
        time: world.now,
        id: [1; 16],
        roster_version: 1,
    };
    let key = world.member(1).messages();
    let message = seal(&key, MessageName::Gossip, &head, &body.encode());
    let (_, effects) = node.receive(&message, world.now).unwrap();
    assert_eq!(effects.older.len(), limits::GOSSIP_OLDER_OF_ONE_MAX);
    // So many are known again, and no more.
    let mut held = Held::default();
    let number = |n: usize| n.to_be_bytes();
    for n in 0..=limits::GOSSIP_PASSED_MAX {
        held.pass(&number(n));
    }
    assert!(!held.knows(&number(0)) && held.knows(&number(1)));
}

/// A node that stops tells everyone what convicts it, and nothing about others.
#[test]
fn who_parts_tells_all_what_convicts_it() {
    let world = World::new(4);
    let mut node = world.node(0);
    for of in [0, 1] {
        for root in [1, 2] {
            let note = world.checkpoint(of, 5, root).to_string();
            node.publish(Kind::Checkpoint, note.as_bytes(), world.now);
        }
    }
    let sends = node.part(world.now).sends;
    let told: Vec<&str> = sends.iter().map(|sending| sending.to.as_str()).collect();
    assert_eq!(told, [1, 2, 3].map(|n| world.member(n).did.as_str()));
    for (n, sending) in (1..).zip(&sends) {
        let (_, effects) = world.node(n).receive(&sending.bytes, world.now).unwrap();
        let kept: Vec<_> = effects.kept.iter().map(|kept| &kept.stored.key).collect();
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!(
            (kept[0].kind, &kept[0].author),
            (Kind::Evidence, &world.member(0).did)
        );
    }
    assert!(world.node(2).part(world.now).sends.is_empty());
}

#[test]
fn an_idle_exchange_costs_less_than_a_kilobyte() {
    let world = World::new(2);
    let (mut a, mut b) = (world.node(0), world.node(1));
    for list in 0..100 {
        let token = world.token(0, list, world.now, &[list]);
        a.publish(Kind::StatusList, &token, world.now);
        b.publish(Kind::StatusList, &token, world.now);
    }
    let begun = a.tick(world.now);
    let (messages, bytes) = exchange(&mut a, &mut b, begun, world.now);
    assert_eq!(messages, 2);
    assert!(bytes < 1_024, "{bytes} bytes");
}

#[test]
fn a_node_that_was_away_is_current_after_one_exchange() {
    let world = World::new(2);
    let (mut a, mut b) = (world.node(0), world.node(1));
    // More than one message holds, to and fro, and some that both have.
    let entropy: &dyn crate::primitives::Entropy = &SeededEntropy::new(7);
    for list in 0..80 {
        // Random, so that they do not pack well.
        let statuses = Statuses::from_packed(entropy.bytes::<9_000>().to_vec()).unwrap();
        let token = |at| {
            let list = StatusList {
                statuses: statuses.clone(),
                ..world.list(0, list, at, &[])
            };
            list.sign(&world.member(0).credentials(), Algorithm::EdDsa)
        };
        let (old, new) = (token(world.now.minus(9)), token(world.now));
        a.publish(Kind::StatusList, &old, world.now);
        match list % 3 {
            0 => drop(b.publish(Kind::StatusList, &new, world.now)),
            1 => drop(a.publish(Kind::StatusList, &new, world.now)),
            _ => drop(b.publish(Kind::StatusList, &old, world.now)),
        }
    }
    let begun = a.tick(world.now);
    let (messages, bytes) = exchange(&mut a, &mut b, begun, world.now);
    for kind in Kind::ALL {
        assert_eq!(a.held().summary(kind, None), b.held().summary(kind, None));
    }
    assert_eq!(a.held().count(Kind::StatusList), 80);
    assert!(
        messages > 6 && bytes > 2 * limits::GOSSIP_MESSAGE_BYTES_MAX,
        "{messages}, {bytes}"
    );
}

#[test]
fn one_member_cannot_fill_the_others_or_keep_them_busy() {
    let world = World::new(2);
    let mut node = world.node(0);
    let most = u32::try_from(limits::GOSSIPED_ITEMS_OF_ONE_MAX).unwrap();
    let held = StatusList {
        statuses: Statuses::from_packed(vec![0]).unwrap(),
        ..world.list(1, 0, world.now, &[])
    };
    let token = |list: u32| {
        let uri = world.member(1).origin.status_uri(list);
        StatusList { uri, ..held.clone() }.sign(&world.member(1).credentials(), Algorithm::EdDsa)
    };
    for list in 0..most {
        assert_eq!(
            node.publish(Kind::StatusList, &token(list), world.now).kept.len(),
            1
        );
    }
    let effects = node.publish(Kind::StatusList, &token(most), world.now);
    assert_eq!(effects.refused[0].reason(), "author_share_full");
    // What it has may still be renewed.
    assert_eq!(
        node.publish(
            Kind::StatusList,
            &world.token(1, 0, world.now.plus(1), &[]),
            world.now
        )
        .kept
        .len(),
        1
    );

    let head = |id: u32| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&id.to_be_bytes());
        Head {
            sender: world.member(1).did.clone(),
            audience: world.member(0).did.clone(),
            time: world.now,
            id: bytes,
            roster_version: 1,
        }
    };
    let message = |id, body: &Body| {
        seal(
            &world.member(1).messages(),
            MessageName::Gossip,
            &head(id),
            &body.encode(),
        )
    };
    let bad = Body {
        items: (0..20).map(|n| (2, vec![n; 40])).collect(),
        ..Body::default()
    };
    let (_, effects) = node.receive(&message(0, &bad), world.now).unwrap();
    assert_eq!(effects.refused.len(), limits::GOSSIP_BAD_ITEMS_MAX);
    let again = node.receive(&message(0, &bad), world.now).unwrap_err();
    assert_eq!(again, GossipError::Message(MessageError::Replayed));
    let empty = Body::default();
    let flood = (1..).find_map(|id| node.receive(&message(id, &empty), world.now).err());
    assert_eq!(flood, Some(GossipError::Message(MessageError::TooMany)));
    let later = world.now.plus(1);
    assert!(node.receive(&message(9_999, &empty), later).is_ok());
    let odd = seal(
        &world.member(1).messages(),
        MessageName::Gossip,
        &head(10_000),
        &[0x80],
    );
    assert_eq!(node.receive(&odd, later).unwrap_err().reason(), "body_malformed");
}

#[test]
fn only_what_was_asked_is_an_answer() {
    let world = World::new(3);
    let (mut a, mut b, mut c) = (world.node(0), world.node(1), world.node(2));
    let mut nodes = |to: &str| {
        if to == world.member(1).did {
            std::mem::replace(&mut b, world.node(1))
        } else {
            std::mem::replace(&mut c, world.node(2))
        }
    };
    let first = a.tick(world.now).sends.remove(0);
    let (answer, _) = nodes(&first.to).receive(&first.bytes, world.now).unwrap();
    let second = a.tick(world.now).sends.remove(0);
    assert_eq!(
        a.answered(second.exchange, &answer, world.now).unwrap_err(),
        GossipError::NotAsked
    );
    assert!(a.answered(first.exchange, &answer, world.now).is_ok());
    assert_eq!(
        a.answered(first.exchange, &answer, world.now).unwrap_err(),
        GossipError::NotAsked
    );
    assert_eq!(
        a.answered(second.exchange, &second.bytes, world.now)
            .unwrap_err()
            .reason(),
        "signature_wrong"
    );
}

/// One silent peer that is heard again has others tried at once, and no more than a few
/// between two rounds.
#[test]
fn a_silent_peer_that_is_heard_again_has_others_tried() {
    let world = World::new(40);
    let mut node = world.node(0);
    let place = |did: &str| world.federation.place(did).unwrap();
    let is_away = |n: usize| n >= 10;
    // Whoever is away does not answer until all of them count as silent.
    for round in 0.. {
        assert!(round < 1_000, "{} are silent", node.failing());
        let mut sends = node.tick(world.now).sends;
        if node.failing() == 30 {
            // Most are silent: two of them are tried beside one that answers.
            let away = sends.iter().filter(|sending| is_away(place(&sending.to))).count();
            assert_eq!((sends.len(), away), (3, 2));
            break;
        }
        while let Some(sending) = sends.pop() {
            if is_away(place(&sending.to)) {
                // Another one is asked instead, once.
                sends.extend(node.failed(sending.exchange, world.now).sends);
            } else {
                let (answer, _) = world
                    .node(place(&sending.to))
                    .receive(&sending.bytes, world.now)
                    .unwrap();
                node.answered(sending.exchange, &answer, world.now).unwrap();
            }
        }
    }
    let mut tried = |n: usize| {
        let mut back = world.node(n);
        let sends = loop {
            let sends = back.tick(world.now).sends;
            if let Some(at) = sends.iter().position(|sending| place(&sending.to) == 0) {
                break node.receive(&sends[at].bytes, world.now).unwrap().1.sends;
            }
        };
        assert!(sends.iter().all(|sending| is_away(place(&sending.to))));
        let mut tried: Vec<_> = sends.iter().map(|sending| sending.to.clone()).collect();
        tried.sort_unstable();
        tried.dedup();
        tried.len()
    };
    assert_eq!(tried(20), limits::GOSSIP_PROBES_MAX);
    assert_eq!(tried(21), 0, "it has tried some since its round began");
    node.tick(world.now);
    assert_eq!(node.failing(), 28);
    let mut last = world.node(22);
    let begun = loop {
        let mut sends = last.tick(world.now).sends;
        sends.retain(|sending| place(&sending.to) == 0);
        if let Some(sending) = sends.pop() {
            break sending;
        }
    };
    let (_, effects) = node.receive(&begun.bytes, world.now).unwrap();
    assert_eq!(effects.sends.len(), limits::GOSSIP_PROBES_MAX);
}

#[test]
fn news_are_what_stops_a_coupon() {
    let world = World::new(9);
    let mut node = world.node(0);
    let now = world.now;
    let mut told = |list: &StatusList| {
        let token = list.sign(&world.member(0).credentials(), Algorithm::EdDsa);
        node.publish(Kind::StatusList, &token, now).sends.len()
    };
    let mut list = world.list(0, 0, now, &[]);
    assert_eq!(told(&list), 0, "nothing is revoked in it");
    let mut next = |list: &mut StatusList, index, status| {
        list.issued_at = list.issued_at.plus(1);
        list.statuses.set(index, status);
        told(list)
    };
    assert_eq!(next(&mut list, 5, Status::UsedUp), 0);
    assert_eq!(next(&mut list, 6, Status::Revoked), limits::GOSSIP_FANOUT);
    assert_eq!(next(&mut list, 7, Status::UsedUp), 0);
    assert_eq!(next(&mut list, 7, Status::Suspended), limits::GOSSIP_FANOUT);
    assert_eq!(next(&mut list, 7, Status::Valid), limits::GOSSIP_FANOUT);
    // Of old ones, however they come, a few in a round are.
    let mut newcomer = world.node(1);
    let at = now.minus(limits::GOSSIP_NEWS_SECONDS + 1);
    let old = |node: &mut Gossip, list| {
        let token = world.token(0, list, at, &[1]);
        node.publish(Kind::StatusList, &token, now).sends.len()
    };
    assert_eq!(old(&mut newcomer, 0), 0, "before its first round");
    newcomer.tick(now);
    let told: Vec<usize> = (1..=20).map(|list| old(&mut newcomer, list)).collect();
    assert_eq!(
        told[..limits::GOSSIP_LATE_NEWS_MAX],
        [2 * limits::GOSSIP_FANOUT; 16]
    );
    assert_eq!(told[limits::GOSSIP_LATE_NEWS_MAX..], [0; 4]);
    newcomer.tick(now);
    let campaign = world.campaign(&world.member(0).credentials());
    assert_eq!(
        newcomer.publish(Kind::Campaign, &campaign, now).sends.len(),
        limits::GOSSIP_FANOUT
    );
}

#[test]
fn look_ups_say_what_the_newest_list_says_or_that_it_cannot_be_told() {
    let world = World::new(2);
    let mut node = world.node(0);
    let view = View::default();
    let (issuer, now) = (world.member(1).did.as_str(), world.now);
    let undetermined = CouponStatus::Undetermined;
    assert_eq!(
        view.status(issuer, 0, 1, now, None),
        undetermined(Undetermined::NoList)
    );
    let mut list = world.list(1, 0, now, &[1]);
    list.statuses.set(2, Status::Suspended);
    list.statuses.set(3, Status::UsedUp);
    let token = list.sign(&world.member(1).credentials(), Algorithm::EdDsa);
    view.keep(&node.publish(Kind::StatusList, &token, now).kept);
    for (index, expected) in [
        (0, CouponStatus::Valid),
        (1, CouponStatus::Revoked),
        (2, CouponStatus::Suspended),
        (3, CouponStatus::UsedUp),
        (limits::STATUS_LIST_LEN, undetermined(Undetermined::OutOfBounds)),
    ] {
        assert_eq!(view.status(issuer, 0, index, now, Some(60)), expected);
    }
    assert_eq!(
        view.status(issuer, 1, 1, now, None),
        undetermined(Undetermined::NoList)
    );
    let at = |later| view.status(issuer, 0, 0, now.plus(later), Some(60));
    assert_eq!(
        (at(60), at(61)),
        (CouponStatus::Valid, undetermined(Undetermined::TooOld(61)))
    );
    assert_eq!(
        view.status(issuer, 0, 1, now.plus(3_600), None),
        undetermined(Undetermined::Expired)
    );
    let behind = view.status(issuer, 0, 0, now.minus(301), None);
    assert_eq!(behind, undetermined(Undetermined::ClockBehind(301)));
    let campaign = world.campaign(&world.member(1).credentials());
    let effects = node.publish(Kind::Campaign, &campaign, now);
    let Name::Campaign(id) = effects.kept[0].stored.key.name else {
        panic!("{effects:?}")
    };
    view.keep(&effects.kept);
    let known = view.campaign(&id).unwrap();
    assert_eq!(
        (known.author.as_str(), known.campaign.bytes()),
        (issuer, &campaign[..])
    );
    view.forget(&[effects.kept[0].stored.clone()]);
    assert!(view.campaign(&id).is_none());
}

#[test]
fn what_was_kept_is_taken_up_again() {
    let world = World::new(2);
    let mut node = world.node(0);
    let kept = node
        .publish(Kind::StatusList, &world.token(1, 0, world.now, &[4]), world.now)
        .kept;
    let rows = kept
        .iter()
        .map(|kept| (kept.stored.key.kind, kept.stored.bytes.to_vec()));
    let mut again = world.node(0);
    let effects = again.restore(rows.collect(), world.now);
    assert!(effects.sends.is_empty() && effects.kept.len() == 1);
    assert_eq!(
        node.held().summary(Kind::StatusList, None),
        again.held().summary(Kind::StatusList, None)
    );
}

#[test]
fn the_published_schema_says_the_same_of_bodies() {
    let schema = include_str!("../../../schemas/gossip.cddl");
    let valid = |bytes: &[u8]| cddl::validate_cbor_from_slice(schema, bytes, None);
    let whole = Body {
        roster: Some((3, Digest([1; 32]))),
        digests: vec![(2, [2; 16])],
        bucket_hashes: vec![(2, vec![3; 512])],
        summaries: vec![(2, None, vec![4; 80]), (3, Some(63), Vec::new())],
        items: vec![(2, vec![5; 9])],
        wants: vec![(4, vec![[6; 16], [7; 16]])],
        more: true,
    };
    for body in [whole.clone(), Body::default()] {
        let bytes = body.encode();
        valid(&bytes).unwrap();
        let value = crate::encoding::cbor::decode(&bytes, bytes.len()).unwrap();
        assert_eq!(Body::read(&value).unwrap(), body);
    }
    let bad: [fn(&mut Body); 3] = [
        |body| body.bucket_hashes[0].1.push(0),
        |body| body.summaries[0].1 = Some(64),
        |body| body.items = (0..300).map(|_| (2, Vec::new())).collect(),
    ];
    for change in bad {
        let mut body = whole.clone();
        change(&mut body);
        let bytes = body.encode();
        let value = crate::encoding::cbor::decode(&bytes, bytes.len()).unwrap();
        assert!(Body::read(&value).is_err() && valid(&bytes).is_err());
    }
}

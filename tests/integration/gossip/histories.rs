//! Second histories, wherever they are shown: in checkpoints that are older than what is
//! held, of the own log and of others', and in such as could not be read when they came.

use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tallystick::federation::gossip::body::Body;
use tallystick::federation::gossiper::WhichEvidence;
use tallystick::federation::message::{Head, MessageName, seal};
use tallystick::federation::mirrored::{Lost, MirroredError, check_with_gossip};
use tallystick::federation::redemption::Knowledge as _;
use tallystick::log::{Checkpoint, ForkEvidence, Note};
use tallystick::primitives::{Clock as _, Digest};
use tallystick::server::line::Line;
use tallystick::testkit::TestNode;
use tallystick::testkit::federation::{TestFederation, TestMember, origin};

use super::nodes::{did, metric, wait_until};
use crate::federation::redemption::{self, coupons, post};
use crate::node::world::{office, two_off};

const ROUND: Duration = Duration::from_secs(1);

/// A checkpoint that the member's own key signs.
fn signed(of: &TestMember, size: u64, root: Digest) -> String {
    let (key, signer) = (of.node.node.log_key(), of.node.keyring().log);
    let checkpoint = Checkpoint::new(key.name(), size, root);
    let note = checkpoint.sign(&key, |bytes| signer.sign(bytes)).unwrap();
    note.to_string()
}

/// One that its log does not contain.
fn invented(of: &TestMember, size: u64) -> String {
    signed(of, size, Digest([7; 32]))
}

/// One that its log contains, from before.
fn earlier(of: &TestMember, size: u64) -> String {
    let root = of.node.node.consistency(size, None).unwrap().first_root;
    signed(of, size, root)
}

/// So many entries more.
async fn grow(member: &TestMember, entries: u64) {
    let node = &member.node.node;
    let end = node.size() + entries;
    while node.size() < end {
        let order = two_off(&format!("entry {}", node.size()));
        node.sign_campaign(&office(), order).await.unwrap();
    }
}

/// Has a member bring checkpoints to another one by gossip.
async fn bring(from: (u8, &TestMember), to: (u8, &TestMember), notes: &[String]) {
    static NEXT: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(1);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let items = notes.iter().map(|note| (4, note.clone().into_bytes()));
    let body = Body {
        items: items.collect(),
        ..Body::default()
    };
    let head = Head {
        sender: did(from.0),
        audience: did(to.0),
        time: to.1.node.clock.now(),
        id: [number; 16],
        roster_version: 2,
    };
    let key = from.1.node.keyring().messages;
    let message = seal(&key, MessageName::Gossip, &head, &body.encode());
    let gossiper = to.1.gossiper.as_ref().unwrap();
    gossiper.receive(&message).await.unwrap();
}

fn forked(at: &TestMember, n: u8) -> bool {
    at.gossiper.as_ref().unwrap().forked(&did(n)).is_some()
}

/// The size up to which a member has cosigned the log of another one.
fn cosigned(by: &TestMember, n: u8) -> Option<u64> {
    let note = by
        .node
        .node
        .witnessed(&Sha256::digest(origin(n).authority()).into())?;
    let note = Note::parse(note.as_bytes()).unwrap();
    Some(Checkpoint::parse(note.text()).unwrap().size)
}

async fn start(count: u8) -> TestFederation {
    let federation = TestFederation::start_gossiping(count, ROUND).await;
    grow(&federation.members[0], 3).await;
    let (owner, others) = federation.members.split_first().unwrap();
    let size = owner.node.node.size();
    wait_until("all others have cosigned the newest", || {
        others.iter().all(|other| cosigned(other, 0) == Some(size))
    })
    .await;
    federation
}

/// A node that is shown an older checkpoint of its own stops where its log does not contain
/// it, is refused each start, and tells the others before its process ends.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_checkpoint_of_its_own_stops_a_node_that_does_not_contain_it() {
    let federation = start(3).await;
    let [own, other, third] = &federation.members[..] else {
        panic!("three members")
    };
    let gossiper = own.gossiper.as_ref().unwrap();
    let size = own.node.node.size();
    assert!(size >= 3);
    // What it has signed before is no contradiction, however often it is told.
    for _ in 0..3 {
        let old = (1..size).map(|size| earlier(own, size)).collect::<Vec<_>>();
        bring((1, other), (0, own), &old).await;
    }
    gossiper.part().await;
    assert_eq!(own.node.node.stopped(), None);
    check_with_gossip(&own.node.node).unwrap();

    bring((1, other), (0, own), &[invented(own, size - 1)]).await;
    wait_until("it has stopped", || own.node.node.stopped().is_some()).await;
    let why = own.node.node.stopped().unwrap();
    assert!(why.contains("gossip has brought evidence"), "{why}");
    assert!(matches!(gossiper.stopped_by(), Some(Lost::Convicted { .. })));
    let lost = check_with_gossip(&own.node.node).unwrap_err();
    assert!(
        matches!(lost, MirroredError::Lost(Lost::Convicted { .. })),
        "{lost}"
    );
    let [evidence] = &gossiper.evidence(&WhichEvidence::default()).await.shown[..] else {
        panic!("one piece of evidence")
    };
    let read = ForkEvidence::decode(&evidence.bytes).unwrap();
    let found = read.verify(&own.node.node.log_key()).unwrap();
    assert_eq!((found.first.size, found.second.size), (size - 1, size));

    // Nobody else knows of it yet.
    assert!(!forked(other, 0) && !forked(third, 0));
    gossiper.part().await;
    assert!(forked(other, 0) && forked(third, 0));
    federation.stop().await;
}

/// Whoever is shown an older checkpoint of another log compares it in the next round.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_checkpoint_of_another_log_is_compared_too() {
    let federation = start(3).await;
    let [owner, told, teller] = &federation.members[..] else {
        panic!("three members")
    };
    let size = owner.node.node.size();
    bring(
        (2, teller),
        (1, told),
        &[earlier(owner, 1), earlier(owner, size - 1)],
    )
    .await;
    let compared = || {
        metric(
            &told.node.registry,
            "tallystick_gossip_watched_checkpoints_total",
            "older",
        )
    };
    wait_until("both are compared", || compared() >= 2.0).await;
    assert!(!forked(told, 0));

    bring((2, teller), (1, told), &[invented(owner, size - 1)]).await;
    wait_until("its log is convicted everywhere", || {
        forked(told, 0) && forked(teller, 0)
    })
    .await;
    wait_until("it has stopped", || owner.node.node.stopped().is_some()).await;
    federation.stop().await;
}

/// A log that could not be read when its checkpoint came is read once it can be, though
/// nothing new comes of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_whose_log_could_not_be_read_is_looked_at_again() {
    let federation = start(2).await;
    let [owner, other] = &federation.members[..] else {
        panic!("two members")
    };
    let unreachable = || {
        let name = "tallystick_gossip_watched_checkpoints_total";
        metric(&other.node.registry, name, "unreachable")
    };
    // It hears of what is new, and reads nothing.
    federation.lines[0].set(Line::Cut);
    let before = cosigned(other, 0).unwrap();
    grow(owner, 1).await;
    let size = owner.node.node.size();
    assert!(size > before);
    let newest = owner.node.node.checkpoint().to_string();
    bring((0, owner), (1, other), &[newest]).await;
    // In each round once more.
    wait_until("it is tried again", || unreachable() >= 3.0).await;
    assert_eq!(cosigned(other, 0), Some(before));
    federation.lines[0].set(Line::Whole);
    wait_until("it is cosigned", || cosigned(other, 0) == Some(size)).await;
    assert_eq!(owner.node.node.size(), size);
    assert!(!forked(other, 0));
    federation.stop().await;
}

/// A second history that was shown in one checkpoint alone, while the log could not be read,
/// and that a newer checkpoint of the first one has overtaken since.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_overtaken_unread_is_compared_once_the_log_can_be_read() {
    let federation = start(3).await;
    let [owner, told, teller] = &federation.members[..] else {
        panic!("three members")
    };
    federation.lines[0].set(Line::Cut);
    let before = cosigned(told, 0).unwrap();
    bring((2, teller), (1, told), &[invented(owner, before + 1)]).await;
    grow(owner, 2).await;
    let size = owner.node.node.size();
    assert!(size > before + 1);
    let newest = owner.node.node.checkpoint().to_string();
    bring((0, owner), (1, told), &[newest]).await;
    assert!(!forked(told, 0) && cosigned(told, 0) == Some(before));
    federation.lines[0].set(Line::Whole);
    wait_until("its log is convicted everywhere", || {
        forked(told, 0) && forked(teller, 0)
    })
    .await;
    // By that very checkpoint.
    let gossiper = told.gossiper.as_ref().unwrap();
    let evidence = gossiper.evidence(&WhichEvidence::default()).await;
    let read = ForkEvidence::decode(&evidence.shown[0].bytes).unwrap();
    let found = read.verify(&owner.node.node.log_key()).unwrap();
    assert_eq!(found.first.size, before + 1);
    federation.stop().await;
}

async fn redeem(at: &TestMember, coupon: &str) -> (u16, serde_json::Value) {
    let sale = json!({
        "coupon": coupon, "register": TestNode::REGISTER, "till_reference": coupon[..40],
        "basket": {"total": 1_250, "currency": "EUR"},
    });
    post(
        at,
        "/v1/redemptions",
        &at.till(),
        &coupon[coupon.len() - 40..],
        sale,
    )
    .await
}

/// A member that was convicted declares a new log in the roster: it is cosigned from its
/// beginning, its coupons are taken, and a second history of it is found in its turn.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_declared_anew_is_watched_from_its_beginning() {
    let mut federation = start(3).await;
    let [owner, told, teller] = &federation.members[..] else {
        panic!("three members")
    };
    grow(owner, 5).await;
    let old = coupons(owner, redemption::two_off(), 1).await;
    assert_eq!(redeem(told, &old[0]).await.0, 201);
    let size = owner.node.node.size();
    wait_until("the old log is cosigned", || {
        cosigned(told, 0) == Some(size) && cosigned(teller, 0) == Some(size)
    })
    .await;
    let second = invented(owner, size - 1);
    let beyond = invented(owner, size + 9);
    bring((2, teller), (1, told), &[second]).await;
    wait_until("its log is convicted everywhere", || {
        forked(told, 0) && forked(teller, 0)
    })
    .await;
    let old_key = owner.node.node.log_key();

    federation.declare_anew(0, 77, size - 1).await;
    let [owner, told, teller] = &federation.members[..] else {
        panic!("three members")
    };
    assert_ne!(owner.node.node.log_key().key_id(), old_key.key_id());
    assert!(!forked(told, 0) && !forked(teller, 0));
    let new = coupons(owner, redemption::two_off(), 3).await;
    let begun = owner.node.node.size();
    assert!(begun < size, "the new log is the shorter one");
    wait_until("the new log is cosigned", || {
        cosigned(told, 0) == Some(begun) && cosigned(teller, 0) == Some(begun)
    })
    .await;
    let (status, made) = redeem(told, &new[0]).await;
    assert_eq!(status, 201, "{made}");
    // The old key is good for nothing more.
    bring((2, teller), (1, told), &[beyond]).await;

    // What was cosigned of each log is known after a start, too.
    federation.restart(1).await;
    let [owner, told, teller] = &federation.members[..] else {
        panic!("three members")
    };
    let (status, made) = redeem(told, &new[1]).await;
    assert_eq!(status, 201, "{made}");
    let grown = owner.node.node.size();
    assert!(grown < size);
    wait_until("it is cosigned on", || cosigned(told, 0) == Some(grown)).await;
    assert!(!forked(told, 0));
    assert_eq!(owner.node.node.stopped(), None);

    bring((2, teller), (1, told), &[invented(owner, grown - 1)]).await;
    wait_until("the new log is convicted everywhere", || {
        forked(told, 0) && forked(teller, 0)
    })
    .await;
    let found = told.gossiper.as_ref().unwrap().fork(&did(0)).unwrap();
    assert_eq!(found.evidence.log_key, owner.node.node.log_key().to_string());
    let (status, refused) = redeem(told, &new[2]).await;
    assert_eq!(
        (status, refused["code"].as_str()),
        (422, Some("issuer_forked")),
        "{refused}"
    );
    federation.stop().await;
}

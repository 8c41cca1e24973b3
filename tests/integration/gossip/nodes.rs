//! Gossip between whole nodes, over HTTP.

use std::time::{Duration, Instant};

use prometheus::Registry;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tallystick::credential::status_list::{Status, StatusList, Statuses};
use tallystick::credential::{Algorithm, Coupon, ListEvidence};
use tallystick::federation::gossip::{CouponStatus, Kind, evidence};
use tallystick::federation::gossiper::WhichEvidence;
use tallystick::federation::mirrored::{
    Holder, Lost, MirroredError, check_gossiped, check_with_gossip, check_with_members,
};
use tallystick::federation::redemption::Knowledge as _;
use tallystick::log::{Checkpoint, ForkEvidence, KeyKind, Note, VerifierKey};
use tallystick::node::NodeError;
use tallystick::primitives::{CouponName, Digest};
use tallystick::server::line::Line;
use tallystick::testkit::TestNode;
use tallystick::testkit::federation::{TestFederation, TestMember, origin};

use crate::federation::redemption::{coupons, post, two_off};
use crate::node::world;

const ROUND: Duration = Duration::from_secs(1);

/// Looks again every few milliseconds; the time it took.
pub async fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    begun.elapsed()
}

pub fn did(n: u8) -> String {
    origin(n).did_web()
}

fn status(at: &TestMember, issuer: u8, name: CouponName) -> CouponStatus {
    let gossiper = at.gossiper.as_ref().unwrap();
    gossiper.status(&did(issuer), name.list, name.index, at.node.node.now())
}

pub fn metric(registry: &Registry, name: &str, label: &str) -> f64 {
    let family = registry.gather().into_iter().find(|family| family.name() == name);
    let metrics = family
        .map(|family| family.get_metric().to_vec())
        .unwrap_or_default();
    metrics
        .iter()
        .filter(|metric| metric.get_label().iter().any(|pair| pair.value() == label))
        .map(|metric| metric.get_counter().get_value())
        .sum()
}

/// From a revocation's answer to the knowledge of it at every other node.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_known_everywhere_within_a_second() {
    let federation = TestFederation::start_gossiping(4, ROUND).await;
    let [issuer, others @ ..] = &federation.members[..] else {
        panic!("four members")
    };
    let issued = coupons(issuer, two_off(), 9).await;
    let names: Vec<CouponName> = issued
        .iter()
        .map(|text| {
            let bytes = tallystick::encoding::qr_text::parse(text).unwrap().bytes;
            Coupon::parse_unverified(&bytes)
                .unwrap()
                .status
                .name(&origin(0))
                .unwrap()
        })
        .collect();
    wait_until("the list has come", || {
        others
            .iter()
            .all(|other| status(other, 0, names[0]) == CouponStatus::Valid)
    })
    .await;
    let mut taken = Vec::new();
    for (n, name) in names.iter().enumerate() {
        // A list is signed at most once a second, by the node's clock.
        issuer.node.clock.advance(1);
        let order = json!({"name": name.to_string(), "status": "revoked"});
        let key = format!("revoke-{n}");
        let (code, answer) = post(issuer, "/v1/revocations", &issuer.node.office_key, &key, order).await;
        assert_eq!(code, 201, "{answer}");
        let known = wait_until("it is known everywhere", || {
            others
                .iter()
                .all(|other| status(other, 0, *name) == CouponStatus::Revoked)
        });
        taken.push(known.await);
    }
    taken.sort_unstable();
    println!("from a revocation to its knowledge at three others: {taken:?}");
    assert!(taken[taken.len() / 2] < Duration::from_secs(1), "{taken:?}");
    federation.stop().await;
}

/// All cosign the same checkpoint; and what contradicts it convicts its log at every
/// node, which then takes no halves of it.
#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_gather_a_quorum_and_a_fork_is_known_everywhere() {
    let federation = TestFederation::start_gossiping(4, ROUND).await;
    let members = &federation.members;
    coupons(&members[0], two_off(), 1).await;
    wait_until("every log has a quorum", || {
        members
            .iter()
            .all(|member| member.node.node.cosigned_by_quorum().is_some())
    })
    .await;
    let note = members[0].node.node.cosigned_by_quorum().unwrap();
    assert!(Note::parse(note.note.as_bytes()).unwrap().signatures().len() >= 3);
    let forked = |at: &TestMember, n: u8| at.gossiper.as_ref().unwrap().forked(&did(n));
    assert!(
        members
            .iter()
            .all(|member| (0..4).all(|n| forked(member, n).is_none()))
    );
    // Member 0 has signed another history for member 1 alone.
    let key = members[0].node.node.log_key();
    let other = Checkpoint::new(key.name(), note.size, Digest([7; 32]));
    let signer = members[0].node.keyring().log;
    let other = other.sign(&key, |bytes| signer.sign(bytes)).unwrap();
    members[1]
        .gossiper
        .as_ref()
        .unwrap()
        .saw_other(&other.to_string());
    let known = wait_until("the evidence is everywhere", || {
        members[1..].iter().all(|member| forked(member, 0).is_some())
    })
    .await;
    println!("a fork was known everywhere after {known:?}");
    assert!(known < 2 * ROUND, "{known:?}");
    // It hears of it as well, signs no more, and does not start again by itself.
    let stopped = || members[0].node.node.stopped();
    wait_until("the convicted node has stopped", || stopped().is_some()).await;
    let why = stopped().unwrap();
    for said in ["two histories", "declare a new log", "federation_forgiven"] {
        assert!(why.contains(said), "{why}");
    }
    let order = world::two_off("after the end");
    let refused = members[0].node.node.sign_campaign(&world::office(), order).await;
    assert!(matches!(refused, Err(NodeError::Stopped(_))), "{refused:?}");
    let lost = check_with_gossip(&members[0].node.node).unwrap_err();
    assert!(
        matches!(&lost, MirroredError::Lost(Lost::Convicted { did: convicted, .. }) if *convicted == did(0)),
        "{lost}"
    );
    let gossiper = members[0].gossiper.as_ref().unwrap();
    assert!(matches!(gossiper.stopped_by(), Some(Lost::Convicted { .. })));
    for member in &members[1..] {
        assert_eq!(member.node.node.stopped(), None);
        check_with_gossip(&member.node.node).unwrap();
    }
    assert!(forked(&members[1], 0).unwrap().contains("two histories"));
    // Whoever has to decide sees it, and anybody can check it.
    let gossiper = members[2].gossiper.as_ref().unwrap();
    let some = gossiper.evidence(&WhichEvidence::default()).await;
    assert_eq!(some.total, 1);
    let [evidence] = &some.shown[..] else {
        panic!("{some:?}")
    };
    assert_eq!(
        (evidence.member.as_str(), evidence.stops_redemptions),
        (did(0).as_str(), true)
    );
    let read = ForkEvidence::decode(&evidence.bytes).unwrap();
    assert_eq!(read.verify(&key).unwrap().to_string(), evidence.said());
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("fork.cbor");
    let file = file.to_str().unwrap();
    let (url, auditor) = (members[2].url.clone(), members[2].node.auditor_key.clone());
    let shown = run(&[
        "federation",
        "evidence",
        "--node",
        &url,
        "--key",
        &auditor,
        "--save",
        file,
    ])
    .await;
    assert!(
        shown.contains(&evidence.said()) && shown.contains(&did(0)),
        "{shown}"
    );
    let judged = run(&["verify", "--evidence", file, "--log-key", &key.to_string()]).await;
    assert!(judged.starts_with("convicted: "), "{judged}");
    assert!(
        members
            .iter()
            .all(|member| (1..4).all(|n| forked(member, n).is_none()))
    );
    federation.stop().await;
}

/// What gossip brings stops a node only where its own key has signed it.
#[tokio::test]
async fn a_node_is_stopped_by_what_its_own_keys_have_signed_and_by_nothing_else() {
    let (own, stranger) = (TestNode::in_memory(871), TestNode::in_memory(872));
    let node = &own.node;
    let key = node.log_key();
    let size = node.size();
    let note = |by: &TestNode, size, root| {
        let keyring = by.keyring();
        let named = VerifierKey::of(key.name(), KeyKind::Ed25519, keyring.log.public()).unwrap();
        let checkpoint = Checkpoint::new(key.name(), size, Digest(root));
        let note = checkpoint.sign(&named, |bytes| keyring.log.sign(bytes)).unwrap();
        (named, note.to_string())
    };
    let evidence = |by: &TestNode| {
        let ((named, one), (_, other)) = (note(by, 5, [1; 32]), note(by, 5, [2; 32]));
        let fork = ForkEvidence::new(&named, one.as_bytes(), other.as_bytes(), None).unwrap();
        evidence::of_fork(&fork).unwrap()
    };
    let lists = |by: &TestNode| {
        let token = |index| {
            let mut statuses = Statuses::new();
            statuses.set(index, Status::Revoked);
            let list = StatusList {
                uri: node.options().origin.status_uri(0),
                issued_at: node.now(),
                expires: node.now().plus(60),
                ttl: 60,
                statuses,
            };
            list.sign(&by.keyring().credential, Algorithm::EdDsa)
        };
        ListEvidence::of(&token(1), &token(2))
    };
    let check = |kind, bytes: &[u8]| match check_gossiped(node, kind, bytes) {
        Ok(()) => None,
        Err(MirroredError::Lost(lost)) => Some(lost),
        Err(error) => panic!("{error}"),
    };
    // Whoever has not its keys invents in vain; and what its log says is no contradiction.
    let invented = note(&stranger, size, [7; 32]).1;
    assert_eq!(check(Kind::Checkpoint, invented.as_bytes()), None);
    assert_eq!(check(Kind::Checkpoint, b"no note"), None);
    assert_eq!(check(Kind::Checkpoint, node.checkpoint().as_bytes()), None);
    for bytes in [evidence(&stranger), lists(&stranger), b"none".to_vec()] {
        assert_eq!(check(Kind::Evidence, &bytes), None);
    }
    // What its own keys have signed counts.
    let forked = check(Kind::Checkpoint, note(&own, size, [7; 32]).1.as_bytes());
    assert!(matches!(forked, Some(Lost::Forked { .. })), "{forked:?}");
    let behind = check(Kind::Checkpoint, note(&own, size + 1, [7; 32]).1.as_bytes());
    assert!(matches!(behind, Some(Lost::Behind { .. })), "{behind:?}");
    for (bytes, which) in [(evidence(&own), "log"), (lists(&own), "key for credentials")] {
        let convicted = check(Kind::Evidence, &bytes);
        assert!(
            matches!(&convicted, Some(Lost::Convicted { key, .. }) if *key == which),
            "{convicted:?}"
        );
    }
}

/// What the program prints, which ends well.
async fn run(args: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tallystick"));
    command.args(args);
    let ended = tokio::task::spawn_blocking(move || command.output()).await;
    let output = ended.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// A node whose store was set back learns from any member how far its log was.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_a_log_knows_that_its_store_was_set_back() {
    let federation = TestFederation::start_gossiping(2, ROUND).await;
    let [own, other] = &federation.members[..] else {
        panic!("two members")
    };
    let origin_hash = Sha256::digest(own.node.node.options().origin.authority()).into();
    let watched = || {
        let note = other.node.node.witnessed(&origin_hash)?;
        let note = Note::parse(note.as_bytes()).ok()?;
        Checkpoint::parse(note.text()).ok()
    };
    let set_back = own.node.fork(|_| {}).unwrap();
    let size = set_back.node.size();
    coupons(own, two_off(), 1).await;
    wait_until("the longer log is watched", || {
        watched().is_some_and(|seen| seen.size > size)
    })
    .await;
    let chain = own.rosters.chain();
    let compare = async |node: &TestNode| {
        let compared = check_with_members(&node.node, &own.peers, chain.directory().unwrap()).await;
        match compared {
            Ok(()) => None,
            Err(MirroredError::Lost(lost)) => Some(lost),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(compare(&own.node).await, None);
    let held = watched().unwrap().size;
    let holder = Holder::Member(did(1));
    let expected = Lost::Behind {
        holder: holder.clone(),
        held,
        size,
    };
    assert_eq!(compare(&set_back).await, Some(expected));
    // It goes on all the same, and signs another history.
    while set_back.node.size() < held {
        let order = world::two_off(&format!("after {}", set_back.node.size()));
        set_back
            .node
            .sign_campaign(&world::office(), order)
            .await
            .unwrap();
    }
    let Some(Lost::Forked {
        holder: by, held: at, ..
    }) = compare(&set_back).await
    else {
        panic!("two histories")
    };
    assert_eq!((by, at), (holder, held));
    federation.stop().await;
}

/// A partner's coupon is redeemed by terms that gossip has brought, though their author
/// has gone away before its first coupon came; what became of it is known later.
#[tokio::test(flavor = "multi_thread")]
async fn terms_that_gossip_has_brought_are_not_asked_for() {
    let federation = TestFederation::start_gossiping(2, ROUND).await;
    let [issuer, redeemer] = &federation.members[..] else {
        panic!("two members")
    };
    let issued = coupons(issuer, two_off(), 1).await;
    let bytes = tallystick::encoding::qr_text::parse(&issued[0]).unwrap().bytes;
    let campaign = Coupon::parse_unverified(&bytes).unwrap().campaign;
    let gossiper = redeemer.gossiper.as_ref().unwrap();
    wait_until("the terms are known", || gossiper.campaign(&campaign).is_some()).await;
    federation.lines[0].set(Line::Cut);
    let redeem = || {
        let body = json!({
            "coupon": issued[0], "register": TestNode::REGISTER, "till_reference": "sale-1",
            "basket": {"total": 2_500, "currency": "EUR"},
        });
        post(
            redeemer,
            "/v1/redemptions",
            &redeemer.node.till_key,
            "sale-1",
            body,
        )
    };
    let (status, answer) = redeem().await;
    assert_eq!((status, answer["code"].as_str()), (503, Some("outcome_unknown")));
    federation.lines[0].set(Line::Whole);
    wait_until("its outcome is known", || {
        redeemer.node.node.open_intents().is_empty()
    })
    .await;
    let (status, answer) = redeem().await;
    assert_eq!((status, &answer["amount"]), (201, &json!(200)));
    federation.stop().await;
}

/// What comes from outside is refused with its reason, counted, and of no effect.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_wrong_bodies_are_refused() {
    let federation = TestFederation::start_gossiping(2, ROUND).await;
    let member = &federation.members[0];
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = async |kind: &str, body: Vec<u8>| {
        let request = client
            .post(format!("{}/federation/gossip", member.url))
            .header("content-type", kind)
            .body(body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        (
            status,
            text["code"].as_str().unwrap().to_owned(),
            text["reason"].clone(),
        )
    };
    let cose = "application/cose; cose-type=\"cose-sign1\"";
    let (status, code, reason) = send(cose, vec![0x80]).await;
    assert_eq!(
        (status, code.as_str(), reason),
        (403, "message_refused", json!("malformed"))
    );
    let (status, code, _) = send("application/cbor", vec![0x80]).await;
    assert_eq!((status, code.as_str()), (415, "content_type_unsupported"));
    let (status, code, _) = send(cose, vec![0; 200_000]).await;
    assert_eq!((status, code.as_str()), (413, "body_too_large"));
    let counted = metric(
        &member.node.registry,
        "tallystick_gossip_refused_messages_total",
        "malformed",
    );
    assert!((counted - 1.0).abs() < f64::EPSILON, "{counted}");
    federation.stop().await;
}

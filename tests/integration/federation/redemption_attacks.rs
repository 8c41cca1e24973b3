//! What an issuer makes of messages that are not what they should be, and a redeemer
//! of answers that are not: each refused with its reason, counted, and without effect.

use tallystick::credential::SecretKey;
use tallystick::federation::message::{self, Head, MessageName};
use tallystick::federation::redemption::wire::{self, Answer, Outcome, Request, Wanted};
use tallystick::ledger::{Basket, Event};
use tallystick::log::Entry;
use tallystick::primitives::{Amount, Currency, RedemptionId, UnixSeconds};
use tallystick::testkit::federation::{TestFederation, TestMember};
use tallystick::testkit::roster::{after, signed};

use super::redemption::{coupons, post, two_off};

const NORTH: &str = "did:web:coop-0.example";
const SOUTH: &str = "did:web:coop-1.example";

fn now(member: &TestMember) -> UnixSeconds {
    member.node.node.now()
}

/// A message from south to north, as it should be.
fn head(valley: &TestFederation) -> Head {
    Head {
        sender: SOUTH.to_owned(),
        audience: NORTH.to_owned(),
        time: now(&valley.members[0]),
        id: [9; 16],
        roster_version: valley.roster.version,
    }
}

fn coupon_bytes(qr: &str) -> Vec<u8> {
    tallystick::encoding::qr_text::parse(qr).unwrap().bytes
}

fn request(coupon: &[u8], id: u8, not_after: UnixSeconds) -> Request {
    Request {
        redeemer: SOUTH.to_owned(),
        issuer: NORTH.to_owned(),
        id: RedemptionId([id; 16]),
        wanted: Wanted::Redeem {
            not_after,
            reference: [0; 16],
            coupon: coupon.to_vec(),
            basket: Basket {
                total: Amount::new(1_250).unwrap(),
                currency: Currency::from_letters("EUR").unwrap(),
            },
            amount: Some(Amount::new(200).unwrap()),
        },
    }
}

fn sealed(key: &SecretKey, head: &Head, requests: &[Request]) -> Vec<u8> {
    let requests: Vec<Vec<u8>> = requests.iter().map(Request::encode).collect();
    let body = wire::requests_body(0, requests.iter().map(Vec::as_slice));
    message::seal(key, MessageName::Redemption, head, &body)
}

/// Posts a message, and gives status, code and reason of the refusal.
async fn refused(member: &TestMember, bytes: Vec<u8>) -> (u16, String, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client
        .post(format!("{}/federation/redemptions", member.url))
        .header("content-type", message::CONTENT_TYPE)
        .body(bytes)
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let problem: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    (status, text("code"), text("reason"))
}

/// Posts a message of south's, and gives what its requests came to.
async fn outcomes(valley: &TestFederation, requests: &[Request]) -> Vec<Outcome> {
    let key = valley.members[1].node.keyring().messages;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client
        .post(format!("{}/federation/redemptions", valley.members[0].url))
        .header("content-type", message::CONTENT_TYPE)
        .body(sealed(&key, &head(valley), requests))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let bytes = answer.bytes().await.unwrap();
    let chain = valley.members[1].rosters.chain();
    let name = MessageName::RedemptionAnswer;
    let directory = chain.directory().unwrap();
    let (head, body) = message::open(&bytes, name, directory, SOUTH, now(&valley.members[0])).unwrap();
    assert_eq!((head.sender.as_str(), head.id), (NORTH, [9; 16]));
    let answer = Answer::decode(&body).unwrap();
    answer.outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn code(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Half { .. } => "half",
        Outcome::Cancelled { .. } => "cancelled",
        Outcome::Refused { code, .. } => code,
        Outcome::NotNow => "not_now",
    }
}

fn counted(member: &TestMember, reason: &str) -> u64 {
    let families = member.node.registry.gather();
    let family = families
        .iter()
        .find(|family| family.name() == "tallystick_partner_messages_total");
    family.map_or(0, |family| {
        family
            .get_metric()
            .iter()
            .filter(|metric| metric.get_label()[0].value() == reason)
            .map(|metric| metric.get_counter().get_value() as u64)
            .sum()
    })
}

#[tokio::test]
async fn a_message_that_is_not_as_it_should_be_has_no_effect() {
    let valley = TestFederation::start(3, false).await;
    let north = &valley.members[0];
    let coupon = coupon_bytes(&coupons(north, two_off(), 1).await[0]);
    let size = north.node.node.size();
    let good = head(&valley);
    let not_after = good.time.plus(900);
    let key = valley.members[1].node.keyring();
    let asked = [request(&coupon, 1, not_after)];
    let with = |change: &dyn Fn(&mut Head)| {
        let mut head = good.clone();
        change(&mut head);
        sealed(&key.messages, &head, &asked)
    };
    let mut broken = with(&|_| ());
    let last = broken.len() - 1;
    broken[last] ^= 1;
    let stranger = SecretKey::from_seed(&[77; 32]);
    let other = Request {
        redeemer: "did:web:coop-2.example".to_owned(),
        ..asked[0].clone()
    };
    let too_many: Vec<Request> = (0..65).map(|n| request(&coupon, n, not_after)).collect();
    let answer = message::seal(&key.messages, MessageName::RedemptionAnswer, &good, &[0x80]);
    for (why, bytes, status, code, reason) in [
        ("unsigned", broken, 403, "message_refused", "signature_wrong"),
        (
            "by nobody",
            sealed(&stranger, &good, &asked),
            403,
            "message_refused",
            "not_a_member",
        ),
        (
            "by a key for something else",
            sealed(&key.log, &good, &asked),
            403,
            "message_refused",
            "key_not_for_messages",
        ),
        (
            "in another's name",
            with(&|head| head.sender = "did:web:coop-2.example".to_owned()),
            403,
            "message_refused",
            "wrong_sender",
        ),
        (
            "for somebody else",
            with(&|head| head.audience = "did:web:coop-2.example".to_owned()),
            403,
            "message_refused",
            "wrong_audience",
        ),
        (
            "from the future",
            with(&|head| head.time = good.time.plus(301)),
            403,
            "message_refused",
            "from_the_future",
        ),
        (
            "too old",
            with(&|head| head.time = good.time.minus(301)),
            403,
            "message_refused",
            "too_old",
        ),
        (
            "of an older roster",
            with(&|head| head.roster_version = 1),
            409,
            "roster_outdated",
            "",
        ),
        (
            "of a newer roster",
            with(&|head| head.roster_version = 3),
            503,
            "roster_behind",
            "",
        ),
        (
            "another message",
            answer,
            403,
            "message_refused",
            "signature_wrong",
        ),
        (
            "a request in another's name",
            sealed(&key.messages, &good, &[other]),
            403,
            "message_refused",
            "malformed",
        ),
        (
            "too many requests",
            sealed(&key.messages, &good, &too_many),
            403,
            "message_refused",
            "malformed",
        ),
        (
            "no message at all",
            b"hello".to_vec(),
            403,
            "message_refused",
            "malformed",
        ),
        ("too long", vec![0; 64 * 1024 + 1], 413, "body_too_large", ""),
    ] {
        let got = refused(north, bytes).await;
        assert_eq!(got, (status, code.to_owned(), reason.to_owned()), "{why}");
    }
    for reason in [
        "signature_wrong",
        "not_a_member",
        "wrong_audience",
        "from_the_future",
        "malformed",
    ] {
        assert!(counted(north, reason) >= 1, "{reason}");
    }
    assert_eq!(north.node.node.size(), size, "nothing was recorded");

    // A member that is removed is one no more.
    let third = after(&valley.roster, |draft| draft.remove(SOUTH, 1).unwrap());
    north.rosters.offer(&signed(&third, &[1]), None).await.unwrap();
    let removed = with(&|head| head.roster_version = 3);
    let got = refused(north, removed).await;
    assert_eq!((got.0, got.2.as_str()), (403, "removed_member"));
    assert_eq!(north.node.node.size(), size);
    valley.stop().await;
}

#[tokio::test]
async fn a_request_has_one_outcome_for_ever() {
    let valley = TestFederation::start(2, false).await;
    let north = &valley.members[0];
    let texts = coupons(north, two_off(), 3).await;
    let coupons: Vec<Vec<u8>> = texts.iter().map(|text| coupon_bytes(text)).collect();
    let not_after = now(north).plus(900);
    let first = request(&coupons[0], 1, not_after);
    let made = outcomes(&valley, std::slice::from_ref(&first)).await;
    assert_eq!(code(&made[0]), "half");
    let Outcome::Half { entry, .. } = &made[0] else {
        panic!("a half")
    };
    // Replayed, alone or with others, it is the same half.
    let again = outcomes(&valley, &[first.clone(), first.clone()]).await;
    for outcome in &again {
        let Outcome::Half { entry: same, .. } = outcome else {
            panic!("a half")
        };
        assert_eq!(same, entry);
    }
    let decoded = Entry::decode(entry).unwrap();
    let (event, _) = Event::from_body(decoded.kind, &decoded.body).unwrap();
    assert!(matches!(event, Event::Redeemed(half) if half.request == wire::request_digest(&first.encode())));

    // Its identity is bound to its content.
    let other = Request {
        id: first.id,
        ..request(&coupons[1], 1, not_after)
    };
    assert_eq!(code(&outcomes(&valley, &[other]).await[0]), "request_id_reused");
    // The same coupon under another identity is used up; that is remembered, too.
    let second = request(&coupons[0], 2, not_after);
    let refusal = outcomes(&valley, std::slice::from_ref(&second)).await;
    assert_eq!(code(&refusal[0]), "coupon_used_up");
    assert_eq!(outcomes(&valley, std::slice::from_ref(&second)).await, refusal);

    // A refusal stays one though its reason is gone.
    let office = &north.node.office_key;
    let suspend = |status: &str| serde_json::json!({"coupon": texts[1], "status": status});
    post(north, "/v1/revocations", office, "suspend", suspend("suspended")).await;
    let third = request(&coupons[1], 3, not_after);
    assert_eq!(
        code(&outcomes(&valley, std::slice::from_ref(&third)).await[0]),
        "coupon_suspended"
    );
    post(north, "/v1/revocations", office, "lift", suspend("valid")).await;
    assert_eq!(
        code(&outcomes(&valley, std::slice::from_ref(&third)).await[0]),
        "coupon_suspended"
    );
    assert_eq!(
        code(&outcomes(&valley, &[request(&coupons[1], 4, not_after)]).await[0]),
        "half"
    );

    // Cancelled before it came, it has no effect; what was made cannot be cancelled.
    let cancel = |id: u8| Request {
        wanted: Wanted::Cancel,
        ..request(&coupons[2], id, not_after)
    };
    assert_eq!(code(&outcomes(&valley, &[cancel(5)]).await[0]), "cancelled");
    assert_eq!(
        code(&outcomes(&valley, &[request(&coupons[2], 5, not_after)]).await[0]),
        "request_cancelled"
    );
    assert_eq!(code(&outcomes(&valley, &[cancel(5)]).await[0]), "cancelled");
    assert_eq!(code(&outcomes(&valley, &[cancel(1)]).await[0]), "half");

    // Too late is too late, and too far ahead is refused.
    let late = request(&coupons[2], 6, now(north).minus(1));
    assert_eq!(code(&outcomes(&valley, &[late]).await[0]), "request_expired");
    let far = request(&coupons[2], 7, now(north).plus(2 * 86_400));
    assert_eq!(code(&outcomes(&valley, &[far]).await[0]), "time_too_far");
    // Once its time is over, a refused request is expired, and takes no room.
    north.node.clock.advance(2_000);
    let head = outcomes(&valley, std::slice::from_ref(&third)).await;
    assert_eq!(code(&head[0]), "request_expired");
    // An amount that the terms do not give, a coupon that was never issued.
    let mut wrong = request(&coupons[2], 8, now(north).plus(900));
    if let Wanted::Redeem { amount, .. } = &mut wrong.wanted {
        *amount = Some(Amount::new(300).unwrap());
    }
    assert_eq!(code(&outcomes(&valley, &[wrong]).await[0]), "amount_differs");
    let forged = request(b"no coupon", 9, now(north).plus(900));
    assert_eq!(code(&outcomes(&valley, &[forged]).await[0]), "coupon_forged");
    valley.stop().await;
}

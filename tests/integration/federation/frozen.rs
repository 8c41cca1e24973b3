//! Coupons of a co-op whose key was stolen: those issued before count, at its own node
//! as at others', and no other does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use prometheus::Registry;
use serde_json::{Value, json};
use tallystick::credential::{Content as _, Coupon};
use tallystick::encoding::qr_text;
use tallystick::federation::entries::{self, Answer, CouponPath};
use tallystick::federation::message::{self, MessageName};
use tallystick::federation::peers::Carrier;
use tallystick::federation::redemption::{NoKnowledge, RedeemError, Redeemer, RedeemerParts};
use tallystick::federation::roster::Directory;
use tallystick::federation::{PeerError, Peers};
use tallystick::ledger::Basket;
use tallystick::log::Entry;
use tallystick::node::keyring::Keyring;
use tallystick::primitives::{Amount, Currency, Origin, UnixSeconds};
use tallystick::server::line::Line;
use tallystick::testkit::federation::{TestFederation, TestMember, origin};
use tallystick::testkit::roster::{after, signed};
use tallystick::testkit::{SeededEntropy, TestNode};

use super::entries::coupon_named;
use super::redemption::{coupons, post, two_off};

const NORTH: &str = "did:web:coop-0.example";
const SOUTH: &str = "did:web:coop-1.example";

async fn redeem(member: &TestMember, coupon: &str, reference: &str) -> (u16, Value) {
    let sale = json!({
        "coupon": coupon, "register": TestNode::REGISTER, "till_reference": reference,
        "basket": {"total": 1_250, "currency": "EUR"},
    });
    post(member, "/v1/redemptions", &member.till(), reference, sale).await
}

async fn validate(member: &TestMember, coupon: &str) -> (u16, Value) {
    let asked = json!({"coupon": coupon, "basket": {"total": 1_250, "currency": "EUR"}});
    post(member, "/v1/validations", &member.till(), "none", asked).await
}

/// North's key for credentials is stolen: for it, north's log is frozen at `size`.
async fn steal(valley: &mut TestFederation, size: u64) {
    let stolen = valley.members[0].node.keyring().credential;
    let since = valley.roster.issued;
    valley.roster = after(&valley.roster, |draft| {
        draft.compromised(stolen.kid(), since, Some(size)).unwrap();
    });
    everyone_follows(valley).await;
}

async fn everyone_follows(valley: &TestFederation) {
    for member in &valley.members {
        let roster = signed(&valley.roster, &[1]);
        member.rosters.offer(&roster, None).await.unwrap();
    }
}

/// What whoever has north's key makes of one of its coupons.
fn forged(valley: &TestFederation, qr: &str, change: impl FnOnce(&mut Coupon)) -> String {
    let (_, bytes) = coupon_named(qr);
    let mut coupon = Coupon::parse_unverified(&bytes).unwrap();
    change(&mut coupon);
    let north = &valley.members[0].node;
    let bytes = coupon.sign(&north.keyring().credential, north.node.options().algorithm);
    qr_text::link(&origin(0), &bytes)
}

#[track_caller]
fn assert_refused(answer: &(u16, Value), code: &str, said: &str) {
    let (status, body) = answer;
    assert_eq!((*status, body["code"].as_str()), (422, Some(code)), "{body}");
    assert!(body["detail"].as_str().unwrap().contains(said), "{body}");
}

/// A second order of the same campaign: a batch of its own.
async fn more(north: &TestMember, qr: &str) -> String {
    let campaign = Coupon::parse_unverified(&coupon_named(qr).1).unwrap().campaign;
    let order = json!({"campaign": campaign.to_string(), "count": 2});
    let (status, issued) = post(north, "/v1/coupons", &north.node.office_key, "more", order).await;
    assert_eq!(status, 201, "{issued}");
    issued["coupons"][1]["qr"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn coupons_issued_before_a_theft_count_and_no_others() {
    let mut valley = TestFederation::start(2, false).await;
    let early = coupons(&valley.members[0], two_off(), 5).await;
    let frozen = valley.members[0].node.node.size();
    let late = more(&valley.members[0], &early[0]).await;
    steal(&mut valley, frozen).await;
    let [north, south] = &valley.members[..] else {
        panic!("two")
    };

    // The co-op's own campaign is signed with that key, too, and nobody had asked for it.
    let (status, valid) = validate(south, &early[0]).await;
    assert_eq!((status, &valid["valid"]), (200, &json!(true)), "{valid}");
    let (status, made) = redeem(south, &early[0], "early").await;
    assert_eq!((status, &made["amount"]), (201, &json!(200)), "{made}");
    let again = redeem(south, &early[0], "again").await;
    assert_refused(&again, "coupon_used_up", "");

    let begun = south.node.node.size();
    let late_at_south = redeem(south, &late, "late").await;
    let counted = format!("only those in the first {frozen} entries count");
    assert_refused(&late_at_south, "issuer_not_good", &counted);
    let (_, invalid) = validate(south, &late).await;
    assert_eq!(invalid["code"], "issuer_not_good", "{invalid}");
    // The thief makes coupons of names that were given out, and of others.
    let other = forged(&valley, &early[1], |coupon| {
        coupon.not_after = coupon.not_after.minus(1)
    });
    let refused = redeem(south, &other, "other").await;
    assert_refused(&refused, "issuer_not_good", "under its name is another one");
    let new = forged(&valley, &early[1], |coupon| {
        let (base, _) = coupon.status.uri.rsplit_once('/').unwrap();
        coupon.status.uri = format!("{base}/9");
    });
    let refused = redeem(south, &new, "new").await;
    assert_refused(
        &refused,
        "issuer_not_good",
        "it has issued no coupon of this name",
    );
    assert_eq!(south.node.node.size(), begun, "nothing was begun");

    // The issuer's own node counts by what it has stored, and needs no proof.
    for (coupon, reference) in [(&early[2], "own"), (&late, "own-late")] {
        let (status, made) = redeem(north, coupon, reference).await;
        assert_eq!(status, 201, "{made}");
    }
    assert_refused(&redeem(north, &new, "own-new").await, "coupon_not_issued", "");
    valley.stop().await;
}

#[tokio::test]
async fn without_its_issuer_a_coupon_of_a_stolen_key_waits() {
    let mut valley = TestFederation::start(2, false).await;
    let early = coupons(&valley.members[0], two_off(), 2).await;
    let size = valley.members[0].node.node.size();
    // What was redeemed before the theft has made the campaign known.
    let (status, made) = redeem(&valley.members[1], &early[0], "before").await;
    assert_eq!(status, 201, "{made}");
    steal(&mut valley, size).await;
    let south = &valley.members[1];
    valley.lines[0].set(Line::Cut);
    let begun = south.node.node.size();
    let (status, unknown) = redeem(south, &early[1], "sale").await;
    assert_eq!(
        (status, &unknown["code"]),
        (503, &json!("issuer_unreachable")),
        "{unknown}"
    );
    assert_eq!(south.node.node.size(), begun, "nothing was begun");
    valley.lines[0].set(Line::Whole);
    let (status, made) = redeem(south, &early[1], "sale").await;
    assert_eq!(status, 201, "{made}");
    valley.stop().await;
}

#[tokio::test]
async fn nobody_counts_a_removed_members_coupons() {
    let mut valley = TestFederation::start(2, false).await;
    let early = coupons(&valley.members[0], two_off(), 1).await;
    let size = valley.members[0].node.node.size();
    valley.roster = after(&valley.roster, |draft| draft.remove(NORTH, size).unwrap());
    let south = &valley.members[1];
    let roster = signed(&valley.roster, &[1]);
    south.rosters.offer(&roster, None).await.unwrap();
    let refused = redeem(south, &early[0], "gone").await;
    assert_refused(&refused, "issuer_not_good", "was removed from the federation");
    valley.stop().await;
}

type Change = fn(&mut CouponPath);

/// A north that shows something else than its log has, under its own key for messages.
struct Liar {
    honest: Peers,
    keys: Keyring,
    directory: Directory,
    now: UnixSeconds,
    change: Change,
}

impl fmt::Debug for Liar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Liar").finish_non_exhaustive()
    }
}

impl Liar {
    fn lie(&self, bytes: &[u8]) -> Vec<u8> {
        let name = MessageName::Entries;
        let (head, body) = message::open(bytes, name, &self.directory, SOUTH, self.now).unwrap();
        let Answer::Coupon(mut path) = Answer::decode(&body).unwrap() else {
            panic!("a coupon was asked for")
        };
        (self.change)(&mut path);
        message::seal(&self.keys.messages, name, &head, &Answer::Coupon(path).encode())
    }
}

impl Carrier for Liar {
    fn post<'a>(
        &'a self,
        member: &'a Origin,
        path: &'a str,
        message: Vec<u8>,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, PeerError>> {
        Box::pin(async move {
            let answer = self.honest.post(member, path, message, most).await?;
            Ok(if path == entries::PATH {
                self.lie(&answer)
            } else {
                answer
            })
        })
    }

    fn get<'a>(
        &'a self,
        member: &'a Origin,
        path: &'a str,
        most: usize,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, PeerError>> {
        Box::pin(self.honest.get(member, path, most))
    }
}

#[tokio::test]
async fn an_issuer_that_lies_about_a_batch_is_not_believed() {
    let mut valley = TestFederation::start(2, false).await;
    let early = coupons(&valley.members[0], two_off(), 2).await;
    let frozen = valley.members[0].node.node.size();
    let late = more(&valley.members[0], &early[0]).await;
    steal(&mut valley, frozen).await;
    let [north, south] = &valley.members[..] else {
        panic!("two")
    };
    let validated = async |coupon: &str, change: Change| {
        let liar = Liar {
            honest: south.peers.clone(),
            keys: north.node.keyring(),
            directory: Directory::new(valley.roster.clone()),
            now: north.node.node.now(),
            change,
        };
        let parts = RedeemerParts {
            node: south.node.node.clone(),
            rosters: Arc::clone(&south.rosters),
            peers: Peers::over(Arc::new(liar)),
            knowledge: Arc::new(NoKnowledge),
            entropy: Arc::new(SeededEntropy::new(5)),
            waits: Duration::from_secs(30),
        };
        let redeemer = Redeemer::new(parts, &Registry::new());
        let basket = Basket {
            total: Amount::new(1_250).unwrap(),
            currency: Currency::from_letters("EUR").unwrap(),
        };
        redeemer.validate(&coupon_named(coupon).1, basket, None).await
    };
    assert!(validated(&early[0], |_| ()).await.is_ok());
    let cases: [(&str, Change, &str); 4] = [
        // The late batch as if it had been an early one.
        (
            &late,
            |path| path.entry = moved(&path.entry, 1),
            "is not in its co-op's log",
        ),
        (
            &early[0],
            |path| path.entry_path[0][0] ^= 1,
            "is not in its co-op's log",
        ),
        (
            &early[0],
            |path| path.log.proof.push([1; 32]),
            "does not continue",
        ),
        (
            &early[0],
            |path| path.log.checkpoint.insert(0, 'x'),
            "is signed with no key",
        ),
    ];
    for (coupon, change, said) in cases {
        match validated(coupon, change).await {
            Err(RedeemError::IssuerNotGood(why)) => assert!(why.contains(said), "{why}"),
            other => panic!("{said}: {other:?}"),
        }
    }
    valley.stop().await;
}

/// The same entry with another index.
fn moved(entry: &[u8], index: u64) -> Vec<u8> {
    let entry = Entry::decode(entry).unwrap();
    Entry { index, ..entry }.encode().unwrap()
}

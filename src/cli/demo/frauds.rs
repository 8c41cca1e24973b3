//! What should not work, and does not.

use std::time::{Duration, Instant};

use serde_json::json;

use super::super::client::Client;
use super::day::{Day, redemption};
use super::story::Story;
use crate::credential::{Algorithm, Content as _, Coupon, SecretKey, Signed};
use crate::encoding::qr_text;
use crate::primitives::{Amount, Origin, OsEntropy};

/// How long the short coupon may take to expire.
const EXPIRES_WITHIN: Duration = Duration::from_secs(10);

/// Tries every fraud, and fails when one gets through.
///
/// # Errors
/// When a fraud gets through, or a coupon cannot be read.
pub fn play(till: &Client, office: &Client, url: &str, day: &Day, story: &mut Story) -> anyhow::Result<()> {
    story.heading("Everything that should not work");
    let mut number = 2000;
    let mut redeem = |story: &mut Story, what: &str, coupon: &str| {
        number += 1;
        let reference = format!("demo/{number}");
        let answer = till.post(
            "/v1/redemptions",
            &reference,
            &redemption(coupon, &reference, 3000).to_string(),
        );
        story.fraud(what, answer.err().map(|error| error.to_string()).as_deref());
    };
    redeem(
        story,
        "A photocopy of a used coupon is presented.",
        &day.used_coupon,
    );
    redeem(story, "The revoked coupon is presented.", &day.revoked_coupon);
    redeem(
        story,
        "A third coupon is presented under the spent budget.",
        &day.beyond_budget,
    );
    redeem(
        story,
        "A coupon is presented with one signature byte changed.",
        &altered(&day.spare_coupon, url)?,
    );
    redeem(
        story,
        "A coupon over 5 euros is rewritten to 500 euros.",
        &richer(&day.spare_coupon, url)?,
    );
    redeem(
        story,
        "Somebody signs a coupon with a key of their own.",
        &signed_by_stranger(&day.spare_coupon, url)?,
    );
    redeem(
        story,
        "A coupon of another co-op, which nobody here knows, is presented.",
        &foreign()?,
    );
    expire(till, &day.short_coupon);
    redeem(
        story,
        "A coupon whose time is over is presented.",
        &day.short_coupon,
    );
    other_frauds(till, office, day, story);
    anyhow::ensure!(story.all_refused(), "a fraud got through");
    Ok(())
}

fn other_frauds(till: &Client, office: &Client, day: &Day, story: &mut Story) {
    let mut tried = |what: &str, answer: anyhow::Result<serde_json::Value>| {
        story.fraud(what, answer.err().map(|error| error.to_string()).as_deref());
    };
    let small = json!({"coupon": day.spare_coupon, "register": "till-1", "till_reference": "demo/2101",
                       "basket": {"total": 1999, "currency": "EUR"}});
    tried(
        "The 5-euro coupon is presented for a basket below 20 euros.",
        till.post("/v1/redemptions", "demo/2101", &small.to_string()),
    );
    let cooked = json!({"register": "till-1", "till_reference": "demo/2102", "type": "sale", "currency": "EUR",
        "prices_include_tax": true, "lines": [{"description": "Apples", "quantity": "1", "total": 144}],
        "taxes": [], "tenders": [{"kind": "cash", "amount": 100}], "total": 100});
    tried(
        "A receipt is posted whose lines do not add up to its total.",
        till.post("/v1/receipts", "demo/2102", &cooked.to_string()),
    );
    let reversal = json!({"till_reference": "demo/2103", "give_back": true}).to_string();
    let path = format!("/v1/redemptions/{}/reversals", day.reversed_redemption);
    tried(
        "A redemption that was reversed is reversed again.",
        till.post(&path, "demo/2103", &reversal),
    );
    let coupons = json!({"campaign": "AAAAAAAAAAAAAAAAAAAAAA", "count": 1}).to_string();
    tried(
        "A till tries to issue coupons to itself.",
        till.post("/v1/coupons", "demo/2104", &coupons),
    );
    let lifted = json!({"coupon": day.revoked_coupon, "status": "valid"}).to_string();
    tried(
        "The office is talked into lifting a revocation.",
        office.post("/v1/revocations", "demo/2105", &lifted),
    );
}

fn bytes_of(coupon: &str) -> anyhow::Result<Vec<u8>> {
    Ok(qr_text::parse(coupon)?.bytes)
}

fn altered(coupon: &str, url: &str) -> anyhow::Result<String> {
    let mut bytes = bytes_of(coupon)?;
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    Ok(qr_text::link(&Origin::parse(url)?, &bytes))
}

/// The coupon with an amount of its own, under the old signature.
fn richer(coupon: &str, url: &str) -> anyhow::Result<String> {
    let bytes = bytes_of(coupon)?;
    let original = Signed::<Coupon>::parse(&bytes)?;
    let rich = Coupon {
        amount: Some(Amount::new(50_000)?),
        ..original.content().clone()
    };
    let mut forged = rich.sign(&SecretKey::generate(&OsEntropy), Algorithm::EdDsa);
    let signature = original.sign1().signature();
    let at = forged.len() - signature.len();
    forged[at..].copy_from_slice(signature);
    Ok(qr_text::link(&Origin::parse(url)?, &forged))
}

fn signed_by_stranger(coupon: &str, url: &str) -> anyhow::Result<String> {
    let original = Signed::<Coupon>::parse(&bytes_of(coupon)?)?;
    let forged = original
        .content()
        .sign(&SecretKey::generate(&OsEntropy), Algorithm::EdDsa);
    Ok(qr_text::link(&Origin::parse(url)?, &forged))
}

fn foreign() -> anyhow::Result<String> {
    use crate::credential::StatusRef;
    use crate::primitives::{CampaignId, CouponName, UnixSeconds};
    let elsewhere = Origin::parse("https://other.coop.example")?;
    let coupon = Coupon {
        campaign: CampaignId([7; 16]),
        amount: None,
        not_before: None,
        not_after: UnixSeconds(4_000_000_000),
        status: StatusRef::new(&elsewhere, CouponName { list: 0, index: 4711 }),
        holder: None,
    };
    let bytes = coupon.sign(&SecretKey::generate(&OsEntropy), Algorithm::EdDsa);
    Ok(qr_text::link(&elsewhere, &bytes))
}

/// Waits until the short coupon's time is over, by asking.
fn expire(till: &Client, coupon: &str) {
    let body = json!({"coupon": coupon, "basket": {"total": 3000, "currency": "EUR"}}).to_string();
    let until = Instant::now() + EXPIRES_WITHIN;
    while Instant::now() < until {
        match till.post("/v1/validations", "demo-validation", &body) {
            Ok(answer) if answer["code"] == "coupon_expired" => return,
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

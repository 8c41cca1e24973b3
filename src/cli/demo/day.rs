//! What goes as it should: sales, coupons, redemptions, a reversal.

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::client::Client;
use super::story::Story;
use crate::primitives::{Amount, Currency};

/// The day's baskets, made by hand.
const BASKETS: &str = include_str!("baskets.json");

/// What the frauds work with.
pub struct Day {
    /// A receipt's QR link.
    pub receipt_link: String,
    /// A coupon that nobody has used.
    pub spare_coupon: String,
    /// A coupon that was redeemed: its QR text.
    pub used_coupon: String,
    /// A coupon that was revoked.
    pub revoked_coupon: String,
    /// A coupon whose time is over within seconds.
    pub short_coupon: String,
    /// A coupon of the campaign with a budget that is used up.
    pub beyond_budget: String,
    /// Coupons that nobody has used, for the neighbours.
    pub for_neighbours: [String; 3],
    /// A redemption that was reversed in whole.
    pub reversed_redemption: String,
}

/// Money as the story tells it.
pub fn euros(value: &Value) -> String {
    let euro = Currency::from_letters("EUR").expect("a currency of ISO 4217");
    let amount = value
        .as_i64()
        .and_then(|cents| Amount::new(cents).ok())
        .unwrap_or(Amount::ZERO);
    euro.show(amount)
}

pub fn text<'a>(value: &'a Value, member: &str) -> anyhow::Result<&'a str> {
    value[member]
        .as_str()
        .with_context(|| format!("the node's answer has no {member}"))
}

pub fn redemption(coupon: &str, reference: &str, total: i64) -> Value {
    json!({"coupon": coupon, "register": "till-1", "till_reference": reference,
           "basket": {"total": total, "currency": "EUR"}})
}

/// Plays the day.
///
/// # Errors
/// When the node refuses what it should not.
pub fn play(till: &Client, office: &Client, story: &mut Story) -> anyhow::Result<Day> {
    let receipt_link = sales(till, story)?;
    let offer = campaign(
        office,
        "5 euros off from 20 euros",
        json!({"kind": "amount_off", "amount": 500}),
        Some(2000),
    )?;
    let tenth = campaign(
        office,
        "A tenth off, 3 euros at most",
        json!({"kind": "percent_off", "basis_points": 1000, "cap": 300}),
        None,
    )?;
    let gift = campaign(
        office,
        "Gift card over 25 euros",
        json!({"kind": "stored_value", "amount": 2500}),
        None,
    )?;
    story.heading("The office makes coupons");
    story.say("Three campaigns are signed: 5 euros off from 20 euros; a tenth off, 3 euros at most; a gift card over 25 euros.");
    let coupons = issue(office, &offer, 7, None)?;
    let [used, spare, revoked, returned, abroad @ ..] = coupons.as_slice() else {
        anyhow::bail!("the office asked for 7 coupons and got {}", coupons.len());
    };
    let for_neighbours = <[String; 3]>::try_from(abroad.to_vec())
        .map_err(|_| anyhow::anyhow!("the office asked for 7 coupons and got {}", coupons.len()))?;
    let short = issue(office, &offer, 1, Some(2))?.remove(0);
    let tenths = issue(office, &tenth, 1, None)?.remove(0);
    let cards = issue(office, &gift, 1, None)?.remove(0);
    story.say(&format!(
        "Ten coupons are out. As a QR code one is {} digits behind a link; nothing but its signature makes it good.",
        used.rsplit('#').next().map_or(0, str::len)
    ));
    redeem_some(till, used, &tenths, &cards, story)?;
    let reversed_redemption = reverse(till, returned, story)?;
    revoke(office, revoked, story)?;
    let beyond_budget = budget(till, office, story)?;
    Ok(Day {
        receipt_link,
        spare_coupon: spare.clone(),
        used_coupon: used.clone(),
        revoked_coupon: revoked.clone(),
        short_coupon: short,
        beyond_budget,
        for_neighbours,
        reversed_redemption,
    })
}

fn sales(till: &Client, story: &Story) -> anyhow::Result<String> {
    let baskets: Vec<Value> =
        serde_json::from_str(BASKETS).context("the baskets that come with the program")?;
    let (mut lines, mut total, mut bytes) = (0, 0, 0);
    let mut last = String::new();
    for basket in &baskets {
        let reference = text(basket, "till_reference")?;
        let answer = till.post("/v1/receipts", reference, &basket.to_string())?;
        lines += basket["lines"].as_array().map_or(0, Vec::len);
        if text(basket, "type")? != "training" {
            total += basket["total"].as_i64().unwrap_or(0);
        }
        bytes += text(&answer, "credential")?.len() * 3 / 4;
        last = text(&answer, "qr")?.to_owned();
    }
    story.say(&format!(
        "{} receipts over {lines} lines are signed: {} in sales, less a refund; one is training and counts for nothing.",
        baskets.len(),
        euros(&json!(total))
    ));
    story.say(&format!(
        "A receipt's signed stub has {} bytes on average; its lines stay with the co-op and the member.",
        bytes / baskets.len()
    ));
    let first = &baskets[0];
    let again = till.post("/v1/receipts", text(first, "till_reference")?, &first.to_string())?;
    ensure!(
        again["sequence_number"] == 1,
        "a repeated sale got another receipt"
    );
    story.say("The till loses an answer and posts its first sale again: it gets the same receipt, number 1, not a second one.");
    Ok(last)
}

pub fn campaign(office: &Client, name: &str, benefit: Value, minimum: Option<i64>) -> anyhow::Result<String> {
    let now = Timestamp::now();
    let mut body = json!({
        "name": name, "text": "Good at Corner Co-op.", "currency": "EUR", "benefit": benefit,
        "not_before": (now - SignedDuration::from_secs(60)).to_string(),
        "not_after": (now + SignedDuration::from_hours(24 * 30)).to_string(),
        "reversal_window_seconds": 86_400,
    });
    if let Some(minimum) = minimum {
        body["minimum_basket"] = json!(minimum);
    }
    let key = format!("demo-campaign-{}", name.replace(' ', "-"));
    let answer = office.post("/v1/campaigns", &key, &body.to_string())?;
    Ok(text(&answer, "id")?.to_owned())
}

/// QR texts of new coupons, good for `seconds` where that is given.
pub fn issue(
    office: &Client,
    campaign: &str,
    count: u32,
    seconds: Option<i64>,
) -> anyhow::Result<Vec<String>> {
    let mut body = json!({"campaign": campaign, "count": count});
    if let Some(seconds) = seconds {
        body["not_after"] = json!((Timestamp::now() + SignedDuration::from_secs(seconds)).to_string());
    }
    let key = format!("demo-coupons-{campaign}-{count}-{seconds:?}");
    let answer = office.post("/v1/coupons", &key, &body.to_string())?;
    let coupons = answer["coupons"]
        .as_array()
        .context("the node's answer has no coupons")?;
    coupons
        .iter()
        .map(|coupon| Ok(text(coupon, "qr")?.to_owned()))
        .collect()
}

fn redeem_some(till: &Client, offer: &str, tenth: &str, card: &str, story: &Story) -> anyhow::Result<()> {
    story.heading("Members come with coupons");
    let redeem = |coupon: &str, reference: &str, total: i64| {
        till.post(
            "/v1/redemptions",
            reference,
            &redemption(coupon, reference, total).to_string(),
        )
    };
    let made = redeem(offer, "demo/1001", 2640)?;
    story.say(&format!(
        "A basket of 26.40 EUR, the 5-euro coupon: {} off.",
        euros(&made["amount"])
    ));
    let made = redeem(tenth, "demo/1002", 1999)?;
    story.say(&format!(
        "A basket of 19.99 EUR, a tenth off, rounded to the cent: {} off.",
        euros(&made["amount"])
    ));
    let first = redeem(card, "demo/1003", 1040)?;
    let rest = redeem(card, "demo/1004", 5000)?;
    story.say(&format!(
        "The gift card pays {} of one basket, has {} left, and pays {} of the next.",
        euros(&first["amount"]),
        euros(&first["remaining_value"]),
        euros(&rest["amount"])
    ));
    Ok(())
}

fn reverse(till: &Client, coupon: &str, story: &Story) -> anyhow::Result<String> {
    let made = till.post(
        "/v1/redemptions",
        "demo/1005",
        &redemption(coupon, "demo/1005", 2100).to_string(),
    )?;
    let id = text(&made, "id")?.to_owned();
    let body = json!({"till_reference": "demo/1005-void", "give_back": true}).to_string();
    till.post(
        &format!("/v1/redemptions/{id}/reversals"),
        "demo/1005-void",
        &body,
    )?;
    let again = till.post(
        "/v1/redemptions",
        "demo/1006",
        &redemption(coupon, "demo/1006", 2300).to_string(),
    )?;
    story.say(&format!(
        "A sale is voided and its coupon given back; the member uses it on the next basket: {} off.",
        euros(&again["amount"])
    ));
    Ok(id)
}

fn revoke(office: &Client, coupon: &str, story: &Story) -> anyhow::Result<()> {
    let body = json!({"coupon": coupon, "status": "revoked", "reason": "reported lost"}).to_string();
    let answer = office.post("/v1/revocations", "demo-revocation", &body)?;
    story.say(&format!(
        "A lost coupon is revoked: {} coupon changed.",
        answer["changed"]
    ));
    Ok(())
}

fn budget(till: &Client, office: &Client, story: &Story) -> anyhow::Result<String> {
    let now = Timestamp::now();
    let body = json!({
        "name": "The first 8 euros", "text": "While the budget lasts.", "currency": "EUR",
        "benefit": {"kind": "amount_off", "amount": 400}, "budget": 800,
        "not_before": (now - SignedDuration::from_secs(60)).to_string(),
        "not_after": (now + SignedDuration::from_hours(24)).to_string(),
    });
    let answer = office.post("/v1/campaigns", "demo-campaign-budget", &body.to_string())?;
    let coupons = issue(office, text(&answer, "id")?, 3, None)?;
    for (coupon, reference) in coupons.iter().zip(["demo/1007", "demo/1008"]) {
        till.post(
            "/v1/redemptions",
            reference,
            &redemption(coupon, reference, 3000).to_string(),
        )?;
    }
    story.say("A campaign with a budget of 8 euros gives 4 euros off twice, and is spent.");
    coupons
        .into_iter()
        .nth(2)
        .context("the office asked for 3 coupons")
}

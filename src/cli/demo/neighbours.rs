//! Three co-ops: coupons of one are redeemed at the others, one node goes away in the
//! middle of it, and comes back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::day::{euros, redemption, text};
use super::shop::Shop;
use super::story::Story;

/// How long a doubt may take to be resolved.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);

/// Plays with three coupons of the first co-op's that nobody has used.
///
/// # Errors
/// When a node refuses what it should not.
pub fn play(shops: &mut [Shop; 3], coupons: &[String; 3], story: &mut Story) -> anyhow::Result<()> {
    abroad(shops, &coupons[0], story)?;
    let twice = redemption(&coupons[0], "river/1", 2500);
    let refused = shops[2]
        .till()?
        .post("/v1/redemptions", "river/1", &twice.to_string());
    let refused = refused.err().map(|error| error.to_string());
    story.fraud(
        &format!(
            "The same coupon is shown at {}, which asks {} too.",
            shops[2].name, shops[0].name
        ),
        refused.as_deref(),
    );
    away(shops, &coupons[1], story)?;
    given_up(shops, &coupons[2], story)
}

/// A coupon of the first co-op at the second.
fn abroad(shops: &[Shop; 3], coupon: &str, story: &mut Story) -> anyhow::Result<()> {
    let [corner, hill, _] = shops;
    story.heading("At the neighbours'");
    let made = hill.till()?.post(
        "/v1/redemptions",
        "hill/1",
        &redemption(coupon, "hill/1", 2500).to_string(),
    )?;
    let half = &made["issuer_half"]["entry"];
    story.say(&format!(
        "{} takes a coupon of {}: {} off. {} checks signature and terms by itself, asks {} once, and verifies the answer.",
        hill.name,
        corner.name,
        euros(&made["amount"]),
        hill.name,
        corner.name
    ));
    story.say(&format!(
        "One half is entry {} of {}'s log, the other entry {} of {}'s; the second names the first by its hash, {}….",
        half["index"],
        corner.name,
        made["entry"]["index"],
        hill.name,
        text(half, "hash")?.get(..12).unwrap_or_default()
    ));
    let index = half["index"].to_string();
    let shown = corner.office()?.get(&format!("/v1/log/entries/{index}"))?;
    ensure!(
        shown["hash"] == half["hash"],
        "the two halves of the demo's redemption do not match"
    );
    Ok(())
}

/// The issuer's node goes away before it could answer, and comes back.
fn away(shops: &mut [Shop; 3], coupon: &str, story: &mut Story) -> anyhow::Result<()> {
    story.heading("A node goes away");
    shops[0].close()?;
    let [corner, hill, _] = shops;
    story.say(&format!(
        "{}'s node is gone, and {} scans a coupon of it.",
        corner.name, hill.name
    ));
    let body = redemption(coupon, "hill/2", 2500).to_string();
    let doubt = hill.till()?.post_once("/v1/redemptions", "hill/2", &body).err();
    let doubt = doubt.context("a redemption was answered without its issuer")?;
    story.say(&format!("The till is told the truth: {doubt}"));
    corner.open()?;
    let waited = Instant::now();
    let made = until_made(hill, &body, "hill/2")?;
    story.say(&format!(
        "{} is back. {} had kept on asking, and after {:.1} seconds both halves are there: {} off, once.",
        corner.name,
        hill.name,
        waited.elapsed().as_secs_f64(),
        euros(&made["amount"])
    ));
    Ok(())
}

fn until_made(shop: &Shop, body: &str, reference: &str) -> anyhow::Result<Value> {
    let until = Instant::now() + KNOWN_WITHIN;
    loop {
        match shop.till()?.post_once("/v1/redemptions", reference, body) {
            Ok(made) => return Ok(made),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// A sale that is given up while its outcome is not known.
fn given_up(shops: &mut [Shop; 3], coupon: &str, story: &mut Story) -> anyhow::Result<()> {
    story.heading("A sale is given up");
    shops[0].close()?;
    let [corner, hill, river] = shops;
    let till = hill.till()?;
    let body = redemption(coupon, "hill/3", 2500).to_string();
    ensure!(
        till.post_once("/v1/redemptions", "hill/3", &body).is_err(),
        "a redemption was answered without its issuer"
    );
    let found = till.get("/v1/redemptions?register=till-1&till_reference=hill%2F3")?;
    let id = text(&found["not_made"][0], "id")?.to_owned();
    let path = format!("/v1/redemptions/{id}/cancellations");
    // The wish is kept, though nobody can carry it out yet.
    let unknown = till.post_once(&path, "hill/3/cancel", "{}").is_err();
    corner.open()?;
    let until = Instant::now() + KNOWN_WITHIN;
    while let Err(error) = till.post_once(&path, "hill/3/cancel", "{}") {
        ensure!(Instant::now() < until, "{error}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let made = river.till()?.post(
        "/v1/redemptions",
        "river/2",
        &redemption(coupon, "river/2", 2500).to_string(),
    )?;
    ensure!(unknown, "a cancellation was answered without the issuer");
    story.say(&format!(
        "{} was away again, the customer did not wait, and the till cancelled. Now {} has put on record that this request \
         never has an effect, and {} redeems the coupon: {} off.",
        corner.name,
        corner.name,
        river.name,
        euros(&made["amount"])
    ));
    Ok(())
}

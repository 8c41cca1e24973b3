//! Three co-ops: coupons of one are redeemed at the others, one node goes away in the
//! middle of it, and comes back; one shows two histories, and is caught.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::day::{euros, redemption, text};
use super::shop::Shop;
use super::story::Story;

/// How long a doubt may take to be resolved, or a fork to be known: a few seconds, and ten
/// times as long where the machine has other work.
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
    given_up(shops, &coupons[2], story)?;
    forked(shops, story)
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

/// The third co-op's node forgets a sale, and signs another history.
fn forked(shops: &mut [Shop; 3], story: &mut Story) -> anyhow::Result<()> {
    story.heading("Two histories");
    let coupons = issue_two(&shops[2])?;
    let hill = shops[1].till()?;
    let before = redemption(&coupons[0], "hill/4", 2500).to_string();
    let made = hill.post("/v1/redemptions", "hill/4", &before)?;
    shops[2].close()?;
    let (own, twin) = (shops[2].made.directory.root().to_owned(), shops[2].twin());
    copy(&own, &twin)?;
    shops[2].open()?;
    sell(&shops[2], "river/sale/1")?;
    let size = shops[2].size()?;
    until(KNOWN_WITHIN, || Ok(shops[1].has_seen(&shops[2])? >= size))
        .context("the demo's nodes do not see each other's checkpoints")?;
    shops[2].close()?;
    // The copy takes the place of the store, guard file and all.
    copy(&twin, &own)?;
    // Whom it asks would tell it that its store is behind, and it would not start; and what
    // gossip says would stop it.
    shops[2].open_unasked()?;
    for number in 2..6 {
        sell(&shops[2], &format!("river/sale/{number}"))?;
    }
    let river = shops[2].name;
    story.say(&format!(
        "{} redeemed a coupon of {river}: {} off. Then {river} puts an older copy of its store in place, and writes something \
         else where a sale had stood. Its log is in order by itself, and it signs it.",
        shops[1].name,
        euros(&made["amount"])
    ));
    let waited = Instant::now();
    until(KNOWN_WITHIN, || Ok(shops[1].forks()? > 0)).context("a fork was not caught")?;
    story.say(&format!(
        "{} had cosigned the first history. After {:.1} seconds it holds two signed checkpoints that contradict each other: \
         evidence that convicts {river} anywhere, and that its neighbours are told of.",
        shops[1].name,
        waited.elapsed().as_secs_f64()
    ));
    let after = redemption(&coupons[1], "hill/5", 2500).to_string();
    let refused = hill.post("/v1/redemptions", "hill/5", &after).err();
    story.fraud(
        &format!("A coupon of {river} is shown at {}.", shops[1].name),
        refused.map(|error| error.to_string()).as_deref(),
    );
    Ok(())
}

fn until(within: Duration, mut holds: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let end = Instant::now() + within;
    while !holds()? {
        ensure!(Instant::now() < end, "it took longer than {} s", within.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn issue_two(shop: &Shop) -> anyhow::Result<Vec<String>> {
    let office = shop.office()?;
    let campaign = json!({
        "name": "2 euros off", "text": "", "currency": "EUR", "benefit": {"kind": "amount_off", "amount": 200},
        "not_before": "2020-01-01T00:00:00Z", "not_after": "2100-01-01T00:00:00Z",
    });
    let campaign = office.post("/v1/campaigns", "demo/river", &campaign.to_string())?;
    let order = json!({"campaign": campaign["id"], "count": 2}).to_string();
    let issued = office.post("/v1/coupons", "demo/river/coupons", &order)?;
    let coupons = issued["coupons"].as_array().context("no coupons were issued")?;
    coupons
        .iter()
        .map(|coupon| Ok(text(coupon, "qr")?.to_owned()))
        .collect()
}

fn sell(shop: &Shop, reference: &str) -> anyhow::Result<()> {
    let sale = json!({
        "register": "till-1", "till_reference": reference, "type": "sale", "currency": "EUR",
        "prices_include_tax": true, "taxes": [], "total": 250,
        "lines": [{"description": "Bread", "quantity": "1", "total": 250}],
        "tenders": [{"kind": "cash", "amount": 250}],
    });
    shop.till()?
        .post("/v1/receipts", reference, &sale.to_string())
        .map(drop)
}

/// The store in a node's directory, and its guard file beside that.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let store = to.join("store");
    fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    if store.exists() {
        fs::remove_dir_all(&store).with_context(|| format!("{} cannot be removed", store.display()))?;
    }
    fs::copy(guard_of(from), guard_of(to)).context("the guard file cannot be copied")?;
    copy_dir(&from.join("store"), &store).with_context(|| format!("{} cannot be copied", from.display()))
}

fn guard_of(dir: &Path) -> PathBuf {
    dir.with_extension("guard")
}

fn copy_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

//! The Complete Journey's coupons, redeemed all over the playground: each campaign is
//! of one of its co-ops, and each coupon is redeemed where its household bought that
//! day.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::import::{Plan, Use, journey_uses};
use super::super::output;
use crate::primitives::Amount;

/// Tills at work at a time, all co-ops together.
const TILLS: usize = 8;

/// How long a till asks for the outcome of a sale: nodes are killed and lines cut
/// meanwhile, by a person.
const KNOWN_WITHIN: Duration = Duration::from_secs(600);

/// Refusals that people are told one by one.
const REFUSED_NAMED_MAX: usize = 20;

/// One coupon, and where it is redeemed.
struct Sale {
    name: String,
    campaign: usize,
    issuer: usize,
    at: usize,
    value: Amount,
    basket: Amount,
}

/// All redemptions of the data that are worth something, in its order.
pub struct Journey {
    plans: Vec<Plan>,
    sales: Vec<Sale>,
    worth_nothing: usize,
    done: AtomicUsize,
}

/// A co-op of the playground as the journey knows it.
pub struct Shop {
    /// With its till's key.
    pub till: Client,
    /// With its office's.
    pub office: Client,
}

/// What became of it.
#[derive(Default)]
pub struct Played {
    at_issuers: usize,
    at_partners: usize,
    /// In cents.
    value: i64,
    refused: Vec<String>,
    worth_nothing: usize,
    seconds: f64,
}

impl Played {
    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({
            "at_issuers": self.at_issuers, "at_partners": self.at_partners, "value": self.value,
            "refused": self.refused, "worth_nothing": self.worth_nothing, "seconds": self.seconds,
        })
    }

    /// For people.
    pub fn told(&self) -> String {
        let mut told = format!(
            "{} coupons were redeemed at partners and {} at their issuers, for {}.{:02} USD, in {:.1} s; \
             {} of the data are worth nothing and were left out; {} were refused",
            self.at_partners,
            self.at_issuers,
            self.value / 100,
            self.value % 100,
            self.seconds,
            self.worth_nothing,
            self.refused.len()
        );
        for refused in self.refused.iter().take(REFUSED_NAMED_MAX) {
            told.push_str("\n  ");
            told.push_str(refused);
        }
        told
    }
}

impl Journey {
    /// Reads the data in `directory`, as `scripts/complete-journey-csv` writes it, and
    /// divides it among `count` co-ops.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn read(directory: &Path, count: usize) -> anyhow::Result<Self> {
        let (loaded, uses) = journey_uses(directory)?;
        let all = uses.len();
        let plans = loaded.plans;
        let sales: Vec<Sale> = uses
            .into_iter()
            .filter_map(|used| sale(used, &plans, count))
            .collect();
        Ok(Self {
            plans,
            worth_nothing: all - sales.len(),
            sales,
            done: AtomicUsize::new(0),
        })
    }

    /// How far it is, in words.
    pub fn told(&self) -> String {
        let done = self.done.load(Ordering::SeqCst);
        format!("journey: {done} of {} redeemed", self.sales.len())
    }

    /// Signs the campaigns and issues the coupons, redeems all of them, and gives
    /// what was made. Tells each tenth on standard output.
    ///
    /// # Errors
    /// When a co-op refuses a campaign or a coupon, or an outcome does not become
    /// known.
    pub fn play(&self, shops: &[Shop]) -> anyhow::Result<Played> {
        let campaigns = self.sign(shops)?;
        let coupons = self.each(|_, sale| {
            let order = json!({"campaign": campaigns[sale.campaign], "count": 1,
                               "amount": sale.value.minor_units()});
            let key = format!("journey/{}", sale.name);
            let issued = shops[sale.issuer].issue("/v1/coupons", &key, &order)?;
            let text = issued["coupons"][0]["qr"].as_str();
            text.map(ToOwned::to_owned).context("a coupon without its text")
        })?;
        output::data(&self.told());
        let began = Instant::now();
        let made = self.each(|place, sale| {
            let made = redeem(sale, &coupons[place], &shops[sale.at].till);
            let done = self.done.fetch_add(1, Ordering::SeqCst) + 1;
            if done * 10 / self.sales.len() > (done - 1) * 10 / self.sales.len() {
                output::data(&self.told());
            }
            made
        })?;
        let mut played = Played {
            worth_nothing: self.worth_nothing,
            seconds: began.elapsed().as_secs_f64(),
            ..Played::default()
        };
        for (sale, refusal) in self.sales.iter().zip(made) {
            match refusal {
                Some(refusal) => played.refused.push(refusal),
                None => {
                    played.value += sale.value.minor_units();
                    played.at_issuers += usize::from(sale.issuer == sale.at);
                    played.at_partners += usize::from(sale.issuer != sale.at);
                }
            }
        }
        Ok(played)
    }

    /// Each campaign by its own co-op; running now, whenever it was.
    fn sign(&self, shops: &[Shop]) -> anyhow::Result<Vec<Value>> {
        let mut signed = Vec::new();
        for plan in &self.plans {
            let terms = &plan.draft.terms;
            let body = json!({
                "name": terms.name, "text": terms.text, "currency": terms.currency.letters(),
                "benefit": {"kind": "stored_value", "amount": 1}, "uses_per_coupon": 1,
                "not_before": "2020-01-01T00:00:00Z", "not_after": "2100-01-01T00:00:00Z",
            });
            let shop = &shops[turn(&plan.number, shops.len())];
            let made = shop.issue("/v1/campaigns", &format!("journey/{}", plan.number), &body)?;
            signed.push(made["id"].clone());
        }
        Ok(signed)
    }

    /// Does something for each sale, begun in their order, by [`TILLS`] at a time. The
    /// first error ends it.
    fn each<T: Send>(
        &self,
        work: impl Fn(usize, &Sale) -> anyhow::Result<T> + Sync,
    ) -> anyhow::Result<Vec<T>> {
        let next = AtomicUsize::new(0);
        let till = || {
            let mut done = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::SeqCst);
                let Some(sale) = self.sales.get(place) else {
                    return Ok(done);
                };
                match work(place, sale) {
                    Ok(made) => done.push((place, made)),
                    Err(error) => {
                        next.store(self.sales.len(), Ordering::SeqCst);
                        return Err(error.context(format!("the sale {}", sale.name)));
                    }
                }
            }
        };
        let mut all = std::thread::scope(|scope| {
            let tills: Vec<_> = (0..TILLS).map(|_| scope.spawn(till)).collect();
            let mut all = Vec::new();
            for till in tills {
                match till.join() {
                    Ok(done) => all.extend(done?),
                    Err(_) => bail!("a till panicked"),
                }
            }
            Ok(all)
        })?;
        all.sort_unstable_by_key(|(place, _)| *place);
        Ok(all.into_iter().map(|(_, made)| made).collect())
    }
}

impl Shop {
    fn issue(&self, path: &str, key: &str, body: &Value) -> anyhow::Result<Value> {
        self.office
            .post_patiently(path, key, &body.to_string(), KNOWN_WITHIN)?
    }
}

/// Redeems one coupon; a refusal comes back in words.
fn redeem(sale: &Sale, coupon: &str, till: &Client) -> anyhow::Result<Option<String>> {
    let value = sale.value.minor_units();
    let body = json!({
        "coupon": coupon, "register": "till-1", "till_reference": sale.name, "amount": value,
        "basket": {"total": sale.basket.minor_units(), "currency": "USD"},
    });
    let key = format!("journey/{}", sale.name);
    match till.post_patiently("/v1/redemptions", &key, &body.to_string(), KNOWN_WITHIN)? {
        Ok(made) => {
            let amount = &made["amount"];
            ensure!(*amount == value, "it was made for {amount} in place of {value}");
            Ok(None)
        }
        Err(refusal) => Ok(Some(format!("{}: {refusal:#}", sale.name))),
    }
}

/// Stores and campaigns are divided among the co-ops by their numbers. What is worth
/// nothing cannot be redeemed at a till.
fn sale(used: Use, plans: &[Plan], count: usize) -> Option<Sale> {
    let basket = used.basket.filter(|_| used.value > Amount::ZERO)?;
    Some(Sale {
        issuer: turn(&plans[used.campaign].number, count),
        at: turn(&used.register, count),
        name: used.name,
        campaign: used.campaign,
        value: used.value,
        basket,
    })
}

/// The co-op whose turn it is by the number at the end of a name.
fn turn(name: &str, count: usize) -> usize {
    let digits = name.rsplit(|c: char| !c.is_ascii_digit()).next();
    digits
        .and_then(|digits| digits.parse::<usize>().ok())
        .unwrap_or(0)
        % count
}

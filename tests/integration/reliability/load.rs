//! What tills and the office ask of a node while it is killed, and what it
//! answered.
//!
//! The work comes in blocks of calls that build on each other; many blocks are
//! under way at once, at several registers. Some calls are sent several times
//! at once, and every block that was cut off is begun again with the same keys:
//! retries of every kind.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use reqwest::Client;
use serde_json::{Value, json};
use tallystick::node::access::Role;
use tallystick::primitives::{Clock as _, OsEntropy, Register, SystemClock, limits};
use tallystick::server::NodeDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Calls under way at once.
const CALLERS: u64 = 24;
const LANES: u64 = 4;
/// One call in so many is sent several times at once.
const COPIED: u64 = 4;
const COPIES: usize = 3;
/// Lines of the receipts, in turn.
const LINES: [usize; 4] = [1, 3, 60, limits::RECEIPT_LINES_MAX];
/// The block of the calls that the others build on.
const SETUP: u64 = 0;

/// A call that was answered, to be made again.
#[derive(Clone, Debug)]
pub struct Exchange {
    path: String,
    bearer: String,
    key: String,
    body: String,
    /// The answer's body.
    pub answer: Vec<u8>,
}

/// The process that answers is gone, or its writer has stopped.
#[derive(Debug)]
struct Gone;

enum Reply {
    Answered(Vec<u8>),
    Later,
}

/// The load on one node, over all its lives.
pub struct Load {
    office: String,
    tills: Vec<String>,
    began: u64,
    answered: Mutex<BTreeMap<(u64, u64), Exchange>>,
    /// How often the node has answered, repeats included.
    answers: watch::Sender<u64>,
    /// Signed sizes with their roots, as the node showed them.
    heads: Mutex<BTreeMap<u64, String>>,
    /// What must not be, whatever is cut off when.
    wrong: Mutex<Vec<String>>,
    begun: AtomicU64,
    unfinished: Mutex<Vec<u64>>,
}

impl Load {
    /// Work for the node in `dir`, which gets a key for the office and for
    /// each register.
    pub fn on(dir: &NodeDir) -> Arc<Self> {
        let access = dir.access_file();
        let now = SystemClock.now();
        let add = |role: Role| access.add(role, "load", now, &OsEntropy).unwrap().key.to_string();
        let tills = (0..LANES).map(|lane| add(Role::Till(Register::new(lane_name(lane)).unwrap())));
        Arc::new(Self {
            office: add(Role::Office),
            tills: tills.collect(),
            began: now.0,
            answered: Mutex::default(),
            answers: watch::Sender::new(0),
            heads: Mutex::default(),
            wrong: Mutex::default(),
            begun: AtomicU64::new(SETUP),
            unfinished: Mutex::default(),
        })
    }

    /// Answers so far, repeats included.
    pub fn answers(&self) -> u64 {
        *self.answers.borrow()
    }

    /// Works on the node at `url` until it has answered `answers` calls more,
    /// then lets `cut` end it, with all that is under way, and waits for the
    /// callers to notice. A node that goes away by itself ends the work too.
    ///
    /// # Panics
    /// When the node answered what it must not.
    pub async fn work_until<R>(self: &Arc<Self>, url: &str, answers: u64, cut: impl FnOnce() -> R) -> R {
        let mut count = self.answers.subscribe();
        let wanted = self.answers() + answers;
        let stop = Arc::new(AtomicBool::new(false));
        let mut working = tokio::spawn(Arc::clone(self).work(url.to_owned(), Arc::clone(&stop)));
        let ended = tokio::select! {
            _ = count.wait_for(|count| *count >= wanted) => false,
            ended = &mut working => ended.map(|()| true).unwrap(),
        };
        let cut = tokio::task::block_in_place(cut);
        stop.store(true, Ordering::Relaxed);
        if !ended {
            working.await.unwrap();
        }
        let wrong = self.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "before it was cut off: {}", wrong.join("\n"));
        cut
    }

    /// Every call that was answered, once each.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.answered.lock().unwrap().values().cloned().collect()
    }

    /// Sizes and roots (base64) that the node has signed.
    pub fn heads(&self) -> BTreeMap<u64, String> {
        self.heads.lock().unwrap().clone()
    }

    /// Works on the node at `url` until it is gone, or `stop` is set.
    async fn work(self: Arc<Self>, url: String, stop: Arc<AtomicBool>) {
        let client = client();
        let begun = self.setup(&client, &url).await;
        let Ok(campaigns) = begun else { return };
        let campaigns = Arc::new(campaigns);
        let callers = (0..CALLERS).map(|_| {
            let caller = Caller {
                load: Arc::clone(&self),
                client: client.clone(),
                url: url.clone(),
                campaigns: Arc::clone(&campaigns),
            };
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let block = caller.load.next_block();
                    if caller.block(block).await.is_err() {
                        caller.load.unfinished.lock().unwrap().push(block);
                        break;
                    }
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
    }

    /// Makes every answered call again, and gives those whose answer is
    /// another one now.
    pub async fn repeat_all(&self, url: &str) -> Vec<String> {
        let client = client();
        let exchanges = self.exchanges();
        let mut other = Vec::new();
        for some in exchanges.chunks(usize::try_from(CALLERS).unwrap()) {
            let repeated = join_all(some.iter().map(|exchange| async {
                loop {
                    match send(&client, url, exchange).await {
                        Ok((_, Reply::Later)) => tokio::task::yield_now().await,
                        Ok((_, Reply::Answered(answer))) if answer == exchange.answer => return None,
                        Ok((status, Reply::Answered(answer))) => {
                            return Some(format!(
                                "{} under {} was answered {}, and now {status} {}",
                                exchange.path,
                                exchange.key,
                                String::from_utf8_lossy(&exchange.answer),
                                String::from_utf8_lossy(&answer)
                            ));
                        }
                        Err(Gone) => return Some(format!("{}: the node went away", exchange.path)),
                    }
                }
            }));
            other.extend(repeated.await.into_iter().flatten());
        }
        other
    }

    /// Posts one sale that a till dates itself; the answer, or the problem.
    pub fn post_sale(&self, runtime: &Runtime, url: &str, issued_at: String) -> Value {
        let mut body = receipt(SETUP, 0, 0);
        body["issued_at"] = issued_at.into();
        let exchange = Exchange {
            path: "/v1/receipts".to_owned(),
            bearer: self.tills[0].clone(),
            key: "dated".to_owned(),
            body: body.to_string(),
            answer: Vec::new(),
        };
        match runtime.block_on(send(&client(), url, &exchange)) {
            Ok((_, Reply::Answered(answer))) => {
                serde_json::from_slice(&answer).expect("the node answers JSON")
            }
            _ => panic!("the node does not answer"),
        }
    }

    /// Blocks that were cut off come first.
    fn next_block(&self) -> u64 {
        let left = self.unfinished.lock().unwrap().pop();
        left.unwrap_or_else(|| self.begun.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The two campaigns: two euros off once, and twenty euros of value.
    async fn setup(self: &Arc<Self>, client: &Client, url: &str) -> Result<[String; 2], Gone> {
        let caller = Caller {
            load: Arc::clone(self),
            client: client.clone(),
            url: url.to_owned(),
            campaigns: Arc::default(),
        };
        let time = |seconds: u64| {
            let seconds = i64::try_from(seconds).unwrap();
            jiff::Timestamp::from_second(seconds).unwrap().to_string()
        };
        let campaign = |name: &str, benefit: Value| {
            json!({"name": name, "text": "For members.", "currency": "EUR", "benefit": benefit,
                   "not_before": time(self.began - 86_400), "not_after": time(self.began + 90 * 86_400)})
        };
        let off = campaign("Two off", json!({"kind": "amount_off", "amount": 200}));
        let gift = campaign("Gift card", json!({"kind": "stored_value", "amount": 2_000}));
        let mut ids: [String; 2] = Default::default();
        for (step, (id, body)) in ids.iter_mut().zip([off, gift]).enumerate() {
            let made = caller
                .call(SETUP, step as u64, &self.office, "/v1/campaigns", &body)
                .await?;
            *id = text(&made["id"]);
        }
        Ok(ids)
    }

    fn note(&self, at: (u64, u64), exchange: Exchange) {
        self.answers.send_modify(|count| *count += 1);
        let mut answered = self.answered.lock().unwrap();
        let first = answered.entry(at).or_insert_with(|| exchange.clone());
        if first.answer != exchange.answer || first.body != exchange.body {
            self.is_wrong(format!(
                "{at:?} {} was answered in two ways: {} and {}",
                exchange.path,
                String::from_utf8_lossy(&first.answer),
                String::from_utf8_lossy(&exchange.answer)
            ));
        }
    }

    fn is_wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }
}

/// One of the callers that work at the same time.
struct Caller {
    load: Arc<Load>,
    client: Client,
    url: String,
    campaigns: Arc<[String; 2]>,
}

impl Caller {
    /// Coupons, receipts, redemptions, reversals in whole and in part, a
    /// revocation, and a redemption that has to be refused.
    async fn block(&self, block: u64) -> Result<(), Gone> {
        let [off, gift] = self.campaigns.as_ref();
        let (here, there) = (block % LANES, (block + 1) % LANES);
        let order = |campaign: &str, count: u32| json!({"campaign": campaign, "count": count});
        let coupons = self.office(block, 0, "/v1/coupons", order(off, 3)).await?;
        let gifts = self.office(block, 1, "/v1/coupons", order(gift, 1)).await?;
        self.till(block, 2, here, "/v1/receipts", receipt(block, 2, here))
            .await?;

        let redeem = |step: u64, lane: u64, coupon: &Value, amount: Option<u64>| {
            let mut body = json!({"coupon": coupon["qr"], "register": lane_name(lane),
                "till_reference": reference(block, step), "basket": {"total": 2_500, "currency": "EUR"}});
            if let Some(amount) = amount {
                body["amount"] = amount.into();
            }
            self.till(block, step, lane, "/v1/redemptions", body)
        };
        let coupon = &coupons["coupons"][0];
        let first = redeem(3, here, coupon, None).await?;
        self.reverse(block, 4, here, &first, json!({"give_back": true}))
            .await?;
        redeem(5, there, coupon, None).await?;
        self.look_at_head().await?;

        let card = &gifts["coupons"][0];
        let part = redeem(6, here, card, Some(700)).await?;
        self.reverse(block, 7, here, &part, json!({"give_back": true, "amount": 300}))
            .await?;
        self.reverse(block, 8, here, &part, json!({"give_back": false, "amount": 100}))
            .await?;
        let rest = redeem(9, there, card, Some(1_600)).await?;
        self.expect(&rest["remaining_value"], &0.into(), "what is left of a gift card");

        let lost = &coupons["coupons"][1];
        let revoked = json!({"name": lost["name"], "status": "revoked", "reason": "printed twice"});
        self.office(block, 10, "/v1/revocations", revoked).await?;
        self.refused(block, 11, here, lost).await?;
        self.till(block, 12, there, "/v1/receipts", receipt(block, 12, there))
            .await?;
        self.look_at_head().await
    }

    async fn reverse(
        &self,
        block: u64,
        step: u64,
        lane: u64,
        redemption: &Value,
        mut body: Value,
    ) -> Result<Value, Gone> {
        body["till_reference"] = reference(block, step).into();
        let path = format!("/v1/redemptions/{}/reversals", text(&redemption["id"]));
        self.till(block, step, lane, &path, body).await
    }

    async fn office(&self, block: u64, step: u64, path: &str, body: Value) -> Result<Value, Gone> {
        self.call(block, step, &self.load.office, path, &body).await
    }

    async fn till(&self, block: u64, step: u64, lane: u64, path: &str, body: Value) -> Result<Value, Gone> {
        let bearer = &self.load.tills[usize::try_from(lane).unwrap()];
        self.call(block, step, bearer, path, &body).await
    }

    /// Makes the call, several times at once for some, until it is answered.
    async fn call(
        &self,
        block: u64,
        step: u64,
        bearer: &str,
        path: &str,
        body: &Value,
    ) -> Result<Value, Gone> {
        let exchange = Exchange {
            path: path.to_owned(),
            bearer: bearer.to_owned(),
            key: format!("key-{block}-{step}"),
            body: body.to_string(),
            answer: Vec::new(),
        };
        let copies = if (block + 3 * step).is_multiple_of(COPIED) {
            COPIES
        } else {
            1
        };
        let sent = (0..copies).map(|_| self.send_until_answered((block, step), &exchange));
        let mut answers = join_all(sent).await.into_iter();
        let first = answers.next().expect("at least one copy");
        match answers.find(Result::is_ok) {
            Some(answer) => first.or(answer),
            None => first,
        }
    }

    async fn send_until_answered(&self, at: (u64, u64), exchange: &Exchange) -> Result<Value, Gone> {
        loop {
            match send(&self.client, &self.url, exchange).await? {
                (_, Reply::Later) => tokio::task::yield_now().await,
                (201, Reply::Answered(answer)) => {
                    let said = serde_json::from_slice(&answer).expect("the node answers JSON");
                    self.load.note(
                        at,
                        Exchange {
                            answer,
                            ..exchange.clone()
                        },
                    );
                    return Ok(said);
                }
                (status, Reply::Answered(answer)) => {
                    let said = String::from_utf8_lossy(&answer).into_owned();
                    self.load
                        .is_wrong(format!("{at:?} {} was answered {status} {said}", exchange.path));
                    return Err(Gone);
                }
            }
        }
    }

    /// Redeems a coupon that was revoked: never again.
    async fn refused(&self, block: u64, step: u64, lane: u64, coupon: &Value) -> Result<(), Gone> {
        let body = json!({"coupon": coupon["qr"], "register": lane_name(lane),
            "till_reference": reference(block, step), "basket": {"total": 2_500, "currency": "EUR"}});
        let exchange = Exchange {
            path: "/v1/redemptions".to_owned(),
            bearer: self.load.tills[usize::try_from(lane).unwrap()].clone(),
            key: format!("key-{block}-{step}"),
            body: body.to_string(),
            answer: Vec::new(),
        };
        loop {
            match send(&self.client, &self.url, &exchange).await? {
                (_, Reply::Later) => tokio::task::yield_now().await,
                (_, Reply::Answered(answer)) => {
                    let said: Value = serde_json::from_slice(&answer).expect("the node answers JSON");
                    self.expect(
                        &said["code"],
                        &"coupon_revoked".into(),
                        "redeeming a revoked coupon",
                    );
                    return Ok(());
                }
            }
        }
    }

    async fn look_at_head(&self) -> Result<(), Gone> {
        let answer = self.client.get(format!("{}/checkpoint", self.url)).send().await;
        let note = answer.map_err(|_| Gone)?.text().await.map_err(|_| Gone)?;
        let mut lines = note.lines().skip(1);
        let (size, root) = (lines.next(), lines.next());
        let size = size.and_then(|line| line.parse().ok()).expect("a checkpoint");
        let root = root.expect("a checkpoint").to_owned();
        let mut heads = self.load.heads.lock().unwrap();
        if *heads.entry(size).or_insert_with(|| root.clone()) != root {
            self.load
                .is_wrong(format!("two roots were signed at size {size}"));
        }
        Ok(())
    }

    fn expect(&self, found: &Value, wanted: &Value, what: &str) {
        if found != wanted {
            self.load.is_wrong(format!("{what}: {found}, not {wanted}"));
        }
    }
}

/// Sends a call once. `Later` is what a till does again by itself.
async fn send(client: &Client, url: &str, exchange: &Exchange) -> Result<(u16, Reply), Gone> {
    let answer = client
        .post(format!("{url}{}", exchange.path))
        .bearer_auth(&exchange.bearer)
        .header("idempotency-key", &exchange.key)
        .header("content-type", "application/json")
        .body(exchange.body.clone())
        .send()
        .await
        .map_err(|_| Gone)?;
    let status = answer.status().as_u16();
    let answer = answer.bytes().await.map_err(|_| Gone)?.to_vec();
    if status == 409 || status == 503 {
        let problem: Value = serde_json::from_slice(&answer).expect("a problem document");
        return match problem["code"].as_str() {
            Some("busy" | "request_in_progress") => Ok((status, Reply::Later)),
            Some("stopped") => Err(Gone),
            _ => Ok((status, Reply::Answered(answer))),
        };
    }
    Ok((status, Reply::Answered(answer)))
}

fn client() -> Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().expect("an id").to_owned()
}

fn lane_name(lane: u64) -> String {
    format!("shop1-lane{lane}")
}

fn reference(block: u64, step: u64) -> String {
    format!("sale-{block}-{step}")
}

/// Some sales are long, so that the store's file grows all the time: what is
/// overwritten in place outlives more than what is appended.
fn receipt(block: u64, step: u64, lane: u64) -> Value {
    let count = LINES[usize::try_from((block + step) % LINES.len() as u64).unwrap()];
    let line = json!({"description": "Äpfel Topaz", "quantity": "0.482", "unit": "kg", "unit_price": "2.99",
        "total": 144, "tax_rate": "7.00"});
    json!({"register": lane_name(lane), "till_reference": reference(block, step), "type": "sale",
        "currency": "EUR", "prices_include_tax": true, "lines": vec![line; count],
        "taxes": [{"rate": "7.00", "net": 135 * count, "tax": 9 * count}],
        "tenders": [{"kind": "cash", "amount": 144 * count}], "total": 144 * count})
}

//! Floor 7: the body of every POST, through the real handlers and a node in
//! memory. Each input meets a copy of the same shop, so that a finding does not
//! depend on what came before it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use actix_web::App;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::rt::SystemRunner;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Bytes;
use futures_util::stream;
use serde_json::{Value, json};

use super::Target;
use crate::http::{HttpOptions, HttpState, app_config, openapi_document, problem};
use crate::node::access::AccessKeys;
use crate::primitives::limits;
use crate::store::MemoryEngine;
use crate::testkit::TestNode;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "post_campaign",
        run: |body| post(&CAMPAIGNS, body),
        seeds: campaign_seeds,
    },
    Target {
        name: "post_coupons",
        run: coupons,
        seeds: coupon_seeds,
    },
    Target {
        name: "post_validation",
        run: |body| post(&VALIDATIONS, body),
        seeds: validation_seeds,
    },
    Target {
        name: "post_receipt",
        run: |body| post(&RECEIPTS, body),
        seeds: receipt_seeds,
    },
    Target {
        name: "post_redemption",
        run: |body| post(&REDEMPTIONS, body),
        seeds: redemption_seeds,
    },
    Target {
        name: "post_reversal",
        run: |body| post(&REVERSALS, body),
        seeds: reversal_seeds,
    },
    Target {
        name: "post_revocation",
        run: |body| post(&REVOCATIONS, body),
        seeds: revocation_seeds,
    },
    Target {
        name: "post_erasure",
        run: |body| post(&ERASURES, body),
        seeds: erasure_seeds,
    },
];

/// A POST of the API.
pub(super) struct Call {
    /// Its path in the API's description.
    pub path: &'static str,
    by_office: bool,
    changes: bool,
}

const fn call(path: &'static str, by_office: bool) -> Call {
    Call {
        path,
        by_office,
        changes: true,
    }
}

const CAMPAIGNS: Call = call("/v1/campaigns", true);
pub(super) const COUPONS: Call = call("/v1/coupons", true);
pub(super) const RECEIPTS: Call = call("/v1/receipts", false);
const REDEMPTIONS: Call = call("/v1/redemptions", false);
const REVERSALS: Call = call("/v1/redemptions/{id}/reversals", false);
const REVOCATIONS: Call = call("/v1/revocations", true);
const ERASURES: Call = call("/v1/erasures", true);
const VALIDATIONS: Call = Call {
    changes: false,
    ..call("/v1/validations", false)
};

thread_local! {
    static RUNNER: SystemRunner = actix_web::rt::System::new();
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNNER.with(|runner| runner.block_on(future))
}

/// A shop after a short day, and what is known of it.
pub(super) struct Shop {
    pub node: TestNode,
    pub engine: MemoryEngine,
    keys: Arc<AccessKeys>,
    pub campaigns: Vec<String>,
    /// QR texts: off, gift card, percent.
    coupons: Vec<String>,
    names: Vec<String>,
    redemption: String,
    receipt: String,
}

impl Shop {
    pub fn http(&self, node: &TestNode) -> Arc<HttpState> {
        HttpState::new(
            node.node.clone(),
            Arc::clone(&self.keys),
            node.registry.clone(),
            HttpOptions::default(),
        )
    }
}

/// The shop that every input meets a copy of. Made once.
pub(super) fn shop() -> &'static Shop {
    static SHOP: LazyLock<Shop> = LazyLock::new(|| block_on(open_shop()));
    &SHOP
}

async fn open_shop() -> Shop {
    let node = TestNode::in_memory(4_711);
    let keys = AccessKeys::open(node.access.clone()).expect("the fixture's own file");
    let engine = node.memory_engine().clone();
    let mut shop = Shop {
        keys: Arc::new(keys),
        engine,
        campaigns: Vec::new(),
        coupons: Vec::new(),
        names: Vec::new(),
        redemption: String::new(),
        receipt: String::new(),
        node,
    };
    let ask = serve(shop.http(&shop.node)).await;
    for (n, benefit) in [
        json!({"kind": "amount_off", "amount": 300}),
        json!({"kind": "stored_value", "amount": 2_000}),
        json!({"kind": "percent_off", "basis_points": 1_000, "cap": 500}),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("campaign-{n}");
        let made = made(&ask, &shop, &CAMPAIGNS, &key, &campaign(benefit)).await;
        let id = made["id"].as_str().expect("an identity").to_owned();
        let order = json!({"campaign": id, "count": 3});
        let made = self::made(&ask, &shop, &COUPONS, &format!("coupons-{n}"), &order).await;
        shop.campaigns.push(id);
        for coupon in made["coupons"].as_array().expect("coupons") {
            let text = |member: &str| coupon[member].as_str().expect("text").to_owned();
            shop.coupons.push(text("qr"));
            shop.names.push(text("name"));
        }
    }
    let sold = made(&ask, &shop, &RECEIPTS, "receipt", &receipt("sale-1")).await;
    shop.receipt = sold["id"].as_str().expect("an identity").to_owned();
    let redeemed = made(&ask, &shop, &REDEMPTIONS, "redeem", &redemption(&shop.coupons[0])).await;
    shop.redemption = redeemed["id"].as_str().expect("an identity").to_owned();
    let status = json!({"name": shop.names[2], "status": "suspended", "reason": "lost"});
    made(&ask, &shop, &REVOCATIONS, "suspend", &status).await;
    drop(ask);
    // Writes out what is derived, so that copies have all kinds of rows.
    shop.node.node.shut_down().await;
    // Keys are in memory; what lies on the disk would be left there.
    let _ = std::fs::remove_dir_all(shop.node.dir());
    shop
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    pub media: String,
    /// Where what was made can be read.
    pub location: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("answers are JSON")
    }
}

/// The handlers over a node, without a socket: each request with the pieces in
/// which its body comes.
pub(super) async fn serve(state: Arc<HttpState>) -> impl AsyncFn(TestRequest, Vec<Bytes>) -> Answer {
    let service = init_service(App::new().configure(app_config(state))).await;
    async move |request: TestRequest, pieces: Vec<Bytes>| {
        let body: Pin<Box<dyn stream::Stream<Item = Result<Bytes, PayloadError>>>> =
            Box::pin(stream::iter(pieces.into_iter().map(Ok)));
        let (request, _) = request.to_request().replace_payload(Payload::from(body));
        let response = call_service(&service, request).await;
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        Answer {
            status: response.status().as_u16(),
            media: header("content-type"),
            location: header("location"),
            body: read_body(response).await.to_vec(),
        }
    }
}

/// A POST with the fixture's keys, without a body.
pub(super) fn request(shop: &Shop, call: &Call, idempotency: &str) -> TestRequest {
    let key = if call.by_office {
        &shop.node.office_key
    } else {
        &shop.node.till_key
    };
    TestRequest::post()
        .uri(&call.path.replace("{id}", &shop.redemption))
        .insert_header(("host", "fuzz.example"))
        .insert_header(("authorization", format!("Bearer {key}")))
        .insert_header(("idempotency-key", idempotency))
}

/// Sends a body in JSON.
pub(super) async fn send(
    ask: &impl AsyncFn(TestRequest, Vec<Bytes>) -> Answer,
    shop: &Shop,
    call: &Call,
    idempotency: &str,
    body: &[u8],
) -> Answer {
    let request = request(shop, call, idempotency).insert_header(("content-type", "application/json"));
    ask(request, vec![body.to_vec().into()]).await
}

async fn made(
    ask: &impl AsyncFn(TestRequest, Vec<Bytes>) -> Answer,
    shop: &Shop,
    call: &Call,
    key: &str,
    body: &Value,
) -> Value {
    let answer = send(ask, shop, call, key, body.to_string().as_bytes()).await;
    assert!(answer.is_good(), "{}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

/// Posts a body twice under one key, and once changed: the answer is a
/// documented one, the repeat is the same byte for byte, the change is refused,
/// and exactly what was made is in the log.
fn post(call: &Call, body: &[u8]) -> bool {
    let shop = shop();
    let fork = shop.node.fork(|_| {}).expect("a copy of a whole log");
    block_on(async {
        let ask = serve(shop.http(&fork)).await;
        let before = fork.node.size();
        let first = send(&ask, shop, call, "fuzz", body).await;
        check(call, &first);
        let grown = u64::from(first.is_good() && call.changes);
        assert_eq!(fork.node.size() - before, grown);
        let again = send(&ask, shop, call, "fuzz", body).await;
        assert_eq!(again, first, "the repeat got another answer");
        if grown > 0 {
            let changed = [body, b" "].concat();
            let other = send(&ask, shop, call, "fuzz", &changed).await;
            assert_eq!(other.status, 422);
            assert_eq!(other.json()["code"], "idempotency_key_reused");
        }
        assert_eq!(fork.node.size() - before, grown);
        assert_eq!(fork.node.stopped(), None);
        drop(ask);
        fork.node.shut_down().await;
        first.is_good()
    })
}

/// Most coupons that an input may ask for: a million of them take a minute.
const COUPONS_MAX: u64 = 64;

fn coupons(body: &[u8]) -> bool {
    asks_for_few(body) && post(&COUPONS, body)
}

/// Whether an order of coupons is refused anyway, or soon done.
pub(super) fn asks_for_few(body: &[u8]) -> bool {
    let asked = serde_json::from_slice::<Value>(body).ok();
    let count = asked.and_then(|body| body["count"].as_u64());
    count.is_none_or(|count| count <= COUPONS_MAX || count > u64::from(limits::BATCH_COUPONS_MAX))
}

/// No 5xx, and nothing that the API's description does not promise.
pub(super) fn check(call: &Call, answer: &Answer) {
    let said = String::from_utf8_lossy(&answer.body);
    assert!(answer.status < 500, "{said}");
    let documented = &openapi_document()["paths"][call.path]["post"]["responses"];
    assert!(
        documented[answer.status.to_string()].is_object(),
        "{} answers {}, which is not documented: {said}",
        call.path,
        answer.status
    );
    if answer.is_good() {
        let content = &documented[answer.status.to_string()]["content"];
        assert!(content[&answer.media].is_object(), "{}: {said}", answer.media);
        return;
    }
    assert_eq!(answer.media, problem::PROBLEM_JSON, "{said}");
    assert_eq!(check_problem(&answer.json()), answer.status, "{said}");
}

/// A problem document is one of the table; its status.
pub(super) fn check_problem(problem: &Value) -> u16 {
    let known = problem::TABLE.iter().find(|row| problem["code"] == row.code);
    let status = known.map(|row| row.status).expect("a known code");
    assert_eq!(problem["status"], status, "{problem}");
    status
}

/// Asks a node for a bit of everything. It may be over a damaged store: then it
/// may refuse, with a problem document, but its threads live.
pub(super) async fn look_around(fork: &TestNode) {
    let shop = shop();
    let ask = serve(shop.http(fork)).await;
    let redemption_path = format!("/v1/redemptions/{}", shop.redemption);
    let campaign_path = format!("/v1/campaigns/{}", shop.campaigns[0]);
    for path in [
        "/v1/receipts?till_reference=sale-1&register=shop1-lane3",
        &redemption_path,
        &campaign_path,
        "/v1/campaigns",
        "/s/0",
        "/checkpoint",
        "/readyz",
    ] {
        let request = TestRequest::get()
            .uri(path)
            .insert_header(("authorization", format!("Bearer {}", shop.node.office_key)));
        let answer = ask(request, Vec::new()).await;
        assert!(answer.is_good() || !answer.body.is_empty(), "{path}: {answer:?}");
    }
    for (call, key, body) in [
        (&RECEIPTS, "receipt", receipt("sale-1")),
        (&RECEIPTS, "new", receipt("sale-2")),
        (
            &VALIDATIONS,
            "",
            json!({"coupon": shop.coupons[3], "basket": {"total": 900, "currency": "EUR"}}),
        ),
        (&REDEMPTIONS, "new-2", redemption(&shop.coupons[1])),
        (
            &REVERSALS,
            "new-3",
            json!({"till_reference": "back", "give_back": true}),
        ),
        (&COUPONS, "new-4", json!({"campaign": shop.campaigns[1]})),
        (
            &REVOCATIONS,
            "new-5",
            json!({"name": shop.names[2], "status": "valid"}),
        ),
        (
            &ERASURES,
            "new-6",
            json!({"member": "4711", "reason": "asked for"}),
        ),
    ] {
        let key = if key.is_empty() { "unused" } else { key };
        let answer = send(&ask, shop, call, key, body.to_string().as_bytes()).await;
        assert!(
            answer.is_good() || answer.media == problem::PROBLEM_JSON,
            "{answer:?}"
        );
    }
    let stopped = fork.node.stopped().unwrap_or_default();
    assert!(!stopped.contains("defect"), "{stopped}");
    drop(ask);
    fork.node.shut_down().await;
}

fn campaign(benefit: Value) -> Value {
    json!({
        "name": "Spring", "text": "For members", "currency": "EUR", "benefit": benefit,
        "not_before": "2026-03-01T00:00:00+01:00", "not_after": "2026-04-01T00:00:00+02:00",
    })
}

pub(super) fn receipt(reference: &str) -> Value {
    json!({
        "register": TestNode::REGISTER, "till_reference": reference, "type": "sale", "currency": "EUR",
        "issued_at": "2026-03-07T16:21:09+01:00", "prices_include_tax": true,
        "lines": [{"description": "Äpfel", "quantity": "0.482", "unit": "kg", "unit_price": "2.99",
                   "total": 144, "tax_rate": "7.00"}],
        "taxes": [{"rate": "7.00", "net": 135, "tax": 9}],
        "tenders": [{"kind": "cash", "amount": 144}], "total": 144
    })
}

fn redemption(coupon: &str) -> Value {
    json!({
        "coupon": coupon, "register": TestNode::REGISTER, "till_reference": "sale",
        "basket": {"total": 1_250, "currency": "EUR"}
    })
}

/// `base` as it is, and with the members of each of `changes`.
fn variants<const N: usize>(base: &Value, changes: [Value; N]) -> Vec<Vec<u8>> {
    let changed = changes.into_iter().map(|change| {
        let mut body = base.clone();
        for (name, value) in change.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        body
    });
    let all = std::iter::once(base.clone()).chain(changed);
    all.map(|body| body.to_string().into_bytes()).collect()
}

fn campaign_seeds() -> Vec<Vec<u8>> {
    let percent = json!({"kind": "percent_off", "basis_points": 10_000, "cap": 500});
    // Not the shop's own: terms that are signed already are refused.
    let mut autumn = campaign(json!({"kind": "amount_off", "amount": 300}));
    autumn["name"] = json!("Autumn");
    variants(
        &autumn,
        [
            json!({"benefit": percent, "minimum_basket": 1_000, "uses_per_coupon": 3}),
            json!({"benefit": {"kind": "stored_value", "amount": 1}, "budget": 5_000}),
            json!({"redeemers": ["did:web:coop.example"], "reversal_window_seconds": 604_800, "text": ""}),
        ],
    )
}

pub(super) fn coupon_seeds() -> Vec<Vec<u8>> {
    let shop = shop();
    variants(
        &json!({"campaign": shop.campaigns[0]}),
        [
            json!({"count": 2}),
            json!({"campaign": shop.campaigns[1], "amount": 500}),
            json!({"not_before": "2026-03-07T00:00:00Z", "not_after": "2026-03-08T00:00:00Z"}),
        ],
    )
}

fn validation_seeds() -> Vec<Vec<u8>> {
    let shop = shop();
    variants(
        &json!({"coupon": shop.coupons[1], "basket": {"total": 900, "currency": "EUR"}}),
        [
            json!({"coupon": shop.coupons[0]}),
            json!({"coupon": shop.coupons[3], "basket": {"total": 1, "currency": "EUR"}}),
        ],
    )
}

fn receipt_seeds() -> Vec<Vec<u8>> {
    let line = json!({"description": "x", "quantity": "1", "total": -144});
    variants(
        &receipt("a"),
        [
            json!({"cashier": "7", "member": "4711", "refers_to": "shop1-lane3/1"}),
            json!({"offline": true, "issued_at": "2026-03-01T16:21:09+01:00"}),
            json!({"type": "refund", "lines": [line], "taxes": [], "total": -144,
                   "tenders": [{"kind": "cash", "amount": -144}]}),
            json!({"prices_include_tax": false, "total": 153, "tenders": [{"kind": "card", "amount": 153}],
                   "taxes": [{"net": 144, "tax": 9}], "lines": [{"description": "x", "quantity": "1", "total": 144}]}),
        ],
    )
}

fn redemption_seeds() -> Vec<Vec<u8>> {
    let shop = shop();
    variants(
        &redemption(&shop.coupons[1]),
        [
            json!({"coupon": shop.coupons[3], "amount": 700}),
            json!({"coupon": shop.coupons[6], "basket": {"total": 999_999, "currency": "EUR"}}),
        ],
    )
}

fn reversal_seeds() -> Vec<Vec<u8>> {
    variants(
        &json!({"till_reference": "sale", "give_back": true}),
        [json!({"amount": 100, "give_back": false}), json!({"amount": 300})],
    )
}

fn erasure_seeds() -> Vec<Vec<u8>> {
    variants(
        &json!({"receipt": shop().receipt, "reason": "request of the person concerned"}),
        [
            json!({"reason": "x"}),
            json!({"member": null, "reason": "\u{e4}".repeat(250)}),
        ],
    )
}

fn revocation_seeds() -> Vec<Vec<u8>> {
    let shop = shop();
    let status = |status: &str, member: &str, value: Value| json!({"status": status, member: value});
    [
        status("revoked", "coupon", json!(shop.coupons[1])),
        status("valid", "name", json!(shop.names[2])),
        status("suspended", "batch", json!(2)),
        status("revoked", "campaign", json!(shop.campaigns[2])),
        json!({"status": "revoked", "name": shop.names[0], "reason": "lost"}),
    ]
    .iter()
    .map(|body| body.to_string().into_bytes())
    .collect()
}

//! A served node and the clients that talk to it.

use std::net::TcpListener;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tallystick::http::{HttpOptions, run};
use tallystick::testkit::TestNode;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A node that is served on a port of its own.
pub struct Served {
    pub node: TestNode,
    pub base: String,
    pub http: reqwest::Client,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body of a 201.
    #[track_caller]
    pub fn created(&self) -> Value {
        assert_eq!(self.status, 201, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// The body of a 200.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// Asserts a problem document with this status and code, and gives it.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let said = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{said}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{said}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{said}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("/errors#{code}"));
        for member in ["title", "detail", "action"] {
            assert!(!problem[member].as_str().unwrap().is_empty(), "{member}: {said}");
        }
        assert!(problem["retry"].is_boolean());
        problem
    }
}

impl Served {
    pub async fn start(node: TestNode) -> Self {
        Self::with(node, HttpOptions::default()).await
    }

    pub async fn with(node: TestNode, options: HttpOptions) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let workers = Some(options.workers.unwrap_or(1));
        let state = node.http(HttpOptions { workers, ..options });
        let server = tokio::spawn(run(listener, state, async {
            let _ = stopped.await;
        }));
        Self {
            node,
            base,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            stop,
            server,
        }
    }

    /// Stops serving; the node lives on.
    pub async fn stop(self) -> TestNode {
        drop(self.http);
        self.stop.send(()).unwrap();
        self.server.await.unwrap().unwrap();
        self.node
    }

    /// Entries that answer requests, since the node was opened: the log's size
    /// without the status lists that it signs by itself.
    pub fn effects(&self) -> u64 {
        let recorded = &self.node.node.metrics().recorded_total;
        let kinds = [
            "campaign",
            "batch",
            "receipt",
            "redemption",
            "reversal",
            "revocation",
        ];
        kinds
            .iter()
            .map(|kind| recorded.with_label_values(&[*kind]).get())
            .sum()
    }

    pub fn request(&self, method: Method, path: &str, key: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        if key.is_empty() {
            request
        } else {
            request.bearer_auth(key)
        }
    }

    pub async fn get(&self, path: &str, key: &str) -> Answer {
        send(self.request(Method::GET, path, key)).await
    }

    /// A POST with an `Idempotency-Key`, none if it is empty.
    pub async fn post(&self, path: &str, key: &str, idempotency: &str, body: &Value) -> Answer {
        self.post_raw(path, key, idempotency, body.to_string()).await
    }

    pub async fn post_raw(
        &self,
        path: &str,
        key: &str,
        idempotency: &str,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = self
            .request(Method::POST, path, key)
            .header("content-type", "application/json")
            .body(body);
        if !idempotency.is_empty() {
            request = request.header("idempotency-key", idempotency);
        }
        send(request).await
    }

    /// A campaign of 3.00 EUR off; its id.
    pub async fn campaign(&self, changes: &Value) -> String {
        let key = format!("campaign-{changes}").replace([' ', '\n'], "");
        let mut body = campaign();
        merge(&mut body, changes);
        let answer = self
            .post("/v1/campaigns", &self.node.office_key, &key, &body)
            .await;
        answer.created()["id"].as_str().unwrap().to_owned()
    }

    /// One coupon of that campaign: the answer's coupon.
    pub async fn coupon(&self, campaign: &str, idempotency: &str) -> Value {
        let body = json!({"campaign": campaign});
        let answer = self
            .post("/v1/coupons", &self.node.office_key, idempotency, &body)
            .await;
        answer.created()["coupons"][0].clone()
    }
}

pub async fn send(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap().to_vec(),
    }
}

pub fn merge(into: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().unwrap() {
        into[name] = value.clone();
    }
}

pub fn campaign() -> Value {
    json!({
        "name": "Spring", "text": "3.00 EUR off", "currency": "EUR",
        "benefit": {"kind": "amount_off", "amount": 300},
        "not_before": "2026-03-01T00:00:00+01:00", "not_after": "2026-04-01T00:00:00+02:00",
        "reversal_window_seconds": 604_800
    })
}

pub fn receipt(reference: &str) -> Value {
    json!({
        "register": TestNode::REGISTER, "till_reference": reference, "type": "sale", "currency": "EUR",
        "issued_at": "2026-03-07T16:21:09+01:00", "prices_include_tax": true,
        "lines": [{"description": "Äpfel Topaz", "quantity": "0.482", "unit": "kg", "unit_price": "2.99",
                   "total": 144, "tax_rate": "7.00"}],
        "taxes": [{"rate": "7.00", "net": 135, "tax": 9}],
        "tenders": [{"kind": "cash", "amount": 144}], "total": 144
    })
}

pub fn redemption(coupon: &Value, reference: &str) -> Value {
    json!({
        "coupon": coupon["qr"], "register": TestNode::REGISTER, "till_reference": reference,
        "basket": {"total": 1_250, "currency": "EUR"}
    })
}

//! Where receipts go: a node's directory, opened here, or a node's URL.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::coupons::{self, Signed};
use super::replay::Use;
use super::sale::Sale;
use crate::credential::details::{Line, Tax};
use crate::ledger::{ReceiptDraft, Refusal};
use crate::node::{Caller, CheckedReceipt, EntryRef, IssuedCoupon, Node, NodeError, PreparedReceipt, Scope};
use crate::primitives::{Decimal, UnixSeconds, limits};

/// How long a node may take to answer one request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What became of a purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A receipt was issued.
    Issued,
    /// An earlier import issued it.
    Repeated,
}

/// Why a purchase did not become a receipt.
#[derive(Debug)]
pub enum Failure {
    /// The node refuses this one.
    Refused(String),
    /// There is no use in going on.
    Fatal(anyhow::Error),
}

impl Failure {
    /// The sentence.
    #[must_use]
    pub fn why(&self) -> String {
        match self {
            Self::Refused(why) => why.clone(),
            Self::Fatal(error) => format!("{error:#}"),
        }
    }
}

/// A node to import into.
pub enum Target {
    /// In this process.
    Directory {
        /// The node.
        node: Node,
        /// Its log's size when the import began.
        size: u64,
        /// The campaigns of coupons that are replayed.
        campaigns: Option<Signed>,
    },
    /// At a URL.
    Url(Remote),
}

/// A receipt that may be issued, as far as is known beforehand.
pub enum Checked {
    /// By the rules of the node in this process.
    Receipt(Box<CheckedReceipt>),
    /// Nothing is known: another process does it all.
    Plain,
}

/// A receipt with what can be done for it beforehand.
pub enum Prepared {
    /// Checked and signed.
    Signed(Box<PreparedReceipt>),
    /// Nothing: another process does it all.
    Plain,
}

impl Prepared {
    fn signed(self) -> Option<PreparedReceipt> {
        match self {
            Self::Signed(receipt) => Some(*receipt),
            Self::Plain => None,
        }
    }
}

/// A purchase, and what became of it.
pub type Issued = (Box<Sale>, Result<Outcome, Failure>);

impl Target {
    /// Receipts that may be under way at once.
    #[must_use]
    pub fn in_flight_max(&self) -> usize {
        match self {
            Self::Directory { .. } => limits::IMPORT_IN_FLIGHT_MAX,
            Self::Url(_) => limits::IMPORT_CONNECTIONS_MAX,
        }
    }

    /// Does for a receipt what needs no order; takes its draft where it is not
    /// needed any more.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn check(&self, sale: &mut Sale) -> Result<Checked, Failure> {
        let Self::Directory { node, .. } = self else {
            return Ok(Checked::Plain);
        };
        let caller = Caller {
            // Importing is office work, here as over HTTP.
            scope: Scope::Office,
            idempotency_key: sale.idempotency_key.clone(),
            request: sale.request,
        };
        let draft = sale.draft.take().expect("a receipt is checked once");
        let checked = node.check_receipt(&caller, draft);
        checked
            .map(|checked| Checked::Receipt(Box::new(checked)))
            .map_err(|error| failure(error, &sale.name))
    }

    /// Gives a receipt its number, behind those that got theirs before.
    pub fn number(&self, checked: &mut Checked) {
        if let (Self::Directory { node, .. }, Checked::Receipt(receipt)) = (self, checked) {
            node.number_receipt(receipt);
        }
    }

    /// Signs a receipt under its number.
    #[must_use]
    pub fn sign(&self, checked: Checked) -> Prepared {
        match (self, checked) {
            (Self::Directory { node, .. }, Checked::Receipt(receipt)) => {
                Prepared::Signed(Box::new(node.sign_receipt(*receipt)))
            }
            _ => Prepared::Plain,
        }
    }

    /// How many receipts are best given to the node together.
    #[must_use]
    pub fn together_max(&self) -> usize {
        match self {
            Self::Directory { .. } => limits::IMPORT_CHUNK_LEN,
            Self::Url(_) => 1,
        }
    }

    /// Issues receipts. In a directory those come first in the log that were given
    /// first, and all of them are one command of the node: waking its writer and
    /// being woken by it costs a part of what a receipt does. Over HTTP a busy node
    /// is tried again.
    pub fn issue(self: Arc<Self>, receipts: Vec<(Box<Sale>, Prepared)>) -> BoxFuture<'static, Vec<Issued>> {
        let (sales, prepared): (Vec<_>, Vec<_>) = receipts.into_iter().unzip();
        if let Self::Directory { node, size, .. } = self.as_ref() {
            let prepared = prepared.into_iter().filter_map(Prepared::signed).collect();
            let (waiting, size) = (node.enqueue_receipts(prepared), *size);
            return Box::pin(async move {
                let results = waiting.await;
                let result = |(sale, result): (Box<Sale>, Result<EntryRef, NodeError>)| match result {
                    Ok(entry) => (sale, Ok(outcome(entry.index, size))),
                    Err(error) => {
                        let failure = failure(error, &sale.name);
                        (sale, Err(failure))
                    }
                };
                sales.into_iter().zip(results).map(result).collect()
            });
        }
        let asking = tokio::spawn(async move {
            let mut issued = Vec::with_capacity(sales.len());
            for sale in sales {
                let result = self.ask_for(&sale).await;
                issued.push((sale, result));
            }
            issued
        });
        Box::pin(async move { asking.await.expect("asking does not panic") })
    }

    async fn ask_for(&self, sale: &Sale) -> Result<Outcome, Failure> {
        match self {
            Self::Url(remote) => remote.issue(sale).await,
            Self::Directory { .. } => Err(Failure::Refused("it was not prepared".to_owned())),
        }
    }

    /// Begins to issue the coupon of `used`.
    pub fn issue_coupon(
        self: Arc<Self>,
        used: Box<Use>,
    ) -> JoinHandle<(Box<Use>, Result<IssuedCoupon, Failure>)> {
        tokio::spawn(async move {
            let issued = match self.replay() {
                Ok((node, campaigns, _)) => campaigns.issue(node, &used).await,
                Err(failure) => Err(failure),
            };
            (used, issued)
        })
    }

    /// Redeems a coupon, behind what was given to the node before.
    pub fn redeem(
        self: Arc<Self>,
        used: &Use,
        coupon: IssuedCoupon,
    ) -> Result<impl Future<Output = Result<Outcome, Failure>> + Send + use<>, Failure> {
        let (node, campaigns, size) = self.replay()?;
        let waiting = campaigns.redeem(node, used, coupon)?;
        let used = used.clone();
        Ok(async move {
            let entry = waiting.await.map_err(|error| coupons::failure(error, &used))?;
            Ok(outcome(entry.index, size))
        })
    }

    /// Whether coupons are issued and redeemed beside the receipts.
    #[must_use]
    pub fn replays(&self) -> bool {
        self.replay().is_ok()
    }

    fn replay(&self) -> Result<(&Node, &Signed, u64), Failure> {
        match self {
            Self::Directory {
                node,
                size,
                campaigns: Some(campaigns),
            } => Ok((node, campaigns, *size)),
            _ => Err(Failure::Refused(
                "coupons are replayed in a node's directory".to_owned(),
            )),
        }
    }
}

/// Whether an entry was there before the import began.
fn outcome(entry: u64, size: u64) -> Outcome {
    if entry < size {
        Outcome::Repeated
    } else {
        Outcome::Issued
    }
}

fn failure(error: NodeError, name: &str) -> Failure {
    match error {
        NodeError::Refused(Refusal::KeyReused) => Failure::Refused(changed(name)),
        NodeError::Refused(Refusal::TimeTooFar { seconds, .. }) => Failure::Refused(format!(
            "its time of sale lies after the node's clock, by {seconds} s"
        )),
        NodeError::Refused(refusal) => Failure::Refused(refusal.to_string()),
        error => Failure::Fatal(error.into()),
    }
}

fn changed(name: &str) -> String {
    format!(
        "a receipt {:?} with other content was imported before: the export or its time zone has changed, or its \
         rows do not stand together",
        name
    )
}

/// How long to wait before the next attempt.
pub fn pause(attempt: u32) -> Duration {
    let doubled = limits::IMPORT_PAUSE_MILLISECONDS_MIN << attempt.min(16);
    Duration::from_millis(doubled.min(limits::IMPORT_PAUSE_MILLISECONDS_MAX))
}

/// A node at a URL, with connections that are kept open.
pub struct Remote {
    client: reqwest::Client,
    base: String,
    key: String,
    size: u64,
}

impl Remote {
    /// Looks at the node: is it there, and how long is its log?
    ///
    /// # Errors
    /// When it is not.
    pub async fn connect(url: &str, key: String) -> anyhow::Result<Self> {
        // A second time this fails, and the first one's choice holds.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let base = url.trim_end_matches('/').to_owned();
        let mut builder = reqwest::Client::builder()
            .timeout(TIMEOUT)
            // A key is not carried to other hosts.
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(limits::IMPORT_CONNECTIONS_MAX);
        if base.starts_with("http://") {
            // Loopback: no proxy is asked, and no certificates are needed.
            builder = builder.no_proxy().tls_certs_only([]);
        }
        let client = builder.build().context("the HTTP client does not start")?;
        let shown = format!("{base}/checkpoint");
        let checkpoint = client
            .get(&shown)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .with_context(|| format!("there is no node at {base}"))?
            .text()
            .await?;
        let size = checkpoint.lines().nth(1).and_then(|line| line.parse().ok());
        Ok(Self {
            client,
            base,
            key,
            size: size.with_context(|| format!("{shown} is no checkpoint"))?,
        })
    }

    async fn issue(&self, sale: &Sale) -> Result<Outcome, Failure> {
        let draft = sale.draft.as_ref().expect("a receipt is sent unprepared");
        let body = body(draft.draft()).to_string();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let again = match self.post(sale, &body).await {
                Ok(Said::Issued(index)) => return Ok(outcome(index, self.size)),
                Ok(Said::Gone) => return Ok(Outcome::Repeated),
                Ok(Said::Refused(why)) => return Err(Failure::Refused(why)),
                Ok(Said::Stop(why)) => return Err(Failure::Fatal(anyhow::anyhow!(why))),
                Ok(Said::Later(why)) => anyhow::anyhow!(why),
                Err(error) => error.into(),
            };
            if attempt >= limits::IMPORT_ATTEMPTS_MAX {
                return Err(Failure::Fatal(
                    again.context("the node could not be reached again"),
                ));
            }
            // The same key and body: what was done is not done twice.
            tokio::time::sleep(pause(attempt)).await;
        }
    }

    async fn post(&self, sale: &Sale, body: &str) -> reqwest::Result<Said> {
        let answer = self
            .client
            .post(format!("{}/v1/receipts", self.base))
            .bearer_auth(&self.key)
            .header("Idempotency-Key", &sale.idempotency_key)
            .header("Content-Type", "application/json")
            .body(body.to_owned())
            .send()
            .await?;
        let status = answer.status();
        let text = answer.text().await?;
        let json: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(understand(status, &json, sale))
    }
}

enum Said {
    Issued(u64),
    /// It was issued before, and cannot be shown any more: erased, or lost.
    Gone,
    Refused(String),
    Later(String),
    Stop(String),
}

fn understand(status: StatusCode, json: &Value, sale: &Sale) -> Said {
    let detail = ["detail", "title"]
        .iter()
        .find_map(|member| json[*member].as_str())
        .map_or_else(|| format!("the node answered {status}"), str::to_owned);
    // The problem document says itself whether the same request may succeed later.
    let busy = json["retry"].as_bool().unwrap_or(matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    ));
    if status.is_success() {
        return json["entry"]["index"].as_u64().map_or_else(
            || Said::Stop("the node's answer names no entry".to_owned()),
            Said::Issued,
        );
    }
    match status {
        _ if busy => Said::Later(detail),
        _ if matches!(json["code"].as_str(), Some("erased" | "done_before_loss")) => Said::Gone,
        _ if json["code"] == Refusal::KeyReused.code() => Said::Refused(changed(&sale.name)),
        StatusCode::BAD_REQUEST
        | StatusCode::CONFLICT
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Said::Refused(detail),
        _ => Said::Stop(detail),
    }
}

/// The receipt as a till posts it (formats, section 6), after the event.
fn body(draft: &ReceiptDraft) -> Value {
    let details = &draft.details;
    let mut body = json!({
        "register": draft.register.as_str(),
        "type": draft.kind.word(),
        "currency": draft.currency.letters(),
        "issued_at": rfc3339(draft.issued_at),
        "offline": true,
        "prices_include_tax": draft.prices_include_tax,
        "lines": details.lines.iter().map(line).collect::<Vec<_>>(),
        "taxes": details.taxes.iter().map(tax).collect::<Vec<_>>(),
        "tenders": details.tenders.iter()
            .map(|tender| json!({"kind": tender.kind, "amount": tender.amount.minor_units()}))
            .collect::<Vec<_>>(),
        "total": draft.total.minor_units(),
    });
    put(&mut body, "till_reference", details.till_reference.as_deref());
    put(&mut body, "member", details.member.as_deref());
    put(&mut body, "cashier", details.cashier.as_deref());
    body
}

fn rfc3339(at: UnixSeconds) -> String {
    let time = i64::try_from(at.0)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.expect("it was read as a time").to_string()
}

fn line(line: &Line) -> Value {
    let mut json = json!({
        "description": line.description,
        "quantity": line.quantity.to_string(),
        "total": line.total.minor_units(),
    });
    put(&mut json, "unit", line.unit.as_deref());
    put_decimal(&mut json, "unit_price", line.unit_price);
    put_decimal(&mut json, "tax_rate", line.tax_rate);
    json
}

fn tax(tax: &Tax) -> Value {
    let mut json = json!({"net": tax.net.minor_units(), "tax": tax.tax.minor_units()});
    put_decimal(&mut json, "rate", tax.rate);
    json
}

fn put(json: &mut Value, member: &str, text: Option<&str>) {
    if let Some(text) = text {
        json[member] = text.into();
    }
}

fn put_decimal(json: &mut Value, member: &str, decimal: Option<Decimal>) {
    if let Some(decimal) = decimal {
        json[member] = decimal.to_string().into();
    }
}

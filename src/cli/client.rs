//! The HTTP client that every command uses.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use reqwest::StatusCode;
use reqwest::blocking::{RequestBuilder, Response};
use serde_json::Value;

use crate::primitives::Origin;

/// How long an answer may take: a large batch is signed within seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// How often a call is sent before the answer is given up, with these pauses
/// in between: a node that is busy or restarts is there again soon.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// A node at a URL.
#[derive(Debug)]
pub struct Client {
    http: reqwest::blocking::Client,
    base: String,
    key: Option<String>,
}

/// Why a try gave no final answer.
enum Failed {
    /// Nothing was sent: the node is not there.
    Unreachable(reqwest::Error),
    /// It was sent, and perhaps done.
    Unknown(anyhow::Error),
}

impl Client {
    /// A client of the node at `base`, with the bearer key `key`.
    ///
    /// # Errors
    /// When the URL is none, or TLS cannot be set up.
    pub fn new(base: &str, key: Option<&str>) -> anyhow::Result<Self> {
        let url = reqwest::Url::parse(base).with_context(|| format!("{base} is not a URL"))?;
        let mut builder = reqwest::blocking::Client::builder()
            .timeout(ANSWER_WITHIN)
            // A key is not carried to other hosts.
            .redirect(reqwest::redirect::Policy::none());
        if Origin::parse(base).is_ok_and(|origin| origin.to_string().starts_with("http:")) {
            // Loopback: no proxy is asked, and no certificates are needed.
            builder = builder.no_proxy().tls_certs_only([]);
        }
        Ok(Self {
            http: builder.build().context("the HTTP client cannot be set up")?,
            base: url.as_str().trim_end_matches('/').to_owned(),
            key: key.map(ToOwned::to_owned),
        })
    }

    /// What the node shows at `path`.
    ///
    /// # Errors
    /// The node's refusal, or why it gave no answer.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(|| self.http.get(format!("{}{path}", self.base)), None)
    }

    /// Posts `body` to `path` and gives the answer.
    ///
    /// # Errors
    /// The node's refusal, or why it gave no answer.
    pub fn post(&self, path: &str, key: &str, body: &str) -> anyhow::Result<Value> {
        let request = || {
            self.http
                .post(format!("{}{path}", self.base))
                .header("Content-Type", "application/json")
                .header("Idempotency-Key", key)
                .body(body.to_owned())
        };
        self.call(request, Some(key))
    }

    /// Posts a question, which changes nothing, and gives the answer.
    ///
    /// # Errors
    /// The node's refusal, or why it gave no answer.
    pub fn ask(&self, path: &str, body: &str) -> anyhow::Result<Value> {
        let request = || {
            self.http
                .post(format!("{}{path}", self.base))
                .header("Content-Type", "application/json")
                .body(body.to_owned())
        };
        self.call(request, None)
    }

    /// Sends the same request until there is an answer; `key` makes that safe
    /// for calls that change something.
    fn call(&self, request: impl Fn() -> RequestBuilder, key: Option<&str>) -> anyhow::Result<Value> {
        let mut pauses = PAUSES.iter();
        loop {
            let failed = match self.once(&request) {
                Ok(answer) => return answer,
                Err(failed) => failed,
            };
            if let (Failed::Unknown(_), Some(pause)) = (&failed, pauses.next()) {
                std::thread::sleep(*pause);
                continue;
            }
            return Err(match (failed, key) {
                (Failed::Unreachable(error), _) => anyhow!(
                    "{} cannot be reached ({}); start the node with `tallystick serve DIR`, or name the right URL",
                    self.base,
                    root_cause(&error)
                ),
                (Failed::Unknown(why), None) => why,
                (Failed::Unknown(why), Some(key)) => why.context(format!(
                    "no final answer came, so it is not known whether the call was done; run the command again with \
                     --idempotency-key {key} and the same arguments"
                )),
            });
        }
    }

    fn once(&self, request: &impl Fn() -> RequestBuilder) -> Result<anyhow::Result<Value>, Failed> {
        let mut request = request();
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let response = request.send().map_err(|error| {
            if error.is_connect() {
                Failed::Unreachable(error)
            } else {
                Failed::Unknown(anyhow!("{}: {}", self.base, root_cause(&error)))
            }
        })?;
        let status = response.status();
        let answer = read(response).map_err(Failed::Unknown)?;
        if status.is_success() {
            return Ok(Ok(answer));
        }
        let refusal = refusal(status, &answer);
        let passing = status == StatusCode::SERVICE_UNAVAILABLE || answer["code"] == "request_in_progress";
        if passing {
            Err(Failed::Unknown(refusal))
        } else {
            Ok(Err(refusal))
        }
    }
}

fn read(response: Response) -> anyhow::Result<Value> {
    let status = response.status();
    let text = response.text().context("the answer broke off")?;
    match serde_json::from_str(&text) {
        Ok(value) => Ok(value),
        Err(_) if !status.is_success() => Ok(Value::Null),
        Err(_) => bail!("the answer is no JSON: is this the URL of a Tallystick node?"),
    }
}

/// A problem document (RFC 9457) as one or two sentences.
fn refusal(status: StatusCode, problem: &Value) -> anyhow::Error {
    let part = |member: &str| {
        problem[member]
            .as_str()
            .map(str::trim)
            .filter(|text| !text.is_empty())
    };
    let Some(what) = part("detail").or_else(|| part("title")) else {
        return anyhow!("the node answered {status} without a reason: is this the URL of a Tallystick node?");
    };
    let code = part("code").map_or_else(String::new, |code| format!(" ({code})"));
    match part("action") {
        Some(action) => anyhow!("{}{code}. {action}", what.trim_end_matches('.')),
        None => anyhow!("{}{code}", what.trim_end_matches('.')),
    }
}

/// The innermost cause, which says most.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

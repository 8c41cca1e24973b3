//! The HTTP client that every command uses.

use std::io::{BufRead as _, BufReader, Read as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use reqwest::StatusCode;
use reqwest::blocking::{RequestBuilder, Response};
use serde_json::Value;

use crate::primitives::{Origin, limits};

/// How long an answer may take: a large batch is signed within seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// How long a node may work on a request before it is given up: to sign a million
/// coupons, or to look through ten million receipts, takes minutes on a small
/// machine.
const DONE_WITHIN: Duration = Duration::from_secs(600);

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
    /// The first request of this name is still being worked on.
    InProgress(anyhow::Error),
}

impl Failed {
    fn into_error(self, base: &str) -> anyhow::Error {
        match self {
            Self::Unreachable(error) => anyhow!(
                "{base} cannot be reached ({}); start the node with `tallystick serve DIR`, or name the right URL",
                root_cause(&error)
            ),
            Self::Unknown(why) | Self::InProgress(why) => why,
        }
    }
}

/// A stream of lines that ended too early.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct BrokenOff {
    /// Lines that have come, those before `from` included.
    pub lines: u64,
    why: anyhow::Error,
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

    /// The node's URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The bearer key.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// What the node shows at `path`.
    ///
    /// # Errors
    /// The node's refusal, or why it gave no answer.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(|| self.http.get(format!("{}{path}", self.base)), None)
    }

    /// What the node shows at `path` of what meets all of `asked`: names and values.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_where(&self, path: &str, asked: &[(&str, String)]) -> anyhow::Result<Value> {
        let mut url = reqwest::Url::parse(&format!("{}{path}", self.base))
            .with_context(|| format!("{} is not a URL", self.base))?;
        if !asked.is_empty() {
            url.query_pairs_mut().extend_pairs(asked);
        }
        self.call(|| self.http.get(url.clone()), None)
    }

    /// Posts `body` to `path` and gives the answer.
    ///
    /// # Errors
    /// The node's refusal, or why it gave no answer.
    pub fn post(&self, path: &str, key: &str, body: &str) -> anyhow::Result<Value> {
        self.call(|| self.json(path, key, body), Some(key))
    }

    /// As [`post`](Self::post), without sending it again where the outcome is not known.
    ///
    /// # Errors
    /// What the node says of it, once.
    pub fn post_once(&self, path: &str, key: &str, body: &str) -> anyhow::Result<Value> {
        self.once(&|| self.json(path, key, body))
            .unwrap_or_else(|failed| Err(failed.into_error(&self.base)))
    }

    /// As [`post`](Self::post), for up to `within`, whoever is out of reach meanwhile; a
    /// refusal comes back as what it is, an answer.
    ///
    /// # Errors
    /// Why there is still none.
    pub fn post_patiently(
        &self,
        path: &str,
        key: &str,
        body: &str,
        within: Duration,
    ) -> anyhow::Result<anyhow::Result<Value>> {
        let until = Instant::now() + within;
        let request = || self.json(path, key, body);
        loop {
            match self.once(&request) {
                Ok(answer) => return Ok(answer),
                Err(failed) if Instant::now() >= until => return Err(failed.into_error(&self.base)),
                Err(_) => std::thread::sleep(PAUSES[0]),
            }
        }
    }

    fn json(&self, path: &str, key: &str, body: &str) -> RequestBuilder {
        self.http
            .post(format!("{}{path}", self.base))
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", key)
            .body(body.to_owned())
    }

    /// Posts `body`, CBOR, to `path` and gives the answer.
    ///
    /// # Errors
    /// The node's refusal, or why it gave no answer.
    pub fn post_cbor(&self, path: &str, key: &str, body: &[u8]) -> anyhow::Result<Value> {
        let request = || {
            self.http
                .post(format!("{}{path}", self.base))
                .header("Content-Type", "application/cbor")
                .header("Idempotency-Key", key)
                .body(body.to_vec())
        };
        self.call(request, Some(key))
    }

    /// Posts `body` to `path` for an answer of one line a thing, which is read
    /// while it comes: from line `from` on, counted from 0. `each` is given every
    /// whole line once, whatever happens to the connection. The answer's
    /// `Location` comes back.
    ///
    /// # Errors
    /// The node's refusal, what `each` gives, or [`BrokenOff`].
    pub fn post_lines(
        &self,
        path: &str,
        key: &str,
        body: &str,
        from: u64,
        each: &mut dyn FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<String>> {
        let mut next = from;
        let (mut pauses, mut waited) = (PAUSES.iter(), Duration::ZERO);
        loop {
            let before = next;
            let why = match self.lines_once((path, key, body), &mut next, each) {
                Ok(done) => return done,
                Err(why) => why,
            };
            if next > before {
                (pauses, waited) = (PAUSES.iter(), Duration::ZERO);
            }
            let pause = match &why {
                // Coupons are being signed, or the batch that a crash cut off is.
                Failed::InProgress(_) if waited < DONE_WITHIN => Some(&PAUSES[1]),
                Failed::Unreachable(_) if next == from => None,
                _ => pauses.next(),
            };
            let Some(pause) = pause else {
                return Err(BrokenOff {
                    lines: next,
                    why: why.into_error(&self.base),
                }
                .into());
            };
            std::thread::sleep(*pause);
            waited += *pause;
        }
    }

    fn lines_once(
        &self,
        (path, key, body): (&str, &str, &str),
        next: &mut u64,
        each: &mut dyn FnMut(&str) -> anyhow::Result<()>,
    ) -> Result<anyhow::Result<Option<String>>, Failed> {
        let line = if *next > 0 {
            format!("?from={next}")
        } else {
            String::new()
        };
        let request = self
            .json(&format!("{path}{line}"), key, body)
            .header("Accept", "application/x-ndjson");
        let response = match self.send(request)? {
            Ok(response) => response,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let location = response.headers().get("Location");
        let location = location
            .and_then(|value| value.to_str().ok())
            .map(ToOwned::to_owned);
        let mut lines = BufReader::new(response);
        let mut line = String::new();
        loop {
            line.clear();
            let most = limits::COUPON_LINE_BYTES_MAX as u64 + 1;
            let read = (&mut lines).take(most).read_line(&mut line);
            let read =
                read.map_err(|error| Failed::Unknown(anyhow!("{}: {}", self.base, root_cause(&error))))?;
            match line.strip_suffix('\n') {
                Some(line) => {
                    *next += 1;
                    if let Err(error) = each(line) {
                        return Ok(Err(error));
                    }
                }
                None if read == 0 => return Ok(Ok(location)),
                None => return Err(Failed::Unknown(anyhow!("{}: a line broke off", self.base))),
            }
        }
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
        let (mut pauses, mut waited) = (PAUSES.iter(), Duration::ZERO);
        loop {
            let failed = match self.once(&request) {
                Ok(answer) => return answer,
                Err(failed) => failed,
            };
            let pause = match failed {
                // A large batch, or all receipts being looked through.
                Failed::InProgress(_) if waited < DONE_WITHIN => Some(&PAUSES[1]),
                Failed::Unreachable(_) => None,
                Failed::Unknown(_) | Failed::InProgress(_) => pauses.next(),
            };
            if let Some(pause) = pause {
                std::thread::sleep(*pause);
                waited += *pause;
                continue;
            }
            let unreachable = matches!(failed, Failed::Unreachable(_));
            return Err(match (failed.into_error(&self.base), key) {
                (why, None) => why,
                (why, Some(_)) if unreachable => why,
                (why, Some(key)) => why.context(format!(
                    "no final answer came, so it is not known whether the call was done; run the command again with \
                     --idempotency-key {key} and the same arguments"
                )),
            });
        }
    }

    fn once(&self, request: &impl Fn() -> RequestBuilder) -> Result<anyhow::Result<Value>, Failed> {
        Ok(match self.send(request())? {
            Ok(response) => Ok(read(response).map_err(Failed::Unknown)?),
            Err(refusal) => Err(refusal),
        })
    }

    /// Sends a request; a success comes back unread.
    fn send(&self, mut request: RequestBuilder) -> Result<anyhow::Result<Response>, Failed> {
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
        if status.is_success() {
            return Ok(Ok(response));
        }
        let answer = read(response).map_err(Failed::Unknown)?;
        let refusal = refusal(status, &answer);
        if answer["code"] == "request_in_progress" {
            Err(Failed::InProgress(refusal))
        } else if status == StatusCode::SERVICE_UNAVAILABLE {
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

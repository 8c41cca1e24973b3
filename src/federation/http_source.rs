//! A log's files at a URL. Everything that comes is hostile: bodies are capped,
//! packed ones too, redirects are not followed, answers have to come in time.

use std::io::Read as _;
use std::time::Duration;

use flate2::read::GzDecoder;
use reqwest::StatusCode;
use reqwest::blocking::{RequestBuilder, Response};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::Value;

use super::message;
use super::source::{FetchError, LogSource};
use crate::primitives::{Origin, limits};

/// How long an answer may take, its body included.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// How often a file is asked for, with these pauses in between: a node that is
/// busy or restarts is there again soon.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// The log at a URL.
#[derive(Debug)]
pub struct HttpSource {
    http: reqwest::blocking::Client,
    base: String,
    key: Option<String>,
    /// Whether answers are asked for packed: on loopback that only costs.
    packed: bool,
}

impl HttpSource {
    /// The log whose prefix is `base` (a node's base URL, or what a mirror is
    /// served under), with a bearer key for what is not public.
    ///
    /// # Errors
    /// [`FetchError::Answer`] when the URL is none, or plain `http` to another
    /// machine while a key would be sent, or TLS cannot be set up.
    pub fn new(base: &str, key: Option<&str>) -> Result<Self, FetchError> {
        let refuse = |why: String| FetchError::Answer {
            what: base.to_owned(),
            why,
        };
        let url = reqwest::Url::parse(base).map_err(|error| refuse(format!("not a URL: {error}")))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse(
                "a log's prefix has no query and no fragment; name what /checkpoint follows".to_owned(),
            ));
        }
        let origin = url.origin().ascii_serialization();
        // As an `Origin` has it: plain http is for loopback hosts.
        let is_http = url.scheme() == "http";
        let loopback = is_http && Origin::parse(&origin).is_ok();
        if is_http && !loopback && key.is_some() {
            return Err(refuse(
                "a key is not sent over plain http to another machine; use https".to_owned(),
            ));
        }
        let mut builder = reqwest::blocking::Client::builder()
            .timeout(ANSWER_WITHIN)
            // A key is not carried to other hosts.
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(limits::BUNDLES_IN_FLIGHT_MAX);
        if loopback {
            // No proxy is asked, and no certificates are needed.
            builder = builder.no_proxy().tls_certs_only([]);
        }
        let http = builder
            .build()
            .map_err(|error| refuse(format!("the HTTP client cannot be set up: {error}")))?;
        Ok(Self {
            http,
            base: url.as_str().trim_end_matches('/').to_owned(),
            key: key.map(ToOwned::to_owned),
            packed: !loopback,
        })
    }

    /// Whether it has a bearer key for what is not public.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Posts a message between nodes to `path`, and gives the answer's bytes, at most
    /// `most`; `None` where nothing takes it.
    ///
    /// # Errors
    /// As [`LogSource::get`].
    pub fn post(&self, path: &str, message: &[u8], most: usize) -> Result<Option<Vec<u8>>, FetchError> {
        self.with_pauses(path, most, &|what| {
            self.http
                .post(what)
                .header(CONTENT_TYPE, message::CONTENT_TYPE)
                .body(message.to_vec())
        })
    }

    fn with_pauses(
        &self,
        path: &str,
        most: usize,
        request: &dyn Fn(&str) -> RequestBuilder,
    ) -> Result<Option<Vec<u8>>, FetchError> {
        let what = format!("{}/{path}", self.base);
        let mut pauses = PAUSES.iter();
        loop {
            match Self::once(request(&what), what.clone(), most) {
                Ok(answer) => return answer,
                Err(error) => match pauses.next() {
                    Some(pause) => std::thread::sleep(*pause),
                    None => return Err(error),
                },
            }
        }
    }

    /// One try. The outer error is worth another one.
    fn once(
        request: RequestBuilder,
        what: String,
        most: usize,
    ) -> Result<Result<Option<Vec<u8>>, FetchError>, FetchError> {
        let unreachable = |why| FetchError::Unreachable {
            what: what.clone(),
            why,
        };
        let response = request.send().map_err(|error| unreachable(root_cause(&error)))?;
        let status = response.status();
        match status {
            StatusCode::OK => match body(response, most) {
                Ok(Some(bytes)) => Ok(Ok(Some(bytes))),
                Ok(None) => Ok(Err(FetchError::TooLong { what, most })),
                Err(error) => Err(unreachable(error.to_string())),
            },
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Ok(None)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(Err(FetchError::Forbidden {
                why: reason(response),
                what,
            })),
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(unreachable(format!("{status}, {}", reason(response))))
            }
            _ => Ok(Err(FetchError::Answer {
                what,
                why: format!("the answer is {status}, which no log gives"),
            })),
        }
    }
}

impl LogSource for HttpSource {
    fn get(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, FetchError> {
        self.with_pauses(path, most, &|what| {
            let mut request = self.http.get(what);
            if self.packed {
                request = request.header(ACCEPT_ENCODING, "gzip");
            }
            match &self.key {
                Some(key) => request.bearer_auth(key),
                None => request,
            }
        })
    }

    fn name(&self) -> &str {
        &self.base
    }
}

/// The body, unpacked; `None` where it is longer than `most`.
fn body(response: Response, most: usize) -> std::io::Result<Option<Vec<u8>>> {
    let packed = response
        .headers()
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"));
    let limit = most as u64 + 1;
    let mut bytes = Vec::new();
    if packed {
        GzDecoder::new(response).take(limit).read_to_end(&mut bytes)?;
    } else {
        response.take(limit).read_to_end(&mut bytes)?;
    }
    Ok((bytes.len() <= most).then_some(bytes))
}

/// What a problem document (RFC 9457) says, in one line.
fn reason(response: Response) -> String {
    let mut text = Vec::new();
    let read = response
        .take(limits::REFUSAL_BYTES_MAX as u64)
        .read_to_end(&mut text);
    let problem: Value = match read {
        Ok(_) => serde_json::from_slice(&text).unwrap_or_default(),
        Err(_) => Value::Null,
    };
    let parts: Vec<&str> = ["detail", "action"]
        .iter()
        .filter_map(|part| problem[part].as_str())
        .filter(|part| !part.chars().any(char::is_control))
        .collect();
    if parts.is_empty() {
        "no reason is given".to_owned()
    } else {
        parts.join(". ")
    }
}

/// The innermost cause, which says most.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

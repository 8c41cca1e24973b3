//! Calling the nodes of other members: messages are posted, public files fetched.
//!
//! What an answer says is for the caller to check; nothing here is believed. What
//! is told apart is whether a message may have arrived: a redemption that surely
//! did not may be told as failed, any other outcome is unknown until it is known.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

use super::http_source::root_cause;
use super::message;
use crate::primitives::{Origin, limits};

/// How the nodes of other members are reached.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Certificate authorities (PEM) in the place of the system's.
    pub authorities: Option<Vec<u8>>,
    /// Members' base URLs, and where their nodes are reached instead.
    pub instead: BTreeMap<Origin, Url>,
}

/// Why other nodes cannot be called at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReachError {
    /// The certificates are none.
    #[error("the file of certificate authorities holds no certificate in PEM: {0}")]
    Authorities(String),
    /// An address that is none.
    #[error("{0} is no address of a node: write http://HOST:PORT or https://HOST:PORT, without a path")]
    Url(String),
    /// TLS cannot be set up.
    #[error("the HTTP client for other nodes cannot be set up: {0}")]
    Client(String),
}

/// Why a call brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// There was no connection, and nothing was sent.
    #[error("{url} cannot be reached: {why}")]
    NotReached {
        /// What was called.
        url: String,
        /// Why.
        why: String,
    },
    /// The connection broke, or the time was up.
    #[error("{url} gave no whole answer: {why}")]
    NoAnswer {
        /// What was called.
        url: String,
        /// Why.
        why: String,
    },
    /// The answer says no.
    #[error("{url} answered {status}{}{}", part(": ", .code.as_deref()), part(", ", .detail.as_deref()))]
    Refused {
        /// What was called.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The code of its problem document.
        code: Option<String>,
        /// What that says, without control characters.
        detail: Option<String>,
        /// Seconds after which it wants to be asked again.
        retry_after: Option<u64>,
    },
    /// The answer is longer than it may be.
    #[error("the answer of {url} is longer than {most} bytes")]
    TooLong {
        /// What was called.
        url: String,
        /// Bytes that were allowed.
        most: usize,
    },
}

fn part(before: &str, text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!("{before}{text}"))
}

impl PeerError {
    /// Whether the message may have arrived, and have had its effect. An answer that
    /// says no is no proof either: it is not signed, and something between the two
    /// nodes may have given it.
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        !matches!(self, Self::NotReached { .. })
    }

    /// An answer other than 200, with its body: a problem document (RFC 9457), if it is
    /// from a node.
    #[must_use]
    pub fn of_problem(url: String, status: u16, retry_after: Option<u64>, body: &[u8]) -> Self {
        let problem: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| {
            let text = problem[name].as_str()?;
            (!text.chars().any(char::is_control)).then(|| text.to_owned())
        };
        Self::Refused {
            url,
            status,
            code: text("code"),
            detail: text("detail"),
            retry_after,
        }
    }

    /// The code of a problem document, if that was the answer.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    /// A word for metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotReached { .. } => "not_reached",
            Self::NoAnswer { .. } => "no_answer",
            Self::Refused { .. } => "refused",
            Self::TooLong { .. } => "too_long",
        }
    }
}

/// What carries calls to other members' nodes: HTTP, or what a simulation has in its
/// place.
pub trait Carrier: fmt::Debug + Send + Sync + 'static {
    /// Posts a message; see [`Peers::post`].
    fn post<'a>(
        &'a self,
        member: &'a Origin,
        path: &'a str,
        message: Vec<u8>,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, PeerError>>;

    /// Fetches a file; see [`Peers::get`].
    fn get<'a>(
        &'a self,
        member: &'a Origin,
        path: &'a str,
        most: usize,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, PeerError>>;
}

/// The other members' nodes, as they are called.
#[derive(Clone, Debug)]
pub struct Peers {
    carrier: Arc<dyn Carrier>,
}

/// The HTTP client for other members' nodes, with its connections.
#[derive(Debug)]
struct Http {
    https: Client,
    /// For loopback, and where the settings name an address without TLS.
    plain: Client,
    instead: BTreeMap<Origin, Url>,
}

impl Peers {
    /// Calls over HTTP.
    ///
    /// # Errors
    /// [`ReachError`].
    pub fn new(reach: Reach) -> Result<Self, ReachError> {
        Ok(Self::over(Arc::new(Http::new(reach)?)))
    }

    /// Calls that `carrier` carries.
    #[must_use]
    pub fn over(carrier: Arc<dyn Carrier>) -> Self {
        Self { carrier }
    }

    /// Posts a message to `path` of the member with this base URL, and gives the
    /// bytes of the answer.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn post(
        &self,
        member: &Origin,
        path: &str,
        message: Vec<u8>,
        most: usize,
    ) -> Result<Vec<u8>, PeerError> {
        self.carrier.post(member, path, message, most).await
    }

    /// Fetches a public file of the member with this base URL; `None` where there is
    /// none.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn get(&self, member: &Origin, path: &str, most: usize) -> Result<Option<Vec<u8>>, PeerError> {
        self.carrier.get(member, path, most).await
    }
}

impl Http {
    /// Sets up the client.
    fn new(reach: Reach) -> Result<Self, ReachError> {
        // A second time this fails, and the first one's choice holds.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let refused = |error: reqwest::Error| ReachError::Client(root_cause(&error));
        let builder = || {
            Client::builder()
                .connect_timeout(Duration::from_secs(limits::PEER_CONNECT_SECONDS_MAX))
                .timeout(Duration::from_secs(limits::PEER_ANSWER_SECONDS_MAX))
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .pool_max_idle_per_host(limits::PEER_CONNECTIONS_KEPT)
        };
        let mut https = builder().https_only(true);
        if let Some(pem) = &reach.authorities {
            let authorities = Certificate::from_pem_bundle(pem)
                .map_err(|error| ReachError::Authorities(root_cause(&error)))?;
            if authorities.is_empty() {
                return Err(ReachError::Authorities("it is empty".to_owned()));
            }
            https = https.tls_certs_only(authorities);
        }
        for url in reach.instead.values() {
            if !is_address(url) {
                return Err(ReachError::Url(url.to_string()));
            }
        }
        Ok(Self {
            https: https.build().map_err(refused)?,
            // No proxy is asked, and no certificates are needed.
            plain: builder().no_proxy().tls_certs_only([]).build().map_err(refused)?,
            instead: reach.instead,
        })
    }

    fn towards(&self, member: &Origin, path: &str) -> Result<(&Client, Url), PeerError> {
        let base = match self.instead.get(member) {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => member.to_string(),
        };
        let full = format!("{base}{path}");
        let url = Url::parse(&full).map_err(|error| PeerError::NotReached {
            url: full,
            why: error.to_string(),
        })?;
        // As an `Origin` has it, http is on loopback; elsewhere the settings say so.
        let client = if url.scheme() == "https" {
            &self.https
        } else {
            &self.plain
        };
        Ok((client, url))
    }
}

impl Carrier for Http {
    fn post<'a>(
        &'a self,
        member: &'a Origin,
        path: &'a str,
        message: Vec<u8>,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, PeerError>> {
        Box::pin(async move {
            let (client, url) = self.towards(member, path)?;
            let request = client
                .post(url.clone())
                .header(CONTENT_TYPE, message::CONTENT_TYPE)
                .body(message);
            let response = answered(request, &url).await?;
            if response.status() == StatusCode::OK {
                whole(response, &url, most).await
            } else {
                Err(refusal(response, &url).await)
            }
        })
    }

    fn get<'a>(
        &'a self,
        member: &'a Origin,
        path: &'a str,
        most: usize,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, PeerError>> {
        Box::pin(async move {
            let (client, url) = self.towards(member, path)?;
            let response = answered(client.get(url.clone()), &url).await?;
            match response.status() {
                StatusCode::OK => whole(response, &url, most).await.map(Some),
                StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
                _ => Err(refusal(response, &url).await),
            }
        })
    }
}

/// Whether a URL is an origin over HTTP, as a node can be reached at.
#[must_use]
pub fn is_address(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

async fn answered(request: RequestBuilder, url: &Url) -> Result<Response, PeerError> {
    request.send().await.map_err(|error| {
        let (url, why) = (url.to_string(), root_cause(&error));
        if error.is_connect() || error.is_builder() {
            PeerError::NotReached { url, why }
        } else {
            PeerError::NoAnswer { url, why }
        }
    })
}

/// The body, if it is no longer than `most`.
async fn whole(mut response: Response, url: &Url, most: usize) -> Result<Vec<u8>, PeerError> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) if bytes.len() + piece.len() <= most => bytes.extend_from_slice(&piece),
            Ok(Some(_)) => {
                return Err(PeerError::TooLong {
                    url: url.to_string(),
                    most,
                });
            }
            Ok(None) => return Ok(bytes),
            Err(error) => {
                return Err(PeerError::NoAnswer {
                    url: url.to_string(),
                    why: root_cause(&error),
                });
            }
        }
    }
}

/// What an answer other than 200 says.
async fn refusal(response: Response, url: &Url) -> PeerError {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let body = whole(response, url, limits::REFUSAL_BYTES_MAX).await;
    PeerError::of_problem(url.to_string(), status, retry_after, &body.unwrap_or_default())
}

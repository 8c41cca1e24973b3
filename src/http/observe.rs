//! What is measured and logged of every request: route, method, status and
//! time. No bodies, no keys, no queries.
//!
//! What names a request in the log is kept beside it, and made a span of only
//! where something is logged: nearly no request is.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use prometheus::{HistogramOpts, HistogramVec, Registry, exponential_buckets};
use tracing::{Level, Span};

use crate::node::access::AccessKey;
use crate::primitives::{Entropy, OsEntropy};

use super::HttpState;
use super::problem::Problem;
use super::unread::{Shared, held};

/// Names a request in answers and logs.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What HTTP counts, and how requests are named.
pub struct Observed {
    seconds: HistogramVec,
    start: u32,
    count: AtomicU64,
}

impl Observed {
    pub fn new(registry: &Registry) -> Self {
        let buckets = exponential_buckets(0.000_25, 2.0, 16).expect("constants that fit");
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "tallystick_http_request_seconds",
                "Time from a request's head until its answer is ready, by route, method and status",
            )
            .buckets(buckets),
            &["route", "method", "status"],
        )
        .expect("constants that fit");
        registry
            .register(Box::new(seconds.clone()))
            .expect("a registry without this name");
        let entropy: &dyn Entropy = &OsEntropy;
        Self {
            seconds,
            start: u32::from_be_bytes(entropy.bytes()),
            count: AtomicU64::new(0),
        }
    }

    /// Unique within this log, and, by the random start, beyond a restart.
    fn next_id(&self) -> HeaderValue {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:08x}-{count}", self.start);
        HeaderValue::try_from(id).expect("hexadecimal digits, a dash and digits")
    }
}

/// The request under way, as the log names it.
struct Current {
    id: HeaderValue,
    method: &'static str,
    key: OnceCell<Arc<AccessKey>>,
}

tokio::task_local! {
    static CURRENT: Current;
}

/// Remembers whose request it is.
pub fn note_key(key: &Arc<AccessKey>) {
    // Outside of a request there is nobody to remember it for.
    let _ = CURRENT.try_with(|current| current.key.set(Arc::clone(key)));
}

/// The span of the request under way, for whoever has something to log about it.
pub fn span() -> Span {
    let of = |current: &Current| {
        let id = current.id.to_str().unwrap_or_default();
        let key = current.key.get().map(|key| key.id.as_str());
        tracing::info_span!("request", id, method = current.method, key)
    };
    CURRENT.try_with(of).unwrap_or_else(|_| Span::none())
}

/// Measures and logs one request. A HEAD is routed as the GET that it stands
/// for; the connection leaves its body out (RFC 9110, section 9.3.2).
pub async fn observe(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let started = Instant::now();
    let state = request.app_data::<Data<HttpState>>().cloned();
    let state = state.expect("the configuration that adds this adds the state");
    let method = known_method(request.method());
    let current = Current {
        id: state.observed.next_id(),
        method,
        key: OnceCell::new(),
    };
    let id = current.id.clone();
    if request.method() == Method::HEAD {
        request.head_mut().method = Method::GET;
    }
    let shared = Shared::of(&mut request);
    let answered = async move {
        let response = next.call(request).await?;
        log_answer(&response, started);
        Ok::<_, actix_web::Error>(response)
    };
    let mut response = CURRENT.scope(current, answered).await?;
    let elapsed = started.elapsed();
    let route = route(&response);
    let status = response.status();
    state
        .observed
        .seconds
        .with_label_values(&[&route, method, status.as_str()])
        .observe(elapsed.as_secs_f64());
    response.headers_mut().insert(REQUEST_ID, id);
    Ok(held(response, shared))
}

/// One line for an answer, where such lines are wanted.
fn log_answer<B>(response: &ServiceResponse<B>, started: Instant) {
    if !tracing::enabled!(Level::DEBUG) {
        return;
    }
    let refused = response.response().error();
    let problem = refused.and_then(|error| error.as_error::<Problem>());
    let code = problem.map(|problem| problem.row().code);
    let (route, status) = (route(response), response.status().as_u16());
    let milliseconds = started.elapsed().as_secs_f64() * 1e3;
    span().in_scope(|| tracing::debug!(route, status, code, milliseconds, "answered"));
}

/// The answer's route, with its parameters' names.
fn route<B>(response: &ServiceResponse<B>) -> String {
    let pattern = response.request().match_pattern();
    pattern
        .filter(|_| is_known(response))
        .unwrap_or_else(|| "unmatched".to_owned())
}

/// False for what fell through all routes: its pattern would be its path.
fn is_known<B>(response: &ServiceResponse<B>) -> bool {
    response.response().extensions().get::<Unmatched>().is_none()
}

/// Marks an answer of the default service.
pub struct Unmatched;

/// Methods are labels: what clients make up must not become one.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

//! What is measured and logged of every request: route, method, status and
//! time. No bodies, no keys, no queries.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use prometheus::{HistogramOpts, HistogramVec, Registry, exponential_buckets};
use tracing::Instrument as _;
use tracing::field::Empty;

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
    fn next_id(&self) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        format!("{:08x}-{count}", self.start)
    }
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
    let id = state.observed.next_id();
    let method = known_method(request.method());
    if request.method() == Method::HEAD {
        request.head_mut().method = Method::GET;
    }
    let shared = Shared::of(&mut request);
    let span = tracing::info_span!("request", %id, method, key = Empty, code = Empty);
    let mut response = next.call(request).instrument(span.clone()).await?;
    let elapsed = started.elapsed();
    let route = response.request().match_pattern();
    let route = route
        .as_deref()
        .filter(|_| is_known(&response))
        .unwrap_or("unmatched");
    let status = response.status();
    let labels = [route, method, status.as_str()];
    state
        .observed
        .seconds
        .with_label_values(&labels)
        .observe(elapsed.as_secs_f64());
    let refused = response
        .response()
        .error()
        .and_then(|error| error.as_error::<Problem>());
    if let Some(problem) = refused {
        span.record("code", problem.row().code);
    }
    span.in_scope(|| {
        let milliseconds = elapsed.as_secs_f64() * 1e3;
        tracing::debug!(route, status = status.as_u16(), milliseconds, "answered");
    });
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    Ok(held(response, shared))
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

//! Floor 7: the node over HTTP, in JSON and COSE, described by OpenAPI.
//!
//! In scope: statuses and problem documents, access keys and roles, bodies,
//! `Idempotency-Key`, the public documents, metrics of HTTP. Out of scope: any
//! decision. The ledger's types know nothing of JSON, and this floor knows no
//! rule of the domain.
//!
//! A POST goes through, in this order: access key (401) and role (403),
//! `Idempotency-Key` (400), content type (415), the body, raw and capped
//! (413), JSON (400), register (403); then the node decides.

mod auth;
mod batches;
mod campaigns;
mod coupons;
mod entries;
mod erasures;
mod federation;
mod gossip;
mod mirrors;
mod negotiate;
mod observe;
mod openapi;
mod partners;
pub mod problem;
mod problem_table;
mod proofs;
mod public;
mod receipt_stream;
mod receipts;
mod redemptions;
mod request;
mod revocations;
pub mod scalars;
mod tiles;
mod unread;
mod witness;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::dev::Server;
use actix_web::http::{Method, header};
use actix_web::middleware::{Condition, DefaultHeaders, from_fn};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, HttpServer};
use prometheus::Registry;
use rustix::net::sockopt::set_tcp_user_timeout;

use crate::encoding::qr_text;
use crate::federation::entries::Archive;
use crate::federation::gossiper::Gossiper;
use crate::federation::redemption::{Issuer, Redeemer};
use crate::federation::{Rosters, Witness};
use crate::log::VerifierKey;
use crate::node::access::AccessKeys;
use crate::node::{EntryRef, Node};
use crate::primitives::limits;

pub use openapi::document as openapi_document;
pub(crate) use public::did_document;

/// What the node sends where a handler does not say otherwise: nothing of it
/// is a page, so nothing may be run, framed or guessed from it.
const DEFAULT_HEADERS: [(&str, &str); 4] = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    (
        "Content-Security-Policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("Cache-Control", "no-store"),
];

/// How long a browser may keep what a preflight said, in seconds.
const PREFLIGHT_SECONDS: usize = 600;

/// Which QR text answers carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QrForm {
    /// A link to this node's page: phones open it.
    #[default]
    Link,
    /// The digits alone, for tills whose scanners cut at `#`.
    Bare,
}

/// How HTTP is set up.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// The QR text of receipts and coupons.
    pub qr_form: QrForm,
    /// Origins whose pages may call the API; none unless named.
    pub cors_origins: Vec<String>,
    /// Whether `/metrics` is for everyone and not for loopback peers only.
    pub metrics_public: bool,
    /// Whether entries are for everyone and not for office and auditor keys only.
    pub entries_public: bool,
    /// Keys of the logs whose checkpoints are cosigned; none unless named.
    pub witness_logs: Vec<VerifierKey>,
    /// The roster of the federation that the node belongs to.
    pub rosters: Option<Arc<Rosters>>,
    /// What answers other members' requests.
    pub issuer: Option<Arc<Issuer>>,
    /// What answers other members that ask for entries.
    pub archive: Option<Arc<Archive>>,
    /// What redeems other members' coupons.
    pub redeemer: Option<Arc<Redeemer>>,
    /// What answers other members' gossip.
    pub gossiper: Option<Arc<Gossiper>>,
    /// Worker threads; one per core when `None`.
    pub workers: Option<usize>,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// How long a client may take to send a request's head, and again its body.
    pub client_timeout: Duration,
    /// How long an answer, or a part of it, may lie unread before the
    /// connection is given up.
    pub answer_timeout: Duration,
    /// Directories of mirrored logs, by the names that they are served under.
    pub mirrors: BTreeMap<String, PathBuf>,
    /// Connections that are served at a time; further ones wait.
    pub connections: usize,
    /// How long requests under way may take once shutdown has begun.
    pub shutdown_timeout: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            qr_form: QrForm::Link,
            cors_origins: Vec::new(),
            metrics_public: false,
            entries_public: false,
            witness_logs: Vec::new(),
            mirrors: BTreeMap::new(),
            rosters: None,
            issuer: None,
            archive: None,
            redeemer: None,
            gossiper: None,
            workers: None,
            keep_alive: Duration::from_secs(75),
            client_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(60),
            connections: limits::CONNECTIONS_DEFAULT,
            shutdown_timeout: Duration::from_secs(15),
        }
    }
}

/// What every handler works with.
pub struct HttpState {
    node: Node,
    keys: Arc<AccessKeys>,
    registry: Registry,
    options: HttpOptions,
    observed: observe::Observed,
    witness: Arc<Witness>,
    did_document: String,
}

impl HttpState {
    /// Joins a node with its access keys; HTTP's metrics go to `registry`,
    /// which `/metrics` shows.
    ///
    /// # Panics
    /// When `registry` has HTTP's metrics already.
    #[must_use]
    pub fn new(node: Node, keys: Arc<AccessKeys>, registry: Registry, options: HttpOptions) -> Arc<Self> {
        Arc::new(Self {
            observed: observe::Observed::new(&registry),
            witness: Witness::new(node.clone(), &options.witness_logs, &registry),
            did_document: public::did_document(
                &node.options().origin,
                &node.credential_keys(),
                &node.log_key(),
            ),
            node,
            keys,
            registry,
            options,
        })
    }

    /// The QR text of `credential`, in the form that is set.
    fn qr(&self, credential: &[u8]) -> String {
        match self.options.qr_form {
            QrForm::Link => qr_text::link(&self.node.options().origin, credential),
            QrForm::Bare => qr_text::encode_digits(credential),
        }
    }
}

/// Everything that is served, for `App::configure`: in the server, in tests
/// and in the demo alike.
pub fn app_config(state: Arc<HttpState>) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        let headers = DEFAULT_HEADERS
            .into_iter()
            .fold(DefaultHeaders::new(), DefaultHeaders::add);
        let cors = Condition::new(
            !state.options.cors_origins.is_empty(),
            cors(&state.options.cors_origins),
        );
        let everything = web::scope("")
            .wrap(cors)
            .wrap(headers.clone())
            .wrap(from_fn(observe::observe))
            .configure(|inner| {
                openapi::routes(&mut utoipa_actix_web::service_config::ServiceConfig::new(inner))
            })
            .configure(crate::web::configure)
            .default_service(web::to(public::unmatched));
        config
            .app_data(Data::from(state))
            .service(everything)
            // What has no path at all, such as `OPTIONS *`.
            .default_service(
                web::to(public::unmatched)
                    .wrap(headers)
                    .wrap(from_fn(observe::observe)),
            );
    }
}

/// What members ask of each other's nodes, and nothing else that is served: for
/// simulations, which would spend most of their time on making all the routes.
pub fn members_config(state: Arc<HttpState>) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        config
            .app_data(Data::from(state))
            .service(partners::post_partner_redemptions)
            .service(gossip::post_gossip)
            .service(entries::post_entries)
            .service(campaigns::get_campaign)
            .service(federation::roster_version)
            .service(proofs::get_consistency)
            .service(tiles::entry_bundle)
            .service(tiles::tile)
            .service(public::checkpoint)
            .default_service(web::to(public::unmatched));
    }
}

fn cors(origins: &[String]) -> Cors {
    let known = Cors::default()
        .allowed_methods([Method::GET, Method::POST])
        .allowed_headers([
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            request::IDEMPOTENCY_KEY,
            auth::RECEIPT_PROOF,
        ])
        .expose_headers([
            header::ETAG,
            header::LOCATION,
            header::RETRY_AFTER,
            observe::REQUEST_ID,
        ])
        .max_age(PREFLIGHT_SECONDS);
    origins
        .iter()
        .fold(known, |cors, origin| cors.allowed_origin(origin))
}

/// Serves on `listener` until `shutdown` is ready, and then finishes what was
/// accepted. Called inside a tokio runtime; workers have threads of their own.
/// The node is shut down by the caller, afterwards.
///
/// # Errors
/// When the listener cannot be used.
pub fn run(
    listener: TcpListener,
    state: Arc<HttpState>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = std::io::Result<()>> + Send + 'static {
    let server = server(listener, state, shutdown);
    async move { server?.await }
}

fn server(
    listener: TcpListener,
    state: Arc<HttpState>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<Server> {
    let options = state.options.clone();
    // A reader that takes nothing keeps its answer in memory: the system ends
    // its connection, and those that are accepted from a listener inherit that.
    let unread_ms = u32::try_from(options.answer_timeout.as_millis()).unwrap_or(u32::MAX);
    set_tcp_user_timeout(&listener, unread_ms)?;
    let workers = options
        .workers
        .unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
    let server = HttpServer::new(move || App::new().configure(app_config(Arc::clone(&state))))
        .keep_alive(options.keep_alive)
        .client_request_timeout(options.client_timeout)
        .shutdown_timeout(options.shutdown_timeout.as_secs())
        .tcp_nodelay(true)
        .h1_write_buffer_size(limits::ANSWER_PIECE_BYTES)
        .workers(workers)
        .max_connections(options.connections.div_ceil(workers))
        .shutdown_signal(shutdown);
    Ok(server.listen(listener)?.run())
}

/// An entry of the log.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
#[schema(as = Entry)]
struct EntryBody {
    /// Its index.
    #[schema(example = 41)]
    index: u64,
    /// Its hash, base64url.
    #[schema(example = "mJ2yJb5nH0YkqFv0m3K7m3Jx0l2y8b1dH9w7Z4T1u0E")]
    hash: String,
}

impl From<EntryRef> for EntryBody {
    fn from(entry: EntryRef) -> Self {
        Self {
            index: entry.index,
            hash: entry.hash.to_string(),
        }
    }
}

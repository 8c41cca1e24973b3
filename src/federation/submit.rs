//! The node's own checkpoints, sent to its witnesses (any that speak
//! c2sp.org/tlog-witness), in the background: what they cosign is verified and
//! kept, and no till waits for it.
//!
//! A round takes the newest checkpoint and asks every witness that has not
//! cosigned it, all at once; so the witnesses of a quorum cosign the same one. A
//! witness that fails is left alone for a while, twice as long each time.
//!
//! `answer` is the sans-IO part: what an answer of a witness means.

mod answer;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::time::{Instant, sleep, sleep_until, timeout};

pub use self::answer::{Answered, Exchange};
use crate::log::{AddCheckpoint, Checkpoint, Note, NoteSignature, Policy, VerifierKey};
use crate::node::{Node, NodeError};
use crate::primitives::limits::{
    COSIGNATURES_BYTES_MAX, WITNESS_ANSWER_SECONDS_MAX, WITNESS_ATTEMPTS_MAX, WITNESS_PAUSE_SECONDS_MAX,
    WITNESS_START_SECONDS_MAX,
};

/// A witness holds a larger log than the node does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the witness {witness} has cosigned this log at {held} entries, but the store holds {size}: entries that were \
     signed are missing, and going on would give out a second history. Stop the node, and fetch them back with \
     `tallystick recover`, or put the newer store back. Should you know the witness to be wrong, take it out of the \
     policy"
)]
pub struct Behind {
    /// The witness's name in the policy.
    pub witness: String,
    /// The size that it holds.
    pub held: u64,
    /// The node's.
    pub size: u64,
}

/// Why nothing can be sent to witnesses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The policy lists logs, and this node's is none of them.
    #[error("the policy lists logs, but not this node's: add a line `log {0}`")]
    NotListed(String),
    /// No witness has a URL.
    #[error(
        "no witness in the policy has a URL to send checkpoints to: write them as `witness NAME VKEY URL`, or take \
         witness_policy out of the config"
    )]
    NoUrl,
    /// A URL is none.
    #[error("the URL of the witness {witness} is none: {url}")]
    Url {
        /// The witness.
        witness: String,
        /// Its URL.
        url: String,
    },
    /// The HTTP client cannot be set up.
    #[error("the HTTP client for witnesses cannot be set up: {0}")]
    Client(String),
}

/// A witness that is sent checkpoints.
struct Target {
    name: String,
    key: VerifierKey,
    url: reqwest::Url,
    /// What it holds of this log, as far as is known.
    held: u64,
    /// Size that it cosigned last, in this run.
    cosigned: Option<u64>,
    failures: u32,
    not_before: Instant,
}

struct Metrics {
    requests_total: IntCounterVec,
    cosigned: IntGaugeVec,
    quorum: IntGauge,
    behind: IntGauge,
}

/// Sends the node's checkpoints to its witnesses.
pub struct Submitter {
    node: Node,
    policy: Policy,
    http: reqwest::Client,
    targets: Vec<Target>,
    every: Duration,
    metrics: Metrics,
    /// The checkpoint under way, with the lines that were gathered for it.
    gathered: (u64, String),
}

impl Submitter {
    /// Sends to the witnesses of `policy` that have a URL, at most every so
    /// often. The node itself may stand among them, and is left out.
    ///
    /// # Errors
    /// [`SubmitError`].
    ///
    /// # Panics
    /// When `registry` has these metrics already.
    pub fn new(
        node: Node,
        policy: Policy,
        every: Duration,
        registry: &Registry,
    ) -> Result<Self, SubmitError> {
        let logs = policy.logs();
        if !logs.is_empty() && !logs.iter().any(|log| log.key == node.log_key()) {
            return Err(SubmitError::NotListed(node.log_key().to_string()));
        }
        let kept = node.cosigned_newest();
        let mut targets = Vec::new();
        for witness in policy.witnesses() {
            let Some(url) = &witness.url else { continue };
            if witness.key.key() == node.witness_key().key() {
                continue;
            }
            let wrong = || SubmitError::Url {
                witness: witness.name.clone(),
                url: url.clone(),
            };
            let full = format!("{}/add-checkpoint", url.trim_end_matches('/'));
            let full = reqwest::Url::parse(&full).map_err(|_| wrong())?;
            if !matches!(full.scheme(), "http" | "https") {
                return Err(wrong());
            }
            // What it holds is asked for from what it cosigned last.
            let held = kept.as_ref().filter(|kept| {
                let note = Note::parse(kept.note.as_bytes());
                note.is_ok_and(|note| note.signatures().iter().any(|line| witness.key.made(line)))
            });
            targets.push(Target {
                name: witness.name.clone(),
                key: witness.key.clone(),
                url: full,
                held: held.map_or(0, |kept| kept.size),
                cosigned: None,
                failures: 0,
                not_before: Instant::now(),
            });
        }
        if targets.is_empty() {
            return Err(SubmitError::NoUrl);
        }
        let urls: Vec<_> = targets.iter().map(|target| target.url.clone()).collect();
        let within = Duration::from_secs(WITNESS_ANSWER_SECONDS_MAX);
        let http = http_client(&urls, within).map_err(SubmitError::Client)?;
        let metrics = Metrics::new(registry);
        if let Some(kept) = node.cosigned_by_quorum() {
            metrics.quorum.set(i64::try_from(kept.size).unwrap_or(i64::MAX));
        }
        Ok(Self {
            metrics,
            gathered: (0, String::new()),
            node,
            policy,
            http,
            targets,
            every,
        })
    }

    /// Asks every witness once, for a short time: a node that has lost entries
    /// is to learn it before it serves. A witness that does not answer says
    /// nothing.
    ///
    /// # Errors
    /// [`Behind`] when one holds a larger log than the node.
    pub async fn check_before_serving(&mut self) -> Result<(), Behind> {
        let within = Duration::from_secs(WITNESS_START_SECONDS_MAX);
        match timeout(within, self.round()).await {
            Ok(behind) => behind.map_or(Ok(()), Err),
            Err(_) => {
                tracing::warn!(
                    "not every witness has answered within {WITNESS_START_SECONDS_MAX} s; the others hold nothing that \
                     this node has not"
                );
                Ok(())
            }
        }
    }

    /// Works until it is dropped, or the node stops.
    pub async fn run(mut self) {
        loop {
            let next = Instant::now() + self.every;
            if let Some(behind) = self.round().await {
                tracing::error!("{behind}");
            }
            if self.node.stopped().is_some() {
                return;
            }
            sleep_until(next).await;
            // Nothing new, and nobody to be asked again: wait on.
            while !self.is_due() {
                sleep(self.every).await;
            }
        }
    }

    fn is_due(&self) -> bool {
        let (size, now) = (self.node.size(), Instant::now());
        self.targets
            .iter()
            .any(|target| target.cosigned != Some(size) && target.not_before <= now)
    }

    /// Asks every witness that has not cosigned the newest checkpoint. Gives
    /// the first that holds a larger log.
    async fn round(&mut self) -> Option<Behind> {
        let note = self.node.checkpoint();
        let Ok(own) = Checkpoint::open(note.as_bytes(), &self.node.log_key()) else {
            return None;
        };
        let now = Instant::now();
        // It carries what was kept for it, a round that was broken off included.
        self.gathered = (own.size, note.to_string());
        let mut asked: FuturesUnordered<_> = self
            .targets
            .iter()
            .enumerate()
            .filter(|(_, target)| target.cosigned != Some(own.size) && target.not_before <= now)
            .map(|(index, target)| {
                let exchange = Exchange::new(target.held, own.size);
                let (node, http) = (self.node.clone(), self.http.clone());
                let (url, key, note) = (target.url.clone(), target.key.clone(), Arc::clone(&note));
                async move { (index, ask(&node, &http, url, &key, &note, exchange).await) }
            })
            .collect();
        let mut behind = None;
        while let Some((index, (held, outcome))) = asked.next().await {
            self.targets[index].held = held;
            behind = behind.or(self.took(index, own.size, outcome).await);
        }
        self.metrics.behind.set(i64::from(behind.is_some()));
        behind
    }

    /// Takes in what became of asking a witness.
    async fn took(&mut self, index: usize, size: u64, outcome: Outcome) -> Option<Behind> {
        let name = self.targets[index].name.clone();
        let count = |result: &str| {
            self.metrics
                .requests_total
                .with_label_values(&[&name, result])
                .inc();
        };
        let failed = match outcome {
            Outcome::Cosigned(line) => {
                count("cosigned");
                match self.keep(size, line).await {
                    Ok(()) => {
                        self.targets[index].cosigned = Some(size);
                        self.targets[index].failures = 0;
                        let gauge = self.metrics.cosigned.with_label_values(&[&name]);
                        gauge.set(i64::try_from(size).unwrap_or(i64::MAX));
                        return None;
                    }
                    Err(error) => format!("its cosignature is not kept: {error}"),
                }
            }
            Outcome::Behind(held) => {
                count("behind");
                self.postpone(index);
                // The log may have grown meanwhile, and the witness with it.
                let size = self.node.size();
                return (held > size).then_some(Behind {
                    witness: name,
                    held,
                    size,
                });
            }
            Outcome::Inconsistent => {
                count("inconsistent");
                self.postpone(index);
                tracing::error!(
                    witness = name,
                    size,
                    "a witness does not find this log consistent with what it cosigned before: either it is wrong, or \
                     this log has two histories. Compare its checkpoint with this log (`tallystick audit --checkpoint`)"
                );
                return None;
            }
            Outcome::Failed(why) => {
                count("failed");
                why
            }
        };
        tracing::warn!(witness = name, size, "a witness has not cosigned: {failed}");
        self.postpone(index);
        None
    }

    fn postpone(&mut self, index: usize) {
        let target = &mut self.targets[index];
        let doubled = self.every * 2_u32.saturating_pow(target.failures.min(16));
        target.failures = target.failures.saturating_add(1);
        target.not_before = Instant::now() + doubled.min(Duration::from_secs(WITNESS_PAUSE_SECONDS_MAX));
    }

    /// Adds a verified line to the checkpoint under way, durably.
    async fn keep(&mut self, size: u64, line: NoteSignature) -> Result<(), NodeError> {
        let inconsistent = |error: crate::log::LogError| NodeError::Inconsistent(error.to_string());
        let (_, whole) = &mut self.gathered;
        let mut note = Note::parse(whole.as_bytes()).map_err(inconsistent)?;
        note.replace(line);
        let text = note.to_string();
        let witnesses: Vec<VerifierKey> = self
            .policy
            .witnesses()
            .iter()
            .map(|witness| witness.key.clone())
            .collect();
        let open = Checkpoint::open_cosigned(text.as_bytes(), &self.node.log_key(), &witnesses)
            .map_err(inconsistent)?;
        let by: Vec<&VerifierKey> = open.cosigned.iter().map(|signed| signed.key).collect();
        let is_quorum = self.policy.asks_for_witnesses() && self.policy.is_met(&by);
        self.node.keep_cosigned(&text, is_quorum).await?;
        *whole = text;
        if is_quorum {
            self.metrics.quorum.set(i64::try_from(size).unwrap_or(i64::MAX));
        }
        Ok(())
    }
}

/// What became of asking a witness.
enum Outcome {
    /// Its line, verified.
    Cosigned(NoteSignature),
    /// It holds so many entries, more than the checkpoint has.
    Behind(u64),
    /// It says that the checkpoint does not continue what it holds.
    Inconsistent,
    /// Anything else.
    Failed(String),
}

/// Asks one witness until it has cosigned, or says why not; with what it holds.
async fn ask(
    node: &Node,
    http: &reqwest::Client,
    url: reqwest::Url,
    key: &VerifierKey,
    note: &str,
    mut exchange: Exchange,
) -> (u64, Outcome) {
    for _ in 0..WITNESS_ATTEMPTS_MAX {
        let proof = match node.consistency(exchange.old(), Some(exchange.size())) {
            Ok(proof) => proof.path.iter().map(|hash| hash.0).collect(),
            Err(error) => return (exchange.old(), Outcome::Failed(error.to_string())),
        };
        let request = AddCheckpoint {
            old: exchange.old(),
            proof,
            note: note.to_owned(),
        };
        let (status, media, body) = match post(http, url.clone(), request.to_string()).await {
            Ok(answer) => answer,
            Err(why) => return (exchange.old(), Outcome::Failed(why)),
        };
        match exchange.answered(status, &media, &body) {
            Answered::Lines(lines) => {
                return match verified(note, key, &lines) {
                    Some(line) => (exchange.size(), Outcome::Cosigned(line)),
                    None => (
                        exchange.old(),
                        Outcome::Failed("it answered without a good cosignature by its key".to_owned()),
                    ),
                };
            }
            Answered::Again => {}
            Answered::Behind(held) => return (exchange.old(), Outcome::Behind(held)),
            Answered::Inconsistent => return (exchange.old(), Outcome::Inconsistent),
            Answered::Refused(why) => return (exchange.old(), Outcome::Failed(why)),
        }
    }
    let why = "it names another size each time that it is asked".to_owned();
    (exchange.old(), Outcome::Failed(why))
}

/// Of the lines the one by `key`, if it cosigns `note`; lines of other keys are
/// ignored.
fn verified(note: &str, key: &VerifierKey, lines: &[NoteSignature]) -> Option<NoteSignature> {
    let line = lines.iter().find(|line| key.made(line))?;
    let mut alone = Note::new(Note::parse(note.as_bytes()).ok()?.text()).ok()?;
    alone.push(line.clone());
    alone.verify(std::slice::from_ref(key)).ok()?;
    Some(line.clone())
}

/// A client for `urls`, which answers within `within` or not at all, and goes nowhere
/// else.
pub(super) fn http_client(urls: &[reqwest::Url], within: Duration) -> Result<reqwest::Client, String> {
    // A second time this fails, and the first one's choice holds.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .timeout(within)
        .redirect(reqwest::redirect::Policy::none());
    if urls.iter().all(|url| url.scheme() == "http") {
        // Loopback: no proxy is asked, and no certificates are needed.
        builder = builder.no_proxy().tls_certs_only([]);
    }
    builder.build().map_err(|error| error.to_string())
}

/// Status, media type and text of a witness's answer.
async fn post(
    http: &reqwest::Client,
    url: reqwest::Url,
    body: String,
) -> Result<(u16, String, String), String> {
    let sent = http.post(url).header("Content-Type", "text/plain").body(body);
    let (status, media, body) = answer_of(sent, COSIGNATURES_BYTES_MAX).await?;
    Ok((status, media, String::from_utf8_lossy(&body).into_owned()))
}

/// Status, media type and body of the answer, which is read up to `most` bytes.
pub(super) async fn answer_of(
    request: reqwest::RequestBuilder,
    most: usize,
) -> Result<(u16, String, Vec<u8>), String> {
    // The cause says more than the sentence about the URL.
    let said = |error: reqwest::Error| {
        let error = error.without_url();
        match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        }
    };
    let mut response = request.send().await.map_err(said)?;
    let status = response.status().as_u16();
    let media = response.headers().get("content-type");
    let media = media
        .and_then(|media| media.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(said)? {
        if bytes.len() + piece.len() > most {
            return Err("its answer is too long".to_owned());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok((status, media, bytes))
}

impl Metrics {
    fn new(registry: &Registry) -> Self {
        let opts = |name: &str, help: &str| Opts::new(name, help);
        let metrics = Self {
            requests_total: IntCounterVec::new(
                opts(
                    "tallystick_cosigning_requests_total",
                    "Checkpoints that were sent to this node's witnesses, by witness and what became of them",
                ),
                &["witness", "result"],
            )
            .expect("constants that fit"),
            cosigned: IntGaugeVec::new(
                opts(
                    "tallystick_cosigned_entries",
                    "Size of this log in the checkpoint that a witness cosigned last",
                ),
                &["witness"],
            )
            .expect("constants that fit"),
            quorum: IntGauge::with_opts(opts(
                "tallystick_cosigned_by_quorum_entries",
                "Size of this log in the newest checkpoint that a quorum has cosigned",
            ))
            .expect("constants that fit"),
            behind: IntGauge::with_opts(opts(
                "tallystick_behind_witness",
                "1 when a witness holds a larger log than this node: entries are lost",
            ))
            .expect("constants that fit"),
        };
        let all: [Box<dyn prometheus::core::Collector>; 4] = [
            Box::new(metrics.requests_total.clone()),
            Box::new(metrics.cosigned.clone()),
            Box::new(metrics.quorum.clone()),
            Box::new(metrics.behind.clone()),
        ];
        for collector in all {
            registry
                .register(collector)
                .expect("a registry without these names");
        }
        metrics
    }
}

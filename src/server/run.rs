//! Serving a node until it is told to stop, or its writer has stopped.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::{Config, OpenedNode, ServerError, federation, files};
use crate::federation::keeper::Keeper;
use crate::federation::{Submitter, mirrored};
use crate::http::{self, HttpOptions, HttpState};
use crate::log::Policy;
use crate::node::Node;
use crate::primitives::{Clock, Entropy, OsEntropy, SystemClock};

/// How often the writer is looked after: the process ends within a second of
/// its stopping.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// Serves until SIGINT or SIGTERM, then finishes what was accepted and closes
/// the node. A second signal ends the process at once.
///
/// # Errors
/// [`ServerError`] when the server cannot run, or the writer has stopped.
pub fn until_signal(opened: &OpenedNode, listener: TcpListener) -> Result<(), ServerError> {
    runtime()?.block_on(async {
        let stop = signals().map_err(ServerError::Http)?;
        serve(opened, listener, stop).await
    })
}

/// Serves until `stop` completes, then finishes what was accepted and closes
/// the node.
///
/// # Errors
/// [`ServerError`] when the server cannot run, or the writer has stopped.
pub async fn serve(
    opened: &OpenedNode,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServerError> {
    let address = listener.local_addr().map_err(ServerError::Http)?;
    let partners = federation::partners(opened)?;
    let state = HttpState::new(
        opened.node.clone(),
        Arc::clone(&opened.access),
        opened.registry.clone(),
        HttpOptions {
            qr_form: opened.config.qr_form,
            cors_origins: opened.config.cors_origins.clone(),
            metrics_public: opened.config.metrics_public,
            entries_public: opened.config.entries_public,
            witness_logs: opened.config.witness_logs.clone(),
            mirrors: served_mirrors(&opened.config),
            rosters: opened.rosters.clone(),
            issuer: partners.as_ref().map(|partners| Arc::clone(&partners.issuer)),
            archive: partners.as_ref().map(|partners| Arc::clone(&partners.archive)),
            redeemer: partners.as_ref().map(|partners| Arc::clone(&partners.redeemer)),
            gossiper: partners.as_ref().map(|partners| Arc::clone(&partners.gossiper)),
            workers: opened.config.workers,
            connections: files::connections(opened.config.connections),
            ..HttpOptions::default()
        },
    );
    say_opened(opened, address);
    compare_with_others(opened).await?;
    let witnesses = match &opened.policy {
        Some(policy) => Some(submitter(opened, policy).await?),
        None => None,
    };
    opened.node.compared();
    let _keeper = keeper(opened)?;
    let gossiper = partners.as_ref().map(|partners| Arc::clone(&partners.gossiper));
    tracing::info!("listening on http://{address}");
    let asking = async {
        if let Some(partners) = partners {
            tokio::join!(partners.redeemer.run(), partners.gossiper.run());
        }
        std::future::pending::<Infallible>().await
    };
    let submitting = async {
        match witnesses {
            Some(submitter) => submitter.run().await,
            None => std::future::pending().await,
        }
        // It ends with the writer only, which is looked after below.
        std::future::pending::<Infallible>().await
    };
    let stop = async {
        stop.await;
        tracing::info!("stopping: finishing what was accepted");
    };
    tokio::select! {
        served = http::run(listener, state, stop) => {
            opened.node.shut_down().await;
            tracing::info!(entries = opened.node.size(), "stopped");
            served.map_err(ServerError::Http)
        }
        never = submitting => match never {},
        never = asking => match never {},
        // Nothing under way can be finished any more, so nothing is waited for.
        why = writer_stopped(&opened.node) => {
            if let Some(gossiper) = &gossiper {
                gossiper.part().await;
            }
            let stopped_by = gossiper.as_ref().and_then(|gossiper| gossiper.stopped_by());
            Err(match stopped_by {
                Some(lost) => ServerError::Convicted(lost.clone()),
                None => ServerError::WriterStopped(why),
            })
        }
    }
}

/// A node that is served by a thread of this process.
pub struct Serving {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

impl Serving {
    /// Serves on a free loopback port.
    ///
    /// # Errors
    /// [`ServerError`] when there is no port or no thread.
    pub fn start(opened: OpenedNode) -> Result<Self, ServerError> {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener =
            TcpListener::bind(address).map_err(|source| ServerError::Listen { address, source })?;
        Self::on(opened, listener)
    }

    /// Serves on `listener`, which already takes connections in.
    ///
    /// # Errors
    /// [`ServerError`] when there is no thread.
    pub fn on(opened: OpenedNode, listener: TcpListener) -> Result<Self, ServerError> {
        let address = listener.local_addr().map_err(ServerError::Http)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("tallystick-server".to_owned())
            .spawn(move || {
                runtime()?.block_on(serve(&opened, listener, async {
                    // A sender that is gone wants the node to stop, too.
                    let _ = stopped.await;
                }))
            })
            .map_err(ServerError::Http)?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, for clients in this process.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Finishes what was accepted and closes the node.
    ///
    /// # Errors
    /// [`ServerError`] when the server had failed.
    pub fn stop(mut self) -> Result<(), ServerError> {
        self.end()
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// [`ServerError`] when the server had failed.
    pub fn wait(mut self) -> Result<(), ServerError> {
        let stop = self.stop.take();
        let ended = self.end();
        drop(stop);
        ended
    }

    fn end(&mut self) -> Result<(), ServerError> {
        drop(self.stop.take());
        match self.thread.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(failed)) => failed,
            Some(Err(_)) => Err(ServerError::Http(std::io::Error::other("its thread panicked"))),
        }
    }
}

impl Drop for Serving {
    /// The store is to be closed before the directory is used again.
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "the server ended with an error");
        }
    }
}

/// Learns from mirrors and witnesses that nothing was lost, before a node is worked on
/// that is not served.
///
/// # Errors
/// [`ServerError`] when one holds more of the log than the node, or another history;
/// the node is closed then.
pub fn compare_before_work(opened: &OpenedNode) -> Result<(), ServerError> {
    let compare = || {
        runtime()?.block_on(async {
            compare_with_others(opened).await?;
            if let Some(policy) = &opened.policy {
                submitter(opened, policy).await?;
            }
            opened.node.compared();
            Ok(())
        })
    };
    // The caller may be in a runtime of its own.
    std::thread::scope(|scope| {
        let thread = scope.spawn(compare);
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What sends the node's checkpoints to its witnesses, after it has learnt from
/// them that nothing was lost.
async fn submitter(opened: &OpenedNode, policy: &Policy) -> Result<Submitter, ServerError> {
    let every = Duration::from_secs(opened.config.witness_seconds);
    let mut submitter = Submitter::new(opened.node.clone(), policy.clone(), every, &opened.registry)?;
    if let Err(behind) = submitter.check_before_serving().await {
        opened.node.shut_down().await;
        return Err(behind.into());
    }
    Ok(submitter)
}

/// Nothing is served that a mirror of this log, or another member, knows to be behind, or
/// another history.
async fn compare_with_others(opened: &OpenedNode) -> Result<(), ServerError> {
    let chain = opened.rosters.as_ref().map(|rosters| rosters.chain());
    let directory = chain.as_ref().and_then(|chain| chain.directory());
    let with_members = async {
        match (&opened.peers, directory) {
            (Some(peers), Some(directory)) if opened.asks_members => {
                mirrored::check_with_members(&opened.node, peers, directory).await
            }
            _ => Ok(()),
        }
    };
    if !opened.config.mirrored_at.is_empty() || (opened.asks_members && directory.is_some()) {
        tracing::info!("comparing this log with what mirrors and members hold of it");
    }
    let with_mirrors = mirrored::check_before_serving(&opened.node, &opened.config.mirrored_at);
    let own = opened.node.options().origin.did_web();
    let is_forgiven = opened.config.federation_forgiven.contains(&own);
    // Gossip was heard before: what has stopped the node once is still there.
    let known = if is_forgiven {
        Ok(())
    } else {
        mirrored::check_with_gossip(&opened.node)
    };
    let compared = match known {
        Ok(()) => tokio::try_join!(with_mirrors, with_members).map(|_| ()),
        lost => lost,
    };
    if compared.is_err() {
        opened.node.shut_down().await;
    }
    Ok(compared?)
}

/// What keeps the mirrors, as long as it lives.
fn keeper(opened: &OpenedNode) -> Result<Option<Keeper>, ServerError> {
    if opened.mirrors.is_empty() {
        return Ok(None);
    }
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::new(SystemClock), Arc::new(OsEntropy));
    Keeper::start(&opened.mirrors, &opened.registry, &clock, &entropy)
        .map(Some)
        .map_err(ServerError::Http)
}

fn served_mirrors(config: &Config) -> BTreeMap<String, PathBuf> {
    let mirrors = config.mirrors.iter();
    mirrors
        .map(|(name, mirror)| (name.clone(), mirror.dir.clone()))
        .collect()
}

fn say_opened(opened: &OpenedNode, address: SocketAddr) {
    for note in &opened.report.notes {
        tracing::warn!("{note}");
    }
    tracing::info!(
        entries = opened.report.size,
        read_again = opened.report.replayed,
        "opened the log of {}",
        opened.config.base_url
    );
    if !address.ip().is_loopback() {
        tracing::warn!(
            "{address} is not loopback: keys travel in the clear unless a proxy with TLS stands in front"
        );
    }
}

async fn writer_stopped(node: &Node) -> String {
    loop {
        if let Some(why) = node.stopped() {
            return why;
        }
        sleep(WATCH_EVERY).await;
    }
}

/// Completes with the first SIGINT or SIGTERM; the second ends the process.
fn signals() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
        tokio::spawn(async move {
            tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
            tracing::warn!("a second signal: stopping at once");
            std::process::exit(1);
        });
    })
}

fn runtime() -> Result<Runtime, ServerError> {
    // The workers bring runtimes of their own; this one only waits.
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServerError::Http)
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;

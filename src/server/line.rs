//! A line between two nodes that can be cut: a TCP proxy on loopback, for the
//! playground and for tests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What becomes of what goes over the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// It arrives.
    Whole,
    /// Nothing arrives: connections are closed.
    Cut,
    /// Requests arrive, and their answers get lost.
    AnswersLost,
}

/// A proxy in front of one node.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    line: AtomicU8,
    delay_ms: AtomicU64,
    target: std::sync::Mutex<SocketAddr>,
}

impl State {
    fn line(&self) -> Line {
        match self.line.load(Ordering::SeqCst) {
            0 => Line::Whole,
            1 => Line::Cut,
            _ => Line::AnswersLost,
        }
    }

    async fn delay(&self) {
        let delay = self.delay_ms.load(Ordering::SeqCst);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
    }
}

impl Proxy {
    /// A whole line to `target`.
    ///
    /// # Errors
    /// When loopback has no port left.
    pub async fn to(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            line: AtomicU8::new(0),
            delay_ms: AtomicU64::new(0),
            target: std::sync::Mutex::new(target),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self {
            address,
            state,
            accepting,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the line, for connections that are open too.
    pub fn set(&self, line: Line) {
        let number = match line {
            Line::Whole => 0,
            Line::Cut => 1,
            Line::AnswersLost => 2,
        };
        self.state.line.store(number, Ordering::SeqCst);
    }

    /// Delays each piece that goes over it.
    pub fn delay(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.state.delay_ms.store(ms, Ordering::SeqCst);
    }

    /// What is not as it should be with it, in words.
    #[must_use]
    pub fn told(&self) -> Option<String> {
        let delay = self.state.delay_ms.load(Ordering::SeqCst);
        match (self.state.line(), delay) {
            (Line::Whole, 0) => None,
            (Line::Whole, delay) => Some(format!("{delay} ms late")),
            (Line::Cut, _) => Some("cut".to_owned()),
            (Line::AnswersLost, _) => Some("answers get lost".to_owned()),
        }
    }

    /// Leads elsewhere from now on: the node has started anew on another port.
    ///
    /// # Panics
    /// When a task that held the address has panicked.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.state.target.lock().expect("nothing panics with it") = target;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let target = *state.target.lock().expect("nothing panics with it");
            if state.line() == Line::Cut {
                return;
            }
            let Ok(node) = TcpStream::connect(target).await else {
                return;
            };
            let _ = (client.set_nodelay(true), node.set_nodelay(true));
            let (from_client, to_client) = client.into_split();
            let (from_node, to_node) = node.into_split();
            // When one direction ends the connection does.
            tokio::select! {
                () = pump(from_client, to_node, &state, &[Line::Whole, Line::AnswersLost]) => {}
                () = pump(from_node, to_client, &state, &[Line::Whole]) => {}
            }
        });
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State, passes: &[Line]) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length) = from.read(&mut piece).await {
        if length == 0 || !passes.contains(&state.line()) {
            return;
        }
        state.delay().await;
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

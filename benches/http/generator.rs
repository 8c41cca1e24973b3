//! A load generator: keep-alive connections that each send one prepared
//! request after another and wait for the whole answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What one round showed.
pub struct Round {
    pub requests: usize,
    pub elapsed: Duration,
    /// Sorted.
    pub latencies: Vec<Duration>,
    /// Answers other than 200 and 201.
    pub failed: usize,
}

impl Round {
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    pub fn quantile(&self, q: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies
            .get((last as f64 * q) as usize)
            .copied()
            .unwrap_or_default()
    }
}

/// Sends every one of `requests` once, over `connections` connections.
pub async fn run(server: SocketAddr, connections: usize, requests: Arc<Vec<Vec<u8>>>) -> Round {
    let next = Arc::new(AtomicUsize::new(0));
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect(server).await.expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        streams.push(stream);
    }
    let started = Instant::now();
    let tasks: Vec<_> = streams
        .into_iter()
        .map(|stream| tokio::spawn(connection(stream, Arc::clone(&requests), Arc::clone(&next))))
        .collect();
    let mut latencies = Vec::with_capacity(requests.len());
    let mut failed = 0;
    for task in tasks {
        let (times, bad) = task.await.expect("a connection does not panic");
        latencies.extend(times);
        failed += bad;
    }
    let elapsed = started.elapsed();
    latencies.sort_unstable();
    Round {
        requests: requests.len(),
        elapsed,
        latencies,
        failed,
    }
}

async fn connection(
    mut stream: TcpStream,
    requests: Arc<Vec<Vec<u8>>>,
    next: Arc<AtomicUsize>,
) -> (Vec<Duration>, usize) {
    let mut times = Vec::new();
    let mut failed = 0;
    let mut buffer = Vec::with_capacity(4096);
    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
        let sent = Instant::now();
        stream.write_all(request).await.expect("the server reads");
        let status = answer(&mut stream, &mut buffer).await;
        times.push(sent.elapsed());
        if !(200..=201).contains(&status) {
            if failed == 0 {
                eprintln!("{}", String::from_utf8_lossy(&buffer));
            }
            failed += 1;
        }
    }
    (times, failed)
}

/// Reads one answer with a `content-length` and gives its status.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> u16 {
    buffer.clear();
    let mut needed = None;
    loop {
        let read = stream.read_buf(buffer).await.expect("the server writes");
        assert!(read > 0, "the server closed the connection");
        if needed.is_none() {
            needed = whole_length(buffer);
        }
        if needed.is_some_and(|needed| buffer.len() >= needed) {
            let status = std::str::from_utf8(&buffer[9..12]).expect("a status line");
            return status.parse().expect("a status");
        }
    }
}

fn whole_length(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&buffer[..head])
        .expect("headers are ASCII")
        .to_ascii_lowercase();
    let length = text
        .split("content-length: ")
        .nth(1)
        .expect("an answer with content-length");
    let length: usize = length.split("\r\n").next()?.parse().expect("a number");
    Some(head + length)
}

/// A whole POST request.
pub fn post(path: &str, key: &str, idempotency_key: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n\
         idempotency-key: {idempotency_key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends one request on a connection of its own and reads its JSON answer.
pub async fn ask(server: SocketAddr, request: &[u8]) -> serde_json::Value {
    let mut stream = TcpStream::connect(server).await.expect("the server listens");
    stream.write_all(request).await.expect("the server reads");
    let mut buffer = Vec::new();
    let status = answer(&mut stream, &mut buffer).await;
    let text = String::from_utf8_lossy(&buffer);
    assert!((200..=201).contains(&status), "{text}");
    let body = text.split("\r\n\r\n").nth(1).expect("a body");
    serde_json::from_str(body).expect("JSON")
}

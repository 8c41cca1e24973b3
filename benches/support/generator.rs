//! A load generator: one thread, keep-alive connections that each send one
//! prepared request after another and wait for the whole answer.
//!
//! It shares the cores with the server that it measures, so it spends little: a
//! `write` and a `read` a request, and one `epoll_wait` for all answers that
//! have come.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// What one round showed.
pub struct Round {
    /// Answered.
    pub requests: usize,
    /// From the first request sent to the last answer read.
    pub elapsed: Duration,
    /// From a request's sending to its whole answer, sorted.
    pub latencies: Vec<Duration>,
    /// Answers other than 200 and 201.
    pub failed: usize,
}

impl Round {
    /// Answers a second.
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that a share `q` of the requests stayed within, in milliseconds.
    pub fn quantile_ms(&self, q: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let latency = self.latencies.get((last as f64 * q) as usize);
        latency.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}

struct Connection {
    stream: TcpStream,
    sent: Instant,
    answer: Vec<u8>,
    /// Length of the whole answer, once its head has come.
    needed: Option<usize>,
}

/// Sends every one of `requests` once, over `connections` connections.
pub fn run(server: SocketAddr, connections: usize, requests: &[Vec<u8>]) -> Round {
    let mut poll = Poll::new().expect("epoll");
    let mut events = Events::with_capacity(connections);
    let mut open: Vec<_> = (0..connections)
        .map(|number| connect(&poll, server, number))
        .collect();
    let mut left = requests.iter();
    let mut latencies = Vec::with_capacity(requests.len());
    let (mut failed, mut under_way) = (0, 0);
    let started = Instant::now();
    for connection in &mut open {
        under_way += usize::from(send_next(connection, &mut left));
    }
    while under_way > 0 {
        match poll.poll(&mut events, Some(Duration::from_secs(60))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled.expect("epoll"),
        }
        assert!(!events.is_empty(), "the server has not answered for a minute");
        for event in &events {
            let connection = &mut open[event.token().0];
            let Some(status) = read_answer(connection) else {
                continue;
            };
            latencies.push(connection.sent.elapsed());
            if !(200..=201).contains(&status) {
                if failed == 0 {
                    eprintln!("{}", String::from_utf8_lossy(&connection.answer));
                }
                failed += 1;
            }
            under_way -= 1;
            under_way += usize::from(send_next(connection, &mut left));
        }
    }
    let elapsed = started.elapsed();
    latencies.sort_unstable();
    Round {
        requests: latencies.len(),
        elapsed,
        latencies,
        failed,
    }
}

fn connect(poll: &Poll, server: SocketAddr, number: usize) -> Connection {
    let stream = std::net::TcpStream::connect(server).expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_nonblocking(true).expect("a TCP socket");
    let mut stream = TcpStream::from_std(stream);
    poll.registry()
        .register(&mut stream, Token(number), Interest::READABLE)
        .expect("epoll");
    Connection {
        stream,
        sent: Instant::now(),
        answer: Vec::with_capacity(4096),
        needed: None,
    }
}

fn send_next<'a>(connection: &mut Connection, left: &mut impl Iterator<Item = &'a Vec<u8>>) -> bool {
    let Some(request) = left.next() else { return false };
    connection.answer.clear();
    connection.needed = None;
    connection.sent = Instant::now();
    let mut rest = &request[..];
    while !rest.is_empty() {
        match connection.stream.write(rest) {
            Ok(written) => rest = &rest[written..],
            // Requests are far smaller than a socket's buffer.
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => panic!("the server does not read: {error}"),
        }
    }
    true
}

/// The status, once the whole answer has come: then nothing more comes before
/// the next request, so the socket need not be read until it is empty.
fn read_answer(connection: &mut Connection) -> Option<u16> {
    let mut piece = [0; 16 * 1024];
    loop {
        match connection.stream.read(&mut piece) {
            Ok(0) => panic!("the server closed the connection"),
            Ok(read) => connection.answer.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("the server does not write: {error}"),
        }
        if connection.needed.is_none() {
            connection.needed = whole_length(&connection.answer);
        }
        if connection
            .needed
            .is_some_and(|needed| connection.answer.len() >= needed)
        {
            let status = std::str::from_utf8(&connection.answer[9..12]).expect("a status line");
            return Some(status.parse().expect("a status"));
        }
    }
}

/// Length of head and body of an answer whose head has come whole.
fn whole_length(answer: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length: ";
    let mut at = 0;
    let mut length = None;
    loop {
        let end = at + answer[at..].iter().position(|byte| *byte == b'\n')?;
        let line = &answer[at..end];
        if line == b"\r" {
            return Some(end + 1 + length.expect("an answer with content-length"));
        }
        if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
            let number = std::str::from_utf8(&line[NAME.len()..]).expect("digits");
            length = Some(number.trim_end().parse::<usize>().expect("a number"));
        }
        at = end + 1;
    }
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
pub fn ask(server: SocketAddr, request: &[u8]) -> serde_json::Value {
    let mut stream = std::net::TcpStream::connect(server).expect("the server listens");
    stream.write_all(request).expect("the server reads");
    let mut answer = Vec::new();
    let mut piece = [0; 16 * 1024];
    let needed = loop {
        let read = stream.read(&mut piece).expect("the server writes");
        assert!(read > 0, "the server closed the connection");
        answer.extend_from_slice(&piece[..read]);
        if let Some(needed) = whole_length(&answer).filter(|needed| answer.len() >= *needed) {
            break needed;
        }
    };
    let text = String::from_utf8_lossy(&answer[..needed]);
    let (head, body) = text.split_once("\r\n\r\n").expect("a body");
    assert!(head[9..].starts_with("20"), "{text}");
    serde_json::from_str(body).expect("JSON")
}

//! Many connections that do nothing, or next to nothing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tallystick::http::HttpOptions;
use tallystick::testkit::{TestNode, repeats};

use super::lab::{Lab, until_end};
use crate::cli::PATIENCE;
use crate::http;

/// Connections of each crowd; both ends of all are open files of this machine.
const CROWD: u32 = 2_000;

/// Memory of one idle connection, with room: two buffers of 8 KiB and its state.
const CONNECTION_KIB_MAX: u64 = 40;

/// Memory of one connection whose answers are not read, with room: a buffer that
/// has grown by doubling, and the requests that wait behind.
const UNREAD_KIB_MAX: u64 = 800;

#[test]
fn two_thousand_idle_connections_take_little_and_tills_go_first() {
    let lab = Lab::new(200);
    let before = lab.memory("VmRSS:");
    let till = lab.till();
    // Some never say anything, some ask and stay, some stop within a head.
    let join = |n: u32| {
        let said: &[u8] = match n % 3 {
            0 => b"",
            1 => b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
            _ => b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-long",
        };
        let mut stream = lab.connect();
        stream.write_all(said).unwrap();
        stream
    };
    let mut crowd: Vec<TcpStream> = (0..CROWD).map(join).collect();
    for stream in crowd.iter_mut().skip(1).step_by(3) {
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200");
    }
    let grown = lab.memory("VmRSS:").saturating_sub(before);
    println!(
        "{CROWD} connections: {grown} KiB more, {} KiB each",
        grown / u64::from(CROWD)
    );
    assert!(grown < u64::from(CROWD) * CONNECTION_KIB_MAX, "{grown} KiB");
    till.was_served();
    // Who does not finish a head is told so, and is gone.
    let till = lab.till();
    for stream in crowd.iter_mut().skip(2).step_by(3) {
        assert!(until_end(stream).starts_with("HTTP/1.1 408"));
    }
    till.was_served();
    drop(crowd);
    lab.check();
}

#[test]
fn a_trickle_of_a_head_or_a_body_ends_in_time() {
    let lab = Lab::new(200);
    let till = lab.till();
    let count = repeats(50, 500);
    let head = format!("{}content-length: 500\r\n\r\n", lab.head());
    // Heads and bodies, a byte at a time.
    let mut slow: Vec<TcpStream> = (0..count).map(|_| lab.connect()).collect();
    for (n, stream) in slow.iter_mut().enumerate() {
        let first = if n % 2 == 0 {
            &head[..head.len() - 4]
        } else {
            &head
        };
        stream.write_all(first.as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    }
    let begin = Instant::now();
    let mut piece = [0; 1_024];
    // Each round sends each one a byte, and waits a little for its answer.
    while !slow.is_empty() {
        assert!(begin.elapsed() < 2 * PATIENCE, "{} are still there", slow.len());
        slow.retain_mut(|stream| {
            let sent = stream.write(b"x");
            match stream.read(&mut piece) {
                Ok(read) => {
                    let said = String::from_utf8_lossy(&piece[..read]);
                    assert!(read == 0 || said.starts_with("HTTP/1.1 4"), "{said}");
                    false
                }
                Err(error) => error.kind() == ErrorKind::WouldBlock && sent.is_ok(),
            }
        });
    }
    till.was_served();
    lab.check();
}

#[test]
fn who_asks_and_does_not_read_is_given_up() {
    let lab = Lab::new(200);
    // The answer itself is made once, and kept.
    lab.answer(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let before = lab.memory("VmRSS:");
    let till = lab.till();
    let count: u32 = 100;
    // As many large answers as a connection takes, none of them read.
    let asked = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(64);
    let streams: Vec<TcpStream> = (0..count)
        .map(|_| {
            let mut stream = lab.connect();
            stream.write_all(asked.as_bytes()).unwrap();
            stream
        })
        .collect();
    till.was_served();
    let grown = lab.memory("VmRSS:").saturating_sub(before);
    println!(
        "{count} that do not read: {grown} KiB more, {} KiB each",
        grown / u64::from(count)
    );
    // Each holds a part of one answer, whatever it asked for.
    assert!(grown < u64::from(count) * UNREAD_KIB_MAX, "{grown} KiB");
    lab.check();
    // The node ends them by itself, after a minute.
    if repeats(0, 1) == 0 {
        return;
    }
    let till = lab.till();
    let begin = Instant::now();
    while streams.iter().any(is_served) {
        assert!(begin.elapsed() < 4 * PATIENCE, "some are still there");
    }
    till.was_served();
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends_with_its_connection() {
    let options = HttpOptions {
        answer_timeout: Duration::from_millis(500),
        ..HttpOptions::default()
    };
    let served = http::client::Served::with(TestNode::in_memory(61), options).await;
    let mut stream = TcpStream::connect(served.base.trim_start_matches("http://")).unwrap();
    let asked = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    stream.write_all(asked.as_bytes()).unwrap();
    let begin = Instant::now();
    while is_served(&stream) {
        assert!(begin.elapsed() < PATIENCE, "it is still there");
        tokio::task::yield_now().await;
    }
    served.get("/healthz", "").await.ok();
}

/// False once the node's end of the connection is gone, by the system's table:
/// an end that does not read is not told.
fn is_served(stream: &TcpStream) -> bool {
    let (own, node) = (
        stream.local_addr().unwrap().port(),
        stream.peer_addr().unwrap().port(),
    );
    let ends = format!(":{node:04X} 0100007F:{own:04X} 01 ");
    std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&ends)
}

//! A small server of files, which may answer anything.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tallystick::testkit::log::TestLog;

/// What is answered at a path.
#[derive(Clone, Debug)]
pub enum Reply {
    File(Vec<u8>),
    /// Status line after the version, headers, body.
    Other(&'static str, &'static str, Vec<u8>),
    /// A body without end.
    Endless,
    /// The connection is closed once the request has come.
    Nothing,
}

type Replies = Arc<Mutex<BTreeMap<String, Reply>>>;

/// A log on a port of its own.
pub struct Host {
    pub url: String,
    replies: Replies,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    pub fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let replies = Replies::default();
        let stopped = Arc::new(AtomicBool::new(false));
        let (served, stop) = (Arc::clone(&replies), Arc::clone(&stopped));
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let served = Arc::clone(&served);
                // A client that goes away in the middle is no fault of the server.
                std::thread::spawn(move || connection.and_then(|stream| answer(&stream, &served)));
            }
        });
        Self {
            url,
            replies,
            stopped,
            thread: Some(thread),
        }
    }

    /// Serves what `log` has now, and nothing else.
    pub fn serve(&self, log: &TestLog) {
        let files = log.files().into_iter();
        *self.replies.lock().unwrap() = files.map(|(path, bytes)| (path, Reply::File(bytes))).collect();
    }

    pub fn set(&self, path: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    /// Changes a file that is served.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        match self.replies.lock().unwrap().get_mut(path) {
            Some(Reply::File(bytes)) => change(bytes),
            other => panic!("{path} is {other:?}"),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let address = self.url.strip_prefix("http://").unwrap();
        // Wakes the thread that accepts.
        if TcpStream::connect(address).is_ok() {
            let _ = self.thread.take().unwrap().join();
        }
    }
}

fn answer(stream: &TcpStream, replies: &Replies) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line
        .split(' ')
        .nth(1)
        .unwrap_or_default()
        .trim_start_matches('/')
        .to_owned();
    let mut posted = 0;
    while line != "\r\n" && !line.is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
        let lower = line.to_ascii_lowercase();
        if let Some(length) = lower.strip_prefix("content-length:") {
            posted = length.trim().parse().unwrap();
        }
    }
    std::io::copy(&mut reader.take(posted), &mut std::io::sink())?;
    let reply = replies.lock().unwrap().get(&path).cloned();
    let reply = reply.unwrap_or_else(|| Reply::Other("404 Not Found", "", Vec::new()));
    let (status, headers, body) = match reply {
        Reply::File(bytes) => ("200 OK", "", bytes),
        Reply::Other(status, headers, body) => (status, headers, body),
        Reply::Nothing => return Ok(()),
        Reply::Endless => {
            let mut stream = stream;
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b'x'; 4096])?;
            }
        }
    };
    let mut stream = stream;
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)
}

//! A node in a process of its own, raw connections to it, and a till that
//! redeems and sells all the while.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::{PATIENCE, Place, Served, sale};

/// A till's call takes a few milliseconds; this is for a machine that has more
/// to do, and still no time for which a customer waits.
const TILL_WITHIN: Duration = Duration::from_secs(10);

/// More than the program needs at rest and in work (some 60 MiB), much less
/// than any of the attacks sends.
const MEMORY_KIB_MAX: u64 = 256 * 1024;

pub struct Lab {
    place: Place,
    served: Served,
    coupons: Vec<Value>,
}

impl Lab {
    /// A served node with `coupons` coupons.
    pub fn new(coupons: u32) -> Self {
        let place = Place::at("http://127.0.0.1:8080");
        let served = place.serve_on("127.0.0.1:0");
        let url = served.url().to_owned();
        let node = ["--node", &url, "--key", place.key("office_key"), "--json"];
        let json = |args: &[&str]| place.json(&[args, &node].concat());
        let terms = [
            "campaign",
            "create",
            "--name",
            "Spring",
            "--currency",
            "EUR",
            "--amount-off",
            "200",
        ];
        let campaign = json(&[&terms[..], &["--not-after", "+30d"]].concat());
        let count = coupons.to_string();
        let issued = json(&["issue", campaign["id"].as_str().unwrap(), "--count", &count]);
        let coupons = issued["coupons"].as_array().unwrap().clone();
        Self {
            place,
            served,
            coupons,
        }
    }

    /// The head of a POST of receipts, without what says how long its body is.
    pub fn head(&self) -> String {
        format!(
            "POST /v1/receipts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nidempotency-key: k\r\n\
             content-type: application/json\r\n",
            self.place.key("till_key")
        )
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub fn address(&self) -> String {
        self.served.url().trim_start_matches("http://").to_owned()
    }

    /// What the node answers to `request` until it ends the connection.
    pub fn answer(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // A node that has refused already may have ended the connection.
        let _ = stream.write_all(request);
        until_end(&mut stream)
    }

    /// Asserts that memory is bounded, and that the node still answers.
    pub fn check(&self) {
        let most = self.memory("VmHWM:");
        assert!(most < MEMORY_KIB_MAX, "the node took {most} KiB");
        let answer = self.answer(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// A line of `/proc/PID/status`, in KiB.
    pub fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.served.pid())).unwrap();
        let (_, rest) = status.split_once(line).unwrap();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Begins to redeem a coupon and to sell, in turn.
    pub fn till(&self) -> Till {
        let stop = Arc::new(AtomicBool::new(false));
        let (url, key) = (
            self.served.url().to_owned(),
            self.place.key("till_key").to_owned(),
        );
        let (coupons, stopped) = (self.coupons.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || work(&url, &key, &coupons, &stopped));
        Till { stop, thread }
    }
}

/// What comes until the connection ends.
pub fn until_end(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let mut piece = [0; 4_096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => said.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&said)),
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// A till at work.
pub struct Till {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u32, Duration)>,
}

impl Till {
    /// Ends it: it got its answers, each in time.
    pub fn was_served(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (calls, longest) = self.thread.join().unwrap();
        println!("{calls} calls of a till meanwhile, the longest took {longest:?}");
        assert!(calls >= 2, "only {calls} calls");
        assert!(longest < TILL_WITHIN, "a till waited {longest:?}");
    }
}

fn work(url: &str, key: &str, coupons: &[Value], stop: &AtomicBool) -> (u32, Duration) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // A connection for each call: a new one has to be let in, too.
    let client = reqwest::blocking::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .timeout(PATIENCE)
        .build()
        .unwrap();
    let post = |path: &str, name: &str, body: &Value| {
        let request = client.post(format!("{url}{path}")).bearer_auth(key);
        let request = request.header("idempotency-key", name).json(body);
        let begin = Instant::now();
        let answer = request.send().unwrap();
        assert_eq!(answer.status(), 201, "{}", answer.text().unwrap());
        begin.elapsed()
    };
    let (mut calls, mut longest) = (0, Duration::ZERO);
    while calls < 2 || !stop.load(Ordering::Relaxed) {
        let name = format!("under-attack-{calls}");
        let took = match coupons.get(calls as usize / 2) {
            Some(coupon) if calls % 2 == 0 => {
                let body = json!({
                    "coupon": coupon["qr"], "register": "till-1", "till_reference": name,
                    "basket": {"total": 1_850, "currency": "EUR"},
                });
                post("/v1/redemptions", &name, &body)
            }
            _ => {
                let mut body = sale();
                body["till_reference"] = json!(name);
                post("/v1/receipts", &name, &body)
            }
        };
        longest = longest.max(took);
        calls += 1;
    }
    (calls, longest)
}

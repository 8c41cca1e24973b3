//! Servers as processes of their own, and what they have spent.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::generator::{ask, post};

/// Ticks of `/proc/PID/stat` a second: fixed in Linux's interface to programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// A server in a process that ends with this value.
pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Processor time that it has used, in seconds; steps of 10 ms.
    pub fn processor_seconds(&self) -> f64 {
        processor_seconds(&self.child.id().to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time of a process (`self`, or its number), in seconds; NaN where
/// there is no `/proc`.
pub fn processor_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The second field is a name in parentheses; user and system time are the
    // 14th and 15th of all.
    let after = stat.rsplit(')').next().unwrap_or_default();
    let mut fields = after.split_whitespace().skip(11).map(str::parse::<f64>);
    match (fields.next(), fields.next()) {
        (Some(Ok(user)), Some(Ok(system))) => (user + system) / TICKS_PER_SECOND,
        _ => f64::NAN,
    }
}

/// Serves the node in `directory`, once it answers.
fn serve(directory: &Path, address: SocketAddr, workers: usize) -> Server {
    let child = Command::new(env!("CARGO_BIN_EXE_tallystick"))
        .arg("serve")
        .arg(directory)
        .args(["--listen", &address.to_string()])
        .args(["--workers", &workers.to_string()])
        .stderr(Stdio::null())
        .spawn()
        .expect("serve runs");
    while TcpStream::connect(address).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    Server { child, address }
}

/// A node as `tallystick serve` runs it, in a directory below `place`.
pub struct ServedNode {
    pub server: Server,
    pub till: String,
    pub office: String,
}

impl ServedNode {
    pub fn start(place: &Path, workers: usize) -> Self {
        let program = env!("CARGO_BIN_EXE_tallystick");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let directory = place.join("node");
        let made = Command::new(program)
            .arg("init")
            .arg(&directory)
            .args(["--json", "--base-url", &format!("http://{address}")])
            .output()
            .expect("init runs");
        let made: Value = serde_json::from_slice(&made.stdout).expect("init prints JSON");
        let key = |name: &str| made[name].as_str().expect("init prints keys").to_owned();
        Self {
            server: serve(&directory, address, workers),
            till: key("till_key"),
            office: key("office_key"),
        }
    }

    /// The same node in a new process, at the same address.
    #[allow(dead_code, reason = "not every bench changes a node's settings")]
    pub fn restarted(self, place: &Path, workers: usize) -> Self {
        let Self { server, till, office } = self;
        let address = server.address;
        drop(server);
        Self {
            server: serve(&place.join("node"), address, workers),
            till,
            office,
        }
    }

    /// QR texts of `count` new coupons of a new campaign.
    pub fn issue(&self, count: usize) -> Vec<String> {
        let call = |path: &str, name: &str, body: Value| {
            let request = post(path, &self.office, name, &body.to_string());
            ask(self.server.address, &request)
        };
        let terms = json!({"name": "Bench", "text": "", "currency": "EUR",
            "benefit": {"kind": "amount_off", "amount": 200},
            "not_before": "2020-01-01T00:00:00Z", "not_after": "2100-01-01T00:00:00Z"});
        let campaign = call("/v1/campaigns", "campaign", terms);
        let mut coupons = Vec::with_capacity(count);
        while coupons.len() < count {
            let body = json!({"campaign": campaign["id"], "count": (count - coupons.len()).min(1_000)});
            let answer = call("/v1/coupons", &format!("coupons-{}", coupons.len()), body);
            let issued = answer["coupons"].as_array().expect("coupons");
            let text = |coupon: &Value| coupon["qr"].as_str().expect("a QR text").to_owned();
            coupons.extend(issued.iter().map(text));
        }
        coupons
    }

    /// A redemption of each coupon; `round` keeps keys of different rounds apart.
    pub fn redemptions(&self, round: &str, coupons: &[String]) -> Vec<Vec<u8>> {
        let request = |(number, coupon)| {
            let name = format!("redemption-{round}-{number}");
            let body = json!({"coupon": coupon, "register": "till-1", "till_reference": name,
                              "basket": {"total": 2500, "currency": "EUR"}});
            post("/v1/redemptions", &self.till, &name, &body.to_string())
        };
        coupons.iter().enumerate().map(request).collect()
    }

    /// Receipts of five lines, some 700 bytes each, over 64 registers.
    #[allow(dead_code, reason = "another bench sells nothing")]
    pub fn receipts(&self, round: &str, count: usize) -> Vec<Vec<u8>> {
        let line = |number: u32| {
            json!({"description": format!("Article {number}"), "quantity": "1", "unit_price": "1.07",
                   "total": 107, "tax_rate": "7.00"})
        };
        let request = |number: usize| {
            let name = format!("receipt-{round}-{number}");
            let body = json!({"register": format!("lane-{}", number % 64), "till_reference": name, "type": "sale",
                "currency": "EUR", "prices_include_tax": true, "lines": (1..=5).map(line).collect::<Vec<_>>(),
                "taxes": [{"rate": "7.00", "net": 500, "tax": 35}],
                "tenders": [{"kind": "cash", "amount": 535}], "total": 535});
            post("/v1/receipts", &self.office, &name, &body.to_string())
        };
        (0..count).map(request).collect()
    }
}

/// The middle one of `values`.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

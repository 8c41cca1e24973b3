//! The playground's nodes, and the lines between them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::federation::found::found;
use super::super::{output, ports};
use super::halves::Compared;
use super::journey::Shop;
use crate::primitives::{Origin, Register};
use crate::server::federation::with_setting;
use crate::server::line::Proxy;
use crate::server::{Initialised, NewDir, NodeDir};

/// How long a node may take to answer after it was started.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// One node.
struct Member {
    name: String,
    made: Initialised,
    address: SocketAddr,
    process: Option<Child>,
    coupons: Vec<String>,
}

/// All of them.
pub struct Valley {
    root: PathBuf,
    is_kept: bool,
    members: Vec<Member>,
    /// The line from one to another, by their places.
    lines: BTreeMap<(usize, usize), Proxy>,
}

impl Valley {
    /// Makes and starts `count` nodes, each with `coupons` coupons.
    ///
    /// # Errors
    /// When one cannot be made or started.
    pub async fn start(count: usize, dir: Option<PathBuf>, coupons: u32) -> anyhow::Result<Self> {
        let is_kept = dir.is_some();
        let root = dir.unwrap_or_else(|| {
            std::env::temp_dir().join(format!("tallystick-playground-{}", std::process::id()))
        });
        std::fs::create_dir_all(&root).with_context(|| format!("{} cannot be made", root.display()))?;
        let mut valley = Self {
            root,
            is_kept,
            members: Vec::new(),
            lines: BTreeMap::new(),
        };
        valley.make(count)?;
        valley.connect().await?;
        let dirs: Vec<&NodeDir> = valley
            .members
            .iter()
            .map(|member| &member.made.directory)
            .collect();
        let federation = found("Playground", &dirs)?;
        for member in &mut valley.members {
            member.serve(&valley.root)?;
        }
        for member in &mut valley.members {
            member.wait().await?;
            let (url, key) = (member.url(), member.made.office_key.to_string());
            member.coupons = aside(|| {
                let office = Client::new(&url, Some(&key))?;
                federation.publish(&office)?;
                sample(&office, &member.name, coupons)
            })?;
        }
        Ok(valley)
    }

    fn make(&mut self, count: usize) -> anyhow::Result<()> {
        // Held until all are known, so that no two get the same port.
        let mut held = Vec::new();
        for number in 1..=count {
            let listener = ports::spare()?;
            let address = listener.local_addr().context("a listener has an address")?;
            held.push(listener);
            let name = format!("coop-{number}");
            let new = NewDir {
                base_url: Origin::parse(&format!("http://{address}"))?,
                name: name.clone(),
                register: Register::new("till-1")?,
                guard: None,
                passphrase: None,
            };
            let made = NodeDir::create(&self.root.join(&name), &new)?;
            self.members.push(Member {
                name,
                made,
                address,
                process: None,
                coupons: Vec::new(),
            });
        }
        Ok(())
    }

    /// Lays a line from each node to each other, and tells the nodes to take them.
    async fn connect(&mut self) -> anyhow::Result<()> {
        for from in 0..self.members.len() {
            let mut reach = Vec::new();
            for to in (0..self.members.len()).filter(|to| *to != from) {
                let target = &self.members[to];
                let line = Proxy::to(target.address)
                    .await
                    .context("no loopback port is free")?;
                reach.push(format!("\"{}\" = \"http://{}\"", target.url(), line.address()));
                self.lines.insert((from, to), line);
            }
            let path = self.members[from].made.directory.config_file();
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let text = with_setting(&text, "federation_reach", &format!("{{ {} }}", reach.join(", ")));
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Changes both directions of the line between two nodes.
    ///
    /// # Errors
    /// When a name is of no node, or both are of one.
    pub fn between(&self, one: &str, other: &str, change: impl Fn(&Proxy)) -> anyhow::Result<()> {
        let (one, other) = (self.place(one)?, self.place(other)?);
        ensure!(one != other, "a line is between two nodes");
        for pair in [(one, other), (other, one)] {
            change(&self.lines[&pair]);
        }
        Ok(())
    }

    fn place(&self, name: &str) -> anyhow::Result<usize> {
        let found = self.members.iter().position(|member| member.name == name);
        found.with_context(|| {
            let names: Vec<&str> = self.members.iter().map(|member| member.name.as_str()).collect();
            format!("there is no node {name}; there are {}", names.join(", "))
        })
    }

    /// Ends a node's process at once.
    ///
    /// # Errors
    /// When the name is of no node, or it does not run.
    pub fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        let place = self.place(name)?;
        let mut process = self.members[place]
            .process
            .take()
            .with_context(|| format!("{name} does not run"))?;
        process
            .kill()
            .with_context(|| format!("{name} cannot be killed"))?;
        process.wait().with_context(|| format!("{name} was not ended"))?;
        Ok(())
    }

    /// Starts a node again.
    ///
    /// # Errors
    /// When the name is of no node, it runs already, or it does not answer.
    pub async fn start_again(&mut self, name: &str) -> anyhow::Result<()> {
        let place = self.place(name)?;
        let root = self.root.clone();
        let member = &mut self.members[place];
        ensure!(!member.runs(), "{name} runs already");
        member.serve(&root)?;
        member.wait().await
    }

    /// Stops all nodes; what is not kept is removed.
    ///
    /// # Errors
    /// When a directory cannot be removed.
    pub fn stop(mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            member.end();
        }
        if self.is_kept {
            output::note(&format!("The nodes' directories stay: {}", self.root.display()));
            return Ok(());
        }
        std::fs::remove_dir_all(&self.root)
            .with_context(|| format!("{} could not be removed", self.root.display()))
    }

    /// What was started, for programs.
    pub fn to_json(&self) -> Value {
        let nodes = self.members.iter().map(|member| {
            json!({
                "name": member.name,
                "url": member.url(),
                "did": member.did(),
                "directory": member.made.directory.root(),
                "till_key": member.made.till_key.as_str(),
                "office_key": member.made.office_key.as_str(),
                "coupons": member.coupons,
            })
        });
        json!({"nodes": nodes.collect::<Vec<_>>()})
    }

    /// The same for people.
    pub fn told(&self) -> String {
        let mut out = String::new();
        for member in &self.members {
            let _ = writeln!(
                out,
                "{}  {}\n  till key    {}\n  office key  {}\n  a coupon    {}",
                member.name,
                member.url(),
                member.made.till_key.as_str(),
                member.made.office_key.as_str(),
                member.coupons.first().map_or("none", String::as_str)
            );
        }
        let (Some(at), Some(of)) = (self.members.get(1), self.members.first()) else {
            return out;
        };
        let body = json!({"coupon": of.coupons.first(), "register": "till-1", "till_reference": "try/1",
                          "basket": {"total": 2500, "currency": "EUR"}});
        let _ = write!(
            out,
            "\nRedeem a coupon of {} at {}:\n  curl -sS {}/v1/redemptions -H 'Authorization: Bearer {}' -H 'Idempotency-Key: try-1' \
             -H 'Content-Type: application/json' -d '{body}'",
            of.name,
            at.name,
            at.url(),
            at.made.till_key.as_str()
        );
        out
    }

    /// Clients of all nodes.
    ///
    /// # Errors
    /// When none can be made.
    pub fn shops(&self) -> anyhow::Result<Vec<Shop>> {
        let shop = |member: &Member| {
            Ok(Shop {
                till: Client::new(&member.url(), Some(member.made.till_key.as_str()))?,
                office: Client::new(&member.url(), Some(member.made.office_key.as_str()))?,
            })
        };
        self.members.iter().map(shop).collect()
    }

    /// Holds the halves in all logs against each other.
    ///
    /// # Errors
    /// When a node does not answer.
    pub fn compare(&self) -> anyhow::Result<Compared> {
        let nodes: Vec<_> = self.members.iter().map(Member::did).zip(self.shops()?).collect();
        Compared::read(
            &nodes
                .into_iter()
                .map(|(did, shop)| (did, shop.office))
                .collect::<Vec<_>>(),
        )
    }

    /// Who runs, and where lines lead.
    pub fn status(&mut self) -> String {
        let mut out = Vec::new();
        for member in &mut self.members {
            let state = if member.runs() { "runs" } else { "does not run" };
            out.push(format!("{}  {}  {state}", member.name, member.url()));
        }
        for ((from, to), line) in &self.lines {
            if let Some(told) = line.told() {
                out.push(format!(
                    "{} to {}: {told}",
                    self.members[*from].name, self.members[*to].name
                ));
            }
        }
        out.join("\n")
    }
}

impl Drop for Valley {
    fn drop(&mut self) {
        for member in &mut self.members {
            member.end();
        }
    }
}

impl Member {
    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn serve(&mut self, root: &Path) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("this program cannot be found")?;
        let log = root.join(format!("{}.log", self.name));
        let log = File::options().create(true).append(true).open(&log);
        let log = log.with_context(|| format!("{} has no log file", self.name))?;
        let process = Command::new(program)
            .arg("serve")
            .arg(self.made.directory.root())
            .args(["--listen", &self.address.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.name))?;
        self.process = Some(process);
        Ok(())
    }

    async fn wait(&mut self) -> anyhow::Result<()> {
        let until = tokio::time::Instant::now() + ANSWERS_WITHIN;
        while tokio::net::TcpStream::connect(self.address).await.is_err() {
            ensure!(self.runs(), "{} ended at once: see its log file", self.name);
            ensure!(
                tokio::time::Instant::now() < until,
                "{} does not answer: see its log file",
                self.name
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Whether its process is there; it may have ended by itself.
    fn runs(&mut self) -> bool {
        let process = self.process.as_mut();
        process.is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    fn did(&self) -> String {
        format!("did:web:127.0.0.1%3A{}", self.address.port())
    }

    fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Does work that blocks in a thread of its own, and so out of the runtime that drives
/// the lines.
///
/// # Errors
/// Those of the work.
pub fn aside<T: Send>(work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    let done = std::thread::scope(|scope| scope.spawn(work).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A campaign, and some coupons of it.
fn sample(office: &Client, name: &str, count: u32) -> anyhow::Result<Vec<String>> {
    let campaign = json!({
        "name": format!("2 euros off, by {name}"), "text": "For members of all co-ops of the playground",
        "currency": "EUR", "benefit": {"kind": "amount_off", "amount": 200},
        "not_before": "2020-01-01T00:00:00Z", "not_after": "2100-01-01T00:00:00Z",
        "reversal_window_seconds": 86_400,
    });
    let campaign = office.post("/v1/campaigns", "playground-campaign", &campaign.to_string())?;
    let order = json!({"campaign": campaign["id"], "count": count});
    let issued = office.post("/v1/coupons", "playground-coupons", &order.to_string())?;
    let texts = issued["coupons"].as_array().into_iter().flatten();
    Ok(texts
        .filter_map(|coupon| coupon["qr"].as_str().map(ToOwned::to_owned))
        .collect())
}

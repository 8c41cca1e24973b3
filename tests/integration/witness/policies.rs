//! Policies by which others judge a log: audits and monitors.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tallystick::federation::Submitter;
use tallystick::log::Policy;
use tallystick::testkit::TestNode;
use tallystick::testkit::node::ScratchDir;
use tokio::task::JoinHandle;

use super::by_hand::HandWitness;
use super::serving::witness_of;
use super::submitting::{sell, text, until};
use crate::http::client::Served;

/// A log with a witness, and policies that others hold.
struct Watched {
    log: Served,
    witness: Served,
    dir: ScratchDir,
    task: Option<JoinHandle<()>>,
}

impl Watched {
    async fn new(seed: u64) -> Self {
        let log = Served::start(TestNode::new("https://a.example", seed, false)).await;
        let key = log.node.node.log_key();
        let witness = witness_of(TestNode::new("https://b.example", seed + 1, false), vec![key]).await;
        Self {
            log,
            witness,
            dir: ScratchDir::new(),
            task: None,
        }
    }

    fn witness_line(&self) -> String {
        let vkey = self.witness.node.node.witness_key();
        format!("witness b {vkey} {}\n", self.witness.base)
    }

    fn policy(&self, name: &str, lines: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, lines).unwrap();
        path
    }

    /// Sends checkpoints to the witness until one of the whole log is cosigned.
    async fn cosign(&mut self) {
        let node = self.log.node.node.clone();
        let policy = format!("{}quorum b\n", self.witness_line());
        let policy = Policy::parse(policy.as_bytes()).unwrap();
        let every = std::time::Duration::from_millis(20);
        let submitter = Submitter::new(node.clone(), policy, every, &prometheus::Registry::new());
        self.task = Some(tokio::spawn(submitter.unwrap().run()));
        until("the cosignature", || {
            node.cosigned_by_quorum()
                .is_some_and(|kept| kept.size == node.size())
        })
        .await;
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    async fn stop(self) {
        self.log.stop().await;
        self.witness.stop().await;
    }

    /// A command about the log by its URL, and what it prints.
    async fn asked(&self, command: &str, more: &[&str]) -> (i32, Value) {
        let (url, key) = (self.log.base.clone(), self.log.node.auditor_key.clone());
        let vkey = self.log.node.node.log_key().to_string();
        let mut args = vec![command, &url, "--key", &key, "--log-key", &vkey, "--json"];
        args.extend(more);
        ran(&args).await
    }
}

async fn ran(args: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallystick"));
    command.env_remove("TALLYSTICK_KEY").args(args);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code().unwrap(), json)
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The rules of the findings, and their sentences.
fn findings(report: &Value) -> Vec<(&str, &str)> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .map(|finding| {
            let detail = finding["message"].as_str().or(finding["detail"].as_str());
            (finding["rule"].as_str().unwrap(), detail.unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_judges_a_log_by_a_policy() {
    let mut watched = Watched::new(171).await;
    let line = watched.witness_line();
    let stranger = HandWitness::new("c.example", 53).vkey();
    let one = watched.policy("one", &format!("{line}quorum b\n"));
    let both = watched.policy(
        "both",
        &format!("{line}witness c {stranger}\ngroup both all b c\nquorum both\n"),
    );
    let foreign = watched.policy(
        "foreign",
        &format!("log {}\n{line}quorum b\n", watched.witness.node.node.log_key()),
    );
    sell(&watched.log, "a/1").await;
    // Nobody has cosigned anything.
    let (code, report) = watched.asked("audit", &["--policy", shown(&one)]).await;
    assert_eq!(code, 20, "{report}");
    let [(rule, why)] = findings(&report)[..] else {
        panic!("{report}");
    };
    assert_eq!(rule, "no_quorum");
    assert!(why.contains("none of its witnesses"), "{why}");

    watched.cosign().await;
    let cosigned = watched.log.node.node.size();
    let note = text(&watched.log, "/checkpoint").await;
    let (code, report) = watched.asked("audit", &["--policy", shown(&one)]).await;
    assert_eq!((code, &report["verdict"]), (0, &json!("clean")), "{report}");
    let source = report["compared_with"][0]["source"].as_str().unwrap();
    assert!(
        source.contains("a quorum of the policy's witnesses has cosigned"),
        "{source}"
    );
    for (policy, said) in [(&both, "only b.example"), (&foreign, "is none of them")] {
        let (code, report) = watched.asked("audit", &["--policy", shown(policy)]).await;
        let found = findings(&report);
        assert_eq!((code, found.len(), found[0].0), (20, 1, "no_quorum"), "{report}");
        assert!(found[0].1.contains(said), "{report}");
    }

    // The log goes on: what a quorum vouches for is told, in a part too.
    sell(&watched.log, "a/2").await;
    for part in [&[][..], &["--from", "1"]] {
        let mut args = vec!["--policy", shown(&one)];
        args.extend(part);
        let (code, report) = watched.asked("audit", &args).await;
        assert_eq!(code, 0, "{report}");
        let notes = report["notes"].to_string();
        let said = format!("vouches for the first {cosigned} entries; for the 1 after them");
        assert!(notes.contains(&said), "{notes}");
    }
    // A checkpoint with a cosignature that was made up is refused, wherever it is from.
    let (body, lines) = note.split_once("\n\n").unwrap();
    let mut forged: Vec<String> = lines.lines().map(ToOwned::to_owned).collect();
    let last = forged.last_mut().unwrap();
    let (head, signature) = last.rsplit_once(' ').unwrap();
    let mut bytes = data_encoding::BASE64.decode(signature.as_bytes()).unwrap();
    bytes[40] ^= 1;
    *last = format!("{head} {}", data_encoding::BASE64.encode(&bytes));
    let forged = watched.policy("forged", &format!("{body}\n\n{}\n", forged.join("\n")));
    let (code, report) = watched
        .asked(
            "audit",
            &["--policy", shown(&one), "--checkpoint", shown(&forged)],
        )
        .await;
    let found = findings(&report);
    assert_eq!(
        (code, found.len(), found[0].0),
        (20, 1, "cosignature_wrong"),
        "{report}"
    );
    watched.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_and_a_mirror_judge_by_a_policy() {
    let mut watched = Watched::new(181).await;
    let one = watched.policy("one", &format!("{}quorum b\n", watched.witness_line()));
    let state = watched.dir.path().join("state");
    let monitor = ["--policy", shown(&one), "--once", "--state", shown(&state)];
    sell(&watched.log, "a/1").await;
    let (code, round) = watched.asked("monitor", &monitor).await;
    assert_eq!((code, &round["status"]), (20, &json!("wrong")), "{round}");
    assert_eq!(findings(&round)[0].0, "no_quorum");
    // What is shown is verified all the same.
    let size = watched.log.node.node.size();
    assert_eq!((&round["size"], &round["vouched"]), (&json!(size), &Value::Null));

    watched.cosign().await;
    let (code, round) = watched.asked("monitor", &monitor).await;
    assert_eq!((code, &round["vouched"]), (0, &json!(size)), "{round}");
    assert_eq!(round["cosigned"][0]["name"], "b.example");
    let copy = watched.dir.path().join("copy");
    let (code, round) = watched
        .asked("mirror", &[shown(&copy), "--policy", shown(&one), "--once"])
        .await;
    assert_eq!((code, &round["vouched"]), (0, &json!(size)), "{round}");
    // The copy holds the checkpoint with its cosignatures: offline it is as good.
    let vkey = watched.log.node.node.log_key().to_string();
    let args = [
        "audit",
        shown(&copy),
        "--log-key",
        &vkey,
        "--policy",
        shown(&one),
        "--json",
    ];
    let (code, report) = ran(&args).await;
    assert_eq!((code, &report["verdict"]), (0, &json!("clean")), "{report}");

    sell(&watched.log, "a/2").await;
    let (code, round) = watched.asked("monitor", &monitor).await;
    assert_eq!(
        (code, &round["size"], &round["vouched"]),
        (0, &json!(size + 1), &json!(size)),
        "{round}"
    );
    watched.stop().await;
}

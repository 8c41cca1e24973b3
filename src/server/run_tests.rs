use std::path::Path;
use std::time::Instant;

use prometheus::Registry;

use super::*;
use crate::credential::{Benefit, Terms};
use crate::ledger::CampaignDraft;
use crate::node::access::AccessKeys;
use crate::node::{Caller, NodeOptions, NodeParts, Scope};
use crate::primitives::{Amount, Currency, Digest, Origin, OsEntropy, Register, SystemClock, UnixSeconds};
use crate::server::{NewDir, NodeDir, Overrides};
use crate::store::{Guard, SledEngine};
use crate::testkit::{Fault, FaultHandle, FaultyEngine};

fn made(root: &Path) -> NodeDir {
    let new = NewDir {
        base_url: Origin::parse("http://127.0.0.1:8080").unwrap(),
        name: "Shop".to_owned(),
        register: Register::new("till-1").unwrap(),
        guard: None,
        passphrase: None,
    };
    NodeDir::create(&root.join("shop"), &new).unwrap().directory
}

/// A node whose engine fails when the handle says so.
fn faulty(dir: &NodeDir) -> (OpenedNode, FaultHandle) {
    let config = dir.config(&Overrides::default()).unwrap();
    let (engine, _) = SledEngine::open(&dir.store()).unwrap();
    let (engine, faults) = FaultyEngine::new(engine);
    let (guard, state) = Guard::open(&dir.guard_file(&config)).unwrap();
    let registry = Registry::new();
    let parts = NodeParts {
        engine: Arc::new(engine),
        guard: (Box::new(guard), state),
        keyring: Arc::new(dir.keyring(None).unwrap()),
        options: NodeOptions {
            origin: config.base_url.clone(),
            algorithm: config.algorithm,
            status_list_seconds: config.status_list_seconds,
            compares_first: false,
        },
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
        registry: registry.clone(),
    };
    let (node, report) = Node::open(parts).unwrap();
    let access = Arc::new(AccessKeys::open(dir.access_file()).unwrap());
    let opened = OpenedNode {
        node,
        report,
        config,
        policy: None,
        mirrors: Vec::new(),
        rosters: None,
        asks_members: true,
        peers: None,
        access,
        registry,
    };
    (opened, faults)
}

fn sign_a_campaign(node: &Node) -> Result<(), crate::node::NodeError> {
    let caller = Caller {
        scope: Scope::Office,
        idempotency_key: "one".to_owned(),
        request: Digest::ZERO,
    };
    let benefit = Benefit::AmountOff {
        amount: Amount::new(200).unwrap(),
    };
    let draft = CampaignDraft {
        terms: Terms::new("Spring", "2 off", Currency::from_letters("EUR").unwrap(), benefit),
        not_before: UnixSeconds(0),
        not_after: node.now().plus(86_400),
    };
    let signing = node.sign_campaign(&caller, draft);
    runtime().unwrap().block_on(signing).map(|_| ())
}

#[test]
fn a_writer_that_stops_ends_the_server_within_a_second() {
    let root = tempfile::tempdir().unwrap();
    let (opened, faults) = faulty(&made(root.path()));
    let node = opened.node.clone();
    let mut serving = Serving::start(opened).unwrap();
    faults.fail(1, Fault::NotPersisted);
    assert!(sign_a_campaign(&node).is_err());
    let failed = Instant::now();
    let ended = serving.thread.take().unwrap().join().unwrap();
    assert!(failed.elapsed() < Duration::from_secs(1));
    let error = ended.unwrap_err();
    assert!(matches!(error, ServerError::WriterStopped(_)), "{error}");
}

#[test]
fn a_directory_can_be_opened_again_when_serving_has_stopped() {
    let root = tempfile::tempdir().unwrap();
    let dir = made(root.path());
    for size in 1..4 {
        let opened = dir.open(&Overrides::default(), None).unwrap();
        assert_eq!(opened.report.size, size.min(2));
        let node = opened.node.clone();
        let serving = Serving::start(opened).unwrap();
        assert!(serving.address().ip().is_loopback());
        // The same call under the same key: the second and third change nothing.
        sign_a_campaign(&node).unwrap();
        drop(node);
        serving.stop().unwrap();
    }
}

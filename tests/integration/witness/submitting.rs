//! A node's own checkpoints on their way to its witnesses: another node, others
//! by hand, and some that misbehave.

use std::time::{Duration, Instant};

use data_encoding::BASE64;
use prometheus::Registry;
use tallystick::federation::{Behind, SubmitError, Submitter};
use tallystick::log::{Checkpoint, LogError, Policy, TlogProof, VerifierKey};
use tallystick::node::audit::{AuditOptions, Verdict, audit};
use tallystick::node::{Node, NodeError};
use tallystick::primitives::{Digest, Origin, Register};
use tallystick::server::{NewDir, NodeDir, Overrides, Serving};
use tallystick::store::{Batch, Engine, Guard, GuardState, rows};
use tallystick::testkit::{Fault, TestNode};
use tokio::task::JoinHandle;

use super::by_hand::{HandServer, HandWitness, Said, cosigned_at};
use super::serving::witness_of;
use crate::http::client::{Served, receipt, send};
use crate::node::faults::broken;
use crate::node::world::World;

const TIME: u64 = 1_772_896_900;
const SIZE: &str = "text/x.tlog.size";

/// Waits until `holds`; a test that waits for ever fails after a while.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn submitter(node: &Node, policy: &str) -> Result<Submitter, SubmitError> {
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    Submitter::new(node.clone(), policy, Duration::from_millis(20), &Registry::new())
}

fn started(node: &Node, policy: &str) -> JoinHandle<()> {
    tokio::spawn(submitter(node, policy).unwrap().run())
}

pub async fn sell(served: &Served, reference: &str) {
    let till = &served.node.till_key;
    served
        .post("/v1/receipts", till, reference, &receipt(reference))
        .await
        .created();
}

/// The body of a note, and its lines.
fn parts(note: &str) -> (String, Vec<String>) {
    let (text, lines) = note.split_once("\n\n").unwrap();
    let lines = lines.lines().map(|line| format!("{line}\n")).collect();
    (format!("{text}\n"), lines)
}

pub async fn text(served: &Served, path: &str) -> String {
    String::from_utf8(served.get(path, "").await.body).unwrap()
}

/// A witness by hand that has seen `held` entries; it cosigns what comes next.
fn honest(witness: HandWitness, held: u64) -> impl Fn(&str) -> Said + Send + Sync {
    let held = std::sync::Mutex::new(held);
    move |body| {
        let mut held = held.lock().unwrap();
        let old: u64 = body.lines().next().unwrap()["old ".len()..].parse().unwrap();
        if old != *held {
            return (409, SIZE, format!("{held}\n"));
        }
        let (_, note) = body.split_once("\n\n").unwrap();
        let (text, _) = parts(note);
        *held = text.lines().nth(1).unwrap().parse().unwrap();
        (200, "text/plain", witness.line(&text, TIME))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_witnesses_another_and_a_proof_stands_on_its_own() {
    let log = Served::start(TestNode::new("https://a.example", 71, false)).await;
    let key = log.node.node.log_key();
    let b = witness_of(TestNode::new("https://b.example", 72, false), vec![key.clone()]).await;
    let vkey = b.node.node.witness_key().to_string();
    let policy = format!("log {key}\nwitness b {vkey} {}\nquorum b\n", b.base);
    let node = log.node.node.clone();
    sell(&log, "one").await;
    let not_yet = "/v1/log/proofs/inclusion?index=1&witnessed=true";
    log.get(not_yet, "").await.problem(404, "not_found");
    let task = started(&node, &policy);
    for reference in ["two", "three", "four"] {
        sell(&log, reference).await;
        let size = node.size();
        until("the cosignature", || {
            node.cosigned_by_quorum().is_some_and(|kept| kept.size >= size)
        })
        .await;
    }
    task.abort();
    let _ = task.await;
    // The newest checkpoint carries the cosignature, which holds by hand.
    let size = node.size();
    until("nothing", || node.size() == size).await;
    let note = text(&log, "/checkpoint").await;
    let (body, lines) = parts(&note);
    assert_eq!(lines.len(), 2, "{note}");
    assert!(cosigned_at(&vkey, &body, &lines[1]).is_some());
    // The witness shows the same checkpoint.
    let hash: String = {
        use sha2::Digest as _;
        let hash = sha2::Sha256::digest("a.example");
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let shown = text(&b, &format!("/{hash}/checkpoint")).await;
    assert_eq!(parts(&shown).0, body);

    // What comes afterwards is not covered; what was before still is.
    sell(&log, "five").await;
    let newest = text(&log, "/checkpoint").await;
    assert_eq!(parts(&newest).1.len(), 1, "{newest}");
    let last = node.size() - 1;
    let path = format!("/v1/log/proofs/inclusion?index={last}&witnessed=true");
    log.get(&path, "").await.problem(404, "not_found");
    let both = "/v1/log/proofs/inclusion?index=1&witnessed=true&tree_size=2";
    log.get(both, "").await.problem(400, "query_invalid");
    let beyond = "/v1/log/proofs/inclusion?index=1000&witnessed=true";
    log.get(beyond, "").await.problem(404, "not_found");
    let path = "/v1/log/proofs/inclusion?index=1&witnessed=true";
    let request = log
        .request(reqwest::Method::GET, path, "")
        .header("accept", "text/plain");
    let proof = String::from_utf8(send(request).await.body).unwrap();
    let json = log.get(path, "").await.ok();
    assert_eq!(json["tree_size"], size);
    assert_eq!(json["checkpoint"], note.as_str());
    // Offline: the proof, the entry's hash, the policy.
    let read = TlogProof::parse(&proof).unwrap();
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let checkpoint = policy.open(read.checkpoint.as_bytes(), Some(&key)).unwrap();
    assert_eq!(checkpoint.size, size);
    let hash = data_encoding::BASE64URL_NOPAD
        .decode(json["entry"]["hash"].as_str().unwrap().as_bytes())
        .unwrap();
    let hash = Digest::from_slice(&hash).unwrap();
    assert_eq!(read.verify(&hash, &key).unwrap().size, size);
    let plain = log.get("/v1/log/proofs/inclusion?index=1", "").await.ok();
    let refused = policy.open(plain["checkpoint"].as_str().unwrap().as_bytes(), Some(&key));
    assert!(matches!(refused, Err(LogError::NoQuorum { .. })));

    // It outlives a restart.
    drop(node);
    let again = log.stop().await.reopened().await;
    let kept = again.node.cosigned_by_quorum().unwrap();
    assert_eq!((kept.size, &*kept.note), (size, note.as_str()));
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_needs_no_witness_that_is_away_or_misbehaves() {
    let log = Served::start(TestNode::in_memory(73)).await;
    let node = log.node.node.clone();
    let key = node.log_key();
    let one = HandWitness::new("one.example", 51);
    let two = HandWitness::new("two.example", 52);
    let liar = HandWitness::new("liar.example", 53);
    let other = HandWitness::new("other.example", 54);
    // One begins where it says that it is, one at nothing.
    let first = HandServer::start(honest(one.clone(), 2)).await;
    let second = HandServer::start(honest(two.clone(), 0)).await;
    let lies = {
        let (liar, other) = (liar.clone(), other.clone());
        HandServer::start(move |body| {
            let (_, note) = body.split_once("\n\n").unwrap();
            let (text, _) = parts(note);
            let wrong = liar.line(&text.replace('\n', "x\n"), TIME);
            // A signature over something else, and a good one of somebody else.
            (200, "text/plain", format!("{wrong}{}", other.line(&text, TIME)))
        })
        .await
    };
    let away = "http://127.0.0.1:9/";
    let policy = format!(
        "witness one {} {}\nwitness two {} {}\nwitness liar {} {}\nwitness away {} {away}\n\
         group some 2 one two liar away\nquorum some\n",
        one.vkey(),
        first.url,
        two.vkey(),
        second.url,
        liar.vkey(),
        lies.url,
        other.vkey()
    );
    for n in 0..3 {
        sell(&log, &format!("sale-{n}")).await;
    }
    let task = started(&node, &policy);
    let size = node.size();
    until("a quorum", || {
        node.cosigned_by_quorum().is_some_and(|kept| kept.size >= size)
    })
    .await;
    until("the liar's answer", || !lies.asked.lock().unwrap().is_empty()).await;
    task.abort();
    let _ = task.await;
    let kept = node.cosigned_by_quorum().unwrap();
    let (body, lines) = parts(&kept.note);
    assert_eq!(lines.len(), 3, "the log, one and two: {}", kept.note);
    for witness in [&one, &two] {
        let cosigned = lines
            .iter()
            .find_map(|line| cosigned_at(&witness.vkey(), &body, line));
        assert_eq!(cosigned, Some(TIME));
    }
    // The one that held 2 was asked again from there, with a proof.
    let asked = first.asked.lock().unwrap().clone();
    assert!(asked[0].starts_with("old 0\n\n"), "{}", asked[0]);
    assert!(asked[1].starts_with("old 2\n"), "{}", asked[1]);
    assert!(
        !asked[1].starts_with("old 2\n\n"),
        "a proof stands there: {}",
        asked[1]
    );
    let (_, note) = asked[1].split_once("\n\n").unwrap();
    assert!(Checkpoint::open(note.as_bytes(), &key).is_ok());
    log.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_holds_more_is_believed_before_serving() {
    let node = TestNode::in_memory(74);
    let witness = HandWitness::new("w.example", 60);
    let more = HandServer::start(|_| (409, SIZE, "1000\n".to_owned())).await;
    let policy = format!("witness w {} {}\nquorum w\n", witness.vkey(), more.url);
    let behind = submitter(&node.node, &policy)
        .unwrap()
        .check_before_serving()
        .await;
    let expected = Behind {
        witness: "w".to_owned(),
        held: 1_000,
        size: node.node.size(),
    };
    assert_eq!(behind, Err(expected.clone()));
    let said = expected.to_string();
    assert!(
        said.contains("1000 entries") && said.contains("tallystick recover"),
        "{said}"
    );
    // Those that fail, are away, refuse, or never answer say nothing.
    for (status, media, body) in [
        (500, "text/plain", "oops"),
        (404, "text/plain", ""),
        (403, "text/plain", ""),
        (409, "text/plain", "1000\n"),
        (409, SIZE, "01000\n"),
        (409, SIZE, "0\n"),
        (422, "text/plain", ""),
        (200, "text/plain", ""),
    ] {
        let server = HandServer::start(move |_| (status, media, body.to_owned())).await;
        let policy = format!("witness w {} {}\nquorum w\n", witness.vkey(), server.url);
        let checked = submitter(&node.node, &policy)
            .unwrap()
            .check_before_serving()
            .await;
        assert_eq!(checked, Ok(()), "{status} {body:?}");
        assert_eq!(node.node.cosigned_newest(), None);
    }
    let long = HandServer::start(|_| (200, "text/plain", "x".repeat(200_000))).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = HandWitness::new("x.example", 61);
    let policy = format!(
        "witness w {} {}\nwitness x {} http://{}\nquorum w\n",
        witness.vkey(),
        long.url,
        other.vkey(),
        silent.local_addr().unwrap()
    );
    let begun = Instant::now();
    let checked = submitter(&node.node, &policy)
        .unwrap()
        .check_before_serving()
        .await;
    assert_eq!(checked, Ok(()));
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "a start waits for seconds only"
    );
}

#[tokio::test]
async fn policies_that_nothing_can_be_sent_by_are_refused() {
    let node = TestNode::in_memory(75);
    let witness = HandWitness::new("w.example", 60).vkey();
    let foreign = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let own = node.node.witness_key();
    for (policy, said) in [
        ("quorum none\n".to_owned(), "no witness in the policy has a URL"),
        (
            format!("witness w {witness}\nquorum w\n"),
            "no witness in the policy has a URL",
        ),
        // A node does not ask itself.
        (
            format!("witness w {own} http://127.0.0.1:9\nquorum w\n"),
            "no witness in the policy has a URL",
        ),
        (
            format!("witness w {witness} nowhere\nquorum w\n"),
            "the URL of the witness w is none: nowhere",
        ),
        (
            format!("witness w {witness} ftp://w.example\nquorum w\n"),
            "the URL of the witness w",
        ),
        (
            format!("log {foreign}\nwitness w {witness} http://127.0.0.1:9\nquorum w\n"),
            "not this node's: add a line `log coop.example+",
        ),
    ] {
        let error = submitter(&node.node, &policy).err().unwrap().to_string();
        assert!(error.contains(said), "{error}");
    }
}

/// The newest checkpoint of the log in `note` with a line by hand.
fn cosigned(node: &Node, witness: &HandWitness) -> String {
    let note = node.checkpoint();
    let (text, _) = parts(&note);
    format!("{note}{}", witness.line(&text, TIME))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cosigned_is_kept_over_each_failing_write_or_not_at_all() {
    let witness = HandWitness::new("w.example", 60);
    for fault in [Fault::NotPersisted, Fault::Persisted] {
        let world = World::memory();
        let (node, engine, _) = broken(&world);
        let first = cosigned(&node, &witness);
        engine.fail(1, fault);
        let error = node.keep_cosigned(&first, true).await.unwrap_err();
        assert!(matches!(error, NodeError::Stopped(_)), "{error:?}");
        assert_eq!(node.cosigned_by_quorum(), None, "shown before it is durable");
        node.shut_down().await;
        let node = world.open();
        let kept = node.cosigned_by_quorum();
        assert_eq!(kept.is_some(), fault == Fault::Persisted);
        node.keep_cosigned(&first, true).await.unwrap();
        assert_eq!(&*node.cosigned_by_quorum().unwrap().note, first);
        assert_eq!(&*node.checkpoint(), first);
    }
}

#[tokio::test]
async fn only_own_checkpoints_are_kept_and_never_an_older_one() {
    let world = World::memory();
    let witness = HandWitness::new("w.example", 60);
    let node = world.open();
    let first = cosigned(&node, &witness);
    let stranger = super::by_hand::HandLog::new("coop.example", 9)
        .grown(1, "a")
        .note(1);
    let longer = first.replace("coop.example\n1\n", "coop.example\n2\n");
    for wrong in [
        stranger,
        longer,
        "x".to_owned(),
        format!("{first}{}", "x".repeat(20_000)),
    ] {
        assert!(node.keep_cosigned(&wrong, true).await.is_err());
    }
    node.keep_cosigned(&first, true).await.unwrap();
    let order = crate::node::world::two_off("a");
    node.sign_campaign(&crate::node::world::office(), order)
        .await
        .unwrap();
    let second = cosigned(&node, &witness);
    // By one witness, not yet by a quorum.
    node.keep_cosigned(&second, false).await.unwrap();
    node.keep_cosigned(&first, true).await.unwrap();
    assert_eq!(&*node.cosigned_newest().unwrap().note, second);
    assert_eq!(&*node.cosigned_by_quorum().unwrap().note, first);
    // Long ones take several rows, and shorter ones leave nothing of them.
    let (text, _) = parts(&node.checkpoint());
    let many: String = (0..60)
        .map(|n| HandWitness::new(&"w".repeat(100 + n), n as u8).line(&text, TIME))
        .collect();
    let long = format!("{second}{many}");
    assert!(long.len() > 10_000 && long.len() < 16_384, "{}", long.len());
    node.keep_cosigned(&long, true).await.unwrap();
    node.shut_down().await;
    let node = world.open();
    assert_eq!(&*node.cosigned_by_quorum().unwrap().note, long);
    node.keep_cosigned(&second, true).await.unwrap();
    node.shut_down().await;
    let node = world.open();
    assert_eq!(&*node.cosigned_by_quorum().unwrap().note, second);
}

/// What others have cosigned of this log says how long it was, and which.
#[tokio::test]
async fn a_store_behind_its_own_cosigned_checkpoint_is_not_opened() {
    let world = World::memory();
    let witness = HandWitness::new("w.example", 60);
    let node = world.open();
    let older = world.memory_engine().fork();
    let guard: GuardState = Guard::read(&world.guard).unwrap();
    let order = crate::node::world::two_off("a");
    node.sign_campaign(&crate::node::world::office(), order)
        .await
        .unwrap();
    node.keep_cosigned(&cosigned(&node, &witness), true)
        .await
        .unwrap();
    let row = world.memory_engine().get(&rows::cosigned(1, 0)).unwrap().unwrap();
    node.shut_down().await;
    // As if the entries, and the guard with them, had been set back.
    let mut batch = Batch::default();
    batch.put(rows::cosigned(1, 0), row.clone());
    older.commit(batch).unwrap();
    let place = world.guard.with_extension("older");
    Guard::create(&place, &guard).unwrap();
    let open = |engine: &tallystick::store::MemoryEngine| {
        let (guard, state) = Guard::open(&place).unwrap();
        Node::open(world.parts(std::sync::Arc::new(engine.clone()), (Box::new(guard), state)))
    };
    let Err(NodeError::Refuse(why)) = open(&older) else {
        panic!("it opened")
    };
    assert!(
        why.contains("tallystick recover") && why.contains("of 2 that"),
        "{why}"
    );
    // A damaged row is no reason not to serve: the witnesses are asked again.
    let mut batch = Batch::default();
    let mut damaged = row;
    damaged[30] ^= 1;
    batch.put(rows::cosigned(1, 0), damaged);
    older.commit(batch).unwrap();
    let (node, report) = open(&older).unwrap();
    assert!(
        report.notes.iter().any(|note| note.contains("made anew")),
        "{report:?}"
    );
    assert_eq!(node.cosigned_by_quorum(), None);
    // The key that others know is the one it signs with.
    let note = node.checkpoint();
    assert!(
        Checkpoint::open(
            note.as_bytes(),
            &VerifierKey::parse(&node.log_key().to_string()).unwrap()
        )
        .is_ok()
    );
    assert!(BASE64.decode(note.lines().nth(2).unwrap().as_bytes()).is_ok());
}

/// The whole program around a node: its setting, its start, its audit.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_with_its_witnesses_unless_one_of_them_holds_more() {
    let place = tempfile::tempdir().unwrap();
    let shop = place.path().join("shop");
    let new = NewDir {
        base_url: Origin::parse("http://127.0.0.1:8080").unwrap(),
        name: "Shop".to_owned(),
        register: Register::new("till-1").unwrap(),
        guard: None,
        passphrase: None,
    };
    let made = NodeDir::create(&shop, &new).unwrap();
    let dir = made.directory;
    let write = |policy: &str| std::fs::write(shop.join("policy.txt"), policy).unwrap();
    let config = std::fs::read_to_string(dir.config_file()).unwrap();
    let config = format!("{config}\nwitness_policy = \"policy.txt\"\nwitness_seconds = 1\n");
    std::fs::write(dir.config_file(), config).unwrap();
    let open = || dir.open(&Overrides::default(), None);
    let refusal = || open().err().unwrap().to_string();
    assert!(refusal().contains("witness_policy"), "{}", refusal());
    write("quorum all-of-them\n");
    assert!(
        refusal().contains("line 1: all-of-them is not defined"),
        "{}",
        refusal()
    );

    let witness = HandWitness::new("w.example", 60);
    let away = HandWitness::new("away.example", 61);
    let server = HandServer::start(honest(witness.clone(), 0)).await;
    let policy = |url: &str| {
        format!(
            "log {}\nwitness w {} {url}\nwitness away {} http://127.0.0.1:9\ngroup any-of any w away\nquorum any-of\n",
            made.vkey,
            witness.vkey(),
            away.vkey()
        )
    };
    write(&policy(&server.url));
    let opened = open().unwrap();
    let node = opened.node.clone();
    let serving = Serving::start(opened).unwrap();
    until("a quorum", || node.cosigned_by_quorum().is_some()).await;
    let size = node.cosigned_by_quorum().unwrap().size;
    drop(node);
    tokio::task::spawn_blocking(|| serving.stop())
        .await
        .unwrap()
        .unwrap();
    let options = AuditOptions {
        dir: shop.clone(),
        ..AuditOptions::default()
    };
    let report = audit(&options, &mut |_, _| {}).unwrap();
    assert_eq!(report.verdict(), Verdict::Clean, "{:?}", report.findings);
    let from_store: Vec<_> = report.points.iter().filter(|point| point.from_store).collect();
    assert_eq!(
        (from_store.len(), from_store[0].size, from_store[0].compared),
        (1, size, true)
    );
    // By a policy the store's own cosigned checkpoint counts, by another one it does not.
    for (lines, verdict) in [
        (policy(&server.url), Verdict::Clean),
        (
            policy(&server.url).replace("any-of any", "any-of all"),
            Verdict::Findings,
        ),
    ] {
        let options = AuditOptions {
            policy: Some(Policy::parse(lines.as_bytes()).unwrap()),
            ..options.clone()
        };
        let report = audit(&options, &mut |_, _| {}).unwrap();
        assert_eq!(report.verdict(), verdict, "{:?}", report.findings);
    }

    let more = HandServer::start(|_| (409, SIZE, "1000\n".to_owned())).await;
    write(&policy(&more.url));
    let serving = Serving::start(open().unwrap()).unwrap();
    let ended = tokio::task::spawn_blocking(|| serving.wait()).await.unwrap();
    let why = ended.err().unwrap().to_string();
    assert!(
        why.contains("1000 entries") && why.contains("tallystick recover"),
        "{why}"
    );
    // With that witness away it starts, and serves.
    drop(more);
    let serving = Serving::start(open().unwrap()).unwrap();
    let url = format!("{}/checkpoint", serving.url());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let shown = http.get(url).send().await.unwrap().text().await.unwrap();
    assert!(shown.starts_with("127.0.0.1:8080\n"), "{shown}");
    tokio::task::spawn_blocking(|| serving.stop())
        .await
        .unwrap()
        .unwrap();
}

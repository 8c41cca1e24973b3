//! Answers of an issuer that overtake each other, and what a redeemer holds of its log
//! after a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use prometheus::Registry;
use sha2::{Digest as _, Sha256};
use tallystick::federation::message::{self, MessageName};
use tallystick::federation::peers::Carrier;
use tallystick::federation::redemption::{NoKnowledge, Redeemer, RedeemerParts, wire};
use tallystick::federation::roster::Directory;
use tallystick::federation::{PeerError, Peers};
use tallystick::log::note::Note;
use tallystick::primitives::{Origin, UnixSeconds};
use tallystick::testkit::SeededEntropy;
use tallystick::testkit::federation::{TestFederation, TestMember};
use tokio::sync::Notify;

use super::redemption::{coupons, two_off};
use super::redemption_lies::{caller, sale};

const NORTH: &str = "did:web:coop-0.example";

/// A line on which the answer `held` arrives after the one that follows it.
#[derive(Debug)]
struct Line {
    honest: Peers,
    directory: Directory,
    now: UnixSeconds,
    /// Which answer is held, counted from 1; 0 for none.
    held: AtomicUsize,
    answers: AtomicUsize,
    /// The size of north's log that the last message named.
    named: AtomicU64,
    /// Proofs that were asked for.
    gets: AtomicUsize,
    is_held: Notify,
    is_overtaken: Notify,
}

#[derive(Clone, Debug)]
struct Overtaking(Arc<Line>);

impl Carrier for Overtaking {
    fn post<'a>(
        &'a self,
        member: &'a Origin,
        path: &'a str,
        message: Vec<u8>,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, PeerError>> {
        let line = &self.0;
        Box::pin(async move {
            let name = MessageName::Redemption;
            let (_, body) = message::open(&message, name, &line.directory, NORTH, line.now).unwrap();
            line.named
                .store(wire::read_requests(&body).unwrap().0, Ordering::SeqCst);
            let answer = line.honest.post(member, path, message, most).await?;
            let nth = line.answers.fetch_add(1, Ordering::SeqCst) + 1;
            let held = line.held.load(Ordering::SeqCst);
            if nth == held {
                line.is_held.notify_one();
                line.is_overtaken.notified().await;
                // What has overtaken it is verified first.
                tokio::time::sleep(Duration::from_millis(100)).await;
            } else if held > 0 {
                line.is_overtaken.notify_one();
            }
            Ok(answer)
        })
    }

    fn get<'a>(
        &'a self,
        member: &'a Origin,
        path: &'a str,
        most: usize,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, PeerError>> {
        if path.contains("consistency") {
            self.0.gets.fetch_add(1, Ordering::SeqCst);
        }
        Box::pin(self.0.honest.get(member, path, most))
    }
}

fn redeemer_over(line: &Arc<Line>, south: &TestMember, seed: u64) -> Arc<Redeemer> {
    let parts = RedeemerParts {
        node: south.node.node.clone(),
        rosters: Arc::clone(&south.rosters),
        peers: Peers::over(Arc::new(Overtaking(Arc::clone(line)))),
        knowledge: Arc::new(NoKnowledge),
        entropy: Arc::new(SeededEntropy::new(seed)),
        waits: Duration::from_secs(10),
    };
    Redeemer::new(parts, &Registry::new())
}

#[tokio::test]
async fn an_answer_that_was_overtaken_is_shown_to_be_continued_and_what_was_verified_is_kept() {
    let valley = TestFederation::start(2, false).await;
    let [north, south] = &valley.members[..] else {
        panic!("two")
    };
    south.stop_asking();
    let coupons = coupons(north, two_off(), 4).await;
    let line = Arc::new(Line {
        honest: south.peers.clone(),
        directory: Directory::new(valley.roster.clone()),
        now: north.node.node.now(),
        held: AtomicUsize::new(0),
        answers: AtomicUsize::new(0),
        named: AtomicU64::new(u64::MAX),
        gets: AtomicUsize::new(0),
        is_held: Notify::new(),
        is_overtaken: Notify::new(),
    });
    let redeemer = redeemer_over(&line, south, 5);
    redeemer
        .redeem(&caller("first"), sale(&coupons[0]))
        .await
        .unwrap();
    assert_eq!(
        line.named.load(Ordering::SeqCst),
        0,
        "nothing was verified before"
    );

    // Two messages name the same size; the answer to the later one comes first.
    line.held.store(2, Ordering::SeqCst);
    let (earlier, coupon) = (Arc::clone(&redeemer), sale(&coupons[1]));
    let earlier = tokio::spawn(async move { earlier.redeem(&caller("earlier"), coupon).await });
    line.is_held.notified().await;
    let named = line.named.load(Ordering::SeqCst);
    redeemer
        .redeem(&caller("later"), sale(&coupons[2]))
        .await
        .unwrap();
    assert_eq!(line.named.load(Ordering::SeqCst), named);
    earlier.await.unwrap().unwrap();
    assert_eq!(line.answers.load(Ordering::SeqCst), 3);
    assert_eq!(
        line.gets.load(Ordering::SeqCst),
        0,
        "the answers show it themselves"
    );

    // Whoever asks after a restart holds north to all that it has shown.
    let origin: [u8; 32] = Sha256::digest("coop-0.example").into();
    let key = north.node.node.log_key().key_id();
    let kept = south.node.node.verified(&origin, key).unwrap().unwrap();
    let kept = Note::parse(kept.as_bytes()).unwrap();
    let size: u64 = kept.text().lines().nth(1).unwrap().parse().unwrap();
    assert_eq!(size, north.node.node.size());
    line.held.store(0, Ordering::SeqCst);
    let restarted = redeemer_over(&line, south, 6);
    restarted
        .redeem(&caller("restarted"), sale(&coupons[3]))
        .await
        .unwrap();
    assert_eq!(line.named.load(Ordering::SeqCst), size);
    valley.stop().await;
}

//! Random histories, cut off after every commit: whatever the checkpoints had
//! reached, opening ends in the state that the whole log gives.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use prometheus::Registry;

use super::index::Index;
use super::keyring::Keyring;
use super::writer::Writer;
use super::*;
use crate::credential::details::{ReceiptDetails, Tender};
use crate::credential::{Algorithm, Benefit, ReceiptKind, SecretKey, Terms};
use crate::ledger::{Basket, BatchOrder, CampaignDraft, Intent, Mark, NewStatus, ReceiptDraft, State, Wish};
use crate::primitives::{
    Amount, CampaignId, Clock as _, CouponName, Currency, Digest, Origin, RedemptionId, Register, Tag,
    UnixSeconds,
};
use crate::store::{Batch, Engine, GuardFile, GuardState, MemoryEngine, Row, StoreError, Visitor, rows};
use crate::testkit::{ManualClock, SeededEntropy};

const START: u64 = 1_772_896_800;

/// What a disk held after each commit, with what the guard held then.
#[derive(Clone)]
struct Recording {
    rows: MemoryEngine,
    guard: Arc<Mutex<GuardState>>,
    moments: Arc<Mutex<Vec<(MemoryEngine, GuardState)>>>,
}

impl Engine for Recording {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.get(key)
    }

    fn at_or_before(&self, prefix: &[u8], key: &[u8]) -> Result<Option<Row>, StoreError> {
        self.rows.at_or_before(prefix, key)
    }

    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        self.rows.scan(prefix, from, visit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.rows.commit(batch)?;
        let moment = (self.rows.fork(), self.guard.lock().unwrap().clone());
        self.moments.lock().unwrap().push(moment);
        Ok(())
    }
}

struct SharedGuard(Arc<Mutex<GuardState>>);

impl GuardFile for SharedGuard {
    fn write(&mut self, state: &GuardState) -> Result<(), StoreError> {
        *self.0.lock().unwrap() = state.clone();
        Ok(())
    }
}

fn keyring() -> Arc<Keyring> {
    let key = |n: u8| SecretKey::from_seed(&[n; 32]);
    Arc::new(Keyring {
        credential: key(1),
        credential_next: None,
        credentials_before: Vec::new(),
        log: key(2),
        witness: key(3),
        messages: key(6),
        messages_next: None,
        index_secret: [4; 32].into(),
        request_secret: [5; 32].into(),
    })
}

fn parts(engine: Arc<dyn Engine>, guard: &Arc<Mutex<GuardState>>, clock: &Arc<ManualClock>) -> NodeParts {
    let state = guard.lock().unwrap().clone();
    NodeParts {
        engine,
        guard: (Box::new(SharedGuard(Arc::clone(guard))), state),
        keyring: keyring(),
        options: NodeOptions {
            origin: Origin::parse("https://coop.example").unwrap(),
            algorithm: Algorithm::EdDsa,
            status_list_seconds: 3_600,
            compares_first: false,
        },
        clock: clock.clone(),
        entropy: Arc::new(SeededEntropy::new(clock.now().0)),
        registry: Registry::new(),
    }
}

/// A small generator, so that a failure can be had again from its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[derive(Default)]
struct Made {
    campaigns: Vec<CampaignId>,
    batches: Vec<u64>,
    coupons: Vec<IssuedCoupon>,
    redemptions: Vec<RedemptionId>,
}

fn cents(minor_units: u64) -> Amount {
    Amount::new(minor_units.try_into().unwrap()).unwrap()
}

fn caller(n: u64) -> Caller {
    Caller {
        scope: Scope::Office,
        idempotency_key: n.to_string(),
        request: Caller::request_digest("POST", "/", "", &n.to_be_bytes()),
    }
}

/// One call, whatever comes of it.
async fn call(node: &Node, dice: &mut Dice, made: &mut Made, n: u64) {
    let euro = Currency::from_letters("EUR").unwrap();
    let register = Register::new(format!("lane{}", dice.roll(4))).unwrap();
    let any = |dice: &mut Dice, len: usize| dice.roll(len.max(1) as u64) as usize;
    match dice.roll(20) {
        0 | 1 => {
            let benefit = match dice.roll(3) {
                0 => Benefit::AmountOff { amount: cents(200) },
                1 => Benefit::PercentOff {
                    basis_points: 1_250,
                    cap: None,
                },
                _ => Benefit::StoredValue { value: cents(2_000) },
            };
            let mut terms = Terms::new(format!("campaign {n}"), "", euro, benefit);
            terms.budget = (dice.roll(2) == 0).then(|| cents(5_000));
            terms.uses_per_coupon = (dice.roll(2) == 0).then_some(2);
            let (not_before, not_after) = (UnixSeconds(START), UnixSeconds(START + 1_000_000));
            let draft = CampaignDraft {
                terms,
                not_before,
                not_after,
            };
            let signed = node.sign_campaign(&caller(n), draft).await.unwrap();
            made.campaigns.push(signed.id);
        }
        2 | 3 if !made.campaigns.is_empty() => {
            let campaign = made.campaigns[any(dice, made.campaigns.len())];
            let count = 1 + dice.roll(6) as u32;
            let order = BatchOrder {
                campaign,
                count,
                amount: None,
                not_before: None,
                not_after: None,
            };
            if let Ok(issued) = node.issue_coupons(&caller(n), order).await {
                made.batches.push(issued.batch);
                made.coupons.extend(issued.coupons);
            }
        }
        4..=10 if !made.coupons.is_empty() => {
            let request = RedemptionRequest {
                coupon: made.coupons[any(dice, made.coupons.len())].credential.clone(),
                register,
                till_reference: format!("sale {}", n / 3),
                basket: Basket {
                    total: cents(1 + dice.roll(3_000)),
                    currency: euro,
                },
                amount: None,
            };
            if let Ok(redeemed) = node.redeem(&caller(n), request).await {
                made.redemptions.push(redeemed.id);
            }
        }
        11 | 12 if !made.redemptions.is_empty() => {
            let request = ReversalRequest {
                redemption: made.redemptions[any(dice, made.redemptions.len())],
                till_reference: format!("back {n}"),
                amount: (dice.roll(2) == 0).then(|| cents(1 + dice.roll(150))),
                give_back: dice.roll(2) == 0,
            };
            let _ = node.reverse(&caller(n), request).await;
        }
        13..=15 if !made.coupons.is_empty() => {
            let target = match dice.roll(4) {
                0 => RevocationTarget::Campaign(made.campaigns[any(dice, made.campaigns.len())]),
                1 => RevocationTarget::Batch(made.batches[any(dice, made.batches.len())]),
                _ => RevocationTarget::Name(made.coupons[any(dice, made.coupons.len())].name),
            };
            let status = [
                NewStatus::Suspended,
                NewStatus::Valid,
                NewStatus::Valid,
                NewStatus::Revoked,
            ];
            let status = status[any(dice, 4)];
            let _ = node.set_status(&caller(n), &target, status, None).await;
        }
        _ => {
            let draft = ReceiptDraft {
                register,
                kind: ReceiptKind::Sale,
                currency: euro,
                issued_at: node.now(),
                mark: Mark::Live,
                prices_include_tax: true,
                total: cents(0),
                details: ReceiptDetails {
                    tenders: vec![Tender {
                        kind: "cash".to_owned(),
                        amount: cents(0),
                    }],
                    till_reference: Some(n.to_string()),
                    ..ReceiptDetails::default()
                },
            };
            node.issue_receipt(&caller(n), draft).await.unwrap();
        }
    }
}

/// The state without what only says when a row was written.
fn essence(mut state: State) -> State {
    for campaign in state.campaigns.values_mut() {
        campaign.as_of = 0;
    }
    for register in state.registers.values_mut() {
        register.as_of = 0;
    }
    state.lists.retain(|_, list| list.iter().any(|byte| *byte != 0));
    state
}

/// Opens what a disk held, with and without what was derived, and compares.
fn compare(moment: &MemoryEngine, guard: &GuardState, clock: &Arc<ManualClock>, seed: u64) {
    let open = |engine: MemoryEngine| {
        let guard = Arc::new(Mutex::new(guard.clone()));
        let parts = parts(Arc::new(engine), &guard, clock);
        let (writer, report) = Writer::open(
            parts,
            Upkeep {
                checkpoint_entries: 8,
            },
        )
        .unwrap();
        assert_eq!(
            guard.lock().unwrap().size,
            writer.tree.size(),
            "seed {seed}: unsigned entries"
        );
        (writer, report)
    };
    let bare = moment.fork();
    Index::wipe(&bare).unwrap();
    let mut batch = Batch::default();
    batch.remove(rows::derived(b"state"));
    bare.commit(batch).unwrap();
    let (quick, report) = open(moment.fork());
    let (full, _) = open(bare);
    assert!(report.replayed <= full.tree.size());
    assert_eq!(quick.tree.root(), full.tree.root(), "seed {seed}");
    assert_eq!(
        essence(quick.state.clone()),
        essence(full.state.clone()),
        "seed {seed}, {report:?}"
    );
    let mut previous = (Digest::ZERO, UnixSeconds(0));
    for index in 0..quick.tree.size() {
        let recorded = find::committed_entry(quick.shared.engine.as_ref(), index).unwrap();
        assert!(
            recorded.time >= previous.1,
            "seed {seed}: time runs backwards at {index}"
        );
        previous = (recorded.hash, recorded.time);
        for n in 0..3 {
            for key in find::keys_of(&recorded, n) {
                let of = |writer: &Writer| writer.index.lookup(writer.shared.engine.as_ref(), key).unwrap();
                assert_eq!(of(&quick), of(&full), "seed {seed}: a key of entry {index}");
            }
        }
    }
}

async fn history(seed: u64) {
    let clock = Arc::new(ManualClock::new(START));
    let rows = MemoryEngine::new();
    let new = NewNode {
        name: "Dorfladen".to_owned(),
        origin: Origin::parse("https://coop.example").unwrap(),
    };
    let state = create_log(&rows, &new, &keyring(), UnixSeconds(START)).unwrap();
    let guard = Arc::new(Mutex::new(state));
    let moments = Arc::default();
    let engine = Recording {
        rows,
        guard: Arc::clone(&guard),
        moments,
    };
    let (mut dice, mut made) = (Dice(seed), Made::default());
    let (mut n, mut opened) = (0, 0);
    while n < 90 {
        opened += 1;
        clock.advance(1);
        let parts = parts(Arc::new(engine.clone()), &guard, &clock);
        let every = 5 + dice.roll(20);
        let (node, _) = Node::open_with(
            parts,
            Upkeep {
                checkpoint_entries: every,
            },
        )
        .unwrap();
        for _ in 0..10 + dice.roll(40) {
            n += 1;
            match dice.roll(12) {
                0 => clock.advance(dice.roll(30)),
                // A clock that is put back does not put the log back.
                1 => clock.set(clock.now().0.saturating_sub(dice.roll(20))),
                _ => call(&node, &mut dice, &mut made, n).await,
            }
        }
        if dice.roll(2) == 0 {
            node.shut_down().await;
        } else {
            // The thread ends with its handle; whatever it still writes is a moment too.
            let thread = node.inner.thread.lock().unwrap().take().unwrap();
            drop(node);
            thread.join().unwrap();
        }
    }
    assert!(opened > 1);
    let moments = engine.moments.lock().unwrap().clone();
    let step = 1 + dice.roll(5) as usize;
    for (moment, guard) in moments.iter().step_by(step) {
        compare(moment, guard, &clock, seed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_ends_where_the_whole_log_ends() {
    for seed in 1..=3 {
        history(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed)).await;
    }
}

fn intent(n: u8) -> NewIntent {
    let request = vec![n; 40];
    NewIntent {
        intent: Intent {
            id: RedemptionId([n; 16]),
            tag: Tag([n; 32]),
            name: CouponName { list: 0, index: 7 },
            issuer: "did:web:river.example".to_owned(),
            campaign: CampaignId([4; 16]),
            currency: Currency::from_letters("EUR").unwrap(),
            register: Register::new("lane1").unwrap(),
            wish: Wish::Redeem {
                basket_total: cents(1_250),
                amount: Some(cents(200)),
            },
            not_after: UnixSeconds(START + 600),
            request: Digest([n; 32]),
        },
        request,
        till_reference: format!("sale {n}"),
    }
}

/// Intents alone wait for the store; whatever comes next is signed together with them, and
/// so are they when nothing comes, or the node is opened after a power cut.
#[test]
fn intents_wait_for_the_store_and_are_signed_with_what_comes_next() {
    let clock = Arc::new(ManualClock::new(START));
    let rows = MemoryEngine::new();
    let new = NewNode {
        name: "Dorfladen".to_owned(),
        origin: Origin::parse("https://coop.example").unwrap(),
    };
    let state = create_log(&rows, &new, &keyring(), UnixSeconds(START)).unwrap();
    let guard = Arc::new(Mutex::new(state));
    let open = || {
        let parts = parts(Arc::new(rows.clone()), &guard, &clock);
        Node::open_by_hand(parts).unwrap()
    };
    let (node, mut writer, _) = open();
    // Status lists, if there are any, are signed first.
    while writer.turn() {}
    let signed = || guard.lock().unwrap().size;
    let before = signed();
    let begin = |writer: &mut WriterByHand, node: &Node, n: u8| {
        let prepared = node.prepare_intent(&caller(u64::from(n)), intent(n));
        let mut begun = std::pin::pin!(node.begin_intents(vec![prepared]));
        assert!(begun.as_mut().now_or_never().is_none());
        writer.turn();
        begun.now_or_never().expect("answered in this turn").unwrap()[0]
            .as_ref()
            .copied()
            .unwrap()
    };

    // Durable and visible, but in no checkpoint yet.
    assert_eq!(begin(&mut writer, &node, 1), RedemptionId([1; 16]));
    assert_eq!((signed(), node.size()), (before, before));
    assert_eq!(node.open_intents().len(), 1);
    assert!(find::committed_entry(&rows, before).is_ok());

    // What is told to others is covered, and with it all before it.
    begin(&mut writer, &node, 2);
    {
        let wish = caller(9);
        let mut wished = std::pin::pin!(node.wish_cancel(&wish, RedemptionId([1; 16])));
        assert!(wished.as_mut().now_or_never().is_none());
        writer.turn();
        wished.now_or_never().expect("answered in this turn").unwrap();
    }
    assert_eq!((signed(), node.size()), (before + 3, before + 3));

    // Nothing else comes.
    begin(&mut writer, &node, 3);
    assert_eq!(signed(), before + 3);
    assert!(writer.turn());
    assert_eq!((signed(), node.size()), (before + 4, before + 4));

    // Nor do many of them wait for ever.
    for n in 10..17 {
        begin(&mut writer, &node, n);
        assert_eq!(signed(), before + 4, "intent {n}");
    }
    begin(&mut writer, &node, 17);
    assert_eq!((signed(), node.size()), (before + 12, before + 12));

    // The power goes.
    begin(&mut writer, &node, 18);
    assert_eq!(signed(), before + 12);
    drop((node, writer));
    let (node, _, report) = open();
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("were durable but not signed yet")),
        "{:?}",
        report.notes
    );
    assert_eq!((signed(), node.size()), (before + 13, before + 13));
    assert_eq!(node.open_intents().len(), 12);
}

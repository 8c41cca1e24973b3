//! Over-redemption at the real writer: seeded stories of redemptions,
//! reversals, revocations, retries, expiries and crashes, several calls at a
//! time. An accounting of its own, made from nothing but amounts and names in
//! the log, decides whether more was ever given than was promised.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::future::join_all;
use prometheus::Registry;
use tallystick::credential::Benefit;
use tallystick::ledger::{Event, NewStatus, StatusTarget};
use tallystick::log::Entry;
use tallystick::node::{
    Caller, NewNode, Node, NodeError, NodeParts, RedemptionAnswer, RedemptionRequest, ReversalRequest,
    RevocationTarget, Scope, create_log,
};
use tallystick::primitives::{CampaignId, CouponName, RedemptionId, UnixSeconds};
use tallystick::store::{MemoryEngine, scan_entries};
use tallystick::testkit::node::MemoryGuard;
use tallystick::testkit::{
    Dice, Fault, FaultHandle, FaultyEngine, FaultyGuard, ManualClock, SeededEntropy, for_each_seed,
};

use super::world::*;

/// Coupons of the first campaign end this soon, and redemptions can be
/// reversed so long: a story takes longer.
const SHORT: u64 = 300;

/// What a campaign promises, as the accounting understands it.
#[derive(Clone, Debug)]
struct Promise {
    benefit: Benefit,
    uses: Option<u64>,
    budget: Option<i64>,
    window: Option<u64>,
    not_after: u64,
}

fn promises(dice: &Dice) -> Vec<Promise> {
    let budget = |dice: &Dice| Some(300 + dice.below(900) as i64);
    vec![
        Promise {
            benefit: Benefit::AmountOff { amount: cents(200) },
            uses: None,
            budget: None,
            window: Some(SHORT),
            not_after: START + SHORT,
        },
        Promise {
            benefit: Benefit::PercentOff {
                basis_points: 1_250,
                cap: Some(cents(150)),
            },
            uses: Some(1 + dice.below(3)),
            budget: budget(dice),
            window: None,
            not_after: START + 86_400,
        },
        Promise {
            benefit: Benefit::StoredValue { value: cents(500) },
            uses: None,
            budget: budget(dice),
            window: None,
            not_after: START + 86_400,
        },
    ]
}

/// One redemption as the log has it.
#[derive(Debug)]
struct Given {
    coupon: CouponName,
    amount: i64,
    at: u64,
    reversed: i64,
    value_back: i64,
    use_back: bool,
}

/// What was taken back or set aside.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Closed {
    revoked: bool,
    suspended: bool,
}

impl Closed {
    fn set(&mut self, status: NewStatus) {
        match status {
            NewStatus::Revoked => self.revoked = true,
            NewStatus::Suspended => self.suspended = true,
            NewStatus::Valid => self.suspended = false,
        }
    }
}

/// The accounting.
#[derive(Default)]
struct Books {
    campaigns: BTreeMap<CampaignId, (Promise, Closed)>,
    /// Campaign and batch of every coupon.
    coupons: BTreeMap<CouponName, (CampaignId, u64, Closed)>,
    given: BTreeMap<RedemptionId, (CampaignId, Given)>,
}

impl Books {
    fn check_open(&self, campaign: CampaignId, name: CouponName) {
        let (of, _, coupon) = self.coupons[&name];
        assert_eq!(of, campaign, "{name} is another campaign's");
        for closed in [coupon, self.campaigns[&campaign].1] {
            assert_eq!(
                closed,
                Closed::default(),
                "{name} was redeemed although it was closed"
            );
        }
    }

    fn close(&mut self, target: StatusTarget, status: NewStatus) {
        if let StatusTarget::Campaign(id) = target {
            self.campaigns.get_mut(&id).unwrap().1.set(status);
        }
        for (name, (campaign, batch, closed)) in &mut self.coupons {
            let meant = match target {
                StatusTarget::Campaign(id) => id == *campaign,
                StatusTarget::Batch(entry) => entry == *batch,
                StatusTarget::Coupon(coupon) => coupon == *name,
            };
            if meant {
                closed.set(status);
            }
        }
    }

    /// Takes the next entry in, and checks every promise again.
    fn take(&mut self, time: u64, event: Event) {
        match event {
            Event::Redeemed(redeemed) => {
                self.check_open(redeemed.campaign, redeemed.name);
                let promise = &self.campaigns[&redeemed.campaign].0;
                let (amount, basket) = (redeemed.amount.minor_units(), redeemed.basket_total.minor_units());
                assert!(time < promise.not_after, "redeemed after its end");
                assert!(0 < amount && amount <= basket, "{amount} off {basket}");
                match promise.benefit {
                    Benefit::AmountOff { amount: off } => assert_eq!(amount, off.minor_units().min(basket)),
                    Benefit::PercentOff { basis_points, cap } => {
                        let share = (basket * i64::from(basis_points) + 5_000) / 10_000;
                        assert_eq!(amount, cap.map_or(share, |cap| share.min(cap.minor_units())));
                    }
                    Benefit::StoredValue { .. } => {}
                }
                let given = Given {
                    coupon: redeemed.name,
                    amount,
                    at: time,
                    reversed: 0,
                    value_back: 0,
                    use_back: false,
                };
                let twice = self.given.insert(redeemed.id, (redeemed.campaign, given));
                assert!(twice.is_none(), "one identity twice");
            }
            Event::Reversed(reversed) => {
                let (campaign, given) = self.given.get_mut(&reversed.redemption).expect("of a redemption");
                let promise = &self.campaigns[campaign].0;
                assert!(
                    promise.window.is_none_or(|window| time <= given.at + window),
                    "too late"
                );
                let amount = reversed.amount.minor_units();
                given.reversed += amount;
                assert!(
                    amount > 0 && given.reversed <= given.amount,
                    "more back than was given"
                );
                if reversed.give_back {
                    assert!(!given.use_back, "a use given back twice");
                    let stored = matches!(promise.benefit, Benefit::StoredValue { .. });
                    given.value_back += amount;
                    given.use_back = given.reversed == given.amount;
                    assert!(stored || given.use_back, "a part of a use given back");
                }
            }
            Event::StatusSet(set) => self.close(set.target, set.status),
            _ => {}
        }
        self.check();
    }

    fn check(&self) {
        let mut spent: BTreeMap<CampaignId, i64> = BTreeMap::new();
        let mut of_coupons: BTreeMap<CouponName, (CampaignId, u64, i64)> = BTreeMap::new();
        for (campaign, given) in self.given.values() {
            *spent.entry(*campaign).or_default() += given.amount - given.reversed;
            let coupon = of_coupons.entry(given.coupon).or_insert((*campaign, 0, 0));
            coupon.1 += u64::from(!given.use_back);
            coupon.2 += given.amount - given.value_back;
        }
        for (campaign, spent) in spent {
            let budget = self.campaigns[&campaign].0.budget;
            assert!(
                budget.is_none_or(|budget| spent <= budget),
                "{spent} of a budget of {budget:?}"
            );
        }
        for (name, (campaign, uses, value)) in of_coupons {
            let promise = &self.campaigns[&campaign].0;
            if let Benefit::StoredValue { value: stored } = promise.benefit {
                assert!(value <= stored.minor_units(), "{name}: {value} spent of {stored}");
            } else {
                assert!(uses <= promise.uses.unwrap_or(1), "{name} was used {uses} times");
            }
        }
    }
}

/// What is asked, with what makes it the same call again.
#[derive(Clone, Debug)]
enum Ask {
    Redeem(RedemptionRequest),
    Reverse(ReversalRequest),
    Status(RevocationTarget, NewStatus),
}

#[derive(Clone, Debug, PartialEq)]
enum Got {
    Redeemed(RedemptionAnswer),
    Reversed(tallystick::node::ReversalAnswer),
    Changed(tallystick::node::StatusAnswer),
}

async fn ask(node: &Node, key: &str, what: &Ask) -> Result<Got, NodeError> {
    let scope = match what {
        Ask::Redeem(request) => Scope::Register(request.register.clone()),
        Ask::Reverse(_) | Ask::Status(..) => Scope::Office,
    };
    let caller: Caller = caller(scope, key, &format!("{what:?}"));
    Ok(match what {
        Ask::Redeem(request) => Got::Redeemed(node.redeem(&caller, request.clone()).await?),
        Ask::Reverse(request) => Got::Reversed(node.reverse(&caller, request.clone()).await?),
        Ask::Status(target, status) => Got::Changed(node.set_status(&caller, target, *status, None).await?),
    })
}

/// A node that crashes when it is told to, over rows that stay.
struct Shop {
    engine: MemoryEngine,
    guard: MemoryGuard,
    clock: Arc<ManualClock>,
    seed: u64,
    opened: u64,
}

impl Shop {
    fn new(seed: u64) -> Self {
        let engine = MemoryEngine::new();
        let new = NewNode {
            name: "Dorfladen".to_owned(),
            origin: origin(),
        };
        let state = create_log(&engine, &new, &keyring(10), UnixSeconds(START)).unwrap();
        Self {
            engine,
            guard: MemoryGuard::new(state),
            clock: Arc::new(ManualClock::new(START)),
            seed,
            opened: 0,
        }
    }

    fn open(&mut self) -> (Node, [FaultHandle; 2]) {
        self.opened += 1;
        let (engine, of_engine) = FaultyEngine::new(self.engine.clone());
        let (guard, of_guard) = FaultyGuard::new(self.guard.clone());
        let parts = NodeParts {
            engine: Arc::new(engine),
            guard: (Box::new(guard), self.guard.state()),
            keyring: keyring(10),
            options: options(),
            clock: self.clock.clone(),
            entropy: Arc::new(SeededEntropy::new(self.seed << 16 | self.opened)),
            registry: Registry::new(),
        };
        (Node::open(parts).unwrap().0, [of_engine, of_guard])
    }
}

/// The coupons and what was asked of them so far.
#[derive(Default)]
struct Story {
    coupons: Vec<(CouponName, Vec<u8>)>,
    campaigns: Vec<CampaignId>,
    batches: Vec<u64>,
    asked: Vec<(String, Ask)>,
    answered: BTreeMap<String, Got>,
    made: Vec<RedemptionId>,
}

impl Story {
    /// A call: mostly a new one, sometimes one that was made before.
    fn next(&mut self, dice: &Dice) -> (String, Ask) {
        if dice.once_in(5) && !self.asked.is_empty() {
            return self.asked[dice.place(self.asked.len())].clone();
        }
        let key = format!("key-{}", self.asked.len());
        let what = match dice.below(20) {
            0..14 => {
                let (_, coupon) = &self.coupons[dice.place(self.coupons.len())];
                let lane = lane(1 + dice.below(2) as u32);
                let reference = format!("sale-{}", dice.below(60));
                let mut request = redemption(coupon, &lane, &reference, 1 + dice.below(1_500) as i64);
                request.amount = dice.once_in(3).then(|| cents(1 + dice.below(300) as i64));
                Ask::Redeem(request)
            }
            14..19 if !self.made.is_empty() => {
                let id = self.made[dice.place(self.made.len())];
                let amount = dice.once_in(2).then(|| 1 + dice.below(200) as i64);
                let reference = format!("back-{}", dice.below(30));
                Ask::Reverse(reversal(id, &reference, amount, dice.once_in(2)))
            }
            _ => {
                let target = match dice.below(12) {
                    0 => RevocationTarget::Campaign(self.campaigns[dice.place(self.campaigns.len())]),
                    1 => RevocationTarget::Batch(self.batches[dice.place(self.batches.len())]),
                    _ => RevocationTarget::Name(self.coupons[dice.place(self.coupons.len())].0),
                };
                let all = [
                    NewStatus::Valid,
                    NewStatus::Valid,
                    NewStatus::Suspended,
                    NewStatus::Revoked,
                ];
                Ask::Status(target, all[dice.place(all.len())])
            }
        };
        self.asked.push((key.clone(), what.clone()));
        (key, what)
    }

    /// Takes an answer in; a repeat has to be the first one.
    fn heard(&mut self, key: String, got: Got) {
        if let Got::Redeemed(made) = &got {
            self.made.push(made.id);
        }
        match self.answered.get(&key) {
            Some(first) => assert_eq!(*first, got, "{key} got another answer"),
            None => drop(self.answered.insert(key, got)),
        }
    }
}

async fn begin(shop: &mut Shop, dice: &Dice) -> (Story, Books) {
    let (node, _) = shop.open();
    let (mut story, mut books) = (Story::default(), Books::default());
    for (n, promise) in promises(dice).into_iter().enumerate() {
        let mut draft = draft(&format!("c{n}"), promise.benefit);
        draft.not_after = UnixSeconds(promise.not_after);
        draft.terms.uses_per_coupon = promise.uses.map(|uses| uses as u32);
        draft.terms.budget = promise.budget.map(cents);
        draft.terms.reversal_window_seconds = promise.window;
        let campaign = node.sign_campaign(&office(), draft).await.unwrap();
        let issued = node
            .issue_coupons(&office(), order(campaign.id, 3))
            .await
            .unwrap();
        story.campaigns.push(campaign.id);
        story.batches.push(issued.entry.index);
        for coupon in issued.coupons {
            let of = (campaign.id, issued.entry.index, Closed::default());
            books.coupons.insert(coupon.name, of);
            story.coupons.push((coupon.name, coupon.credential));
        }
        books.campaigns.insert(campaign.id, (promise, Closed::default()));
    }
    node.shut_down().await;
    (story, books)
}

/// What happened in all stories.
#[derive(Debug, Default)]
struct Seen {
    redeemed: usize,
    reversed: usize,
    refused: usize,
    crashes: u64,
}

/// Rounds of several calls at once, with time passing and crashes between and
/// within them; what a crash left open is asked again, or given up.
async fn play(seed: u64, seen: &mut Seen) {
    let dice = Dice::new(seed);
    let mut shop = Shop::new(seed);
    let (mut story, mut books) = begin(&mut shop, &dice).await;
    let (mut node, mut faults) = shop.open();
    for _ in 0..12 {
        if dice.once_in(4) {
            let fault = [Fault::Persisted, Fault::NotPersisted][dice.place(2)];
            faults[dice.place(2)].fail(1 + dice.below(2), fault);
        }
        let calls: Vec<_> = (0..=dice.below(5)).map(|_| story.next(&dice)).collect();
        let answers = join_all(calls.iter().map(|(key, what)| ask(&node, key, what))).await;
        let mut crashed = false;
        for ((key, _), answer) in calls.iter().zip(answers) {
            match answer {
                Ok(got) => story.heard(key.clone(), got),
                Err(NodeError::Refused(_)) => seen.refused += 1,
                Err(NodeError::InProgress) => {}
                Err(NodeError::Stopped(_)) => crashed = true,
                Err(other) => panic!("{key}: {other:?}"),
            }
        }
        if crashed || dice.once_in(6) {
            if dice.once_in(2) {
                // Not even its last words are written.
                faults
                    .iter()
                    .for_each(|faults| faults.fail(1, Fault::NotPersisted));
            } else {
                node.shut_down().await;
            }
            seen.crashes += u64::from(crashed);
            drop(node);
            (node, faults) = shop.open();
        }
        shop.clock.advance(dice.below(60));
    }
    node.shut_down().await;
    drop(node);
    let (node, _) = shop.open();
    // Everything that was answered is answered so again.
    for (key, what) in &story.asked {
        if let Some(first) = story.answered.get(key) {
            assert_eq!(ask(&node, key, what).await.unwrap(), *first);
        }
    }
    node.shut_down().await;
    settle(&shop, &story, &mut books);
    seen.redeemed += books.given.len();
    seen.reversed += books
        .given
        .values()
        .filter(|(_, given)| given.reversed > 0)
        .count();
}

/// Reads the whole log, entry by entry, and looks for what was answered.
fn settle(shop: &Shop, story: &Story, books: &mut Books) {
    let mut entries = Vec::new();
    scan_entries(&shop.engine, 0, &mut |_, bytes| {
        entries.push(bytes.to_vec());
        ControlFlow::Continue(())
    })
    .unwrap();
    for bytes in &entries {
        let entry = Entry::decode(bytes).unwrap();
        let (event, _) = Event::from_body(entry.kind, &entry.body).unwrap();
        books.take(entry.time.0, event);
    }
    for got in story.answered.values() {
        if let Got::Redeemed(answer) = got {
            let (_, given) = &books.given[&answer.id];
            assert_eq!(given.amount, answer.amount.minor_units());
        }
    }
}

#[test]
fn nothing_is_redeemed_beyond_what_was_promised() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (mut seen, mut seeds) = (Seen::default(), 0);
    for_each_seed(60, 600, |seed| {
        runtime.block_on(play(seed, &mut seen));
        seeds += 1;
    });
    println!("{seeds} stories: {seen:?}");
    if seeds >= 50 {
        let enough = seen.redeemed > 3 * seeds && seen.reversed > seeds / 2;
        assert!(
            enough && seen.refused > seeds && seen.crashes > 10,
            "stories without events: {seen:?}"
        );
    }
}

//! Whole federations in one thread and in simulated time, in an order that a seed
//! fixes: real nodes with their HTTP, redemptions and gossip, and tills that use them,
//! while lines fail, members crash, clocks go wrong and some lie.
//!
//! What is not real: sockets and TLS, disks (rows in memory, whose commits are whole or
//! not there), and threads: writers take their turns when nothing else is left to be
//! done. The runtime has to have its clock paused, which only tests can do.

pub mod check;
pub mod liar;
pub mod line;
pub mod outsider;
pub mod prepared;
pub mod till;
pub mod world;
pub mod writers;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

use self::liar::{Liar, Lie};
use self::line::Lines;
use self::outsider::Outsider;
use self::prepared::{MEMBERS, Prepared, prepared};
use self::world::{Life, World};
use self::writers::{Doom, Writers};
use super::network::Conditions;
use super::node::keyring;
use super::{Dice, Fault};
use crate::federation::roster::SignedRoster;
use crate::ledger::NewStatus;
use crate::node::{Caller, RevocationTarget, Scope};
use crate::primitives::{Clock as _, CouponName, Digest};

/// How long it may take, after everything was mended, until all is known: a clock that
/// was ahead has to be caught up with, requests expire, pauses have grown.
const SETTLES_WITHIN: Duration = Duration::from_secs(3 * 3_600);

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Everything that was sent and when, as a number.
    pub trace: u64,
    /// The members' newest checkpoints.
    pub checkpoints: Vec<String>,
    /// How often tills were told what, and other things that happened.
    pub counts: BTreeMap<String, u64>,
}

/// Runs the federation of `seed` in `runtime`, which has one thread and a paused clock,
/// and checks what must hold.
///
/// # Panics
/// When it does not hold.
pub fn run(seed: u64, runtime: &mut tokio::runtime::Builder) -> Outcome {
    let prepared = prepared();
    let writers = Arc::new(Writers::default());
    let turns = Arc::clone(&writers);
    let runtime = runtime
        .enable_time()
        .on_thread_park(move || turns.turn())
        .build()
        .expect("a runtime");
    let all = LocalSet::new();
    all.block_on(&runtime, play(seed, prepared, writers))
}

/// What a seed has in store.
struct Plan {
    conditions: Conditions,
    lasts: Duration,
    gossips: bool,
    tills: usize,
    sales: u32,
    /// Batches that are much in demand, of two members.
    hot: Vec<usize>,
    /// Within what clocks have to keep.
    skews: Vec<i64>,
    drifts: Vec<i64>,
    liar: Option<usize>,
    has_outsider: bool,
    third: Third,
}

/// What version 3 of the roster says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Third {
    /// There is none.
    No,
    /// Another name: nobody is to notice.
    Name,
    /// The last member has left.
    Removal,
}

impl Plan {
    fn of(dice: &Dice) -> Self {
        let slow = [5, 50, 500, 4_000][dice.place(4)];
        let signed = |most: u64| {
            let size = i64::try_from(dice.below(most)).expect("a small number");
            if dice.once_in(2) { size } else { -size }
        };
        Self {
            conditions: Conditions {
                lost_percent: dice.below(30),
                doubled_percent: dice.below(15),
                delay_ms_min: 1,
                delay_ms_max: 1 + dice.below(slow),
            },
            lasts: Duration::from_secs(30 + dice.below(150)),
            gossips: dice.once_in(2),
            tills: MEMBERS + dice.place(3),
            sales: 2 + u32::try_from(dice.below(3)).expect("a small number"),
            hot: {
                let each = prepared().batches.len() / MEMBERS;
                let first = dice.place(MEMBERS);
                let members = [first, first, (first + 1) % MEMBERS];
                // Coupons that can be used once or a few times, above all.
                let kinds = [0, 0, 1, 2, 4, dice.place(each)];
                members
                    .map(|member| member * each + kinds[dice.place(kinds.len())])
                    .to_vec()
            },
            skews: (0..MEMBERS).map(|_| signed(120)).collect(),
            drifts: (0..MEMBERS).map(|_| signed(20_000)).collect(),
            liar: dice.once_in(3).then(|| dice.place(MEMBERS)),
            has_outsider: dice.once_in(3),
            third: match dice.below(6) {
                0 => Third::Removal,
                1 | 2 => Third::Name,
                _ => Third::No,
            },
        }
    }
}

async fn play(seed: u64, prepared: &'static Prepared, writers: Arc<Writers>) -> Outcome {
    let dice = Dice::new(seed);
    let plan = Plan::of(&dice);
    let origins = prepared.members.iter().map(|member| member.origin.clone());
    let lines = Lines::new(origins.collect(), plan.conditions, dice.below(u64::MAX));
    let world = World::new(
        prepared,
        (Arc::clone(&lines), writers),
        (&plan.drifts, plan.hot.clone()),
        plan.gossips,
        seed,
    );
    for member in 0..MEMBERS {
        world.clocks[member].skew(plan.skews[member]);
        world.start(member);
    }
    let tills = till::tills(plan.tills, plan.sales, seed);
    let tills: Vec<JoinHandle<()>> = tills
        .into_iter()
        .map(|till| spawn_local(till.sell(Rc::clone(&world))))
        .collect();
    let keeper = spawn_local(start_again(Rc::clone(&world), Dice::new(!seed)));
    let mut chaos = Chaos {
        world: &world,
        plan: &plan,
        dice: &dice,
        outsider: Outsider {
            prepared,
            dice: &dice,
            asked: Vec::new(),
        },
        revoked: Vec::new(),
    };
    chaos.reign().await;
    chaos.end().await;
    keeper.abort();
    for till in tills {
        if let Err(error) = till.await {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    let (revoked, forged) = (chaos.revoked, chaos.outsider.asked);
    let until = Instant::now() + SETTLES_WITHIN;
    while let Some(lacking) = check::lacking(&world, &revoked) {
        assert!(Instant::now() < until, "long after all was mended, {lacking}");
        sleep(Duration::from_secs(5)).await;
    }
    check::repeats_are_the_same(&world).await;
    let logs = check::Logs::of(&world);
    logs.halves_match();
    logs.nothing_is_exceeded();
    logs.tills_were_told_the_truth();
    logs.nothing_is_from_outside(&forged);
    outcome(&world)
}

fn outcome(world: &World) -> Outcome {
    let (trace, calls, lies) = world.lines.told();
    let mut counts = world.told.counts.borrow().clone();
    counts.insert("calls".to_owned(), calls);
    counts.insert("lies".to_owned(), lies);
    Outcome {
        trace,
        checkpoints: (0..MEMBERS)
            .map(|member| world.up(member).node.checkpoint().to_string())
            .collect(),
        counts,
    }
}

/// Starts members again that have crashed, after a while.
async fn start_again(world: Rc<World>, dice: Dice) {
    loop {
        world.writers.crashed.notified().await;
        for member in world.bury() {
            world.told.count("crashes");
            let after = Duration::from_millis(10 + dice.below(30_000));
            let world = Rc::clone(&world);
            spawn_local(async move {
                sleep(after).await;
                world.start(member);
            });
        }
    }
}

/// What goes wrong.
struct Chaos<'a> {
    world: &'a Rc<World>,
    plan: &'a Plan,
    dice: &'a Dice,
    outsider: Outsider<'a>,
    revoked: Vec<(usize, CouponName)>,
}

impl Chaos<'_> {
    async fn reign(&mut self) {
        let until = Instant::now() + self.plan.lasts;
        while Instant::now() < until {
            sleep(Duration::from_millis(100 + self.dice.below(12_000))).await;
            self.strike().await;
        }
    }

    async fn strike(&mut self) {
        let (world, dice) = (self.world, self.dice);
        let member = dice.place(MEMBERS);
        match dice.below(13) {
            0 | 1 => {
                let side: Vec<usize> = (0..MEMBERS).filter(|_| dice.once_in(2)).collect();
                world.lines.cut(&side);
            }
            2 | 3 => world.lines.cut(&[]),
            4 => {
                world.writers.crash(member);
                world.writers.crashed.notify_one();
            }
            5 | 6 => {
                let dooms = [
                    Doom::BeforeBatch,
                    Doom::AfterBatch,
                    Doom::AfterBatch,
                    |left| Doom::StoreFails(left, Fault::NotPersisted),
                    |left| Doom::StoreFails(left, Fault::Persisted),
                    |left| Doom::GuardFails(left, Fault::NotPersisted),
                    |left| Doom::GuardFails(left, Fault::Persisted),
                ];
                world
                    .writers
                    .doom(member, dooms[dice.place(dooms.len())](dice.below(3)));
            }
            7 => {
                let dooms = [Doom::BeforeBatch, Doom::AfterBatch];
                world.writers.doom(member, dooms[dice.place(dooms.len())](0));
            }
            8 => self.revoke().await,
            9 => self.tell_roster(member).await,
            10 => self.set_clock(member),
            _ => self.lie_and_intrude().await,
        }
    }

    /// Revokes a coupon that is much in demand.
    async fn revoke(&mut self) {
        let hot = self.world.hot[self.dice.place(self.world.hot.len())];
        let batch = &self.world.prepared.batches[hot];
        // The first of them, which all want, is spared now and then.
        let name = batch.coupons[self.dice.place(3)].name;
        let caller = Caller {
            scope: Scope::Office,
            idempotency_key: format!("revocation-{name}"),
            request: Digest::ZERO,
        };
        let target = RevocationTarget::Name(name);
        let set = self.world.at(batch.issuer, async |life: &Life| {
            let status = NewStatus::Revoked;
            life.node.set_status(&caller, &target, status, None).await
        });
        if let Some(Ok(_)) = set.await {
            self.world.told.count("revoked");
            self.revoked.push((batch.issuer, name));
        }
    }

    fn third(&self) -> Option<SignedRoster> {
        let prepared = self.world.prepared;
        match self.plan.third {
            Third::No => None,
            Third::Name => Some(prepared.third(|draft| draft.rename("Valley and Hills".to_owned()))),
            Third::Removal => Some(prepared.third(|draft| {
                let last = &prepared.members[MEMBERS - 1];
                draft.remove(&last.did, 1_000).expect("an active member");
            })),
        }
    }

    /// Gives a member the next roster; the others hear of it from there.
    async fn tell_roster(&self, member: usize) {
        let Some(third) = self.third() else { return };
        if self.plan.third == Third::Removal {
            self.world.left.borrow_mut().insert(MEMBERS - 1);
        }
        let told = self
            .world
            .at(member, async |life: &Life| life.rosters.offer(&third, None).await);
        if let Some(told) = told.await {
            told.expect("a good version");
            self.world.told.count("rosters told");
        }
    }

    /// A clock goes wrong by more than it may, or is put right.
    fn set_clock(&self, member: usize) {
        let seconds = match self.dice.below(4) {
            0 => 400 + i64::try_from(self.dice.below(800)).expect("a small number"),
            1 => -400 - i64::try_from(self.dice.below(800)).expect("a small number"),
            _ => self.plan.skews[member],
        };
        self.world.clocks[member].skew(seconds);
    }

    async fn lie_and_intrude(&mut self) {
        if let Some(member) = self.plan.liar {
            let lie = Lie::ALL[self.dice.place(Lie::ALL.len())];
            if lie == Lie::NeverMade {
                self.world.denies.set(Some(member));
            }
            self.world.lines.lies(Some(Liar {
                member,
                lie,
                key: keyring(self.world.prepared.members[member].seed).messages,
                directory: Arc::clone(&self.world.prepared.directory),
                clock: Arc::<world::SimClock>::clone(&self.world.clocks[member]),
            }));
        }
        if self.plan.has_outsider {
            let now = self.world.clocks[0].now();
            self.outsider.ask(&self.world.lines, now).await;
            self.outsider.replay(&self.world.lines).await;
        }
    }

    /// Everything is mended.
    async fn end(&mut self) {
        let world = self.world;
        world.writers.spare_all();
        world.lines.cut(&[]);
        world.lines.lies(None);
        world.lines.conditions(Conditions::GOOD);
        world.bury();
        for member in 0..MEMBERS {
            world.clocks[member].skew(self.plan.skews[member]);
            world.start(member);
        }
        // Who has heard of it from nobody hears of it now.
        if self.plan.third != Third::No {
            self.tell_roster(0).await;
        }
    }
}

//! Whole federations in one thread and in simulated time, in an order that a seed
//! fixes: real nodes with their HTTP, redemptions and gossip, and tills that use them,
//! while lines fail, members crash, clocks go wrong and some lie.
//!
//! What is not real: sockets and TLS, disks (rows in memory, whose commits are whole or
//! not there), and threads: writers take their turns when nothing else is left to be
//! done. The runtime has to have its clock paused, which only tests can do.

pub mod audited;
pub mod check;
pub mod forged;
pub mod fork;
pub mod liar;
pub mod line;
pub mod outsider;
mod plan;
pub mod prepared;
pub mod shown;
pub mod till;
pub mod world;
pub mod writers;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

use self::fork::Fork;
use self::liar::Liar;
use self::line::Lines;
use self::outsider::Outsider;
use self::plan::{Plan, Third};
use self::prepared::{MEMBERS, Prepared, prepared};
use self::world::{Life, World};
use self::writers::{Doom, Writers};
use super::network::Conditions;
use super::node::keyring;
use super::{Dice, Fault};
use crate::federation::RostersError;
use crate::federation::roster::SignedRoster;
use crate::ledger::NewStatus;
use crate::node::{Caller, NodeError, RevocationTarget, Scope};
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
    let runtime = runtime_of(runtime, &writers);
    let all = LocalSet::new();
    all.block_on(&runtime, play(seed, prepared, writers))
}

/// A runtime in which writers take their turns when nothing else is left to be done.
fn runtime_of(builder: &mut tokio::runtime::Builder, writers: &Arc<Writers>) -> tokio::runtime::Runtime {
    let turns = Arc::clone(writers);
    builder
        .enable_time()
        .on_thread_park(move || turns.turn())
        .build()
        .expect("a runtime")
}

async fn play(seed: u64, prepared: &'static Prepared, writers: Arc<Writers>) -> Outcome {
    let dice = Dice::new(seed);
    let plan = Plan::of(seed, &dice);
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
    let tills: Vec<(usize, JoinHandle<()>)> = tills
        .into_iter()
        .map(|till| (till.member, spawn_local(till.sell(Rc::clone(&world)))))
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
        fork: plan.forks.map(Fork::of),
        tills: tills
            .iter()
            .map(|(member, till)| (*member, till.abort_handle()))
            .collect(),
    };
    chaos.lie();
    chaos.reign().await;
    chaos.end().await;
    keeper.abort();
    for (_, till) in tills {
        if let Err(error) = till.await
            && error.is_panic()
        {
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
    fork::those_who_forked_are_convicted(&world).await;
    let logs = check::Logs::of(&world);
    logs.halves_match();
    logs.nobody_believes_two_histories();
    logs.nothing_is_exceeded();
    logs.nothing_is_cancelled_unasked();
    logs.tills_were_told_the_truth();
    logs.nothing_is_from_outside(&forged);
    if plan.is_audited {
        audited::logs_are_clean(&world);
        world.told.count("audits");
    }
    outcome(&world)
}

fn outcome(world: &World) -> Outcome {
    let (trace, calls, lies) = world.lines.told();
    let mut counts = world.told.counts.borrow().clone();
    counts.insert("calls".to_owned(), calls);
    counts.extend(lies);
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
    fork: Option<Fork>,
    tills: Vec<(usize, AbortHandle)>,
}

impl Chaos<'_> {
    async fn reign(&mut self) {
        let until = Instant::now() + self.plan.lasts;
        while Instant::now() < until {
            sleep(Duration::from_millis(100 + self.dice.below(12_000))).await;
            self.strike().await;
            let set_back = self
                .fork
                .as_mut()
                .and_then(|fork| fork.step(self.world, self.dice));
            self.send_home(set_back);
            // What its partners ask of it next shows both histories, or only gossip does.
            if set_back.is_some()
                && self.dice.once_in(2)
                && let Some(fork) = &mut self.fork
            {
                fork.outgrow(self.world).await;
            }
        }
    }

    /// Tills at a member that has forgotten what it told them work no longer.
    fn send_home(&self, set_back: Option<usize>) {
        for (_, till) in self.tills.iter().filter(|(member, _)| set_back == Some(*member)) {
            till.abort();
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
                    |left| Doom::StoreFails(left, Fault::NotPersisted),
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
        match told.await {
            None | Some(Err(RostersError::Node(NodeError::Stopped(_)))) => {}
            Some(told) => {
                told.expect("a good version");
                self.world.told.count("rosters told");
            }
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

    /// Whoever lies begins with it.
    fn lie(&self) {
        let Some((member, lies)) = &self.plan.liar else {
            return;
        };
        self.world.lines.lies(Some(Liar {
            member: *member,
            lies: lies.clone(),
            keyring: Arc::new(keyring(self.world.prepared.members[*member].seed)),
            clock: Arc::<world::SimClock>::clone(&self.world.clocks[*member]),
        }));
    }

    async fn lie_and_intrude(&mut self) {
        if self.dice.once_in(3) {
            self.world.lines.lies(None);
        } else {
            self.lie();
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
        if self.plan.has_outsider {
            self.outsider.replay_all(&world.lines).await;
        }
        if let Some(fork) = &mut self.fork {
            let set_back = fork.finish(world, self.dice).await;
            self.send_home(set_back);
        }
        // Who has heard of it from nobody hears of it now.
        if self.plan.third != Third::No {
            self.tell_roster(0).await;
        }
    }
}

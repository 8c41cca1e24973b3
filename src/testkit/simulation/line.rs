//! The lines between simulated members: messages are lost, late, overtaken and doubled,
//! lines are cut, and whoever is down cannot be reached; all in an order that a seed
//! fixes. What arrives is answered by the member itself.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::liar::{Earlier, Liar};
use crate::federation::peers::{Carrier, PeerError};
use crate::federation::redemption;
use crate::federation::rosters::Rosters;
use crate::node::Node;
use crate::primitives::{Origin, limits};
use crate::testkit::Dice;
use crate::testkit::network::Conditions;

/// Messages that ask for redemptions which are kept: most runs have fewer.
const ASKED_KEPT_MAX: usize = 200;

/// One run of a member, from its start to its crash.
#[derive(Debug, Default)]
pub struct Alive(AtomicBool);

impl Alive {
    /// A run that has begun.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    /// It ends: nothing that it does counts any more.
    pub fn end(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// Whether it goes on.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A call to a member's node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Path and query.
    pub path: String,
    /// The message that is posted; `None` for a GET.
    pub message: Option<Vec<u8>>,
}

/// A call that has arrived.
#[derive(Debug)]
pub struct Arrival {
    /// It.
    pub call: Call,
    /// Where its answer goes: status and body.
    pub answer: oneshot::Sender<(u16, Vec<u8>)>,
}

/// A member that can be reached.
#[derive(Clone)]
pub struct Door {
    /// Where calls go in.
    pub arrivals: mpsc::UnboundedSender<Arrival>,
    /// The node behind it, which a member that lies has at hand.
    pub node: Node,
    /// The roster that it follows.
    pub rosters: Arc<Rosters>,
}

/// All lines.
pub struct Lines {
    origins: Vec<Origin>,
    state: Mutex<State>,
}

struct State {
    dice: Dice,
    conditions: Conditions,
    sides: Vec<u8>,
    doors: Vec<Option<Door>>,
    /// Who lies, and how it changes its answers.
    liar: Option<Liar>,
    /// Messages as they were posted, for those who send them once more.
    posted: Vec<(usize, Call)>,
    /// Those among them that ask for redemptions, more of them.
    asked: Vec<(usize, Call)>,
    /// What the liar has answered.
    answers: Vec<Earlier>,
    trace: DefaultHasher,
    began: Instant,
    calls: u64,
    lies: BTreeMap<String, u64>,
}

/// What becomes of one call.
struct Fate {
    there: Duration,
    back: Duration,
    lost_there: bool,
    lost_back: bool,
    /// A lost message is noticed at once, or only when the time is up.
    is_noticed: bool,
    copy_after: Option<Duration>,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Lines {
    /// Lines between the members at `origins`, none of which is up.
    #[must_use]
    pub fn new(origins: Vec<Origin>, conditions: Conditions, seed: u64) -> Arc<Self> {
        let state = State {
            dice: Dice::new(seed),
            conditions,
            sides: vec![0; origins.len()],
            doors: origins.iter().map(|_| None).collect(),
            liar: None,
            posted: Vec::new(),
            asked: Vec::new(),
            answers: Vec::new(),
            trace: DefaultHasher::new(),
            began: Instant::now(),
            calls: 0,
            lies: BTreeMap::new(),
        };
        Arc::new(Self {
            origins,
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// How member `from`, in this run of it, calls others.
    #[must_use]
    pub fn carrier(self: &Arc<Self>, from: usize, alive: &Arc<Alive>) -> Arc<dyn Carrier> {
        Arc::new(Line {
            lines: Arc::clone(self),
            from,
            alive: Arc::clone(alive),
        })
    }

    /// Lets calls in at a member; `None`: it is down.
    pub fn door(&self, member: usize, door: Option<Door>) {
        self.state().doors[member] = door;
    }

    /// Other conditions from now on.
    pub fn conditions(&self, conditions: Conditions) {
        self.state().conditions = conditions;
    }

    /// Cuts these members off from all others; with none, all lines are whole.
    pub fn cut(&self, side: &[usize]) {
        let mut state = self.state();
        for (member, place) in state.sides.iter_mut().enumerate() {
            *place = u8::from(side.contains(&member));
        }
    }

    /// From now on this member's answers are changed so; `None`: nobody lies.
    pub fn lies(&self, liar: Option<Liar>) {
        self.state().liar = liar;
    }

    /// What has happened so far, as one number; calls that were made, and lies told, by
    /// their kinds.
    #[must_use]
    pub fn told(&self) -> (u64, u64, BTreeMap<String, u64>) {
        let state = self.state();
        (state.trace.finish(), state.calls, state.lies.clone())
    }

    /// A message as it was posted before, and to whom.
    #[must_use]
    pub fn posted(&self, choose: impl FnOnce(usize) -> usize) -> Option<(usize, Call)> {
        let state = self.state();
        let count = state.posted.len();
        (count > 0).then(|| state.posted[choose(count)].clone())
    }

    /// All messages that asked for redemptions so far, with whom they were for.
    #[must_use]
    pub fn asked(&self) -> Vec<(usize, Call)> {
        self.state().asked.clone()
    }

    /// A call that nobody's line carries: from outside, at once. `None` when there is no
    /// answer.
    pub async fn from_outside(&self, to: usize, call: Call) -> Option<(u16, Vec<u8>)> {
        let (answer, answered) = oneshot::channel();
        let door = self.state().doors[to].clone()?;
        door.arrivals.send(Arrival { call, answer }).ok()?;
        answered.await.ok()
    }

    fn fate(&self, from: usize, to: usize, call: &Call) -> Fate {
        let mut state = self.state();
        state.calls += 1;
        let at = state.began.elapsed().as_millis();
        (at, from, to, &call.path, &call.message).hash(&mut state.trace);
        if call.message.is_some() && state.posted.len() < limits::REQUESTS_PER_MESSAGE_MAX {
            state.posted.push((to, call.clone()));
        }
        if call.path == redemption::PATH && state.asked.len() < ASKED_KEPT_MAX {
            state.asked.push((to, call.clone()));
        }
        let Conditions {
            lost_percent,
            doubled_percent,
            delay_ms_min,
            delay_ms_max,
        } = state.conditions;
        let dice = &state.dice;
        let delay = || Duration::from_millis(delay_ms_min + dice.below(delay_ms_max - delay_ms_min + 1));
        Fate {
            there: delay(),
            back: delay(),
            lost_there: dice.below(100) < lost_percent,
            lost_back: dice.below(100) < lost_percent,
            is_noticed: dice.once_in(2),
            copy_after: (dice.below(100) < doubled_percent).then(|| delay() * 4),
        }
    }

    /// The door of a member, if a line leads there.
    fn reached(&self, from: usize, to: usize) -> Option<mpsc::UnboundedSender<Arrival>> {
        let state = self.state();
        if state.sides[from] == state.sides[to] {
            state.doors[to].as_ref().map(|door| door.arrivals.clone())
        } else {
            None
        }
    }

    /// The answer of `from` to `to` as it, or whoever is in the middle, hands it on.
    fn handed_on(&self, (from, to): (usize, usize), (status, body): (u16, Vec<u8>)) -> (u16, Vec<u8>) {
        let mut state = self.state();
        let at = state.began.elapsed().as_millis();
        (at, from, status, body.len()).hash(&mut state.trace);
        let Some(liar) = state.liar.clone().filter(|liar| liar.member == from) else {
            return (status, body);
        };
        let Some(door) = state.doors[from].clone() else {
            return (status, body);
        };
        let read = liar.read(&door, &self.origins[to].did_web(), &body);
        let told = liar.told(&state.dice, &door.node, (&body, read.as_ref()), &state.answers);
        if status == 200 && state.answers.len() < limits::REQUESTS_PER_MESSAGE_MAX {
            state.answers.push(Earlier {
                bytes: body.clone(),
                answer: read.map(|(_, answer)| answer),
            });
        }
        match told {
            Some((lie, told)) => {
                *state.lies.entry(format!("lie: {lie:?}")).or_default() += 1;
                told
            }
            None => (status, body),
        }
    }
}

/// The line of one member to all others.
#[derive(Debug)]
struct Line {
    lines: Arc<Lines>,
    from: usize,
    alive: Arc<Alive>,
}

impl Line {
    async fn call(&self, member: &Origin, call: Call) -> Result<(u16, Vec<u8>), PeerError> {
        let url = format!("{member}{}", call.path);
        let until = Instant::now() + Duration::from_secs(limits::PEER_ANSWER_SECONDS_MAX);
        match timeout_at(until, self.exchange(member, &url, call)).await {
            Ok(answer) => answer,
            Err(_) => Err(no_answer(&url, "the time is up")),
        }
    }

    async fn exchange(&self, member: &Origin, url: &str, call: Call) -> Result<(u16, Vec<u8>), PeerError> {
        let lines = &self.lines;
        let to = lines.origins.iter().position(|origin| origin == member);
        let not_reached = |why: &str| PeerError::NotReached {
            url: url.to_owned(),
            why: why.to_owned(),
        };
        let to = to.ok_or_else(|| not_reached("there is no such host"))?;
        if !self.alive.goes_on() {
            return Err(not_reached("the caller is down"));
        }
        let fate = lines.fate(self.from, to, &call);
        sleep(fate.there).await;
        let Some(door) = lines.reached(self.from, to) else {
            if fate.is_noticed {
                return Err(not_reached("nobody is there"));
            }
            sleep(Duration::from_secs(limits::PEER_CONNECT_SECONDS_MAX)).await;
            return Err(not_reached("nobody answers"));
        };
        if fate.lost_there {
            return lost(url, fate.is_noticed).await;
        }
        if let Some(after) = fate.copy_after {
            let (door, call) = (door.clone(), call.clone());
            tokio::spawn(async move {
                sleep(after).await;
                let (answer, _) = oneshot::channel();
                // Nobody waits for the answer to a copy.
                let _ = door.send(Arrival { call, answer });
            });
        }
        let (answer, answered) = oneshot::channel();
        if door.send(Arrival { call, answer }).is_err() {
            return Err(not_reached("nobody is there"));
        }
        let answer = answered
            .await
            .map_err(|_| no_answer(url, "the connection broke"))?;
        let answer = lines.handed_on((to, self.from), answer);
        sleep(fate.back).await;
        if fate.lost_back || lines.reached(self.from, to).is_none() || !self.alive.goes_on() {
            return lost(url, fate.is_noticed).await;
        }
        Ok(answer)
    }
}

/// The connection breaks, or nothing is heard any more.
async fn lost<T>(url: &str, is_noticed: bool) -> Result<T, PeerError> {
    if !is_noticed {
        std::future::pending::<()>().await;
    }
    Err(no_answer(url, "the connection broke"))
}

fn no_answer(url: &str, why: &str) -> PeerError {
    PeerError::NoAnswer {
        url: url.to_owned(),
        why: why.to_owned(),
    }
}

impl Carrier for Line {
    fn post<'a>(
        &'a self,
        member: &'a Origin,
        path: &'a str,
        message: Vec<u8>,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, PeerError>> {
        Box::pin(async move {
            let call = Call {
                path: path.to_owned(),
                message: Some(message),
            };
            let url = format!("{member}{path}");
            match self.call(member, call).await? {
                (200, body) => whole(url, body, most),
                (status, body) => Err(PeerError::of_problem(url, status, None, &body)),
            }
        })
    }

    fn get<'a>(
        &'a self,
        member: &'a Origin,
        path: &'a str,
        most: usize,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, PeerError>> {
        Box::pin(async move {
            let call = Call {
                path: path.to_owned(),
                message: None,
            };
            let url = format!("{member}{path}");
            match self.call(member, call).await? {
                (200, body) => whole(url, body, most).map(Some),
                (404 | 410, _) => Ok(None),
                (status, body) => Err(PeerError::of_problem(url, status, None, &body)),
            }
        })
    }
}

fn whole(url: String, body: Vec<u8>, most: usize) -> Result<Vec<u8>, PeerError> {
    if body.len() <= most {
        Ok(body)
    } else {
        Err(PeerError::TooLong { url, most })
    }
}

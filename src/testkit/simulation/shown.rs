//! A second history that a member's key has signed and that is shown in one checkpoint
//! alone, to one member alone: it is found all the same, and convicts.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::line::{Call, Lines};
use super::prepared::{MEMBERS, Prepared, prepared};
use super::world::World;
use super::writers::Writers;
use super::{fork, runtime_of};
use crate::federation::gossip::Kind;
use crate::federation::gossip::body::Body;
use crate::federation::gossiper::{PATH, WhichEvidence};
use crate::federation::message::{Head, MessageName, seal};
use crate::federation::mirrored::{Lost, MirroredError, check_with_gossip};
use crate::log::{Checkpoint, KeyKind, VerifierKey};
use crate::primitives::{Clock as _, Digest};
use crate::testkit::Dice;
use crate::testkit::network::Conditions;
use crate::testkit::node::keyring;

/// Long enough for some rounds of gossip.
const WITHIN: Duration = Duration::from_secs(15 * 60);

/// To whom, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// To another member, when that holds a newer checkpoint.
    Late,
    /// To another member while it cannot read the log; a newer checkpoint comes after it.
    Unread,
    /// To the member itself, which holds a newer one.
    Itself,
}

impl Shown {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Late, Self::Unread, Self::Itself];
}

/// Runs the federation of `seed` as [`run`](super::run) does, with nothing but this in it.
///
/// # Panics
/// When the second history is not found.
pub fn run(seed: u64, shown: Shown, runtime: &mut tokio::runtime::Builder) {
    let writers = Arc::new(Writers::default());
    // Made in a runtime of its own.
    let prepared = prepared();
    let runtime = runtime_of(runtime, &writers);
    LocalSet::new().block_on(&runtime, play(seed, shown, prepared, writers));
}

async fn play(seed: u64, shown: Shown, prepared: &'static Prepared, writers: Arc<Writers>) {
    let dice = Dice::new(seed);
    let conditions = Conditions {
        lost_percent: dice.below(20),
        doubled_percent: dice.below(15),
        delay_ms_min: 1,
        delay_ms_max: 1 + dice.below(500),
    };
    let origins = prepared.members.iter().map(|member| member.origin.clone());
    let lines = Lines::new(origins.collect(), conditions, dice.below(u64::MAX));
    let world = World::new(
        prepared,
        (Arc::clone(&lines), writers),
        (&[0; MEMBERS], Vec::new()),
        true,
        seed,
    );
    for member in 0..MEMBERS {
        world.start(member);
    }
    let owner = dice.place(MEMBERS);
    let other = |n: usize| (owner + n) % MEMBERS;
    let (told, teller) = (other(1 + dice.place(2)), other(3));
    let scene = Scene {
        world: &world,
        owner,
        teller,
    };
    fork::grow(&world, owner, 1).await;
    let size = world.up(owner).node.size();
    scene.all_have_cosigned(size).await;
    match shown {
        Shown::Late => {
            let note = scene.invented(1 + dice.below(size));
            scene.bring(told, &note).await;
        }
        Shown::Unread => {
            // It hears of both from whoever comes by, and reads nothing.
            lines.cut(&[told]);
            scene.bring(told, &scene.invented(size + 1)).await;
            for more in 2..4 {
                fork::grow(&world, owner, more).await;
            }
            sleep(Duration::from_secs(dice.below(120))).await;
            let newest = world.up(owner).node.checkpoint().to_string();
            scene.bring(told, &newest).await;
            sleep(Duration::from_secs(dice.below(120))).await;
            lines.cut(&[]);
        }
        Shown::Itself => {
            let note = scene.invented(1 + dice.below(size));
            scene.bring(owner, &note).await;
        }
    }
    scene.is_stopped_and_convicted(shown).await;
}

struct Scene<'a> {
    world: &'a Rc<World>,
    owner: usize,
    teller: usize,
}

impl Scene<'_> {
    /// A checkpoint of the owner's log that this does not contain.
    fn invented(&self, size: u64) -> String {
        let member = &self.world.prepared.members[self.owner];
        let signer = keyring(member.seed).log;
        let key = VerifierKey::of(member.origin.authority(), KeyKind::Ed25519, signer.public());
        let key = key.expect("a key for a log");
        let checkpoint = Checkpoint::new(key.name(), size, Digest([7; 32]));
        let note = checkpoint.sign(&key, |bytes| signer.sign(bytes));
        note.expect("a checkpoint").to_string()
    }

    /// Has the teller bring a checkpoint to a member, whatever the lines are like.
    async fn bring(&self, to: usize, note: &str) {
        let members = &self.world.prepared.members;
        let body = Body {
            items: vec![(u64::from(Kind::Checkpoint.number()), note.as_bytes().to_vec())],
            ..Body::default()
        };
        let now = self.world.clocks[to].now();
        let mut id = [0xdd; 16];
        id[..8].copy_from_slice(&now.0.to_be_bytes());
        let head = Head {
            sender: members[self.teller].did.clone(),
            audience: members[to].did.clone(),
            time: now,
            id,
            roster_version: 2,
        };
        let key = keyring(members[self.teller].seed).messages;
        let call = Call {
            path: PATH.to_owned(),
            message: Some(seal(&key, MessageName::Gossip, &head, &body.encode())),
        };
        // Who stops for it does not answer.
        let _ = self.world.lines.from_outside(to, call).await;
    }

    async fn all_have_cosigned(&self, size: u64) {
        let others = || (0..MEMBERS).filter(|member| *member != self.owner);
        let cosigned = |other| self.world.cosigned(other, self.owner);
        let all = || others().all(|other| cosigned(other).is_some_and(|(_, of)| of >= size));
        self.until("all have cosigned", || async { all() }).await;
    }

    /// The owner signs nothing any more, and would not start again; all others know why, where
    /// they can, and suspect nobody else.
    async fn is_stopped_and_convicted(&self, shown: Shown) {
        let world = self.world;
        self.until("the owner has stopped", || async {
            world.life(self.owner).is_none()
        })
        .await;
        world.bury();
        world.start(self.owner);
        let lost = check_with_gossip(&world.up(self.owner).node);
        assert!(
            matches!(lost, Err(MirroredError::Lost(Lost::Convicted { .. }))),
            "it starts again: {lost:?}"
        );
        // Its process would have told them before its end.
        if shown == Shown::Itself {
            return;
        }
        let known = || async {
            for member in (0..MEMBERS).filter(|member| *member != self.owner) {
                let life = world.up(member);
                let evidence = match &life.gossiper {
                    Some(gossiper) => gossiper.evidence(&WhichEvidence::default()).await.shown,
                    None => Vec::new(),
                };
                let by_owner = |did: &str| world.by_did(did) == Some(self.owner);
                assert!(evidence.iter().all(|held| by_owner(&held.member)));
                if evidence.is_empty() {
                    return false;
                }
            }
            true
        };
        self.until("all others know", known).await;
    }

    async fn until<F: Future<Output = bool>>(&self, what: &str, holds: impl Fn() -> F) {
        let until = Instant::now() + WITHIN;
        while !holds().await {
            assert!(Instant::now() < until, "never: {what}");
            sleep(Duration::from_secs(1)).await;
        }
    }
}

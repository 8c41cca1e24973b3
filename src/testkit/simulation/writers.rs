//! The writers of all simulated members: they get their turns whenever nothing else is
//! left to be done, and that is where crashes are the most interesting.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::line::Alive;
use crate::node::WriterByHand;
use crate::testkit::{Fault, FaultHandle};

/// When a member is to crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doom {
    /// When so many more batches were taken, and before the next one: what waits is lost.
    BeforeBatch(u64),
    /// When so many more batches were taken, after the next one: it is durable, and
    /// nobody was told.
    AfterBatch(u64),
    /// When so many more batches were taken, the next one cannot be stored, or so it
    /// seems.
    StoreFails(u64, Fault),
    /// The same of the guard.
    GuardFails(u64, Fault),
}

/// The writers.
#[derive(Default)]
pub struct Writers {
    slots: Mutex<Vec<Option<Slot>>>,
    /// Told when one has crashed.
    pub crashed: Notify,
}

struct Slot {
    writer: WriterByHand,
    alive: Arc<Alive>,
    faults: Faults,
    doom: Option<Doom>,
}

/// What makes a member's store and guard fail.
#[derive(Debug)]
pub struct Faults {
    /// The store.
    pub store: FaultHandle,
    /// The guard.
    pub guard: FaultHandle,
}

impl fmt::Debug for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writers").finish_non_exhaustive()
    }
}

impl Writers {
    fn slots(&self) -> MutexGuard<'_, Vec<Option<Slot>>> {
        self.slots.lock().expect("no holder of this lock panics")
    }

    /// Takes the writer of a member that starts.
    pub fn put(&self, member: usize, writer: WriterByHand, faults: Faults, alive: Arc<Alive>) {
        let mut slots = self.slots();
        while slots.len() <= member {
            slots.push(None);
        }
        slots[member] = Some(Slot {
            writer,
            alive,
            faults,
            doom: None,
        });
    }

    /// A member crashes at once.
    pub fn crash(&self, member: usize) {
        if let Some(slot) = self.slots()[member].take() {
            slot.alive.end();
        }
    }

    /// A member is to crash, if it is up.
    pub fn doom(&self, member: usize, doom: Doom) {
        if let Some(slot) = &mut self.slots()[member] {
            slot.doom = Some(doom);
        }
    }

    /// Nobody is to crash any more, but those who do already.
    pub fn spare_all(&self) {
        for place in self.slots().iter_mut() {
            let Some(slot) = place else { continue };
            slot.doom = None;
            slot.faults.store.spare();
            slot.faults.guard.spare();
            if slot.writer.has_stopped() {
                slot.alive.end();
                *place = None;
            }
        }
    }

    /// Gives each writer a turn. One whose store or guard has failed says so to those who
    /// wait, who may act on what they were told: its member ends with the next turn.
    pub fn turn(&self) {
        for place in self.slots().iter_mut() {
            let Some(slot) = place else { continue };
            if !slot.turn() {
                slot.alive.end();
                *place = None;
                self.crashed.notify_one();
            }
        }
    }
}

impl Slot {
    /// False when it crashes.
    fn turn(&mut self) -> bool {
        if self.writer.has_stopped() {
            return false;
        }
        let is_batch = self.writer.is_waited_for();
        if let (Some(doom), true) = (&mut self.doom, is_batch) {
            match doom {
                Doom::BeforeBatch(0) => return false,
                Doom::AfterBatch(0) => {
                    self.writer.turn();
                    return false;
                }
                Doom::StoreFails(0, fault) => self.faults.store.fail(1, *fault),
                Doom::GuardFails(0, fault) => self.faults.guard.fail(1, *fault),
                Doom::BeforeBatch(left)
                | Doom::AfterBatch(left)
                | Doom::StoreFails(left, _)
                | Doom::GuardFails(left, _) => *left -= 1,
            }
        }
        self.writer.turn();
        true
    }
}

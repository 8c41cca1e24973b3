//! A network in which everything can go wrong, in an order that a seed fixes: messages
//! are lost, late, overtaken, doubled; nodes are cut off, crash and come back; clocks
//! differ. What the nodes are, and what the messages, is whoever's who uses it.

use std::collections::BTreeMap;

use super::Dice;
use crate::primitives::UnixSeconds;

/// What befalls messages.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// Of a hundred messages so many are lost.
    pub lost_percent: u64,
    /// Of a hundred messages so many come twice.
    pub doubled_percent: u64,
    /// How long a message takes, at least, in milliseconds.
    pub delay_ms_min: u64,
    /// And at most: where the two differ, messages overtake each other.
    pub delay_ms_max: u64,
}

impl Conditions {
    /// A network at its best: a millisecond's delay.
    pub const GOOD: Self = Self {
        lost_percent: 0,
        doubled_percent: 0,
        delay_ms_min: 1,
        delay_ms_max: 1,
    };
}

/// What happens at a node.
#[derive(Clone, Debug)]
pub enum Event<M> {
    /// A message has come.
    Arrives {
        /// From which node.
        from: usize,
        /// At which one.
        to: usize,
        /// What it is.
        message: M,
    },
    /// The time for which a node has asked has passed.
    Wakes {
        /// Which node.
        node: usize,
        /// What it asked for.
        what: u64,
    },
}

struct Planned<M> {
    /// Which life of the node it is meant for: a crash ends one.
    life: u64,
    event: Event<M>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    life: u64,
    is_up: bool,
    side: u8,
    skew_seconds: i64,
}

/// The network, with its time.
pub struct Network<M> {
    now_ms: u64,
    number: u64,
    planned: BTreeMap<(u64, u64), Planned<M>>,
    places: Vec<Place>,
    conditions: Conditions,
    dice: Dice,
    /// Messages that were sent, those that got lost included.
    pub sent: u64,
}

impl<M: Clone> Network<M> {
    /// `nodes` nodes, all up, at `start`.
    #[must_use]
    pub fn new(nodes: usize, start: UnixSeconds, conditions: Conditions, seed: u64) -> Self {
        let place = Place {
            life: 0,
            is_up: true,
            side: 0,
            skew_seconds: 0,
        };
        Self {
            now_ms: start.0 * 1_000,
            number: 0,
            planned: BTreeMap::new(),
            places: vec![place; nodes],
            conditions,
            dice: Dice::new(seed),
            sent: 0,
        }
    }

    /// The time that is right, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// What the clock of a node shows.
    #[must_use]
    pub fn clock(&self, node: usize) -> UnixSeconds {
        let right = self.now_ms / 1_000;
        UnixSeconds(right.saturating_add_signed(self.places[node].skew_seconds))
    }

    /// Sets the clock of a node wrong, for good.
    pub fn skew(&mut self, node: usize, seconds: i64) {
        self.places[node].skew_seconds = seconds;
    }

    /// Other conditions from now on.
    pub fn conditions(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    /// Cuts `side` off from all others, until they are joined again.
    pub fn cut(&mut self, side: &[usize]) {
        for (node, place) in self.places.iter_mut().enumerate() {
            place.side = u8::from(side.contains(&node));
        }
    }

    /// Joins what was cut.
    pub fn heal(&mut self) {
        self.cut(&[]);
    }

    /// A node stops at once: what was on its way to it is lost, and it does not wake.
    pub fn crash(&mut self, node: usize) {
        self.places[node].is_up = false;
        self.places[node].life += 1;
    }

    /// It is there again.
    pub fn restart(&mut self, node: usize) {
        self.places[node].is_up = true;
    }

    /// Whether a node is up.
    #[must_use]
    pub fn is_up(&self, node: usize) -> bool {
        self.places[node].is_up
    }

    /// Sends a message; what becomes of it is a matter of luck.
    pub fn send(&mut self, from: usize, to: usize, message: M) {
        self.sent += 1;
        if self.dice.below(100) < self.conditions.lost_percent {
            return;
        }
        let copies = 1 + u64::from(self.dice.below(100) < self.conditions.doubled_percent);
        for _ in 0..copies {
            let Conditions {
                delay_ms_min,
                delay_ms_max,
                ..
            } = self.conditions;
            let after = delay_ms_min + self.dice.below(delay_ms_max - delay_ms_min + 1);
            let message = message.clone();
            self.plan(to, after, Event::Arrives { from, to, message });
        }
    }

    /// Wakes a node after some time.
    pub fn wake(&mut self, node: usize, after_ms: u64, what: u64) {
        self.plan(node, after_ms, Event::Wakes { node, what });
    }

    fn plan(&mut self, node: usize, after_ms: u64, event: Event<M>) {
        self.number += 1;
        let life = self.places[node].life;
        self.planned
            .insert((self.now_ms + after_ms, self.number), Planned { life, event });
    }

    /// What happens next, before `until_ms`; the time has come to it then. `None` once
    /// there is nothing, and the time is `until_ms`.
    pub fn next(&mut self, until_ms: u64) -> Option<Event<M>> {
        loop {
            let first = self.planned.first_entry();
            let Some(first) = first.filter(|first| first.key().0 < until_ms) else {
                self.now_ms = self.now_ms.max(until_ms);
                return None;
            };
            let ((at, _), planned) = first.remove_entry();
            self.now_ms = at;
            let (node, from) = match &planned.event {
                Event::Arrives { from, to, .. } => (*to, Some(*from)),
                Event::Wakes { node, .. } => (*node, None),
            };
            let place = self.places[node];
            let is_cut = from.is_some_and(|from| self.places[from].side != place.side);
            if place.is_up && place.life == planned.life && !is_cut {
                return Some(planned.event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(seed: u64, conditions: Conditions) -> Vec<(u64, usize, u32)> {
        let mut network = Network::new(3, UnixSeconds(100), conditions, seed);
        for message in 0..100 {
            network.send(0, 1 + message as usize % 2, message);
        }
        let mut told = Vec::new();
        while let Some(Event::Arrives { to, message, .. }) = network.next(200_000) {
            told.push((network.now_ms(), to, message));
        }
        assert_eq!(network.now_ms(), 200_000);
        told
    }

    #[test]
    fn a_seed_fixes_what_is_lost_late_and_doubled() {
        let bad = Conditions {
            lost_percent: 30,
            doubled_percent: 20,
            delay_ms_min: 5,
            delay_ms_max: 500,
        };
        let once = told(7, bad);
        assert_eq!(once, told(7, bad));
        assert_ne!(once, told(8, bad));
        let mut messages: Vec<_> = once.iter().map(|told| told.2).collect();
        assert!(!messages.is_sorted(), "some overtake others");
        messages.sort_unstable();
        let all = messages.len();
        messages.dedup();
        assert!(messages.len() < all && messages.len() < 100, "{messages:?}");
        let good = told(7, Conditions::GOOD);
        assert_eq!(good.len(), 100);
        assert!(good.iter().all(|(at, ..)| *at == 100_001));
    }

    #[test]
    fn nothing_crosses_a_cut_or_reaches_a_node_that_is_down() {
        let mut network = Network::new(3, UnixSeconds(0), Conditions::GOOD, 1);
        network.cut(&[2]);
        network.send(0, 2, "over the cut");
        network.send(0, 1, "beside it");
        network.wake(2, 5, 9);
        let mut came = Vec::new();
        let mut run = |network: &mut Network<&'static str>, until| {
            while let Some(event) = network.next(until) {
                came.push(match event {
                    Event::Arrives { message, .. } => message,
                    Event::Wakes { .. } => "wakes",
                });
            }
            std::mem::take(&mut came)
        };
        assert_eq!(run(&mut network, 10), ["beside it", "wakes"]);
        network.heal();
        network.send(0, 2, "to a life before");
        network.wake(2, 5, 9);
        network.crash(2);
        network.send(0, 2, "while it is down");
        assert!(run(&mut network, 15).is_empty());
        network.restart(2);
        network.send(0, 2, "once it is back");
        assert_eq!(run(&mut network, 20), ["once it is back"]);
    }

    #[test]
    fn clocks_differ() {
        let mut network = Network::<()>::new(2, UnixSeconds(1_000), Conditions::GOOD, 1);
        network.skew(1, -30);
        assert_eq!(network.clock(0), UnixSeconds(1_000));
        assert_eq!(network.clock(1), UnixSeconds(970));
        assert!(network.next(1_005_000).is_none());
        assert_eq!(network.clock(1), UnixSeconds(975));
    }
}

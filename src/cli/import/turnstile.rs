//! One after the other in a given order, for threads that work side by side.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Lets turns pass in the order of their numbers, from 0.
#[derive(Default)]
pub struct Turnstile {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    /// A turn was given up: nobody waits any more.
    open: bool,
}

/// A thread's turn.
pub struct Turn<'a> {
    turnstile: &'a Turnstile,
    number: u64,
}

impl Turnstile {
    /// The turn `number`. Each number is taken once, the lower ones before.
    pub fn turn(&self, number: u64) -> Turn<'_> {
        Turn {
            turnstile: self,
            number,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Waits until all turns before this one are over, does `what`, and ends it.
    pub fn pass<T>(self, what: impl FnOnce() -> T) -> T {
        let turnstile = self.turnstile;
        let waiting = |state: &mut State| state.next < self.number && !state.open;
        let state = turnstile.changed.wait_while(turnstile.state(), waiting);
        drop(state.unwrap_or_else(PoisonError::into_inner));
        let done = what();
        let mut state = turnstile.state();
        state.next = state.next.max(self.number + 1);
        drop(state);
        turnstile.changed.notify_all();
        done
    }
}

impl Drop for Turn<'_> {
    /// A thread that ends in the middle must not keep the others waiting for ever.
    fn drop(&mut self) {
        let mut state = self.turnstile.state();
        if state.next <= self.number {
            state.open = true;
            drop(state);
            self.turnstile.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_pass_in_their_order() {
        let (turnstile, passed) = (Turnstile::default(), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for number in (0..8).rev() {
                let (turnstile, passed) = (&turnstile, &passed);
                scope.spawn(move || {
                    let turn = turnstile.turn(number);
                    turn.pass(|| passed.lock().unwrap().push(number));
                });
            }
        });
        assert_eq!(*passed.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_turn_that_is_given_up_lets_the_others_pass() {
        let turnstile = Turnstile::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| turnstile.turn(1).pass(|| 1));
            drop(turnstile.turn(0));
            assert_eq!(waiting.join().unwrap(), 1);
        });
    }
}

//! The numbers that callers' threads expect for the next receipts, so that they
//! can sign before the writer decides.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::primitives::Register;

/// For each register, the next number and how many callers wait for one.
#[derive(Default)]
pub(super) struct NextNumbers(Mutex<HashMap<Register, Expected>>);

#[derive(Clone, Copy)]
struct Expected {
    next: u64,
    waiting: u64,
}

impl NextNumbers {
    /// The next receipt at `register` gets `next`.
    pub fn begin(&self, register: &Register, next: u64) {
        let expected = Expected { next, waiting: 0 };
        self.expected().insert(register.clone(), expected);
    }

    /// What the next caller should sign under. The guess is right unless a
    /// receipt before it is refused, or overtakes; it is off for nobody else
    /// then, since the guess counts as waiting only while it lives.
    pub fn take(self: &Arc<Self>, register: &Register) -> NumberGuess {
        let mut all = self.expected();
        let expected = match all.get_mut(register) {
            Some(expected) => expected,
            None => all
                .entry(register.clone())
                .or_insert(Expected { next: 1, waiting: 0 }),
        };
        expected.waiting += 1;
        NumberGuess {
            number: expected.next + expected.waiting - 1,
            register: register.clone(),
            numbers: Some(Arc::clone(self)),
        }
    }

    fn expected(&self) -> MutexGuard<'_, HashMap<Register, Expected>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// One caller's guess.
pub(super) struct NumberGuess {
    pub number: u64,
    register: Register,
    numbers: Option<Arc<NextNumbers>>,
}

impl NumberGuess {
    /// Its receipt got `number`.
    pub fn used(mut self, number: u64) {
        self.end(Some(number));
    }

    fn end(&mut self, used: Option<u64>) {
        if let Some(numbers) = self.numbers.take()
            && let Some(expected) = numbers.expected().get_mut(&self.register)
        {
            expected.waiting = expected.waiting.saturating_sub(1);
            if let Some(number) = used {
                expected.next = number + 1;
            }
        }
    }
}

impl Drop for NumberGuess {
    fn drop(&mut self) {
        self.end(None);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_guess_that_comes_to_nothing_leads_nobody_else_astray() {
        let numbers = Arc::new(NextNumbers::default());
        let lane = Register::new("lane").unwrap();
        numbers.begin(&lane, 7);
        let (first, second) = (numbers.take(&lane), numbers.take(&lane));
        assert_eq!((first.number, second.number), (7, 8));
        drop(first);
        // The second is one too high now, and gets 7.
        let third = numbers.take(&lane);
        assert_eq!(third.number, 8);
        second.used(7);
        third.used(8);
        assert_eq!(numbers.take(&lane).number, 9);
        assert_eq!(numbers.take(&Register::new("other").unwrap()).number, 1);
    }
}

//! What a seed has in store for a federation.

use std::time::Duration;

use super::liar::Lie;
use super::prepared::{MEMBERS, prepared};
use crate::testkit::Dice;
use crate::testkit::network::Conditions;

/// What a seed has in store.
pub(super) struct Plan {
    pub conditions: Conditions,
    pub lasts: Duration,
    pub gossips: bool,
    pub tills: usize,
    pub sales: u32,
    /// Batches that are much in demand, of two members.
    pub hot: Vec<usize>,
    /// Within what clocks have to keep.
    pub skews: Vec<i64>,
    pub drifts: Vec<i64>,
    pub liar: Option<(usize, Vec<Lie>)>,
    pub has_outsider: bool,
    pub third: Third,
    /// Who is to sign two histories.
    pub forks: Option<usize>,
    pub is_audited: bool,
}

/// What version 3 of the roster says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Third {
    /// There is none.
    No,
    /// Another name: nobody is to notice.
    Name,
    /// The last member has left.
    Removal,
}

impl Plan {
    pub fn of(seed: u64, dice: &Dice) -> Self {
        // Of what is in some seeds only, each kind is in as many of any that follow each
        // other.
        let has_fork = seed % 4 == 3;
        let slow = [5, 50, 500, 4_000][dice.place(4)];
        // Its coupons are wanted above all.
        let first = dice.place(MEMBERS);
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
            // Without gossip nobody compares what was signed.
            gossips: dice.once_in(2) || has_fork,
            tills: MEMBERS + dice.place(3),
            sales: 2 + u32::try_from(dice.below(3)).expect("a small number"),
            hot: {
                let each = prepared().batches.len() / MEMBERS;
                let members = [first, first, (first + 1) % MEMBERS];
                // Coupons that can be used once or a few times, above all.
                let kinds = [0, 0, 1, 2, 4, dice.place(each)];
                members
                    .map(|member| member * each + kinds[dice.place(kinds.len())])
                    .to_vec()
            },
            skews: (0..MEMBERS).map(|_| signed(120)).collect(),
            drifts: (0..MEMBERS).map(|_| signed(20_000)).collect(),
            liar: seed.is_multiple_of(2).then(|| {
                let any = dice.place(MEMBERS);
                let member = if dice.once_in(2) { first } else { any };
                (member, Lie::some(seed / 2, dice))
            }),
            has_outsider: dice.once_in(2),
            third: match dice.below(6) {
                0 => Third::Removal,
                1 | 2 => Third::Name,
                _ => Third::No,
            },
            // The last one may leave instead.
            forks: has_fork.then(|| dice.place(MEMBERS - 1)),
            is_audited: seed % 5 == 3,
        }
    }
}

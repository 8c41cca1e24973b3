//! What has to hold of gossip whatever happens: revocations reach everyone, nothing
//! from outside the roster is kept, all come to hold the same, versions never go back.
//! (That what is kept is a member's and newer is asserted wherever a node keeps.)

use std::collections::BTreeSet;

use tallystick::federation::gossip::CouponStatus;
use tallystick::testkit::for_each_seed;
use tallystick::testkit::gossip::{GossipWorld, Lie, ROUND_MS};
use tallystick::testkit::network::Conditions;

const BAD: Conditions = Conditions {
    lost_percent: 20,
    doubled_percent: 10,
    delay_ms_min: 1,
    delay_ms_max: 1_500,
};

/// Rounds in which everything has settled once the network is calm.
const ROUNDS_TO_SETTLE: u64 = 8;

fn holds_the_same(world: &GossipWorld, nodes: &[usize]) -> bool {
    let first = world.summary(nodes[0]);
    nodes.iter().all(|node| world.summary(*node) == first)
}

#[track_caller]
fn all_know(world: &GossipWorld, nodes: &[usize], revoked: &BTreeSet<(usize, u32)>) {
    for (issuer, index) in revoked {
        for node in nodes {
            assert_eq!(
                world.status(*node, *issuer, *index),
                Some(CouponStatus::Revoked),
                "node {node} of coupon {index} of {issuer}"
            );
        }
    }
}

/// A few nodes, half a minute in which anything may happen, and calm after it.
fn one_run(seed: u64, revoked_in_all: &mut usize, refused: &mut BTreeSet<&'static str>) {
    let nodes = 3 + usize::try_from(seed % 3).unwrap();
    let mut world = GossipWorld::new(nodes, BAD, seed);
    world.crashing = seed.is_multiple_of(2);
    for node in 0..nodes {
        // Within the five minutes by which clocks may differ.
        world.network.skew(node, seed_of(seed, node) - 140);
    }
    let liar = seed.is_multiple_of(3).then_some(nodes - 1);
    if let Some(liar) = liar {
        world.lies(liar);
    }
    let honest: Vec<_> = (0..nodes).filter(|node| Some(*node) != liar).collect();
    let mut revoked = BTreeSet::new();
    for node in &honest {
        world.revoke(*node, None);
    }
    for _ in 0..8 {
        let node = honest[world.dice().place(honest.len())];
        match world.dice().below(6) {
            0 => world.network.cut(&[node]),
            1 => world.network.heal(),
            2 => world.crash(node),
            3 => world.restart(node),
            _ => {
                let index = 8 + u32::try_from(revoked.len()).unwrap();
                world.revoke(node, Some(index));
                revoked.insert((node, index));
            }
        }
        let pause = world.dice().below(2 * ROUND_MS);
        world.run(pause);
    }
    world.calm();
    let settled = world.run_until(ROUNDS_TO_SETTLE * ROUND_MS, |world| {
        holds_the_same(world, &honest)
            && revoked.iter().all(|(issuer, index)| {
                let of = |node: &usize| world.status(*node, *issuer, *index);
                honest.iter().all(|node| of(node) == Some(CouponStatus::Revoked))
            })
    });
    assert!(
        settled,
        "not the same everywhere after {ROUNDS_TO_SETTLE} calm rounds"
    );
    all_know(&world, &honest, &revoked);
    for (node, other) in honest
        .iter()
        .flat_map(|node| honest.iter().map(move |other| (node, other)))
    {
        assert!(
            !world.convicts(*node, *other),
            "{other} is convicted and has done nothing"
        );
    }
    *revoked_in_all += revoked.len();
    refused.extend(&world.refused);
}

fn seed_of(seed: u64, node: usize) -> i64 {
    i64::try_from((seed.wrapping_mul(0x9e37_79b9).wrapping_add(node as u64 * 97)) % 280).unwrap()
}

#[test]
fn whatever_happens_all_come_to_know_the_same() {
    let (mut revoked, mut refused, mut runs) = (0, BTreeSet::new(), 0);
    let begun = std::time::Instant::now();
    for_each_seed(120, 5_000, |seed| {
        one_run(seed, &mut revoked, &mut refused);
        runs += 1;
    });
    println!(
        "{runs} runs, {revoked} revocations, {:?}; refused: {refused:?}",
        begun.elapsed()
    );
    assert!(revoked >= runs, "hardly anything was revoked");
}

/// Two lists of one version, shown to different nodes, convict their author
/// everywhere; and one of them is what all hold.
#[test]
fn two_lists_of_one_version_are_evidence_everywhere() {
    for_each_seed(20, 300, |seed| {
        let mut world = GossipWorld::new(5, Conditions::GOOD, seed);
        for node in 0..4 {
            world.revoke(node, None);
        }
        world.run(2 * ROUND_MS);
        world.tell_lie(4, Lie::TwoLists);
        let honest = [0, 1, 2, 3];
        let known = world.run_until(8 * ROUND_MS, |world| {
            honest.iter().all(|node| world.convicts(*node, 4)) && holds_the_same(world, &honest)
        });
        assert!(known, "not everyone holds the evidence");
        assert!((0..4).all(|node| !world.convicts(node, 0)));
    });
}

/// Whoever brings a newer roster is asked for it; what a removed member has told is
/// forgotten, and what it goes on telling is not heard.
#[test]
fn a_roster_that_one_node_has_reaches_all_and_removes_a_member() {
    for_each_seed(20, 300, |seed| {
        let mut world = GossipWorld::new(5, BAD, seed);
        for node in 0..5 {
            world.revoke(node, Some(8));
        }
        world.run(4 * ROUND_MS);
        let version = world.federation.remove(4);
        world.give_roster(0, version);
        let staying = [0, 1, 2, 3];
        let known = world.run_until(60 * ROUND_MS, |world| {
            staying.iter().all(|node| {
                world.roster_version(*node) == version
                    && world.status(*node, 4, 8) != Some(CouponStatus::Revoked)
            })
        });
        assert!(known, "not everyone follows the new version");
        world.revoke(4, Some(9));
        world.calm();
        world.run(6 * ROUND_MS);
        assert!(holds_the_same(&world, &staying));
        assert!(world.refused.contains("removed_member"), "{:?}", world.refused);
        assert!(
            staying
                .iter()
                .all(|node| world.status(*node, 4, 9) != Some(CouponStatus::Revoked))
        );
    });
}

/// A hundred nodes: within two rounds of a partition's end, and within log2(n) + 4
/// rounds with a tenth of all messages lost (protocol, section 4).
#[test]
fn a_revocation_reaches_a_hundred_nodes_within_the_bounds() {
    let federation = tallystick::testkit::gossip::SimFederation::new(100);
    let lossy = Conditions {
        lost_percent: 10,
        delay_ms_max: 200,
        ..Conditions::GOOD
    };
    let everywhere = |world: &GossipWorld, index| {
        (0..100).all(|node| world.status(node, 0, index) == Some(CouponStatus::Revoked))
    };
    for_each_seed(2, 20, |seed| {
        for fanout in [0, 3] {
            let mut world = GossipWorld::of(federation.clone(), lossy, seed, Some(fanout));
            world.run(ROUND_MS);
            world.revoke(0, Some(8));
            // log2(100) is 6.6.
            assert!(
                world.run_until(10 * ROUND_MS, |world| everywhere(world, 8)),
                "with {fanout} told at once"
            );
            let side: Vec<_> = (0..50).collect();
            world.network.cut(&side);
            world.revoke(0, Some(9));
            world.run(40 * ROUND_MS);
            world.network.heal();
            world.network.conditions(Conditions::GOOD);
            assert!(
                world.run_until(2 * ROUND_MS, |world| everywhere(world, 9)),
                "after the partition"
            );
        }
    });
}

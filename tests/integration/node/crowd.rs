//! Many at once.

use std::collections::HashSet;
use std::future::Future as _;
use std::task::Poll;

use futures_util::future::join_all;
use tallystick::ledger::Refusal;
use tallystick::node::NodeError;

use super::world::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_tills_with_one_coupon_one_redeems_it_and_all_others_learn_where() {
    for world in World::all() {
        let node = world.open();
        let campaign = node.sign_campaign(&office(), two_off("a")).await.unwrap();
        for round in 0..3 {
            let issued = node
                .issue_coupons(&office(), order(campaign.id, 1))
                .await
                .unwrap();
            let coupon = &issued.coupons[0].credential;
            let tills = (0..64).map(|n| {
                let (node, coupon) = (node.clone(), coupon.clone());
                tokio::spawn(async move {
                    let lane = lane(n);
                    let request = redemption(&coupon, &lane, &format!("{round}"), 900);
                    (lane.clone(), node.redeem(&till(&lane), request).await)
                })
            });
            let (mut won, mut lost) = (Vec::new(), Vec::new());
            for outcome in join_all(tills).await {
                match outcome.unwrap() {
                    (lane, Ok(redeemed)) => won.push((lane, redeemed)),
                    (_, Err(NodeError::Refused(Refusal::CouponUsedUp(taken)))) => lost.push(taken),
                    (lane, Err(error)) => panic!("{lane}: {error:?}"),
                }
            }
            let [(lane, redeemed)] = &won[..] else {
                panic!("{} redeemed it", won.len())
            };
            assert_eq!(lost.len(), 63);
            for taken in lost {
                assert_eq!(
                    (taken.redemption, taken.place.register()),
                    (redeemed.id, Some(lane))
                );
                assert_eq!((taken.entry, taken.at.0), (redeemed.entry.index, START));
            }
        }
        node.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn receipts_of_a_register_are_numbered_without_gaps_however_they_arrive() {
    let world = World::memory();
    let node = world.open();
    let posted = (0..120).map(|n| {
        let node = node.clone();
        tokio::spawn(async move {
            let lane = lane(n % 3);
            let caller = till(&lane);
            let draft = receipt(&lane, &format!("{n}"), START);
            // Every fourth is posted twice at once, every fifth is refused.
            if n % 5 == 0 {
                let mut wrong = draft.clone();
                wrong.register = lane.clone();
                let twin = till(&lane);
                let _ = node
                    .issue_receipt(&twin, receipt(&lane, "one for all", START))
                    .await;
            }
            let twice = [
                node.issue_receipt(&caller, draft.clone()),
                node.issue_receipt(&caller, draft),
            ];
            let answers = join_all(twice).await;
            assert_eq!(answers[0].as_ref().unwrap(), answers[1].as_ref().unwrap());
            let answer = answers.into_iter().next().unwrap().unwrap();
            let stub =
                tallystick::credential::Signed::<tallystick::credential::ReceiptStub>::parse(&answer.stub);
            let stub = stub.unwrap();
            stub.verify(&node.credential_key()).unwrap();
            assert_eq!(stub.content().sequence_number, answer.sequence_number);
            (answer.register, answer.sequence_number)
        })
    });
    let mut numbers = HashSet::new();
    for posted in join_all(posted).await {
        assert!(numbers.insert(posted.unwrap()), "a number was given out twice");
    }
    for n in 0..3 {
        let of_lane = numbers
            .iter()
            .filter(|(register, _)| *register == lane(n))
            .count();
        let last = node
            .issue_receipt(&till(&lane(n)), receipt(&lane(n), "last", START))
            .await
            .unwrap();
        let one_for_all = node
            .receipt_by_reference(&lane(n), "one for all")
            .unwrap()
            .is_some();
        assert_eq!(
            last.sequence_number as usize,
            of_lane + usize::from(one_for_all) + 1
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_answers_everyone_who_waits() {
    for _ in 0..20 {
        let world = World::memory();
        let node = world.open();
        let waiting: Vec<_> = (0..64)
            .map(|n| {
                let node = node.clone();
                tokio::spawn(async move {
                    let draft = receipt(&lane(n), "r", START);
                    node.issue_receipt(&till(&lane(n)), draft).await
                })
            })
            .collect();
        node.shut_down().await;
        for answer in join_all(waiting).await {
            let answer = answer.unwrap();
            assert!(matches!(answer, Ok(_) | Err(NodeError::Stopped(_))), "{answer:?}");
        }
        assert!(node.stopped().is_some());
        let late = node
            .issue_receipt(&till(&lane(1)), receipt(&lane(1), "late", START))
            .await;
        assert!(matches!(late, Err(NodeError::Stopped(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_nothing_half_done() {
    let world = World::memory();
    let node = world.open();
    let campaign = node.sign_campaign(&office(), two_off("a")).await.unwrap();
    let caller = office();
    for polls in 1..6 {
        let mut call = Box::pin(node.issue_coupons(&caller, order(campaign.id, 40)));
        for _ in 0..polls {
            let once = std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context)));
            if once.await.is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    // Whoever asks again is told to wait, and then gets the batch.
    let coupons = loop {
        match node.issue_coupons(&caller, order(campaign.id, 40)).await {
            Ok(coupons) => break coupons,
            Err(NodeError::InProgress) => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert_eq!(coupons.coupons.len(), 40);
    let next = node
        .issue_coupons(&office(), order(campaign.id, 1))
        .await
        .unwrap();
    assert_eq!(next.batch, coupons.batch + 1, "there is one batch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_put_back_does_not_put_the_log_back() {
    let world = World::memory();
    let node = world.open();
    let first = story(&node, "a").await;
    world.clock.set(START - 3_600);
    assert_eq!(
        node.now().0,
        START,
        "time stands still until the clock has caught up"
    );
    let till_time = node
        .issue_receipt(&till(&lane(1)), receipt(&lane(1), "x", node.now().0))
        .await;
    till_time.unwrap();
    let again = till(&lane(1));
    let second = node.redeem(
        &again,
        redemption(&first.coupons.coupons[2].credential, &lane(1), "y", 900),
    );
    let second = second.await.unwrap();
    assert_eq!(node.redemption(second.id).unwrap().at.0, START);
    node.shut_down().await;
    let (node, report) = world.try_open().unwrap();
    let said = matches!(&report.notes[..], [note] if note.contains("3600 s behind the last entry"));
    assert!(said, "{report:?}");
    story(&node, "a").await;
}

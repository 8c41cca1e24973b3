//! What a dishonest node might write.

use super::*;

/// Adds an entry at the end, linked, with tiles, guard and counters left as
/// they are: a dishonest node would write those too.
pub fn add(world: &World, make: impl FnOnce(&[Recorded]) -> Event) -> u64 {
    let engine = engine_of(world);
    let all = entries(&engine);
    let log: Vec<Recorded> = all.iter().map(|bytes| recorded(bytes)).collect();
    let event = make(&log);
    let last = log.last().unwrap();
    let entry = Entry {
        index: all.len() as u64,
        time: last.time,
        previous: last.hash,
        kind: event.kind(),
        body: event.to_body(None, [9; 16]),
    };
    let bytes = entry.encode().unwrap();
    let mut batch = Batch::default();
    keys::append_entries(&mut batch, entry.index, [bytes.as_slice()]).unwrap();
    engine.commit(batch).unwrap();
    entry.index
}

fn last_of<T>(log: &[Recorded], pick: impl Fn(&Recorded) -> Option<T>) -> T {
    log.iter().rev().find_map(pick).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dishonest_nodes_redemptions_and_reversals_are_named() {
    // A coupon used once more, with everything counted as it should be.
    let world = shop().await;
    let at = add(&world, |log| {
        last_of(log, |recorded| match &recorded.event {
            Event::Redeemed(used) if used.used_up && used.uses_after == 1 => {
                let mut again = used.clone();
                again.id.0[0] ^= 1;
                again.previous = recorded.hash;
                again.uses_after = 2;
                again.spent_after = used.spent_after.plus(used.amount).unwrap();
                again.at = None;
                Some(Event::Redeemed(again))
            }
            _ => None,
        })
    });
    let report = run(&options(&world));
    finds(&report, Rule::OverRedeemed, Some(at));
    assert_eq!(rules(&report), BTreeSet::from(["over_redeemed"]));

    // The same once more, told as if it were the first use.
    let at = add(&world, |log| {
        last_of(log, |recorded| match &recorded.event {
            Event::Redeemed(used) if used.amount == cents(200) && used.previous == Digest::ZERO => {
                let mut again = used.clone();
                again.id.0[0] ^= 2;
                Some(Event::Redeemed(again))
            }
            _ => None,
        })
    });
    let report = run(&options(&world));
    finds(&report, Rule::OverRedeemed, Some(at));
    finds(&report, Rule::CouponChain, Some(at));
    finds(&report, Rule::CountWrong, Some(at));

    // Never issued, another tag, another name, too much off.
    let world = shop().await;
    let forged = |change: fn(&mut tallystick::ledger::Redeemed)| {
        add(&world, |log| {
            let first = log.iter().find_map(|recorded| match &recorded.event {
                Event::Redeemed(redeemed) => Some(redeemed.clone()),
                _ => None,
            });
            let mut redeemed = first.unwrap();
            change(&mut redeemed);
            Event::Redeemed(redeemed)
        })
    };
    let never = forged(|redeemed| redeemed.leaf = 1_000);
    let tag = forged(|redeemed| redeemed.tag.0[0] ^= 1);
    let name = forged(|redeemed| redeemed.name.index ^= 1);
    let list = forged(|redeemed| redeemed.name.list = 77);
    let batch = forged(|redeemed| redeemed.batch_entry = 3);
    let report = run(&options(&world));
    finds(&report, Rule::CouponNotIssued, Some(never));
    finds(&report, Rule::CouponTag, Some(tag));
    finds(&report, Rule::CouponName, Some(name));
    finds(&report, Rule::CouponName, Some(list));
    finds(&report, Rule::CouponNotIssued, Some(batch));
    finds(&report, Rule::IdentityRepeated, Some(tag));

    // A reversal of nothing, and one of more than there is left.
    let world = shop().await;
    let reversed = |change: fn(&mut tallystick::ledger::Reversed)| {
        add(&world, |log| {
            let first = log.iter().find_map(|recorded| match &recorded.event {
                Event::Reversed(reversed) => Some(reversed.clone()),
                _ => None,
            });
            let mut reversed = first.unwrap();
            change(&mut reversed);
            Event::Reversed(reversed)
        })
    };
    let nothing = reversed(|reversed| reversed.redemption.0[3] ^= 1);
    let more = reversed(|reversed| {
        reversed.id.0[3] ^= 1;
        reversed.amount = cents(4_000);
    });
    let report = run(&options(&world));
    finds(&report, Rule::ReversalOfNothing, Some(nothing));
    finds(&report, Rule::ReversalRefused, Some(more));
}

#[tokio::test(flavor = "multi_thread")]
async fn redeeming_what_was_revoked_expired_or_miscalculated_is_named() {
    let world = shop().await;
    let engine = engine_of(&world);
    let good = entries(&engine);
    drop(engine);
    for (rule, change) in [
        (
            Rule::RedeemedWhileRevoked,
            (|event| match event {
                // The third use of the coupon whose batch is then suspended, made after it.
                Event::StatusSet(set) if set.status == NewStatus::Revoked => {
                    set.status = NewStatus::Suspended;
                    false
                }
                _ => false,
            }) as fn(&mut Event) -> bool,
        ),
        (Rule::RedeemedOutsideDates, |event| match event {
            Event::Redeemed(redeemed) => {
                redeemed.at = Some(UnixSeconds(START - 500));
                true
            }
            _ => false,
        }),
        (Rule::TimeTooFar, |event| match event {
            Event::Redeemed(redeemed) => {
                redeemed.at = Some(UnixSeconds(START - 500));
                true
            }
            _ => false,
        }),
        (Rule::BenefitWrong, |event| match event {
            Event::Redeemed(redeemed) if redeemed.basket_total == cents(2_005) => {
                redeemed.amount = cents(202);
                true
            }
            _ => false,
        }),
        (Rule::RedeemedAgainstTerms, |event| match event {
            Event::Redeemed(redeemed) => {
                redeemed.redeemer = "did:web:elsewhere.example".to_owned();
                true
            }
            _ => false,
        }),
        (Rule::BatchTerms, |event| match event {
            Event::BatchIssued(batch) => {
                batch.not_after = batch.not_after.plus(1);
                true
            }
            _ => false,
        }),
        (Rule::BatchGap, |event| match event {
            Event::BatchIssued(batch) if batch.count == 1 => {
                batch.first.0 += 3;
                true
            }
            _ => false,
        }),
        (Rule::BatchOverlap, |event| match event {
            Event::BatchIssued(batch) if batch.count == 1 => {
                batch.first.0 -= 1;
                true
            }
            _ => false,
        }),
        (Rule::TagsRoot, |event| match event {
            Event::BatchIssued(batch) => {
                batch.tags_root.0[0] ^= 1;
                true
            }
            _ => false,
        }),
        (Rule::StatusCount, |event| match event {
            Event::StatusSet(set) => {
                set.changed = 2;
                true
            }
            _ => false,
        }),
        (Rule::StatusList, |event| match event {
            Event::StatusListSigned(signed) => {
                signed.expires = signed.issued_at;
                true
            }
            _ => false,
        }),
        (Rule::CampaignSignature, |event| match event {
            Event::CampaignSigned(signed) => {
                *signed.credential.last_mut().unwrap() ^= 1;
                true
            }
            _ => false,
        }),
        (Rule::CampaignIdentity, |event| match event {
            Event::CampaignSigned(signed) => {
                signed.id.0[0] ^= 1;
                true
            }
            _ => false,
        }),
    ] {
        if rule == Rule::RedeemedWhileRevoked {
            let at = add(&world, |log| {
                // One more use of a coupon of the suspended batch that was never used.
                let mut redeemed = last_of(log, |recorded| match &recorded.event {
                    Event::Redeemed(redeemed) if redeemed.basket_total == cents(2_005) => {
                        Some(redeemed.clone())
                    }
                    _ => None,
                });
                redeemed.leaf = 1;
                redeemed.id.0[0] ^= 1;
                redeemed.uses_after = 1;
                redeemed.previous = Digest::ZERO;
                redeemed.spent_after = redeemed.amount;
                redeemed.name.index ^= 1;
                Event::Redeemed(redeemed)
            });
            finds(&run(&options(&world)), rule, Some(at));
            continue;
        }
        let mut all = good.clone();
        let at = forge(&mut all, change);
        relink(&mut all, at);
        let engine = engine_of(&world);
        put_entries(&engine, &all);
        drop(engine);
        // A gap is told at the batch that follows it.
        let entry = (rule != Rule::BatchGap).then_some(at as u64);
        finds(&run(&options(&world)), rule, entry);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_references_stand_once_and_salts_are_salts() {
    let world = shop().await;
    let engine = engine_of(&world);
    let mut all = entries(&engine);
    let first = recorded(&all[1]).answers;
    let mut entry = Entry::decode(&all[2]).unwrap();
    entry.body = recorded(&all[2]).event.to_body(first.as_ref(), [7; 16]);
    all[2] = entry.encode().unwrap();
    let signed = all
        .iter()
        .position(|bytes| matches!(recorded(bytes).event, Event::CampaignSigned(_)));
    let signed = signed.unwrap();
    let mut entry = Entry::decode(&all[signed]).unwrap();
    let found = recorded(&all[signed]);
    entry.body = found.event.to_body(found.answers.as_ref(), [0; 16]);
    all[signed] = entry.encode().unwrap();
    relink(&mut all, 2);
    put_entries(&engine, &all);
    drop(engine);
    let report = run(&options(&world));
    finds(&report, Rule::KeyRepeated, Some(2));
    finds(&report, Rule::ReferenceRepeated, Some(2));
    finds(&report, Rule::SaltMissing, Some(signed as u64));
}

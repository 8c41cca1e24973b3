//! What an entry claims, held against what the ledger's rules give.

use crate::ledger::{Redeemed, Refusal, Reversed};
use crate::primitives::{Amount, Digest};

use super::books::Coupon;
use super::finding::{Findings, Rule};

/// Compares a redemption with what the ledger decides; what counts is put into
/// `counted`: every use, allowed or not.
pub(super) fn judge_redemption(
    index: u64,
    redeemed: &Redeemed,
    coupon: Option<&Coupon>,
    decided: Result<Redeemed, Refusal>,
    counted: &mut Redeemed,
    findings: &mut Findings,
) {
    let name = redeemed.name;
    let (uses, spent, last) = coupon.map_or((0, Amount::ZERO, Digest::ZERO), |coupon| {
        (coupon.uses, coupon.spent, coupon.last)
    });
    counted.uses_after = uses.saturating_add(1);
    counted.spent_after = spent.plus(redeemed.amount).unwrap_or(spent);
    match decided {
        Ok(expected) => {
            counted.used_up = expected.used_up;
            if expected.issuer != redeemed.issuer || expected.redeemer != redeemed.redeemer {
                findings.at(
                    index,
                    Rule::RedeemedAgainstTerms,
                    format!(
                        "coupon {name} is said to be of {} and redeemed by {}; both are {}",
                        redeemed.issuer, redeemed.redeemer, expected.issuer
                    ),
                );
            }
        }
        Err(refusal) => {
            let (rule, why) = broken_rule(&refusal, uses);
            findings.at(index, rule, format!("coupon {name} was redeemed although {why}"));
        }
    }
    if redeemed.previous != last {
        findings.at(
            index,
            Rule::CouponChain,
            format!(
                "it does not name the latest earlier entry of coupon {name}: an entry was left out or doubled"
            ),
        );
    }
    for (what, said, true_value) in [
        (
            "uses",
            i64::from(redeemed.uses_after),
            i64::from(counted.uses_after),
        ),
        (
            "value spent",
            redeemed.spent_after.minor_units(),
            counted.spent_after.minor_units(),
        ),
        ("used up", i64::from(redeemed.used_up), i64::from(counted.used_up)),
    ] {
        if said != true_value {
            findings.at(
                index,
                Rule::CountWrong,
                format!(
                    "coupon {name}: the entry says {what} {said}, counting the entries gives {true_value}"
                ),
            );
        }
    }
}

fn broken_rule(refusal: &Refusal, uses: u32) -> (Rule, String) {
    let rule = match refusal {
        Refusal::CouponUsedUp(_) => {
            return (
                Rule::OverRedeemed,
                format!(
                    "nothing was left of it: it had been used {uses} times, as often or for as much as it allows"
                ),
            );
        }
        Refusal::CouponRevoked | Refusal::CouponSuspended | Refusal::CampaignClosed(_) => {
            Rule::RedeemedWhileRevoked
        }
        Refusal::CouponExpired(_) | Refusal::CouponNotYetValid(_) => Rule::RedeemedOutsideDates,
        Refusal::AmountDiffers { .. } | Refusal::AmountTooLarge { .. } | Refusal::NothingToRedeem => {
            Rule::BenefitWrong
        }
        Refusal::BudgetExhausted { .. } => Rule::BudgetOverspent,
        _ => Rule::RedeemedAgainstTerms,
    };
    (rule, refusal.to_string())
}

/// Compares a reversal with what the ledger decides; what counts is put into
/// `counted`.
pub(super) fn judge_reversal(
    index: u64,
    reversed: &Reversed,
    decided: Result<Reversed, Refusal>,
    counted: &mut Reversed,
    findings: &mut Findings,
) {
    let expected = match decided {
        Ok(expected) => expected,
        Err(refusal) => {
            return findings.at(
                index,
                Rule::ReversalRefused,
                format!(
                    "the redemption {} was reversed although {refusal}",
                    reversed.redemption
                ),
            );
        }
    };
    if expected.previous != reversed.previous {
        findings.at(
            index,
            Rule::CouponChain,
            format!(
                "it does not name the latest earlier entry of coupon {}: an entry was left out or doubled",
                expected.name
            ),
        );
    }
    let differs = [
        (
            "the entry of the redemption",
            expected.redemption_entry != reversed.redemption_entry,
        ),
        (
            "the entry of the coupon's latest redemption",
            expected.latest_redemption_entry != reversed.latest_redemption_entry,
        ),
        ("the coupon's tag", expected.tag != reversed.tag),
        ("the coupon's name", expected.name != reversed.name),
        ("the campaign", expected.campaign != reversed.campaign),
        ("the uses", expected.uses_after != reversed.uses_after),
        ("the value spent", expected.spent_after != reversed.spent_after),
        (
            "how much is reversed",
            expected.reversed_after != reversed.reversed_after,
        ),
        ("whether it is used up", expected.used_up != reversed.used_up),
    ];
    let wrong: Vec<&str> = differs
        .iter()
        .filter(|(_, differs)| *differs)
        .map(|(what, _)| *what)
        .collect();
    if !wrong.is_empty() {
        findings.at(
            index,
            Rule::ReversalWrong,
            format!(
                "the reversal of {} is wrong about {}",
                reversed.redemption,
                wrong.join(", ")
            ),
        );
    }
    counted.uses_after = expected.uses_after;
    counted.spent_after = expected.spent_after;
    counted.reversed_after = expected.reversed_after;
    counted.used_up = expected.used_up;
}

//! Whether a quorum of a policy's witnesses has cosigned what is known to be signed
//! (c2sp.org/tlog-policy).

use super::SignedPoint;
use super::finding::{Findings, Rule};
use crate::log::{LogError, Policy, VerifierKey};

/// Looks which of `points` a quorum has cosigned, and says so of the largest. Where
/// there is none, and where a known witness's cosignature is wrong, is a finding.
/// Gives the size that a quorum vouches for.
pub(super) fn judge(
    policy: &Policy,
    key: &VerifierKey,
    points: &mut [SignedPoint],
    findings: &mut Findings,
) -> Option<u64> {
    let logs = policy.logs();
    if !logs.is_empty() && !logs.iter().any(|log| log.key == *key) {
        findings.store(
            Rule::NoQuorum,
            format!("the policy lists logs, and this one, {key}, is none of them"),
        );
        return None;
    }
    let mut best: Option<&mut SignedPoint> = None;
    let mut refused = Vec::new();
    for point in points {
        let Some(note) = &point.note else { continue };
        match policy.open(note, Some(key)) {
            Ok(_) => {
                if best.as_ref().is_none_or(|best| best.size < point.size) {
                    best = Some(point);
                }
            }
            Err(error @ LogError::BadSignature { .. }) => findings.store(
                Rule::CosignatureWrong,
                format!("{} is refused by the policy: {error}", point.source),
            ),
            Err(error) => refused.push(format!("of {}, {error}", point.source)),
        }
    }
    let Some(best) = best else {
        let why = match refused.is_empty() {
            true => "no checkpoint is at hand that could be cosigned".to_owned(),
            false => refused.join("; "),
        };
        findings.store(Rule::NoQuorum, why);
        return None;
    };
    best.source
        .push_str(", which a quorum of the policy's witnesses has cosigned,");
    Some(best.size)
}

/// What is to be said where a quorum vouches for `size` of `end` entries.
pub(super) fn note(size: u64, end: u64) -> Option<String> {
    (size < end).then(|| {
        format!(
            "a quorum of the policy's witnesses vouches for the first {size} entries; for the {} after them the log's key \
             alone does",
            end - size
        )
    })
}

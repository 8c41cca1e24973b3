//! Problem documents in the API's description: one response for each status
//! that a call may have, with the codes it may carry and an example of each.

use serde_json::{Map, Value, json};

use crate::encoding::qr_text::QrTextError;
use crate::federation::message::MessageError;
use crate::federation::peers::PeerError;
use crate::federation::redemption::campaigns::CampaignError;
use crate::federation::redemption::{IssuerError, RedeemError};
use crate::federation::roster::{NotRedeeming, RosterError};
use crate::http::problem::{PROBLEM_JSON, Problem, Row, TABLE};
use crate::ledger::{Place, Refusal, TakenBy};
use crate::node::NodeError;
use crate::primitives::{Amount, RedemptionId, Register, UnixSeconds};

/// Members of single codes, beyond those of every problem.
fn members_of_cases() -> Value {
    let time =
        |with: &str| json!({"type": "string", "format": "date-time", "description": format!("With {with}")});
    let amount = |what: &str| json!({"$ref": "#/components/schemas/Amount", "description": format!("{what}, in minor units")});
    json!({
        "used_at": time("coupon_used_up: when it was last redeemed"),
        "used_register": {"type": "string", "description": "With coupon_used_up: where it was last redeemed"},
        "used_redeemer": {"type": "string", "description": "With coupon_used_up: the partner (did:web) that last redeemed it"},
        "redemption": {"type": "string", "description": "With outcome_unknown, redemption_made and redemption_cancelled: the redemption's identity"},
        "offline_acceptance": {"type": "boolean", "description": "With outcome_unknown: whether the till may accept the coupon under the campaign's offline policy"},
        "issuer_code": {"type": "string", "description": "With issuer_refused: the issuing co-op's code"},
        "reason": {"type": "string", "description": "With message_refused: why, as a word (docs/messages.md)"},
        "version_in_force": {"type": "integer", "minimum": 1, "description": "With roster_outdated: the roster's version that is in force"},
        "valid_from": time("coupon_not_yet_valid"),
        "expired_at": time("coupon_expired"),
        "ended_at": time("campaign_ended and reversal_window_over"),
        "minimum": amount("With basket_below_minimum: the least total of a basket"),
        "total": amount("With basket_below_minimum: the basket's total"),
        "computed": amount("With amount_differs: what the terms give"),
        "given": amount("With amount_differs: what was sent"),
        "most": amount("With amount_too_large: what can be taken off at most"),
        "remaining": amount("With budget_exhausted and reversal_too_large: what is left"),
        "entry": {"type": "integer", "minimum": 0, "description": "With done_before_loss: the entry that records it; with erased: the entry that says so"},
        "erased_at": {"type": "string", "format": "date-time", "description": "With erased: when"},
        "next_version": {"type": "integer", "minimum": 1, "description": "With roster_incomplete: the version that comes next"},
        "signers_of_version": {"type": "integer", "minimum": 1, "description": "With roster_incomplete: whose signers are lacking"},
        "signed": {"type": "integer", "minimum": 0, "description": "With roster_incomplete: how many of them have signed"},
        "needed": {"type": "integer", "minimum": 1, "description": "With roster_incomplete: how many of them have to"},
        "seconds": {"type": "integer", "minimum": 0, "description": "With time_too_far: the distance"},
        "terms": {
            "type": "array", "items": {"type": "integer", "minimum": 0},
            "description": "With terms_not_supported: the numbers of the terms",
        },
    })
}

/// The schema that all problems share.
pub fn schema() -> Value {
    let codes: Vec<&str> = TABLE.iter().map(|row| row.code).collect();
    let mut properties = json!({
        "type": {"type": "string", "format": "uri-reference", "description": "Where the code is explained"},
        "title": {"type": "string", "description": "What happened"},
        "status": {"type": "integer", "description": "The HTTP status"},
        "detail": {"type": "string", "description": "This case, for people"},
        "code": {"type": "string", "enum": codes, "description": "Stable, for programs"},
        "retry": {"type": "boolean", "description": "Whether the very same request may succeed later"},
        "action": {"type": "string", "description": "What to do"},
    });
    for (name, member) in members_of_cases().as_object().into_iter().flatten() {
        properties[name] = member.clone();
    }
    json!({
        "type": "object",
        "description": "A problem document (RFC 9457). Further members say more of the case.",
        "required": ["type", "title", "status", "detail", "code", "retry", "action"],
        "properties": properties,
    })
}

/// One example of each code, named by it.
pub fn examples() -> Value {
    let named = samples().into_iter().map(|problem| {
        let row = problem.row();
        let example = json!({"summary": row.title, "value": problem.to_json()});
        (row.code.to_owned(), example)
    });
    Value::Object(named.collect())
}

/// The responses that stand for whole statuses, `Problem<status>`.
pub fn shared_responses() -> Value {
    let mut statuses: Vec<u16> = TABLE.iter().map(|row| row.status).collect();
    statuses.sort_unstable();
    statuses.dedup();
    let responses = statuses
        .into_iter()
        .map(|status| (format!("Problem{status}"), response(&rows(status, None))));
    Value::Object(responses.collect())
}

/// The responses of a call that may answer with `codes`, by status. Where a
/// call may have every code of a status it is the shared one.
pub fn responses(codes: &[&str]) -> Map<String, Value> {
    let mut statuses: Vec<u16> = TABLE
        .iter()
        .filter(|row| codes.contains(&row.code))
        .map(|row| row.status)
        .collect();
    statuses.sort_unstable();
    statuses.dedup();
    let response_of = |status: u16| {
        let some = rows(status, Some(codes));
        if some == rows(status, None) {
            json!({"$ref": format!("#/components/responses/Problem{status}")})
        } else {
            response(&some)
        }
    };
    statuses
        .into_iter()
        .map(|status| (status.to_string(), response_of(status)))
        .collect()
}

fn rows(status: u16, codes: Option<&[&str]>) -> Vec<&'static Row> {
    TABLE
        .iter()
        .filter(|row| row.status == status && codes.is_none_or(|codes| codes.contains(&row.code)))
        .collect()
}

/// The response for `rows`, all of one status.
fn response(rows: &[&Row]) -> Value {
    let status = rows.first().map_or(500, |row| row.status);
    let lines: Vec<String> = rows
        .iter()
        .map(|row| format!("- `{}`: {}", row.code, row.title))
        .collect();
    let codes: Vec<&str> = rows.iter().map(|row| row.code).collect();
    let examples = codes.iter().map(|code| {
        let reference = json!({"$ref": format!("#/components/examples/{code}")});
        ((*code).to_owned(), reference)
    });
    let mut response = json!({
        "description": lines.join("\n"),
        "content": {PROBLEM_JSON: {
            "schema": {"allOf": [
                {"$ref": "#/components/schemas/Problem"},
                {"type": "object", "properties": {"status": {"const": status}, "code": {"enum": codes}}},
            ]},
            "examples": Value::Object(examples.collect()),
        }},
    });
    super::complete::add_headers(&mut response, &headers_of(status));
    response
}

fn headers_of(status: u16) -> Vec<(&'static str, &'static str)> {
    let mut headers = vec![("Cache-Control", "NotStored")];
    headers.extend(match status {
        401 => Some(("WWW-Authenticate", "WwwAuthenticate")),
        405 => Some(("Allow", "Allow")),
        409 | 503 => Some(("Retry-After", "RetryAfter")),
        _ => None,
    });
    headers
}

/// An example of each code, in the words that the node itself would use.
fn samples() -> Vec<Problem> {
    let mut samples: Vec<Problem> = requests().into();
    samples.push(QrTextError::NotDigits.into());
    samples.push(NodeError::DoneBeforeLoss { entry: 41 }.into());
    let erased = NodeError::Erased {
        entry: 57,
        at: UnixSeconds(1_772_896_869),
        reason: "request of the person concerned".to_owned(),
    };
    samples.push(erased.into());
    let (erased, rows, first) = (12, 1, vec![40_961]);
    samples.push(NodeError::ErasedInPart { erased, rows, first }.into());
    let (version, have, need) = (2, 2, 3);
    samples.push(RosterError::TooFewSigners { version, have, need }.into());
    samples.extend(refusals().into_iter().map(Problem::from));
    samples.extend(between_nodes());
    samples
}

/// What redemptions between co-ops may meet.
fn between_nodes() -> Vec<Problem> {
    let (id, issuer) = (RedemptionId([1; 16]), "did:web:north.example".to_owned());
    let version = (2, 3);
    let peer = PeerError::NotReached {
        url: "https://north.example/v1/campaigns/mJ2yJb5nH0YkqFv0m3K7mw".to_owned(),
        why: "connection refused".to_owned(),
    };
    let of_redeemer = [
        RedeemError::NotRedeeming(NotRedeeming::Expired),
        RedeemError::Campaign(CampaignError::Peer(peer)),
        RedeemError::IssuerNotGood(
            "did:web:north.example, which issued this coupon, was removed from the federation: nobody counts its \
             coupons for it any more"
                .to_owned(),
        ),
        RedeemError::IssuerForked {
            issuer: issuer.clone(),
            why: "two checkpoints of 41 entries with different roots".to_owned(),
        },
        RedeemError::Unknown {
            id,
            issuer: issuer.clone(),
        },
        RedeemError::Refused {
            id,
            code: "offline_limit_reached".to_owned(),
            detail: "this campaign's offline limit is reached".to_owned(),
        },
        RedeemError::Cancelled { id },
        RedeemError::Made { id },
    ];
    let of_issuer = [
        IssuerError::Message(MessageError::WrongAudience("did:web:south.example".to_owned())),
        IssuerError::Message(MessageError::RosterAhead { theirs: 4 }),
        IssuerError::SenderBehind {
            theirs: version.0,
            ours: version.1,
        },
    ];
    let refusals = [
        Refusal::MadeElsewhere(issuer),
        Refusal::RequestExpired(UnixSeconds(1_772_896_869)),
        Refusal::RequestCancelled,
        Refusal::RequestReused,
        Refusal::HalfDiffers("its amount"),
    ];
    let of_redeemer = of_redeemer.into_iter().map(Problem::from);
    let of_issuer = of_issuer.into_iter().map(Problem::from);
    let refused = refusals.into_iter().map(Problem::from);
    of_redeemer.chain(of_issuer).chain(refused).collect()
}

/// What is wrong with requests, or with the node.
fn requests() -> [Problem; 29] {
    [
        ("body_invalid", "missing field `till_reference` at line 1 column 212"),
        ("query_invalid", "missing field `till_reference`"),
        (
            "idempotency_key_required",
            "every POST that changes something needs the header Idempotency-Key",
        ),
        (
            "idempotency_key_invalid",
            "an Idempotency-Key has 1 to 255 visible ASCII characters and no spaces",
        ),
        (
            "access_key_missing",
            "the header Authorization: Bearer KEY is missing",
        ),
        ("access_key_unknown", "this access key is unknown or was revoked"),
        ("role_forbidden", "this is for office keys, this is a till key"),
        (
            "register_mismatch",
            "this key is bound to register shop1-lane3, the call is about another",
        ),
        ("not_found", "there is no such receipt"),
        ("method_not_allowed", "this address takes GET, HEAD, POST"),
        ("not_acceptable", "application/cose holds one coupon, not 2"),
        ("body_timeout", "the body did not arrive in time"),
        (
            "request_in_progress",
            "the first request with this Idempotency-Key is still being worked on",
        ),
        ("gone", "the key that signed this batch is no longer held"),
        ("body_too_large", "the body has more than 524288 bytes"),
        (
            "content_type_unsupported",
            "the body has to be sent as Content-Type: application/json",
        ),
        (
            "coupon_link_foreign",
            "the code's link leads to https://evil.example, its issuer would be https://coop.example",
        ),
        ("internal", "the node failed to answer; its log says why"),
        (
            "busy",
            "the node has more work waiting than it takes on; send the same request again in a moment",
        ),
        (
            "index_damaged",
            "the node cannot look this up: its index is damaged, and is made anew when the node is started again",
        ),
        (
            "stopped",
            "the node has stopped writing and has to be started again",
        ),
        (
            "checkpoint_invalid",
            "add-checkpoint: its first line is `old` and a size",
        ),
        (
            "checkpoint_not_signed",
            "the checkpoint is not signed by a key that is trusted for its origin: no trusted key has signed this note",
        ),
        (
            "checkpoint_inconsistent",
            "it is not shown to continue the checkpoint cosigned last: the proof does not lead to the root",
        ),
        (
            "federation_not_pinned",
            "this node belongs to no federation: its setting federation names none",
        ),
        (
            "roster_refused",
            "this is version 3, and version 5 is in force: a roster never goes back",
        ),
        (
            "roster_conflict",
            "two versions 6 of the roster were signed; both are kept as evidence",
        ),
        ("log_unknown", "this witness was not told of a log with that origin"),
        ("till_reference_reused", "this till_reference was used at this register for another content"),
    ]
    .map(|(code, detail)| Problem::new(code, detail))
}

/// What the domain refuses.
fn refusals() -> Vec<Refusal> {
    let amount = |units: i64| Amount::new(units).unwrap_or(Amount::ZERO);
    let time = UnixSeconds(1_772_896_869);
    let mut refusals = vec![
        Refusal::KeyReused,
        Refusal::ReceiptInvalid("the lines come to 144 minor units, the total says 145".to_owned()),
        Refusal::TimeTooFar {
            seconds: 3_600,
            ahead: false,
        },
        Refusal::CouponForged("its signature does not fit".to_owned()),
        Refusal::CouponNotIssued,
        Refusal::CouponForeign,
        Refusal::HolderSignatureMissing,
        Refusal::CouponNotYetValid(time),
        Refusal::CouponExpired(time),
        Refusal::CouponRevoked,
        Refusal::CouponSuspended,
        Refusal::RedeemerNotAllowed,
        Refusal::CurrencyDiffers {
            campaign: "EUR",
            basket: "USD",
        },
        Refusal::BasketBelowMinimum {
            minimum: amount(1_000),
            total: amount(950),
        },
        Refusal::NothingToRedeem,
        Refusal::AmountDiffers {
            computed: amount(300),
            given: amount(301),
        },
        Refusal::AmountTooLarge { most: amount(1_250) },
        Refusal::BudgetExhausted { left: amount(120) },
        Refusal::TooManyCoupons,
        Refusal::RedemptionUnknown,
        Refusal::ReversalTooLarge { left: amount(120) },
        Refusal::ReversalWindowOver(time),
        Refusal::GiveBackNeedsWhole,
        Refusal::TermsNotSupported(vec![7, 10]),
        Refusal::TermsInvalid("not_after lies before not_before".to_owned()),
        Refusal::CampaignExists,
        Refusal::CampaignUnknown,
        Refusal::CampaignEnded(time),
        Refusal::CampaignClosed("suspended"),
        Refusal::BatchInvalid("one request issues at most 1000 coupons".to_owned()),
        Refusal::TargetUnknown,
        Refusal::RevocationFinal,
    ];
    if let Ok(register) = Register::new("shop1-lane3") {
        refusals.push(Refusal::CouponUsedUp(TakenBy {
            redemption: RedemptionId([0; 16]),
            entry: 43,
            at: time,
            redeemer: "did:web:coop.example".to_owned(),
            place: Place::Register(register),
        }));
    }
    refusals
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_one_example_with_its_members() {
        let codes: Vec<&str> = samples().iter().map(|problem| problem.row().code).collect();
        let each: BTreeSet<&str> = codes.iter().copied().collect();
        let known: BTreeSet<&str> = TABLE.iter().map(|row| row.code).collect();
        assert_eq!(each, known);
        assert_eq!(codes.len(), known.len(), "a code has two examples");
        let schema = schema();
        for problem in samples() {
            for (name, _) in problem.members() {
                assert!(schema["properties"][name].is_object(), "{name} is not described");
            }
        }
    }
}

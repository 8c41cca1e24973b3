//! Every refusal and failure as a problem document (RFC 9457): the one place
//! where errors of the floors below get a status, a title and an advice.
//! `docs/errors.md` is generated from [`TABLE`].

use std::borrow::Cow;
use std::fmt;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Map, Value, json};

use crate::encoding::qr_text::QrTextError;
use crate::ledger::Refusal;
use crate::node::NodeError;
use crate::primitives::UnixSeconds;
use crate::store::StoreError;

use super::scalars::rfc3339;

/// The media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Longest `detail`, in characters: a text may quote what was sent.
const DETAIL_CHARS_MAX: usize = 400;

/// What is the same of every problem with one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The stable code.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// Whether the very same request may succeed later.
    pub retry: bool,
    /// What happened, the same for all of the code.
    pub title: &'static str,
    /// What to do about it.
    pub action: &'static str,
}

const fn row(code: &'static str, status: u16, retry: bool, title: &'static str, action: &'static str) -> Row {
    Row {
        code,
        status,
        retry,
        title,
        action,
    }
}

/// Every code there is, in the order of `docs/errors.md`.
pub const TABLE: &[Row] = &[
    // What is wrong with the request itself.
    row(
        "body_invalid",
        400,
        false,
        "The body cannot be read",
        "Correct what the detail names. Unknown members, numbers with a fraction, amounts beyond 2^53 - 1, \
         unknown currencies and times without an offset are all refused.",
    ),
    row(
        "query_invalid",
        400,
        false,
        "The query cannot be read",
        "Correct what the detail names.",
    ),
    row(
        "idempotency_key_required",
        400,
        false,
        "The header Idempotency-Key is missing",
        "Send an Idempotency-Key: a new one for every new intent, the same one for every repeat of it.",
    ),
    row(
        "idempotency_key_invalid",
        400,
        false,
        "The header Idempotency-Key cannot be used",
        "Send it once, with 1 to 255 visible ASCII characters and no spaces; a random UUID is fine.",
    ),
    row(
        "access_key_missing",
        401,
        false,
        "An access key is needed",
        "Send the header Authorization: Bearer KEY. The operator makes keys with tallystick key add.",
    ),
    row(
        "access_key_unknown",
        401,
        false,
        "This access key is not known here",
        "Check that the whole key was copied and that it was not revoked (tallystick key list).",
    ),
    row(
        "role_forbidden",
        403,
        false,
        "This access key may not do that",
        "Use a key with the role that the detail names.",
    ),
    row(
        "register_mismatch",
        403,
        false,
        "A till acts for its own register only",
        "Send the register that the access key is bound to, or use an office key.",
    ),
    row(
        "not_found",
        404,
        false,
        "There is no such thing",
        "Check the address. For a call whose answer was lost, ask by register and till_reference.",
    ),
    row(
        "method_not_allowed",
        405,
        false,
        "This address does not take that method",
        "Use a method that the header Allow names.",
    ),
    row(
        "not_acceptable",
        406,
        false,
        "This cannot be given in the form asked for",
        "Accept application/json; application/cose goes with exactly one credential.",
    ),
    row(
        "body_timeout",
        408,
        true,
        "The body did not arrive in time",
        "Send the same request again.",
    ),
    row(
        "request_in_progress",
        409,
        true,
        "The first request with this Idempotency-Key is still being worked on",
        "Send the same request again after a moment; it gets the first one's answer.",
    ),
    row(
        "gone",
        410,
        false,
        "This was here and cannot be shown any more",
        "The effect stands in the log; its answer cannot be made again.",
    ),
    row(
        "body_too_large",
        413,
        false,
        "The body is too large",
        "Send at most 512 KiB and 1,000 receipt lines.",
    ),
    row(
        "content_type_unsupported",
        415,
        false,
        "The body is not JSON",
        "Send the header Content-Type: application/json, and no Content-Encoding.",
    ),
    // Retries.
    row(
        "idempotency_key_reused",
        422,
        false,
        "This Idempotency-Key stands for another request",
        "Repeat a request unchanged, or take a new key for a new intent.",
    ),
    row(
        "till_reference_reused",
        422,
        false,
        "This till_reference stands for another content",
        "Ask by register and till_reference what was recorded; give every sale a reference of its own.",
    ),
    // Receipts.
    row(
        "receipt_invalid",
        422,
        false,
        "The receipt does not add up, or breaks another rule",
        "Correct what the detail names; nothing was recorded.",
    ),
    row(
        "time_too_far",
        422,
        false,
        "The time of sale is too far from the node's clock",
        "Check the till's clock, and the node's; or leave issued_at out. A receipt that is posted after an outage is \
         marked \"offline\": true and may be late; none may lie in the future.",
    ),
    // Coupons.
    row(
        "coupon_unreadable",
        422,
        false,
        "This is not a coupon's QR text",
        "Scan again. The text is a link ending in digits, or the digits alone, with nothing before or after.",
    ),
    row(
        "coupon_link_foreign",
        422,
        false,
        "The code's link leads to another host",
        "Do not accept it: a forged code can point to a forger's page.",
    ),
    row(
        "coupon_forged",
        422,
        false,
        "This coupon was altered or forged",
        "Do not accept it. If it came from your own printer, check the printing.",
    ),
    row(
        "coupon_not_issued",
        422,
        false,
        "This coupon bears a good signature but was never issued here",
        "Do not accept it, and tell the node's operator at once: the signing key may be stolen.",
    ),
    row(
        "coupon_foreign",
        422,
        false,
        "This coupon was issued by another co-op",
        "It is redeemed where it was issued.",
    ),
    row(
        "holder_signature_missing",
        422,
        false,
        "This coupon is bound to its holder's key",
        "It cannot be redeemed without the holder's signature, which this node does not take yet.",
    ),
    row(
        "coupon_not_yet_valid",
        422,
        false,
        "This coupon is not valid yet",
        "It can be used from valid_from on.",
    ),
    row(
        "coupon_expired",
        422,
        false,
        "This coupon has expired",
        "It ended at expired_at.",
    ),
    row(
        "coupon_revoked",
        422,
        false,
        "This coupon has been revoked",
        "Do not accept it; the office knows why.",
    ),
    row(
        "coupon_suspended",
        422,
        false,
        "This coupon is suspended",
        "It may become valid again; the office knows why.",
    ),
    row(
        "coupon_used_up",
        422,
        false,
        "This coupon is used up",
        "used_at and used_register say when and where it was last redeemed. If that was your own call, \
         ask by register and till_reference.",
    ),
    row(
        "redeemer_not_allowed",
        422,
        false,
        "This campaign's coupons are not redeemable here",
        "They are redeemed at the co-ops that the campaign names.",
    ),
    row(
        "currency_differs",
        422,
        false,
        "The basket is in another currency than the campaign",
        "Redeem it on a basket in the campaign's currency.",
    ),
    row(
        "basket_below_minimum",
        422,
        false,
        "The basket is too small for this coupon",
        "The basket has to come to minimum at least.",
    ),
    row(
        "nothing_to_redeem",
        422,
        false,
        "There is nothing to take off this basket",
        "Check the basket's total and the amount.",
    ),
    row(
        "amount_differs",
        422,
        false,
        "The amount is not what the terms give",
        "Leave amount out, or send what computed says.",
    ),
    row(
        "amount_too_large",
        422,
        false,
        "The amount is more than can be taken off",
        "Ask for at most what most says, or leave amount out.",
    ),
    row(
        "budget_exhausted",
        422,
        false,
        "The campaign's budget does not cover this",
        "remaining says what is left; the office may begin another campaign.",
    ),
    row(
        "too_many_coupons",
        422,
        false,
        "This sale has redeemed as many coupons as one sale may",
        "Split the sale.",
    ),
    // Reversals.
    row(
        "redemption_unknown",
        404,
        false,
        "There is no such redemption",
        "Check its id, or ask by register and till_reference.",
    ),
    row(
        "reversal_too_large",
        422,
        false,
        "More than what is left to reverse",
        "Reverse at most remaining.",
    ),
    row(
        "reversal_window_over",
        422,
        false,
        "It is too late to reverse this",
        "The campaign's reversal window ended at ended_at.",
    ),
    row(
        "give_back_needs_whole",
        422,
        false,
        "A use is given back whole or not at all",
        "Reverse all that is left, or set give_back to false.",
    ),
    // Campaigns, issuing, revoking.
    row(
        "terms_not_supported",
        422,
        false,
        "The campaign has terms that this node does not enforce",
        "Leave those terms out, or update the node.",
    ),
    row(
        "terms_invalid",
        422,
        false,
        "The campaign's terms do not work",
        "Correct what the detail names.",
    ),
    row(
        "campaign_exists",
        422,
        false,
        "Exactly this campaign was signed before",
        "Use the first one, or give the second another name or text.",
    ),
    row(
        "campaign_unknown",
        422,
        false,
        "This node knows no such campaign",
        "Check its id with GET /v1/campaigns.",
    ),
    row(
        "campaign_ended",
        422,
        false,
        "The campaign is over",
        "Sign a new campaign; terms never change.",
    ),
    row(
        "campaign_closed",
        422,
        false,
        "The campaign was revoked or suspended",
        "A suspension can be lifted by the office; a revocation is final.",
    ),
    row(
        "batch_invalid",
        422,
        false,
        "These coupons cannot be issued",
        "Correct what the detail names.",
    ),
    row(
        "target_unknown",
        422,
        false,
        "Nothing was issued here under that name",
        "Check the name or the batch.",
    ),
    row(
        "revocation_final",
        422,
        false,
        "A revocation is final",
        "Issue a new coupon in its place.",
    ),
    // The node itself.
    row(
        "internal",
        500,
        true,
        "The node failed",
        "Send the same request again with the same Idempotency-Key; if it persists, the operator finds the \
         reason in the node's log under the X-Request-Id.",
    ),
    row(
        "busy",
        503,
        true,
        "The node has more work waiting than it takes on",
        "Send the same request again after Retry-After seconds, with the same Idempotency-Key.",
    ),
    row(
        "index_damaged",
        503,
        true,
        "The node's index is damaged",
        "Send the same request again, with the same Idempotency-Key, once the node was started again: it then \
         makes its index anew from the log. The operator restarts the node.",
    ),
    row(
        "stopped",
        503,
        true,
        "The node has stopped writing",
        "Send the same request again, with the same Idempotency-Key, once the node was started again. Whether \
         this call was recorded is known then.",
    ),
];

/// An answer that says no.
#[derive(Clone, Debug)]
pub struct Problem {
    row: &'static Row,
    detail: Cow<'static, str>,
    members: Vec<(&'static str, Value)>,
}

impl Problem {
    /// A problem with the row of `code`.
    pub fn new(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let row = TABLE.iter().find(|row| row.code == code);
        Self {
            row: row.unwrap_or_else(|| internal()),
            detail: detail.into(),
            members: Vec::new(),
        }
    }

    /// The same with one more member.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.members.push((name, value.into()));
        self
    }

    /// Something that must not happen did. The reason goes to the log only.
    pub fn internal(why: &dyn fmt::Display) -> Self {
        tracing::error!(error = %why, "a request failed");
        Self::new("internal", "the node failed to answer; its log says why")
    }

    /// Its row.
    #[must_use]
    pub fn row(&self) -> &'static Row {
        self.row
    }

    /// The sentence about this case, cut to a bounded length.
    #[must_use]
    pub fn detail(&self) -> Cow<'_, str> {
        match self.detail.char_indices().nth(DETAIL_CHARS_MAX) {
            Some((cut, _)) => Cow::Owned(format!("{}…", &self.detail[..cut])),
            None => Cow::Borrowed(&self.detail),
        }
    }

    /// Members of this case, beyond those that every problem has.
    pub fn members(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.members.iter().map(|(name, value)| (*name, value))
    }

    /// The problem document.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut document = Map::new();
        let fixed = [
            ("type", json!(format!("/errors#{}", self.row.code))),
            ("title", json!(self.row.title)),
            ("status", json!(self.row.status)),
            ("detail", json!(self.detail())),
            ("code", json!(self.row.code)),
            ("retry", json!(self.row.retry)),
            ("action", json!(self.row.action)),
        ];
        let own = self.members().map(|(name, value)| (name, value.clone()));
        for (name, value) in fixed.into_iter().chain(own) {
            document.insert(name.to_owned(), value);
        }
        Value::Object(document)
    }
}

fn internal() -> &'static Row {
    TABLE
        .iter()
        .find(|row| row.code == "internal")
        .expect("the table has a row for what it lacks")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.row.code, self.detail())
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.content_type(PROBLEM_JSON);
        match self.row.status {
            401 => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
            }
            409 | 503 => {
                response.insert_header((header::RETRY_AFTER, "1"));
            }
            // What is left of the body is not read: the connection ends.
            408 | 413 => {
                response.force_close();
            }
            _ => {}
        }
        response.body(self.to_json().to_string())
    }
}

impl From<NodeError> for Problem {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Refused(refusal) => refusal.into(),
            NodeError::Busy => Self::new("busy", NodeError::Busy.to_string()),
            NodeError::InProgress => Self::new("request_in_progress", NodeError::InProgress.to_string()),
            NodeError::Gone(why) => Self::new("gone", why),
            NodeError::NotFound(what) => Self::new("not_found", what),
            NodeError::Forbidden(why) => Self::new("register_mismatch", why),
            NodeError::Stopped(_) | NodeError::Store(StoreError::Fatal(_)) => {
                tracing::error!(%error, "a request met a writer that has stopped");
                Self::new(
                    "stopped",
                    "the node has stopped writing and has to be started again",
                )
            }
            NodeError::IndexDamaged(_) => {
                tracing::error!(%error, "a request met a damaged row of the index");
                Self::new(
                    "index_damaged",
                    "the node cannot look this up: its index is damaged, and is made anew when the node is started \
                     again",
                )
            }
            NodeError::Store(_) | NodeError::Inconsistent(_) | NodeError::Refuse(_) => Self::internal(&error),
        }
    }
}

impl From<Refusal> for Problem {
    /// The ledger counts in seconds; people read dates.
    fn from(refusal: Refusal) -> Self {
        let code = refusal.code();
        let at = |member, sentence: &str, time: UnixSeconds| {
            Self::new(code, format!("{sentence} {}", rfc3339(time))).with(member, rfc3339(time))
        };
        let plain = || Self::new(code, refusal.to_string());
        match &refusal {
            Refusal::CampaignEnded(time) => at("ended_at", "the campaign ended at", *time),
            Refusal::CouponNotYetValid(time) => at("valid_from", "this coupon is valid only from", *time),
            Refusal::CouponExpired(time) => at("expired_at", "this coupon expired at", *time),
            Refusal::ReversalWindowOver(time) => {
                at("ended_at", "the campaign's reversal window ended at", *time)
            }
            Refusal::CouponUsedUp(taken) => {
                let used_at = rfc3339(taken.at);
                let detail = format!(
                    "this coupon is used up: last redeemed at {used_at} at register {}",
                    taken.register
                );
                Self::new(code, detail)
                    .with("used_at", used_at)
                    .with("used_register", taken.register.as_str())
            }
            Refusal::TermsNotSupported(numbers) => plain().with("terms", numbers.clone()),
            Refusal::BasketBelowMinimum { minimum, total } => plain()
                .with("minimum", minimum.minor_units())
                .with("total", total.minor_units()),
            Refusal::AmountDiffers { computed, given } => plain()
                .with("computed", computed.minor_units())
                .with("given", given.minor_units()),
            Refusal::AmountTooLarge { most } => plain().with("most", most.minor_units()),
            Refusal::BudgetExhausted { left } | Refusal::ReversalTooLarge { left } => {
                plain().with("remaining", left.minor_units())
            }
            Refusal::TimeTooFar { seconds, .. } => plain().with("seconds", *seconds),
            _ => plain(),
        }
    }
}

impl From<QrTextError> for Problem {
    fn from(error: QrTextError) -> Self {
        Self::new(
            "coupon_unreadable",
            format!("the coupon's QR text cannot be read: {error}"),
        )
    }
}

/// `docs/errors.md`, whole.
#[must_use]
pub fn errors_md() -> String {
    let mut out = String::from(
        "# Errors\n\n\
         Generated from `src/http/problem.rs`; a test says how to make it anew.\n\n\
         Every answer that says no is a problem document (RFC 9457, `application/problem+json`): `type`, `title`, \
         `status`, `detail` (this case, for people), `code` (stable, for programs), `retry` (whether the very \
         same request may succeed later), `action` (what to do), and members of the case, such as `used_at` and \
         `used_register`. A request that was refused has changed nothing. Repeat a request with the same \
         `Idempotency-Key` as often as you like: it is done once.\n\n\
         | code | status | retry |\n|---|---|---|\n",
    );
    for row in TABLE {
        let retry = if row.retry { "yes" } else { "no" };
        out.push_str(&format!(
            "| [`{code}`](#{code}) | {} | {retry} |\n",
            row.status,
            code = row.code
        ));
    }
    for row in TABLE {
        out.push_str(&format!("\n## {}\n\n{}. {}\n", row.code, row.title, row.action));
    }
    out
}

#[cfg(test)]
#[path = "problem_tests.rs"]
mod tests;

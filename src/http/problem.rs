//! Every refusal and failure as a problem document (RFC 9457): the one place
//! where errors of the floors below get a code; `problem_table` has its status,
//! title and advice.
//! `docs/errors.md` is generated from [`TABLE`].

use std::borrow::Cow;
use std::fmt;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Map, Value, json};

use crate::encoding::qr_text::QrTextError;
use crate::ledger::{Place, Refusal};
use crate::node::NodeError;
use crate::primitives::UnixSeconds;
use crate::store::StoreError;

use super::observe;
pub use super::problem_table::{Row, TABLE};
use super::scalars::rfc3339;

/// The media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Longest `detail`, in characters: a text may quote what was sent.
const DETAIL_CHARS_MAX: usize = 400;

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
        observe::span().in_scope(|| tracing::error!(error = %why, "a request failed"));
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
            NodeError::NotCosigned(why) => why.into(),
            NodeError::Busy => Self::new("busy", NodeError::Busy.to_string()),
            NodeError::InProgress => Self::new("request_in_progress", NodeError::InProgress.to_string()),
            NodeError::Gone(why) => Self::new("gone", why),
            NodeError::DoneBeforeLoss { entry } => {
                Self::new("done_before_loss", error.to_string()).with("entry", entry)
            }
            NodeError::Erased {
                entry,
                at,
                ref reason,
            } => Self::new(
                "erased",
                format!("this receipt was erased on {}, because: {reason}", rfc3339(at)),
            )
            .with("entry", entry)
            .with("erased_at", rfc3339(at)),
            NodeError::ErasedInPart { .. } => {
                observe::span().in_scope(|| tracing::error!(%error, "an erasure met damaged rows"));
                Self::new("erased_in_part", error.to_string())
            }
            NodeError::NotFound(what) => Self::new("not_found", what),
            NodeError::Forbidden(why) => Self::new("register_mismatch", why),
            NodeError::Stopped(_) | NodeError::Store(StoreError::Fatal(_)) => {
                observe::span()
                    .in_scope(|| tracing::error!(%error, "a request met a writer that has stopped"));
                Self::new(
                    "stopped",
                    "the node has stopped writing and has to be started again",
                )
            }
            NodeError::IndexDamaged(_) => {
                observe::span()
                    .in_scope(|| tracing::error!(%error, "a request met a damaged row of the index"));
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
                    "this coupon is used up: last redeemed at {used_at} at {}",
                    taken.place_said()
                );
                let problem = Self::new(code, detail).with("used_at", used_at);
                match &taken.place {
                    Place::Register(register) => problem.with("used_register", register.as_str()),
                    Place::Partner { .. } => problem.with("used_redeemer", taken.redeemer.as_str()),
                }
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
         Generated from `src/http/problem_table.rs`; a test says how to make it anew.\n\n\
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

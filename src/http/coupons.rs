//! `/v1/coupons` and `/v1/validations`. Coupons cannot be fetched by any name:
//! they are bearer value.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, post};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::ledger::{Basket, BatchOrder, Quote};

use super::auth::{Identity, May};
use super::negotiate::{self, wants_cose};
use super::problem::Problem;
use super::receipts::LineBody;
use super::request::{Post, read_json};
use super::scalars::{
    Base64Url, CampaignRef, CouponText, Letters, Money, NameOfCoupon, Time, maybe_objects, object,
};
use super::{EntryBody, HttpState};

/// Coupons as the office orders them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CouponOrder, example = json!({"campaign": "q0Jz9n5oYwX3hYb0o2m1Xg", "count": 2}))]
struct CouponOrderBody {
    campaign: CampaignRef,
    /// How many; one if absent.
    #[serde(default = "one", deserialize_with = "one_if_null")]
    #[schema(minimum = 1, maximum = 1000, default = 1)]
    count: u32,
    /// An amount in place of the benefit's.
    amount: Option<Money>,
    /// A start in place of the campaign's.
    not_before: Option<Time>,
    /// An end in place of the campaign's.
    not_after: Option<Time>,
}

fn one() -> u32 {
    1
}

fn one_if_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    Option::deserialize(deserializer).map(|count| count.unwrap_or_else(one))
}

/// One coupon: bearer value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Coupon)]
struct CouponBody<'a> {
    /// What it is called in office work.
    name: NameOfCoupon,
    /// The text of its QR code.
    #[schema(example = "HTTPS://COOP.EXAMPLE/V#4117…")]
    qr: String,
    /// The signed coupon (COSE).
    credential: Base64Url<'a>,
}

/// A batch of coupons.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Coupons, example = json!({
    "batch": 42,
    "coupons": [{"name": "0-81264", "qr": "HTTPS://COOP.EXAMPLE/V#4117…", "credential": "0oRYLKMBJwRI…"}],
    "entry": {"index": 42, "hash": "mJ2yJb5nH0YkqFv0m3K7m3Jx0l2y8b1dH9w7Z4T1u0E"}
}))]
struct CouponsBody<'a> {
    /// The batch's name: the index of its entry.
    batch: u64,
    coupons: Vec<CouponBody<'a>>,
    entry: EntryBody,
}

/// Issues coupons.
#[utoipa::path(
    tag = "office",
    operation_id = "issueCoupons",
    request_body(content = CouponOrderBody, content_type = "application/json"),
    responses((status = 201, description = "The coupons; application/cose goes with a count of 1",
        content((CouponsBody = "application/json"), (Vec<u8> = "application/cose"))))
)]
#[post("/v1/coupons")]
pub async fn post_coupons(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let identity = Identity::of(&state, &request, May::Administer)?;
    let post = Post::read(&state, &request, payload, &identity).await?;
    let body: CouponOrderBody = post.json()?;
    let as_cose = wants_cose(&request);
    if as_cose && body.count != 1 {
        return Err(Problem::new(
            "not_acceptable",
            format!("application/cose holds one coupon, not {}", body.count),
        ));
    }
    let order = BatchOrder {
        campaign: body.campaign.0,
        count: body.count,
        amount: body.amount.map(|amount| amount.0),
        not_before: body.not_before.map(|time| time.0),
        not_after: body.not_after.map(|time| time.0),
    };
    let mut issued = state.node.issue_coupons(&post.caller, order).await?;
    if as_cose {
        let coupon = issued.coupons.pop();
        let coupon = coupon.ok_or_else(|| Problem::internal(&"a batch without coupons"))?;
        return Ok(negotiate::cose(StatusCode::CREATED, coupon.credential));
    }
    let coupons = issued.coupons.iter().map(|coupon| CouponBody {
        name: NameOfCoupon(coupon.name),
        qr: state.qr(&coupon.credential),
        credential: (&coupon.credential).into(),
    });
    let answer = CouponsBody {
        batch: issued.batch,
        coupons: coupons.collect(),
        entry: issued.entry.into(),
    };
    Ok(negotiate::json(StatusCode::CREATED, &answer))
}

/// What the customer buys.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Basket, example = json!({"total": 1250, "currency": "EUR"}))]
pub(super) struct BasketBody {
    /// What it comes to.
    total: Money,
    currency: Letters,
    /// Its lines; no terms look at them yet.
    #[expect(dead_code, reason = "read, so that what is wrong in them is told")]
    #[serde(default, deserialize_with = "maybe_objects")]
    lines: Option<Vec<LineBody>>,
}

impl From<BasketBody> for Basket {
    fn from(basket: BasketBody) -> Self {
        Self {
            total: basket.total.0,
            currency: basket.currency.0,
        }
    }
}

/// A coupon and the basket it is meant for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Validation, example = json!({
    "coupon": "HTTPS://COOP.EXAMPLE/V#4117…", "basket": {"total": 1250, "currency": "EUR"}
}))]
struct ValidationBody {
    coupon: CouponText,
    #[serde(deserialize_with = "object")]
    basket: BasketBody,
    /// How much of a stored value.
    amount: Option<Money>,
}

/// Whether the coupon would work. `code`, `detail` and the rest only if not.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ValidationAnswer, example = json!({
    "valid": true, "amount": 300, "remaining_uses": 0, "remaining_value": null
}))]
#[serde(untagged)]
enum ValidationAnswer {
    /// It would.
    Valid {
        /// `true`.
        valid: bool,
        /// What it gives.
        amount: Money,
        /// Uses left afterwards; null where they are not limited.
        remaining_uses: Option<u32>,
        /// Value left afterwards; null unless it is a stored value.
        remaining_value: Option<Money>,
    },
    /// It would be refused.
    Refused {
        /// `false`.
        valid: bool,
        /// The code that a redemption would get.
        code: &'static str,
        /// This case, for people.
        detail: String,
        /// What to do.
        action: &'static str,
        /// What else is to be said, such as `used_at` and `used_register`.
        #[serde(flatten)]
        #[schema(value_type = Object)]
        more: Map<String, Value>,
    },
}

impl From<Quote> for ValidationAnswer {
    fn from(quote: Quote) -> Self {
        Self::Valid {
            valid: true,
            amount: Money(quote.amount),
            remaining_uses: quote.remaining_uses,
            remaining_value: quote.remaining_value.map(Money),
        }
    }
}

impl From<Problem> for ValidationAnswer {
    fn from(problem: Problem) -> Self {
        let row = problem.row();
        let more = problem
            .members()
            .map(|(name, value)| (name.to_owned(), value.clone()));
        Self::Refused {
            valid: false,
            code: row.code,
            detail: problem.detail().into_owned(),
            action: row.action,
            more: more.collect(),
        }
    }
}

/// Would this coupon work? Changes nothing.
#[utoipa::path(
    tag = "tills",
    operation_id = "validateCoupon",
    request_body(content = ValidationBody, content_type = "application/json"),
    responses((status = 200, description = "Whether it would, and what it would give", body = ValidationAnswer))
)]
#[post("/v1/validations")]
pub async fn post_validation(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    Identity::of(&state, &request, May::Sell)?;
    let body: ValidationBody = read_json(&state, &request, payload).await?;
    let amount = body.amount.map(|amount| amount.0);
    let answer = match body.coupon.bytes(&state.node.options().origin) {
        Ok(coupon) => {
            let quote = state.node.validate(&coupon, body.basket.into(), amount).await;
            quote.map(ValidationAnswer::from).map_err(Problem::from)
        }
        Err(problem) => Err(problem),
    };
    let answer = answer.or_else(|problem| match problem.row().status {
        422 => Ok(problem.into()),
        _ => Err(problem),
    })?;
    Ok(negotiate::json(StatusCode::OK, &answer))
}

//! Which answers lead to which calls: OpenAPI links.

use serde_json::{Value, json};

/// Adds the links to the answers that they start from.
pub fn add(document: &mut Value) {
    let basket = json!({"total": 5_000, "currency": "EUR"});
    let coupon = "$response.body#/coupons/0/qr";
    let links = [
        (
            "/v1/campaigns",
            json!({
                "TheCampaign": {
                    "operationId": "getCampaign", "parameters": {"path.id": "$response.body#/id"},
                    "description": "The campaign as anyone may see it",
                },
                "ItsCoupons": {
                    "operationId": "issueCoupons",
                    "requestBody": {"campaign": "$response.body#/id"},
                    "description": "Issue coupons of this campaign",
                },
            }),
        ),
        (
            "/v1/coupons",
            json!({
                "WhatItGives": {
                    "operationId": "validateCoupon",
                    "requestBody": {"coupon": coupon, "basket": basket},
                    "description": "Ask what the first of the coupons would give",
                },
                "RedeemIt": {
                    "operationId": "redeemCoupon",
                    "requestBody": {
                        "coupon": coupon, "basket": basket,
                        "register": "shop1-lane3", "till_reference": "batch {$response.body#/batch}",
                    },
                    "description": "Redeem the first of the coupons",
                },
                "RevokeIt": {
                    "operationId": "setCouponStatus",
                    "requestBody": {"name": "$response.body#/coupons/0/name", "status": "revoked"},
                    "description": "Revoke the first of the coupons",
                },
            }),
        ),
        (
            "/v1/receipts",
            json!({
                "TheReceipt": {
                    "operationId": "getReceipt", "parameters": {"path.id": "$response.body#/id"},
                    "description": "The receipt with all that is on it",
                },
                "ByReference": {
                    "operationId": "findReceipts",
                    "parameters": {
                        "query.register": "$request.body#/register",
                        "query.till_reference": "$request.body#/till_reference",
                    },
                    "description": "What a till asks when the answer was lost",
                },
            }),
        ),
        (
            "/v1/redemptions",
            json!({
                "TheRedemption": {
                    "operationId": "getRedemption", "parameters": {"path.id": "$response.body#/id"},
                    "description": "The redemption as it stands",
                },
                "ByReference": {
                    "operationId": "findRedemptions",
                    "parameters": {
                        "query.register": "$request.body#/register",
                        "query.till_reference": "$request.body#/till_reference",
                    },
                    "description": "What a till asks when the answer was lost",
                },
                "ReverseIt": {
                    "operationId": "reverseRedemption", "parameters": {"path.id": "$response.body#/id"},
                    "requestBody": {
                        "till_reference": "$request.body#/till_reference", "give_back": true,
                    },
                    "description": "Reverse all of it and give the use back",
                },
            }),
        ),
    ];
    for (path, links) in links {
        document["paths"][path]["post"]["responses"]["201"]["links"] = links;
    }
}

//! Which problems each call may answer with. What is answered in the tests is
//! compared with this, so that no code goes unsaid.

/// The key is missing, unknown, or of another role.
const KEY: &[&str] = &["access_key_missing", "access_key_unknown", "role_forbidden"];

/// The key is missing or unknown; every role may read.
const ANY_KEY: &[&str] = &["access_key_missing", "access_key_unknown"];

/// A body that cannot be had or understood.
const BODY: &[&str] = &[
    "body_invalid",
    "body_timeout",
    "body_too_large",
    "content_type_unsupported",
];

/// What an `Idempotency-Key` may meet.
const INTENT: &[&str] = &[
    "idempotency_key_required",
    "idempotency_key_invalid",
    "idempotency_key_reused",
    "request_in_progress",
    "gone",
];

/// The node cannot work on it.
const NODE: &[&str] = &["internal", "busy", "index_damaged", "stopped"];

/// The node cannot look it up.
const READ: &[&str] = &["internal", "index_damaged", "stopped"];

/// A till's register and reference.
const TILL: &[&str] = &["register_mismatch", "till_reference_reused"];

/// What is presented is not a coupon that was issued here.
const NO_COUPON: &[&str] = &[
    "coupon_unreadable",
    "coupon_link_foreign",
    "coupon_forged",
    "coupon_not_issued",
    "coupon_foreign",
    "holder_signature_missing",
];

/// Why a coupon of this node is refused.
const REFUSED: &[&str] = &[
    "coupon_not_yet_valid",
    "coupon_expired",
    "coupon_revoked",
    "coupon_suspended",
    "coupon_used_up",
    "campaign_closed",
    "terms_not_supported",
    "redeemer_not_allowed",
    "currency_differs",
    "basket_below_minimum",
    "nothing_to_redeem",
    "amount_differs",
    "amount_too_large",
    "budget_exhausted",
];

/// What may become of a coupon that another co-op issued.
const PARTNER: &[&str] = &[
    "campaign_unknown",
    "issuer_not_good",
    "issuer_forked",
    "issuer_unreachable",
    "partners_not_served",
];

/// What its issuer may have said, or not said.
const ISSUER: &[&str] = &[
    "issuer_refused",
    "request_expired",
    "request_cancelled",
    "request_id_reused",
    "half_differs",
    "outcome_unknown",
    "redemption_cancelled",
];

/// The codes that a validation tells of in its 200.
pub fn of_refused_validation() -> Vec<&'static str> {
    let partner = ["campaign_unknown", "issuer_not_good", "issuer_forked"];
    [NO_COUPON, REFUSED, &partner].concat()
}

/// The codes of the problems that the call may answer with, beside
/// `method_not_allowed`; `None` for a call that is not known here.
pub fn of_call(operation_id: &str) -> Option<Vec<&'static str>> {
    let groups: &[&[&str]] = match operation_id {
        "redeemCoupon" => &[
            KEY,
            BODY,
            INTENT,
            NODE,
            TILL,
            NO_COUPON,
            REFUSED,
            PARTNER,
            ISSUER,
            &["too_many_coupons", "query_invalid"],
        ],
        "issueReceipt" => &[
            KEY,
            BODY,
            INTENT,
            NODE,
            TILL,
            &[
                "receipt_invalid",
                "time_too_far",
                "not_acceptable",
                "query_invalid",
                "done_before_loss",
                "erased",
            ],
        ],
        "validateCoupon" => &[KEY, BODY, READ, &["issuer_unreachable", "partners_not_served"]],
        "cancelRedemption" => &[
            KEY,
            BODY,
            INTENT,
            NODE,
            &[
                "register_mismatch",
                "not_found",
                "redemption_unknown",
                "redemption_made",
                "outcome_unknown",
                "issuer_refused",
            ],
        ],
        "gossip" => &[
            BODY,
            &["not_found", "message_refused", "internal", "busy", "stopped"],
        ],
        "readEntries" => &[
            BODY,
            &["not_found", "message_refused", "roster_behind", "busy"],
            READ,
        ],
        "partnerRedemptions" => &[
            BODY,
            &[
                "not_found",
                "message_refused",
                "roster_behind",
                "roster_outdated",
                "partners_not_served",
                "internal",
                "busy",
                "index_damaged",
                "stopped",
            ],
        ],
        "reverseRedemption" => &[
            KEY,
            BODY,
            INTENT,
            NODE,
            TILL,
            &[
                "not_found",
                "redemption_unknown",
                "reversal_too_large",
                "reversal_window_over",
                "give_back_needs_whole",
                "made_elsewhere",
                "issuer_forked",
                "partners_not_served",
            ],
            ISSUER,
        ],
        "signCampaign" => &[
            KEY,
            BODY,
            INTENT,
            NODE,
            &["terms_not_supported", "terms_invalid", "campaign_exists"],
        ],
        "issueCoupons" => &[
            KEY,
            BODY,
            INTENT,
            NODE,
            &[
                "query_invalid",
                "not_acceptable",
                "not_found",
                "campaign_unknown",
                "campaign_ended",
                "campaign_closed",
                "terms_not_supported",
                "batch_invalid",
            ],
        ],
        "setCouponStatus" => &[
            KEY,
            BODY,
            INTENT,
            NODE,
            NO_COUPON,
            &["target_unknown", "campaign_unknown", "revocation_final"],
        ],
        "eraseReceipts" => &[
            KEY,
            BODY,
            INTENT,
            NODE,
            &["not_found", "erased", "erased_in_part"],
        ],
        "findReceipts" | "findRedemptions" => &[
            ANY_KEY,
            READ,
            &["register_mismatch", "query_invalid", "done_before_loss", "erased"],
        ],
        "getReceipt" => &[
            ANY_KEY,
            READ,
            &[
                "register_mismatch",
                "not_found",
                "done_before_loss",
                "erased",
                "query_invalid",
                "not_acceptable",
            ],
        ],
        "getRedemption" => &[
            ANY_KEY,
            READ,
            &[
                "register_mismatch",
                "not_found",
                "query_invalid",
                "outcome_unknown",
                "redemption_cancelled",
                "issuer_refused",
            ],
            REFUSED,
            NO_COUPON,
        ],
        "getBatch" | "getTagPath" | "getCouponPath" | "getEntry" | "getEntryBundle" | "getStubBundle"
        | "getTagTile" => &[KEY, READ, &["not_found"]],
        "getInclusionProof" => &[
            KEY,
            READ,
            &[
                "register_mismatch",
                "not_found",
                "done_before_loss",
                "erased",
                "query_invalid",
                "not_acceptable",
            ],
        ],
        "getConsistencyProof" => &[&[
            "internal",
            "stopped",
            "not_found",
            "query_invalid",
            "not_acceptable",
        ]],
        "publishRoster" => &[
            KEY,
            BODY,
            &[
                "idempotency_key_required",
                "idempotency_key_invalid",
                "idempotency_key_reused",
                "request_in_progress",
                "internal",
                "busy",
                "index_damaged",
                "stopped",
                "federation_not_pinned",
                "roster_incomplete",
                "roster_refused",
                "roster_conflict",
            ],
        ],
        "getRoster" | "getRosterConflict" => &[&["not_found"]],
        "listEvidence" => &[KEY, &["not_found", "query_invalid"]],
        "getRosterVersion" => &[&["internal", "not_found"]],
        "addCheckpoint" => &[
            BODY,
            &["internal", "busy", "stopped"],
            &[
                "checkpoint_invalid",
                "checkpoint_not_signed",
                "checkpoint_inconsistent",
                "log_unknown",
            ],
        ],
        "getMirrorCheckpoint" | "getMirrorKey" | "getMirrorTile" => &[&["internal", "not_found"]],
        "getMirrorEntryBundle" | "getMirrorStubBundle" | "getMirrorTagTile" => {
            &[KEY, &["internal", "not_found"]]
        }
        "getTile" => &[&["internal", "stopped", "not_found"]],
        "getStatusList" => &[NODE, &["not_found"]],
        "getMetrics" => &[&["role_forbidden", "internal"]],
        "getReadiness" => &[&["stopped"]],
        "getCampaign" | "getPageFile" | "followEscapedLink" | "getWitnessedCheckpoint" => &[&["not_found"]],
        "listCampaigns"
        | "getDidDocument"
        | "getCheckpoint"
        | "getHealth"
        | "getOpenApi"
        | "getErrors"
        | "getVerificationPage"
        | "getVerificationPageInLowerCase" => &[],
        _ => return None,
    };
    Some(groups.concat())
}

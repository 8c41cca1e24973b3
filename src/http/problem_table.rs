//! Every code that a problem may have, with its status and advice.

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
        "checkpoint_invalid",
        400,
        false,
        "This is no request to cosign a checkpoint",
        "Send it as C2SP tlog-witness has it: the old size, which is not above the checkpoint's, the proof, an empty \
         line, the checkpoint.",
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
        "checkpoint_not_signed",
        403,
        false,
        "No trusted key has signed this checkpoint",
        "Compare the log's key with the one in the witness's setting witness_logs.",
    ),
    row(
        "not_found",
        404,
        false,
        "There is no such thing",
        "Check the address and the id in it. A till whose answer was lost asks by register and till_reference.",
    ),
    row(
        "log_unknown",
        404,
        false,
        "This witness was not told of that log",
        "Ask its operator to add the log's vkey to the setting witness_logs.",
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
        "Accept application/json; application/cose goes with exactly one credential, application/x-ndjson with coupons.",
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
        "erased",
        410,
        false,
        "What was on this receipt was erased",
        "It counts and stands in the log, and its stub can still be had as application/cose. Do not send it again \
         under another key or reference.",
    ),
    row(
        "done_before_loss",
        410,
        false,
        "This was done before the node lost its store, and its answer was not recovered",
        "Do not send it again under another key or reference: it counts. The receipt that was printed stands; the \
         entry shows register and number.",
    ),
    row(
        "body_too_large",
        413,
        false,
        "The body is too large",
        "Send at most 512 KiB and 1,000 receipt lines, of a checkpoint to be cosigned at most 130 KiB, of a roster at most \
         1 MiB.",
    ),
    row(
        "content_type_unsupported",
        415,
        false,
        "The body is not of the type that is due here",
        "Send the header Content-Type: application/json (a roster: application/cbor), and no Content-Encoding.",
    ),
    // Retries.
    row(
        "checkpoint_inconsistent",
        422,
        false,
        "The checkpoint is not shown to continue the one cosigned last",
        "Send the consistency proof between the two sizes. If it is right, the log has two histories: keep both \
         checkpoints, they are evidence.",
    ),
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
        "Correct what the detail names. More than 1,000 coupons, up to 1,000,000, come as a stream: send the header \
         Accept: application/x-ndjson.",
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
    // The federation.
    row(
        "federation_not_pinned",
        422,
        false,
        "This node belongs to no federation",
        "The operator pins one with tallystick federation pin, and starts the node again.",
    ),
    row(
        "roster_incomplete",
        422,
        true,
        "This roster does not count yet",
        "Publish the versions in their order, each once enough signers of the version before and of its own have signed \
         it; tallystick federation show says who is missing.",
    ),
    row(
        "roster_refused",
        422,
        false,
        "This roster is refused",
        "The detail names the rule that it breaks; docs/federation.md has them all. A roster never goes back, nor to \
         another federation.",
    ),
    row(
        "roster_conflict",
        422,
        false,
        "Two versions of the roster with one number were signed",
        "Of this the node keeps the evidence (GET /federation/conflict). It follows nothing further until its operator has \
         decided which one counts, in the setting federation_decided.",
    ),
    // Redemptions between co-ops.
    row(
        "message_refused",
        403,
        false,
        "This message of another node is refused",
        "The member reason says why. Nothing of it had an effect.",
    ),
    row(
        "roster_outdated",
        409,
        true,
        "The sender follows an older roster",
        "Fetch the versions after it (GET /federation/roster/VERSION), then sign the message anew.",
    ),
    row(
        "redemption_made",
        409,
        false,
        "This redemption was made",
        "It can no longer be cancelled: reverse it.",
    ),
    row(
        "redemption_cancelled",
        409,
        false,
        "This redemption was cancelled",
        "It had no effect, and never will. Redeem anew, with another Idempotency-Key and another till_reference.",
    ),
    row(
        "issuer_not_good",
        422,
        false,
        "The issuing co-op does not vouch for this coupon any more",
        "Take the coupon back to the co-op that issued it.",
    ),
    row(
        "issuer_forked",
        422,
        false,
        "The issuing co-op's log is convicted of a fork",
        "Nothing of that co-op is redeemed until this node's operator has decided.",
    ),
    row(
        "issuer_refused",
        422,
        false,
        "The issuing co-op refuses",
        "The detail has its words, and issuer_code its code.",
    ),
    row(
        "made_elsewhere",
        422,
        false,
        "A partner made this redemption",
        "Only the co-op that made a redemption reverses it.",
    ),
    row(
        "request_expired",
        422,
        false,
        "The request reached the issuing co-op too late",
        "It had no effect. Redeem anew, with another Idempotency-Key and another till_reference.",
    ),
    row(
        "request_cancelled",
        422,
        false,
        "The request was cancelled",
        "It had no effect. Redeem anew, with another Idempotency-Key and another till_reference.",
    ),
    row(
        "request_id_reused",
        422,
        false,
        "A request's identity was used for another request",
        "Nothing had an effect: the two nodes' operators have to look into it.",
    ),
    row(
        "half_differs",
        422,
        false,
        "The issuing co-op's half is not what was asked for",
        "The two nodes' operators have to look into it: keep both logs.",
    ),
    row(
        "outcome_unknown",
        503,
        true,
        "Whether the coupon was redeemed is not known yet",
        "Send the same request again with the same Idempotency-Key, or ask by the till's own reference: the node \
         keeps asking the issuing co-op until it knows. For a sale that is given up, cancel it \
         (POST /v1/redemptions/{id}/cancellations).",
    ),
    row(
        "issuer_unreachable",
        503,
        true,
        "The issuing co-op cannot be reached",
        "Nothing was begun: the co-op has to be asked first, for its campaign's terms or, since its key was stolen, for the coupon's proof. Send the same request again later.",
    ),
    row(
        "partners_not_served",
        503,
        true,
        "Nothing is redeemed between co-ops now",
        "The detail says why: the operator has to publish a roster that is in force, or to decide a conflict.",
    ),
    row(
        "roster_behind",
        503,
        true,
        "This node follows an older roster than the sender",
        "It fetches the newer one: sign the message anew in a moment.",
    ),
    // The node itself.
    row(
        "erased_in_part",
        500,
        false,
        "Of this member's receipts some could not be looked at; all others were erased",
        "The operator puts the store right (an audit names what is damaged); then send the same request again: it erases \
         the rest. Single receipts can be erased by their id at once.",
    ),
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

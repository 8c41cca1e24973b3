//! What is told at once rather than in the next round: what stops a coupon, and
//! evidence. That a coupon was used up can wait: its issuer is asked anyway.

use super::held::Stored;
use super::item::Content;
use crate::credential::status_list::{Status, StatusListToken};
use crate::primitives::{UnixSeconds, limits};

/// Whether an item that was new here, in the place of `before`, is news to others.
pub(super) fn is_news(content: &Content, before: Option<&Stored>) -> bool {
    match content {
        Content::StatusList(token) => {
            let before = before.and_then(|before| StatusListToken::parse(&before.bytes).ok());
            stops_other_coupons(token, before.as_ref())
        }
        Content::Campaign(_) | Content::Evidence(_) => true,
        Content::Checkpoint(..) => false,
    }
}

/// Whether all may still be telling each other of it.
pub(super) fn is_fresh(content: &Content, now: UnixSeconds) -> bool {
    let at = match content {
        Content::StatusList(token) => token.list().issued_at,
        Content::Campaign(campaign) => campaign.content().issued_at,
        // It has no time of its own, and is rare.
        Content::Evidence(_) => return true,
        Content::Checkpoint(..) => return false,
    };
    at.distance(now) <= limits::GOSSIP_NEWS_SECONDS
}

/// Bytes of a list that are compared at once.
const PIECE: usize = 256;

/// Whether a coupon is revoked or suspended that was not before, or the other way
/// round.
fn stops_other_coupons(token: &StatusListToken, before: Option<&StatusListToken>) -> bool {
    let packed = token.list().statuses.packed();
    let old = before.map_or(&[][..], |before| before.list().statuses.packed());
    // Most of a list is what it was: that is passed over in large pieces.
    packed
        .chunks(PIECE)
        .zip((0..).step_by(PIECE))
        .any(|(piece, from)| {
            let old = old.get(from..).unwrap_or_default();
            let old = &old[..piece.len().min(old.len())];
            let bytes_before = old.iter().copied().chain(std::iter::repeat(0));
            piece != old
                && piece
                    .iter()
                    .zip(bytes_before)
                    .any(|(byte, before)| stops_others(*byte, before))
        })
}

/// The same of four coupons.
fn stops_others(packed: u8, before: u8) -> bool {
    let stops = |byte: u8, place: u8| {
        let status = byte >> (2 * place) & 3;
        status == Status::Revoked.number() || status == Status::Suspended.number()
    };
    packed != before && (0..4).any(|place| stops(packed, place) != stops(before, place))
}

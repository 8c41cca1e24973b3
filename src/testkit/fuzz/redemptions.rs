//! Floor 6: bodies of messages about redemptions, and of those that ask for entries.

use super::Target;
use crate::encoding::cbor;
use crate::federation::entries::{Answer as EntriesAnswer, CouponPath, Request as EntriesRequest};
use crate::federation::message::MessageName;
use crate::federation::redemption::wire::{
    self, Answer, Link, LogState, Outcome, Proof, Receipts, Request, Wanted,
};
use crate::ledger::Basket;
use crate::log::TilePath;
use crate::log::tile_path::TileKind;
use crate::primitives::{Amount, CouponName, Currency, RedemptionId, Tag, UnixSeconds};

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "redemption_body",
        run: redemption_body,
        seeds: redemption_seeds,
    },
    Target {
        name: "entries_body",
        run: entries_body,
        seeds: entries_seeds,
    },
];

/// Reads a body as requests, and as an answer.
fn redemption_body(data: &[u8]) -> bool {
    let Ok(body) = cbor::decode(data, MessageName::RedemptionAnswer.most()) else {
        return false;
    };
    let mut accepted = false;
    if let Ok((size, requests)) = wire::read_requests(&body) {
        accepted = true;
        let bytes: Vec<Vec<u8>> = requests.iter().map(|(_, request)| request.encode()).collect();
        for ((digest, _), bytes) in requests.iter().zip(&bytes) {
            assert_eq!(
                wire::request_digest(bytes),
                *digest,
                "one encoding of one request"
            );
        }
        let again = wire::requests_body(size, bytes.iter().map(Vec::as_slice));
        assert_eq!(again, data, "read and written again");
    }
    if let Ok(answer) = Answer::decode(&body) {
        accepted = true;
        assert_eq!(answer.encode(), data, "read and written again");
    }
    accepted
}

/// One request of each kind, and an answer with one of each outcome.
#[must_use]
pub fn redemption_seeds() -> Vec<Vec<u8>> {
    let amount = |units| Amount::new(units).expect("a small amount");
    let (not_after, reference) = (UnixSeconds(1_790_000_900), [3; 16]);
    let redemption = RedemptionId([1; 16]);
    let wanted = [
        Wanted::Redeem {
            not_after,
            reference,
            coupon: vec![0xd2; 205],
            basket: Basket {
                total: amount(1_250),
                currency: Currency::from_letters("EUR").expect("a currency"),
            },
            amount: Some(amount(200)),
        },
        Wanted::Reverse {
            not_after,
            reference,
            redemption,
            amount: None,
            give_back: true,
        },
        Wanted::Cancel,
    ];
    let requests = wanted.into_iter().zip(1_u8..).map(|(wanted, n)| {
        let request = Request {
            redeemer: "did:web:south.example".to_owned(),
            issuer: "did:web:north.example".to_owned(),
            id: RedemptionId([n; 16]),
            wanted,
        };
        request.encode()
    });
    let requests: Vec<Vec<u8>> = requests.collect();
    let outcomes = [
        Outcome::Half {
            entry: vec![0x86; 400],
        },
        Outcome::Cancelled {
            entry: vec![0x86; 120],
        },
        Outcome::Refused {
            code: "coupon_used_up".to_owned(),
            detail: "this coupon is used up".to_owned(),
        },
        Outcome::NotNow,
    ];
    let answer = Answer {
        outcomes: outcomes
            .into_iter()
            .zip(1_u8..)
            .map(|(outcome, n)| (RedemptionId([n; 16]), outcome))
            .collect(),
        proof: Some(Proof {
            log: LogState {
                checkpoint: "north.example\n44\nroot\n".to_owned(),
                old_size: 41,
                proof: vec![[8; 32]; 3],
            },
            link: Some(Link {
                old_size: 43,
                proof: vec![[10; 32]; 2],
            }),
            receipts: Receipts {
                protected: vec![0xa3; 18],
                signature: [0x5a; 64],
                hashes: vec![[11; 32]; 6],
            },
        }),
    };
    vec![
        wire::requests_body(41, requests.iter().map(Vec::as_slice)),
        answer.encode(),
    ]
}

/// Reads a body as a request for entries, and as an answer.
fn entries_body(data: &[u8]) -> bool {
    let Ok(body) = cbor::decode(data, MessageName::Entries.most()) else {
        return false;
    };
    let request = EntriesRequest::decode(&body).map(|request| request.encode());
    let answer = EntriesAnswer::decode(&body).map(|answer| answer.encode());
    let again = [request.ok(), answer.ok()];
    for bytes in again.iter().flatten() {
        assert_eq!(bytes, data, "read and written again");
    }
    again.iter().any(Option::is_some)
}

/// Both requests, and then each kind of answer.
#[must_use]
pub fn entries_seeds() -> Vec<Vec<u8>> {
    let path = TilePath::new(TileKind::Entries, 0, 17).expect("a bundle of 17 entries");
    let name = CouponName {
        list: 0,
        index: 4_711,
    };
    let requests = [
        EntriesRequest::File { path, offset: 0 },
        EntriesRequest::Coupon { name, log_size: 41 },
    ];
    let answers = [
        EntriesAnswer::Piece {
            length: 402,
            bytes: [&[1, 0x90][..], &[0x86; 400]].concat(),
        },
        EntriesAnswer::Coupon(Box::new(CouponPath {
            entry: vec![0x86; 160],
            entry_path: vec![[8; 32]; 5],
            leaf: 3,
            tag: Tag([7; 32]),
            tag_path: vec![[9; 32]; 2],
            log: LogState {
                checkpoint: "north.example\n44\nroot\n".to_owned(),
                old_size: 41,
                proof: vec![[8; 32]; 3],
            },
        })),
        EntriesAnswer::Nothing,
    ];
    let requests = requests.iter().map(EntriesRequest::encode);
    requests
        .chain(answers.iter().map(EntriesAnswer::encode))
        .collect()
}

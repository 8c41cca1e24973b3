//! Evidence that an issuer has signed two status lists of one number and time that say
//! different things:
//!
//! ```text
//! [2, status list token: bstr, another: bstr]
//! ```
//!
//! in deterministic CBOR, the token with the smaller SHA-256 first, so that one case has
//! one form (protocol, section 4; schemas/list-evidence.cddl). Of one list a newer one has
//! a later time, always: two of one time are two histories of what was revoked.

use std::fmt;

use serde_cbor::Value;
use sha2::{Digest as _, Sha256};

use super::error::CredentialError;
use super::keys::Verifies;
use super::status_list::{Status, StatusList, StatusListToken};
use crate::encoding::cbor::{self, GateError};
use crate::primitives::limits::GOSSIPED_EVIDENCE_BYTES_MAX;

/// First item of all such evidence.
const TWO_LISTS: u64 = 2;

/// Two well-formed tokens that contradict each other. Nothing of it counts before both
/// are verified under keys of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEvidence {
    first: StatusListToken,
    second: StatusListToken,
}

impl ListEvidence {
    /// The evidence about two tokens, in any order. What they say is not looked at.
    #[must_use]
    pub fn of(one: &[u8], other: &[u8]) -> Vec<u8> {
        let (first, second) = if hash(one) < hash(other) {
            (one, other)
        } else {
            (other, one)
        };
        cbor::encode(&Value::Array(vec![
            cbor::int(TWO_LISTS),
            cbor::bytes(first),
            cbor::bytes(second),
        ]))
    }

    /// Whether bytes begin as evidence of two lists does, and are to be read as such.
    #[must_use]
    pub fn begins(bytes: &[u8]) -> bool {
        /// The major type of arrays (RFC 8949 section 3.1).
        const ARRAY: u8 = 4;
        matches!(bytes, [head, kind, ..] if head >> 5 == ARRAY && u64::from(*kind) == TWO_LISTS)
    }

    /// Reads evidence through the gate. No signature is verified yet.
    ///
    /// # Errors
    /// [`CredentialError`] for what has another form, and for two tokens that do not
    /// contradict each other.
    pub fn decode(bytes: &[u8]) -> Result<Self, CredentialError> {
        let value = cbor::decode(bytes, GOSSIPED_EVIDENCE_BYTES_MAX)?;
        Self::from_value(&value)
    }

    /// The same of a value that came through the gate.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn from_value(value: &Value) -> Result<Self, CredentialError> {
        const WHAT: &str = "evidence of two lists is [2, token, token]";
        let content = |what| Err(CredentialError::Content(what));
        let [kind, one, other] = cbor::as_tuple(value, WHAT)?;
        if cbor::as_int::<u64>(kind, WHAT)? != TWO_LISTS {
            return Err(GateError::Shape(WHAT).into());
        }
        let (one, other) = (cbor::as_bytes(one, WHAT)?, cbor::as_bytes(other, WHAT)?);
        if one == other {
            return content("it holds one list twice");
        }
        if hash(one) > hash(other) {
            return content("the two lists stand in the wrong order: the smaller hash comes first");
        }
        let (first, second) = (StatusListToken::parse(one)?, StatusListToken::parse(other)?);
        if first.list().uri != second.list().uri {
            return content("the two lists have different names, and each may say what it likes");
        }
        if first.list().issued_at != second.list().issued_at {
            return content("the two lists were signed as of different times, and the later one counts");
        }
        if first.sign1().payload() == second.sign1().payload() {
            return content("the two lists say the same");
        }
        Ok(Self { first, second })
    }

    /// The two tokens.
    #[must_use]
    pub fn tokens(&self) -> [&StatusListToken; 2] {
        [&self.first, &self.second]
    }

    /// What both are called, and of when they are.
    #[must_use]
    pub fn list(&self) -> &StatusList {
        self.first.list()
    }

    /// The places where their statuses differ, with what the first and the second say
    /// there, `None` where a list ends before. There may be none: two lists can differ
    /// in how long they are good alone.
    pub fn differing(&self) -> impl Iterator<Item = (u32, [Option<Status>; 2])> {
        let lists = self.tokens().map(StatusListToken::list);
        let len = lists.map(|list| list.statuses.len()).into_iter().max();
        (0..len.unwrap_or_default())
            .map(move |index| (index, lists.map(|list| list.get(index))))
            .filter(|(_, [first, second])| first != second)
    }

    /// Whether one key has signed both.
    ///
    /// # Errors
    /// [`CredentialError::BadSignature`] if not.
    pub fn verify(&self, key: &impl Verifies) -> Result<(), CredentialError> {
        self.first.verify(key)?;
        self.second.verify(key)
    }
}

impl fmt::Display for ListEvidence {
    /// What was done, in a sentence without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.list();
        write!(
            f,
            "two status lists {:?} that say different things were signed as of {}",
            list.uri,
            list.issued_at.rfc3339()
        )
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::status_list::Statuses;
    use crate::credential::{Algorithm, SecretKey};
    use crate::primitives::{UnixSeconds, limits};
    use proptest::prelude::*;

    fn key() -> SecretKey {
        SecretKey::from_seed(&[4; 32])
    }

    /// A list of eight coupons, one of which is revoked.
    fn list(revoked: u32) -> StatusList {
        let mut statuses = Statuses::from_packed(vec![0; 2]).unwrap();
        assert!(statuses.set(revoked, Status::Revoked));
        StatusList {
            uri: "https://coop.example/s/0".to_owned(),
            issued_at: UnixSeconds(1_790_000_000),
            expires: UnixSeconds(1_790_086_400),
            ttl: 60,
            statuses,
        }
    }

    fn signed(list: &StatusList) -> Vec<u8> {
        list.sign(&key(), Algorithm::EdDsa)
    }

    fn why(one: &StatusList, other: &StatusList) -> String {
        let bytes = ListEvidence::of(&signed(one), &signed(other));
        ListEvidence::decode(&bytes).unwrap_err().to_string()
    }

    #[test]
    fn two_lists_of_one_name_and_time_that_differ_are_evidence_in_one_form() {
        let (one, other) = (signed(&list(1)), signed(&list(6)));
        let bytes = ListEvidence::of(&one, &other);
        assert_eq!(bytes, ListEvidence::of(&other, &one));
        assert!(ListEvidence::begins(&bytes));
        let evidence = ListEvidence::decode(&bytes).unwrap();
        assert_eq!(evidence.verify(key().public()), Ok(()));
        let stranger = SecretKey::from_seed(&[5; 32]);
        assert!(evidence.verify(stranger.public()).is_err());
        let revoked_in = |index| {
            let lists = evidence.tokens().map(StatusListToken::list);
            lists.map(|list| list.get(index))
        };
        let places: Vec<_> = evidence.differing().collect();
        assert_eq!(places, [1, 6].map(|index| (index, revoked_in(index))));
        assert_eq!(
            evidence.to_string(),
            "two status lists \"https://coop.example/s/0\" that say different things were signed as of \
             2026-09-21T14:13:20Z"
        );
    }

    #[test]
    fn lists_may_differ_in_length_or_in_no_status() {
        let mut longer = list(1);
        longer.statuses = Statuses::from_packed(vec![4, 0, 0]).unwrap();
        let decode = |other: &StatusList| {
            ListEvidence::decode(&ListEvidence::of(&signed(&list(1)), &signed(other))).unwrap()
        };
        let evidence = decode(&longer);
        let places: Vec<u32> = evidence.differing().map(|(index, _)| index).collect();
        assert_eq!(places, [8, 9, 10, 11]);
        assert!(
            evidence
                .differing()
                .all(|(_, both)| both.contains(&None) && both.contains(&Some(Status::Valid)))
        );
        let mut good_for_longer = list(1);
        good_for_longer.expires = good_for_longer.expires.plus(1);
        assert_eq!(decode(&good_for_longer).differing().count(), 0);
    }

    #[test]
    fn lists_that_do_not_contradict_each_other_are_no_evidence() {
        assert_eq!(why(&list(1), &list(1)), "it holds one list twice");
        for uri in ["https://coop.example/s/1", "https://other.example/s/0"] {
            let mut other = list(6);
            other.uri = uri.to_owned();
            assert!(why(&list(1), &other).contains("different names"), "{uri}");
        }
        let mut later = list(6);
        later.issued_at = later.issued_at.plus(1);
        assert!(why(&list(1), &later).contains("different times"));
        // The same claims, signed twice.
        let twice = [Algorithm::EdDsa, Algorithm::Ed25519].map(|alg| list(1).sign(&key(), alg));
        let error = ListEvidence::decode(&ListEvidence::of(&twice[0], &twice[1])).unwrap_err();
        assert_eq!(error.to_string(), "the two lists say the same");
    }

    #[test]
    fn what_has_another_form_is_no_evidence() {
        let tokens = [signed(&list(1)), signed(&list(6))];
        let good = cbor::decode(&ListEvidence::of(&tokens[0], &tokens[1]), 4_096).unwrap();
        let Value::Array(items) = good else {
            panic!("an array")
        };
        let changed = |change: &dyn Fn(&mut Vec<Value>)| {
            let mut items = items.clone();
            change(&mut items);
            cbor::encode(&Value::Array(items))
        };
        let form = "evidence of two lists is [2, token, token]";
        for (bytes, said) in [
            (changed(&|items| items.truncate(1)), form),
            (changed(&|items| items.truncate(2)), form),
            (changed(&|items| items.push(items[1].clone())), form),
            (changed(&|items| items[0] = cbor::int(1)), form),
            (changed(&|items| items[1] = cbor::text("a list")), form),
            (changed(&|items| items.swap(1, 2)), "wrong order"),
            (tokens[0].clone(), form),
            (vec![0x83, 2], "not well-formed CBOR"),
            (Vec::new(), "not well-formed CBOR"),
            (
                vec![0; GOSSIPED_EVIDENCE_BYTES_MAX + 1],
                "at most 131136 are allowed",
            ),
            // No shortest form of the number 2.
            (
                [&[0x83, 0x18, 2], &changed(&|_| ())[2..]].concat(),
                "not deterministic CBOR",
            ),
        ] {
            let error = ListEvidence::decode(&bytes).unwrap_err().to_string();
            assert!(error.contains(said), "{error} is not {said}");
        }
        let mut neither = tokens.clone();
        neither[0].truncate(60);
        assert!(ListEvidence::decode(&ListEvidence::of(&neither[0], &neither[1])).is_err());
        for bytes in [
            &[][..],
            &[0x83],
            &[0x83, 1, 2],
            &[0x02, 2],
            &[0xa1, 2, 2],
            &tokens[0],
        ] {
            assert!(!ListEvidence::begins(bytes), "{bytes:?}");
        }
    }

    /// `schemas/list-evidence.cddl` accepts what is written, and refuses what is near it.
    #[test]
    fn the_schema_describes_what_is_written() {
        let schema = include_str!("../../schemas/list-evidence.cddl");
        let valid = |bytes: &[u8]| cddl::validate_cbor_from_slice(schema, bytes, None).is_ok();
        let tokens = [signed(&list(1)), signed(&list(6))];
        assert!(valid(&ListEvidence::of(&tokens[0], &tokens[1])));
        let schema = include_str!("../../schemas/status-list-token.cddl");
        for token in &tokens {
            cddl::validate_cbor_from_slice(schema, token, None).unwrap();
        }
        let [one, other] = tokens.map(cbor::bytes);
        for near in [
            vec![cbor::int(2), one.clone()],
            vec![cbor::int(1), one.clone(), other.clone()],
            vec![one.clone(), other.clone()],
            vec![cbor::int(2), one.clone(), other, one.clone()],
            vec![cbor::int(2), one.clone(), cbor::bytes([])],
            vec![cbor::int(2), one, cbor::text("a list")],
        ] {
            let near = cbor::encode(&Value::Array(near));
            assert!(
                !valid(&near) && ListEvidence::decode(&near).is_err(),
                "{near:02x?}"
            );
        }
    }

    /// Two of the longest tokens find room.
    #[test]
    fn the_longest_lists_are_evidence() {
        let full = |seed: u8| {
            let mut bytes = Vec::new();
            let mut hash = [seed; 32];
            while bytes.len() < limits::STATUS_LIST_LEN as usize / 4 {
                hash = Sha256::digest(hash).into();
                bytes.extend(hash);
            }
            let mut list = list(1);
            list.statuses = Statuses::from_packed(bytes).unwrap();
            signed(&list)
        };
        let bytes = ListEvidence::of(&full(1), &full(2));
        assert!(bytes.len() > 65_536, "{} bytes", bytes.len());
        assert!(ListEvidence::decode(&bytes).unwrap().differing().count() > 90_000);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever of it is changed, it is refused or convicts the key no more, and
        /// nothing panics.
        #[test]
        fn what_was_changed_convicts_nobody(place in any::<prop::sample::Index>(), flip in 1_u8..) {
            let mut bytes = ListEvidence::of(&signed(&list(1)), &signed(&list(6)));
            let at = place.index(bytes.len());
            bytes[at] ^= flip;
            let convicts = ListEvidence::decode(&bytes)
                .is_ok_and(|evidence| evidence.verify(key().public()).is_ok());
            prop_assert!(!convicts);
        }

        #[test]
        fn whatever_comes_nothing_panics(bytes: Vec<u8>) {
            prop_assert!(ListEvidence::decode(&bytes).is_err());
            prop_assert!(ListEvidence::decode(&[&[0x83, 2], &bytes[..]].concat()).is_err());
        }

        /// An honest issuer, whose lists have a time each, is never convicted.
        #[test]
        fn one_history_gives_no_evidence(first in 0_u32..8, second in 0_u32..8, later in 1_u64..1_000) {
            let mut other = list(second);
            other.issued_at = other.issued_at.plus(later);
            prop_assert!(ListEvidence::decode(&ListEvidence::of(&signed(&list(first)), &signed(&other))).is_err());
        }
    }
}

//! Whether what nodes issued for each other is what they redeemed: both halves of
//! every redemption and reversal, read from the logs of all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Context as _;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::super::client::Client;
use crate::ledger::{Event, Place};
use crate::log::{Entry, entry_hash};
use crate::primitives::{Amount, Digest, RedemptionId};

/// Differences that are named one by one; of more the number is told.
const NAMED_MAX: usize = 20;

/// An issuer half by where it is: the issuer's did, and the entry's index.
type At = (String, u64);

/// What both sides say of a half.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Half {
    redeemer: String,
    hash: Digest,
    amount: Amount,
}

/// The logs of all nodes, held against each other.
#[derive(Default)]
pub struct Compared {
    issued: BTreeMap<At, Half>,
    redeemed: BTreeMap<At, Half>,
    /// Intents without an end.
    open: u64,
}

impl Compared {
    /// Reads the logs of `nodes`: their dids, and clients with an office key.
    ///
    /// # Errors
    /// When one does not answer, or shows what is no entry.
    pub fn read(nodes: &[(String, Client)]) -> anyhow::Result<Self> {
        let mut compared = Self::default();
        for (did, office) in nodes {
            compared
                .take_log(did, office)
                .with_context(|| format!("the log of {}", office.base()))?;
        }
        Ok(compared)
    }

    fn take_log(&mut self, did: &str, office: &Client) -> anyhow::Result<()> {
        let newest = office.get("/v1/log/proofs/inclusion?index=0")?;
        let size = newest["tree_size"].as_u64().context("the node tells no size")?;
        let mut open: BTreeSet<RedemptionId> = BTreeSet::new();
        for index in 0..size {
            let answer = office.get(&format!("/v1/log/entries/{index}"))?;
            let bytes = answer["bytes"].as_str().context("an answer without its entry")?;
            let bytes = BASE64URL_NOPAD.decode(bytes.as_bytes())?;
            let entry = Entry::decode(&bytes)?;
            let at = || (did.to_owned(), index);
            match Event::from_body(entry.kind, &entry.body)?.0 {
                Event::Redeemed(made) if matches!(made.place, Place::Partner { .. }) => {
                    self.issued
                        .insert(at(), half(made.redeemer, entry_hash(&bytes), made.amount));
                }
                Event::Reversed(made) => {
                    if let Some(partner) = made.partner {
                        self.issued
                            .insert(at(), half(partner.redeemer, entry_hash(&bytes), made.amount));
                    }
                }
                Event::RedeemerHalf(made) => {
                    open.remove(&made.id);
                    self.redeemed.insert(
                        (made.issuer, made.issuer_entry),
                        half(did.to_owned(), made.issuer_hash, made.amount),
                    );
                }
                Event::Intent(intent) => {
                    open.insert(intent.id);
                }
                Event::IntentEnded(ended) => {
                    open.remove(&ended.id);
                }
                _ => {}
            }
        }
        self.open += open.len() as u64;
        Ok(())
    }

    /// Halves that are the same on both sides.
    fn matched(&self) -> usize {
        let same = |(at, half): &(&At, &Half)| self.redeemed.get(*at) == Some(*half);
        self.issued.iter().filter(same).count()
    }

    /// Issuer halves that one side has not, or has otherwise.
    fn unmatched(&self) -> Vec<&At> {
        let all: BTreeSet<&At> = self.issued.keys().chain(self.redeemed.keys()).collect();
        all.into_iter()
            .filter(|at| self.issued.get(*at) != self.redeemed.get(*at))
            .collect()
    }

    /// The outcome for programs.
    pub fn to_json(&self) -> Value {
        let unmatched = self.unmatched();
        let named = unmatched.iter().take(NAMED_MAX).map(|at| {
            json!({"issuer": at.0, "entry": at.1, "issued": self.issued.contains_key(*at),
                   "redeemed": self.redeemed.contains_key(*at)})
        });
        json!({"matched": self.matched(), "unmatched": unmatched.len(), "open": self.open,
               "differences": named.collect::<Vec<_>>()})
    }

    /// The same for people.
    pub fn told(&self) -> String {
        let unmatched = self.unmatched();
        let mut out = format!(
            "{} halves match; {} do not; {} intents are open",
            self.matched(),
            unmatched.len(),
            self.open
        );
        for at in unmatched.iter().take(NAMED_MAX) {
            let said = match (self.issued.contains_key(*at), self.redeemed.contains_key(*at)) {
                (true, true) => "differs from its redeemer half",
                (true, false) => "has no redeemer half yet",
                (false, _) => "is not in its issuer's log",
            };
            let _ = write!(out, "\n  entry {} of {} {said}", at.1, at.0);
        }
        out
    }
}

fn half(redeemer: String, hash: Digest, amount: Amount) -> Half {
    Half {
        redeemer,
        hash,
        amount,
    }
}

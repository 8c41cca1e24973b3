//! What an audit finds: a rule that is broken, where, and what to do.

use std::collections::BTreeMap;
use std::io;

use super::saved::{In, Keep, Out, keep};
use crate::primitives::limits;

const RESTORE: &str = "restore a copy of the store that holds these entries, or fetch them from a mirror";
const KEEP: &str = "keep this copy as evidence: a node that follows the rules does not write such an entry, so ask \
                    who can write to the store and who holds the node's keys";
const BESIDE: &str = "the log itself is whole, what lies beside it is not: restore the store from a copy, and find \
                      out what changed it";
const DERIVED: &str = "the entries are what counts and this row is only derived from them: restore the store from a \
                       copy before the node decides by it, and find out what changed it";
const TIME: &str = "compare the clocks of the till and of the node, and ask why this was not marked";

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $hint:expr;)*) => {
        /// The rules that an audit checks. Their identifiers are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $($(#[$doc])* $name,)* }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its stable name, in snake case.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// What to do about it.
            #[must_use]
            pub fn hint(self) -> &'static str {
                match self { $(Self::$name => $hint,)* }
            }
        }
    };
}

rules! {
    /// The storage engine cannot open or read the store.
    StoreUnreadable = "store_unreadable", RESTORE;
    /// Entries that are nowhere in the store.
    EntriesUnreadable = "entries_unreadable", RESTORE;
    /// Entries that the store has lost, but its raw file still holds.
    EntriesLost = "entries_lost", "they stand whole in the file of the store as it is now: keep a copy of it before anything opens it, and restore from a backup or mirror";
    /// Two rows of entries overlap.
    EntriesOverlap = "entries_overlap", KEEP;
    /// Fewer entries than were signed.
    LogShorterThanSigned = "log_shorter_than_signed", "put the newer store back or fetch the entries from a mirror; do not remove the guard file";
    /// Another root than the one that was signed.
    RootDiffers = "root_differs", "this is not the history that was signed: keep both this copy and the signed checkpoint, they are evidence";
    /// The guard file cannot be read.
    GuardUnreadable = "guard_unreadable", "keep the file, and compare this log with a checkpoint that others hold";
    /// The checkpoint is not one of this log.
    CheckpointForeign = "checkpoint_foreign", "see that the checkpoint belongs to this node; if it does, this store is of another log";
    /// No checkpoint that a quorum of the policy's witnesses has cosigned.
    NoQuorum = "no_quorum", "ask who runs the witnesses what they have seen of this log; until a quorum has cosigned a checkpoint, the log's key alone says that others are shown the same";
    /// A known witness's cosignature does not fit.
    CosignatureWrong = "cosignature_wrong", "keep the checkpoint, and show it to that witness: somebody has made the cosignature up, or changed what was cosigned";
    /// An entry is not of the entry's form.
    EntryForm = "entry_form", KEEP;
    /// An entry is not the one that the signed tree has in its place.
    EntryChanged = "entry_changed", "what is shown is not what was signed: keep both the checkpoint and what is shown, and compare with a mirror's copy";
    /// An entry says another index than its place.
    EntryIndex = "entry_index", KEEP;
    /// An entry does not carry the hash of the one before.
    EntryLink = "entry_link", "this entry or the one before it was changed after it was written: keep this copy as evidence and compare it with a mirror's";
    /// An entry is older than the one before.
    EntryTime = "entry_time", KEEP;
    /// An entry of a kind that this version does not know.
    EntryKind = "entry_kind", "audit with the version of the program that wrote this log";
    /// An entry's body is not of its kind's form.
    EntryBody = "entry_body", KEEP;
    /// A salt of zero bytes.
    SaltMissing = "salt_missing", "without a salt the entry's content can be guessed from its public hash; see where the node gets its random bytes";
    /// The log does not begin with a usable genesis entry.
    Genesis = "genesis", KEEP;
    /// A stored half tile of the Merkle tree is missing.
    TileMissing = "tile_missing", DERIVED;
    /// A stored half tile differs from the entries.
    TileWrong = "tile_wrong", "the entries that it covers, or the tile, were changed after they were written: compare with a mirror's or a checkpoint";
    /// A stored half tile that no entry accounts for.
    TileExtra = "tile_extra", "the log was longer once: compare it with the guard file, a mirror or a checkpoint";
    /// An entry that answers a request with the key of an earlier one.
    KeyRepeated = "key_repeated", KEEP;
    /// A till reference that was used before.
    ReferenceRepeated = "reference_repeated", KEEP;
    /// The time that counts is too far from the entry's.
    TimeTooFar = "time_too_far", TIME;
    /// A receipt's number is not the next of its register.
    SequenceNumber = "sequence_number", KEEP;
    /// Nothing lies beside a receipt's entry.
    DetailsMissing = "details_missing", "the log has no entry that says why they were removed: restore the store from a copy; where there is none, as after a recovery from a mirror, `tallystick erase` puts it on record";
    /// An erasure of what is no receipt of this log.
    ErasureOfNothing = "erasure_of_nothing", KEEP;
    /// A receipt that was erased twice.
    ErasureRepeated = "erasure_repeated", KEEP;
    /// The log says that a receipt was erased, and it was not.
    DetailsNotErased = "details_not_erased", "the store, or this part of it, was restored from a copy made before the erasure: erase it there too, for it was promised";
    /// What lies beside an entry cannot be read.
    DetailsUnreadable = "details_unreadable", BESIDE;
    /// Something lies beside an entry that has nothing beside it.
    DetailsUnexpected = "details_unexpected", BESIDE;
    /// What proves a partner's entry is about another one.
    ProofDiffers = "proof_differs", BESIDE;
    /// Details that do not give the signed root.
    DetailsRoot = "details_root", BESIDE;
    /// The stub beside an entry is not the one that it names.
    ReceiptTag = "receipt_tag", BESIDE;
    /// The stub's signature, or its key, is wrong.
    ReceiptSignature = "receipt_signature", KEEP;
    /// Stub and entry say different things.
    ReceiptDiffers = "receipt_differs", KEEP;
    /// A receipt that does not add up.
    ReceiptTotals = "receipt_totals", KEEP;
    /// A key for credentials that is named twice, or that is none.
    CredentialKey = "credential_key", KEEP;
    /// A campaign that is not signed as it should be.
    CampaignSignature = "campaign_signature", KEEP;
    /// A campaign under another identity than its own.
    CampaignIdentity = "campaign_identity", KEEP;
    /// A campaign whose terms do not work, or are not enforced.
    CampaignTerms = "campaign_terms", KEEP;
    /// A campaign that was signed before.
    CampaignRepeated = "campaign_repeated", KEEP;
    /// A batch that does not fit its campaign.
    BatchTerms = "batch_terms", KEEP;
    /// A batch signed under another key than the node's.
    BatchKey = "batch_key", KEEP;
    /// Two batches share positions.
    BatchOverlap = "batch_overlap", KEEP;
    /// Positions that no batch and no reservation accounts for.
    BatchGap = "batch_gap", KEEP;
    /// A batch's tags are missing.
    TagsMissing = "tags_missing", BESIDE;
    /// A batch's tags do not give the root in its entry.
    TagsRoot = "tags_root", BESIDE;
    /// A tag where no coupon was issued.
    TagUnexpected = "tag_unexpected", KEEP;
    /// One tag at two places.
    TagRepeated = "tag_repeated", KEEP;
    /// A redemption of a coupon that was never issued.
    CouponNotIssued = "coupon_not_issued", KEEP;
    /// A redemption's tag is not the one that was issued.
    CouponTag = "coupon_tag", KEEP;
    /// One coupon under two names, or one name for two coupons.
    CouponName = "coupon_name", KEEP;
    /// An entry does not name the coupon's latest earlier entry.
    CouponChain = "coupon_chain", KEEP;
    /// Two redemptions or reversals with one identity.
    IdentityRepeated = "identity_repeated", KEEP;
    /// A use beyond what the coupon allows.
    OverRedeemed = "over_redeemed", KEEP;
    /// A redemption of a revoked or suspended coupon.
    RedeemedWhileRevoked = "redeemed_while_revoked", KEEP;
    /// A redemption outside the coupon's dates.
    RedeemedOutsideDates = "redeemed_outside_dates", KEEP;
    /// A redemption that the campaign's terms do not allow.
    RedeemedAgainstTerms = "redeemed_against_terms", KEEP;
    /// A benefit that is not what the terms give.
    BenefitWrong = "benefit_wrong", KEEP;
    /// More than the campaign's budget.
    BudgetOverspent = "budget_overspent", KEEP;
    /// Uses or value counted wrongly in an entry.
    CountWrong = "count_wrong", KEEP;
    /// A reversal of a redemption that is not in the log.
    ReversalOfNothing = "reversal_of_nothing", KEEP;
    /// A reversal of more than is left, too late, or with a use that does not return.
    ReversalRefused = "reversal_refused", KEEP;
    /// A reversal whose numbers are wrong.
    ReversalWrong = "reversal_wrong", KEEP;
    /// A half, an end or a cancellation of an intent that is not open.
    IntentUnknown = "intent_unknown", KEEP;
    /// A redeemer half that differs from what was asked for.
    HalfDiffers = "half_differs", KEEP;
    /// An issuer half under another identity than its request gives.
    HalfIdentity = "half_identity", KEEP;
    /// A request that was cancelled and has an effect all the same.
    CancelledHonoured = "cancelled_honoured", KEEP;
    /// A change of status of what does not exist, or after a revocation.
    StatusTarget = "status_target", KEEP;
    /// A number of changed coupons that cannot be.
    StatusCount = "status_count", KEEP;
    /// A status list whose version or end is wrong.
    StatusList = "status_list", KEEP;
    /// A campaign's stored counters differ from the log.
    StoredCampaign = "stored_campaign", DERIVED;
    /// A register's stored counter differs from the log.
    StoredRegister = "stored_register", DERIVED;
    /// Stored statuses differ from the log.
    StoredStatus = "stored_status", DERIVED;
    /// The stored checkpoint of derived state differs from the log.
    StoredState = "stored_state", DERIVED;
    /// The row of an open intent, or of a refused request, differs from the log.
    StoredIntent = "stored_intent", DERIVED;
    /// A batch's row differs from the log.
    StoredBatch = "stored_batch", DERIVED;
    /// The index leads elsewhere than the log.
    StoredIndex = "stored_index", DERIVED;
    /// A checkpoint of the log itself with its cosignatures.
    StoredCosigned = "stored_cosigned", "the node asks its witnesses again; find out what changed the store";
    /// The federation's roster, as this node follows it.
    StoredRoster = "stored_roster", "publish its versions to the node once more; find out what changed the store";
    /// What gossip has brought of other members cannot be read.
    StoredGossip = "stored_gossip", "the node fetches it again from other members when it is started; find out what changed the store";
    /// A checkpoint of another log, as this node cosigned it last.
    StoredWitness = "stored_witness", "the guard file counts, and the node goes on from what it says; find out whether the store was restored from a copy, or what changed it";
}

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The entries it is about, first and last; `None` for the store as a whole.
    pub entries: Option<(u64, u64)>,
    /// The rule that is broken.
    pub rule: Rule,
    /// A sentence for a person.
    pub message: String,
}

/// Findings as they come in: every one is counted, a bounded number kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    kept: Vec<Finding>,
    counts: BTreeMap<Rule, u64>,
}

keep!(Finding {
    entries,
    rule,
    message,
});
keep!(Findings { kept, counts });

impl Keep for Rule {
    fn write(&self, out: &mut Out) -> io::Result<()> {
        self.id().to_owned().write(out)
    }

    fn read(from: &mut In) -> Result<Self, String> {
        let id = String::read(from)?;
        let known = Self::ALL.iter().find(|rule| rule.id() == id);
        known
            .copied()
            .ok_or_else(|| format!("it names a rule that is unknown here, {id}"))
    }
}

impl Findings {
    pub(super) fn at(&mut self, entry: u64, rule: Rule, message: impl Into<String>) {
        self.push(Some((entry, entry)), rule, message.into());
    }

    pub(super) fn range(&mut self, first: u64, last: u64, rule: Rule, message: impl Into<String>) {
        self.push(Some((first, last)), rule, message.into());
    }

    pub(super) fn store(&mut self, rule: Rule, message: impl Into<String>) {
        self.push(None, rule, message.into());
    }

    fn push(&mut self, entries: Option<(u64, u64)>, rule: Rule, message: String) {
        *self.counts.entry(rule).or_default() += 1;
        if self.kept.len() < limits::AUDIT_FINDINGS_KEPT_MAX {
            self.kept.push(Finding {
                entries,
                rule,
                message,
            });
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        for (rule, count) in other.counts {
            *self.counts.entry(rule).or_default() += count;
        }
        let room = limits::AUDIT_FINDINGS_KEPT_MAX.saturating_sub(self.kept.len());
        self.kept.extend(other.kept.into_iter().take(room));
    }

    pub(super) fn sort(&mut self) {
        self.kept.sort_by_key(|finding| (finding.entries, finding.rule));
    }

    /// The findings that are kept, in order of their entries, those about the
    /// whole store first; at most `AUDIT_FINDINGS_KEPT_MAX`.
    #[must_use]
    pub fn kept(&self) -> &[Finding] {
        &self.kept
    }

    /// How often each rule was broken.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<Rule, u64> {
        &self.counts
    }

    /// How many there are in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own() {
        let mut ids: Vec<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Rule::ALL.len());
        for rule in Rule::ALL {
            assert!(rule.id().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            assert!(!rule.hint().is_empty());
        }
    }

    #[test]
    fn a_flood_is_counted_and_bounded() {
        let mut findings = Findings::default();
        for entry in 0..limits::AUDIT_FINDINGS_KEPT_MAX as u64 + 5 {
            findings.at(entry, Rule::EntryLink, "x");
        }
        assert_eq!(findings.kept().len(), limits::AUDIT_FINDINGS_KEPT_MAX);
        assert_eq!(findings.total(), limits::AUDIT_FINDINGS_KEPT_MAX as u64 + 5);
    }
}

//! What a check finds.

use std::sync::Arc;

use crate::credential::status_list::StatusListToken;
use crate::credential::{Campaign, Credential};
use crate::primitives::{KeyId, UnixSeconds};

/// What a credential is worth at a time, by what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Signed by a known issuer, in force, and nothing speaks against it.
    Valid,
    /// Its time has not come.
    NotYetValid,
    /// Its time is over.
    Expired,
    /// Its issuer took it back for good.
    Revoked,
    /// Its issuer set it aside.
    Suspended,
    /// Nothing is left of it.
    UsedUp,
    /// Its status is not known: no list, or one past its time.
    Undetermined,
    /// Signed by nobody who is known.
    UnknownIssuer,
    /// Not what it claims to be.
    Forged,
}

impl Verdict {
    /// The verdicts that are not valid, the one that counts first of several
    /// at the front.
    pub const PRECEDENCE: [Self; 8] = [
        Self::Forged,
        Self::UnknownIssuer,
        Self::Expired,
        Self::NotYetValid,
        Self::Undetermined,
        Self::Revoked,
        Self::Suspended,
        Self::UsedUp,
    ];

    /// The exit code of `tallystick verify`.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::NotYetValid => 10,
            Self::Expired => 11,
            Self::Revoked => 12,
            Self::Suspended => 13,
            Self::UsedUp => 14,
            Self::Undetermined => 15,
            Self::UnknownIssuer => 16,
            Self::Forged => 17,
        }
    }

    /// The snake_case word, for machines.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Suspended => "suspended",
            Self::UsedUp => "used_up",
            Self::Undetermined => "undetermined",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Forged => "forged_or_malformed",
        }
    }

    fn rank(self) -> usize {
        let found = Self::PRECEDENCE.iter().position(|other| *other == self);
        found.unwrap_or(Self::PRECEDENCE.len())
    }
}

/// One thing that speaks against a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Neither a credential nor QR text of one.
    Malformed(String),
    /// The signature is not by the issuer's key.
    BadSignature,
    /// A link to another host than the issuer's: a forged code can lead to a
    /// forger's page (formats, section 3, 'QR text').
    LinkElsewhere {
        /// The link's host.
        link: String,
    },
    /// The status uri is not the issuer's base URL, `/s/` and a number.
    StatusElsewhere {
        /// The uri.
        uri: String,
    },
    /// The index lies outside of the list.
    IndexOutOfBounds,
    /// The campaign is another co-op's.
    CampaignElsewhere,
    /// A coupon with an amount of its own under a campaign of a percentage.
    AmountWithPercentage,
    /// What was given as a proof does not show it in its issuer's log.
    NotInLog(String),
    /// No trusted key has this kid.
    UnknownKey(KeyId),
    /// The coupon's campaign is signed by a key that is not trusted.
    UnknownCampaignKey(KeyId),
    /// Over since then.
    Expired(UnixSeconds),
    /// It begins then.
    NotYetValid(UnixSeconds),
    /// No status list of this uri was given.
    NoStatusList,
    /// The status list was good until then.
    StatusListExpired(UnixSeconds),
    /// The issuer's list says so.
    Revoked,
    /// The issuer's list says so.
    Suspended,
    /// The issuer's list says so.
    UsedUp,
}

impl Why {
    /// The verdict that this leads to.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Malformed(_)
            | Self::BadSignature
            | Self::LinkElsewhere { .. }
            | Self::StatusElsewhere { .. }
            | Self::IndexOutOfBounds
            | Self::CampaignElsewhere
            | Self::AmountWithPercentage
            | Self::NotInLog(_) => Verdict::Forged,
            Self::UnknownKey(_) | Self::UnknownCampaignKey(_) => Verdict::UnknownIssuer,
            Self::Expired(_) => Verdict::Expired,
            Self::NotYetValid(_) => Verdict::NotYetValid,
            Self::NoStatusList | Self::StatusListExpired(_) => Verdict::Undetermined,
            Self::Revoked => Verdict::Revoked,
            Self::Suspended => Verdict::Suspended,
            Self::UsedUp => Verdict::UsedUp,
        }
    }

    /// A clause that says it, such as `it expired at …`; times are written by
    /// `show`.
    #[must_use]
    pub fn clause(&self, show: &dyn Fn(UnixSeconds) -> String) -> String {
        match self {
            Self::Malformed(error) => format!("it cannot be read as a credential: {error}"),
            Self::BadSignature => {
                "its signature does not fit the key it names, so it was altered or made by someone else"
                    .to_owned()
            }
            Self::LinkElsewhere { link } => {
                format!("the link leads to {link}, which is not its issuer's host")
            }
            Self::StatusElsewhere { uri } => {
                format!("its status list {uri:?} is not one of its issuer's")
            }
            Self::IndexOutOfBounds => "its index lies outside of its status list".to_owned(),
            Self::CampaignElsewhere => "its campaign was signed by another co-op".to_owned(),
            Self::AmountWithPercentage => {
                "it carries an amount of its own, which its campaign's percentage does not allow".to_owned()
            }
            Self::NotInLog(why) => format!("it is not shown to be in its issuer's log: {why}"),
            Self::UnknownKey(kid) => format!("no trusted key is named {kid}"),
            Self::UnknownCampaignKey(kid) => {
                format!("its campaign is signed by the key {kid}, which is not a trusted one")
            }
            Self::Expired(at) => format!("it expired at {}", show(*at)),
            Self::NotYetValid(at) => format!("it is not valid before {}", show(*at)),
            Self::NoStatusList => {
                "its status list was not given, so it may have been used or revoked".to_owned()
            }
            Self::StatusListExpired(at) => format!(
                "its status list was good until {}, so it may have been used or revoked since",
                show(*at)
            ),
            Self::Revoked => "its issuer revoked it".to_owned(),
            Self::Suspended => "its issuer suspended it for the time being".to_owned(),
            Self::UsedUp => "it is used up".to_owned(),
        }
    }
}

/// Something to know that does not speak against a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The start stands only in the campaign, which was not given.
    StartUnknown,
    /// Amount and currency stand in the campaign, which was not given.
    TermsUnknown,
    /// Bound to a holder's key: who presents it has to sign.
    BoundToHolder,
    /// Its time lies after the time that is judged at.
    FromTheFuture(UnixSeconds),
    /// It was shown to be in its issuer's log.
    InLog {
        /// The index of its entry.
        index: u64,
        /// Entries of the log by the checkpoint that shows it.
        size: u64,
        /// A quorum of witnesses has cosigned that checkpoint, by a policy.
        witnessed: bool,
    },
}

impl Note {
    /// A sentence that says it.
    #[must_use]
    pub fn sentence(&self, show: &dyn Fn(UnixSeconds) -> String) -> String {
        match self {
            Self::StartUnknown => {
                "When it becomes valid is not known: only its campaign says so, and that was not given."
                    .to_owned()
            }
            Self::TermsUnknown => {
                "What it is good for stands in its campaign, which was not given.".to_owned()
            }
            Self::BoundToHolder => {
                "It is bound to a holder's key: who presents it has to prove that the key is theirs."
                    .to_owned()
            }
            Self::FromTheFuture(at) => {
                format!("It is dated {}, after the time that it is judged at.", show(*at))
            }
            Self::InLog {
                index,
                size,
                witnessed,
            } => {
                let by = if *witnessed {
                    ", which a quorum of witnesses has cosigned"
                } else {
                    ""
                };
                format!("It is entry {index} of its issuer's log, by the checkpoint of {size} entries{by}.")
            }
        }
    }
}

/// What was presented, where it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one lives at a time, and most are of the large kind"
)]
pub enum Subject {
    /// A coupon, receipt, membership or campaign.
    Credential(Credential),
    /// A status list token.
    StatusList(StatusListToken),
}

impl Subject {
    /// The kind's name, for people.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self {
            Self::Credential(credential) => credential.kind_name(),
            Self::StatusList(_) => "status list",
        }
    }
}

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The verdict, by [`Verdict::PRECEDENCE`] of all that was found.
    pub verdict: Verdict,
    /// What speaks against it, the decisive one first; empty if valid.
    pub whys: Vec<Why>,
    /// What else is to be known.
    pub notes: Vec<Note>,
    /// What was presented. Where the verdict is [`Verdict::Forged`] or
    /// [`Verdict::UnknownIssuer`], nothing that it says can be believed.
    pub subject: Option<Subject>,
    /// Host and port of the issuer, where its signature was verified.
    pub issuer: Option<String>,
    /// The coupon's campaign, where it was given and is the issuer's.
    pub campaign: Option<Arc<Campaign>>,
    /// In force from then, as far as it is known.
    pub not_before: Option<UnixSeconds>,
    /// In force until then, this second excluded.
    pub not_after: Option<UnixSeconds>,
}

impl Report {
    pub(super) fn new(subject: Option<Subject>) -> Self {
        Self {
            verdict: Verdict::Valid,
            whys: Vec::new(),
            notes: Vec::new(),
            subject,
            issuer: None,
            campaign: None,
            not_before: None,
            not_after: None,
        }
    }

    /// The same with one more thing that speaks against it.
    #[must_use]
    pub fn with(mut self, why: Why) -> Self {
        self.whys.push(why);
        self.finish()
    }

    pub(super) fn finish(mut self) -> Self {
        self.whys.sort_by_key(|why| why.verdict().rank());
        self.verdict = self.whys.first().map_or(Verdict::Valid, Why::verdict);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const AT: UnixSeconds = UnixSeconds(1_772_000_000);
    const KID: KeyId = KeyId([0xa1; 8]);

    fn show(at: UnixSeconds) -> String {
        format!("<{}>", at.0)
    }

    /// What scripts read (`verify --json`).
    #[test]
    fn the_words_of_the_verdicts() {
        assert_eq!(Verdict::Valid.word(), "valid");
        assert_eq!(
            Verdict::PRECEDENCE.map(Verdict::word),
            [
                "forged_or_malformed",
                "unknown_issuer",
                "expired",
                "not_yet_valid",
                "undetermined",
                "revoked",
                "suspended",
                "used_up",
            ]
        );
    }

    #[test]
    fn what_counts_more_comes_first_whatever_the_order() {
        let mut whys = [
            Why::UsedUp,
            Why::Suspended,
            Why::Revoked,
            Why::NoStatusList,
            Why::NotYetValid(AT),
            Why::Expired(AT),
            Why::UnknownKey(KID),
            Why::BadSignature,
        ];
        for _ in 0..whys.len() {
            whys.rotate_left(1);
            let report = whys.iter().cloned().fold(Report::new(None), Report::with);
            assert_eq!(report.verdict, Verdict::Forged);
            let verdicts: Vec<_> = report.whys.iter().map(Why::verdict).collect();
            assert_eq!(verdicts, Verdict::PRECEDENCE);
        }
    }

    /// Each says what it knows, and no two say the same.
    #[test]
    fn clauses_say_what_speaks_against_it() {
        let whys = [
            (Why::Malformed("no digits".to_owned()), "no digits"),
            (Why::BadSignature, "signature"),
            (
                Why::LinkElsewhere {
                    link: "https://evil.example".to_owned(),
                },
                "https://evil.example",
            ),
            (
                Why::StatusElsewhere {
                    uri: "https://evil.example/s/0".to_owned(),
                },
                "\"https://evil.example/s/0\"",
            ),
            (Why::IndexOutOfBounds, "index"),
            (Why::CampaignElsewhere, "another co-op"),
            (Why::AmountWithPercentage, "percentage"),
            (Why::NotInLog("no such leaf".to_owned()), "no such leaf"),
            (Why::UnknownKey(KID), "a1a1a1a1a1a1a1a1"),
            (Why::UnknownCampaignKey(KID), "a1a1a1a1a1a1a1a1"),
            (Why::Expired(AT), "<1772000000>"),
            (Why::NotYetValid(AT), "<1772000000>"),
            (Why::NoStatusList, "not given"),
            (Why::StatusListExpired(AT), "<1772000000>"),
            (Why::Revoked, "revoked"),
            (Why::Suspended, "suspended"),
            (Why::UsedUp, "used up"),
        ];
        let mut all = BTreeSet::new();
        for (why, named) in whys {
            let clause = why.clause(&show);
            assert!(clause.contains(named), "{why:?}: {clause}");
            assert!(all.insert(clause), "{why:?} says what another says");
        }
    }

    #[test]
    fn notes_are_sentences_that_say_what_is_known() {
        let in_log = |witnessed| Note::InLog {
            index: 41,
            size: 900,
            witnessed,
        };
        for (note, named) in [
            (Note::StartUnknown, "When it becomes valid is not known"),
            (Note::TermsUnknown, "What it is good for"),
            (Note::BoundToHolder, "holder's key"),
            (Note::FromTheFuture(AT), "<1772000000>"),
            (
                in_log(false),
                "entry 41 of its issuer's log, by the checkpoint of 900 entries.",
            ),
            (
                in_log(true),
                "entry 41 of its issuer's log, by the checkpoint of 900 entries, \
                 which a quorum of witnesses has cosigned.",
            ),
        ] {
            let sentence = note.sentence(&show);
            assert!(sentence.contains(named) && sentence.ends_with('.'), "{sentence}");
        }
    }
}

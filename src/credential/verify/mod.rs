//! Checking credentials offline: what a partner's till, an auditor or a member
//! can say of one with nothing but the issuers' keys and status lists.
//!
//! Pure: bytes and a time in, a [`Report`] out. A [`Verifier`] is built once;
//! campaigns and lists are verified when they are added, so that a check costs
//! one `verify_strict` and a few look-ups.
//!
//! The rules are formats, sections 2 and 3: an issuer is found by kid among
//! the trusted keys; a coupon's kid, its campaign's kid and its status uri
//! belong to one issuer; a list's `sub` and a coupon's uri are compared whole;
//! a link leads to the issuer's host; *undetermined* is an answer of its own.

mod did_document;
mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::encoding::qr_text;
use crate::primitives::{CampaignId, KeyId, Origin, UnixSeconds, limits};

use super::status_list::{Status, StatusList, StatusListToken};
use super::{
    Benefit, Campaign, Coupon, Credential, CredentialError, ListEvidence, Membership, PublicKey, Sign1,
    Signed, StatusRef,
};

pub use did_document::{DidDocument, DidDocumentError};
pub use report::{Note, Report, Subject, Verdict, Why};

/// Why something that was to be trusted is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Not what it should be.
    #[error(transparent)]
    Malformed(#[from] CredentialError),
    /// Signed under a kid that no trusted key has.
    #[error("no trusted key is named {0}, by which it is signed")]
    UnknownKey(KeyId),
    /// A status list whose `sub` is not one of its signer's.
    #[error("its sub {0:?} is not a status list of the node that signed it")]
    ListElsewhere(String),
}

/// An issuer: a node by its did:web.
#[derive(Debug)]
struct Issuer {
    authority: String,
    /// The base URLs that the did:web can stand for: https, and on loopback
    /// hosts http too. (A did:web names no scheme.)
    origins: Vec<Origin>,
}

impl Issuer {
    fn owns_list(&self, uri: &str) -> bool {
        self.origins
            .iter()
            .any(|origin| origin.status_list_of(uri).is_some())
    }
}

#[derive(Debug)]
enum HeldCampaign {
    /// By these issuers: more than one where they publish the same key.
    Of(Vec<usize>, Arc<Campaign>),
    /// Well-formed, by a key that is not trusted.
    UnknownKey(KeyId),
}

/// Trusted keys, campaigns and status lists: built once, asked many times.
/// Keys are added first: what they have to vouch for comes after.
#[derive(Debug, Default)]
pub struct Verifier {
    issuers: Vec<Issuer>,
    keys: HashMap<KeyId, Vec<(usize, PublicKey)>>,
    campaigns: HashMap<CampaignId, HeldCampaign>,
    /// The newest list of each uri and issuer.
    lists: BTreeMap<(String, usize), StatusList>,
}

impl Verifier {
    /// A verifier that trusts nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts a node's keys. Two documents of one node add up.
    pub fn add_issuer(&mut self, document: DidDocument) {
        let known = self
            .issuers
            .iter()
            .position(|issuer| issuer.authority == document.authority);
        let issuer = known.unwrap_or_else(|| {
            self.issuers.push(Issuer {
                origins: origins_of(&document.authority),
                authority: document.authority,
            });
            self.issuers.len() - 1
        });
        for key in document.keys {
            let same_kid = self.keys.entry(key.kid()).or_default();
            if !same_kid.contains(&(issuer, key)) {
                same_kid.push((issuer, key));
            }
        }
    }

    /// How many nodes are trusted.
    #[must_use]
    pub fn issuers(&self) -> usize {
        self.issuers.len()
    }

    /// Takes a signed campaign (COSE bytes). One by a key that is not trusted
    /// is remembered as such: coupons under it are not valid.
    ///
    /// # Errors
    /// [`TrustError`] for one that is malformed, forged or of an unknown key.
    pub fn add_campaign(&mut self, bytes: &[u8]) -> Result<CampaignId, TrustError> {
        let signed = Signed::<Campaign>::parse(bytes)?;
        let id = signed.id();
        match self.signer(signed.sign1()) {
            Signer::Known(issuers) => {
                self.campaigns
                    .insert(id, HeldCampaign::Of(issuers, Arc::new(signed.into_content())));
                Ok(id)
            }
            Signer::UnknownKey => {
                let kid = signed.kid();
                // The identity binds the kid, but not the signature: a good copy stays.
                self.campaigns.entry(id).or_insert(HeldCampaign::UnknownKey(kid));
                Err(TrustError::UnknownKey(kid))
            }
            Signer::Forged => Err(CredentialError::BadSignature.into()),
        }
    }

    /// Takes a status list token (COSE bytes) and gives its uri. Of several of
    /// one uri the newest counts; of those of one second, the first given.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn add_status_list(&mut self, bytes: &[u8]) -> Result<String, TrustError> {
        let token = StatusListToken::parse(bytes)?;
        let issuer = self.issuer_of(&token)?;
        let list = token.into_list();
        let uri = list.uri.clone();
        let held = self.lists.get(&(uri.clone(), issuer));
        if held.is_none_or(|held| held.issued_at < list.issued_at) {
            self.lists.insert((uri.clone(), issuer), list);
        }
        Ok(uri)
    }

    /// Whose status list it is, by the key that has signed it.
    fn issuer_of(&self, token: &StatusListToken) -> Result<usize, TrustError> {
        match self.signer(token.sign1()) {
            Signer::Known(issuers) => issuers
                .into_iter()
                .find(|issuer| self.issuers[*issuer].owns_list(&token.list().uri))
                .ok_or_else(|| TrustError::ListElsewhere(token.list().uri.clone())),
            Signer::UnknownKey => Err(TrustError::UnknownKey(token.sign1().kid())),
            Signer::Forged => Err(CredentialError::BadSignature.into()),
        }
    }

    /// Host and port of the issuer whom two contradicting status lists convict: its keys
    /// have signed both. They may be two keys, where it has replaced one.
    ///
    /// # Errors
    /// [`TrustError`]: [`UnknownKey`](TrustError::UnknownKey) where nothing worse is so.
    pub fn convict(&self, evidence: &ListEvidence) -> Result<&str, TrustError> {
        match evidence.tokens().map(|token| self.issuer_of(token)) {
            [Ok(first), Ok(second)] if first == second => Ok(&self.issuers[first].authority),
            [Ok(_), Ok(_)] => Err(TrustError::ListElsewhere(evidence.list().uri.clone())),
            [Err(TrustError::UnknownKey(_)), Err(error)] | [Err(error), _] | [_, Err(error)] => Err(error),
        }
    }

    /// Judges a QR text, link or bare form, at a time.
    #[must_use]
    pub fn check_text(&self, text: &str, at: UnixSeconds) -> Report {
        match qr_text::parse(text) {
            Ok(read) => self.check(&read.bytes, read.origin.as_ref(), at),
            Err(error) => malformed(error.to_string()),
        }
    }

    /// Judges a credential's bytes at a time.
    #[must_use]
    pub fn check_bytes(&self, bytes: &[u8], at: UnixSeconds) -> Report {
        self.check(bytes, None, at)
    }

    fn check(&self, bytes: &[u8], link: Option<&Origin>, at: UnixSeconds) -> Report {
        let subject = match read(bytes) {
            Ok(subject) => subject,
            Err(error) => return malformed(error.to_string()),
        };
        let sign1 = match &subject {
            Subject::Credential(credential) => credential.sign1(),
            Subject::StatusList(token) => token.sign1(),
        };
        let kid = sign1.kid();
        let signer = self.signer(sign1);
        let mut report = Report::new(Some(subject));
        match signer {
            Signer::Known(candidates) => {
                let issuer = self.likeliest(&candidates, &report, link);
                report.issuer = Some(self.issuers[issuer].authority.clone());
                self.check_link(link, issuer, &mut report);
                self.check_content(issuer, at, &mut report);
            }
            Signer::UnknownKey => report.whys.push(Why::UnknownKey(kid)),
            Signer::Forged => report.whys.push(Why::BadSignature),
        }
        report.finish()
    }

    /// Who signed it. More than one key may have a kid: all are tried.
    fn signer(&self, sign1: &Sign1) -> Signer {
        let Some(keys) = self.keys.get(&sign1.kid()) else {
            return Signer::UnknownKey;
        };
        let good: Vec<usize> = keys
            .iter()
            .filter(|(_, key)| sign1.verify(key, &[]).is_ok())
            .map(|(issuer, _)| *issuer)
            .collect();
        if good.is_empty() {
            Signer::Forged
        } else {
            Signer::Known(good)
        }
    }

    /// Where two nodes publish the same key, the one that the rest belongs to.
    fn likeliest(&self, candidates: &[usize], report: &Report, link: Option<&Origin>) -> usize {
        let uri = match &report.subject {
            Some(Subject::Credential(Credential::Coupon(coupon))) => Some(&coupon.content().status.uri),
            Some(Subject::Credential(Credential::Membership(member))) => Some(&member.content().status.uri),
            Some(Subject::StatusList(token)) => Some(&token.list().uri),
            _ => None,
        };
        let fits = |issuer: &&usize| {
            let issuer = &self.issuers[**issuer];
            uri.is_none_or(|uri| issuer.owns_list(uri))
                && link.is_none_or(|link| issuer.origins.contains(link))
        };
        *candidates.iter().find(fits).unwrap_or(&candidates[0])
    }

    fn check_link(&self, link: Option<&Origin>, issuer: usize, report: &mut Report) {
        if let Some(link) = link
            && !self.issuers[issuer].origins.contains(link)
        {
            report.whys.push(Why::LinkElsewhere {
                link: link.to_string(),
            });
        }
    }

    fn check_content(&self, issuer: usize, at: UnixSeconds, report: &mut Report) {
        // Taken out for the time of looking at it, so that nothing is copied.
        let Some(subject) = report.subject.take() else {
            return;
        };
        match &subject {
            Subject::Credential(Credential::Coupon(coupon)) => {
                self.check_coupon(coupon.content(), issuer, at, report);
            }
            Subject::Credential(Credential::Membership(member)) => {
                self.check_membership(member.content(), issuer, at, report);
            }
            Subject::Credential(Credential::Campaign(campaign)) => {
                let campaign = campaign.content();
                check_time(Some(campaign.not_before), campaign.not_after, at, report);
            }
            Subject::Credential(Credential::Receipt(receipt)) => {
                note_future(receipt.content().issued_at, at, report);
            }
            Subject::StatusList(token) => {
                let list = token.list();
                if !self.issuers[issuer].owns_list(&list.uri) {
                    report.whys.push(Why::StatusElsewhere {
                        uri: list.uri.clone(),
                    });
                }
                note_future(list.issued_at, at, report);
                check_time(None, list.expires, at, report);
            }
        }
        report.subject = Some(subject);
    }

    fn check_coupon(&self, coupon: &Coupon, issuer: usize, at: UnixSeconds, report: &mut Report) {
        if coupon.holder.is_some() {
            report.notes.push(Note::BoundToHolder);
        }
        let (mut not_before, mut not_after) = (coupon.not_before, coupon.not_after);
        match self.campaigns.get(&coupon.campaign) {
            Some(HeldCampaign::Of(owners, campaign)) if owners.contains(&issuer) => {
                // As the ledger redeems: a coupon is in force within its campaign only.
                not_before = Some(not_before.unwrap_or_default().max(campaign.not_before));
                not_after = not_after.min(campaign.not_after);
                let percentage = matches!(campaign.terms.benefit, Benefit::PercentOff { .. });
                if percentage && coupon.amount.is_some() {
                    report.whys.push(Why::AmountWithPercentage);
                }
                report.campaign = Some(Arc::clone(campaign));
            }
            Some(HeldCampaign::Of(..)) => report.whys.push(Why::CampaignElsewhere),
            Some(HeldCampaign::UnknownKey(kid)) => report.whys.push(Why::UnknownCampaignKey(*kid)),
            None => {
                if not_before.is_none() {
                    report.notes.push(Note::StartUnknown);
                }
                report.notes.push(Note::TermsUnknown);
            }
        }
        check_time(not_before, not_after, at, report);
        self.check_status(&coupon.status, issuer, at, report);
    }

    fn check_membership(&self, member: &Membership, issuer: usize, at: UnixSeconds, report: &mut Report) {
        report.notes.push(Note::BoundToHolder);
        check_time(Some(member.not_before), member.not_after, at, report);
        self.check_status(&member.status, issuer, at, report);
    }

    fn check_status(&self, status: &StatusRef, issuer: usize, at: UnixSeconds, report: &mut Report) {
        if !self.issuers[issuer].owns_list(&status.uri) {
            report.whys.push(Why::StatusElsewhere {
                uri: status.uri.clone(),
            });
            return;
        }
        let Some(list) = self.lists.get(&(status.uri.clone(), issuer)) else {
            report.whys.push(Why::NoStatusList);
            return;
        };
        let found = list.get(status.index);
        if found.is_none() {
            report.whys.push(Why::IndexOutOfBounds);
        }
        // What a list past its time says is not reported, good or bad.
        if at >= list.expires {
            report.whys.push(Why::StatusListExpired(list.expires));
            return;
        }
        report.whys.extend(match found {
            Some(Status::Revoked) => Some(Why::Revoked),
            Some(Status::Suspended) => Some(Why::Suspended),
            Some(Status::UsedUp) => Some(Why::UsedUp),
            Some(Status::Valid) | None => None,
        });
    }
}

enum Signer {
    Known(Vec<usize>),
    UnknownKey,
    Forged,
}

fn origins_of(authority: &str) -> Vec<Origin> {
    ["https", "http"]
        .iter()
        .filter_map(|scheme| Origin::parse(&format!("{scheme}://{authority}")).ok())
        .collect()
}

fn read(bytes: &[u8]) -> Result<Subject, CredentialError> {
    if bytes.len() <= limits::CREDENTIAL_BYTES_MAX {
        match Credential::parse(bytes) {
            Ok(credential) => return Ok(Subject::Credential(credential)),
            Err(CredentialError::WrongType { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    StatusListToken::parse(bytes).map(Subject::StatusList)
}

fn malformed(error: String) -> Report {
    let mut report = Report::new(None);
    report.whys.push(Why::Malformed(error));
    report.finish()
}

fn check_time(not_before: Option<UnixSeconds>, not_after: UnixSeconds, at: UnixSeconds, report: &mut Report) {
    report.not_before = not_before;
    report.not_after = Some(not_after);
    if at >= not_after {
        report.whys.push(Why::Expired(not_after));
    }
    if let Some(start) = not_before
        && at < start
    {
        report.whys.push(Why::NotYetValid(start));
    }
}

fn note_future(issued_at: UnixSeconds, at: UnixSeconds, report: &mut Report) {
    if issued_at > at {
        report.notes.push(Note::FromTheFuture(issued_at));
    }
}

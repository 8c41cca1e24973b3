//! Evidence of two status lists: what it shows of the issuer, by the did.json that
//! whoever asks holds of it.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Judged;
use crate::cli::verify::trust;
use crate::credential::ListEvidence;
use crate::credential::status_list::{Status, StatusListToken};
use crate::credential::verify::{TrustError, Verdict, Verifier};
use crate::primitives::Origin;

/// What the answer for machines calls it.
const KIND: &str = "list_evidence";

/// Judges evidence of two lists by the issuers in the files and directories of `trust`.
///
/// # Errors
/// As [`trust::load`].
pub(super) fn judge(bytes: &[u8], trust: &[PathBuf]) -> anyhow::Result<Judged> {
    let mut verifier = Verifier::new();
    let notes = if trust.is_empty() {
        Vec::new()
    } else {
        trust::load(&mut verifier, trust)?
    };
    let judged = match ListEvidence::decode(bytes) {
        Ok(evidence) => of(&evidence, &verifier),
        Err(error) => no_evidence(None, &error.to_string()),
    };
    Ok(Judged { notes, ..judged })
}

fn of(evidence: &ListEvidence, verifier: &Verifier) -> Judged {
    match verifier.convict(evidence) {
        Ok(issuer) => convicted(evidence, issuer),
        Err(TrustError::UnknownKey(kid)) if verifier.issuers() > 0 => {
            let why = format!(
                "no trusted key is named {kid}, which has to have signed this: {evidence}. Give its issuer's did.json with \
                 --trust; where the issuer has replaced its key since, the one of then"
            );
            unknown_key(evidence, why)
        }
        Err(TrustError::UnknownKey(_)) => {
            let why = format!(
                "whose keys have signed it was not said, so no signature was checked: {evidence}. Ask for its issuer's \
                 did.json elsewhere than where the file came from{}, and give it with --trust",
                published(evidence)
            );
            unknown_key(evidence, why)
        }
        Err(error) => no_evidence(Some(evidence), &error.to_string()),
    }
}

/// Where a node at the list's address would show its keys.
fn published(evidence: &ListEvidence) -> String {
    let base = evidence.list().uri.rsplit_once("/s/");
    let origin = base.and_then(|(base, _)| Origin::parse(base).ok());
    origin.map_or_else(String::new, |origin| {
        format!(" (its node shows it at {origin}/.well-known/did.json)")
    })
}

fn convicted(evidence: &ListEvidence, issuer: &str) -> Judged {
    let mut differing = evidence.differing().peekable();
    let first = differing.peek().copied();
    let count = differing.count();
    let word = |status: Option<Status>| status.map_or("absent", Status::word);
    let how = match first {
        Some((index, [one, other])) => {
            let places = match count {
                1 => format!("1 status differs, that of index {index}"),
                _ => format!("{count} statuses differ, first that of index {index}"),
            };
            format!("{places}: {} in the one, {} in the other", word(one), word(other))
        }
        None => "no status differs, but how long they are good or how they are packed does".to_owned(),
    };
    let reason = format!("{issuer}: {evidence}; {how}");
    let verdict = Verdict::Valid;
    Judged {
        json: json!({
            "verdict": "convicted",
            "exit_code": verdict.exit_code(),
            "kind": KIND,
            "issuer": issuer,
            "list": evidence.list().uri,
            "issued_at": evidence.list().issued_at.rfc3339(),
            "first": token(evidence.tokens()[0]),
            "second": token(evidence.tokens()[1]),
            "statuses_differing": count,
            "first_difference": first.map(|(index, [one, other])| {
                json!({"index": index, "first": one.map(Status::word), "second": other.map(Status::word)})
            }),
            "reason": reason,
        }),
        words: format!("convicted: {reason}"),
        exit_code: verdict.exit_code(),
        notes: Vec::new(),
    }
}

fn token(token: &StatusListToken) -> Value {
    json!({
        "kid": token.sign1().kid().to_string(),
        "expires": token.list().expires.rfc3339(),
        "ttl": token.list().ttl,
        "statuses": token.list().statuses.len(),
    })
}

fn unknown_key(evidence: &ListEvidence, why: String) -> Judged {
    let exit_code = Verdict::UnknownIssuer.exit_code();
    Judged {
        json: json!({
            "verdict": "unknown_key",
            "exit_code": exit_code,
            "kind": KIND,
            "issuer": null,
            "list": evidence.list().uri,
            "issued_at": evidence.list().issued_at.rfc3339(),
            "first": token(evidence.tokens()[0]),
            "second": token(evidence.tokens()[1]),
            "reason": why,
        }),
        words: why,
        exit_code,
        notes: Vec::new(),
    }
}

fn no_evidence(evidence: Option<&ListEvidence>, why: &str) -> Judged {
    let exit_code = Verdict::Forged.exit_code();
    Judged {
        json: json!({
            "verdict": "no_evidence",
            "exit_code": exit_code,
            "kind": KIND,
            "list": evidence.map(|evidence| &evidence.list().uri),
            "reason": why,
        }),
        words: format!("it convicts nobody: {why}"),
        exit_code,
        notes: Vec::new(),
    }
}

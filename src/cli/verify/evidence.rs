//! `verify --evidence`: does this file convict a log of having signed two histories, or
//! an issuer of having signed two status lists? Nobody has to be asked, and whoever gave
//! the file is not trusted.

mod lists;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::read_file;
use crate::credential::ListEvidence;
use crate::credential::status_list::StatusListToken;
use crate::credential::verify::Verdict;
use crate::log::{ForkEvidence, LogError, VerifierKey};
use crate::primitives::limits;

/// What became of it: the answer for machines, in words, the exit code, and what is to
/// be known of the files and options beside it.
pub struct Judged {
    pub json: Value,
    pub words: String,
    pub exit_code: u8,
    pub notes: Vec<String>,
}

/// Judges the evidence in `path`: of a fork by the log's key `log_key`, of two status
/// lists by what stands in the files and directories of `trust`.
///
/// # Errors
/// When a file cannot be read, or a did document is refused.
pub fn judge(path: &Path, log_key: Option<&VerifierKey>, trust: &[PathBuf]) -> anyhow::Result<Judged> {
    let bytes = read_file(path, limits::EVIDENCE_BYTES_MAX)?;
    if ListEvidence::begins(&bytes) {
        let mut judged = lists::judge(&bytes, trust)?;
        if log_key.is_some() {
            let said = "--log-key says nothing about status lists; --trust does";
            judged.notes.push(said.to_owned());
        }
        return Ok(judged);
    }
    if !begins_as_array(&bytes) {
        return Ok(neither(&bytes));
    }
    let mut judged = fork(&bytes, log_key);
    if !trust.is_empty() {
        let said = "--trust says nothing about a log; --log-key does";
        judged.notes.push(said.to_owned());
    }
    Ok(judged)
}

fn begins_as_array(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|head| head >> 5 == 4)
}

fn neither(bytes: &[u8]) -> Judged {
    let reason = if StatusListToken::parse(bytes).is_ok() {
        "it is one status list, and evidence is made of two that contradict each other"
    } else {
        "it is evidence neither of a fork nor of two status lists"
    };
    let exit_code = Verdict::Forged.exit_code();
    Judged {
        json: json!({"verdict": "no_evidence", "exit_code": exit_code, "kind": null, "reason": reason}),
        words: format!("it convicts nobody: {reason}"),
        exit_code,
        notes: Vec::new(),
    }
}

fn fork(bytes: &[u8], log_key: Option<&VerifierKey>) -> Judged {
    let evidence = match ForkEvidence::decode(bytes) {
        Ok(evidence) => evidence,
        Err(error) => return refused(None, &error),
    };
    let named = VerifierKey::parse(&evidence.log_key);
    let named = match named {
        Ok(named) => named,
        Err(error) => return refused(None, &error),
    };
    let convicted = match evidence.verify(&named) {
        Ok(convicted) => convicted,
        Err(error) => return refused(Some(&evidence), &error),
    };
    let log_key = log_key.filter(|log_key| **log_key == named);
    let verdict = if log_key.is_some() {
        Verdict::Valid
    } else {
        Verdict::UnknownIssuer
    };
    let (first, second) = (&convicted.first, &convicted.second);
    let words = match log_key {
        Some(_) => format!("convicted: {convicted}"),
        None => format!(
            "whoever holds the key {named} has done this: {convicted}. That it is the key of the log in question was not \
             said: ask for the log's key elsewhere, and give it with --log-key"
        ),
    };
    Judged {
        json: json!({
            "verdict": if log_key.is_some() { "convicted" } else { "unknown_key" },
            "exit_code": verdict.exit_code(),
            "kind": "fork_evidence",
            "log_key": named.to_string(),
            "origin": first.origin,
            "first": {"size": first.size, "root": first.root.to_string()},
            "second": {"size": second.size, "root": second.root.to_string()},
            "root_of_second_at_first_size": convicted.other_root.to_string(),
            "reason": convicted.to_string(),
        }),
        words,
        exit_code: verdict.exit_code(),
        notes: Vec::new(),
    }
}

fn refused(evidence: Option<&ForkEvidence>, error: &LogError) -> Judged {
    let exit_code = Verdict::Forged.exit_code();
    Judged {
        json: json!({
            "verdict": "no_evidence", "exit_code": exit_code, "kind": "fork_evidence",
            "log_key": evidence.map(|evidence| &evidence.log_key), "reason": error.to_string(),
        }),
        words: format!("it convicts nobody: {error}"),
        exit_code,
        notes: Vec::new(),
    }
}

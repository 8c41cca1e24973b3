//! `verify --evidence`: does this file convict a log of having signed two
//! histories? Nobody has to be asked, and whoever gave the file is not trusted.

use std::path::Path;

use serde_json::{Value, json};

use super::read_file;
use crate::credential::verify::Verdict;
use crate::log::{ForkEvidence, LogError, VerifierKey};
use crate::primitives::limits;

/// What became of it: the answer for machines, in words, and the exit code.
pub struct Judged {
    pub json: Value,
    pub words: String,
    pub exit_code: u8,
}

/// Judges the evidence in `path` about the log whose key is `log_key`.
///
/// # Errors
/// When the file cannot be read.
pub fn judge(path: &Path, log_key: Option<&VerifierKey>) -> anyhow::Result<Judged> {
    let bytes = read_file(path, limits::FORK_EVIDENCE_BYTES_MAX)?;
    let evidence = match ForkEvidence::decode(&bytes) {
        Ok(evidence) => evidence,
        Err(error) => return Ok(refused(None, &error)),
    };
    let named = VerifierKey::parse(&evidence.log_key);
    let named = match named {
        Ok(named) => named,
        Err(error) => return Ok(refused(None, &error)),
    };
    let convicted = match evidence.verify(&named) {
        Ok(convicted) => convicted,
        Err(error) => return Ok(refused(Some(&evidence), &error)),
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
    Ok(Judged {
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
    })
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
    }
}

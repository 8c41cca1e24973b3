//! Reading what is trusted: did.json files, campaigns, status lists.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

use crate::credential::verify::{DidDocument, TrustError, Verifier};
use crate::primitives::limits;

use super::read_file;

/// Adds what stands in these files and directories, keys before campaigns.
/// Gives notes on what was passed over.
///
/// # Errors
/// What cannot be read, and every did.json that is refused: whoever is asked
/// to trust a file has to be told when it does not hold.
pub fn load(verifier: &mut Verifier, paths: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut notes = Vec::new();
    let mut campaigns: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for path in paths {
        if path.is_dir() {
            for file in files_of(path)? {
                match read_trusted(&file)? {
                    Some(found) => found.take(&file, verifier, &mut campaigns),
                    None => notes.push(format!("{} is no did.json and no campaign", file.display())),
                }
            }
        } else {
            let found = read_trusted(path)?
                .with_context(|| format!("{} is no did.json and no campaign", path.display()))?;
            found.take(path, verifier, &mut campaigns);
        }
    }
    for (path, bytes) in campaigns {
        if let Err(error) = verifier.add_campaign(&bytes) {
            notes.push(format!("the campaign in {} is not used: {error}", path.display()));
        }
    }
    if verifier.issuers() == 0 {
        notes.push("no did.json was found: nobody is trusted".to_owned());
    }
    Ok(notes)
}

/// Adds status list tokens. One that is not by the issuer it names is noted
/// and not used: a coupon's status stays undetermined then.
///
/// # Errors
/// Files that cannot be read, or are no status list token.
pub fn load_lists(verifier: &mut Verifier, paths: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut notes = Vec::new();
    for path in paths {
        let shown = path.display();
        let bytes = read_file(path, limits::STATUS_TOKEN_BYTES_MAX)?;
        match verifier.add_status_list(&bytes) {
            Ok(_) => {}
            Err(TrustError::Malformed(error))
                if error != crate::credential::CredentialError::BadSignature =>
            {
                anyhow::bail!("{shown} is no status list token: {error}");
            }
            Err(error) => notes.push(format!("the status list in {shown} is not used: {error}")),
        }
    }
    Ok(notes)
}

/// The campaigns in a file: a signed one, or JSON as the API gives one or many.
///
/// # Errors
/// What cannot be read, and a file without any.
pub fn campaigns_in(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    match read_trusted(path)? {
        Some(Trusted::Campaigns(found)) => Ok(found),
        _ => anyhow::bail!("{} holds no campaign", path.display()),
    }
}

enum Trusted {
    Issuer(DidDocument),
    Campaigns(Vec<Vec<u8>>),
}

impl Trusted {
    fn take(self, path: &Path, verifier: &mut Verifier, campaigns: &mut Vec<(PathBuf, Vec<u8>)>) {
        match self {
            Self::Issuer(document) => verifier.add_issuer(document),
            Self::Campaigns(found) => {
                campaigns.extend(found.into_iter().map(|bytes| (path.to_owned(), bytes)));
            }
        }
    }
}

fn files_of(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let shown = directory.display();
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {shown}"))? {
        let path = entry.with_context(|| format!("cannot list {shown}"))?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.len() > limits::TRUST_FILES_MAX {
        anyhow::bail!("{shown} holds more than {} files", limits::TRUST_FILES_MAX);
    }
    Ok(files)
}

/// `None` for a file that is neither.
fn read_trusted(path: &Path) -> anyhow::Result<Option<Trusted>> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let bytes = read_file(path, limits::TRUST_FILE_BYTES_MAX)?;
    if bytes.len() > limits::TRUST_FILE_BYTES_MAX {
        anyhow::bail!(
            "{} has more than {} bytes",
            path.display(),
            limits::TRUST_FILE_BYTES_MAX
        );
    }
    if matches!(extension, Some("cose" | "cbor")) {
        return Ok(Some(Trusted::Campaigns(vec![bytes])));
    }
    let Ok(json) = serde_json::from_slice::<Value>(&bytes) else {
        return if extension == Some("json") {
            anyhow::bail!("{} is no JSON", path.display())
        } else {
            Ok(None)
        };
    };
    if json.get("verificationMethod").is_some() {
        let document = DidDocument::parse(&bytes)
            .with_context(|| format!("the did document {} is not trusted", path.display()))?;
        return Ok(Some(Trusted::Issuer(document)));
    }
    let list = match &json {
        Value::Array(list) => Some(list),
        Value::Object(members) => members.get("campaigns").and_then(Value::as_array),
        _ => None,
    };
    let found = match list {
        Some(list) => list.iter().map(credential_of).collect(),
        None => credential_of(&json).map(|bytes| vec![bytes]),
    };
    Ok(found.map(Trusted::Campaigns))
}

/// The `credential` of a campaign as `GET /v1/campaigns/{id}` gives it.
fn credential_of(json: &Value) -> Option<Vec<u8>> {
    let text = json.get("credential")?.as_str()?;
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}

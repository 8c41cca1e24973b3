//! `verify --proof`: that a receipt or campaign is in its issuer's log, by its
//! entry, the entry's COSE receipt, and a checkpoint that the log has signed.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

use crate::credential::Credential;
use crate::credential::verify::{Note, Report, Subject, Why};
use crate::ledger::Event;
use crate::log::{
    Checkpoint, Entry, LogError, Policy, TlogProof, VerifierKey, cose_receipt, entry_hash, tlog_proof,
};
use crate::merkle::verify_inclusion;
use crate::primitives::limits;

use super::read_file;

/// What proves that something is in a log.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ProofArgs {
    /// What proves that it is in its issuer's log: JSON as `?proof=cose` gives it, a COSE receipt or a tlog-proof
    #[arg(long, value_name = "FILE", requires = "log_key", group = "about_a_log")]
    pub proof: Option<PathBuf>,
    /// The log's key, as `init` prints it (vkey)
    #[arg(long, value_name = "VKEY", requires = "about_a_log", value_parser = parse_key)]
    pub log_key: Option<VerifierKey>,
    /// A checkpoint of the log, of the receipt's size; in place of the one in the proof
    #[arg(long, value_name = "FILE", requires = "proof")]
    pub checkpoint: Option<PathBuf>,
    /// The entry that a COSE receipt or tlog-proof is about
    #[arg(long, value_name = "FILE", requires = "proof")]
    pub entry: Option<PathBuf>,
    /// A policy file (C2SP tlog-policy): its quorum of witnesses must have cosigned the checkpoint
    #[arg(long, value_name = "FILE", requires = "proof")]
    pub policy: Option<PathBuf>,
}

fn parse_key(text: &str) -> Result<VerifierKey, String> {
    VerifierKey::parse(text).map_err(|error| error.to_string())
}

/// The policy in a file.
///
/// # Errors
/// When it cannot be read, or is none.
pub(in crate::cli) fn read_policy(path: &Path) -> anyhow::Result<Policy> {
    let text = read_file(path, limits::POLICY_BYTES_MAX)?;
    Policy::parse(&text).with_context(|| format!("{} is no policy", path.display()))
}

/// The parts of a proof.
struct Proof {
    entry: Vec<u8>,
    path: PathOfEntry,
    checkpoint: Vec<u8>,
    policy: Option<Policy>,
}

/// How the entry is shown to be in the checkpoint's tree.
enum PathOfEntry {
    Cose(Vec<u8>),
    Text(TlogProof),
}

impl ProofArgs {
    /// Checks the proof, if one was given, and adds what comes of it to `report`.
    ///
    /// # Errors
    /// What cannot be read, or is not enough to tell.
    pub(super) fn check(&self, mut report: Report) -> anyhow::Result<Report> {
        let (Some(path), Some(key)) = (&self.proof, &self.log_key) else {
            return Ok(report);
        };
        let mut proof = self.read(path)?;
        proof.policy = self.policy.as_deref().map(read_policy).transpose()?;
        let Some(subject) = &report.subject else {
            return Ok(report);
        };
        match proof.holds(subject, report.issuer.as_deref(), key)? {
            Ok(note) => report.notes.push(note),
            Err(why) => report = report.with(Why::NotInLog(why)),
        }
        Ok(report)
    }

    fn read(&self, path: &Path) -> anyhow::Result<Proof> {
        let shown = path.display();
        let bytes = read_file(path, limits::TRUST_FILE_BYTES_MAX)?;
        let given = |path: &Option<PathBuf>| {
            let path = path.as_deref();
            path.map(|path| read_file(path, limits::NOTE_BYTES_MAX))
                .transpose()
        };
        let (entry, checkpoint) = (given(&self.entry)?, given(&self.checkpoint)?);
        // A COSE_Sign1 begins with tag 18.
        if bytes.first() == Some(&0xd2) {
            return Ok(Proof {
                entry: entry.with_context(|| {
                    format!("{shown} is a COSE receipt, which is about an entry: give the entry with --entry")
                })?,
                checkpoint: checkpoint.with_context(|| {
                    format!("{shown} is a COSE receipt: give the checkpoint of its size with --checkpoint")
                })?,
                path: PathOfEntry::Cose(bytes),
                policy: None,
            });
        }
        if bytes.starts_with(tlog_proof::HEADER.as_bytes()) {
            let proof = str::from_utf8(&bytes)
                .ok()
                .with_context(|| format!("{shown} is not UTF-8"))
                .and_then(|text| TlogProof::parse(text).with_context(|| shown.to_string()))?;
            return Ok(Proof {
                entry: entry.with_context(|| {
                    format!("{shown} is a tlog-proof, which is about an entry: give the entry with --entry")
                })?,
                checkpoint: checkpoint.unwrap_or_else(|| proof.checkpoint.clone().into_bytes()),
                path: PathOfEntry::Text(proof),
                policy: None,
            });
        }
        let json: Value = serde_json::from_slice(&bytes)
            .with_context(|| format!("{shown} is neither a COSE receipt, a tlog-proof nor JSON"))?;
        let json = json.get("proof").unwrap_or(&json);
        let text = |name: &str| {
            let member = json.get(name).and_then(Value::as_str);
            member.with_context(|| format!("{shown} has no text {name}, as the answer to ?proof=cose has"))
        };
        let bytes = |name: &str| {
            let decoded = BASE64URL_NOPAD.decode(text(name)?.as_bytes());
            decoded.with_context(|| format!("{name} in {shown} is not base64url"))
        };
        Ok(Proof {
            entry: entry.map_or_else(|| bytes("entry_bytes"), Ok)?,
            path: PathOfEntry::Cose(bytes("cose")?),
            checkpoint: checkpoint.map_or_else(|| Ok(text("checkpoint")?.into()), anyhow::Ok)?,
            policy: None,
        })
    }
}

impl Proof {
    /// Where in the log the subject is, or why it is not shown to be there.
    ///
    /// # Errors
    /// Where it cannot be told: another kind of credential, another checkpoint.
    fn holds(
        &self,
        subject: &Subject,
        issuer: Option<&str>,
        key: &VerifierKey,
    ) -> anyhow::Result<Result<Note, String>> {
        if issuer.is_some_and(|issuer| issuer != key.name()) {
            return Ok(Err(format!(
                "the log is that of {}, not its issuer's",
                key.name()
            )));
        }
        let opened = match &self.policy {
            Some(policy) => policy.open(&self.checkpoint, Some(key)),
            None => Checkpoint::open(&self.checkpoint, key),
        };
        let checkpoint = match opened {
            Ok(checkpoint) => checkpoint,
            Err(error @ LogError::NoQuorum { .. }) => return Ok(Err(format!("the checkpoint: {error}"))),
            Err(error) => return Ok(Err(format!("the checkpoint is not the log's: {error}"))),
        };
        let (index, size) = match self.place_in(&checkpoint, key)? {
            Ok(index) => (index, checkpoint.size),
            Err(why) => return Ok(Err(why)),
        };
        let entry = Entry::decode(&self.entry)
            .ok()
            .filter(|entry| entry.index == index);
        let event = entry.and_then(|entry| Event::from_body(entry.kind, &entry.body).ok());
        let is_it = match (subject, event.map(|(event, _)| event)) {
            (Subject::Credential(Credential::Receipt(receipt)), event) => {
                let stub = receipt.content();
                matches!(event, Some(Event::ReceiptIssued(issued))
                    if issued.tag == receipt.tag()
                        && issued.register == stub.register
                        && issued.sequence_number == stub.sequence_number)
            }
            (Subject::Credential(Credential::Campaign(campaign)), event) => {
                matches!(event, Some(Event::CampaignSigned(signed)) if signed.id == campaign.id())
            }
            _ => anyhow::bail!(
                "a {} has no entry of its own: --proof is for receipts and campaigns",
                subject.kind_name()
            ),
        };
        Ok(if is_it {
            Ok(Note::InLog {
                index,
                size,
                witnessed: self.policy.is_some(),
            })
        } else {
            Err("the entry that is proven is about something else".to_owned())
        })
    }

    /// The entry's index in the checkpoint's tree, or why it is not shown to be
    /// there.
    ///
    /// # Errors
    /// Where the proof is of another size.
    fn place_in(&self, checkpoint: &Checkpoint, key: &VerifierKey) -> anyhow::Result<Result<u64, String>> {
        let hash = entry_hash(&self.entry);
        let receipt = match &self.path {
            PathOfEntry::Cose(receipt) => receipt,
            PathOfEntry::Text(proof) => {
                let (size, root) = (checkpoint.size, &checkpoint.root.0);
                return Ok(verify_inclusion(&hash.0, proof.index, size, &proof.path, root)
                    .map(|()| proof.index)
                    .map_err(|error| format!("the tlog-proof does not hold: {error}")));
            }
        };
        let included = match cose_receipt::verify(receipt, &hash, key.key()) {
            Ok(included) => included,
            Err(error) => return Ok(Err(format!("the entry's COSE receipt does not hold: {error}"))),
        };
        let (index, size) = (included.inclusion.index, included.inclusion.size);
        if size != checkpoint.size {
            anyhow::bail!(
                "the COSE receipt is of the log with {size} entries, the checkpoint of {}: give both of one size",
                checkpoint.size
            );
        }
        if included.root != checkpoint.root {
            let why = "the COSE receipt is of another tree than the checkpoint: the log shows two histories";
            return Ok(Err(why.to_owned()));
        }
        Ok(Ok(index))
    }
}

//! `verify --proof`: that a receipt or campaign is in its issuer's log, by its
//! entry, the entry's COSE receipt, and a checkpoint that the log has signed.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

use crate::credential::Credential;
use crate::credential::verify::{Note, Report, Subject, Why};
use crate::ledger::Event;
use crate::log::{Checkpoint, Entry, VerifierKey, cose_receipt, entry_hash};
use crate::primitives::limits;

use super::read_file;

/// What proves that something is in a log.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ProofArgs {
    /// What proves that it is in its issuer's log: JSON as `?proof=cose` gives it, or a COSE receipt
    #[arg(long, value_name = "FILE", requires = "log_key", group = "about_a_log")]
    pub proof: Option<PathBuf>,
    /// The log's key, as `init` prints it (vkey)
    #[arg(long, value_name = "VKEY", requires = "about_a_log", value_parser = parse_key)]
    pub log_key: Option<VerifierKey>,
    /// A checkpoint of the log, of the receipt's size; in place of the one in the proof
    #[arg(long, value_name = "FILE", requires = "proof")]
    pub checkpoint: Option<PathBuf>,
    /// The entry that a COSE receipt is about
    #[arg(long, value_name = "FILE", requires = "proof")]
    pub entry: Option<PathBuf>,
}

fn parse_key(text: &str) -> Result<VerifierKey, String> {
    VerifierKey::parse(text).map_err(|error| error.to_string())
}

/// The parts of a proof.
struct Proof {
    entry: Vec<u8>,
    receipt: Vec<u8>,
    checkpoint: Vec<u8>,
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
        let proof = self.read(path)?;
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
                receipt: bytes,
            });
        }
        let json: Value = serde_json::from_slice(&bytes)
            .with_context(|| format!("{shown} is neither a COSE receipt nor JSON"))?;
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
            receipt: bytes("cose")?,
            checkpoint: checkpoint.map_or_else(|| Ok(text("checkpoint")?.into()), anyhow::Ok)?,
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
        let checkpoint = match Checkpoint::open(&self.checkpoint, key) {
            Ok(checkpoint) => checkpoint,
            Err(error) => return Ok(Err(format!("the checkpoint is not the log's: {error}"))),
        };
        let included = match cose_receipt::verify(&self.receipt, &entry_hash(&self.entry), key.key()) {
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
            Ok(Note::InLog { index, size })
        } else {
            Err("the entry that is proven is about something else".to_owned())
        })
    }
}

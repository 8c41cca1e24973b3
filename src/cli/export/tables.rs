//! What of an export is for people: CSV that a spreadsheet reads, credentials, and
//! proofs of single entries.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::credential::{Campaign, ReceiptStub, Signed};
use crate::federation::export::Exported;
use crate::federation::{LogSource, VerifiedTree};
use crate::ledger::{Event, Mark, ReceiptIssued, Recorded, Redeemed, RedeemerHalf, Reversed};
use crate::log::{Entry, TlogProof, entry_hash};
use crate::primitives::{Amount, CampaignId, Currency, RedemptionId, UnixSeconds, limits};

/// Sums by register, currency and type, in minor units.
pub type Sums = BTreeMap<(String, &'static str, &'static str), (u64, i128)>;

/// What an export holds.
#[derive(Debug, Default)]
pub struct Counted {
    /// Receipts.
    pub receipts: u64,
    /// What they come to.
    pub sums: Sums,
    /// Receipts whose stub could not be had.
    pub without_stub: u64,
    /// Redemptions.
    pub redemptions: u64,
    /// Reversals.
    pub reversals: u64,
    /// Erasures.
    pub erasures: u64,
    /// Time of the first and of the last entry.
    pub times: Option<(UnixSeconds, UnixSeconds)>,
}

/// A campaign as far as the tables need it.
#[derive(Clone, Debug)]
struct Known {
    name: String,
    currency: Option<Currency>,
}

/// Writes what comes of the entries.
pub struct Tables<'a> {
    dir: PathBuf,
    source: &'a dyn LogSource,
    tree: &'a VerifiedTree,
    receipts: csv::Writer<File>,
    redemptions: csv::Writer<File>,
    campaigns: csv::Writer<File>,
    stubs: BufWriter<File>,
    known: BTreeMap<CampaignId, Known>,
    counted: Counted,
}

const RECEIPTS: [&str; 10] = [
    "entry",
    "recorded_at",
    "sold_at",
    "register",
    "number",
    "type",
    "currency",
    "total",
    "mark",
    "id",
];
const REDEMPTIONS: [&str; 16] = [
    "entry",
    "recorded_at",
    "at",
    "kind",
    "id",
    "reversed_redemption",
    "campaign",
    "campaign_name",
    "coupon",
    "currency",
    "amount",
    "basket_total",
    "use_given_back",
    "register",
    "issuer",
    "redeemer",
];
const CAMPAIGNS: [&str; 6] = ["id", "name", "currency", "not_before", "not_after", "text"];

impl<'a> Tables<'a> {
    /// Makes the files in `dir`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn begin(dir: &Path, source: &'a dyn LogSource, tree: &'a VerifiedTree) -> anyhow::Result<Self> {
        for dir in [dir.join("credentials/campaigns"), dir.join("proofs")] {
            fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
        }
        let table = |name: &str, columns: &[&str]| {
            let path = dir.join(name);
            let mut table = csv::Writer::from_path(&path)
                .with_context(|| format!("could not write {}", path.display()))?;
            table.write_record(columns)?;
            anyhow::Ok(table)
        };
        let stubs = dir.join("credentials/receipts.ndjson");
        let stubs = File::create(&stubs).with_context(|| format!("could not write {}", stubs.display()))?;
        Ok(Self {
            receipts: table("receipts.csv", &RECEIPTS)?,
            redemptions: table("redemptions.csv", &REDEMPTIONS)?,
            campaigns: table("campaigns.csv", &CAMPAIGNS)?,
            stubs: BufWriter::new(stubs),
            dir: dir.to_owned(),
            source,
            tree,
            known: BTreeMap::new(),
            counted: Counted::default(),
        })
    }

    /// Takes an entry.
    ///
    /// # Errors
    /// When it is none of a Tallystick log, or a file cannot be written.
    pub fn take(&mut self, exported: Exported<'_>) -> anyhow::Result<()> {
        let index = exported.index;
        let entry = Entry::decode(exported.bytes).with_context(|| format!("entry {index} cannot be read"))?;
        let (event, answers) = Event::from_body(entry.kind, &entry.body)
            .with_context(|| format!("entry {index} cannot be read"))?;
        let recorded = Recorded {
            index,
            hash: entry_hash(exported.bytes),
            time: entry.time,
            event,
            answers,
        };
        let first = self.counted.times.map_or(entry.time, |(first, _)| first);
        self.counted.times = Some((first, entry.time));
        match &recorded.event {
            Event::ReceiptIssued(receipt) => self.receipt(&recorded, receipt, exported.stub)?,
            Event::Redeemed(redeemed) => self.redemption(&recorded, redeemed)?,
            Event::Reversed(reversed) => self.reversal(&recorded, reversed)?,
            Event::CampaignSigned(signed) => {
                self.campaign(signed.id, Some(&signed.credential))?;
            }
            Event::RedeemerHalf(half) => self.redeemer_half(&recorded, half)?,
            Event::ReceiptErased(_) => self.counted.erasures += 1,
            Event::Genesis(_)
            | Event::BatchIssued(_)
            | Event::StatusSet(_)
            | Event::StatusListSigned(_)
            | Event::Intent(_)
            | Event::IntentEnded(_)
            | Event::CancelWished(_)
            | Event::RequestCancelled(_)
            | Event::CredentialKeyAdded(_) => {}
        }
        match recorded.event {
            Event::ReceiptIssued(_) | Event::StatusListSigned(_) => Ok(()),
            _ => self.proof(index),
        }
    }

    fn receipt(&mut self, recorded: &Recorded, receipt: &ReceiptIssued, stub: &[u8]) -> anyhow::Result<()> {
        self.counted.receipts += 1;
        let content = match stub {
            [] => None,
            // It is what the entry names: that was checked when it was read.
            stub => Some(Signed::<ReceiptStub>::parse(stub)?.into_content()),
        };
        let mut row = vec![
            recorded.index.to_string(),
            recorded.time.rfc3339(),
            receipt.at.unwrap_or(recorded.time).rfc3339(),
            cell(receipt.register.as_str()),
            receipt.sequence_number.to_string(),
        ];
        match &content {
            Some(content) => {
                let (letters, kind) = (content.currency.letters(), content.kind.word());
                row.extend([
                    kind.to_owned(),
                    letters.to_owned(),
                    content.currency.decimal(content.total),
                ]);
                let sum = self
                    .counted
                    .sums
                    .entry((receipt.register.as_str().to_owned(), letters, kind))
                    .or_default();
                *sum = (sum.0 + 1, sum.1 + i128::from(content.total.minor_units()));
            }
            None => {
                self.counted.without_stub += 1;
                row.extend([String::new(), String::new(), String::new()]);
            }
        }
        row.push(mark(receipt.mark).to_owned());
        row.push(cell(&receipt.tag.to_string()));
        self.receipts.write_record(&row)?;
        if content.is_some() {
            let line = json!({"id": receipt.tag.to_string(), "credential": BASE64URL_NOPAD.encode(stub)});
            writeln!(self.stubs, "{line}")?;
        }
        Ok(())
    }

    fn redemption(&mut self, recorded: &Recorded, redeemed: &Redeemed) -> anyhow::Result<()> {
        self.counted.redemptions += 1;
        let campaign = self.campaign(redeemed.campaign, None)?;
        let row = [
            recorded.index.to_string(),
            recorded.time.rfc3339(),
            redeemed.at.unwrap_or(recorded.time).rfc3339(),
            "redemption".to_owned(),
            id(redeemed.id),
            String::new(),
            cell(&redeemed.campaign.to_string()),
            cell(&campaign.name),
            redeemed.name.to_string(),
            letters(&campaign),
            money(&campaign, redeemed.amount),
            money(&campaign, redeemed.basket_total),
            String::new(),
            redeemed
                .place
                .register()
                .map_or_else(String::new, |register| cell(register.as_str())),
            cell(&redeemed.issuer),
            cell(&redeemed.redeemer),
        ];
        Ok(self.redemptions.write_record(&row)?)
    }

    fn reversal(&mut self, recorded: &Recorded, reversed: &Reversed) -> anyhow::Result<()> {
        self.counted.reversals += 1;
        let campaign = self.campaign(reversed.campaign, None)?;
        let taken_back = Amount::ZERO.minus(reversed.amount).unwrap_or(reversed.amount);
        let row = [
            recorded.index.to_string(),
            recorded.time.rfc3339(),
            reversed.at.unwrap_or(recorded.time).rfc3339(),
            "reversal".to_owned(),
            id(reversed.id),
            id(reversed.redemption),
            cell(&reversed.campaign.to_string()),
            cell(&campaign.name),
            reversed.name.to_string(),
            letters(&campaign),
            money(&campaign, taken_back),
            String::new(),
            if reversed.give_back { "yes" } else { "no" }.to_owned(),
            String::new(),
            String::new(),
            reversed
                .partner
                .as_ref()
                .map_or_else(String::new, |call| cell(&call.redeemer)),
        ];
        Ok(self.redemptions.write_record(&row)?)
    }

    /// A redemption at this co-op of another's coupon, or the reversal of one.
    fn redeemer_half(&mut self, recorded: &Recorded, half: &RedeemerHalf) -> anyhow::Result<()> {
        let known = Known {
            name: String::new(),
            currency: Some(half.currency),
        };
        let (kind, reversed, amount) = match half.reverses {
            None => {
                self.counted.redemptions += 1;
                ("redemption", String::new(), half.amount)
            }
            Some(reverses) => {
                self.counted.reversals += 1;
                let taken_back = Amount::ZERO.minus(half.amount).unwrap_or(half.amount);
                ("reversal", id(reverses.redemption), taken_back)
            }
        };
        let row = [
            recorded.index.to_string(),
            recorded.time.rfc3339(),
            recorded.time.rfc3339(),
            kind.to_owned(),
            id(half.id),
            reversed,
            cell(&half.campaign.to_string()),
            String::new(),
            String::new(),
            letters(&known),
            money(&known, amount),
            String::new(),
            String::new(),
            String::new(),
            cell(&half.issuer),
            cell(&did_web(&self.tree.signed().checkpoint.origin)),
        ];
        Ok(self.redemptions.write_record(&row)?)
    }

    /// What is known of a campaign: out of its entry, or as the node shows it. Written
    /// down once.
    fn campaign(&mut self, campaign: CampaignId, credential: Option<&[u8]>) -> anyhow::Result<Known> {
        if let Some(known) = self.known.get(&campaign) {
            return Ok(known.clone());
        }
        let shown = match credential {
            Some(credential) => Some(credential.to_vec()),
            None => self.shown(campaign)?,
        };
        let signed = shown.and_then(|bytes| Some((Signed::<Campaign>::parse(&bytes).ok()?, bytes)));
        let known = match signed {
            Some((signed, bytes)) if signed.id() == campaign => {
                let content = signed.content();
                let terms = &content.terms;
                self.campaigns.write_record([
                    cell(&campaign.to_string()),
                    cell(&terms.name),
                    terms.currency.letters().to_owned(),
                    content.not_before.rfc3339(),
                    content.not_after.rfc3339(),
                    cell(&terms.text),
                ])?;
                let path = self.dir.join(format!("credentials/campaigns/{campaign}.cose"));
                fs::write(&path, &bytes).with_context(|| format!("could not write {}", path.display()))?;
                Known {
                    name: terms.name.clone(),
                    currency: Some(terms.currency),
                }
            }
            // Who shows another one than its identity says shows none.
            _ => Known {
                name: String::new(),
                currency: None,
            },
        };
        self.known.insert(campaign, known.clone());
        Ok(known)
    }

    fn shown(&self, campaign: CampaignId) -> anyhow::Result<Option<Vec<u8>>> {
        let path = format!("v1/campaigns/{campaign}");
        let Some(answer) = self.source.get(&path, limits::BODY_BYTES_MAX)? else {
            return Ok(None);
        };
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let credential = answer["credential"].as_str().unwrap_or_default();
        Ok(BASE64URL_NOPAD.decode(credential.as_bytes()).ok())
    }

    /// The proof that an entry is in the log, as other people's tools read it.
    fn proof(&self, index: u64) -> anyhow::Result<()> {
        let proof = TlogProof {
            extra: None,
            index,
            path: self.tree.inclusion(index)?,
            checkpoint: self.tree.signed().note.to_string(),
        };
        let path = self.dir.join(format!("proofs/{index}.tlog-proof"));
        fs::write(&path, proof.to_string()).with_context(|| format!("could not write {}", path.display()))
    }

    /// Writes out what is left, and says what it was.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(mut self) -> anyhow::Result<Counted> {
        for table in [&mut self.receipts, &mut self.redemptions, &mut self.campaigns] {
            table.flush()?;
        }
        self.stubs.flush()?;
        Ok(self.counted)
    }
}

fn id(id: RedemptionId) -> String {
    cell(&id.to_string())
}

fn mark(mark: Mark) -> &'static str {
    match mark {
        Mark::Live => "live",
        Mark::Offline => "offline",
        Mark::Import => "import",
    }
}

/// The `did:web` of the co-op whose log has this origin.
fn did_web(origin: &str) -> String {
    format!("did:web:{}", origin.replace(':', "%3A"))
}

fn letters(campaign: &Known) -> String {
    campaign
        .currency
        .map_or_else(String::new, |currency| currency.letters().to_owned())
}

/// In the currency's unit; in minor units where the currency is not known.
fn money(campaign: &Known, amount: Amount) -> String {
    match campaign.currency {
        Some(currency) => currency.decimal(amount),
        None => amount.minor_units().to_string(),
    }
}

/// A text as a cell that no spreadsheet takes for a formula: one identity in 64 begins
/// with a minus.
fn cell(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if plain.starts_with(['=', '+', '-', '@']) {
        format!("'{plain}")
    } else {
        plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_identity_is_a_formula() {
        let minus = RedemptionId([0xfb; 16]).to_string();
        assert!(minus.starts_with('-'));
        assert_eq!(id(RedemptionId([0xfb; 16])), format!("'{minus}"));
    }

    #[test]
    fn no_cell_is_a_formula() {
        assert_eq!(cell("till-1"), "till-1");
        for text in ["=1+1", "+1", "-1", "@A1"] {
            assert_eq!(cell(text), format!("'{text}"));
        }
        assert_eq!(cell("\t=1"), " =1");
    }
}

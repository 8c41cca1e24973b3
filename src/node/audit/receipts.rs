//! Receipts: what lies beside their entries. The costly part of an audit (a
//! signature check each), so it is done by all cores while one reads on.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use crate::credential::details::ReceiptDetails;
use crate::credential::{CredentialError, ReceiptKind, ReceiptStub, StubToVerify, receipt_tag};
use crate::encoding::cbor::{self, GateError};
use crate::ledger::{End, Event, ReceiptDraft, ReceiptIssued};
use crate::log::entry_hash;
use crate::node::answers::ReceiptRecord;
use crate::primitives::{Amount, Currency, Digest, KeyId, Register, Tag, UnixSeconds, limits};
use crate::store::{Engine, beside};

use super::finding::{Findings, Rule};
use super::keys::{CredentialKeys, Signature, Unchecked};
use super::saved::{In, Keep, Out, keep};

/// Receipts handed to a worker at a time, whose signatures share a division.
const JOBS_MAX: usize = 32;

/// Entries whose records are read together.
const CHUNK_MAX: usize = 512;

/// A receipt's entry with what lies beside it.
pub(super) struct Job {
    index: u64,
    time: UnixSeconds,
    receipt: ReceiptIssued,
    beside: Held,
}

/// Receipts that are checked together, with the keys that were named before them.
pub(super) struct Jobs {
    receipts: Vec<Job>,
    keys: Arc<CredentialKeys>,
}

/// What is at hand of a receipt besides its entry.
enum Held {
    /// The stored record: stub, secret and details.
    Record(Vec<u8>),
    /// The stub alone, which is all that a node shows to others.
    Stub(Vec<u8>),
}

/// Receipts of one register, currency and type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TotalKey {
    /// The register.
    pub register: Register,
    /// Letters of the currency.
    pub currency: &'static str,
    /// The type's word.
    pub kind: &'static str,
}

/// How many receipts, and what they come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Receipts.
    pub count: u64,
    /// Sum of their totals in minor units.
    pub sum: i128,
}

/// Totals by register, currency and type.
pub type Totals = BTreeMap<TotalKey, Total>;

keep!(Total { count, sum });

impl Keep for TotalKey {
    fn write(&self, out: &mut Out) -> io::Result<()> {
        self.register.write(out)?;
        self.currency.to_owned().write(out)?;
        self.kind.to_owned().write(out)
    }

    fn read(from: &mut In) -> Result<Self, String> {
        let register = Keep::read(from)?;
        let currency = Currency::from_letters(&String::read(from)?).map_err(|error| error.to_string())?;
        let kind = ReceiptKind::from_word(&String::read(from)?).ok_or("it names no type of receipt")?;
        Ok(Self {
            register,
            currency: currency.letters(),
            kind: kind.word(),
        })
    }
}

/// What one worker has found.
#[derive(Default)]
pub(super) struct Outcome {
    pub findings: Findings,
    pub totals: Totals,
    /// Entries of receipts beside which only the stub lies.
    pub bare: Vec<u64>,
    pub unchecked: Unchecked,
}

/// Checks jobs until the other side hangs up.
pub(super) fn work(jobs: &Receiver<Jobs>) -> Outcome {
    let mut outcome = Outcome::default();
    for Jobs { receipts, keys } in jobs {
        let read: Vec<_> = receipts.iter().map(read).collect();
        let judged = verify(&read, &keys);
        for ((job, read), signature) in receipts.iter().zip(read).zip(judged) {
            let has_details = read.as_ref().is_none_or(|read| read.details.is_some());
            if matches!(job.beside, Held::Record(_)) && !has_details {
                outcome.bare.push(job.index);
            }
            let Some(stub) = check(job, read, (&keys, signature), &mut outcome) else {
                continue;
            };
            let total = outcome
                .totals
                .entry(TotalKey {
                    register: stub.register,
                    currency: stub.currency.letters(),
                    kind: stub.kind.word(),
                })
                .or_default();
            total.count += 1;
            total.sum += i128::from(stub.total.minor_units());
        }
    }
    outcome
}

/// What lies beside a receipt's entry, decoded.
struct Read {
    /// The receipt's tag, as the stub gives it.
    tag: Tag,
    stub: Result<StubToVerify, CredentialError>,
    /// The details, and the root that they give.
    details: Option<(ReceiptDetails, Digest)>,
}

fn read(job: &Job) -> Option<Read> {
    let (stub, details) = match &job.beside {
        Held::Record(record) => ReceiptRecord::decode_with_root(record)?,
        Held::Stub(stub) => (stub.as_slice(), None),
    };
    Some(Read {
        tag: receipt_tag(stub),
        stub: StubToVerify::parse(stub),
        details,
    })
}

/// What each stub's signature is worth; stubs that cannot be read have none.
fn verify(read: &[Option<Read>], keys: &CredentialKeys) -> Vec<Signature> {
    let stubs = || {
        read.iter()
            .map(|read| read.as_ref().and_then(|read| read.stub.as_ref().ok()))
    };
    let signed: Vec<(KeyId, &[u8], &[u8; 64])> = stubs()
        .flatten()
        .map(|stub| (stub.kid, &stub.message[..], &stub.signature))
        .collect();
    let mut judged = keys.judge_each(&signed).into_iter();
    stubs()
        .map(|stub| stub.and_then(|_| judged.next()).unwrap_or(Signature::Wrong))
        .collect()
}

/// Checks one receipt; its stub comes back where it can be counted.
fn check(
    job: &Job,
    read: Option<Read>,
    (keys, signature): (&CredentialKeys, Signature),
    outcome: &mut Outcome,
) -> Option<ReceiptStub> {
    let index = job.index;
    let (findings, unchecked) = (&mut outcome.findings, &mut outcome.unchecked);
    let Some(Read { tag, stub, details }) = read else {
        findings.at(
            index,
            Rule::DetailsUnreadable,
            "what lies beside this receipt's entry is not a receipt's record",
        );
        return None;
    };
    let mut note = |rule, message: String| findings.at(index, rule, message);
    if tag != job.receipt.tag {
        note(
            Rule::ReceiptTag,
            "the signed stub that lies beside this entry is not the one that the entry names by its tag"
                .to_owned(),
        );
    }
    let StubToVerify { stub, kid, .. } = match stub {
        Ok(stub) => stub,
        Err(error) => {
            note(
                Rule::ReceiptSignature,
                format!("the stub cannot be read as a signed receipt: {error}"),
            );
            return None;
        }
    };
    match signature {
        Signature::Good => {}
        Signature::Wrong => note(
            Rule::ReceiptSignature,
            "the stub's signature does not fit this log's credential key".to_owned(),
        ),
        Signature::Foreign => note(
            Rule::ReceiptSignature,
            format!("the stub is signed under the key {kid}, this log's credential key is {keys}"),
        ),
        Signature::Unknown => unchecked.add(kid),
    }
    let at = job.receipt.at.unwrap_or(job.time);
    for (what, differs) in [
        ("register", stub.register != job.receipt.register),
        (
            "sequence number",
            stub.sequence_number != job.receipt.sequence_number,
        ),
        ("time of sale", stub.issued_at != at),
    ] {
        if differs {
            note(
                Rule::ReceiptDiffers,
                format!("the signed stub says another {what} than its entry"),
            );
        }
    }
    let Some((details, root)) = details else {
        return Some(stub);
    };
    if root != stub.details_root {
        note(
            Rule::DetailsRoot,
            "lines, tenders and taxes beside this entry do not give the details root that the stub signs"
                .to_owned(),
        );
        // Sums over details that nobody signed say nothing.
        return Some(stub);
    }
    if let Err(why) = add_up(&stub, job, details) {
        note(Rule::ReceiptTotals, why);
    }
    Some(stub)
}

/// Whether prices include tax is not kept, so a receipt adds up when it does
/// one way or the other.
fn add_up(stub: &ReceiptStub, job: &Job, details: ReceiptDetails) -> Result<(), String> {
    let mut draft = ReceiptDraft {
        register: stub.register.clone(),
        kind: stub.kind,
        currency: stub.currency,
        issued_at: stub.issued_at,
        mark: job.receipt.mark,
        prices_include_tax: true,
        total: stub.total,
        details,
    };
    // The time is judged elsewhere: here the receipt is asked at its own.
    let Err(included) = draft.check(stub.issued_at) else {
        return Ok(());
    };
    draft.prices_include_tax = false;
    let Err(excluded) = draft.check(stub.issued_at) else {
        return Ok(());
    };
    if included == excluded {
        return Err(format!("the receipt breaks the rules for totals: {included}"));
    }
    Err(format!(
        "the receipt does not add up. With tax in the prices: {included}. With tax on top: {excluded}"
    ))
}

/// What may lie beside an entry.
enum Beside {
    Receipt(UnixSeconds, ReceiptIssued),
    /// An entry of a partner's log with this hash, and what proves it.
    Proof(Digest),
    Anything,
    Nothing,
}

/// Where what lies beside entries comes from.
#[derive(Clone, Copy)]
pub(super) enum BesideSource<'a> {
    /// Rows of the store.
    Store(&'a dyn Engine),
    /// Stubs that come with the entries ([`Desk::stub`]).
    Served,
    /// Nothing can be had.
    Nowhere,
}

/// Gathers entries, reads the records beside them, and hands receipts on.
pub(super) struct Desk<'a> {
    source: BesideSource<'a>,
    jobs: Option<Sender<Jobs>>,
    /// Those that may have signed what is gathered; `None` where entry 0 names none.
    keys: Option<Arc<CredentialKeys>>,
    chunk: Vec<(u64, Beside)>,
    /// Stubs of the chunk that came with their entries.
    stubs: BTreeMap<u64, Vec<u8>>,
    batch: Vec<Job>,
}

impl<'a> Desk<'a> {
    pub fn new(source: BesideSource<'a>, keys: Option<CredentialKeys>) -> Self {
        Self {
            source,
            jobs: None,
            keys: keys.map(Arc::new),
            chunk: Vec::new(),
            stubs: BTreeMap::new(),
            batch: Vec::new(),
        }
    }

    /// Hands receipts on to whoever takes `jobs`.
    pub fn open(&mut self, jobs: Sender<Jobs>) {
        self.jobs = Some(jobs);
    }

    /// What comes from here on may be signed with these keys.
    pub fn go_on_with(&mut self, keys: &CredentialKeys, findings: &mut Findings) {
        self.flush_all(findings);
        self.keys = Some(Arc::new(keys.clone()));
    }

    /// What is said to lie beside entry `index`.
    pub fn stub(&mut self, index: u64, stub: &[u8]) {
        if !stub.is_empty() {
            self.stubs.insert(index, stub.to_vec());
        }
    }

    /// A receipt's entry: a record must lie beside it.
    pub fn receipt(&mut self, index: u64, time: UnixSeconds, receipt: ReceiptIssued) {
        self.chunk.push((index, Beside::Receipt(time, receipt)));
    }

    /// Another event's entry.
    pub fn other(&mut self, index: u64, event: &Event) {
        let beside = match event {
            Event::StatusSet(_) => Beside::Anything,
            Event::RedeemerHalf(half) => Beside::Proof(half.issuer_hash),
            Event::IntentEnded(ended) => match ended.end {
                End::Cancelled { issuer_hash, .. } => Beside::Proof(issuer_hash),
                End::Refused { .. } => Beside::Nothing,
            },
            _ => Beside::Nothing,
        };
        self.chunk.push((index, beside));
    }

    /// An entry that cannot be read.
    pub fn unknown(&mut self, index: u64) {
        self.chunk.push((index, Beside::Anything));
    }

    /// Reads records once enough entries have come together.
    pub fn step(&mut self, findings: &mut Findings) {
        if self.chunk.len() >= CHUNK_MAX {
            self.flush(findings);
        }
    }

    /// Hands everything on.
    pub fn flush_all(&mut self, findings: &mut Findings) {
        self.flush(findings);
        self.send();
    }

    /// Lets those end who take receipts.
    pub fn hang_up(&mut self) {
        self.jobs = None;
    }

    fn flush(&mut self, findings: &mut Findings) {
        let chunk = std::mem::take(&mut self.chunk);
        let (Some((first, _)), Some((last, _))) = (chunk.first(), chunk.last()) else {
            return;
        };
        let mut held = match self.source {
            BesideSource::Store(engine) => read_records(engine, *first, *last, &chunk),
            BesideSource::Served => self
                .stubs_to(*last)
                .into_iter()
                .map(|(index, stub)| (index, Ok(Held::Stub(stub))))
                .collect(),
            BesideSource::Nowhere => return,
        };
        for (index, beside) in chunk {
            match (beside, held.remove(&index)) {
                (Beside::Receipt(time, receipt), Some(Ok(beside))) => {
                    self.batch.push(Job {
                        index,
                        time,
                        receipt,
                        beside,
                    });
                    if self.batch.len() >= JOBS_MAX {
                        self.send();
                    }
                }
                (Beside::Receipt(_, receipt), None) => {
                    let what = match self.source {
                        BesideSource::Store(_) => {
                            "neither its signed stub nor its details are in the store, and an erasure leaves the stub"
                        }
                        BesideSource::Served | BesideSource::Nowhere => "its signed stub is not shown",
                    };
                    findings.at(
                        index,
                        Rule::DetailsMissing,
                        format!(
                            "receipt {} of register {}: {what}",
                            receipt.sequence_number, receipt.register
                        ),
                    );
                }
                (Beside::Proof(hash), Some(Ok(Held::Record(bytes)))) if !is_about(&bytes, &hash) => {
                    findings.at(
                        index,
                        Rule::ProofDiffers,
                        "the proof beside this entry is not of the partner's entry that it names",
                    );
                }
                (Beside::Receipt(..) | Beside::Proof(_) | Beside::Anything, Some(Err(why))) => {
                    findings.at(index, Rule::DetailsUnreadable, why);
                }
                (Beside::Nothing, Some(_)) => findings.at(
                    index,
                    Rule::DetailsUnexpected,
                    "a record lies beside this entry, and entries of its kind have none",
                ),
                (Beside::Proof(_) | Beside::Anything | Beside::Nothing, _) => {}
            }
        }
    }

    /// Takes the stubs up to entry `last`: that of the entry under way is here already.
    fn stubs_to(&mut self, last: u64) -> BTreeMap<u64, Vec<u8>> {
        let later = self.stubs.split_off(&last.saturating_add(1));
        std::mem::replace(&mut self.stubs, later)
    }

    fn send(&mut self) {
        let receipts = std::mem::take(&mut self.batch);
        if let (false, Some(jobs), Some(keys)) = (receipts.is_empty(), &self.jobs, &self.keys) {
            let keys = Arc::clone(keys);
            // It fails only when every worker has panicked; their join says so.
            let _ = jobs.send(Jobs { receipts, keys });
        }
    }
}

/// Whether a kept proof, `[entry, COSE receipt, checkpoint]`, is of the entry with `hash`.
fn is_about(proof: &[u8], hash: &Digest) -> bool {
    const FORM: &str = "a kept proof is an entry, a receipt and a checkpoint";
    let read = || -> Result<bool, GateError> {
        let proof = cbor::decode(proof, proof.len())?;
        let [entry, _, _] = cbor::as_tuple(&proof, FORM)?;
        Ok(entry_hash(cbor::as_bytes(entry, FORM)?) == *hash)
    };
    read() == Ok(true)
}

type Records = BTreeMap<u64, Result<Held, String>>;

/// The records beside entries `first..=last`. Where a row is damaged they are
/// read one by one, so that one bad row does not hide the others.
fn read_records(engine: &dyn Engine, first: u64, last: u64, chunk: &[(u64, Beside)]) -> Records {
    let mut records = Records::new();
    let scanned = beside::scan(engine, first, &mut |index, bytes| {
        if index > last {
            return ControlFlow::Break(());
        }
        records.insert(index, Ok(Held::Record(bytes.to_vec())));
        ControlFlow::Continue(())
    });
    if scanned.is_err() {
        for (index, beside_entry) in chunk {
            let read = match beside_entry {
                Beside::Receipt(..) | Beside::Proof(_) => beside::read(engine, *index),
                Beside::Anything | Beside::Nothing => continue,
            };
            match read {
                Ok(Some(bytes)) => records.insert(*index, Ok(Held::Record(bytes))),
                Ok(None) => records.remove(index),
                Err(error) => records.insert(*index, Err(error.to_string())),
            };
        }
    }
    records
}

/// Says where `at` lies too far from the entry's time: unmarked entries by
/// more than `CLOCK_SKEW_SECONDS_MAX`, marked ones by as much ahead of it.
pub(super) fn check_at(at: Option<UnixSeconds>, time: UnixSeconds, marked: bool) -> Option<String> {
    let at = at?;
    let seconds = at.distance(time);
    if seconds <= limits::CLOCK_SKEW_SECONDS_MAX || (marked && at < time) {
        return None;
    }
    let side = if at < time { "before" } else { "after" };
    Some(format!(
        "the time that counts lies {seconds} seconds {side} the entry's own time{}; {} seconds are allowed",
        if marked {
            ""
        } else {
            ", and nothing marks it as offline or imported"
        },
        limits::CLOCK_SKEW_SECONDS_MAX
    ))
}

/// A sum of minor units as people read it.
#[must_use]
pub fn show_sum(currency: &str, sum: i128) -> String {
    let amount = i64::try_from(sum).ok().and_then(|units| Amount::new(units).ok());
    match (Currency::from_letters(currency), amount) {
        (Ok(currency), Some(amount)) => currency.show(amount),
        _ => format!("{sum} minor units of {currency}"),
    }
}

/// Whether receipts of this type count as turnover: training does not.
#[must_use]
pub fn is_turnover(kind: &str) -> bool {
    kind != ReceiptKind::Training.word()
}

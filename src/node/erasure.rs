//! Erasure: what is personal of receipts is removed for good, on request.
//!
//! Of what lies beside a receipt's entry (formats.md, section 4) the signed stub
//! stays, which names no person; lines, tenders, cashier, member, till reference
//! and the secret go. So log, totals and audit stay whole, but no answer can be
//! made any more. An entry says when it was done and why, and is durable in the
//! same commit as the removal: data that is missing without one is a finding.
//!
//! A member's receipts are found by reading what lies beside all of them, since
//! no index leads from a person to anything. They are erased some with a commit,
//! so that tills never wait for all of them; the last entry answers the request,
//! which may be sent again after a crash and then erases what is left.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use crate::credential::receipt_tag;
use crate::ledger::{Answers, Event, ReceiptErased, Recorded, Refusal};
use crate::primitives::{Tag, limits};
use crate::store::beside;

use super::answers::{EntryRef, ReceiptRecord};
use super::commands::{Command, expect_recorded};
use super::find::{Lookup as _, misplaced, receipt_key};
use super::pending::Pending;
use super::requests::Caller;
use super::writer::{Shared, Writer};
use super::{Node, NodeError};

const NOBODYS: NodeError = NodeError::NotFound(
    "no receipt that was issued here names this member, or all of them were erased before",
);

/// What is to be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErasureTarget {
    /// One receipt.
    Receipt(Tag),
    /// All receipts that name this member.
    Member(String),
}

/// An erasure that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErasureAnswer {
    /// Receipts erased.
    pub erased: u64,
    /// The last one's entry.
    pub entry: EntryRef,
}

/// Some receipts of a request, as the writer is asked for them.
pub(super) struct Erasures {
    /// Each receipt's entry and tag.
    receipts: Vec<(u64, Tag)>,
    reason: Arc<str>,
    /// Receipts that the request has erased before these.
    erased_before: u64,
}

impl Node {
    /// Erases what is personal of one receipt, or of all of a member's. The bytes
    /// are gone from the disk once the store is compacted.
    ///
    /// # Errors
    /// [`NodeError::NotFound`], [`NodeError::Erased`] for a receipt that was erased
    /// before, [`Refusal::ErasureReasonInvalid`]; nothing has changed then.
    /// [`NodeError::ErasedInPart`] where rows beside the log cannot be read: all
    /// others were looked at. After any other, a part of a member's receipts may be erased: the same request
    /// again erases the rest.
    pub async fn erase(
        &self,
        caller: &Caller,
        target: ErasureTarget,
        reason: &str,
    ) -> Result<ErasureAnswer, NodeError> {
        let shared = &self.inner.shared;
        let is_readable = !reason.chars().any(char::is_control);
        if !(is_readable && (1..=limits::REASON_BYTES_MAX).contains(&reason.len())) {
            return Err(Refusal::ErasureReasonInvalid.into());
        }
        let answers = shared.hasher.answers(caller, None);
        if let Some(index) = shared.newest(answers.key)? {
            let first = shared.entry(index)?;
            return match first.answers {
                Some(given) if given.request == answers.request => erasure_answer(&first),
                _ => Err(Refusal::KeyReused.into()),
            };
        }
        let reason = Arc::from(reason);
        match target {
            ErasureTarget::Receipt(tag) => {
                let (receipt, _) = shared.receipt_issued(&tag)?;
                let receipts = vec![(receipt.index, tag)];
                self.erase_some(receipts, &reason, 0, Some(answers)).await
            }
            ErasureTarget::Member(member) => {
                let turn = shared.erasing.begin(answers.key)?;
                // It goes on when the caller has gone away, who then learns what
                // became of it by asking again.
                let node = self.clone();
                let all = tokio::spawn(async move {
                    let _turn = turn;
                    node.erase_all_of(member, &reason, answers).await
                });
                all.await
                    .map_err(|error| NodeError::Inconsistent(error.to_string()))?
            }
        }
    }

    async fn erase_all_of(
        &self,
        member: String,
        reason: &Arc<str>,
        answers: Answers,
    ) -> Result<ErasureAnswer, NodeError> {
        let (mut from, mut erased, member) = (0, 0, Arc::<str>::from(member));
        let mut unread = Unread::default();
        loop {
            let (node, wanted) = (self.clone(), Arc::clone(&member));
            let looked = tokio::task::spawn_blocking(move || node.inner.shared.receipts_of(&wanted, from));
            let looked = looked
                .await
                .map_err(|error| NodeError::Inconsistent(error.to_string()))?;
            let found = looked?;
            unread.add(found.unread);
            let is_all = found.next.is_none() && unread.rows == 0;
            if is_all || !found.receipts.is_empty() {
                if found.receipts.is_empty() {
                    return Err(NOBODYS);
                }
                // What is not done wholly is not answered, and may be asked for again.
                let answers = is_all.then_some(answers);
                let done = self.erase_some(found.receipts, reason, erased, answers).await?;
                if is_all {
                    return Ok(done);
                }
                erased = done.erased;
            }
            let Some(next) = found.next else {
                let Unread { rows, first } = unread;
                return Err(NodeError::ErasedInPart { erased, rows, first });
            };
            from = next;
        }
    }

    async fn erase_some(
        &self,
        receipts: Vec<(u64, Tag)>,
        reason: &Arc<str>,
        erased_before: u64,
        answers: Option<Answers>,
    ) -> Result<ErasureAnswer, NodeError> {
        let erasures = Erasures {
            receipts,
            reason: Arc::clone(reason),
            erased_before,
        };
        let reply = self.ask(Command::Erase(erasures), answers).await?;
        erasure_answer(expect_recorded(reply)?.as_ref())
    }
}

fn erasure_answer(recorded: &Recorded) -> Result<ErasureAnswer, NodeError> {
    match &recorded.event {
        Event::ReceiptErased(erasure) => Ok(ErasureAnswer {
            erased: erasure.erased,
            entry: recorded.into(),
        }),
        _ => Err(misplaced(recorded.index, "an erasure's")),
    }
}

/// The requests that are being worked on, by the hash of their key.
#[derive(Debug, Default)]
pub(super) struct Erasing(Arc<Mutex<BTreeSet<[u8; 16]>>>);

/// A request that is being worked on, until this is dropped.
struct Turn {
    key: [u8; 16],
    all: Arc<Mutex<BTreeSet<[u8; 16]>>>,
}

impl Erasing {
    fn begin(&self, key: [u8; 16]) -> Result<Turn, NodeError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.contains(&key) {
            return Err(NodeError::InProgress);
        }
        // Each of them reads all receipts.
        if all.len() >= limits::ERASURES_MAX {
            return Err(NodeError::Busy);
        }
        all.insert(key);
        Ok(Turn {
            key,
            all: Arc::clone(&self.0),
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.key);
    }
}

/// Rows beside the log that cannot be read.
#[derive(Default)]
struct Unread {
    rows: u64,
    /// The entries that some of them begin with.
    first: Vec<u64>,
}

impl Unread {
    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.first.extend(other.first);
        self.first.truncate(limits::ERASURE_ROWS_NAMED_MAX);
    }

    fn row(&mut self, first: u64) {
        // A record in several rows is told of more than once.
        if self.first.last() == Some(&first) {
            return;
        }
        self.rows += 1;
        if self.first.len() < limits::ERASURE_ROWS_NAMED_MAX {
            self.first.push(first);
        }
    }
}

/// Some of a member's receipts.
struct Found {
    /// At most `ERASED_PER_COMMIT`.
    receipts: Vec<(u64, Tag)>,
    /// The entry of the next one; `None` where these are all.
    next: Option<u64>,
    /// What could not be looked at on the way.
    unread: Unread,
}

impl Shared {
    /// Receipts from entry `from` on whose details name `member`.
    fn receipts_of(&self, member: &str, from: u64) -> Result<Found, NodeError> {
        let mut found = Found {
            receipts: Vec::new(),
            next: None,
            unread: Unread::default(),
        };
        let (wanted, mut unread) = (member.as_bytes(), Unread::default());
        let mut look = |index: u64, record: &[u8]| {
            // Decoding all of them would take ten times as long.
            if !record.windows(wanted.len().max(1)).any(|bytes| bytes == wanted) {
                return ControlFlow::Continue(());
            }
            let Some(record) = ReceiptRecord::decode(record) else {
                return ControlFlow::Continue(());
            };
            let named = record.personal.and_then(|personal| personal.details.member);
            if named.as_deref() != Some(member) {
                return ControlFlow::Continue(());
            }
            if found.receipts.len() == limits::ERASED_PER_COMMIT {
                found.next = Some(index);
                return ControlFlow::Break(());
            }
            found.receipts.push((index, receipt_tag(&record.stub)));
            ControlFlow::Continue(())
        };
        beside::scan_past(self.engine.as_ref(), from, &mut look, &mut |first, _| {
            unread.row(first);
            ControlFlow::Continue(())
        })?;
        found.unread = unread;
        Ok(found)
    }

    /// Where `tag` was erased, if it was.
    pub(super) fn erased(&self, tag: &Tag, newest: Option<u64>) -> Result<Option<NodeError>, NodeError> {
        let Some(newest) = newest else { return Ok(None) };
        let newest = self.entry(newest)?;
        Ok(match newest.event {
            Event::ReceiptErased(erased) if erased.tag == *tag => Some(NodeError::Erased {
                entry: newest.index,
                at: newest.time,
                reason: erased.reason,
            }),
            _ => None,
        })
    }
}

impl Writer {
    /// Erases receipts, an entry each; the last one's comes back, and it alone
    /// `answers`. Those that were erased meanwhile are left out.
    pub(super) fn erase(
        &mut self,
        asked: Erasures,
        answers: Option<Answers>,
        pending: &mut Pending,
    ) -> Result<Arc<Recorded>, NodeError> {
        let engine = Arc::clone(&self.shared.engine);
        let mut stubs = Vec::with_capacity(asked.receipts.len());
        let mut refused = NOBODYS;
        for (index, tag) in asked.receipts {
            let newest = self.index.lookup(engine.as_ref(), receipt_key(&tag));
            let newest = newest.map_err(|error| self.shared.index_error(error))?;
            if newest.is_some_and(|newest| pending.entry(newest).is_some()) {
                // Another request erases it in this very batch.
                refused = NodeError::InProgress;
                continue;
            }
            if let Some(error) = self.shared.erased(&tag, newest)? {
                refused = error;
                continue;
            }
            // All that can fail comes before the first entry.
            let stub = match beside::read(engine.as_ref(), index)? {
                Some(record) => Some(ReceiptRecord::stub_of(&record).map(<[u8]>::to_vec).ok_or_else(
                    || NodeError::Inconsistent(format!("what lies beside entry {index} cannot be read")),
                )?),
                // Lost with an earlier store: it never comes back now.
                None => None,
            };
            stubs.push((index, tag, stub));
        }
        let (mut erased, mut left) = (asked.erased_before, stubs.len());
        let mut last = Err(refused);
        for (receipt_entry, tag, stub) in stubs {
            (erased, left) = (erased + 1, left - 1);
            let event = Event::ReceiptErased(ReceiptErased {
                tag,
                receipt_entry,
                reason: asked.reason.to_string(),
                erased,
            });
            let answers = if left == 0 { answers } else { None };
            last = Ok(self.record(event, answers, pending)?);
            if let Some(stub) = stub {
                pending.replace_beside(receipt_entry, ReceiptRecord::encode_stub(&stub));
            }
        }
        last
    }
}

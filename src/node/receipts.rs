//! Receipts: checked and signed in the caller's thread under the number that the
//! register is expected to have next, recorded by the writer.

use crate::credential::details::WrittenDetails;
use crate::credential::{Content as _, ReceiptStub, receipt_tag};
use crate::ledger::{Answers, Event, Mark, ReceiptDraft, ReceiptIssued, WrittenDraft, own_time};

use super::answers::{EntryRef, Personal, ReceiptAnswer, ReceiptRecord};
use super::commands::{Command, ReceiptCommand, Reply, SignedReceipt, entry_of, expect_recorded};
use super::find::Lookup as _;
use super::numbers::NumberGuess;
use super::pending::Pending;
use super::requests::{Call, Caller, occurrence};
use super::writer::{Shared, Writer};
use super::{Node, NodeError};

/// A receipt that was checked.
pub struct CheckedReceipt {
    answers: Answers,
    content: ReceiptStub,
    secret: [u8; 32],
    mark: Mark,
    details: Vec<u8>,
    /// It seems to be a repeat.
    known: bool,
    guess: Option<NumberGuess>,
}

/// A receipt that was checked and signed, and waits for its place in the log.
pub struct PreparedReceipt {
    answers: Answers,
    command: Box<ReceiptCommand>,
}

impl PreparedReceipt {
    pub(super) fn into_command(self) -> (Command, Option<Answers>) {
        (Command::IssueReceipt(self.command), Some(self.answers))
    }
}

impl Node {
    /// Issues a receipt. The node adds the number, the secret and the salts.
    ///
    /// # Errors
    /// [`NodeError`]; nothing has changed then.
    pub async fn issue_receipt(
        &self,
        caller: &Caller,
        draft: ReceiptDraft,
    ) -> Result<ReceiptAnswer, NodeError> {
        let mut checked = self.check(caller, &draft, draft.details.write())?;
        self.number_receipt(&mut checked);
        let secret = checked.secret;
        let prepared = self.sign_receipt(checked);
        let command = Command::IssueReceipt(prepared.command);
        match self.ask(command, Some(prepared.answers)).await? {
            // What was stored is at hand: it need not be read back.
            Reply::Issued { recorded, stub } => {
                let details = draft.details;
                let record = ReceiptRecord {
                    stub,
                    personal: Some(Personal { secret, details }),
                };
                Ok(record.answer(&recorded)?.expect("all of it is there"))
            }
            reply => self.inner.shared.receipt_answer(expect_recorded(reply)?.as_ref()),
        }
    }

    /// Checks a receipt: what needs no look at the log's end.
    ///
    /// # Errors
    /// [`NodeError`]; nothing has changed then.
    pub fn check_receipt(&self, caller: &Caller, draft: WrittenDraft) -> Result<CheckedReceipt, NodeError> {
        let (draft, details) = draft.into_parts();
        self.check(caller, &draft, details)
    }

    fn check(
        &self,
        caller: &Caller,
        draft: &ReceiptDraft,
        details: WrittenDetails,
    ) -> Result<CheckedReceipt, NodeError> {
        let shared = &self.inner.shared;
        let reference = draft.details.till_reference.as_ref().map(|reference| {
            shared
                .hasher
                .reference(&draft.register, &Call::Receipt, reference)
        });
        let answers = shared.hasher.answers(caller, reference);
        // A repeat is common after an outage. It gets its answer however late
        // it comes, so its time is not judged again, and it must not use up a
        // number's guess.
        let by_reference = || match reference {
            Some(reference) => shared.newest(occurrence(reference, 0)),
            None => Ok(None),
        };
        let known = shared.newest(answers.key)?.is_some() || by_reference()?.is_some();
        if !known {
            draft.check(shared.now())?;
        }
        let secret = shared.entropy.bytes();
        let (details, details_root) = details.with_secret(&secret);
        let content = ReceiptStub {
            issued_at: draft.issued_at,
            total: draft.total,
            currency: draft.currency,
            register: draft.register.clone(),
            sequence_number: 0,
            kind: draft.kind,
            details_root,
        };
        Ok(CheckedReceipt {
            answers,
            content,
            secret,
            mark: draft.mark,
            details,
            known,
            guess: None,
        })
    }

    /// Gives a receipt the number that its register is expected to have next. Of
    /// receipts that are numbered in the order in which they are put in line none
    /// has to be signed again.
    pub fn number_receipt(&self, receipt: &mut CheckedReceipt) {
        if !receipt.known {
            let guess = self.inner.shared.next_numbers.take(&receipt.content.register);
            receipt.content.sequence_number = guess.number;
            receipt.guess = Some(guess);
        }
    }

    /// Signs a receipt under its number.
    #[must_use]
    pub fn sign_receipt(&self, receipt: CheckedReceipt) -> PreparedReceipt {
        let CheckedReceipt {
            answers,
            content,
            mark,
            details,
            guess,
            ..
        } = receipt;
        let signed = guess.map(|guess| (guess, self.inner.shared.sign_stub(&content, &details)));
        let command = Box::new(ReceiptCommand {
            content,
            mark,
            details,
            signed,
        });
        PreparedReceipt { answers, command }
    }

    /// Puts receipts in line together, behind those that were put there before:
    /// blocks the thread while the line is full. What comes back tells the entry
    /// of each, in their order, once it is durable.
    pub fn enqueue_receipts(
        &self,
        receipts: Vec<PreparedReceipt>,
    ) -> impl Future<Output = Vec<Result<EntryRef, NodeError>>> + Send + use<> {
        let count = receipts.len();
        let answer = self.insist(Command::IssueReceipts(receipts));
        let node = self.clone();
        async move {
            match node.answered(answer).await {
                Ok(Reply::Several(replies)) => replies.into_iter().map(entry_of).collect(),
                // The writer has stopped: none of them was answered.
                _ => (0..count).map(|_| Err(node.stopped_error())).collect(),
            }
        }
    }
}

impl Shared {
    /// Signs a receipt whose details are stored as `details`.
    pub(super) fn sign_stub(&self, content: &ReceiptStub, details: &[u8]) -> SignedReceipt {
        let stub = content.sign(&self.keyring.credential, self.options.algorithm);
        SignedReceipt {
            tag: receipt_tag(&stub),
            record: ReceiptRecord::encode(&stub, details),
            stub,
        }
    }
}

impl Writer {
    pub(super) fn issue_receipt(
        &mut self,
        receipt: ReceiptCommand,
        answers: Option<Answers>,
        pending: &mut Pending,
    ) -> Result<Reply, NodeError> {
        let ReceiptCommand {
            mut content,
            mark,
            details,
            signed,
        } = receipt;
        self.name_credential_key(pending)?;
        let sequence_number = self.state.next_sequence_number(&content.register);
        let (guess, signed) = match signed {
            Some((guess, signed)) if guess.number == sequence_number => (Some(guess), signed),
            // The caller's guess was overtaken: signing again here costs one signature.
            other => {
                content.sequence_number = sequence_number;
                let signed = self.shared.sign_stub(&content, &details);
                (other.map(|(guess, _)| guess), signed)
            }
        };
        let event = Event::ReceiptIssued(ReceiptIssued {
            tag: signed.tag,
            register: content.register,
            sequence_number,
            mark,
            at: own_time(content.issued_at, self.now()),
        });
        let recorded = self.record(event, answers, pending)?;
        if let Some(guess) = guess {
            guess.used(sequence_number);
        }
        pending.put_beside(recorded.index, signed.record);
        Ok(Reply::Issued {
            recorded,
            stub: signed.stub,
        })
    }
}

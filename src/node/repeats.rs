//! When a call under another `Idempotency-Key` is the same as an earlier one:
//! its till reference is, and its content (protocol, section 2, 'Retries').
//!
//! A till that writes its retry anew may order members or break lines in another
//! way. What counts is what the call means.

use crate::credential::details::ReceiptDetails;
use crate::credential::{ReceiptStub, Signed};
use crate::ledger::{Event, Mark, Recorded};
use crate::store::{Engine, beside};

use super::NodeError;
use super::answers::ReceiptRecord;
use super::commands::{Command, ReceiptCommand};
use super::intents::same_intent;
use super::pending::Pending;

/// Whether `command` asks for just what `first` records.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn same_content(
    engine: &dyn Engine,
    pending: &Pending,
    first: &Recorded,
    command: &Command,
) -> Result<bool, NodeError> {
    Ok(match (&first.event, command) {
        (Event::ReceiptIssued(_), Command::IssueReceipt(receipt)) => {
            let waiting = pending.beside.iter().find(|(index, _)| *index == first.index);
            let record = match waiting {
                Some((_, record)) => Some(record.clone()),
                None => beside::read(engine, first.index)?,
            };
            // Lost with an earlier store: whatever it said, it is not done twice.
            record.is_none_or(|record| same_receipt(first, &record, receipt) == Some(true))
        }
        (Event::Redeemed(redeemed), Command::Redeem(order)) => {
            redeemed.name == order.coupon.name
                && redeemed.basket_total == order.basket.total
                && order.amount.is_none_or(|amount| amount == redeemed.amount)
        }
        (Event::Reversed(reversed), Command::Reverse { order, .. }) => {
            reversed.give_back == order.give_back
                && order.amount.is_none_or(|amount| amount == reversed.amount)
        }
        (Event::Intent(first), Command::BeginIntent(new)) => same_intent(first, &new.intent),
        _ => false,
    })
}

/// A live receipt's time of sale is not compared: where the till gives none it
/// is the node's clock, which has gone on.
fn same_receipt(first: &Recorded, record: &[u8], receipt: &ReceiptCommand) -> Option<bool> {
    let Event::ReceiptIssued(issued) = &first.event else {
        return None;
    };
    let asked = &receipt.content;
    let record = ReceiptRecord::decode(record)?;
    let Some(personal) = record.personal else {
        // Erased or lost: whatever it said, it is not done twice.
        return Some(true);
    };
    let stub = Signed::<ReceiptStub>::parse(&record.stub).ok()?.into_content();
    let same_time = receipt.mark == Mark::Live || stub.issued_at == asked.issued_at;
    Some(
        issued.mark == receipt.mark
            && same_time
            && stub.register == asked.register
            && stub.kind == asked.kind
            && stub.currency == asked.currency
            && stub.total == asked.total
            && personal.details == ReceiptDetails::decode(&receipt.details).ok()?.0,
    )
}

//! Reading in one thread, issuing in another, with many receipts under way.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::{LocalBoxFuture, poll_immediate};
use futures_util::stream::FuturesUnordered;
use indicatif::ProgressBar;
use tokio::sync::mpsc;

use super::rows::{self, Found, Layout, RowCounts};
use super::sale::Sale;
use super::tally::Tally;
use super::target::{Failure, Outcome, Target};
use crate::primitives::limits;

struct Done {
    first_line: u64,
    name: String,
    rows: u64,
    result: Result<Outcome, Failure>,
}

type UnderWay = FuturesUnordered<LocalBoxFuture<'static, Done>>;

/// Imports everything that `reader` holds.
///
/// # Errors
/// When the file cannot be read on, the report not be written, or the node
/// fails: what was issued until then stays, and importing again goes on.
pub async fn run<R: Read + Send + 'static>(
    mut reader: csv::Reader<R>,
    layout: Box<dyn Layout>,
    target: Arc<Target>,
    tally: &mut Tally,
    progress: &ProgressBar,
) -> anyhow::Result<RowCounts> {
    let (found, mut queue) = mpsc::channel(limits::IMPORT_QUEUE_MAX);
    let reading = std::thread::spawn(move || {
        rows::read(&mut reader, layout.as_ref(), &mut |item| {
            // The other side is gone when the import has failed.
            if found.blocking_send(item).is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })
    });
    let mut under_way = UnderWay::new();
    let mut open = true;
    while open || !under_way.is_empty() {
        let room = under_way.len() < target.in_flight_max();
        tokio::select! {
            Some(done) = under_way.next(), if !under_way.is_empty() => settle(done, tally, progress)?,
            item = queue.recv(), if open && room => match item {
                None => open = false,
                Some(Found::Rejected(reject)) => tally.reject(&reject)?,
                Some(Found::Sale(sale)) => {
                    let mut sending = send(Arc::clone(&target), sale);
                    // Polled once at once, so that a directory's node signs and
                    // queues receipts in the order in which they stand in the file.
                    match poll_immediate(&mut sending).await {
                        Some(done) => settle(done, tally, progress)?,
                        None => under_way.push(sending),
                    }
                }
            },
        }
    }
    let read = reading.join().expect("reading does not panic");
    Ok(read?)
}

fn send(target: Arc<Target>, sale: Box<Sale>) -> LocalBoxFuture<'static, Done> {
    Box::pin(async move {
        let result = target.issue(&sale).await;
        Done {
            first_line: sale.first_line,
            rows: sale.rows,
            name: sale.name,
            result,
        }
    })
}

fn settle(done: Done, tally: &mut Tally, progress: &ProgressBar) -> anyhow::Result<()> {
    match done.result {
        Ok(outcome) => tally.issued(outcome, done.rows),
        Err(Failure::Refused(why)) => tally.refused(done.first_line, &done.name, done.rows, &why)?,
        Err(Failure::Fatal(error)) => {
            return Err(error.context(format!(
                "the import stopped at the receipt {} (line {}); importing again goes on from there",
                done.name, done.first_line
            )));
        }
    }
    if !progress.is_hidden() {
        progress.set_message(format!("{} receipts", tally.issued + tally.repeated));
    }
    Ok(())
}

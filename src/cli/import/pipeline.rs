//! Reading in one thread, understanding, checking and signing in as many as there
//! are cores, issuing in the order of the file in one more, with many receipts
//! under way.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Context as _;
use crossbeam_channel::Receiver;
use futures_util::future::BoxFuture;
use indicatif::ProgressBar;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::replay::Use;
use super::rows::{Found, Reject, RowCounts, Understood};
use super::sale::Sale;
use super::tally::Tally;
use super::target::{Failure, Issued, Outcome, Prepared, Target};
use super::turnstile::Turnstile;
use crate::node::IssuedCoupon;
use crate::primitives::{Amount, limits};

/// What is issued: its place in the file, name and size, and what became of it.
struct Done {
    line: u64,
    name: String,
    what: What,
    result: Result<Outcome, Failure>,
}

enum What {
    /// A receipt of so many rows, and its total.
    Receipt(u64, Amount),
    /// A redemption.
    Used(Box<Use>),
}

/// What stood in the file at one place, ready for the next step; `R` is what was
/// made of a receipt.
enum Ready<R> {
    Receipt(Box<Sale>, Result<R, Failure>),
    Used(Box<Use>),
    Rejected(Reject),
    SetAside(Reject),
}

impl<R> Ready<R> {
    fn map<S>(self, make: impl FnOnce(R) -> S) -> Ready<S> {
        match self {
            Self::Receipt(sale, made) => Ready::Receipt(sale, made.map(make)),
            Self::Used(used) => Ready::Used(used),
            Self::Rejected(reject) => Ready::Rejected(reject),
            Self::SetAside(reject) => Ready::SetAside(reject),
        }
    }
}

/// The same with coupons that are being issued.
enum Next {
    Receipt(Box<Sale>, Result<Prepared, Failure>),
    Used(JoinHandle<(Box<Use>, Result<IssuedCoupon, Failure>)>),
    Rejected(Reject),
    SetAside(Reject),
}

/// A few neighbours in the file: handing them on together spares the threads
/// waking each other for each.
type Chunk = Vec<Found>;

/// A chunk with its number, and where its result goes.
type Work = (u64, Chunk, oneshot::Sender<ReadyChunk>);
type ReadyChunk = (Vec<Ready<Prepared>>, RowCounts);

/// Where the result of each chunk will come, in the order of the file.
type InOrder = mpsc::Receiver<oneshot::Receiver<ReadyChunk>>;

/// Where what is read goes.
pub type Emit<'a> = &'a mut dyn FnMut(Found) -> ControlFlow<()>;

/// Imports everything that `read` finds, and gives what it says at its end
/// beside what was counted after it.
///
/// # Errors
/// When the file cannot be read on, the report not be written, or the node
/// fails: what was issued until then stays, and importing again goes on.
pub async fn run<T: Send + 'static>(
    read: impl FnOnce(Emit<'_>) -> anyhow::Result<T> + Send + 'static,
    target: Arc<Target>,
    tally: &mut Tally,
    progress: &ProgressBar,
) -> anyhow::Result<(T, RowCounts)> {
    let (work, workers) = crossbeam_channel::bounded(limits::IMPORT_CHUNKS_MAX);
    let (order, in_order) = mpsc::channel(limits::IMPORT_CHUNKS_MAX);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let turnstile = Arc::new(Turnstile::default());
    let preparing: Vec<_> = (0..cores)
        .map(|_| {
            let (workers, target) = (workers.clone(), Arc::clone(&target));
            let turnstile = Arc::clone(&turnstile);
            std::thread::spawn(move || prepare_all(&workers, &target, &turnstile))
        })
        .collect();
    drop(workers);
    let reading = std::thread::spawn(move || read_all(read, &work, &order));
    let mut line = Line {
        target,
        under_way: VecDeque::new(),
        in_flight: 0,
        tally,
        progress,
    };
    let issued = line.issue_all(in_order).await;
    drop(line);
    // They end when nobody takes what they make; nothing holds the node then.
    let read = reading.join().expect("reading does not panic");
    for thread in preparing {
        thread.join().expect("preparing does not panic");
    }
    let counts = issued?;
    Ok((read?, counts))
}

/// Reads the file; each chunk goes to whichever worker is free, and where its
/// result will come goes in line.
fn read_all<T>(
    read: impl FnOnce(Emit<'_>) -> anyhow::Result<T>,
    work: &crossbeam_channel::Sender<Work>,
    order: &mpsc::Sender<oneshot::Receiver<ReadyChunk>>,
) -> anyhow::Result<T> {
    let (mut chunk, mut chunks) = (Chunk::new(), 0..);
    let mut send = |chunk: Chunk| {
        let number = chunks.next().expect("no file has 2^64 rows");
        let (ready, when_ready) = oneshot::channel();
        // The other side is gone when the import has failed.
        if order.blocking_send(when_ready).is_ok() && work.send((number, chunk, ready)).is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    let said = read(&mut |found| {
        chunk.push(found);
        if chunk.len() < limits::IMPORT_CHUNK_LEN {
            return ControlFlow::Continue(());
        }
        send(std::mem::take(&mut chunk))
    })?;
    let _ = send(chunk);
    Ok(said)
}

/// Receipts are numbered in the order of the file, or the writer would have to
/// sign anew: so chunks take turns between being checked and being signed.
fn prepare_all(work: &Receiver<Work>, target: &Target, turnstile: &Turnstile) {
    while let Ok((number, chunk, done)) = work.recv() {
        let turn = turnstile.turn(number);
        let mut ready = Vec::with_capacity(chunk.len());
        let mut counts = RowCounts::default();
        let check = |mut sale: Box<Sale>| {
            let checked = target.check(&mut sale);
            Ready::Receipt(sale, checked)
        };
        for found in chunk {
            match found {
                Found::Purchase(purchase) => {
                    let understood: Understood = purchase.understand();
                    counts.add(&understood.counts);
                    ready.extend(understood.rejects.into_iter().map(Ready::Rejected));
                    ready.extend(understood.sale.map(check));
                }
                Found::Sale(sale) => ready.push(check(sale)),
                Found::SetAside(reject) => ready.push(Ready::SetAside(reject)),
                Found::Rejected(reject) => ready.push(Ready::Rejected(reject)),
                Found::Used(used) => ready.push(Ready::Used(used)),
            }
        }
        turn.pass(|| {
            for each in &mut ready {
                if let Ready::Receipt(_, Ok(checked)) = each {
                    target.number(checked);
                }
            }
        });
        let sign = |checked| target.sign(checked);
        let ready = ready.into_iter().map(|each| each.map(sign)).collect();
        // Whoever waited for it is gone when the import has failed.
        let _ = done.send((ready, counts));
    }
}

/// Some neighbours in the file that the node was given together.
struct UnderWay {
    count: usize,
    done: BoxFuture<'static, Vec<Done>>,
}

/// What is under way at the node, in the order of the file.
struct Line<'a> {
    target: Arc<Target>,
    under_way: VecDeque<UnderWay>,
    /// How much is in it.
    in_flight: usize,
    tally: &'a mut Tally,
    progress: &'a ProgressBar,
}

impl Line<'_> {
    /// Issues what comes, in its order, and waits for all of it.
    async fn issue_all(&mut self, mut in_order: InOrder) -> anyhow::Result<RowCounts> {
        let mut counts = RowCounts::default();
        // A coupon takes two commits until it can be redeemed in its place: it is
        // begun some chunks before its turn.
        let held_back = if self.target.replays() {
            limits::IMPORT_CHUNKS_AHEAD
        } else {
            0
        };
        let mut ahead = VecDeque::new();
        while let Some(chunk) = self.while_waiting(in_order.recv()).await? {
            // A worker that is gone has panicked, and its thread said so.
            let chunk: Result<ReadyChunk, _> = self.while_waiting(chunk).await?;
            let (chunk, of_chunk) = chunk.map_err(|_| anyhow::anyhow!("a thread of the import has ended"))?;
            counts.add(&of_chunk);
            let next: Vec<Next> = chunk.into_iter().map(|ready| self.begin(ready)).collect();
            ahead.push_back(next);
            if ahead.len() > held_back {
                self.take_all(ahead.pop_front()).await?;
            }
        }
        while !ahead.is_empty() {
            self.take_all(ahead.pop_front()).await?;
        }
        while !self.under_way.is_empty() {
            self.settle_first().await?;
        }
        Ok(counts)
    }

    /// Settles what comes back until `what` is there.
    async fn while_waiting<T>(&mut self, what: impl Future<Output = T>) -> anyhow::Result<T> {
        tokio::pin!(what);
        loop {
            match self.under_way.front_mut() {
                None => return Ok(what.await),
                Some(first) => tokio::select! {
                    biased;
                    there = &mut what => return Ok(there),
                    done = &mut first.done => self.settle_all(done)?,
                },
            }
        }
    }

    async fn settle_first(&mut self) -> anyhow::Result<()> {
        match self.under_way.front_mut() {
            Some(first) => {
                let done = (&mut first.done).await;
                self.settle_all(done)
            }
            None => Ok(()),
        }
    }

    /// Settles the first of what is under way.
    fn settle_all(&mut self, done: Vec<Done>) -> anyhow::Result<()> {
        if let Some(first) = self.under_way.pop_front() {
            self.in_flight -= first.count;
        }
        done.into_iter().try_for_each(|done| self.settle(done))
    }

    /// Waits until there is room for `count` more.
    async fn make_room(&mut self, count: usize) -> anyhow::Result<()> {
        while self.in_flight > 0 && self.in_flight + count > self.target.in_flight_max() {
            self.settle_first().await?;
        }
        Ok(())
    }

    fn put(&mut self, count: usize, done: BoxFuture<'static, Vec<Done>>) {
        self.in_flight += count;
        self.under_way.push_back(UnderWay { count, done });
    }

    fn begin(&self, ready: Ready<Prepared>) -> Next {
        match ready {
            Ready::Receipt(sale, prepared) => Next::Receipt(sale, prepared),
            Ready::Rejected(reject) => Next::Rejected(reject),
            Ready::SetAside(reject) => Next::SetAside(reject),
            Ready::Used(used) => Next::Used(Arc::clone(&self.target).issue_coupon(used)),
        }
    }

    async fn take_all(&mut self, chunk: Option<Vec<Next>>) -> anyhow::Result<()> {
        let together_max = self.target.together_max();
        let mut receipts = Vec::new();
        for next in chunk.into_iter().flatten() {
            match next {
                Next::Receipt(sale, Ok(prepared)) => {
                    receipts.push((sale, prepared));
                    if receipts.len() >= together_max {
                        self.issue(std::mem::take(&mut receipts)).await?;
                    }
                }
                Next::Receipt(sale, Err(failure)) => self.settle(of_receipt((sale, Err(failure))))?,
                Next::Rejected(reject) => self.tally.reject(&reject)?,
                Next::SetAside(reject) => self.tally.set_aside(&reject)?,
                Next::Used(issuing) => {
                    // What stands before it in the file comes before it in the log.
                    self.issue(std::mem::take(&mut receipts)).await?;
                    let issued = self.while_waiting(issuing).await?;
                    let (used, issued) = issued.context("a coupon could not be issued")?;
                    self.redeem(used, issued).await?;
                }
            }
        }
        self.issue(receipts).await
    }

    async fn issue(&mut self, receipts: Vec<(Box<Sale>, Prepared)>) -> anyhow::Result<()> {
        if receipts.is_empty() {
            return Ok(());
        }
        let count = receipts.len();
        self.make_room(count).await?;
        let issued = Arc::clone(&self.target).issue(receipts);
        let done = async move { issued.await.into_iter().map(of_receipt).collect() };
        self.put(count, Box::pin(done));
        Ok(())
    }

    async fn redeem(&mut self, used: Box<Use>, coupon: Result<IssuedCoupon, Failure>) -> anyhow::Result<()> {
        self.make_room(1).await?;
        let redeeming = coupon.and_then(|coupon| Arc::clone(&self.target).redeem(&used, coupon));
        let done = move |result| Done {
            line: used.line,
            name: used.name.clone(),
            what: What::Used(used),
            result,
        };
        match redeeming {
            Err(failure) => self.settle(done(Err(failure))),
            Ok(redeeming) => {
                self.put(1, Box::pin(async move { vec![done(redeeming.await)] }));
                Ok(())
            }
        }
    }

    fn settle(&mut self, done: Done) -> anyhow::Result<()> {
        let Done {
            line,
            name,
            what,
            result,
        } = done;
        if let Err(Failure::Fatal(error)) = result {
            return Err(error.context(format!(
                "the import stopped at {name} (line {line}); importing again goes on from there"
            )));
        }
        match (what, result) {
            (What::Receipt(rows, _), Ok(outcome)) => self.tally.issued(outcome, rows),
            (What::Receipt(rows, total), Err(failure)) => {
                self.tally.refused(line, &name, (rows, total), &failure.why())?;
            }
            (What::Used(used), Ok(outcome)) => self.tally.used(&used, outcome),
            (What::Used(used), Err(failure)) => self.tally.unused(&used, &failure.why())?,
        }
        if !self.progress.is_hidden() {
            let receipts = self.tally.issued + self.tally.repeated;
            self.progress.set_message(format!("{receipts} receipts"));
        }
        Ok(())
    }
}

fn of_receipt((sale, result): Issued) -> Done {
    let Sale {
        first_line,
        name,
        rows,
        total,
        ..
    } = *sale;
    Done {
        line: first_line,
        name,
        what: What::Receipt(rows, total),
        result,
    }
}

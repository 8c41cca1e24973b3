//! Threads that sign coupons: one a core, behind everything else.
//!
//! A batch is signed in pieces of [`COUPON_PIECE_LEN`](limits::COUPON_PIECE_LEN)
//! coupons, in both of its passes. Whoever wants them takes them in order, and
//! only a few are signed ahead: a slow reader stops the signing of its own
//! batch, and nothing else. The threads have a low priority, so that a million
//! coupons do not keep tills waiting.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::ledger::BatchIssued;
use crate::primitives::limits;

use super::NodeError;
use super::answers::IssuedCoupon;
use super::writer::Shared;

/// How much the threads give way: under load they get a tenth of what others do.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

type Work = Box<dyn FnOnce() + Send>;

/// What is made of a piece's coupons, in the signing thread.
pub(super) type Make<T> = dyn Fn(&mut dyn Iterator<Item = IssuedCoupon>) -> T + Send + Sync;

/// The threads, begun with the first piece of work.
pub(super) struct Signers {
    pool: Mutex<Pool>,
    batches: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

#[derive(Default)]
struct Pool {
    /// Bounded by what may be under way: see [`Pieces`].
    queue: Option<crossbeam_channel::Sender<Work>>,
    threads: Vec<JoinHandle<()>>,
    closed: bool,
}

impl Signers {
    pub fn new() -> Self {
        Self {
            pool: Mutex::default(),
            batches: Arc::new(Semaphore::new(limits::BATCHES_UNDER_WAY_MAX)),
            streams: Arc::new(Semaphore::new(limits::COUPON_STREAMS_MAX)),
        }
    }

    /// Waits for its turn to issue a batch.
    pub async fn batch_permit(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.batches).acquire_owned().await;
        permit.expect("this semaphore is never closed")
    }

    /// A place among the streams.
    ///
    /// # Errors
    /// [`NodeError::Busy`] when all are taken.
    pub fn stream_permit(&self) -> Result<OwnedSemaphorePermit, NodeError> {
        let permit = Arc::clone(&self.streams).try_acquire_owned();
        permit.map_err(|_| NodeError::Busy)
    }

    /// Has `work` done. The answer fails when the threads are closed first.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
        let (reply, answer) = oneshot::channel();
        let work: Work = Box::new(move || {
            // Whoever waited may have gone away.
            let _ = reply.send(work());
        });
        if let Some(queue) = self.pool().queue() {
            let _ = queue.send(work);
        }
        answer
    }

    /// Finishes the pieces under way and ends the threads.
    pub fn close(&self) {
        let threads = {
            let mut pool = self.pool();
            pool.closed = true;
            pool.queue = None;
            std::mem::take(&mut pool.threads)
        };
        for thread in threads {
            // Panics were caught and told.
            let _ = thread.join();
        }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().expect("no holder of this lock panics")
    }
}

impl Pool {
    fn queue(&mut self) -> Option<&crossbeam_channel::Sender<Work>> {
        if self.queue.is_none() && !self.closed {
            let (queue, work) = crossbeam_channel::unbounded();
            let threads = (0..threads()).filter_map(|n| {
                let work = work.clone();
                let name = format!("tallystick-signer-{n}");
                std::thread::Builder::new()
                    .name(name)
                    .spawn(move || sign(&work))
                    .ok()
            });
            self.threads = threads.collect();
            self.queue = (!self.threads.is_empty()).then_some(queue);
        }
        self.queue.as_ref()
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(limits::SIGNERS_MAX))
}

/// Has the calling thread, and those that it starts, give way to all others.
pub(crate) fn give_way(who: &str) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "{who} keeps its priority");
    }
}

fn sign(queue: &crossbeam_channel::Receiver<Work>) {
    give_way("a signing thread");
    for work in queue {
        // The hook has said where; whoever waits finds no answer.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(work));
    }
}

/// A batch's coupons, in pieces and in order, a few of them signed ahead.
pub(super) struct Pieces<T> {
    shared: Arc<Shared>,
    batch: Arc<BatchIssued>,
    next: u32,
    make: Arc<Make<T>>,
    ahead: VecDeque<oneshot::Receiver<T>>,
}

impl<T: Send + 'static> Pieces<T> {
    /// The coupons from number `from` on.
    pub fn new(shared: Arc<Shared>, batch: BatchIssued, from: u32, make: Arc<Make<T>>) -> Self {
        Self {
            shared,
            batch: Arc::new(batch),
            next: from,
            make,
            ahead: VecDeque::new(),
        }
    }

    /// The next piece, perhaps still under way; `None` after the last.
    pub fn take(&mut self) -> Option<oneshot::Receiver<T>> {
        // One for each thread, and one to be given out meanwhile.
        while self.ahead.len() <= threads() && self.next < self.batch.count {
            let piece = self.begin();
            self.ahead.push_back(piece);
        }
        self.ahead.pop_front()
    }

    /// Pieces end where rows of tags do.
    fn begin(&mut self) -> oneshot::Receiver<T> {
        let len = u64::from(limits::COUPON_PIECE_LEN);
        let first = self.batch.first.0 + u64::from(self.next);
        let room = u32::try_from(len - first % len).expect("at most a piece");
        let leaves = self.next..self.batch.count.min(self.next.saturating_add(room));
        self.next = leaves.end;
        let (shared, batch, make) = (
            Arc::clone(&self.shared),
            Arc::clone(&self.batch),
            Arc::clone(&self.make),
        );
        self.shared
            .signers
            .run(move || make(&mut shared.sign_coupons(&batch, leaves)))
    }
}

//! A node without threads, for simulations: whoever opened it gives its writer its
//! turns. So the order in which everything happens is the caller's, and the same each
//! time.

use std::sync::mpsc::Receiver;

use super::commands::Job;
use super::writer::Writer;
use super::{Node, NodeError, NodeParts, OpenReport, Upkeep};

/// The writer of a node that was opened by hand. Dropping it is a crash: what was not
/// given a turn is lost, and the node's calls get [`NodeError::Stopped`].
pub struct WriterByHand {
    /// `None` once the store has failed.
    writer: Option<Writer>,
    jobs: Receiver<Job>,
    /// Taken out of the queue, to see whether anything was there.
    first: Option<Job>,
}

impl std::fmt::Debug for WriterByHand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriterByHand").finish_non_exhaustive()
    }
}

impl WriterByHand {
    /// Whether something has arrived since the last turn.
    pub fn is_waited_for(&mut self) -> bool {
        if self.first.is_none() {
            self.first = self.jobs.try_recv().ok();
        }
        self.first.is_some()
    }

    /// Whether the store or the guard has failed: the node has to be opened anew.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.writer.is_none()
    }

    /// Decides what has arrived, as one batch, makes it durable and answers; looks after
    /// lists and upkeep. `true` when there was anything to do.
    pub fn turn(&mut self) -> bool {
        self.is_waited_for();
        let Some(writer) = &mut self.writer else {
            return false;
        };
        match writer.cycle(self.first.take(), &self.jobs) {
            Ok(cycle) => !cycle.was_idle,
            Err(_) => {
                self.writer = None;
                false
            }
        }
    }
}

impl Node {
    /// Opens the log in `parts`, and starts no thread. Coupons cannot be issued at such
    /// a node, which signing threads are for.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`NodeError::Refuse`] too where a batch of coupons was
    /// cut off, which a thread would have to finish.
    pub fn open_by_hand(parts: NodeParts) -> Result<(Self, WriterByHand, OpenReport), NodeError> {
        let (writer, report) = Writer::open(parts, Upkeep::default())?;
        if !writer.reservations.is_empty() {
            return Err(NodeError::Refuse(
                "a batch of coupons was cut off: open the node with its threads, which finish it".to_owned(),
            ));
        }
        let (node, jobs) = Self::over(&writer, true);
        let writer = WriterByHand {
            writer: Some(writer),
            jobs,
            first: None,
        };
        Ok((node, writer, report))
    }

    /// Does work that takes its time in a thread that answers nobody, or at once in a
    /// node without threads.
    ///
    /// # Errors
    /// [`NodeError::Inconsistent`] when it panics.
    pub(crate) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NodeError> {
        if self.inner.is_by_hand {
            return Ok(work());
        }
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| NodeError::Inconsistent(error.to_string()))
    }
}

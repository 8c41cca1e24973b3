//! What the writer is asked, and what it says.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::credential::ReceiptStub;
use crate::ledger::{
    Answers, BatchOrder, Mark, Presented, Quote, Recorded, RedemptionOrder, ReversalOrder, StatusTarget,
};
use crate::log::NoteSignature;
use crate::primitives::{Amount, Digest, RedemptionId, Tag, UnixSeconds};

use super::NodeError;
use super::answers::{CampaignView, EntryRef};
use super::batches::Reservation;
use super::cosigned::CosignedCheckpoint;
use super::erasure::Erasures;
use super::gossiped::GossipedToKeep;
use super::halves::{PartnerOutcome, ServeCommand};
use super::intents::{BeginIntent, Ending, PreparedIntent};
use super::numbers::NumberGuess;
use super::receipts::PreparedReceipt;
use super::requests::Scope;
use super::rosters::RosterCommand;
use super::verified::VerifiedCheckpoint;
use super::witnessing::ToWitness;

/// When a batch is asked for.
#[derive(Clone, Copy)]
pub(super) enum Reserving {
    /// Now, by the node's clock.
    Now,
    /// At another time: an import's, of a campaign that may have ended since.
    At(UnixSeconds),
    /// Before: it must have been issued, and nothing is reserved.
    Before,
}

/// What the writer is asked to do.
pub(super) enum Command {
    SignCampaign {
        view: Box<CampaignView>,
    },
    /// The first pass of a batch begins.
    Reserve {
        order: BatchOrder,
        when: Reserving,
    },
    /// Some tags of the batch reserved from position `first`, from its coupon
    /// number `from` on.
    StoreTags {
        first: u64,
        from: u32,
        tags: Vec<Tag>,
    },
    /// The last tags of that batch, and the root over all of them.
    Finish {
        first: u64,
        from: u32,
        tags: Vec<Tag>,
        root: Digest,
    },
    IssueReceipt(Box<ReceiptCommand>),
    /// Several of them, each as if it came by itself.
    IssueReceipts(Vec<PreparedReceipt>),
    Quote {
        coupon: Presented,
        basket: crate::ledger::Basket,
        amount: Option<Amount>,
    },
    Redeem(RedemptionOrder),
    /// A redemption at a partner, or its reversal, begins.
    BeginIntent(Box<BeginIntent>),
    /// Several of them, each as if it came by itself.
    BeginIntents(Vec<PreparedIntent>),
    /// An issuer has answered.
    EndIntents {
        endings: Vec<(RedemptionId, Ending)>,
        /// Its log's newest checkpoint, where that was verified.
        verified: Option<Box<VerifiedCheckpoint>>,
    },
    /// A sale was given up whose outcome is not known.
    WishCancel {
        id: RedemptionId,
        scope: Scope,
    },
    /// Requests of a partner.
    Serve(Vec<ServeCommand>),
    Reverse {
        order: ReversalOrder,
        scope: Scope,
    },
    SetStatus {
        target: StatusTarget,
        status: crate::ledger::NewStatus,
        reason: Option<String>,
    },
    Erase(Erasures),
    SignList(u32),
    /// One of the node's own checkpoints was cosigned by its witnesses.
    KeepCosigned {
        cosigned: CosignedCheckpoint,
        /// A quorum of them.
        is_quorum: bool,
    },
    /// A version of the federation's roster is to be kept.
    KeepRoster(Box<RosterCommand>),
    /// What other members have signed is to be kept.
    KeepGossiped(Box<GossipedToKeep>),
    /// Another log's checkpoint is to be cosigned.
    Witness(Box<ToWitness>),
    /// Writes everything that is kept in memory beside the log, and stops.
    Shutdown,
    /// Decides and signs nothing any more, for this reason.
    Halt(String),
}

/// A receipt that a caller's thread has checked and signed under the number
/// that it expects.
pub(super) struct ReceiptCommand {
    /// What its stub says, with the number that it is expected to get.
    pub content: ReceiptStub,
    pub mark: Mark,
    /// The details as they are stored.
    pub details: Vec<u8>,
    /// `None` for a repeat, which uses no number up.
    pub signed: Option<(NumberGuess, SignedReceipt)>,
}

/// A receipt under a number.
pub(super) struct SignedReceipt {
    pub stub: Vec<u8>,
    pub tag: Tag,
    /// What lies beside its entry.
    pub record: Vec<u8>,
}

/// A command with the request it answers and whoever waits.
pub(crate) struct Job {
    pub(super) command: Command,
    pub(super) answers: Option<Answers>,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// What the writer says.
pub(crate) enum Reply {
    /// Recorded now, or when the same request came first.
    Recorded(Arc<Recorded>),
    /// A receipt was recorded now, with this stub.
    Issued {
        /// Its entry.
        recorded: Arc<Recorded>,
        /// The signed stub.
        stub: Vec<u8>,
    },
    /// Positions reserved for a batch.
    Reserved(Box<Reservation>),
    /// What became of each of several commands.
    Several(Vec<Reply>),
    /// What a partner's request came to.
    Served(PartnerOutcome),
    /// What a redemption would give.
    Quoted(Quote),
    /// The line that cosigns another log's checkpoint.
    Cosigned(NoteSignature),
    /// Done, with nothing to show.
    Done,
    /// Not done.
    Failed(NodeError),
}

/// Tells apart what a decision may not find.
pub(super) fn expect_recorded(reply: Reply) -> Result<Arc<Recorded>, NodeError> {
    match reply {
        Reply::Recorded(recorded) => Ok(recorded),
        Reply::Failed(error) => Err(error),
        _ => Err(NodeError::Inconsistent(
            "the writer answered another question".to_owned(),
        )),
    }
}

/// The entry of something that was recorded.
pub(super) fn entry_of(reply: Reply) -> Result<EntryRef, NodeError> {
    match reply {
        Reply::Issued { recorded, .. } => Ok(recorded.as_ref().into()),
        reply => Ok(expect_recorded(reply)?.as_ref().into()),
    }
}

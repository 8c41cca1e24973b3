//! Limits of gossip between members (protocol, section 4).

use super::{NOTE_SIGNATURES_MAX, STATUS_TOKEN_BYTES_MAX};

/// Longest message of gossip: the longest item, two status lists that convict their
/// author, with room for the envelope. What is more goes in several.
pub const GOSSIP_MESSAGE_BYTES_MAX: usize = GOSSIPED_EVIDENCE_BYTES_MAX + 16 * 1024;

/// Longest evidence that travels: two of the longest status lists.
pub const GOSSIPED_EVIDENCE_BYTES_MAX: usize = 2 * STATUS_TOKEN_BYTES_MAX + 64;

/// Cosignatures that travel with a checkpoint: as many as a note has signatures, with
/// the log's own. Quorums of larger federations are policies over fewer witnesses.
pub const GOSSIPED_COSIGNATURES_MAX: usize = NOTE_SIGNATURES_MAX - 1;

/// Longest checkpoint that travels: all of its cosignatures, with the longest hosts for
/// names.
pub const GOSSIPED_CHECKPOINT_BYTES_MAX: usize = NOTE_SIGNATURES_MAX * 416;

/// Items that are kept of one member: 256 status lists of 131,072 coupons, and many
/// campaigns. What a member may fill others' stores with.
pub const GOSSIPED_ITEMS_OF_ONE_MAX: usize = 2_048;

/// Bytes of one member's items: as many of usual length, or the longest lists.
pub const GOSSIPED_BYTES_OF_ONE_MAX: usize = 8 * 1024 * 1024;

/// Kinds that one message of gossip speaks of: those there are, and some to come.
pub const GOSSIP_KINDS_MAX: usize = 16;

/// Items of one message of gossip: each costs a verification.
pub const GOSSIP_ITEMS_MAX: usize = 256;

/// Summaries of one message of gossip: of all buckets of two kinds.
pub const GOSSIP_SUMMARIES_MAX: usize = 128;

/// Items of a kind up to which all are summed up at once, 40 bytes each: above, nodes
/// first compare the hashes of buckets.
pub const GOSSIP_SUMMED_UP_MAX: usize = 64;

/// Bytes of summaries in one message: some 1,600 items.
pub const GOSSIP_SUMMARY_BYTES_MAX: usize = 64 * 1024;

/// Items that are refused before the rest of a message is not looked at.
pub const GOSSIP_BAD_ITEMS_MAX: usize = 4;

/// Messages of one exchange: at the longest, 40 MB, a new node's first.
pub const GOSSIP_STEPS_MAX: u32 = 256;

/// Messages of gossip that one peer may send at once: a new node's first exchange.
pub const GOSSIP_BURST: u32 = 2 * GOSSIP_STEPS_MAX;

/// Messages of gossip that one peer may go on to send in a second: it has some rounds
/// under way, and hears news.
pub const GOSSIP_MESSAGES_PER_SECOND: u32 = 8;

/// Peers that are told news at once.
pub const GOSSIP_FANOUT: usize = 3;

/// Seconds for which all items that are news are passed on at once; afterwards a few are,
/// and the rounds bring the others.
pub const GOSSIP_NEWS_SECONDS: u64 = 60;

/// Older items that a node passes on at once between two of its rounds: what was signed
/// while the network was cut. More are of a node that was away itself, and no news.
pub const GOSSIP_LATE_NEWS_MAX: usize = 16;

/// Peers that did not answer lately and are tried at once when one of them is heard again,
/// between two rounds: each that hears does the same, so that the end of a cut is known
/// everywhere after a few messages, and nobody sends more than these.
pub const GOSSIP_PROBES_MAX: usize = 4;

/// Failures in a row from which on a peer is left out of the choice, and only tried
/// beside it.
pub const GOSSIP_FAILURES_MAX: u32 = 2;

/// Files of a member's log that are fetched to hold a checkpoint against the one
/// before: two trees of at most 8 levels of tiles, each tile tried in two widths.
pub const WATCHED_FILES_MAX: usize = 64;

/// Checkpoints of one member beside its newest that wait until its log can be read: what
/// came first stays. Each costs some files of that log, and they are looked at in rounds.
pub const GOSSIP_UNREAD_MAX: usize = 8;

/// Checkpoints of one log beside its newest that are compared of one message: each costs
/// proofs of that log.
pub const GOSSIP_OLDER_OF_ONE_MAX: usize = 2;

/// Items that were older than what is held and are known again by their hash: 16 bytes
/// each, twice. Whoever brings one of them again has nothing verified.
pub const GOSSIP_PASSED_MAX: usize = 4_096;

/// Seconds for which a node that stops because its own log has two histories tells the
/// others so, all at once.
pub const GOSSIP_PARTING_SECONDS_MAX: u64 = 3;

/// Messages of gossip that wait to be sent: past it the rounds bring what they had.
pub const GOSSIP_OUTBOX_MAX: usize = 1_024;

/// Messages of gossip that are under way at a time.
pub const GOSSIP_SENDS_MAX: usize = 32;

/// Pieces of evidence that are shown at once: more members than that do not go astray
/// before somebody has looked, and an answer stays below 32 MB of the longest.
pub const EVIDENCE_SHOWN_MAX: usize = 64;

/// Seconds for which one own checkpoint is shown while it gathers cosignatures: a few
/// rounds. Afterwards the newest one is shown, cosigned or not.
pub const GOSSIPED_CHECKPOINT_SECONDS: u64 = 30;

/// Checkpoints in partners' answers that wait to be held against earlier ones.
pub const GOSSIP_SHOWN_MAX: usize = 64;

/// Seconds from one round of gossip to the next, unless the settings say otherwise.
pub const GOSSIP_SECONDS_DEFAULT: u64 = 5;

//! Every protocol maximum, named, with the reason for its number.

mod gossip;

pub use gossip::*;

/// Longest credential in bytes (formats, section 1): a campaign with long
/// texts fits, a flood does not.
pub const CREDENTIAL_BYTES_MAX: usize = 4 * 1024;

/// Longest status list token in bytes (formats, section 1): 131,072 statuses
/// of 2 bits are 32 KiB before compression.
pub const STATUS_TOKEN_BYTES_MAX: usize = 64 * 1024;

/// Coupons in one status list: 2^17, so that a whole list is 32 KiB.
pub const STATUS_LIST_LEN: u32 = 131_072;

/// Bits of a status (Token Status List draft): valid, invalid, suspended, used up.
pub const STATUS_BITS: u8 = 2;

/// Longest log entry in bytes: the store keeps values under 7 KB.
pub const ENTRY_BYTES_MAX: usize = 6 * 1024;

/// Most bytes of packed entries in one row of the store: values of 7 KB and
/// more fall out of sled's pages.
pub const PACKED_ROW_BYTES_MAX: usize = 6_500;

/// Most bytes of a row of receipt details.
pub const DETAIL_ROW_BYTES_MAX: usize = 4 * 1024;

/// Most bytes of one record beside the log: a receipt's JSON body is at most
/// [`BODY_BYTES_MAX`], and its record adds stub and secret.
pub const DETAIL_RECORD_BYTES_MAX: usize = 1024 * 1024;

/// Most bytes of a value in the store: 16 of them, a whole leaf of sled, stay
/// under the 128 KiB from which sled puts pages into files that it never syncs.
pub const VALUE_BYTES_MAX: usize = 7_000;

/// Most bytes of a key in the store: a prefix and the longest name, with room.
pub const KEY_BYTES_MAX: usize = 256;

/// Bytes of a segment of the store's journal, after which its rows are carried
/// into the engine below: some ten thousand redemptions, a quarter of a second of
/// full load; opening after a kill carries down two of them at most.
pub const JOURNAL_SEGMENT_BYTES: u64 = 4 * 1024 * 1024;

/// By how many bytes a segment of the journal grows: one more sync in some
/// hundred commits, until it has its full length.
pub const JOURNAL_GROWTH_BYTES: u64 = 256 * 1024;

/// Bytes of rows that are carried down in one commit: less than a segment of
/// sled's file, so that no segment is freed and written again before a sync.
pub const JOURNAL_CARRY_BYTES: usize = 192 * 1024;

/// Page cache given to sled in bytes; the process takes about 2.4 times as much.
pub const STORE_CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Logs of others whose newest cosigned checkpoint the guard file holds: with
/// them a slot stays inside its 4 KiB.
pub const GUARD_WITNESSED_MAX: usize = 71;

/// Logs that a node may be told to witness: those it was told of before keep
/// their place in the guard file, and it has room for some of them.
pub const WITNESS_LOGS_MAX: usize = 64;

/// Longest text of a checkpoint that is cosigned: three lines and some
/// extensions; with two signatures it is a value of the store.
pub const WITNESSED_TEXT_BYTES_MAX: usize = 2 * 1024;

/// Checkpoints of one log on their way to being cosigned at a time: a log sends
/// one after the other, and what anybody repeats does not fill the queue.
pub const WITNESS_UNDER_WAY_MAX: usize = 4;

/// Bytes that the raw scan of a damaged store reads at a time.
pub const SCAN_WINDOW_BYTES: usize = 1024 * 1024;

/// Longest register name: keeps a receipt stub at 190 bytes.
pub const REGISTER_CHARS_MAX: usize = 19;

/// Characters of a node's name: one line for people.
pub const NODE_NAME_CHARS_MAX: usize = 100;

/// Web origins that may be named in the config: each request that comes from a
/// browser is compared with all of them.
pub const CORS_ORIGINS_MAX: usize = 64;

/// Longest host and port: a DNS name is at most 253, a port adds 6.
pub const AUTHORITY_CHARS_MAX: usize = 253;

/// Longest `did:web`: the authority behind `did:web:`, a port's colon as `%3A`.
pub const DID_CHARS_MAX: usize = 8 + AUTHORITY_CHARS_MAX + 2;

/// Largest amount: 2^53 - 1, what a JSON number carries exactly everywhere.
pub const AMOUNT_MAX: i64 = 9_007_199_254_740_991;

/// Most digits of a decimal: fits an `i64` with room for six places.
pub const DECIMAL_DIGITS_MAX: usize = 15;

/// Most places of a quantity.
pub const QUANTITY_PLACES_MAX: u8 = 6;

/// Most places of a tax rate in percent.
pub const RATE_PLACES_MAX: u8 = 2;

/// Most places of a unit price: as many as a quantity's (tills price fuel and
/// bulk goods in fractions of a cent).
pub const UNIT_PRICE_PLACES_MAX: u8 = 6;

/// Most lines of a receipt.
pub const RECEIPT_LINES_MAX: usize = 1_000;

/// Most tenders, and most tax rates, of a receipt: more is no sale.
pub const RECEIPT_TENDERS_MAX: usize = 100;

/// Longest tender kind.
pub const TENDER_KIND_CHARS_MAX: usize = 32;

/// Longest free text of a receipt line, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 200;

/// Longest cashier, member, till reference or refunded receipt, in bytes.
pub const REFERENCE_BYTES_MAX: usize = 128;

/// Longest campaign name, in bytes.
pub const CAMPAIGN_NAME_BYTES_MAX: usize = 200;

/// Longest campaign text, in bytes: leaves room for the rest in
/// [`CREDENTIAL_BYTES_MAX`].
pub const CAMPAIGN_TEXT_BYTES_MAX: usize = 2_000;

/// Longest reason of a revocation or an erasure, in bytes.
pub const REASON_BYTES_MAX: usize = 500;

/// Erasures of all of a member's receipts at a time: each reads every receipt.
pub const ERASURES_MAX: usize = 4;

/// Receipts erased with one commit. Each rewrites a row of at most
/// [`DETAIL_ROW_BYTES_MAX`], and tills wait meanwhile.
pub const ERASED_PER_COMMIT: usize = 64;

/// Most redeemers that a campaign names.
pub const CAMPAIGN_REDEEMERS_MAX: usize = 20;

/// Longest QR text in digits (formats, section 3).
pub const QR_DIGITS_MAX: usize = 2_500;

/// Coupons issued by one request: ten mailings to every member of a large
/// co-op. Their tags take 32 MB of the store, signing them half a minute of a
/// core in each pass.
pub const BATCH_COUPONS_MAX: u32 = 1_000_000;

/// Coupons in one answer that is made whole, some 1 MB: more go out as a stream.
pub const ANSWER_COUPONS_MAX: u32 = 1_000;

/// Coupons that are signed as one piece of work, some 7 ms of a core: two rows
/// of tags, and 250 KB of lines.
pub const COUPON_PIECE_LEN: u32 = 256;

/// Longest line of a stream of coupons: the longest credential and its digits,
/// with room.
pub const COUPON_LINE_BYTES_MAX: usize = 16 * 1024;

/// Tags of a batch that go into the store with one commit: 32 rows, 128 KiB.
pub const TAGS_PER_COMMIT: u32 = 4_096;

/// Threads that sign coupons, one a core: more than 16 outrun the writer.
pub const SIGNERS_MAX: usize = 16;

/// Batches in their first pass at once, the others wait: each holds a thread
/// and some 200 KB.
pub const BATCHES_UNDER_WAY_MAX: usize = 32;

/// Streams of coupons at once, however slowly they are read, and some 1 MB each
/// on two cores: past it the office is told to come back.
pub const COUPON_STREAMS_MAX: usize = 32;

/// Coupons that one sale (register and till reference) may redeem: bounds the
/// walk that finds them.
pub const COUPONS_PER_SALE_MAX: u32 = 64;

/// How far a till's `issued_at` may lie from the node's clock without the
/// `offline` mark, in seconds.
pub const CLOCK_SKEW_SECONDS_MAX: u64 = 300;

/// Longest `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

/// Longest JSON body: 1,000 lines with long descriptions, with room.
pub const BODY_BYTES_MAX: usize = 512 * 1024;

/// Lines of one stream of receipts that are worked on at once: as many tills,
/// so that large batches form; the writer's queue holds those of 16 streams.
pub const STREAM_LINES_UNDER_WAY_MAX: usize = 256;

/// Bytes of lines that one stream has under way, with one line more: bounds its
/// memory where lines are long.
pub const STREAM_BYTES_UNDER_WAY_MAX: usize = 1024 * 1024;

/// Lines of a stream that are begun before other connections of the same
/// thread have their turn: about a millisecond.
pub const STREAM_LINES_PER_TURN: u64 = 16;

/// Bytes of results that are written at once: half of what a connection buffers.
pub const STREAM_RESULT_BYTES: usize = 16 * 1024;

/// Seconds that a stream may pause: a connection that is dead does not hold its
/// place for ever, a till that sells one basket a minute keeps it.
pub const STREAM_PAUSE_SECONDS_MAX: u64 = 120;

/// Times that a line of a stream is put to a busy writer, with a pause of
/// [`STREAM_BUSY_MILLISECONDS`] between: half a minute.
pub const STREAM_BUSY_ATTEMPTS_MAX: u32 = 600;

/// Pause before a line is put to a busy writer again: some batches.
pub const STREAM_BUSY_MILLISECONDS: u64 = 50;

/// Entries between two index checkpoints: bounds what opening reads.
pub const INDEX_CHECKPOINT_ENTRIES: u64 = 100_000;

/// Most bytes of a row of the index: below [`PACKED_ROW_BYTES_MAX`], 303 keys.
pub const INDEX_ROW_BYTES_MAX: usize = 6_400;

/// Index runs of one level that are merged into one of the next: a key is
/// rewritten once a level, and 100 million keys need four levels.
pub const INDEX_FAN_IN: usize = 8;

/// Most runs of the index: normal work needs under 30; past it no checkpoint
/// begins until merges have caught up. Keeps the manifest in one row.
pub const INDEX_RUNS_MAX: usize = 128;

/// Bits of filter for each key of the index: about one absent key in 80 costs
/// a read of a run, and 10 million keys cost 12.5 MB of memory.
pub const INDEX_FILTER_BITS_PER_KEY: u64 = 10;

/// Rows that wiping the index removes in one batch: bounds how long the store
/// is held.
pub const INDEX_WIPE_ROWS_MAX: usize = 512;

/// Entries that a compaction copies before it copies the records beside them:
/// their tags take 4 MB.
pub const COMPACT_STRETCH_ENTRIES: u64 = 65_536;

/// Bytes of rows that a compaction writes in one batch: few syncs, little memory.
pub const COMPACT_BATCH_BYTES: usize = 1024 * 1024;

/// Bytes written since the last opening from which on closing a store opens it
/// once more for sled's snapshot: reading as many takes some 0.1 s.
pub const STORE_SNAPSHOT_BYTES: u64 = 32 * 1024 * 1024;

/// Commands that one batch of the writer gathers: bounds the time until the
/// first of them is answered.
pub const BATCH_COMMANDS_MAX: usize = 512;

/// Bytes of entries and records that end the gathering of a batch: a thousand
/// usual receipts, or some ten of the longest.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Coupons and redemptions that the writer keeps at hand between batches, some
/// 200 bytes each; what is forgotten costs a few reads.
pub const COUPONS_AT_WORK_MAX: usize = 100_000;

/// Commands waiting for the writer: past it a till is told to come back.
pub const WRITER_QUEUE_MAX: usize = 4_096;

/// Most signatures of a signed note: C2SP asks for 16 at least; a roster's
/// witnesses fit, a flood does not.
pub const NOTE_SIGNATURES_MAX: usize = 100;

/// Longest signed note: 16 signatures of the post-quantum kind (nearly 5 KB
/// each, in base64 6.7) fit.
pub const NOTE_BYTES_MAX: usize = 128 * 1024;

/// Longest answer with a proof and the checkpoint that it is of, in JSON.
pub const WITNESSED_ANSWER_BYTES_MAX: usize = 2 * NOTE_BYTES_MAX;

/// Longest evidence of a fork: two signed notes of the longest, and a proof.
pub const FORK_EVIDENCE_BYTES_MAX: usize = 2 * NOTE_BYTES_MAX + 4 * 1024;

/// Longest file of evidence: of a fork, or of two status lists, whichever is longer.
pub const EVIDENCE_BYTES_MAX: usize = if FORK_EVIDENCE_BYTES_MAX > GOSSIPED_EVIDENCE_BYTES_MAX {
    FORK_EVIDENCE_BYTES_MAX
} else {
    GOSSIPED_EVIDENCE_BYTES_MAX
};

/// Files of evidence against one log that are kept: one convicts it, the others
/// show more of what it told whom.
pub const EVIDENCE_KEPT_MAX: usize = 16;

/// Mirrors that a node serves: as many neighbours, and a short table.
pub const MIRRORS_SERVED_MAX: usize = 256;

/// Mirrors that a node keeps up to date itself: each has a thread, and up to eight
/// bundles of another log in memory while it reads.
pub const MIRRORS_KEPT_MAX: usize = 16;

/// Longest pause before a mirrored log that gave a finding is looked at again, in
/// seconds.
pub const MIRROR_PAUSE_SECONDS_MAX: u64 = 3_600;

/// How long a stop waits for mirrors' rounds under way, in seconds: their copies are
/// whole without.
pub const MIRROR_STOP_SECONDS_MAX: u64 = 5;

/// Longest file with a bearer key: one line.
pub const ACCESS_KEY_FILE_BYTES_MAX: usize = 256;

/// Characters of a mirror's name in a path: a host's name and its port.
pub const MIRROR_NAME_CHARS_MAX: usize = 259;

/// Mirrors of the own log that the settings name: each is asked before a node serves,
/// and two of them outlive any one machine.
pub const MIRRORED_AT_MAX: usize = 16;

/// Seconds that a start waits for all mirrors of the own log together: tills wait too
/// then.
pub const MIRROR_START_SECONDS_MAX: u64 = 2;

/// Bundles of another log that are fetched and hashed at a time: as many
/// connections, and at most 16.8 MB each where a log's entries are the longest.
pub const BUNDLES_IN_FLIGHT_MAX: usize = 8;

/// Tiles of coupon tags that an audit of another log keeps, 8 KiB each: 2 MB,
/// the tags of 65,536 coupons that are redeemed in any order.
pub const TAG_TILES_KEPT_MAX: usize = 256;

/// Full tiles of another log that are kept after they were checked, 8 KiB each:
/// all levels of a few places at a time.
pub const VERIFIED_TILES_KEPT_MAX: usize = 64;

/// Longest entry of a log of another kind: a bundle gives its length in two bytes.
pub const FOREIGN_ENTRY_BYTES_MAX: usize = 65_535;

/// Longest answer of another node that is read only for the reason it gives.
pub const REFUSAL_BYTES_MAX: usize = 16 * 1024;

/// Lines of a consistency proof in add-checkpoint (C2SP tlog-witness).
pub const ADD_CHECKPOINT_PROOF_MAX: usize = 63;

/// Longest body of add-checkpoint: a size, a proof and the longest note.
pub const ADD_CHECKPOINT_BYTES_MAX: usize = 32 + 45 * ADD_CHECKPOINT_PROOF_MAX + NOTE_BYTES_MAX;

/// Cosignatures that one witness may answer with: one for each of its keys, old
/// and new, of two kinds.
pub const COSIGNATURES_ANSWERED_MAX: usize = 16;

/// Longest answer of a witness that is read: its lines, or words about a refusal.
pub const COSIGNATURES_BYTES_MAX: usize = 64 * 1024;

/// Longest checkpoint of the node's own that is kept with its cosignatures: the
/// witnesses of a policy, with the longest hosts for names.
pub const COSIGNED_NOTE_BYTES_MAX: usize = 16 * 1024;

/// Most bytes of such a checkpoint in one row: below [`VALUE_BYTES_MAX`].
pub const COSIGNED_ROW_BYTES: usize = 6 * 1024;

/// Seconds that a witness may take to answer: it makes one row durable.
pub const WITNESS_ANSWER_SECONDS_MAX: u64 = 10;

/// Seconds that a start waits for all witnesses together: tills wait too then.
pub const WITNESS_START_SECONDS_MAX: u64 = 2;

/// Times that a witness is asked in one round: once more when it names the size
/// that it holds, and once more should another round have overtaken this one.
pub const WITNESS_ATTEMPTS_MAX: u32 = 3;

/// Longest pause before a witness that failed is asked again, in seconds.
pub const WITNESS_PAUSE_SECONDS_MAX: u64 = 600;

/// Longest policy file: all of its logs, witnesses and groups, with room for
/// comments.
pub const POLICY_BYTES_MAX: usize = 64 * 1024;

/// Logs of a policy: C2SP tlog-policy asks for 32 at least.
pub const POLICY_LOGS_MAX: usize = 32;

/// Witnesses of a policy: 32 at least, too; each is sent every checkpoint.
pub const POLICY_WITNESSES_MAX: usize = 32;

/// Groups of a policy: 32 at least, too.
pub const POLICY_GROUPS_MAX: usize = 32;

/// Longest COSE receipt: a path of 64 hashes of 34 bytes, with room.
pub const COSE_RECEIPT_BYTES_MAX: usize = 4 * 1024;

/// Most extra data in a proof in text: nothing vouches for it, and others use
/// it for a proof of some hundred bytes.
pub const TLOG_PROOF_EXTRA_BYTES_MAX: usize = 4 * 1024;

/// Latest time that a credential may name: the last second of the year 9999,
/// the last that RFC 3339 can write.
pub const UNIX_SECONDS_MAX: u64 = 253_402_300_799;

/// Longest uri of a status list: `https://`, a host and port, `/s/`, ten digits.
pub const STATUS_URI_BYTES_MAX: usize = 8 + AUTHORITY_CHARS_MAX + 3 + 10;

/// Longest class of a membership in bytes: keeps it under 300 bytes.
pub const MEMBERSHIP_CLASS_BYTES_MAX: usize = 16;

/// Largest day number (days since 1970) of a membership: the year 9999.
pub const DAY_NUMBER_MAX: u32 = 2_932_896;

/// Most bytes of a receipt's stored details: 1,000 lines with the longest
/// texts, with room.
pub const DETAILS_BYTES_MAX: usize = 512 * 1024;

/// Most bytes of one disclosed leaf: the longest description and five decimals,
/// with room.
pub const LEAF_BYTES_MAX: usize = 512;

/// Longest unit of a receipt line, in bytes.
pub const UNIT_BYTES_MAX: usize = 16;

/// Longest PEM file of a key: an encrypted one is about 400 bytes.
pub const KEY_FILE_BYTES_MAX: u64 = 8 * 1024;

/// Permutations of status lists kept in memory: 10 KB each, and a coupon from
/// outside can name any list.
pub const PERMUTATIONS_KEPT_MAX: usize = 4_096;

/// Seconds between two signings of a list after a revocation.
pub const LIST_SIGN_SECONDS_MIN: u64 = 1;

/// Seconds between two signings of a list for used-up bits.
pub const LIST_USED_UP_SECONDS_MIN: u64 = 10;

/// `ttl` of a status list: how soon a verifier should look again, in seconds.
pub const STATUS_LIST_TTL_SECONDS: u64 = 60;

/// Longest file of access keys: some 4,000 keys of 250 bytes.
pub const ACCESS_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Most bytes of a body that are read at all: a little more than is taken, so
/// that a client that sends too much gets to read the answer.
pub const BODY_DRAIN_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;

/// Findings that an audit keeps; further ones are only counted. A log that
/// was tampered with shows long before, and a report stays readable.
pub const AUDIT_FINDINGS_KEPT_MAX: usize = 10_000;

/// Keys of the index that an audit looks up, at most about: all keys of 50,000
/// entries, a sample of longer logs, in seconds.
pub const AUDIT_INDEX_KEYS_MAX: usize = 200_000;

/// Coupon tags that an audit compares at a time, 8 bytes each: 32 MB. With more
/// of them it reads the tags again for each such share.
pub const AUDIT_TAGS_HELD_MAX: u64 = 4 * 1024 * 1024;

/// Entries after which an audit writes down how far it has come, at least; a tenth of
/// what it has read where that is more, so that writing takes little of its time.
pub const AUDIT_STATE_ENTRIES_MIN: u64 = 100_000;

/// Days that an audit counts: a century.
pub const AUDIT_DAYS_MAX: usize = 36_600;

/// Co-ops whose redemptions an audit tells apart: a tampered log may name any.
pub const AUDIT_PARTNERS_MAX: usize = 1_000;

/// Rows beside the log that an erasure names where it could not read them: an audit
/// names them all.
pub const ERASURE_ROWS_NAMED_MAX: usize = 20;

/// Days and reasons of erasures that an audit tells apart; behind them it counts
/// only entries.
pub const AUDIT_ERASURES_MAX: usize = 1_000;

/// Status lists that an audit holds while it replays: 128 KiB each, and a
/// tampered log can name any.
pub const AUDIT_LISTS_HELD_MAX: usize = 64;

/// Longest font file of a sheet: the largest of one script have some 20 MB.
pub const FONT_FILE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Longest `did.json`: hundreds of keys, with room.
pub const DID_DOCUMENT_BYTES_MAX: usize = 64 * 1024;

/// Most files of a directory that `verify --trust` reads: a federation's
/// nodes and campaigns, with room.
pub const TRUST_FILES_MAX: usize = 100_000;

/// Longest file that `verify --trust` reads: some hundred campaigns as JSON.
pub const TRUST_FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest row of an imported file, in bytes: the widest tills export some
/// forty columns; a row that runs on has a quote that was not closed.
pub const IMPORT_ROW_BYTES_MAX: usize = 64 * 1024;

/// Rows that an import holds of days that go on later in the file, some 200
/// bytes each: a hundred shops' day, or a shop's quarter in any order.
pub const IMPORT_ROWS_HELD_MAX: usize = 1_000_000;

/// Most days in one file of an import: a century. More is another column.
pub const IMPORT_DAYS_MAX: usize = 36_600;

/// Rows from which the order of a file's columns is told, where it has no header.
pub const IMPORT_FIRST_ROWS_MAX: usize = 64;

/// Most products whose names an import keeps in memory: ten times the largest
/// assortment of a shop.
pub const IMPORT_PRODUCTS_MAX: usize = 1_000_000;

/// Longest name of a mapping file: with a hash after it, it fits an
/// `Idempotency-Key`.
pub const IMPORT_NAME_CHARS_MAX: usize = 64;

/// Receipts that an import has under way in a directory: a batch of the writer
/// while it is made durable, and the next one that gathers meanwhile.
pub const IMPORT_IN_FLIGHT_MAX: usize = 2 * BATCH_COMMANDS_MAX;

/// Receipts that an import has under way over HTTP: as many connections.
pub const IMPORT_CONNECTIONS_MAX: usize = 64;

/// Purchases that the threads of an import hand on together.
pub const IMPORT_CHUNK_LEN: usize = 32;

/// Chunks of purchases that were read and wait to be issued: keeps the reader
/// ahead of the node, and memory flat.
pub const IMPORT_CHUNKS_MAX: usize = 32;

/// Chunks that an import holds back, so that the coupons in them are issued
/// when their turn comes: two commits behind a full queue.
pub const IMPORT_CHUNKS_AHEAD: usize = 64;

/// Campaigns whose coupons an import replays: all are kept in memory.
pub const IMPORT_CAMPAIGNS_MAX: usize = 10_000;

/// Redemptions that an import replays: they are kept in memory until their day
/// comes, some 200 bytes each.
pub const IMPORT_REDEMPTIONS_MAX: u64 = 1_000_000;

/// Attempts at one receipt over HTTP, the pauses between them doubling from
/// [`IMPORT_PAUSE_MILLISECONDS_MIN`]: two minutes, so that a node can restart.
pub const IMPORT_ATTEMPTS_MAX: u32 = 24;

/// Shortest pause before a receipt is tried again.
pub const IMPORT_PAUSE_MILLISECONDS_MIN: u64 = 50;

/// Longest pause before a receipt is tried again.
pub const IMPORT_PAUSE_MILLISECONDS_MAX: u64 = 8_000;

/// Rejected rows that an import prints; all of them go to its report.
pub const IMPORT_REJECTS_SHOWN_MAX: u64 = 10;

/// Rows of batches kept in memory, some 100 bytes each.
pub const BATCHES_KEPT_MAX: usize = 65_536;

/// Connections served at a time unless the config says otherwise: some 11 KB
/// each while idle, and far more than a shop has tills.
pub const CONNECTIONS_DEFAULT: usize = 4_096;

/// Most connections that the config may ask for.
pub const CONNECTIONS_MAX: u64 = 100_000;

/// Open files kept free for the store, the guard, the keys, and the threads'
/// event queues: connections get what is left of the system's limit.
pub const FILES_RESERVED: u64 = 256;

/// Most bytes of an answer that are handed to a connection at a time, and that
/// wait there to be sent: what is longer goes in pieces.
pub const ANSWER_PIECE_BYTES: usize = 16 * 1024;

/// Longest signed roster: a thousand members with short names and four keys each
/// take some 600 KB.
pub const ROSTER_BYTES_MAX: usize = 1024 * 1024;

/// Most bytes in one row of what takes several, as a roster does: below
/// [`VALUE_BYTES_MAX`].
pub const PIECE_ROW_BYTES: usize = 6 * 1024;

/// Members of a federation, those that have left included: ten times the largest
/// that the exchange between nodes is measured with.
pub const ROSTER_MEMBERS_MAX: usize = 1_000;

/// Signers of one version of a roster: a co-op each in a large federation. More
/// are represented by some.
pub const ROSTER_SIGNERS_MAX: usize = 100;

/// Signers of earlier versions that a roster goes on listing: all of them
/// replaced ten times.
pub const ROSTER_FORMER_SIGNERS_MAX: usize = 10 * ROSTER_SIGNERS_MAX;

/// Signatures of one roster: by all signers of the version before and all of its
/// own.
pub const ROSTER_SIGNATURES_MAX: usize = 2 * ROSTER_SIGNERS_MAX;

/// Keys of one member, all that it ever had: four, and sixty to replace them with.
pub const ROSTER_MEMBER_KEYS_MAX: usize = 64;

/// Keys for credentials that one log names, the first one included: no more than a
/// member's list in the roster holds. An audit lays out a table of 640 KiB for each.
pub const CREDENTIAL_KEYS_MAX: usize = ROSTER_MEMBER_KEYS_MAX;

/// Members that mirror a member (protocol, section 6).
pub const ROSTER_MIRRORS_MAX: usize = 2;

/// Seconds from a roster's issue to its expiry, at most: five years. What is
/// forgotten is to end some day.
pub const ROSTER_LIFETIME_SECONDS_MAX: u64 = 5 * 366 * 86_400;

/// Longest description that a member hands in: one member of a roster with all
/// the keys that it may have, and long names.
pub const MEMBER_DESCRIPTION_BYTES_MAX: usize = 16 * 1024;

/// Longest request of a redeemer: dozens of redemptions at a time, each a coupon, a
/// basket and a few numbers.
pub const REDEMPTION_MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Longest answer of an issuer: as many halves with their receipts, and a checkpoint
/// with its proof.
pub const REDEMPTION_ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Longest request for entries: a path or a few numbers.
pub const ENTRIES_REQUEST_BYTES_MAX: usize = 4 * 1024;

/// Bytes of a file of the log that one answer carries: a bundle of usual entries in one,
/// of the longest ones in eight.
pub const ENTRIES_PIECE_BYTES_MAX: usize = 192 * 1024;

/// Pieces that a file is asked for in, before its sender is given up: four times as many
/// as the longest bundle has.
pub const ENTRIES_PIECES_MAX: usize = 32;

/// Longest answer about entries: such a piece, or an entry with its proofs and a
/// checkpoint; and the envelope.
pub const ENTRIES_ANSWER_BYTES_MAX: usize = ENTRIES_PIECE_BYTES_MAX + 16 * 1024;

/// Requests for entries of one member that are worked on at a time: a mirror has
/// [`BUNDLES_IN_FLIGHT_MAX`], and its tills some coupons whose batch is hashed.
pub const ENTRIES_UNDER_WAY_MAX: usize = 2 * BUNDLES_IN_FLIGHT_MAX;

/// Messages of one sender that are remembered, so that none counts twice: those of the
/// ten minutes in which one could come again, seven a second, some 40 bytes each.
pub const MESSAGES_REMEMBERED_MAX: usize = 4_096;

/// Seconds that another node may take to accept a connection: past it nothing has been
/// sent.
pub const PEER_CONNECT_SECONDS_MAX: u64 = 3;

/// Seconds that another node may take to answer: it makes a batch durable, under load.
pub const PEER_ANSWER_SECONDS_MAX: u64 = 10;

/// Idle connections that are kept to one member: requests under way at a time.
pub const PEER_CONNECTIONS_KEPT: usize = 8;

/// Members for which the settings say how they are reached: all of them.
pub const PEERS_REACHED_MAX: usize = ROSTER_MEMBERS_MAX;

/// Longest file of certificate authorities: the system's own have some 220 KB.
pub const CA_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Versions of a roster that are fetched in one go: a decade of monthly ones. The next
/// go continues.
pub const ROSTER_STEPS_MAX: usize = 128;

/// Longest time that a request to an issuer may be valid: beyond a day nobody waits
/// for a sale, and each refusal is remembered that long.
pub const REQUEST_SECONDS_MAX: u64 = 86_400;

/// Intents that are open at once: some 1 KB each in memory. More means that issuers
/// have been out of reach for a day of a busy shop, and tills are told to wait.
pub const INTENTS_OPEN_MAX: usize = 20_000;

/// Refusals of partners' requests that are remembered at once: some 300 bytes each.
pub const REFUSALS_KEPT_MAX: usize = 100_000;

/// Refusals that are forgotten in one batch: it keeps the batch short.
pub const REFUSALS_FORGOTTEN_AT_ONCE: usize = 64;

/// Longest sentence of a refusal that is kept and passed on, in bytes.
pub const PARTNER_DETAIL_BYTES_MAX: usize = 300;

/// Longest request within such a message: a coupon of the longest credential's length,
/// and two dids.
pub const REDEMPTION_REQUEST_BYTES_MAX: usize = CREDENTIAL_BYTES_MAX + 2 * DID_CHARS_MAX + 256;

/// Requests in one message: at 400 bytes each they fill less than half of it, and their
/// halves an answer.
pub const REQUESTS_PER_MESSAGE_MAX: usize = 64;

/// Longest code of a refusal that another node gives.
pub const PARTNER_CODE_BYTES_MAX: usize = 64;

/// Coupons' signatures that a thread checks without doing anything else: a millisecond.
pub const SIGNATURES_TOGETHER_MAX: usize = 32;

/// Messages of one redeemer that an issuer works on at a time: as many as its
/// connections, and twice that for those that it has given up waiting for.
pub const PARTNER_MESSAGES_UNDER_WAY_MAX: usize = 16;

/// Messages to one issuer that are under way at a time: enough to fill a long line,
/// few enough that under load each carries many requests.
pub const ISSUER_MESSAGES_UNDER_WAY_MAX: usize = 3;

/// Redemptions of one issuer's coupons that wait to be made durable: as many as come in
/// while the disk stands still for a moment. What exceeds it is told to come again.
pub const INTENTS_NEW_MAX: usize = 4_096;

/// Requests to one issuer that are begun while an earlier message is under way: each
/// message costs both nodes some signatures and verifications, whatever it carries. With
/// as many messages under way as there may be, one is on its way while others are synced.
pub const MESSAGE_GATHERS: usize = 20;

/// Milliseconds that fewer requests than that wait for others, or for the answer to the
/// message before: no till notices them.
pub const MESSAGE_GATHERS_MS: u64 = 5;

/// Seconds that a till waits for another co-op's answer before it is told that the
/// outcome is not known yet.
pub const TILL_WAITS_SECONDS: u64 = 5;

/// Seconds for which a request to an issuer is valid: longer than a customer waits, and
/// than a node takes to start again.
pub const REQUEST_SECONDS: u64 = 900;

/// Longest pause before an issuer that does not answer is asked again, in seconds.
pub const ISSUER_PAUSE_SECONDS_MAX: u64 = 60;

/// Longest pause before an issuer is asked again while a till waits, in seconds.
pub const TILL_PAUSE_SECONDS_MAX: u64 = 1;

/// Issuers' keys that are held with their tables: 640 KiB each.
pub const ISSUER_KEYS_KEPT_MAX: usize = 64;

/// Campaigns of other co-ops that are held in memory: some 1 KB each.
pub const PARTNER_CAMPAIGNS_MAX: usize = 10_000;

/// Longest answer that shows a campaign: a credential in base64url, and its terms in
/// JSON beside it.
pub const CAMPAIGN_ANSWER_BYTES_MAX: usize = 8 * CREDENTIAL_BYTES_MAX;

/// Longest answer that proves two trees of a log consistent: 128 hashes, and a signed
/// note.
pub const CONSISTENCY_ANSWER_BYTES_MAX: usize = 64 * 1024;

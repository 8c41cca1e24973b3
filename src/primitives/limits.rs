//! Every protocol maximum, named, with the reason for its number.

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

/// Longest register name: keeps a receipt stub at 190 bytes.
pub const REGISTER_CHARS_MAX: usize = 19;

/// Longest host and port: a DNS name is at most 253, a port adds 6.
pub const AUTHORITY_CHARS_MAX: usize = 253;

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

/// Longest reason of a revocation, in bytes.
pub const REASON_BYTES_MAX: usize = 500;

/// Most redeemers that a campaign names.
pub const CAMPAIGN_REDEEMERS_MAX: usize = 20;

/// Longest QR text in digits (formats, section 3).
pub const QR_DIGITS_MAX: usize = 2_500;

/// Coupons issued by one request: small batches are answered in one JSON body.
pub const BATCH_COUPONS_MAX: u32 = 1_000;

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

/// Commands that one batch of the writer gathers: bounds the time until the
/// first of them is answered.
pub const BATCH_COMMANDS_MAX: usize = 512;

/// Commands waiting for the writer: past it a till is told to come back.
pub const WRITER_QUEUE_MAX: usize = 4_096;

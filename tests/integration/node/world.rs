//! A node with fixed keys, a clock that stands still and seeded randomness.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::Registry;
use tallystick::credential::details::{Line, ReceiptDetails, Tax, Tender};
use tallystick::credential::{Algorithm, Benefit, ReceiptKind, SecretKey, Terms};
use tallystick::ledger::{Basket, BatchOrder, CampaignDraft, Mark, ReceiptDraft};
use tallystick::node::keyring::Keyring;
use tallystick::node::{
    Caller, CampaignAnswer, CouponsAnswer, NewNode, Node, NodeError, NodeOptions, NodeParts, OpenReport,
    ReceiptAnswer, RedemptionAnswer, RedemptionRequest, ReversalAnswer, ReversalRequest, Scope, create_log,
};
use tallystick::primitives::{
    Amount, CampaignId, Currency, Decimal, Digest, Entropy, Origin, RedemptionId, Register, UnixSeconds,
};
use tallystick::store::{Engine, Guard, GuardFile, GuardState, MemoryEngine, SledEngine};
use tallystick::testkit::{ManualClock, SeededEntropy};

/// 2026-03-07T15:20:00Z.
pub const START: u64 = 1_772_896_800;

pub fn keyring(seed: u8) -> Arc<Keyring> {
    let key = |n: u8| SecretKey::from_seed(&[seed.wrapping_add(n); 32]);
    Arc::new(Keyring {
        credential: key(1),
        credential_next: None,
        credentials_before: Vec::new(),
        log: key(2),
        witness: key(3),
        messages: key(6),
        messages_next: None,
        index_secret: [seed.wrapping_add(4); 32].into(),
        request_secret: [seed.wrapping_add(5); 32].into(),
    })
}

pub fn origin() -> Origin {
    Origin::parse("https://coop.example").unwrap()
}

pub fn options() -> NodeOptions {
    NodeOptions {
        origin: origin(),
        algorithm: Algorithm::EdDsa,
        status_list_seconds: 86_400,
        compares_first: false,
    }
}

/// Where a node's rows are kept.
pub enum Rows {
    Memory(MemoryEngine),
    Sled(PathBuf),
}

/// A directory, a clock and keys that outlive the node.
pub struct World {
    pub rows: Rows,
    pub clock: Arc<ManualClock>,
    pub entropy: Arc<dyn Entropy>,
    pub keyring: Arc<Keyring>,
    pub options: NodeOptions,
    pub guard: PathBuf,
    _dir: tempfile::TempDir,
}

impl World {
    fn new(rows: impl FnOnce(&std::path::Path) -> Rows) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = Self {
            rows: rows(dir.path()),
            clock: Arc::new(ManualClock::new(START)),
            entropy: Arc::new(SeededEntropy::new(1)),
            keyring: keyring(10),
            options: options(),
            guard: dir.path().join("node.guard"),
            _dir: dir,
        };
        let engine: Arc<dyn Engine> = match &world.rows {
            Rows::Memory(engine) => Arc::new(engine.clone()),
            Rows::Sled(dir) => Arc::new(SledEngine::create(dir).unwrap()),
        };
        let new = NewNode {
            name: "Dorfladen".to_owned(),
            origin: origin(),
        };
        let state = create_log(engine.as_ref(), &new, &world.keyring, UnixSeconds(START)).unwrap();
        Guard::create(&world.guard, &state).unwrap();
        world
    }

    pub fn memory() -> Self {
        Self::new(|_| Rows::Memory(MemoryEngine::new()))
    }

    pub fn sled() -> Self {
        Self::new(|dir| Rows::Sled(dir.join("store")))
    }

    /// Both kinds of engine.
    pub fn all() -> [Self; 2] {
        [Self::memory(), Self::sled()]
    }

    pub fn engine(&self) -> Arc<dyn Engine> {
        match &self.rows {
            Rows::Memory(engine) => Arc::new(engine.clone()),
            Rows::Sled(dir) => Arc::new(SledEngine::open(dir).unwrap().0),
        }
    }

    pub fn memory_engine(&self) -> &MemoryEngine {
        match &self.rows {
            Rows::Memory(engine) => engine,
            Rows::Sled(_) => panic!("this world is on sled"),
        }
    }

    pub fn parts(&self, engine: Arc<dyn Engine>, guard: (Box<dyn GuardFile>, GuardState)) -> NodeParts {
        NodeParts {
            engine,
            guard,
            keyring: Arc::clone(&self.keyring),
            options: self.options.clone(),
            clock: self.clock.clone(),
            entropy: Arc::clone(&self.entropy),
            registry: Registry::new(),
        }
    }

    pub fn guard(&self) -> (Box<dyn GuardFile>, GuardState) {
        let (guard, state) = Guard::open(&self.guard).unwrap();
        (Box::new(guard), state)
    }

    pub fn try_open(&self) -> Result<(Node, OpenReport), NodeError> {
        Node::open(self.parts(self.engine(), self.guard()))
    }

    pub fn open(&self) -> Node {
        self.try_open().unwrap().0
    }
}

static KEYS: AtomicU64 = AtomicU64::new(0);

/// A caller with a key of its own; what is asked is told apart by `body`.
pub fn caller(scope: Scope, key: &str, body: &str) -> Caller {
    Caller {
        scope,
        idempotency_key: key.to_owned(),
        request: Caller::request_digest("POST", "/v1/x", "application/json", body.as_bytes()),
    }
}

/// The office with a key that was never used.
pub fn office() -> Caller {
    let n = KEYS.fetch_add(1, Ordering::Relaxed);
    caller(Scope::Office, &format!("key-{n}"), &format!("body-{n}"))
}

pub fn lane(n: u32) -> Register {
    Register::new(format!("shop1-lane{n}")).unwrap()
}

/// A till with a key that was never used.
pub fn till(register: &Register) -> Caller {
    let n = KEYS.fetch_add(1, Ordering::Relaxed);
    caller(
        Scope::Register(register.clone()),
        &format!("key-{n}"),
        &format!("body-{n}"),
    )
}

pub fn euro() -> Currency {
    Currency::from_letters("EUR").unwrap()
}

pub fn cents(minor_units: i64) -> Amount {
    Amount::new(minor_units).unwrap()
}

pub fn basket(total: i64) -> Basket {
    Basket {
        total: cents(total),
        currency: euro(),
    }
}

pub fn draft(name: &str, benefit: Benefit) -> CampaignDraft {
    CampaignDraft {
        terms: Terms::new(name, "For members.", euro(), benefit),
        not_before: UnixSeconds(START),
        not_after: UnixSeconds(START + 90 * 86_400),
    }
}

/// Two euros off, once.
pub fn two_off(name: &str) -> CampaignDraft {
    draft(name, Benefit::AmountOff { amount: cents(200) })
}

/// Twenty euros that may be spent in parts.
pub fn gift_card(name: &str) -> CampaignDraft {
    draft(name, Benefit::StoredValue { value: cents(2_000) })
}

pub fn order(campaign: CampaignId, count: u32) -> BatchOrder {
    BatchOrder {
        campaign,
        count,
        amount: None,
        not_before: None,
        not_after: None,
    }
}

pub fn receipt(register: &Register, reference: &str, now: u64) -> ReceiptDraft {
    let decimal = |text: &str| Decimal::parse(text, 6).unwrap();
    ReceiptDraft {
        register: register.clone(),
        kind: ReceiptKind::Sale,
        currency: euro(),
        issued_at: UnixSeconds(now),
        mark: Mark::Live,
        prices_include_tax: true,
        total: cents(144),
        details: ReceiptDetails {
            lines: vec![Line {
                description: "Äpfel Topaz".to_owned(),
                quantity: decimal("0.482"),
                unit: Some("kg".to_owned()),
                unit_price: Some(decimal("2.99")),
                total: cents(144),
                tax_rate: Some(decimal("7.00")),
            }],
            tenders: vec![Tender {
                kind: "cash".to_owned(),
                amount: cents(144),
            }],
            taxes: vec![Tax {
                rate: Some(decimal("7.00")),
                net: cents(135),
                tax: cents(9),
            }],
            till_reference: Some(reference.to_owned()),
            ..ReceiptDetails::default()
        },
    }
}

pub fn redemption(coupon: &[u8], register: &Register, reference: &str, total: i64) -> RedemptionRequest {
    RedemptionRequest {
        coupon: coupon.to_vec(),
        register: register.clone(),
        till_reference: reference.to_owned(),
        basket: basket(total),
        amount: None,
    }
}

pub fn reversal(
    redemption: RedemptionId,
    reference: &str,
    amount: Option<i64>,
    give_back: bool,
) -> ReversalRequest {
    ReversalRequest {
        redemption,
        till_reference: reference.to_owned(),
        amount: amount.map(cents),
        give_back,
    }
}

/// One of each effect, with the calls that made them, to be made again.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    pub campaign: CampaignAnswer,
    pub coupons: CouponsAnswer,
    pub receipt: ReceiptAnswer,
    pub redeemed: RedemptionAnswer,
    pub reversed: ReversalAnswer,
    pub revoked: tallystick::node::StatusAnswer,
}

/// Plays the same story under keys that begin with `prefix`: a repeat answers
/// the same.
pub async fn story(node: &Node, prefix: &str) -> Story {
    let lane = lane(1);
    let office = |what: &str| {
        caller(
            Scope::Office,
            &format!("{prefix}-{what}"),
            &format!("{prefix}-{what}"),
        )
    };
    let till = |what: &str| {
        caller(
            Scope::Register(lane.clone()),
            &format!("{prefix}-{what}"),
            &format!("{prefix}-{what}"),
        )
    };
    let campaign = node
        .sign_campaign(&office("campaign"), two_off(prefix))
        .await
        .unwrap();
    let coupons = node
        .issue_coupons(&office("coupons"), order(campaign.id, 5))
        .await
        .unwrap();
    let receipt = node
        .issue_receipt(
            &till("receipt"),
            receipt(&lane, &format!("{prefix}-r"), node.now().0),
        )
        .await
        .unwrap();
    let redeemed = node
        .redeem(
            &till("redeem"),
            redemption(
                &coupons.coupons[0].credential,
                &lane,
                &format!("{prefix}-s"),
                1_500,
            ),
        )
        .await
        .unwrap();
    let reversed = node
        .reverse(
            &till("reverse"),
            reversal(redeemed.id, &format!("{prefix}-s"), None, true),
        )
        .await
        .unwrap();
    let revoked = node
        .set_status(
            &office("revoke"),
            &tallystick::node::RevocationTarget::Name(coupons.coupons[1].name),
            tallystick::ledger::NewStatus::Revoked,
            Some("lost".to_owned()),
        )
        .await
        .unwrap();
    Story {
        campaign,
        coupons,
        receipt,
        redeemed,
        reversed,
        revoked,
    }
}

/// Size and root in a checkpoint.
pub fn head_of(note: &str) -> (u64, Digest) {
    let body = note.split("\n\n").next().unwrap();
    let checkpoint = tallystick::log::Checkpoint::parse(&format!("{body}\n")).unwrap();
    (checkpoint.size, checkpoint.root)
}

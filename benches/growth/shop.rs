//! A co-op's trade, made as fast as the node takes it in: through the node's
//! own calls and its one writer, as `import` works.
//!
//! Of twenty entries ten are receipts of two lines, nine are redemptions of
//! punch cards of ten uses, and one reverses a redemption; a batch of 20 cards
//! comes on top of some 200 redemptions. Every entry has an `Idempotency-Key`
//! and a till reference of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tallystick::credential::details::{Line, ReceiptDetails, Tax, Tender};
use tallystick::credential::{Benefit, ReceiptKind, Terms};
use tallystick::ledger::{Basket, BatchOrder, CampaignDraft, Mark, ReceiptDraft};
use tallystick::node::{Caller, Node, NodeError, RedemptionRequest, ReversalRequest, Scope};
use tallystick::primitives::{Amount, CampaignId, Currency, Decimal, RedemptionId, Register, UnixSeconds};

/// Cards of one batch.
const CARDS: u32 = 20;

/// Uses of one card.
const USES: u32 = 10;

/// A till waits this long when the node is busy.
const PAUSE: Duration = Duration::from_millis(2);

/// One node with its campaign; every call gets a name that was never used.
pub struct Shop {
    pub node: Node,
    campaign: CampaignId,
    name: String,
}

impl Shop {
    /// Signs a campaign of this run's own.
    pub async fn begin(node: Node, name: &str) -> Arc<Self> {
        let mut terms = Terms::new(
            format!("Punch card {name}"),
            "For members.",
            euro(),
            Benefit::AmountOff { amount: cents(200) },
        );
        terms.uses_per_coupon = Some(USES);
        terms.reversal_window_seconds = Some(86_400);
        let now = node.now().0;
        let draft = CampaignDraft {
            terms,
            not_before: UnixSeconds(now - 1),
            not_after: UnixSeconds(now + 90 * 86_400),
        };
        let caller = caller(Scope::Office, &format!("{name}-campaign"));
        let campaign = node.sign_campaign(&caller, draft).await.expect("a campaign").id;
        Arc::new(Self {
            node,
            campaign,
            name: name.to_owned(),
        })
    }

    /// Trades with `tills` calls under way until the log has `size` entries.
    pub async fn fill(self: &Arc<Self>, size: u64, tills: u32) {
        let left = Arc::new(AtomicU64::new(size.saturating_sub(self.node.size())));
        let mut running = Vec::new();
        for number in 0..tills {
            let mut till = Till::new(Arc::clone(self), number);
            let left = Arc::clone(&left);
            running.push(tokio::spawn(async move {
                let take = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
                let mut turn = number;
                while take().is_ok() {
                    if till.trade(turn % 20).await {
                        // A batch is an entry too.
                        let _ = take();
                    }
                    turn += 1;
                }
            }));
        }
        for till in running {
            till.await.expect("no till panics");
        }
    }

    /// Redeems with `tills` calls under way, `each` a till: the time of each.
    pub async fn redeem(self: &Arc<Self>, tills: u32, each: u32) -> Vec<Duration> {
        let mut ready = Vec::new();
        for number in 0..tills {
            let mut till = Till::new(Arc::clone(self), number);
            // What is measured is the redemption, not the issuing.
            till.cards = till.issue(each.div_ceil(USES)).await;
            ready.push(till);
        }
        let running: Vec<_> = ready
            .into_iter()
            .map(|mut till| {
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    for _ in 0..each {
                        let begin = Instant::now();
                        till.redeem().await;
                        times.push(begin.elapsed());
                    }
                    times
                })
            })
            .collect();
        let mut times = Vec::new();
        for till in running {
            times.append(&mut till.await.expect("no till panics"));
        }
        times
    }
}

struct Till {
    shop: Arc<Shop>,
    register: Register,
    name: String,
    made: u64,
    cards: Vec<Vec<u8>>,
    uses: u32,
    latest: Option<RedemptionId>,
}

impl Till {
    fn new(shop: Arc<Shop>, number: u32) -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        Self {
            register: Register::new(format!("lane-{}", number % 64)).expect("a name"),
            name: format!("{}-{run}", shop.name),
            shop,
            made: 0,
            cards: Vec::new(),
            uses: 0,
            latest: None,
        }
    }

    fn reference(&mut self) -> String {
        self.made += 1;
        format!("{}-{}", self.name, self.made)
    }

    /// One entry; true when a batch of cards came before it.
    async fn trade(&mut self, turn: u32) -> bool {
        match (turn, self.latest) {
            (0..10, _) => self.sell().await,
            (10, Some(redemption)) => self.reverse(redemption).await,
            _ => {
                let needs_cards = self.cards.is_empty();
                if needs_cards {
                    self.cards = self.issue(CARDS).await;
                }
                self.redeem().await;
                return needs_cards;
            }
        }
        false
    }

    async fn issue(&mut self, count: u32) -> Vec<Vec<u8>> {
        let order = BatchOrder {
            campaign: self.shop.campaign,
            count,
            amount: None,
            not_before: None,
            not_after: None,
        };
        let caller = caller(Scope::Office, &self.reference());
        loop {
            match self.shop.node.issue_coupons(&caller, order.clone()).await {
                Err(NodeError::Busy | NodeError::InProgress) => tokio::time::sleep(PAUSE).await,
                issued => {
                    let issued = issued.expect("coupons").coupons;
                    return issued.into_iter().map(|coupon| coupon.credential).collect();
                }
            }
        }
    }

    async fn sell(&mut self) {
        let reference = self.reference();
        let caller = caller(Scope::Register(self.register.clone()), &reference);
        let draft = receipt(&self.register, &reference, self.shop.node.now());
        loop {
            match self.shop.node.issue_receipt(&caller, draft.clone()).await {
                Err(NodeError::Busy) => tokio::time::sleep(PAUSE).await,
                issued => {
                    issued.expect("a receipt");
                    return;
                }
            }
        }
    }

    async fn redeem(&mut self) {
        let reference = self.reference();
        let caller = caller(Scope::Register(self.register.clone()), &reference);
        let request = RedemptionRequest {
            coupon: self.cards.last().expect("a card").clone(),
            register: self.register.clone(),
            till_reference: reference,
            basket: Basket {
                total: cents(2_500),
                currency: euro(),
            },
            amount: None,
        };
        loop {
            match self.shop.node.redeem(&caller, request.clone()).await {
                Err(NodeError::Busy) => tokio::time::sleep(PAUSE).await,
                redeemed => {
                    self.latest = Some(redeemed.expect("a redemption").id);
                    break;
                }
            }
        }
        self.uses += 1;
        if self.uses == USES {
            self.uses = 0;
            self.cards.pop();
        }
    }

    async fn reverse(&mut self, redemption: RedemptionId) {
        let reference = self.reference();
        let caller = caller(Scope::Register(self.register.clone()), &reference);
        let request = ReversalRequest {
            redemption,
            till_reference: reference,
            amount: None,
            // The use is gone: the card is counted here, too.
            give_back: false,
        };
        loop {
            match self.shop.node.reverse(&caller, request.clone()).await {
                Err(NodeError::Busy) => tokio::time::sleep(PAUSE).await,
                reversed => {
                    reversed.expect("a reversal");
                    return;
                }
            }
        }
    }
}

fn caller(scope: Scope, name: &str) -> Caller {
    Caller {
        scope,
        idempotency_key: name.to_owned(),
        request: Caller::request_digest("POST", "/v1/x", "application/json", name.as_bytes()),
    }
}

fn euro() -> Currency {
    Currency::from_letters("EUR").expect("a currency")
}

fn cents(minor_units: i64) -> Amount {
    Amount::new(minor_units).expect("an amount")
}

fn receipt(register: &Register, reference: &str, now: UnixSeconds) -> ReceiptDraft {
    let decimal = |text: &str| Decimal::parse(text, 6).expect("a decimal");
    let line = |description: &str| Line {
        description: description.to_owned(),
        quantity: decimal("1"),
        unit: None,
        unit_price: Some(decimal("1.07")),
        total: cents(107),
        tax_rate: Some(decimal("7.00")),
    };
    ReceiptDraft {
        register: register.clone(),
        kind: ReceiptKind::Sale,
        currency: euro(),
        issued_at: now,
        mark: Mark::Live,
        prices_include_tax: true,
        total: cents(214),
        details: ReceiptDetails {
            lines: vec![line("Apples"), line("Bread")],
            tenders: vec![Tender {
                kind: "cash".to_owned(),
                amount: cents(214),
            }],
            taxes: vec![Tax {
                rate: Some(decimal("7.00")),
                net: cents(200),
                tax: cents(14),
            }],
            till_reference: Some(reference.to_owned()),
            ..ReceiptDetails::default()
        },
    }
}

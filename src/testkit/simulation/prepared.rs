//! What every simulation begins with: members with coupons that they have issued, made
//! once and copied for each seed.

use std::sync::{Arc, LazyLock};

use crate::credential::{Benefit, Terms};
use crate::federation::roster::{Description, Draft, Role, Roster, SignedRoster};
use crate::federation::rosters::Rosters;
use crate::ledger::{Basket, BatchOrder, CampaignDraft};
use crate::node::access::AccessKeys;
use crate::node::{Caller, IssuedCoupon, RedemptionRequest, Scope};
use crate::primitives::{Amount, CampaignId, Currency, Digest, Origin, Register, UnixSeconds};
use crate::store::MemoryEngine;
use crate::testkit::TestNode;
use crate::testkit::node::{MemoryGuard, START};
use crate::testkit::roster::{FEDERATION, after, base_url, founded, signed};

/// Members of each simulated federation.
pub const MEMBERS: usize = 4;

/// How long a redemption can be reversed.
const REVERSAL_SECONDS: u64 = 86_400;

/// A member as it begins.
pub struct PreparedMember {
    /// Its base URL.
    pub origin: Origin,
    /// Its did.
    pub did: String,
    /// What gives its keys.
    pub seed: u64,
    /// What is on its disk.
    pub engine: MemoryEngine,
    /// What guards that.
    pub guard: MemoryGuard,
    /// Who may call it.
    pub access: Arc<AccessKeys>,
}

/// Coupons of one campaign.
pub struct PreparedBatch {
    /// The member that has issued them.
    pub issuer: usize,
    /// Their campaign.
    pub campaign: CampaignId,
    /// Its terms.
    pub terms: Terms,
    /// They themselves.
    pub coupons: Vec<IssuedCoupon>,
}

/// All of it.
pub struct Prepared {
    /// The members.
    pub members: Vec<PreparedMember>,
    /// Their coupons.
    pub batches: Vec<PreparedBatch>,
    /// The roster: version 1 and, which the members follow, 2.
    pub versions: [Roster; 2],
}

impl Prepared {
    /// The hash of version 1.
    #[must_use]
    pub fn pin(&self) -> Digest {
        signed(&self.versions[0], &[1]).hash()
    }

    /// A version 3 as `change` proposes it, signed.
    #[must_use]
    pub fn third(&self, change: impl FnOnce(&mut Draft)) -> SignedRoster {
        signed(&after(&self.versions[1], change), &[1])
    }
}

/// It, made with the first call.
///
/// # Panics
/// Inside a runtime.
#[must_use]
pub fn prepared() -> &'static Prepared {
    static PREPARED: LazyLock<Prepared> = LazyLock::new(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(prepare())
    });
    &PREPARED
}

async fn prepare() -> Prepared {
    let first = founded(&[1], 1);
    let seed = |n: usize| 300 + n as u64;
    let nodes: Vec<TestNode> = (0..MEMBERS)
        .map(|n| TestNode::new(&number(n).to_string(), seed(n), false))
        .collect();
    let second = after(&first, |draft| {
        for (n, node) in nodes.iter().enumerate() {
            draft.member(description(n, node)).expect("a new member");
        }
    });
    let chain = [signed(&first, &[1]), signed(&second, &[1])];
    let (mut members, mut batches) = (Vec::new(), Vec::new());
    for (n, node) in nodes.into_iter().enumerate() {
        let pin = chain[0].hash();
        let opened = Rosters::open(node.node.clone(), pin, &[], &node.registry);
        let (rosters, _) = opened.expect("a readable store");
        for version in &chain {
            rosters.offer(version, None).await.expect("a good version");
        }
        for (what, (terms, count)) in campaigns(n).into_iter().enumerate() {
            batches.push(issue(&node, n, what, terms, count).await);
        }
        node.node.shut_down().await;
        let access = AccessKeys::open(node.access.clone()).expect("the fixture's own file");
        members.push(PreparedMember {
            did: number(n).did_web(),
            origin: number(n),
            seed: seed(n),
            engine: node.memory_engine().fork(),
            guard: node.memory_guard().fork(),
            access: Arc::new(access),
        });
    }
    Prepared {
        members,
        batches,
        versions: [first, second],
    }
}

fn number(n: usize) -> Origin {
    base_url(u8::try_from(n).expect("few members"))
}

fn description(n: usize, node: &TestNode) -> Description {
    let keyring = node.keyring();
    let keys = [
        (Role::Credentials, &keyring.credential),
        (Role::Log, &keyring.log),
        (Role::Witness, &keyring.witness),
        (Role::Messages, &keyring.messages),
    ];
    Description::new(FEDERATION, format!("Co-op {n}"), number(n), keys, Vec::new())
}

/// Member `n`'s campaigns: all the kinds there are, with a number of coupons.
fn campaigns(n: usize) -> Vec<(Terms, u32)> {
    let euro = Currency::from_letters("EUR").expect("a currency");
    let cents = |minor: i64| Amount::new(minor).expect("a small amount");
    let off = |amount| Benefit::AmountOff {
        amount: cents(amount),
    };
    let terms = |name: &str, benefit| Terms {
        reversal_window_seconds: Some(REVERSAL_SECONDS),
        ..Terms::new(name, "Simulated", euro, benefit)
    };
    let several = Terms {
        uses_per_coupon: Some(3),
        ..terms("Three times", off(150))
    };
    let some = Terms {
        redeemers: Some(vec![number(n).did_web(), number((n + 1) % MEMBERS).did_web()]),
        ..terms("For two co-ops", off(100))
    };
    let budget = Terms {
        budget: Some(cents(1_000)),
        ..terms("While it lasts", off(250))
    };
    let percent = Benefit::PercentOff {
        basis_points: 1_000,
        cap: Some(cents(300)),
    };
    let percent = Terms {
        minimum_basket: Some(cents(1_000)),
        ..terms("A tenth", percent)
    };
    let value = Benefit::StoredValue { value: cents(2_000) };
    vec![
        (terms("Once", off(200)), 12),
        (several, 4),
        (terms("Gift card", value), 4),
        (some, 4),
        (budget, 8),
        (percent, 4),
    ]
}

async fn issue(node: &TestNode, issuer: usize, what: usize, terms: Terms, count: u32) -> PreparedBatch {
    let caller = |call: &str| Caller {
        scope: Scope::Office,
        idempotency_key: format!("{call}-{what}"),
        request: Digest::ZERO,
    };
    let draft = CampaignDraft {
        terms: terms.clone(),
        not_before: UnixSeconds(START.0 - 86_400),
        not_after: UnixSeconds(START.0 + 90 * 86_400),
    };
    let campaign = node.node.sign_campaign(&caller("campaign"), draft).await;
    let campaign = campaign.expect("good terms").id;
    let order = BatchOrder {
        campaign,
        // One more, which the co-op redeems itself.
        count: count + 1,
        amount: None,
        not_before: None,
        not_after: None,
    };
    let issued = node.node.issue_coupons(&caller("coupons"), order).await;
    let mut coupons = issued.expect("a good order").coupons;
    // So each log has halves from the beginning that may pass for others.
    let own = coupons.pop().expect("one more");
    let register = Register::new(TestNode::REGISTER).expect("a register's name");
    let request = RedemptionRequest {
        coupon: own.credential,
        register: register.clone(),
        till_reference: format!("prepared-{what}"),
        basket: Basket {
            total: Amount::new(2_000).expect("a small amount"),
            currency: terms.currency,
        },
        amount: None,
    };
    let till = Caller {
        scope: Scope::Register(register),
        ..caller("redemption")
    };
    node.node.redeem(&till, request).await.expect("a good coupon");
    PreparedBatch {
        issuer,
        campaign,
        terms,
        coupons,
    }
}

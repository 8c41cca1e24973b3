//! A node used through the library, with receipts to issue.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tallystick::credential::ReceiptKind;
use tallystick::credential::details::{Line, ReceiptDetails, Tax, Tender};
use tallystick::ledger::{Mark, ReceiptDraft};
use tallystick::node::{Caller, Node, Scope};
use tallystick::primitives::{Amount, Clock as _, Currency, Decimal, Origin, Register, SystemClock};
use tallystick::server::{NewDir, NodeDir, Overrides};
use tokio::runtime::Runtime;
use tokio::sync::Barrier;

/// Threads of either side.
pub const THREADS: usize = 2;

/// Receipts under way at once, as many as an import has: a batch that is made
/// durable, one that gathers meanwhile, and enough to go on with while the disk
/// takes its time.
const TASKS: usize = 1_024;

/// Registers that the receipts come from.
const REGISTERS: u64 = 64;

/// Makes a node in `directory` and opens it.
pub fn new_node(directory: &Path) -> Node {
    let new = NewDir {
        base_url: Origin::parse("https://shop.coop-example.eu").expect("a base URL"),
        name: "Bench".to_owned(),
        register: Register::new("lane-0").expect("a register"),
        guard: None,
        passphrase: None,
    };
    NodeDir::create(directory, &new).expect("a new directory");
    NodeDir::at(directory)
        .and_then(|directory| directory.open(&Overrides::default(), None))
        .expect("it was just made")
        .node
}

/// A runtime with as many workers as the bare side has threads.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Receipt number `number`, of `lines` lines.
fn draft(number: u64, lines: u32) -> (Caller, ReceiptDraft) {
    let decimal = |text: &str| Decimal::parse(text, 6).expect("a decimal");
    let amount = |units: u32| Amount::new(i64::from(units)).expect("a small amount");
    let caller = Caller {
        scope: Scope::Office,
        idempotency_key: format!("receipt-{number}"),
        request: Caller::request_digest("bench", "", "", &number.to_be_bytes()),
    };
    let line = |number: u32| Line {
        description: format!("Article number {number}"),
        quantity: decimal("1"),
        unit: None,
        unit_price: Some(decimal("1.07")),
        total: amount(107),
        tax_rate: Some(decimal("7.00")),
    };
    let draft = ReceiptDraft {
        register: Register::new(format!("lane-{}", number % REGISTERS)).expect("a register"),
        kind: ReceiptKind::Sale,
        currency: Currency::from_letters("EUR").expect("a currency"),
        issued_at: SystemClock.now(),
        mark: Mark::Live,
        prices_include_tax: true,
        total: amount(107 * lines),
        details: ReceiptDetails {
            lines: (0..lines).map(line).collect(),
            tenders: vec![Tender {
                kind: "cash".to_owned(),
                amount: amount(107 * lines),
            }],
            taxes: vec![Tax {
                rate: Some(decimal("7.00")),
                net: amount(100 * lines),
                tax: amount(7 * lines),
            }],
            till_reference: Some(format!("2026-03-07/{number:06}")),
            ..ReceiptDetails::default()
        },
    };
    (caller, draft)
}

/// Issues the receipts `from..from + count`. Each task makes its own ready, as a
/// caller does, before the time is taken.
pub fn issue(runtime: &Runtime, node: &Node, from: u64, count: u64, lines: u32) -> Duration {
    runtime.block_on(async {
        let all_ready = Arc::new(Barrier::new(TASKS + 1));
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (node, all_ready) = (node.clone(), Arc::clone(&all_ready));
                tokio::spawn(async move {
                    let numbers = (from..from + count).skip(task).step_by(TASKS);
                    let ready: Vec<_> = numbers.map(|number| draft(number, lines)).collect();
                    all_ready.wait().await;
                    for (caller, draft) in ready {
                        // So few do not fill the writer's queue: it is never busy.
                        node.issue_receipt(&caller, draft)
                            .await
                            .expect("no receipt is refused");
                    }
                })
            })
            .collect();
        all_ready.wait().await;
        let started = Instant::now();
        for task in tasks {
            task.await.expect("no receipt is refused");
        }
        started.elapsed()
    })
}

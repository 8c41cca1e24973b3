//! Erasures under audit.

use tallystick::ledger::ReceiptErased;
use tallystick::node::ErasureTarget;
use tallystick::primitives::Clock as _;
use tallystick::store::beside;

use super::*;

const REASON: &str = "request of the person concerned";

/// A shop in which one receipt was erased: the receipt's entry, the erasure's, and
/// what lay beside the receipt before.
async fn erased() -> (World, u64, u64, Vec<u8>) {
    let world = World::sled();
    let node = world.open();
    day(&node, &world).await;
    node.shut_down().await;
    drop(node);
    let (receipt, tag) = entries(&engine_of(&world))
        .iter()
        .map(|bytes| recorded(bytes))
        .find_map(|entry| match entry.event {
            Event::ReceiptIssued(receipt) if receipt.sequence_number == 9 => Some((entry.index, receipt.tag)),
            _ => None,
        })
        .unwrap();
    let before = beside::read(&engine_of(&world), receipt).unwrap().unwrap();
    let node = world.open();
    let done = node
        .erase(&office(), ErasureTarget::Receipt(tag), REASON)
        .await
        .unwrap();
    node.shut_down().await;
    (world, receipt, done.entry.index, before)
}

#[tokio::test]
async fn an_erasure_leaves_a_clean_log_that_tells_of_it() {
    let (world, ..) = erased().await;
    let report = run(&options(&world));
    assert_eq!(report.verdict(), Verdict::Clean, "{:?}", report.findings);
    assert_eq!(report.summary.kind("erasure"), 1);
    let told: Vec<_> = report.summary.erasures.iter().collect();
    assert_eq!(told, [(&(world.clock.now().0 / 86_400, REASON.to_owned()), &1)]);
    // A part that ends before the erasure cannot know of it, and says so.
    let part = AuditOptions {
        part: tallystick::node::audit::Part {
            from: 0,
            to: Some(100),
        },
        ..options(&world)
    };
    let report = run(&part);
    assert_eq!(rules(&report), BTreeSet::new());
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("1 receipt has no details")),
        "{:?}",
        report.notes
    );
}

#[tokio::test]
async fn what_an_erasure_does_not_tell_of_is_found() {
    let (world, receipt, erasure, before) = erased().await;
    // The details are there again, as from a backup.
    let stub = beside::read(&engine_of(&world), receipt).unwrap();
    let put = |index: u64, record: Option<Vec<u8>>| {
        let (engine, mut batch) = (engine_of(&world), Batch::default());
        beside::edit(&engine, &mut batch, &[(index, record)].into()).unwrap();
        engine.commit(batch).unwrap();
    };
    put(receipt, Some(before));
    let report = run(&options(&world));
    finds(&report, Rule::DetailsNotErased, Some(receipt));
    assert_eq!(rules(&report).len(), 1);

    // Another receipt's details are missing without an entry; its stub is there, or not.
    put(receipt, stub);
    let engine = engine_of(&world);
    let (other, kept) = (receipt + 1..receipt + 3)
        .find_map(|index| {
            beside::read(&engine, index)
                .unwrap()
                .map(|record| (index, record))
        })
        .unwrap();
    drop(engine);
    let [_, len, ..] = kept[..] else {
        panic!("a record")
    };
    assert_eq!(len, 0x58, "a byte string of one byte's length");
    let mut bare = kept[..3 + usize::from(kept[2])].to_vec();
    bare[0] = 0x81;
    for record in [Some(bare), None] {
        put(other, record);
        let report = run(&options(&world));
        finds(&report, Rule::DetailsMissing, Some(other));
        assert_eq!(rules(&report).len(), 1);
    }
    put(other, Some(kept));

    // The same receipt erased again.
    let twice = coupons::add(&world, |log| {
        log.iter()
            .find(|entry| entry.index == erasure)
            .map(|entry| entry.event.clone())
            .unwrap()
    });
    finds(&run(&options(&world)), Rule::ErasureRepeated, Some(twice));

    // Erasures of what is no receipt.
    for entry in [0, receipt - 1, erasure + 7] {
        let engine = engine_of(&world);
        let mut all = entries(&engine);
        forge(&mut all, |event| match event {
            Event::ReceiptErased(ReceiptErased { receipt_entry, .. }) => {
                *receipt_entry = entry;
                true
            }
            _ => false,
        });
        put_entries(&engine, &all);
        drop(engine);
        finds(&run(&options(&world)), Rule::ErasureOfNothing, Some(erasure));
    }
}

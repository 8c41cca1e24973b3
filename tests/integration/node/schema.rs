//! `schemas/entry-bodies.cddl` describes what a node records, and nothing wrong.

use std::collections::BTreeMap;

use serde_cbor::Value;
use tallystick::encoding::cbor;
use tallystick::store::scan_entries;

use super::world::*;

fn validates(schema: &str, entry: &Value) -> Result<(), String> {
    let bytes = cbor::encode(entry);
    cddl::validate_cbor_from_slice(schema, &bytes, None).map_err(|error| error.to_string())
}

fn changed(entry: &Value, change: impl FnOnce(&mut Vec<Value>)) -> Value {
    let Value::Array(mut items) = entry.clone() else {
        panic!("an entry is an array")
    };
    let Value::Array(body) = &mut items[5] else {
        panic!("a body is an array")
    };
    change(body);
    Value::Array(items)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_entry_is_as_the_schema_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/entry-bodies.cddl");
    let schema = std::fs::read_to_string(path).unwrap();
    let world = World::memory();
    let node = world.open();
    let first = story(&node, "a").await;
    // Without answers to anyone, with an amount of their own, and all targets.
    let mut own = order(first.campaign.id, 2);
    own.amount = Some(cents(150));
    let batch = node.issue_coupons(&office(), own).await.unwrap().batch;
    for target in [
        tallystick::node::RevocationTarget::Batch(batch),
        tallystick::node::RevocationTarget::Campaign(first.campaign.id),
    ] {
        let status = tallystick::ledger::NewStatus::Suspended;
        node.set_status(&office(), &target, status, None).await.unwrap();
    }
    node.status_list(0).await.unwrap();
    node.shut_down().await;

    let mut by_kind: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    scan_entries(world.memory_engine(), 0, &mut |_, bytes| {
        let entry = cbor::decode(bytes, 6_144).unwrap();
        let Value::Array(items) = &entry else {
            panic!("an array")
        };
        by_kind
            .entry(cbor::as_int(&items[4], "kind").unwrap())
            .or_default()
            .push(entry);
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(
        by_kind.keys().copied().collect::<Vec<_>>(),
        (0..=7).collect::<Vec<_>>()
    );
    for (kind, entries) in by_kind {
        for entry in &entries {
            if let Err(error) = validates(&schema, entry) {
                panic!("kind {kind} is refused: {error}\n{entry:?}");
            }
        }
        let entry = &entries[0];
        let Value::Array(items) = entry else {
            panic!("an array")
        };
        let other = |place: usize, value: Value| {
            let mut items = items.clone();
            items[place] = value;
            Value::Array(items)
        };
        for (why, bad) in [
            ("another version", other(0, cbor::int(2))),
            ("an unknown kind", other(4, cbor::int(8))),
            ("a hash of 31 bytes", other(3, cbor::bytes([0; 31]))),
            (
                "a body with an item too few",
                changed(entry, |body| drop(body.pop())),
            ),
            (
                "a body with an item too many",
                changed(entry, |body| body.push(Value::Null)),
            ),
            (
                "a body with a float",
                changed(entry, |body| body[0] = Value::Float(1.0)),
            ),
            (
                "a last item of 15 bytes",
                changed(entry, |body| *body.last_mut().unwrap() = cbor::bytes([0; 15])),
            ),
        ] {
            assert!(
                validates(&schema, &bad).is_err(),
                "kind {kind}: {why} is accepted"
            );
        }
    }
}

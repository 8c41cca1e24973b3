//! What an auditor says of the members' stores, who is shown what others have cosigned.

use super::prepared::MEMBERS;
use super::world::World;
use crate::node::audit::{AuditOptions, AuditReport, Verdict, audit};
use crate::store::{Batch, Engine as _, Guard, SledEngine};
use crate::testkit::node::ScratchDir;

/// Rows that are copied with one write.
const ROWS_AT_ONCE: usize = 500;

/// Every store is clean, but that of the member that has signed two histories: its
/// auditor sees that from what others hold.
///
/// # Panics
/// When it is otherwise.
pub fn logs_are_clean(world: &World) {
    for member in 0..MEMBERS {
        let report = audited(world, member);
        let is_forked = world.forked.get() == Some(member);
        let expected = if is_forked {
            Verdict::Findings
        } else {
            Verdict::Clean
        };
        let found = &report.findings;
        assert_eq!(
            report.verdict(),
            expected,
            "the audit of member {member}: {found:?}"
        );
    }
}

fn audited(world: &World, member: usize) -> AuditReport {
    let (engine, guard) = world.copy_of_disk(member);
    let dir = ScratchDir::new();
    let path = dir.path().join("store");
    let store = SledEngine::create(&path).expect("a fresh directory");
    let mut rows = Vec::new();
    engine
        .scan(&[], &[], &mut |key, value| {
            rows.push((key.to_vec(), Some(value.to_vec())));
            std::ops::ControlFlow::Continue(())
        })
        .expect("rows in memory");
    for some in rows.chunks(ROWS_AT_ONCE) {
        let batch = Batch {
            require_absent: None,
            writes: some.to_vec(),
        };
        store.commit(batch).expect("a working store");
    }
    drop(store);
    let guarded = dir.path().join("guard");
    Guard::create(&guarded, &guard.state()).expect("a fresh directory");
    let others = (0..MEMBERS).filter(|other| *other != member);
    let held = others.filter_map(|other| Some((other, world.cosigned(other, member)?)));
    let options = AuditOptions {
        dir: path,
        guard: Some(guarded),
        checkpoints: held
            .map(|(other, (note, _))| (format!("member {other}'s"), note.as_bytes().to_vec()))
            .collect(),
        ..AuditOptions::default()
    };
    audit(&options, &mut |_, _| {}).expect("a store that can be audited")
}

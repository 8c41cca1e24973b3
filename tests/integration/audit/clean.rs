//! What is clean, and against what.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_log_by_the_rules_is_clean_and_left_alone() {
    let world = shop().await;
    let before = files(&store_of(&world));
    let report = run(&options(&world));
    assert_eq!(report.verdict(), Verdict::Clean, "{:#?}", report.findings.kept());
    assert!(report.points[0].compared && report.summary.whole);
    assert_eq!(report.summary.kind("receipt"), 151);
    assert_eq!(report.summary.kind("redemption"), 27);
    assert_eq!(
        (report.summary.coupons, report.summary.coupons_redeemed),
        (144, 22)
    );
    let receipts: u64 = report.summary.receipts.values().map(|total| total.count).sum();
    let sum: i128 = report.summary.receipts.values().map(|total| total.sum).sum();
    assert_eq!((receipts, sum), (151, 151 * 144));
    assert_eq!(report.summary.campaigns.len(), 3);
    // Nothing was changed, nothing left behind.
    assert_eq!(files(&store_of(&world)), before);
    let beside = std::fs::read_dir(store_of(&world).parent().unwrap()).unwrap();
    let left: Vec<_> = beside
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("audit"))
        .collect();
    assert_eq!(left, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_cut_off_or_continued_is_clean() {
    let world = World::sled();
    let node = world.open();
    day(&node, &world).await;
    // Not shut down: no checkpoint of derived state. A running node is refused.
    let refused = audit(&options(&world), &mut |_, _| {}).unwrap_err();
    assert!(matches!(refused, AuditError::InUse { .. }), "{refused}");
    node.shut_down().await;
    drop(node);
    let node = world.open();
    let campaign = node.campaigns()[0].id;
    let more = node.issue_coupons(&office(), order(campaign, 2)).await.unwrap();
    let target = RevocationTarget::Campaign(campaign);
    node.set_status(&office(), &target, NewStatus::Revoked, None)
        .await
        .unwrap();
    assert_eq!(more.coupons.len(), 2);
    node.shut_down().await;
    drop(node);
    let report = run(&options(&world));
    assert_eq!(report.verdict(), Verdict::Clean, "{:#?}", report.findings.kept());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_anything_signed_the_end_cannot_be_known() {
    let world = shop().await;
    let mut alone = options(&world);
    alone.guard = None;
    let report = run(&alone);
    assert_eq!(
        report.verdict(),
        Verdict::CleanAsFarAsKnown,
        "{:#?}",
        report.findings.kept()
    );

    // A checkpoint settles it, of the same size or of a smaller one.
    let all = entries(&engine_of(&world));
    for size in [all.len(), 100] {
        let note = checkpoint(&world, size as u64, root_of(&all[..size]));
        alone.checkpoints = vec![("note".to_owned(), note)];
        assert_eq!(run(&alone).verdict(), Verdict::Clean);
    }
    // Another root, a larger size, another log's key.
    let note = checkpoint(&world, 100, root_of(&all[..99]));
    alone.checkpoints = vec![("note".to_owned(), note)];
    finds(&run(&alone), Rule::RootDiffers, Some(99));
    let note = checkpoint(&world, all.len() as u64 + 5, Digest::ZERO);
    alone.checkpoints = vec![("note".to_owned(), note)];
    finds(
        &run(&alone),
        Rule::LogShorterThanSigned,
        Some(all.len() as u64 + 4),
    );
    alone.checkpoints = vec![("note".to_owned(), b"not a note".to_vec())];
    finds(&run(&alone), Rule::CheckpointForeign, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_audited_is_said() {
    let empty = tempfile::tempdir().unwrap();
    let options = AuditOptions {
        dir: empty.path().to_path_buf(),
        ..AuditOptions::default()
    };
    assert!(matches!(
        audit(&options, &mut |_, _| {}),
        Err(AuditError::NoStore { .. })
    ));
    std::fs::write(empty.path().join("db"), b"").unwrap();
    assert!(audit(&options, &mut |_, _| {}).is_err());
    // A guard that cannot be read is a finding, not a shrug.
    let world = shop().await;
    let ruined = empty.path().join("ruined.guard");
    std::fs::write(&ruined, [0; 100]).unwrap();
    let mut options = self::options(&world);
    options.guard = Some(ruined);
    finds(&run(&options), Rule::GuardUnreadable, None);
    // Another log's guard.
    let other = empty.path().join("other.guard");
    Guard::create(&other, &GuardState::new(20, [3; 32])).unwrap();
    options.guard = Some(other);
    finds(&run(&options), Rule::RootDiffers, Some(19));
}

//! Entries changed, forged, cut off.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_of_an_entry_changed_in_the_file_is_found_where_it_is() {
    let world = shop().await;
    let all = entries(&engine_of(&world));
    // Entry 40's bytes, wherever they have been put.
    let needle = &all[40];
    for name in ["db", "journal.0", "journal.1"] {
        let path = store_of(&world).join(name);
        let whole = std::fs::read(&path).unwrap();
        let mut file = whole.clone();
        let places: Vec<usize> = (0..whole.len().saturating_sub(needle.len()))
            .filter(|at| whole[*at] == needle[0] && whole[*at..].starts_with(needle))
            .collect();
        assert!(name != "db" || !places.is_empty());
        for at in places {
            file[at + 60] ^= 1;
        }
        std::fs::write(&path, file).unwrap();
    }
    let report = run(&options(&world));
    let hit = report.findings.kept().iter().any(|finding| {
        let unreadable = matches!(finding.rule, Rule::EntriesUnreadable | Rule::LogShorterThanSigned);
        unreadable
            && finding
                .entries
                .is_some_and(|(first, last)| (first..=last).contains(&40))
    });
    assert!(hit, "{:#?}", report.findings.kept());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_entry_is_named_with_or_without_new_links() {
    let world = shop().await;
    let engine = engine_of(&world);
    let mut all = entries(&engine);
    let at = forge(&mut all, |event| match event {
        Event::ReceiptIssued(receipt) if receipt.sequence_number == 9 => {
            receipt.sequence_number = 10;
            true
        }
        _ => false,
    });
    put_entries(&engine, &all);
    drop(engine);
    let report = run(&options(&world));
    finds(&report, Rule::EntryLink, Some(at as u64 + 1));
    finds(&report, Rule::SequenceNumber, Some(at as u64));
    finds(&report, Rule::ReceiptDiffers, Some(at as u64));
    finds(&report, Rule::TileWrong, Some(at as u64));
    finds(&report, Rule::RootDiffers, None);

    let engine = engine_of(&world);
    relink(&mut all, at);
    put_entries(&engine, &all);
    drop(engine);
    let report = run(&options(&world));
    assert!(!rules(&report).contains("entry_link"));
    finds(&report, Rule::RootDiffers, None);
    finds(&report, Rule::TileWrong, Some(at as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_out_of_order_time_or_form_are_named() {
    let world = shop().await;
    let engine = engine_of(&world);
    let good = entries(&engine);
    let mut all = good.clone();
    let change = |bytes: &[u8], change: &dyn Fn(&mut Entry)| {
        let mut entry = Entry::decode(bytes).unwrap();
        change(&mut entry);
        entry.encode().unwrap()
    };
    all[20] = change(&all[20], &|entry| entry.index = 21);
    all[30] = change(&all[30], &|entry| entry.time = UnixSeconds(START - 1));
    all[40] = change(&all[40], &|entry| entry.kind = 99);
    all[50] = change(&all[50], &|entry| entry.body = cbor::int(3));
    all[60][0] = 0xff;
    put_entries(&engine, &all);
    drop(engine);
    let report = run(&options(&world));
    finds(&report, Rule::EntryIndex, Some(20));
    finds(&report, Rule::EntryTime, Some(30));
    finds(&report, Rule::EntryKind, Some(40));
    finds(&report, Rule::EntryBody, Some(50));
    finds(&report, Rule::EntryForm, Some(60));
    assert_eq!(report.summary.undecodable, 3);
    // What follows is not blamed for what is missing.
    assert!(
        !rules(&report).contains("sequence_number"),
        "{:#?}",
        report.findings.kept()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_cut_off_and_an_older_store_are_told_by_what_was_signed() {
    let world = shop().await;
    let older = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: &Path| {
        std::fs::create_dir_all(to).unwrap();
        for (path, bytes) in files(from) {
            std::fs::write(to.join(path.file_name().unwrap()), bytes).unwrap();
        }
    };
    let kept = older.path().join("store");
    copy(&store_of(&world), &kept);
    let before = entries(&engine_of(&world)).len() as u64;

    let node = world.open();
    for n in 0..5 {
        let draft = receipt(&lane(1), &format!("more{n}"), node.now().0);
        node.issue_receipt(&till(&lane(1)), draft).await.unwrap();
    }
    node.shut_down().await;
    drop(node);
    let size = entries(&engine_of(&world)).len() as u64;
    assert!(size >= before + 5);

    let mut older_store = options(&world);
    older_store.dir = kept;
    let report = run(&older_store);
    finds(&report, Rule::LogShorterThanSigned, Some(before));
    finds(&report, Rule::LogShorterThanSigned, Some(size - 1));

    // The tail's rows removed: what the raw file still holds is told apart.
    let engine = engine_of(&world);
    let mut batch = Batch::default();
    engine
        .scan(&[keys::ENTRY], &keys::entry(before), &mut |key, _| {
            batch.remove(key.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
    engine.commit(batch).unwrap();
    drop(engine);
    let report = run(&options(&world));
    let lost = report.findings.kept().iter().any(|finding| {
        matches!(finding.rule, Rule::EntriesLost | Rule::LogShorterThanSigned)
            && finding
                .entries
                .is_some_and(|(first, last)| first <= before && last == size - 1)
    });
    assert!(lost, "{:#?}", report.findings.kept());
}

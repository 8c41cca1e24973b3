//! What becomes of which row.

use tallystick::credential::ReceiptKind;
use tallystick::ledger::Mark;
use tallystick::primitives::UnixSeconds;

use super::export::*;
use super::*;
use crate::import::{SOME_REJECTED, try_import};

#[test]
fn a_transaction_becomes_a_receipt_that_adds_up() {
    let coop = Coop::new();
    let rows = transaction(
        1,
        vec![
            item("KALE", "3.09")
                .with("quantity", "1.83")
                .with("unitPrice", "1.69")
                .with("scale", "1"),
            comment("** Tare Weight 0.01 **"),
            item("YOGURT \"PLAIN\"", "1.5").status("M"),
            typed("I", "0", "0")
                .with("upc", "0")
                .with("description", "** YOU SAVED $0.55 **")
                .status("D"),
            item("", "10").with("upc", "0009"),
            item("MISTAKE", "2.00"),
            item("MISTAKE", "-2.00").status("V").with("quantity", "-1"),
            ring("BAKERY", "4").with("department", "150"),
            typed("I", "IC", "-5")
                .status("C")
                .with("description", "Co-op coupon"),
            typed("0", "0", "0")
                .status("D")
                .with("description", "** 10% Discount Applied **"),
            tender("CP", "-0.50").status("C"),
            tender("EF", "-2.50"),
            tender("CC", "-4"),
            tender("CC", "4").status("V"),
            tender("CA", "-20"),
            change("9.76"),
            discount("-0.45"),
            tax("0.10"),
        ],
    );
    let ran = coop.import(&rows, &[]);
    assert_eq!(
        (ran.code, &ran.counts["receipts_issued"]),
        (0, &1.into()),
        "{}",
        ran.stderr
    );
    let receipt = coop.receipt(1, "204");
    let expected = [
        ("KALE", 309),
        ("YOGURT \"PLAIN\"", 150),
        ("upc 0009", 1_000),
        ("MISTAKE", 200),
        ("MISTAKE", -200),
        ("BAKERY", 400),
        ("Co-op coupon", -500),
        ("Discount", -45),
    ];
    assert_eq!(lines(&receipt), expected);
    let kale = &receipt.details.lines[0];
    assert_eq!(kale.quantity.to_string(), "1.83");
    assert_eq!(kale.unit_price.unwrap().to_string(), "1.69");
    // The void takes its tender back, and change is part of cash.
    assert_eq!(
        tenders(&receipt),
        [("coupon", 50), ("ebt_food", 250), ("cash", 1_024)]
    );
    let taxes = &receipt.details.taxes;
    assert_eq!((taxes.len(), taxes[0].rate), (1, None));
    assert_eq!(
        (taxes[0].net.minor_units(), taxes[0].tax.minor_units()),
        (1_314, 10)
    );
    assert_eq!(receipt.details.member.as_deref(), Some("204"));
    assert_eq!(receipt.details.cashier.as_deref(), Some("7"));
    assert_eq!(receipt.mark, Mark::Import);
    let stub = stub(&receipt);
    assert_eq!((stub.kind, stub.total.minor_units()), (ReceiptKind::Sale, 1_324));
    assert_eq!(stub.issued_at, UnixSeconds(1_772_877_600));
    let clear = &ran.counts["core_pos"]["live_and_clear"];
    assert_eq!(
        (&clear["goods"], &clear["tax"], &clear["tenders"]),
        (&1_314.into(), &10.into(), &(-1_324).into())
    );
    assert_eq!(clear["add_up_to_zero"], 1);
}

#[test]
fn what_is_no_sale_is_set_aside_and_listed() {
    let coop = Coop::new();
    let rows = [
        sale(1, "1.00"),
        all(sale(2, "2.00"), "emp_no", "9999"),
        all(sale(3, "3.00"), "register_no", "99"),
        all(sale(4, "4.00"), "trans_status", "X"),
        transaction(5, vec![item("BREAD", "5.00").status("X"), comment("Subtotal")]),
        transaction(6, vec![comment("Drawer opened"), typed("0", "0", "0")]),
        transaction(
            7,
            vec![
                item("BREAD", "7.00").status("Z"),
                item("BREAD", "1.00").status("D"),
            ],
        ),
    ]
    .concat();
    let ran = coop.import(&rows, &[]);
    assert_eq!(ran.code, 0, "nothing was missed: {}", ran.stderr);
    assert_eq!(ran.counts["receipts_issued"], 1);
    let buckets = &ran.counts["core_pos"]["left_out"];
    assert_eq!(buckets.as_object().unwrap().len(), 3);
    let bucket = |why: &str| {
        let bucket = &buckets[why];
        ["transactions", "rows", "goods", "tenders"].map(|member| number(&bucket[member]))
    };
    assert_eq!(bucket("training"), [2, 6, 500, -500]);
    assert_eq!(bucket("cancelled"), [2, 5, 900, -400]);
    assert_eq!(bucket("nothing_sold"), [2, 4, 0, 0]);
    for line in [
        "export.csv,4,2026-03-07/0/3/9999/2/204,no sale,training and tests",
        "export.csv,7,2026-03-07/0/99/7/3/204,no sale,training",
        "export.csv,10,2026-03-07/0/3/7/4/204,no sale,cancelled",
    ] {
        assert!(coop.reports(line), "{line}");
    }
    assert!(!ran.stderr.contains("line"), "{}", ran.stderr);
}

#[test]
fn refunds_voids_and_nothing_have_their_types() {
    let coop = Coop::new();
    let back = |letter: &str| item("GARLIC", "-10.19").status(letter).with("quantity", "-1");
    let rows = [
        transaction(
            1,
            vec![back("R"), tender("CA", "0"), change("10.99"), tax("-0.80")],
        ),
        transaction(2, vec![back("V"), tender("CC", "10.19"), tax("0")]),
        transaction(
            3,
            vec![item("BREAD", "2"), item("BREAD", "-2").status("V"), tax("0")],
        ),
        transaction(4, vec![tender("CK", "-23.82"), change("23.82"), tax("0")]),
        transaction(5, vec![item("1 CUP DONATED", "0").with("quantity", "0")]),
    ]
    .concat();
    let ran = coop.import(&rows, &[]);
    assert_eq!(
        (ran.code, &ran.counts["receipts_issued"]),
        (0, &5.into()),
        "{}",
        ran.stderr
    );
    let kind = |number| {
        let stub = stub(&coop.receipt(number, "204"));
        (stub.kind, stub.total.minor_units())
    };
    assert_eq!(kind(1), (ReceiptKind::Refund, -1_099));
    assert_eq!(tenders(&coop.receipt(1, "204")), [("cash", -1_099)]);
    assert_eq!(coop.receipt(1, "204").details.taxes[0].tax.minor_units(), -80);
    assert_eq!(kind(2), (ReceiptKind::Void, -1_019));
    assert_eq!(kind(3), (ReceiptKind::Sale, 0));
    assert_eq!(tenders(&coop.receipt(3, "204")), []);
    // A check that was cashed.
    assert_eq!(
        tenders(&coop.receipt(4, "204")),
        [("check", 2_382), ("cash", -2_382)]
    );
    assert_eq!(lines(&coop.receipt(5, "204")), [("1 CUP DONATED", 0)]);
    let counts = &ran.counts["core_pos"]["receipts"];
    assert_eq!(
        (&counts["refunds"], &counts["voids"], &counts["total_zero"]),
        (&1.into(), &1.into(), &3.into())
    );
}

#[test]
fn what_does_not_add_up_or_is_not_paid_is_no_receipt() {
    let coop = Coop::new();
    let rows = [
        transaction(
            1,
            vec![ring("ACCOUNT PAYMENT", "57.70").with("department", "990")],
        ),
        transaction(2, vec![item("BREAD", "2.00"), ring("BAKERY", "1.00")]),
        transaction(3, vec![item("BREAD", "1.07"), tender("MI", "-1.15"), tax("0.04")]),
        transaction(
            4,
            vec![item("BREAD", "1.00"), tender("CA", "-1.00"), item("LATE", "0.25")],
        ),
        transaction(5, vec![ring("ACCOUNT PAYMENT", "5.00"), tender("CK", "-4.00")]),
    ]
    .concat();
    let ran = coop.import(&rows, &[]);
    assert_eq!(
        (ran.code, &ran.counts["receipts_issued"]),
        (SOME_REJECTED, &1.into())
    );
    // A posting without a tender: the receipt says that it is not recorded.
    assert_eq!(tenders(&coop.receipt(1, "204")), [("not_recorded", 5_770)]);
    assert_eq!(ran.counts["core_pos"]["receipts"]["tender_not_recorded"], 1);
    assert_eq!(left_out(&ran, "no_tender"), 1);
    assert_eq!(left_out(&ran, "does_not_add_up"), 3);
    assert!(coop.reports("goods and tax come to 1.11, the tenders to 1.15: -0.04 is missing"));
    let clear = &ran.counts["core_pos"]["live_and_clear"];
    assert_eq!(
        (&clear["transactions"], &clear["add_up_to_zero"]),
        (&5.into(), &0.into())
    );
}

#[test]
fn tender_codes_are_known_or_reported() {
    let coop = Coop::new();
    let paid = |number, code| {
        transaction(
            number,
            vec![item("BREAD", "1.00"), tender(code, "-1.00"), tender("QQ", "0")],
        )
    };
    let codes = ["CA", "CC", "CK", "MI", "EF", "EC", "GD", "SC", "TC", "CP", "WT"];
    let rows: Vec<Row> = (1..)
        .zip(codes)
        .flat_map(|(number, code)| paid(number, code))
        .collect();
    let ran = coop.import(&rows, &[]);
    assert_eq!(
        (ran.code, &ran.counts["receipts_issued"]),
        (SOME_REJECTED, &10.into())
    );
    assert_eq!(left_out(&ran, "unknown_code"), 1);
    assert!(
        coop.reports("the tender code \"\"WT\"\" is not known (line 32): --tender WT=KIND says what it is")
    );
    let kinds: Vec<String> = (1..=10)
        .map(|number| coop.receipt(number, "204").details.tenders[0].kind.clone())
        .collect();
    let expected =
        "cash card check in_store_charge ebt_food ebt_cash gift_card store_credit gift_certificate coupon";
    assert_eq!(kinds.join(" "), expected);
    let other = Coop::new();
    let ran = other.import(&rows, &["--tender", "WT=wic", "--tender", "MI=house_account"]);
    assert_eq!(
        (ran.code, &ran.counts["receipts_issued"]),
        (0, &11.into()),
        "{}",
        ran.stderr
    );
    assert_eq!(tenders(&other.receipt(11, "204")), [("wic", 100)]);
    assert_eq!(tenders(&other.receipt(4, "204")), [("house_account", 100)]);
    let file = coop.file("x.csv", "");
    let bad = try_import(&coop.world, &["core-pos", &file, "--tender", "WT=Wic!"]);
    assert!(bad.err().unwrap().to_string().contains("such as WT=wic"));
}

#[test]
fn coupons_of_older_and_newer_data() {
    let coop = Coop::new();
    let rows = [
        // Older data: a tender, whatever its type says.
        transaction(
            1,
            vec![
                item("BREAD", "3.00"),
                typed("I", "CP", "-1.00"),
                tender("CA", "-2.00"),
            ],
        ),
        transaction(
            2,
            vec![
                item("BREAD", "3.00"),
                typed("C", "CP", "-1.00"),
                tender("CA", "-2.00"),
            ],
        ),
        transaction(
            3,
            vec![
                item("BREAD", "3.00"),
                typed("T", "IC", "-1.00"),
                tender("CA", "-2.00"),
            ],
        ),
        transaction(
            4,
            vec![
                item("BREAD", "3.00"),
                typed("D", "IC", "-1.00"),
                tender("CA", "-2.00"),
            ],
        ),
        // The shop's own coupon takes off the goods; so do newer data's discount lines.
        transaction(
            5,
            vec![
                item("BREAD", "3.00"),
                typed("I", "IC", "-1.00"),
                tender("CA", "-2.00"),
            ],
        ),
        transaction(
            6,
            vec![
                item("BREAD", "3.00"),
                typed("S", " ", "-1.00"),
                tender("CA", "-2.00"),
            ],
        ),
    ]
    .concat();
    let ran = coop.import(&rows, &[]);
    assert_eq!(
        (ran.code, &ran.counts["receipts_issued"]),
        (0, &6.into()),
        "{}",
        ran.stderr
    );
    let paid = |number| stub(&coop.receipt(number, "204")).total.minor_units();
    for (number, coupon) in [
        (1, "coupon"),
        (2, "coupon"),
        (3, "store_coupon"),
        (4, "store_coupon"),
    ] {
        assert_eq!(
            tenders(&coop.receipt(number, "204")),
            [(coupon, 100), ("cash", 200)]
        );
        assert_eq!(paid(number), 300);
    }
    for number in [5, 6] {
        assert_eq!(tenders(&coop.receipt(number, "204")), [("cash", 200)]);
        assert_eq!(
            lines(&coop.receipt(number, "204")),
            [("BREAD", 300), ("A row", -100)]
        );
        assert_eq!(paid(number), 200);
    }
}

#[test]
fn codes_that_are_not_known_are_not_guessed() {
    let coop = Coop::new();
    let rows = [
        transaction(1, vec![item("BREAD", "1.00").status("Q"), tender("CA", "-1.00")]),
        transaction(2, vec![typed("L", "", "1.00"), tender("CA", "-1.00")]),
        // Without an amount they change nothing.
        transaction(
            3,
            vec![
                item("BREAD", "1.00"),
                tender("CA", "-1.00"),
                typed("L", "OG", "0"),
                comment("x").status("Q"),
            ],
        ),
    ]
    .concat();
    let ran = coop.import(&rows, &[]);
    assert_eq!(ran.counts["receipts_issued"], 1);
    assert_eq!(left_out(&ran, "unknown_code"), 2);
    assert!(coop.reports("trans_status \"\"Q\"\", with an amount, is not known (line 1)"));
    assert!(coop.reports("trans_type \"\"L\"\", with an amount, is not known (line 3)"));
    assert_eq!(lines(&coop.receipt(3, "204")), [("BREAD", 100)]);
}

#[test]
fn transactions_are_told_apart_by_member_or_not_at_all() {
    let coop = Coop::new();
    let of = |card: &str, total: &str| all(sale(1, total), "card_no", card);
    // Two customers under one number, rows mixed; a member's blanks come and go.
    let (mut first, second) = (of("31  ", "1.00"), of("205", "2.00"));
    first[2] = first[2].clone().with("card_no", "31");
    let mixed: Vec<Row> = first
        .into_iter()
        .rev()
        .zip(second)
        .flat_map(|(a, b)| [a, b])
        .collect();
    // Two at once without a number: their rows cannot be told apart.
    let twice = [
        all(sale(2, "1.00"), "card_no", "11"),
        all(sale(2, "2.00"), "card_no", "11    "),
    ]
    .concat();
    let none = [
        all(sale(3, "3.00"), "card_no", "11 "),
        all(sale(4, "4.00"), "card_no", "0"),
        all(sale(5, "5.00"), "card_no", "99999"),
        all(sale(6, "5.00"), "card_no", " "),
    ]
    .concat();
    let rows = [mixed, twice, none].concat();
    let ran = coop.import(&rows, &[]);
    assert_eq!(
        (ran.code, &ran.counts["receipts_issued"]),
        (SOME_REJECTED, &6.into()),
        "{}",
        ran.stderr
    );
    assert_eq!(lines(&coop.receipt(1, "31")), [("BREAD", 100)]);
    assert_eq!(lines(&coop.receipt(1, "205")), [("BREAD", 200)]);
    let core = &ran.counts["core_pos"];
    assert_eq!(
        (&core["keys"], &core["transactions"], &core["repeat_trans_id"]),
        (&6.into(), &7.into(), &1.into())
    );
    assert_eq!(left_out(&ran, "repeated_trans_id"), 1);
    assert_eq!(core["left_out"]["repeated_trans_id"]["goods"], 300);
    let member = |coop: &Coop, number, card| coop.receipt(number, card).details.member;
    assert_eq!(member(&coop, 3, "11"), None);
    assert_eq!(member(&coop, 4, "0"), None);
    assert_eq!(member(&coop, 5, "99999").as_deref(), Some("99999"));
    assert_eq!(member(&coop, 6, "0"), None);
    let other = Coop::new();
    other.import(&rows, &["--no-member", "99999", "--no-member", "31"]);
    assert_eq!(member(&other, 3, "11").as_deref(), Some("11"));
    assert_eq!(member(&other, 5, "99999"), None);
    assert_eq!(member(&other, 1, "31"), None);
    assert_eq!(member(&other, 4, "0"), None);
}

#[test]
fn a_transaction_within_a_cancelled_one_cannot_be_told_apart() {
    let coop = Coop::new();
    let rows = [all(sale(1, "1.00"), "trans_status", "X"), sale(1, "2.00")].concat();
    let ran = coop.import(&rows, &[]);
    assert_eq!(left_out(&ran, "repeated_trans_id"), 1);
    assert_eq!(ran.counts["receipts_issued"], 0);
}

#[test]
fn times_are_of_a_year_that_receipts_can_have() {
    let coop = Coop::new();
    let at = |number, time: &str| all(sale(number, "1.00"), "datetime", time);
    let rows = [at(1, "1900-02-29 10:00:00"), at(2, "1900-07-02 10:00:00")].concat();
    let file = coop.file("export.csv", older(&rows));
    let stopped = format!(
        "{:#}",
        try_import(&coop.world, &["core-pos", &file]).err().unwrap()
    );
    assert!(
        stopped.contains("1900-02-29 10:00:00") && stopped.contains("--year YEAR"),
        "{stopped}"
    );
    let ran = coop.import(&rows, &["--year", "2012", "--time-zone", "America/Chicago"]);
    assert_eq!(
        (ran.code, &ran.counts["receipts_issued"]),
        (0, &2.into()),
        "{}",
        ran.stderr
    );
    let leap = receipt(&coop.world, "lane3", "2012-02-29/0/3/7/1/204").unwrap();
    assert_eq!(stub(&leap).issued_at, UnixSeconds(1_330_531_200));
    for bad in ["1969", "10000", "MMXII"] {
        assert!(
            try_import(&coop.world, &["core-pos", &file, "--year", bad]).is_err(),
            "{bad}"
        );
    }
    // One wrong time among right ones is a bad row, and so is what is no time.
    let rows = [
        at(3, "2026-03-07 10:00:00"),
        at(4, "1969-12-31 23:00:00"),
        at(5, "0000-00-00 00:00:00"),
    ]
    .concat();
    let ran = coop.import(&rows, &[]);
    assert_eq!(ran.counts["rows_bad"], 6);
    assert!(coop.reports("1969-12-31 23:00:00\"\" lies before 1970"));
    // What follows directly may lack one of them.
    assert_eq!(
        (left_out(&ran, "bad_row"), &ran.counts["receipts_issued"]),
        (1, &0.into())
    );
    // After the node's clock.
    let ran = coop.import(&at(6, "2126-03-07 10:00:00"), &[]);
    let refused = &ran.counts["core_pos"]["receipts"]["refused_by_the_node"];
    assert_eq!(
        (&refused["transactions"], &refused["rows"], &refused["total"]),
        (&1.into(), &3.into(), &100.into())
    );
}

#[test]
fn stores_currencies_and_registers_are_settings() {
    let coop = Coop::new();
    let ran = coop.import(&sale(1, "1.00"), &["--store-id", "4", "--currency", "CAD"]);
    assert_eq!(
        (ran.code, &ran.counts["core_pos"]["currency"]),
        (0, &"CAD".into()),
        "{}",
        ran.stderr
    );
    let found = receipt(&coop.world, "shop4-lane3", "2026-03-07/4/3/7/1/204").unwrap();
    assert_eq!(stub(&found).currency.letters(), "CAD");
    coop.import(&sale(2, "1.00"), &["--register", "till"]);
    assert!(receipt(&coop.world, "till", "2026-03-07/0/3/7/2/204").is_some());
    // The same store, told by the export itself.
    let newer = rows(&without(&[]), &all(sale(1, "1.00"), "store_id", "4"));
    let file = coop.file("newer.csv", newer);
    let ran = coop.import_files(&[&file], &["--currency", "CAD"]);
    assert_eq!(ran.counts["receipts_repeated"], 1);
}

#[test]
fn a_receipt_has_a_thousand_lines_at_most() {
    let coop = Coop::new();
    let mut lines: Vec<Row> = (0..1_001).map(|_| item("PEA", "0.01")).collect();
    lines.push(tender("CA", "-10.01"));
    let ran = coop.import(&transaction(1, lines), &[]);
    assert_eq!(left_out(&ran, "not_a_receipt"), 1);
    assert!(coop.reports("1001 lines, at most 1000 are allowed"));
    let huge = item("FUEL", "6878.3")
        .with("quantity", "4070")
        .with("unitPrice", "1.6900000000000002");
    let rows = transaction(2, vec![huge, tender("CC", "-6878.3")]);
    assert_eq!(coop.import(&rows, &[]).code, 0);
    let fuel = &coop.receipt(2, "204").details.lines[0];
    assert_eq!(
        (fuel.quantity.to_string().as_str(), fuel.unit_price),
        ("4070", None)
    );
}

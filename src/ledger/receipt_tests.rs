use proptest::prelude::*;

use super::*;
use crate::credential::details::{Line, Tax, Tender};

const NOW: u64 = 1_772_896_800;

fn cents(minor_units: i64) -> Amount {
    Amount::new(minor_units).unwrap()
}

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text, 6).unwrap()
}

fn line(total: i64, rate: Option<&str>) -> Line {
    Line {
        description: "Äpfel".to_owned(),
        quantity: decimal("1"),
        unit: None,
        unit_price: None,
        total: cents(total),
        tax_rate: rate.map(decimal),
    }
}

/// Lines, taxes (rate, net, tax) and the total, paid in cash.
fn draft(
    includes: bool,
    lines: &[(i64, Option<&str>)],
    taxes: &[(Option<&str>, i64, i64)],
    total: i64,
) -> ReceiptDraft {
    ReceiptDraft {
        register: Register::new("lane").unwrap(),
        kind: ReceiptKind::Sale,
        currency: Currency::from_letters("EUR").unwrap(),
        issued_at: UnixSeconds(NOW),
        mark: Mark::Live,
        prices_include_tax: includes,
        total: cents(total),
        details: ReceiptDetails {
            lines: lines.iter().map(|(total, rate)| line(*total, *rate)).collect(),
            tenders: vec![Tender {
                kind: "cash".to_owned(),
                amount: cents(total),
            }],
            taxes: taxes
                .iter()
                .map(|(rate, net, tax)| Tax {
                    rate: rate.map(decimal),
                    net: cents(*net),
                    tax: cents(*tax),
                })
                .collect(),
            ..ReceiptDetails::default()
        },
    }
}

fn refusal(draft: &ReceiptDraft) -> String {
    match draft.check(UnixSeconds(NOW)) {
        Ok(()) => "fits".to_owned(),
        Err(refusal) => refusal.to_string(),
    }
}

/// `draft` is refused with a sentence that holds `why`; `fits` for none.
fn check(draft: &ReceiptDraft, why: &str) {
    let said = refusal(draft);
    assert!(said.contains(why), "{said:?} lacks {why:?}");
}

#[test]
fn taxes_within_one_minor_unit_a_line() {
    let seven = Some("7.00");
    // Inclusive: 144 holds 9.42 of tax.
    for (net, tax, why) in [
        (135, 9, "fits"),
        (134, 10, "fits"),
        (136, 8, "comes to 9"),
        (133, 11, "comes to 9"),
    ] {
        check(&draft(true, &[(144, seven)], &[(seven, net, tax)], 144), why);
    }
    // Two lines: two units.
    let two = [(72, seven), (72, seven)];
    for (net, tax, why) in [
        (136, 8, "fits"),
        (133, 11, "fits"),
        (137, 7, "comes to 9"),
        (132, 12, "comes to 9"),
    ] {
        check(&draft(true, &two, &[(seven, net, tax)], 144), why);
    }
    // Exclusive: 1,000 costs 70 more.
    for (tax, why) in [
        (70, "fits"),
        (71, "fits"),
        (69, "fits"),
        (72, "comes to 70"),
        (68, "comes to 70"),
    ] {
        check(
            &draft(false, &[(1_000, seven)], &[(seven, 1_000, tax)], 1_000 + tax),
            why,
        );
    }
    // Exactly one unit off is inside: 7 % of 50 is 3.5.
    for (tax, why) in [(3, "fits"), (4, "fits"), (2, "comes to 4"), (5, "comes to 4")] {
        check(&draft(false, &[(50, seven)], &[(seven, 50, tax)], 50 + tax), why);
    }
    // `7` and `7.00` are one rate.
    check(&draft(true, &[(144, Some("7"))], &[(seven, 135, 9)], 144), "fits");
    // A refund's tax has the other sign.
    let mut refund = draft(true, &[(-144, seven)], &[(seven, -135, -9)], -144);
    refund.kind = ReceiptKind::Refund;
    check(&refund, "fits");
}

#[test]
fn taxes_and_lines_that_do_not_meet() {
    let (seven, nineteen) = (Some("7.00"), Some("19.00"));
    let cases: &[(ReceiptDraft, &str)] = &[
        (draft(true, &[(144, seven)], &[], 144), "comes to 9, 0 is given"),
        (draft(true, &[(1, seven)], &[], 1), "fits"),
        (draft(true, &[(144, Some("0"))], &[], 144), "fits"),
        (
            draft(true, &[(144, seven)], &[(nineteen, 121, 23)], 144),
            "its lines sum to 0",
        ),
        (
            draft(true, &[(144, seven)], &[(seven, 134, 9)], 144),
            "net and tax of the tax rate 7.00 is 143",
        ),
        (
            draft(false, &[(144, seven)], &[(seven, 145, 10)], 154),
            "net of the tax rate 7.00 is 145",
        ),
        (
            draft(true, &[(144, seven)], &[(seven, 135, 9), (Some("7"), 0, 0)], 144),
            "stands twice",
        ),
        // A line without a rate: taxes stand by their own net amounts.
        (draft(true, &[(144, None)], &[(seven, 135, 9)], 144), "fits"),
        (
            draft(true, &[(144, None)], &[(seven, 135, 40)], 144),
            "comes to 9, 40 is given",
        ),
        // A tax without a rate: only the sums.
        (draft(true, &[(144, None)], &[(None, 100, 44)], 144), "fits"),
        (draft(false, &[(144, seven)], &[(None, 144, 99)], 243), "fits"),
        (
            draft(false, &[(144, seven)], &[(None, 144, 99)], 244),
            "the lines and taxes sum to 243",
        ),
        (
            draft(true, &[(144, Some("1000.01"))], &[], 144),
            "not between 0 and 1000",
        ),
        (
            draft(true, &[(144, Some("-1"))], &[], 144),
            "not between 0 and 1000",
        ),
        (
            draft(true, &[(144, Some("7.001"))], &[], 144),
            "more than 2 places",
        ),
    ];
    for (draft, why) in cases {
        check(draft, why);
    }
}

#[test]
fn totals_signs_and_kinds() {
    use ReceiptKind::{Refund, Sale, Training, Void, Zero};
    for (kind, total, why) in [
        (Sale, 0, "fits"),
        (Sale, -1, "a sale's total is not negative"),
        (Refund, 1, "not positive"),
        (Void, 1, "not positive"),
        (Void, 0, "fits"),
        (Refund, -500, "fits"),
        (Training, -5, "fits"),
        (Training, 5, "fits"),
        (Zero, 0, "sale, refund, void or training"),
    ] {
        let mut draft = draft(true, &[(total, None)], &[], total);
        draft.kind = kind;
        check(&draft, why);
    }
    // A deposit returned inside a sale.
    check(&draft(true, &[(500, None), (-25, None)], &[], 475), "fits");
    check(
        &draft(true, &[(500, None), (-25, None)], &[], 474),
        "the lines sum to 475, the total is 474",
    );
    let mut short = draft(true, &[(500, None)], &[], 500);
    short.details.tenders[0].amount = cents(499);
    check(&short, "the tenders sum to 499");
    let most = limits::AMOUNT_MAX;
    check(
        &draft(true, &[(most, None), (1, None)], &[], most),
        "the sum of the lines",
    );
    // The running sum may pass the largest amount, the sum may not.
    check(
        &draft(true, &[(most, None), (1, None), (-1, None)], &[], most),
        "fits",
    );
    check(
        &draft(false, &[(most, None)], &[(None, 0, most)], most),
        "the sum of the lines and taxes",
    );
}

#[test]
fn texts_have_limits() {
    let base = || draft(true, &[(5, None)], &[], 5);
    let changed = |change: fn(&mut ReceiptDetails)| {
        let mut draft = base();
        change(&mut draft.details);
        draft
    };
    for (draft, why) in [
        (changed(|d| d.lines[0].description = "x".repeat(200)), "fits"),
        (changed(|d| d.lines[0].unit = Some("x".repeat(16))), "fits"),
        (changed(|d| d.cashier = Some("x".repeat(128))), "fits"),
        (
            changed(|d| d.lines[0].description = "x".repeat(201)),
            "description has 201 bytes",
        ),
        (
            changed(|d| d.lines[0].description = String::new()),
            "description has 0 bytes",
        ),
        (
            changed(|d| d.lines[0].description = "a\u{7}b".to_owned()),
            "a control character",
        ),
        (
            changed(|d| d.lines[0].unit = Some("x".repeat(17))),
            "unit has 17 bytes",
        ),
        (
            changed(|d| d.lines[0].quantity = Decimal { units: 1, places: 7 }),
            "more than 6 places",
        ),
        (changed(|d| d.tenders[0].kind = "Cash".to_owned()), "snake_case"),
        (
            changed(|d| d.cashier = Some("x".repeat(129))),
            "cashier has 129 bytes",
        ),
        (changed(|d| d.lines = vec![line(0, None); 1_001]), "1001 lines"),
        (
            changed(|d| d.tenders = vec![d.tenders[0].clone(); 101]),
            "101 tenders",
        ),
        (changed(|d| *d = ReceiptDetails::default()), "at least one line"),
    ] {
        check(&draft, why);
    }
}

#[test]
fn times_are_near_the_clock_or_marked() {
    for (offset, mark, fits) in [
        (0, Mark::Live, true),
        (300, Mark::Live, true),
        (-300, Mark::Live, true),
        (301, Mark::Live, false),
        (-301, Mark::Live, false),
        (-86_400, Mark::Offline, true),
        (-86_400_000, Mark::Import, true),
        (301, Mark::Offline, false),
        (301, Mark::Import, false),
    ] {
        let mut draft = draft(true, &[(5, None)], &[], 5);
        draft.mark = mark;
        draft.issued_at = UnixSeconds(NOW.checked_add_signed(offset).unwrap());
        assert_eq!(draft.check(UnixSeconds(NOW)).is_ok(), fits, "{offset} {mark:?}");
        assert_eq!(own_time(draft.issued_at, UnixSeconds(NOW)).is_some(), offset != 0);
    }
}

#[test]
fn a_time_that_is_too_far_says_what_to_check() {
    for (issued_at, words) in [
        (
            NOW + 301,
            "301 seconds after the node's clock, 300 are allowed: check the till's clock",
        ),
        (
            NOW - 302,
            "302 seconds before the node's clock, 300 are allowed: check the till's clock",
        ),
        (NOW - 302, "a sale made during an outage needs \"offline\": true"),
    ] {
        let mut draft = draft(true, &[(5, None)], &[], 5);
        draft.issued_at = UnixSeconds(issued_at);
        check(&draft, words);
        let refused = draft.check(UnixSeconds(NOW)).unwrap_err();
        assert_eq!(refused.code(), "time_too_far");
    }
}

proptest! {
    /// What is accepted can be stored and shown again.
    #[test]
    fn an_accepted_receipt_can_be_read_back(
        units in prop::collection::vec((0_usize..20, 0_u8..8, -500_i64..500), 0..6),
        reference in prop::option::of(".{0,140}"),
    ) {
        let mut draft = draft(true, &[], &[], 0);
        draft.kind = ReceiptKind::Training;
        draft.details.till_reference = reference;
        for (unit, places, total) in units {
            let mut line = line(total, None);
            line.unit = Some("k".repeat(unit));
            line.quantity = Decimal { units: total, places };
            draft.details.lines.push(line);
        }
        draft.total = Amount::sum(draft.details.lines.iter().map(|line| line.total)).unwrap();
        draft.details.tenders[0].amount = draft.total;
        if draft.check(UnixSeconds(NOW)).is_ok() {
            let stored = draft.details.encode(&[7; 32]);
            prop_assert_eq!(ReceiptDetails::decode(&stored).unwrap(), (draft.details, [7; 32]));
        }
    }
}

//! How exports are written, damaged and given.

use std::io::Write as _;

use super::export::*;
use super::*;
use crate::import::{SOME_REJECTED, try_import};

fn fails(coop: &Coop, arguments: &[&str]) -> String {
    let all = [&["core-pos"], arguments].concat();
    format!("{:#}", try_import(&coop.world, &all).err().unwrap())
}

#[test]
fn every_order_of_columns_is_read() {
    let all = sale(1, "1.00");
    for missing in [
        &[][..],
        &["store_row_id"],
        &["pos_row_id", "store_row_id"],
        &["store_id"],
        &["store_id", "store_row_id"],
        &NEWER,
    ] {
        let coop = Coop::new();
        let file = coop.file("export.csv", rows(&without(missing), &all));
        let ran = coop.import_files(&[&file], &["--register", "till"]);
        assert_eq!(
            (ran.code, &ran.counts["receipts_issued"]),
            (0, &1.into()),
            "{missing:?} {}",
            ran.stderr
        );
        let store = if missing.contains(&"store_id") { 0 } else { 1 };
        let reference = format!("2026-03-07/{store}/3/7/1/204");
        assert!(receipt(&coop.world, "till", &reference).is_some(), "{missing:?}");
    }
}

#[test]
fn headers_go_before_orders() {
    let coop = Coop::new();
    let mut columns = without(&["cost", "staff", "store_id", "scale"]);
    columns.reverse();
    let names = columns.join(",").to_uppercase();
    // Spreadsheets' manners: a byte order mark, CR LF, doubled quotes.
    let quoted = transaction(
        1,
        vec![item("BREAD \"RYE\", 1 LB", "1.00"), tender("CA", "-1.00")],
    );
    let body = rows(&columns, &quoted)
        .replace("\\\"", "\"\"")
        .replace('\n', "\r\n");
    let file = coop.file("export.csv", format!("\u{feff}{names}\r\n{body}"));
    let ran = coop.import_files(&[&file], &[]);
    assert_eq!((ran.code, &ran.counts["rows"]), (0, &2.into()), "{}", ran.stderr);
    assert_eq!(lines(&coop.receipt(1, "204")), [("BREAD \"RYE\", 1 LB", 100)]);
    let short = coop.file("short.csv", "datetime,register_no,emp_no,trans_no,upc\n");
    let why = fails(&coop, &[&short]);
    assert!(
        why.contains("short.csv: there is no column description, trans_type,"),
        "{why}"
    );
    // A header alone is a day without sales.
    let none = coop.file("none.csv", COLUMNS);
    let ran = coop.import_files(&[&none], &[]);
    assert_eq!((ran.code, &ran.counts["rows"]), (0, &0.into()));
}

#[test]
fn packed_files_are_read_and_cut_ones_stop_before_anything() {
    let coop = Coop::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let many: Vec<Row> = (1..200)
        .flat_map(|number| sale(number, &format!("{number}.07")))
        .collect();
    packed.write_all(older(&many).as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let cut = coop.file("cut.csv.gz", &packed[..packed.len() / 2]);
    let good = coop.file("good.csv", older(&sale(300, "1.00")));
    let why = fails(&coop, &[&good, &cut]);
    assert!(why.contains("cut.csv.gz"), "{why}");
    assert!(receipt(&coop.world, "lane3", "2026-03-07/0/3/7/300/204").is_none());
    let whole = coop.file("whole.csv.gz", &packed);
    let ran = coop.import_files(&[&whole], &[]);
    assert_eq!(
        (ran.code, &ran.counts["receipts_issued"]),
        (0, &199.into()),
        "{}",
        ran.stderr
    );
}

#[test]
fn other_encodings_are_asked_for() {
    let coop = Coop::new();
    let text = older(
        &[
            transaction(1, vec![item("CAFE", "1.00"), tender("CA", "-1.00")]),
            sale(2, "1.00"),
        ]
        .concat(),
    );
    let latin1: Vec<u8> = text
        .replace("CAFE", "CAF~")
        .bytes()
        .map(|b| if b == b'~' { 0xc9 } else { b })
        .collect();
    let file = coop.file("export.csv", latin1);
    let ran = coop.import_files(&[&file], &[]);
    assert_eq!(
        (&ran.counts["rows_bad"], &ran.counts["receipts_issued"]),
        (&1.into(), &1.into())
    );
    assert!(coop.reports("the row is not UTF-8; is the encoding another one? (--encoding latin1)"));
    assert!(coop.reports("2026-03-07/0/3/7/1/204,receipt,\"line 1 cannot be read"));
    let ran = coop.import_files(&[&file], &["--encoding", "latin1"]);
    assert_eq!(
        (ran.code, &ran.counts["receipts_issued"]),
        (0, &1.into()),
        "{}",
        ran.stderr
    );
    assert_eq!(lines(&coop.receipt(1, "204")), [("CAFÉ", 100)]);
}

#[test]
fn what_is_no_export_stops_with_a_reason() {
    let coop = Coop::new();
    let empty = coop.file("empty.csv", "");
    assert!(fails(&coop, &[&empty]).contains("empty.csv: the file is empty"));
    let other = coop.file("other.csv", "1,2,3\n4,5,6\n");
    assert!(fails(&coop, &[&other]).contains("stand in no order that is known"));
    assert!(fails(&coop, &["/no/such/file.csv"]).contains("/no/such/file.csv"));
    assert!(try_import(&coop.world, &["core-pos"]).is_err());
    let good = coop.file("good.csv", older(&sale(1, "1.00")));
    for option in [
        ["--currency", "XAU"],
        ["--encoding", "utf-16"],
        ["--store-id", "one"],
    ] {
        assert!(try_import(&coop.world, &[&["core-pos", &good], &option[..]].concat()).is_err());
    }
}

#[test]
fn a_bad_row_spoils_its_transaction_and_no_other() {
    let coop = Coop::new();
    let of = |number, card: &str| all(sale(number, "1.00"), "card_no", card);
    let mut wrong = of(1, "1");
    wrong[0] = wrong[0].clone().with("total", "1,00");
    let mut shifted = of(2, "1");
    shifted[1] = shifted[1].clone().with("trans_id", "2.5");
    let text = older(
        &[
            wrong,
            of(1, "2"),
            shifted,
            of(3, "3"),
            of(4, "3"),
            of(4, "4"),
            of(5, "5"),
        ]
        .concat(),
    );
    // A row of the second customer of number 4 loses its last columns.
    let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
    let cut = rows[16].rsplitn(3, ',').last().unwrap().to_owned();
    rows[16] = cut;
    let file = coop.file("export.csv", rows.join("\n"));
    let ran = coop.import_files(&[&file], &[]);
    assert_eq!(ran.code, SOME_REJECTED);
    assert_eq!(ran.counts["rows_bad"], 3);
    // Both of 1 and 2 that have bad rows, and both customers of number 4.
    assert_eq!(left_out(&ran, "bad_row"), 4);
    assert_eq!(ran.counts["receipts_issued"], 3);
    for (number, card) in [(1, "2"), (3, "3"), (5, "5")] {
        coop.receipt(number, card);
    }
    assert!(coop.reports("export.csv,1,2026-03-07/0/3/7/1/1,row,\"total: \"\"1,00\"\" is not a number"));
    assert!(coop.reports("trans_id: \"\"2.5\"\" is not a whole number"));
    assert!(coop.reports("export.csv,17,,row,\"the row has 34 columns, 36 are due\""));
}

#[test]
fn a_row_that_cannot_be_placed_spoils_its_neighbours() {
    let coop = Coop::new();
    let text = older(&[sale(1, "1.00"), sale(2, "1.00"), sale(3, "1.00"), sale(4, "1.00")].concat());
    let mut rows: Vec<&str> = text.lines().collect();
    rows.insert(6, "\"2026-03");
    // The file ends within a row, too: its quote is not closed.
    let cut = &rows[12][..rows[12].len() - 60];
    rows[12] = cut;
    let damaged = rows.join("\n").replacen("\"2026-03\n", "\"2026-03\"\n", 1);
    let file = coop.file("export.csv", damaged);
    let ran = coop.import_files(&[&file], &[]);
    assert_eq!(ran.counts["rows_bad"], 2, "{}", ran.stderr);
    assert_eq!(
        (left_out(&ran, "bad_row"), &ran.counts["receipts_issued"]),
        (3, &1.into()),
        "{}",
        ran.stderr
    );
    coop.receipt(1, "204");
}

#[test]
fn rows_of_a_transaction_may_stand_anywhere() {
    let coop = Coop::new();
    let day = |number, day: &str| {
        all(
            sale(number, "1.00"),
            "datetime",
            &format!("2026-03-0{day} 10:00:00"),
        )
    };
    let mut rows = [day(1, "5"), day(1, "6"), day(2, "5"), day(2, "6"), day(1, "7")].concat();
    // By columns that have nothing to do with transactions, and backwards.
    rows.reverse();
    rows.rotate_left(4);
    let ran = coop.import(&rows, &[]);
    assert_eq!(
        (ran.code, &ran.counts["receipts_issued"]),
        (0, &5.into()),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.counts["core_pos"]["keys"], 5);
}

#[test]
fn importing_again_and_overlapping_files_repeat_nothing() {
    let coop = Coop::new();
    let first = coop.file("first.csv", older(&[sale(1, "1.00"), sale(2, "2.00")].concat()));
    let second = coop.file("second.csv", older(&[sale(2, "2.00"), sale(3, "3.00")].concat()));
    let ran = coop.import_files(&[&first, &second, &first], &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let settled = |ran: &Ran| {
        let of = |member: &str| number(&ran.counts[member]);
        (
            of("receipts_issued"),
            of("receipts_repeated"),
            of("receipts_rejected"),
        )
    };
    // Each file stands for itself: what a receipt was issued of before this
    // run is told by the log, what was issued in it counts as issued.
    assert_eq!(settled(&ran).2, 0);
    assert_eq!(ran.counts["core_pos"]["files"], 3);
    let again = coop.import_files(&[&second, &first], &[]);
    assert_eq!(settled(&again), (0, 4, 0));
    // A changed row is noticed, and so is another zone.
    let changed = coop.file("changed.csv", older(&sale(2, "2.50")));
    assert_eq!(settled(&coop.import_files(&[&changed], &[])), (0, 0, 1));
    let zone = coop.import_files(&[&first], &["--time-zone", "+01:00"]);
    assert_eq!(settled(&zone), (0, 0, 2));
    assert!(
        zone.stderr.contains("with other content was imported before"),
        "{}",
        zone.stderr
    );
    let sequence = [1, 2, 3].map(|number| coop.receipt(number, "204").sequence_number);
    assert_eq!(sequence, [1, 2, 3]);
}

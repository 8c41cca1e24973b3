//! Floor 8: exports of tills, and what is understood of them.

use std::collections::HashSet;

use jiff::tz::TimeZone;

use super::Target;
use crate::cli::import::whole::{self, Whole};
use crate::ledger::ReceiptDraft;
use crate::testkit::node::ScratchDir;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "import_csv",
        run: csv,
        seeds: csv_seeds,
    },
    Target {
        name: "import_core_pos",
        run: core_pos,
        seeds: core_pos_seeds,
    },
    Target {
        name: "import_journey",
        run: journey,
        seeds: journey_seeds,
    },
];

/// Every row is in exactly one place, everything that is left out is told, and
/// what becomes a receipt adds up.
fn check(whole: &Whole) {
    let (counts, sales) = (whole.counts, &whole.sales);
    let in_sales: u64 = sales.iter().map(|sale| sale.rows).sum();
    let rejected = whole.rejects.iter().filter(|reject| reject.whole).count() as u64;
    assert_eq!(counts.rejected_receipts, rejected);
    assert_eq!(counts.bad, whole.rejects.len() as u64 - rejected);
    if whole.set_aside.is_empty() {
        assert_eq!(counts.rows, in_sales + counts.bad + counts.left_out);
    }
    for sale in sales {
        let draft = sale.draft.as_ref().expect("it was not prepared yet").draft();
        assert_eq!(draft.total, sale.total);
        adds_up(draft);
    }
}

/// A mapping, a NUL, and an export.
fn csv(data: &[u8]) -> bool {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (Some(mapping), Some(export)) = (parts.next(), parts.next()) else {
        return false;
    };
    let Ok(mapping) = std::str::from_utf8(mapping) else {
        return false;
    };
    let Ok(whole) = whole::csv(mapping, export) else {
        return false;
    };
    check(&whole);
    !whole.sales.is_empty()
}

fn adds_up(draft: &ReceiptDraft) {
    let details = &draft.details;
    let lines: i64 = details.lines.iter().map(|line| line.total.minor_units()).sum();
    let taxes: i64 = details.taxes.iter().map(|tax| tax.tax.minor_units()).sum();
    let tenders: i64 = details
        .tenders
        .iter()
        .map(|tender| tender.amount.minor_units())
        .sum();
    let total = draft.total.minor_units();
    assert_eq!(
        total,
        if draft.prices_include_tax {
            lines
        } else {
            lines + taxes
        }
    );
    assert_eq!(total, tenders);
}

fn csv_seeds() -> Vec<Vec<u8>> {
    let mapping = "name = \"till\"\n[receipt]\nkey = [\"no\"]\nregister = { value = \"lane1\" }\n\
        time = { columns = [\"at\"] }\ncurrency = { value = \"EUR\" }\n\
        [line]\ndescription = \"what\"\ntotal = \"total\"\n";
    let more = "name = \"till\"\ntime_zone = \"Europe/Berlin\"\nprices_include_tax = false\n\
        [file]\ndelimiter = \";\"\ndecimal_comma = true\nencoding = \"latin1\"\ncolumns = [\"no\", \"at\", \"what\", \"q\", \"total\", \"rate\"]\n\
        [receipt]\nkey = [\"no\"]\nregister = { value = \"lane1\" }\ntime = { columns = [\"at\"], format = \"%d.%m.%Y %H:%M\" }\n\
        currency = { value = \"EUR\" }\n[line]\ndescription = \"what\"\nquantity = \"q\"\ntotal = \"total\"\ntax_rate = \"rate\"\n";
    let export = "no,at,what,total\n1,2026-03-07T16:21:09+01:00,Apples,1.44\n1,2026-03-07T16:21:09+01:00,\"Pe\"\"ars\",2\n\
        2,2026-03-07T16:22:09Z,Back,-0.50\n3,x,y,z\n";
    let other = "1;07.03.2026 16:21;\u{e4};0,482;1,44;7,00\n";
    let latin: Vec<u8> = other
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
        .collect();
    vec![
        [mapping.as_bytes(), b"\0", export.as_bytes()].concat(),
        [more.as_bytes(), b"\0", &latin].concat(),
    ]
}

/// How often a year was replaced, and the shop's zone: then an export of
/// `dtransactions`. Every transaction is in exactly one bucket of the summary,
/// with its rows and amounts.
fn core_pos(data: &[u8]) -> bool {
    let Some((&choices, export)) = data.split_first() else {
        return false;
    };
    let year = (choices & 1 == 1).then_some(2_013);
    let zone = match choices & 2 {
        0 => TimeZone::UTC,
        _ => TimeZone::get("America/Chicago").expect("a zone that jiff brings along"),
    };
    let (whole, summary) = match whole::core_pos(export, zone, year) {
        Ok(read) => read,
        Err(error) => {
            // Memory does not change.
            let said = error.to_string();
            assert!(!said.starts_with("export changes"), "{said}");
            return false;
        }
    };
    check(&whole);
    let mut in_all = summary.receipts;
    for bucket in summary.left_out.values() {
        in_all += *bucket;
    }
    assert_eq!(summary.transactions, in_all.transactions);
    assert_eq!(whole.counts.rows, in_all.rows + whole.counts.bad);
    assert_eq!(summary.receipts.transactions, whole.sales.len() as u64);
    let left_out = whole.set_aside.len() as u64 + whole.counts.rejected_receipts;
    assert_eq!(in_all.transactions - summary.receipts.transactions, left_out);
    let sums = summary.receipts.sums;
    let totals: i128 = whole
        .sales
        .iter()
        .map(|sale| i128::from(sale.total.minor_units()))
        .sum();
    assert_eq!(sums.goods + sums.tax, totals);
    let names: HashSet<_> = whole.sales.iter().map(|sale| &sale.idempotency_key).collect();
    assert_eq!(names.len(), whole.sales.len(), "two receipts under one name");
    !whole.sales.is_empty()
}

fn core_pos_seeds() -> Vec<Vec<u8>> {
    let named = "datetime,register_no,emp_no,trans_no,upc,description,trans_type,trans_subtype,trans_status,department,\
        quantity,unitPrice,total,card_no,trans_id\n\
        2026-03-07 10:00:00,1,7,1,4011,Bananas,I,,,2,0.5,1.98,0.99,42,1\n\
        2026-03-07 10:00:05,1,7,1,TAX,Tax,A,,,0,0,0,0.06,42,2\n\
        2026-03-07 10:00:09,1,7,1,0,Cash,T,CA,,0,0,0,-1.05,42,3\n\
        2026-03-07 10:01:00,1,9999,1,1,Test,I,,,2,1,1,1,11,1\n\
        2026-03-08 10:00:00,2,7,2,1,Back,I,,V,2,-1,1,-1,11,1\n\
        2026-03-08 10:00:00,2,7,2,0,Change,T,CA,,0,0,0,1,11,2\n\
        x,2,7,2,0,Odd,I,,,0,0,0,1,11,3\n";
    // The table's own order, from the time to the row numbers.
    let item =
        |at: &str, store: &str, rest: &str, numbers: &str| format!("{at},{store}3,7,5,{rest},11,{numbers}\n");
    let goods = "0001,\"A \\\"B\\\"\",I,,,4,1,0,0,2.50,2.50";
    let paid = "0,Credit,T,CC,,0,0,0,0,0,-2.50";
    let [goods, paid] = [goods, paid].map(|row| [row, &",0".repeat(19)].concat());
    let at = "1900-07-02 07:10:58";
    let with_store = [item(at, "1,", &goods, "1,9,9"), item(at, "1,", &paid, "2,10,10")].concat();
    let without = [item(at, "", &goods, "1"), item(at, "", &paid, "2")].concat();
    vec![
        [b"\x02", named.as_bytes()].concat(),
        [b"\x01", with_store.as_bytes()].concat(),
        [b"\x03", without.as_bytes()].concat(),
    ]
}

/// The Complete Journey's four files, a NUL between them. Every redemption is
/// used once or told.
fn journey(data: &[u8]) -> bool {
    let dir = ScratchDir::new();
    let names = [
        "transactions.csv",
        "products.csv",
        "campaigns.csv",
        "coupon_redemptions.csv",
    ];
    for (name, content) in names.iter().zip(data.split(|byte| *byte == 0)) {
        std::fs::write(dir.path().join(name), content).expect("a directory of its own");
    }
    let Ok((whole, redemptions, bad)) = whole::journey(dir.path()) else {
        return false;
    };
    check(&whole);
    assert_eq!(redemptions, (whole.uses.len() + bad.len()) as u64);
    let names: HashSet<_> = whole.uses.iter().map(|used| &used.name).collect();
    assert_eq!(names.len(), whole.uses.len(), "two uses under one name");
    assert!(whole.uses.iter().all(|used| !used.value.is_negative()));
    !whole.sales.is_empty()
}

fn journey_seeds() -> Vec<Vec<u8>> {
    let transactions = "household_id,store_id,basket_id,product_id,quantity,sales_value,coupon_disc,transaction_timestamp\n\
        900,330,31198570044,1095275,1,0.50,0,2017-01-01 11:53:26\n\
        900,330,31198570044,9878513,2,0.99,0.25,2017-01-01 11:53:26\n\
        7,2,31198570047,1,1,1.43,0,2017-01-02 12:10:28\n";
    let products = "product_id,department,product_category,product_type,package_size\n\
        1095275,PASTRY,ROLLS,ROLLS: BAGELS,4 OZ\n9878513,GROCERY,,,\n";
    let campaigns = "campaign_id,campaign_type,start_date,end_date\n13,Type A,2016-12-01,2017-09-24\n";
    let redemptions = "household_id,coupon_upc,campaign_id,redemption_date\n\
        900,10000085207,13,2017-01-01\n900,10000085207,13,2017-01-01\n8,1,13,2017-01-03\n8,1,14,2017-01-03\n";
    let all = [transactions, products, campaigns, redemptions].map(str::as_bytes);
    vec![all.join(&0), all[..2].join(&0)]
}

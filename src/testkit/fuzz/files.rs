//! Floors 5 and 8: files that people and programs write: access keys,
//! settings, and a till's export with its mapping.

use std::path::Path;

use super::{Target, texts};
use crate::cli::import::read_csv;
use crate::ledger::ReceiptDraft;
use crate::node::access;
use crate::server::config::Config;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "access_file",
        run: access_file,
        seeds: access_seeds,
    },
    Target {
        name: "config",
        run: config,
        seeds: config_seeds,
    },
    Target {
        name: "import_csv",
        run: import_csv,
        seeds: import_seeds,
    },
];

/// Keys that are read are written, and read as the same.
fn access_file(data: &[u8]) -> bool {
    let Ok(keys) = access::parse(data) else {
        return false;
    };
    let written = access::write(&keys);
    assert_eq!(access::parse(&written).as_ref(), Ok(&keys));
    true
}

fn access_seeds() -> Vec<Vec<u8>> {
    let hash = "mJ2yJb5nH0YkqFv0m3K7m3Jx0l2y8b1dH9w7Z4T1u0E";
    texts([
        &format!(
            r#"{{"version":1,"keys":[{{"id":"00c0ffee","role":"till","register":"shop1-lane3","label":"lane 3","created":1,"sha256":"{hash}"}},{{"id":"1","role":"office","label":"x","created":1,"revoked":2,"sha256":"{hash}"}}]}}"#
        ),
        r#"{"version":1,"keys":[]}"#,
    ])
}

/// Settings that are read make a file that says the same of what `init` sets.
fn config(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let path = Path::new("config.toml");
    let read = match Config::parse(path, text) {
        Ok(read) => read,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let written = Config::commented(&read.base_url, &read.name, read.listen, read.guard.as_deref());
    let again = Config::parse(path, &written).expect("a file that init writes");
    assert_eq!(
        (again.base_url, again.name, again.listen, again.guard),
        (read.base_url, read.name, read.listen, read.guard)
    );
    true
}

fn config_seeds() -> Vec<Vec<u8>> {
    texts([
        "base_url = \"https://coop.example\"\nname = \"Test co-op\"\n",
        "base_url = \"http://localhost:8080\"\nname = 'x'\nlisten = \"[::1]:80\"\nalgorithm = \"ed25519\"\n\
         qr_form = \"bare\"\ncors_origins = [\"https://a.example\"]\nmetrics_public = true\n\
         status_list_seconds = 60\nguard = \"/g\\\"\"\nworkers = 2\nlog_format = \"json\"\nlog_level = \"debug\"\n",
    ])
}

/// A mapping, a line of dashes, and an export: every row is in exactly one
/// place, and what becomes a receipt adds up.
fn import_csv(data: &[u8]) -> bool {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (Some(mapping), Some(export)) = (parts.next(), parts.next()) else {
        return false;
    };
    let Ok(mapping) = std::str::from_utf8(mapping) else {
        return false;
    };
    let Ok(read) = read_csv(mapping, export) else {
        return false;
    };
    let (counts, sales) = (read.counts, &read.sales);
    let in_sales: u64 = sales.iter().map(|sale| sale.rows).sum();
    assert_eq!(counts.rows, in_sales + counts.bad + counts.left_out);
    let whole = read.rejects.iter().filter(|reject| reject.whole).count() as u64;
    assert_eq!(counts.rejected_receipts, whole);
    assert_eq!(counts.bad, read.rejects.len() as u64 - whole);
    sales
        .iter()
        .filter_map(|sale| sale.draft.as_ref())
        .for_each(adds_up);
    !sales.is_empty()
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

fn import_seeds() -> Vec<Vec<u8>> {
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

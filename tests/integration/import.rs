//! `import` from the command line into a node.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use clap::Parser as _;
use serde_json::Value;
pub use tallystick::cli::import::SOME_REJECTED;
use tallystick::cli::import::{ImportArgs, run};
use tallystick::credential::verify::{DidDocument, Verdict, Verifier};
use tallystick::ledger::Mark;
use tallystick::node::{Node, ReceiptAnswer};
use tallystick::primitives::{Origin, Register, UnixSeconds};
use tallystick::server::{NewDir, NodeDir, Overrides, Serving};

use crate::node::world::{START, World};

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: ImportArgs,
}

/// What a run came to.
pub struct Ran {
    pub code: u8,
    pub counts: Value,
    pub stderr: String,
}

pub fn import(world: &World, arguments: &[&str]) -> Ran {
    try_import(world, arguments).unwrap()
}

pub fn try_import(world: &World, arguments: &[&str]) -> anyhow::Result<Ran> {
    let all = [&["import"], arguments, &["--node", "shop", "--json"]].concat();
    let cli = Cli::try_parse_from(all)?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let open = |_: &Path| -> anyhow::Result<Node> { Ok(world.open()) };
    let code = run(&cli.args, &open, &mut stdout, &mut stderr)?;
    Ok(Ran {
        code,
        counts: serde_json::from_slice(&stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    })
}

/// A world whose clock stands after the sales of every test.
pub fn world() -> World {
    let world = World::memory();
    world.clock.set(START + 30 * 86_400);
    world
}

pub fn receipt(world: &World, register: &str, reference: &str) -> Option<ReceiptAnswer> {
    let register = Register::new(register).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let node = world.open();
    let found = node.receipt_by_reference(&register, reference).unwrap();
    runtime.block_on(node.shut_down());
    found
}

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/import");
    path.join(name).display().to_string()
}

pub struct Journey {
    pub dir: tempfile::TempDir,
}

const HEADER: &str = "household_id,store_id,basket_id,product_id,quantity,sales_value,retail_disc,coupon_disc,\
coupon_match_disc,week,transaction_timestamp";

impl Journey {
    pub fn new(rows: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let products = "product_id,manufacturer_id,department,brand,product_category,product_type,package_size\n\
            1,2,GROCERY,National,FRZN ICE,ICE - CRUSHED/CUBED,22 LB\n\
            2,2,MISCELLANEOUS,National,,,\n";
        std::fs::write(dir.path().join("products.csv"), products).unwrap();
        std::fs::write(dir.path().join("transactions.csv"), format!("{HEADER}\n{rows}")).unwrap();
        Self { dir }
    }

    pub fn path(&self) -> String {
        self.dir.path().display().to_string()
    }

    fn report(&self) -> PathBuf {
        self.dir.path().join("rejected.csv")
    }
}

const GOOD: &str = "900,330,31198570044,1,2,3.00,0.00,0.00,0.00,1,2017-01-01 11:53:26\n\
    900,330,31198570044,2,3,1.00,0.10,0.00,0.00,1,2017-01-01 11:53:26\n\
    900,330,31198570044,99,0,0.00,0.10,0.00,0.00,1,2017-01-01 11:53:26\n\
    7,31,555,2,1,0.005,0.00,0.00,0.00,1,2017-01-01 12:00:00\n";

#[test]
fn baskets_become_receipts_that_keep_their_time() {
    let (world, journey) = (world(), Journey::new(GOOD));
    let ran = import(&world, &["complete-journey", &journey.path()]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.counts["receipts_issued"], 2);
    assert_eq!(
        (&ran.counts["rows"], &ran.counts["rows_imported"]),
        (&4.into(), &4.into())
    );
    assert_eq!(ran.counts["amounts_rounded"], 1);
    let receipt = receipt(&world, "store-330", "31198570044").unwrap();
    assert_eq!(receipt.mark, Mark::Import);
    let stub =
        tallystick::credential::Signed::<tallystick::credential::ReceiptStub>::parse(&receipt.stub).unwrap();
    assert_eq!(stub.content().issued_at, UnixSeconds(1_483_271_606));
    assert_eq!(stub.content().total.minor_units(), 400);
    let details = &receipt.details;
    assert_eq!(details.member.as_deref(), Some("900"));
    assert_eq!(details.tenders[0].kind, "not_recorded");
    let shown: Vec<_> = details
        .lines
        .iter()
        .map(|line| {
            (
                line.description.as_str(),
                line.unit_price.map(|price| price.to_string()),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("ICE - CRUSHED/CUBED, 22 LB", Some("1.50".to_owned())),
            ("MISCELLANEOUS", None),
            ("product 99", None)
        ]
    );
}

#[test]
fn importing_again_repeats_nothing_and_notices_changes() {
    let (world, journey) = (world(), Journey::new(GOOD));
    import(&world, &["complete-journey", &journey.path()]);
    let again = import(&world, &["complete-journey", &journey.path()]);
    assert_eq!(again.code, 0);
    assert_eq!(again.counts["receipts_issued"], 0);
    assert_eq!(again.counts["receipts_repeated"], 2);
    let elsewhere = import(
        &world,
        &["complete-journey", &journey.path(), "--time-zone", "+01:00"],
    );
    assert_eq!(elsewhere.code, SOME_REJECTED);
    assert_eq!(elsewhere.counts["receipts_rejected"], 2);
    assert!(
        elsewhere
            .stderr
            .contains("with other content was imported before")
    );
}

#[test]
fn a_receipt_with_a_bad_row_is_rejected_whole_and_said_so() {
    let rows = "1,1,10,1,1,1.00,0,0,0,1,2017-01-01 10:00:00\n\
        1,1,10,1,1,one,0,0,0,1,2017-01-01 10:00:00\n\
        1,1,11,1,1,1.00,0,0,0,1,2017-01-01 10:01:00\n\
        1,1,12,1,1,1.00,0,0,0,1,2017-01-01 10:02:00\n\
        1,2,12,1,1,1.00,0,0,0,1,2017-01-01 10:02:00\n\
        1,1,13,1,1,-1.00,0,0,0,1,2017-01-01 10:03:00\n\
        1,1,14,1,x,1.00,0,0,0,1,yesterday\n\
        1,1,15,1,1,1.00,0,0,0,1,1969-12-31 10:03:00\n\
        1,1,16,1,1,1.00,0,0,0,1,2117-12-31 10:03:00\n";
    let (world, journey) = (world(), Journey::new(rows));
    let report = journey.report().display().to_string();
    let ran = import(
        &world,
        &["complete-journey", &journey.path(), "--report", &report],
    );
    assert_eq!(ran.code, SOME_REJECTED);
    assert_eq!(ran.counts["receipts_issued"], 2, "{}", ran.stderr);
    assert_eq!(ran.counts["receipts_rejected"], 5);
    let count = |name: &str| ran.counts[name].as_u64().unwrap();
    assert_eq!(count("rows_bad"), 2);
    assert_eq!(
        count("rows"),
        count("rows_imported") + count("rows_bad") + count("rows_of_rejected_receipts")
    );
    let written = std::fs::read_to_string(&report).unwrap();
    for expected in [
        "3,10,row,\"sales_value: \"\"one\"\" is not a number such as 1234.50\"",
        "2,10,receipt,the whole receipt is rejected: 1 of its 2 rows cannot be read",
        "5,12,receipt,the whole receipt is rejected: its rows differ in register",
        "8,14,row,",
        "9,15,receipt,",
        "its time of sale lies after the node's clock",
    ] {
        assert!(written.contains(expected), "{expected} in {written}");
    }
    assert!(ran.stderr.contains("line 3 (receipt 10)"), "{}", ran.stderr);
    assert!(receipt(&world, "store-1", "10").is_none());
    assert!(receipt(&world, "store-1", "13").is_some(), "a refund");
}

#[test]
fn a_row_that_cannot_be_placed_spoils_its_neighbours() {
    let row = |basket: u32| format!("1,1,{basket},1,1,1.00,0,0,0,1,2017-01-01 10:00:00\n");
    let rows = [row(1), row(2), "1,1,3,1\n".to_owned(), row(4), row(5), row(6)].concat();
    let (world, journey) = (world(), Journey::new(&rows));
    let ran = import(&world, &["complete-journey", &journey.path()]);
    assert_eq!(ran.counts["receipts_issued"], 3, "{}", ran.stderr);
    assert_eq!(ran.counts["receipts_rejected"], 2);
    assert!(ran.stderr.contains("line 4: the row has 4 columns, 11 are due"));
    for (basket, there) in [("1", true), ("2", false), ("4", false), ("5", true), ("6", true)] {
        assert_eq!(receipt(&world, "store-1", basket).is_some(), there, "{basket}");
    }
}

#[test]
fn more_rejects_than_ten_are_counted() {
    let rows: String = (0..15)
        .map(|basket| format!("1,1,{basket},1,x,1.00,0,0,0,1,2017-01-01 10:00:00\n"))
        .collect();
    let (world, journey) = (world(), Journey::new(&rows));
    let ran = import(&world, &["complete-journey", &journey.path()]);
    assert!(
        ran.stderr.contains("and 20 more: --report FILE writes them all"),
        "{}",
        ran.stderr
    );
}

#[test]
fn scattered_rows_are_not_signed_as_two_receipts() {
    let row = |basket: u32, cents: u32| format!("1,1,{basket},1,1,0.{cents},0,0,0,1,2017-01-01 10:00:00\n");
    let rows = [row(1, 10), row(2, 20), row(1, 30)].concat();
    let (world, journey) = (world(), Journey::new(&rows));
    let ran = import(&world, &["complete-journey", &journey.path()]);
    assert_eq!(ran.counts["receipts_issued"], 2);
    assert!(ran.stderr.contains("do not stand together"), "{}", ran.stderr);
}

#[test]
fn what_is_missing_is_named() {
    let (world, journey) = (world(), Journey::new(GOOD));
    let fails = |arguments: &[&str]| format!("{:#}", try_import(&world, arguments).err().unwrap());
    assert!(fails(&["complete-journey", "/no/such/dir"]).contains("transactions.csv"));
    let transactions = journey.dir.path().join("transactions.csv");
    std::fs::write(&transactions, "household_id,store\n1,2\n").unwrap();
    assert!(fails(&["complete-journey", &journey.path()]).contains("there is no column \"store_id\""));
    let map = journey.dir.path().join("map.toml");
    let text = std::fs::read_to_string(example("till.toml")).unwrap();
    std::fs::write(&map, text.replace("\"Betrag\"", "\"Summe\"")).unwrap();
    let csv = ["csv", &example("till.csv"), "--map", map.to_str().unwrap()];
    assert!(fails(&csv).contains("line.total"), "{}", fails(&csv));
    std::fs::write(&map, format!("nmae = 1\n{text}")).unwrap();
    assert!(fails(&csv).contains("nmae"));
    for zone in ["Mars/Olympus", ""] {
        assert!(
            try_import(
                &world,
                &["complete-journey", &journey.path(), "--time-zone", zone]
            )
            .is_err()
        );
    }
}

#[test]
fn the_example_of_any_till_is_imported() {
    let world = world();
    let ran = import(
        &world,
        &["csv", &example("till.csv"), "--map", &example("till.toml")],
    );
    assert_eq!(
        (ran.code, &ran.counts["receipts_issued"]),
        (0, &3.into()),
        "{}",
        ran.stderr
    );
    let sale = receipt(&world, "Kasse 3", "07.03.2026/Kasse 3/812").unwrap();
    let lines = &sale.details.lines;
    assert_eq!(lines[0].description, "Äpfel Topaz");
    assert_eq!(lines[0].quantity.to_string(), "0.482");
    assert_eq!(lines[0].unit.as_deref(), Some("kg"));
    let stub =
        tallystick::credential::Signed::<tallystick::credential::ReceiptStub>::parse(&sale.stub).unwrap();
    assert_eq!(stub.content().issued_at, UnixSeconds(1_772_896_860));
    let taxes: Vec<_> = sale
        .details
        .taxes
        .iter()
        .map(|tax| {
            (
                tax.rate.unwrap().to_string(),
                tax.net.minor_units(),
                tax.tax.minor_units(),
            )
        })
        .collect();
    assert_eq!(taxes, [("7".to_owned(), 527, 37), ("19".to_owned(), 25, 5)]);
    let back = receipt(&world, "Kasse 1", "07.03.2026/Kasse 1/378").unwrap();
    let stub =
        tallystick::credential::Signed::<tallystick::credential::ReceiptStub>::parse(&back.stub).unwrap();
    assert_eq!(stub.content().kind.word(), "refund");
    assert_eq!(stub.content().total.minor_units(), -199);
    assert_eq!(back.details.member.as_deref(), Some("1204"));
}

#[test]
fn other_dialects_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (file, map) = (dir.path().join("x.csv"), dir.path().join("x.toml"));
    // No header, MySQL's quotes, ISO 8859-1, a time with an offset, no register column.
    let rows = b"1,\"a \\\"b\\\", \xe4\",2.50,2026-03-07T10:00:00+02:00\n1,c,1,2026-03-07T10:00:09+02:00\n";
    std::fs::write(&file, rows).unwrap();
    let mapping = "name = \"x\"\n[file]\nescape = \"\\\\\"\nencoding = \"latin1\"\ncolumns = [\"n\", \"d\", \"t\", \"at\"]\n\
        [receipt]\nkey = [\"n\"]\ntime = { columns = [\"at\"] }\ncurrency = { value = \"JPY\" }\n\
        [line]\ndescription = \"d\"\ntotal = \"t\"\n";
    std::fs::write(&map, mapping).unwrap();
    let (world, file, map) = (world(), file.display().to_string(), map.display().to_string());
    assert!(
        try_import(&world, &["csv", &file, "--map", &map]).is_err(),
        "no register"
    );
    let ran = import(&world, &["csv", &file, "--map", &map, "--register", "main"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.counts["amounts_rounded"], 1);
    let sale = receipt(&world, "main", "1").unwrap();
    assert_eq!(sale.details.lines[0].description, "a \"b\", ä");
    assert_eq!(sale.details.lines[0].total.minor_units(), 3);
    let utf8 = mapping.replace("encoding = \"latin1\"\n", "");
    std::fs::write(&map, utf8.replace("\"x\"", "\"y\"")).unwrap();
    let ran = import(&world, &["csv", &file, "--map", &map, "--register", "other"]);
    assert!(ran.stderr.contains("not UTF-8"), "{}", ran.stderr);
    assert_eq!(ran.counts["receipts_issued"], 0);
}

#[test]
fn hours_that_the_clock_skips_or_repeats_are_counted() {
    let rows = "1,1,1,1,1,1.00,0,0,0,1,2017-03-26 02:30:00\n1,1,2,1,1,1.00,0,0,0,1,2017-10-29 02:30:00\n";
    let (world, journey) = (world(), Journey::new(rows));
    let zone = "CET-1CEST,M3.5.0,M10.5.0/3";
    let ran = import(
        &world,
        &["complete-journey", &journey.path(), "--time-zone", zone],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.counts["times_in_a_gap"], 1);
    assert_eq!(ran.counts["times_in_an_overlap"], 1);
}

/// Imports over HTTP, then checks one of the receipts offline with what the
/// node publishes.
#[test]
fn over_http_the_same_and_the_receipts_verify() {
    let dir = tempfile::tempdir().unwrap();
    let new = NewDir {
        base_url: Origin::parse("http://127.0.0.1:8080").unwrap(),
        name: "Dorfladen".to_owned(),
        register: Register::new("till-1").unwrap(),
        guard: None,
        passphrase: None,
    };
    let made = NodeDir::create(&dir.path().join("shop"), &new).unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let opened = made.directory.open(&Overrides::default(), None).unwrap();
    let serving = Serving::start(opened).unwrap();
    let (url, journey) = (serving.url(), Journey::new(GOOD));
    let import = |key: &str| {
        let path = journey.path();
        let arguments = [
            "import",
            "complete-journey",
            &path,
            "--node",
            &url,
            "--key",
            key,
            "--json",
        ];
        let cli = Cli::try_parse_from(arguments).unwrap();
        let mut stdout = Vec::new();
        let never = |_: &Path| -> anyhow::Result<Node> { panic!("a URL is no directory") };
        let code = run(&cli.args, &never, &mut stdout, &mut Vec::new());
        code.map(|code| (code, serde_json::from_slice::<Value>(&stdout).unwrap()))
    };
    let (code, counts) = import(&made.office_key).unwrap();
    assert_eq!((code, &counts["receipts_issued"]), (0, &2.into()));
    let (code, counts) = import(&made.office_key).unwrap();
    assert_eq!((code, &counts["receipts_repeated"]), (0, &2.into()));
    assert!(import("wrong").is_err());
    let http = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let did = http.get(format!("{url}/.well-known/did.json")).send().unwrap();
    let did = DidDocument::parse(&did.bytes().unwrap()).unwrap();
    let receipts = http
        .get(format!("{url}/v1/receipts?register=store-31&till_reference=555"))
        .bearer_auth(made.office_key.as_str())
        .send()
        .unwrap();
    let receipts: Value = serde_json::from_slice(&receipts.bytes().unwrap()).unwrap();
    let receipt = receipts.get("receipts").map_or(&receipts, |list| &list[0]);
    let mut verifier = Verifier::new();
    verifier.add_issuer(did);
    let qr = receipt["qr"].as_str().unwrap_or_else(|| panic!("{receipts}"));
    assert_eq!(
        verifier.check_text(qr, UnixSeconds(START)).verdict,
        Verdict::Valid
    );
    // What was erased was imported all the same.
    let erased = http
        .post(format!("{url}/v1/erasures"))
        .bearer_auth(made.office_key.as_str())
        .header("Content-Type", "application/json")
        .header("Idempotency-Key", "erased")
        .body(format!(
            r#"{{"receipt": {}, "reason": "asked for"}}"#,
            receipt["id"]
        ))
        .send()
        .unwrap();
    assert_eq!(erased.status(), 201);
    let (code, counts) = import(&made.office_key).unwrap();
    assert_eq!((code, &counts["receipts_repeated"]), (0, &2.into()));
    serving.stop().unwrap();
}

//! Coupons by the hundred from the command line, and on paper.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cli::Place;

const NAME: &str = "Frühling in Łódź und Αθήνα";

fn campaign(place: &Place, name: &str) -> String {
    let shop = place.shop();
    let made = place.json(&[
        "campaign",
        "create",
        "--node",
        shop.to_str().unwrap(),
        "--name",
        name,
        "--text",
        "Für Mitglieder: два евро скидки.",
        "--currency",
        "EUR",
        "--amount-off",
        "200",
        "--minimum-basket",
        "1000",
        "--not-after",
        "+30d",
        "--json",
    ]);
    made["id"].as_str().unwrap().to_owned()
}

#[test]
fn more_than_one_answer_holds_is_printed_line_by_line_and_taken_up_again() {
    let place = Place::at("http://127.0.0.1:8080");
    let id = campaign(&place, NAME);
    let shop = place.shop();
    let issue = |more: &[&str]| {
        let fixed = [
            "issue",
            "--node",
            shop.to_str().unwrap(),
            &id,
            "--count",
            "1500",
            "--idempotency-key",
            "spring",
        ];
        place.done(&[&fixed[..], more].concat())
    };
    let all = issue(&[]);
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 1_500);
    let rest: Vec<String> = issue(&["--from", "1200"])
        .lines()
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(rest, lines[1_200..]);
    for (line, json) in lines.iter().zip(issue(&["--json"]).lines()) {
        let coupon: Value = serde_json::from_str(json).unwrap();
        let (name, qr) = (coupon["name"].as_str().unwrap(), coupon["qr"].as_str().unwrap());
        assert_eq!(*line, format!("{name}\t{qr}"));
    }
}

/// The QR codes of a page as a scanner sees them.
fn scan(picture: &Path) -> Vec<String> {
    // A binary greymap: `P5 width height 255`, then the pixels.
    let bytes = fs::read(picture).unwrap();
    let mut words = bytes.splitn(4, |byte| byte.is_ascii_whitespace());
    assert_eq!(words.next(), Some(&b"P5"[..]));
    let mut number = || -> usize {
        std::str::from_utf8(words.next().unwrap())
            .unwrap()
            .parse()
            .unwrap()
    };
    let (width, height) = (number(), number());
    let pixels = &bytes[bytes.len() - width * height..];
    // Field by field, as people hold them: two columns and five rows within 8 mm.
    let (margin, field) = (
        width * 8 / 210,
        ((width - width * 16 / 210) / 2, (height - width * 16 / 210) / 5),
    );
    let mut found = Vec::new();
    for (column, row) in (0..10).map(|n| (n % 2, n / 2)) {
        let (left, top) = (margin + column * field.0, margin + row * field.1);
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(field.0, field.1, |x, y| {
            pixels[(top + y) * width + left + x]
        });
        let grids = image.detect_grids();
        found.extend(grids.iter().map(|grid| grid.decode().unwrap().1));
    }
    found
}

#[test]
fn a_sheet_shows_every_coupon_and_says_what_it_is() {
    let place = Place::at("http://127.0.0.1:8080");
    let id = campaign(&place, NAME);
    let shop = place.shop();
    let shop = shop.to_str().unwrap();
    let file = |name: &str| place.shop().parent().unwrap().join(name);
    let coupons = place.done(&["issue", "--node", shop, &id, "--count", "23"]);
    fs::write(file("coupons.txt"), &coupons).unwrap();
    let shown = place.done(&["campaign", "show", "--node", shop, &id, "--json"]);
    fs::write(file("campaign.json"), shown).unwrap();
    let sheet = |more: &[&str]| {
        let fixed = [
            "qr",
            "coupons.txt",
            "--sheet",
            "sheet.pdf",
            "--campaign",
            "campaign.json",
        ];
        place.done(&[&fixed[..], more].concat())
    };
    sheet(&[]);
    let pdf = fs::read(file("sheet.pdf")).unwrap();
    assert!(pdf.starts_with(b"%PDF-1.7"));
    assert!(
        pdf.windows(8).any(|window| window == b"/Count 3"),
        "23 coupons are 3 pages"
    );

    // What JSON says of the same coupons gives the same sheet.
    let lines: Vec<String> = coupons
        .lines()
        .map(|line| serde_json::json!({"qr": line.split('\t').nth(1).unwrap()}).to_string())
        .collect();
    fs::write(file("coupons.txt"), lines.join("\n")).unwrap();
    sheet(&[]);
    assert!(fs::read(file("sheet.pdf")).unwrap() == pdf);

    let Ok(_) = Command::new("pdftoppm").arg("-v").output() else {
        println!("skipped: poppler-utils is not installed");
        return;
    };
    let poppler = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        let output = command.args(args).current_dir(file("")).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        // It tells there whatever is wrong with a file.
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        String::from_utf8(output.stdout).unwrap()
    };
    poppler("pdftoppm", &["-gray", "-r", "300", "sheet.pdf", "page"]);
    let scanned: BTreeSet<String> = (1..=3)
        .flat_map(|n| scan(&file(&format!("page-{n}.pgm"))))
        .collect();
    let printed: BTreeSet<String> = coupons
        .lines()
        .map(|line| line.split('\t').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(scanned, printed);
    let words = poppler("pdftotext", &["sheet.pdf", "-"]);
    for part in [
        "Frühling",
        "Łódź",
        "Αθήνα",
        "два евро скидки",
        "2.00 EUR off",
        "Valid until",
        "127.0.0.1:8080",
        "From a basket of 10.00 EUR",
    ] {
        assert!(words.contains(part), "{part} is not in {words}");
    }
}

#[test]
fn what_cannot_be_printed_is_said() {
    let place = Place::at("http://127.0.0.1:8080");
    let shop = place.shop();
    let shop = shop.to_str().unwrap();
    let file = |name: &str| place.shop().parent().unwrap().join(name);
    let (one, other) = (campaign(&place, "春"), campaign(&place, "Other"));
    fs::write(file("coupons.txt"), place.done(&["issue", "--node", shop, &one])).unwrap();
    for (id, name) in [(&one, "one.json"), (&other, "other.json")] {
        fs::write(
            file(name),
            place.done(&["campaign", "show", "--node", shop, id, "--json"]),
        )
        .unwrap();
    }
    let sheet = |campaign: &'static str| {
        [
            "qr",
            "coupons.txt",
            "--sheet",
            "sheet.pdf",
            "--campaign",
            campaign,
        ]
    };
    place.refused(&sheet("one.json"), 1, &["U+6625", "--font"]);
    place.refused(&sheet("other.json"), 1, &["coupon 1", &one, "campaign show"]);
    fs::write(file("coupons.txt"), "0-1\t12345\n").unwrap();
    place.refused(&sheet("other.json"), 1, &["coupon 1"]);
    fs::write(file("coupons.txt"), "").unwrap();
    place.refused(&sheet("other.json"), 1, &["no coupons"]);
}

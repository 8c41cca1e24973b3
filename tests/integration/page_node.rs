//! The verification page of a real node, in a real browser: every link is one
//! that the binary made, every state one that it published.

use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use jiff::Timestamp;
use serde_json::Value;
use tallystick::credential::status_list::{Status, StatusListToken};
use tallystick::encoding::qr_text;

use crate::cli::{PATIENCE, Place, sale};
use crate::page::Browser;

/// A node on a port of its own, which its base URL names.
struct Shop {
    place: Place,
    authority: String,
    url: String,
}

impl Shop {
    fn new(authority: String) -> Self {
        let url = format!("http://{authority}");
        let place = Place::at(&url);
        Self {
            place,
            authority,
            url,
        }
    }

    // A command to the running node.
    #[track_caller]
    fn json(&self, key: &str, args: &[&str]) -> Value {
        let node = ["--node", &self.url, "--key", self.place.key(key), "--json"];
        self.place.json(&[args, &node].concat())
    }

    #[track_caller]
    fn office(&self, args: &[&str]) -> Value {
        self.json("office_key", args)
    }

    /// A campaign until the end of 2099, of one benefit.
    fn campaign(&self, benefit: &[&str]) -> String {
        let terms = ["campaign", "create", "--name", "Apfelwoche", "--currency", "EUR"];
        let until = ["--not-after", "2099-12-30T12:00:00Z"];
        let made = self.office(&[&terms[..], benefit, &until].concat());
        made["id"].as_str().unwrap().to_owned()
    }

    fn coupon(&self, campaign: &str, more: &[&str]) -> Coupon {
        let issued = self.office(&[&["issue", campaign][..], more].concat());
        let field = |name: &str| issued["coupons"][0][name].as_str().unwrap().to_owned();
        let name = field("name");
        Coupon {
            qr: field("qr"),
            index: name.strip_prefix("0-").unwrap().parse().unwrap(),
            name,
        }
    }

    fn redeem(&self, coupon: &Coupon, more: &[&str]) {
        let basket = ["--register", "till-1", "--total", "2500", "--currency", "EUR"];
        self.json("till_key", &[&["redeem", &coupon.qr][..], &basket, more].concat());
    }

    /// Until the status list says all of `expected`, and `expired` is.
    fn wait_for(&self, expected: &[(&Coupon, Status)], expired: Timestamp) {
        let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        let list = format!("{}/s/0", self.url);
        let began = Instant::now();
        loop {
            let token = client.get(&list).send().unwrap().bytes().unwrap();
            let token = StatusListToken::parse(&token).unwrap();
            let says = |(coupon, status): &(&Coupon, Status)| token.list().get(coupon.index) == Some(*status);
            if expected.iter().all(says) && Timestamp::now() >= expired {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "the list never said it");
            std::thread::yield_now();
        }
    }
}

struct Coupon {
    qr: String,
    name: String,
    index: u32,
}

/// A port that is free now and stays so for who asks for it by number: a closed
/// connection keeps it from being handed out for a while.
fn free_authority() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    drop(listener.accept().unwrap());
    drop(client);
    address.to_string()
}

/// A coupon of a co-op that this node does not know, as digits.
fn foreign_digits() -> String {
    let other = Place::at("https://other.coop.example");
    let node = ["--node", "shop", "--json"];
    let terms = [
        "campaign",
        "create",
        "--name",
        "Other",
        "--currency",
        "EUR",
        "--amount-off",
        "250",
        "--not-after",
        "+1d",
    ];
    let made = other.json(&[&terms[..], &node].concat());
    let issued = other.json(&[&["issue", made["id"].as_str().unwrap()][..], &node].concat());
    let qr = issued["coupons"][0]["qr"].as_str().unwrap();
    qr.split_once('#').unwrap().1.to_owned()
}

/// The same link with the last byte of the signature changed.
fn forge(qr: &str) -> String {
    let (page, digits) = qr.split_once('#').unwrap();
    let mut bytes = qr_text::decode_digits(digits).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    format!("{page}#{}", qr_text::encode_digits(&bytes))
}

// As the page writes a day in English.
fn day(time: Timestamp) -> String {
    time.strftime("%b %-d, %Y").to_string()
}

#[test]
fn the_page_says_what_a_real_nodes_codes_are_worth() {
    let Some(browser) = Browser::start() else { return };
    let shop = Shop::new(free_authority());
    let _served = shop.place.serve_on(&shop.authority);

    let soon = Timestamp::from_second(Timestamp::now().as_second() + 3).unwrap();
    let off = shop.campaign(&["--amount-off", "250"]);
    let expired = shop.coupon(&off, &["--not-after", &soon.to_string()]);
    let [good, used, revoked, suspended] = [(); 4].map(|()| shop.coupon(&off, &[]));
    let early = shop.coupon(&off, &["--not-before", "2099-01-15T12:00:00Z"]);
    let card = shop.campaign(&["--stored-value", "2500"]);
    let [value, spent] = [(); 2].map(|()| shop.coupon(&card, &["--amount", "1500"]));

    let file = shop.place.shop().with_file_name("sale.json");
    std::fs::write(&file, sale().to_string()).unwrap();
    let receipt = shop.json("till_key", &["receipt", "sale.json"]);
    let receipt = receipt["qr"].as_str().unwrap().to_owned();
    // The node's clock said one of the two days.
    let days = [soon, Timestamp::now()].map(day);

    shop.redeem(&used, &[]);
    shop.redeem(&spent, &["--amount", "1500"]);
    shop.redeem(&value, &["--amount", "400"]);
    shop.office(&["revoke", "--name", &revoked.name]);
    shop.office(&["revoke", "--name", &suspended.name, "--status", "suspended"]);
    let statuses = [
        (&good, Status::Valid),
        (&value, Status::Valid),
        (&used, Status::UsedUp),
        (&spent, Status::UsedUp),
        (&revoked, Status::Revoked),
        (&suspended, Status::Suspended),
    ];
    shop.wait_for(&statuses, soon);

    let (end, begin) = ("Dec 30, 2099", "Jan 15, 2099");
    let today = days.iter().map(String::as_str).find(|day| {
        browser.state_of(&receipt);
        browser.page_text().contains(day)
    });
    let today = today.expect("the receipt's day is on its page");
    let other = format!("{}/V#{}", shop.url, foreign_digits());
    let cases: [(&str, &str, &str, &[&str]); 10] = [
        ("receipt", &receipt, "valid", &["1.44", "till-1", today]),
        ("amount off", &good.qr, "valid", &["2.50 off", "Apfelwoche", end]),
        (
            "stored value",
            &value.qr,
            "valid",
            &["15.00 when it was issued", end],
        ),
        ("used up", &used.qr, "used-up", &["2.50 off", end]),
        ("spent", &spent.qr, "used-up", &["15.00 when it was issued", end]),
        ("revoked", &revoked.qr, "revoked", &["2.50 off", end]),
        ("suspended", &suspended.qr, "suspended", &["2.50 off", end]),
        ("not yet valid", &early.qr, "not-yet-valid", &["2.50 off", begin]),
        ("expired", &expired.qr, "expired", &["2.50 off", &day(soon)]),
        ("foreign", &other, "unknown-issuer", &["other.coop.example"]),
    ];
    for (name, link, state, words) in cases {
        assert_eq!(browser.state_of(link), state, "{name}: {}", browser.page_text());
        let text = browser.page_text();
        for said in words.iter().chain([&shop.authority.as_str()]) {
            assert!(text.contains(said), "{name}: no {said:?} in: {text}");
        }
    }
    for link in [forge(&good.qr), forge(&receipt)] {
        assert_eq!(browser.state_of(&link), "forged");
        let text = browser.page_text();
        // What a forger wrote is not repeated as if it held.
        assert!(text.contains("Don't accept it") && !text.contains("€"), "{text}");
    }
}

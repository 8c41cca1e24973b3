//! A node that lost entries, or its whole store, and gets them back from a mirror.

use std::fs;
use std::path::PathBuf;

use data_encoding::BASE64URL_NOPAD;
use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::cli::{Place, Served, copy, sale};

/// A shop that is served, and what was done at its till.
struct Shop {
    place: Place,
    served: Option<Served>,
}

/// A call of a till, to be made again, and its first answer.
struct Call {
    path: &'static str,
    key: String,
    body: Value,
    answer: String,
}

impl Shop {
    fn open() -> Self {
        let place = Place::new();
        let served = Some(place.serve());
        Self { place, served }
    }

    fn url(&self) -> &str {
        self.served.as_ref().unwrap().url()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.dir.path().join(name)
    }

    fn stop(&mut self) {
        assert_eq!(self.served.take().unwrap().signal("-TERM").0, Some(0));
    }

    fn start(&mut self) {
        self.served = Some(self.place.serve());
    }

    fn post(&self, role: &str, path: &str, key: &str, body: &Value) -> Response {
        let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        let request = client
            .post(format!("{}{path}", self.url()))
            .bearer_auth(self.place.key(role))
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", key)
            .body(body.to_string());
        request.send().unwrap()
    }

    #[track_caller]
    fn done(&self, path: &'static str, key: &str, body: Value) -> Call {
        let response = self.post("till_key", path, key, &body);
        let status = response.status();
        let answer = response.text().unwrap();
        assert_eq!(status, 201, "{answer}");
        let key = key.to_owned();
        Call {
            path,
            key,
            body,
            answer,
        }
    }

    fn sell(&self, reference: &str) -> Call {
        let mut body = sale();
        body["till_reference"] = json!(reference);
        self.done("/v1/receipts", &format!("sale-{reference}"), body)
    }

    fn redeem(&self, coupon: &str, reference: &str) -> Call {
        let body = json!({
            "coupon": coupon, "register": "till-1", "till_reference": reference,
            "basket": {"total": 1_850, "currency": "EUR"},
        });
        self.done("/v1/redemptions", &format!("redeem-{reference}"), body)
    }

    /// The same call again gets the same answer, byte for byte.
    #[track_caller]
    fn repeats(&self, call: &Call) {
        let again = self.post("till_key", call.path, &call.key, &call.body);
        assert_eq!(
            (again.status().as_u16(), again.text().unwrap()),
            (201, call.answer.clone())
        );
    }

    /// The call is refused with `status` and `code`.
    #[track_caller]
    fn refuses(&self, (path, key, body): (&str, &str, &Value), status: u16, code: &str) -> Value {
        let refused = self.post("till_key", path, key, body);
        let found = refused.status().as_u16();
        let problem: Value = serde_json::from_str(&refused.text().unwrap()).unwrap();
        assert_eq!((found, &problem["code"]), (status, &json!(code)), "{problem}");
        problem
    }

    /// Texts of `count` fresh coupons.
    fn coupons(&self, count: u32) -> Vec<String> {
        let node = ["--node", self.url(), "--key", self.place.key("office_key")];
        let campaign = self.place.campaign(&node);
        let count = count.to_string();
        let mut args = vec!["issue", &campaign, "--count", &count];
        args.extend(node);
        let lines = self.place.done(&args);
        let texts = lines.lines().filter_map(|line| line.split_whitespace().last());
        texts.map(ToOwned::to_owned).collect()
    }

    /// The stub of receipt `id`, as JSON has bytes.
    fn stub(&self, id: &str) -> String {
        let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        let request = client
            .get(format!("{}/v1/receipts/{id}", self.url()))
            .bearer_auth(self.place.key("till_key"))
            .header("Accept", "application/cose");
        let shown = request.send().unwrap();
        assert_eq!(shown.status(), 200);
        BASE64URL_NOPAD.encode(&shown.bytes().unwrap())
    }

    fn mirror(&self) -> Value {
        let url = self.url().to_owned();
        let key = self.place.key("office_key").to_owned();
        self.place
            .json(&["mirror", &url, "mirror", "--key", &key, "--once", "--json"])
    }

    fn size(&self) -> u64 {
        self.mirror()["size"].as_u64().unwrap()
    }
}

#[test]
fn a_restored_backup_gets_back_what_it_lacks_and_nothing_is_done_twice() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut shop = Shop::open();
    let early = shop.coupons(3);
    let (sold, redeemed) = (shop.sell("a/1"), shop.redeem(&early[0], "a/1"));
    shop.stop();
    copy(&shop.place.shop().join("store"), &shop.at("backup"));
    shop.start();
    let lost_sale = shop.sell("b/1");
    let lost_redemption = shop.redeem(&early[1], "b/1");
    let late = shop.coupons(140);
    let late_redemption = shop.redeem(&late[139], "b/2");
    let size = shop.size();
    let entry = serde_json::from_str::<Value>(&lost_sale.answer).unwrap()["entry"]["index"].clone();
    shop.stop();

    // The backup is put back, as after a dead disk.
    fs::remove_dir_all(shop.place.shop().join("store")).unwrap();
    copy(&shop.at("backup"), &shop.place.shop().join("store"));
    shop.place.refused(
        &["serve", "shop", "--listen", "127.0.0.1:0"],
        1,
        &["were signed", "tallystick recover"],
    );
    // A mirror that was cut short, one of another log, none at all.
    copy(&shop.at("mirror"), &shop.at("other"));
    fs::remove_file(shop.at("other/checkpoint")).unwrap();
    shop.place
        .refused(&["recover", "shop", "--from", "other"], 1, &["there is none"]);
    shop.place
        .refused(&["recover", "shop", "--from", "nowhere"], 2, &["neither a URL"]);
    shop.place.refused(&["recover", "shop"], 2, &["--from"]);
    let stranger = Shop::open();
    stranger.size();
    let strange = stranger.at("mirror").display().to_string();
    shop.place.refused(
        &["recover", "shop", "--from", &strange],
        1,
        &["checkpoint is refused"],
    );

    let recovered = shop
        .place
        .json(&["recover", "shop", "--from", "mirror", "--json"]);
    assert_eq!(
        (&recovered["size"], &recovered["guard_made"]),
        (&json!(size), &json!(false))
    );
    assert!(recovered["fetched"].as_u64().unwrap() >= 5, "{recovered}");
    assert_eq!(
        recovered["stubs"],
        json!({"fetched": 1, "lacking": 0, "stopped": null})
    );
    shop.start();
    // What was in the backup is answered as ever, and so is what entries alone tell.
    for call in [&sold, &redeemed, &lost_redemption, &late_redemption] {
        shop.repeats(call);
    }
    // A receipt's details were lost with the store: it is said to be done, under its
    // key and under its reference, and is not done again.
    let again = (lost_sale.path, &*lost_sale.key, &lost_sale.body);
    let problem = shop.refuses(again, 410, "done_before_loss");
    assert_eq!(problem["entry"], entry);
    shop.refuses(
        (lost_sale.path, "another", &lost_sale.body),
        410,
        "done_before_loss",
    );
    // Its stub came back, and can be had by whoever may read it.
    let answer: Value = serde_json::from_str(&lost_sale.answer).unwrap();
    let stub = shop.stub(answer["id"].as_str().unwrap());
    assert_eq!(stub, answer["credential"].as_str().unwrap());
    // Nor can its coupons be used twice; one of the lost batch that nobody used is good.
    let mut body = lost_redemption.body.clone();
    body["till_reference"] = json!("c/1");
    shop.refuses(("/v1/redemptions", "key-c/1", &body), 422, "coupon_used_up");
    shop.redeem(&late[0], "c/2");
    let number = |call: &Call| {
        let answer: Value = serde_json::from_str(&call.answer).unwrap();
        answer["sequence_number"].as_u64().unwrap()
    };
    assert_eq!(number(&shop.sell("c/1")), number(&lost_sale) + 1);
    // The log went on from where it was: who followed it sees nothing wrong, and for
    // who audits it from outside nothing is missing.
    assert!(shop.size() > size);
    let (url, key) = (shop.url(), shop.place.key("office_key"));
    let outside = shop.place.json(&["audit", url, "--key", key, "--json"]);
    assert_eq!(outside["verdict"], "clean", "{outside}");
    shop.stop();
    let audit = shop.place.run(&["audit", "shop", "--json"]);
    let report: Value = serde_json::from_slice(&audit.stdout).unwrap();
    let finding = &report["findings"][0];
    assert_eq!(
        (&finding["rule"], &finding["first_entry"]),
        (&json!("details_missing"), &entry)
    );
    assert_eq!(report["findings_total"], 1, "{report}");
    let message = finding["message"].as_str().unwrap();
    assert!(message.contains("not its details"), "{message}");
}

#[test]
fn stubs_come_back_from_whoever_has_them_and_none_but_the_right_ones() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut shop = Shop::open();
    for n in 0..3 {
        shop.sell(&format!("s/{n}"));
    }
    let size = shop.size();
    shop.stop();
    // One mirror has no stubs, one has a wrong one, one is as it should be.
    copy(&shop.at("mirror"), &shop.at("bare"));
    fs::remove_dir_all(shop.at("bare/tile/stubs")).unwrap();
    copy(&shop.at("mirror"), &shop.at("wrong"));
    let file = shop.at(&format!("wrong/tile/stubs/000.p/{size}"));
    let mut bundle = fs::read(&file).unwrap();
    let last = bundle.len() - 1;
    bundle[last] ^= 1;
    fs::write(&file, bundle).unwrap();
    fs::remove_dir_all(shop.place.shop().join("store")).unwrap();
    let recovered = |from: &str| shop.place.json(&["recover", "shop", "--from", from, "--json"]);
    let bare = recovered("bare");
    let stubs = &bare["stubs"];
    assert_eq!(
        (&stubs["fetched"], &stubs["lacking"]),
        (&json!(0), &json!(3)),
        "{bare}"
    );
    let why = stubs["stopped"].as_str().unwrap();
    assert!(why.contains("has no tile/stubs/000"), "{why}");
    // From a log that is whole, only what lacks is fetched; again changes nothing.
    for (from, fetched, lacking) in [("wrong", 2, 1), ("mirror", 1, 0), ("mirror", 0, 0)] {
        let again = recovered(from);
        let stubs = json!({"fetched": fetched, "lacking": lacking, "stopped": null});
        assert_eq!(
            (&again["fetched"], &again["stubs"]),
            (&json!(0), &stubs),
            "{again}"
        );
    }
    shop.start();
    // A mirror of the node has all of them, as the mirror before.
    let (url, key) = (shop.url().to_owned(), shop.place.key("office_key").to_owned());
    let round = shop
        .place
        .json(&["mirror", &url, "after", "--key", &key, "--once", "--json"]);
    assert_eq!(round["beside"]["lacking"], 0, "{round}");
    assert_eq!(
        fs::read(shop.at(&format!("after/tile/stubs/000.p/{size}"))).unwrap(),
        fs::read(shop.at(&format!("mirror/tile/stubs/000.p/{size}"))).unwrap()
    );
    shop.stop();
}

#[test]
fn a_lost_store_and_a_lost_guard_are_made_again_from_a_mirror() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut shop = Shop::open();
    let coupons = shop.coupons(10);
    let redeemed = shop.redeem(&coupons[0], "a/1");
    for n in 0..10 {
        shop.sell(&format!("s/{n}"));
    }
    let size = shop.size();
    shop.stop();
    // The guard has signed more than the mirror holds.
    shop.start();
    shop.sell("t/1");
    shop.stop();
    let store = shop.place.shop().join("store");
    copy(&store, &shop.at("whole"));
    fs::remove_dir_all(&store).unwrap();
    shop.place.refused(
        &["recover", "shop", "--from", "mirror"],
        1,
        &["were signed", "a copy that holds them all"],
    );
    copy(&shop.at("whole"), &store);
    shop.start();
    assert!(shop.size() > size);
    shop.stop();

    for guard_too in [false, true] {
        fs::remove_dir_all(&store).unwrap();
        if guard_too {
            fs::remove_file(shop.at("shop.guard")).unwrap();
        }
        let recovered = shop
            .place
            .json(&["recover", "shop", "--from", "mirror", "--json"]);
        assert_eq!(recovered["guard_made"], guard_too, "{recovered}");
        // Once more changes nothing.
        let again = shop
            .place
            .json(&["recover", "shop", "--from", "mirror", "--json"]);
        assert_eq!(
            (&again["fetched"], &again["size"]),
            (&json!(0), &recovered["size"])
        );
        shop.start();
        shop.repeats(&redeemed);
        shop.redeem(&coupons[1 + usize::from(guard_too)], &format!("u/{guard_too}"));
        shop.size();
        shop.stop();
    }
}

/// The way of an outsider: with an address, an auditor's key and the log's key a
/// node is watched; its operator, who holds all keys, puts store and guard back and
/// sells something else in an entry's place; and somebody who was never there sees
/// it from the file alone.
#[test]
fn an_operator_who_rewrites_one_entry_is_convicted() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut shop = Shop::open();
    shop.sell("a/1");
    shop.stop();
    let store = shop.place.shop().join("store");
    copy(&store, &shop.at("store.before"));
    fs::copy(shop.at("shop.guard"), shop.at("guard.before")).unwrap();
    shop.start();
    let rewritten = shop.sell("b/1");
    shop.sell("b/2");
    let watch = |shop: &Shop| {
        let (url, key) = (shop.url(), shop.place.key("office_key"));
        // Its address is another each time; the log is the same by its key.
        let output = shop.place.run(&[
            "mirror",
            url,
            "watched",
            "--key",
            key,
            "--log-key",
            shop.place.key("vkey"),
            "--once",
            "--json",
        ]);
        let round: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), round)
    };
    assert_eq!(watch(&shop).0, 0);
    shop.stop();

    fs::remove_dir_all(&store).unwrap();
    copy(&shop.at("store.before"), &store);
    fs::copy(shop.at("guard.before"), shop.at("shop.guard")).unwrap();
    shop.start();
    shop.sell("c/1");
    shop.sell("b/2");
    shop.sell("b/3");
    let (code, round) = watch(&shop);
    let answer: Value = serde_json::from_str(&rewritten.answer).unwrap();
    let finding = &round["findings"][0];
    assert_eq!(
        (code, &finding["rule"], &finding["entry"]),
        (22, &json!("fork"), &answer["entry"]["index"])
    );
    shop.stop();

    let evidence = finding["evidence"].as_str().unwrap();
    let judged = shop.place.json(&[
        "verify",
        "--json",
        "--evidence",
        evidence,
        "--log-key",
        shop.place.key("vkey"),
    ]);
    assert_eq!(judged["verdict"], "convicted");
}

//! The Python example that a till's integrator begins with, run against a node.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::cli::Place;

/// The example is to be read in one sitting.
const LINES_MAX: usize = 100;

#[test]
fn the_python_till_gets_through_its_day() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/python/till.py");
    assert!(std::fs::read_to_string(&example).unwrap().lines().count() < LINES_MAX);
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: python3 is not installed");
        return;
    }
    let place = Place::at("http://127.0.0.1:8080");
    let served = place.serve_on("127.0.0.1:0");
    let keys = place.shop().with_file_name("keys.json");
    let known = json!({
        "till_key": place.key("till_key"), "office_key": place.key("office_key"),
        "register": place.key("register"),
    });
    std::fs::write(&keys, known.to_string()).unwrap();
    // Twice: what it names is new each time.
    for receipts in ["receipt 3 refunds receipt 1", "receipt 6 refunds receipt 4"] {
        let done = Command::new("python3")
            .args([example.as_os_str(), served.url().as_ref(), keys.as_os_str()])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(
            done.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&done.stderr)
        );
        for told in [
            "594 cents, 200 of them by coupon",
            "coupon_used_up",
            "was made, once",
            receipts,
        ] {
            assert!(said.contains(told), "{told}: {said}");
        }
    }
}

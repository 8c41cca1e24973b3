//! Floors 5 and 8: files that people and programs write: access keys and
//! settings.

use std::path::Path;

use super::{Target, texts};
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

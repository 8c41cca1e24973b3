//! What stands beside `docker-compose.yml`, held against the program: the file itself
//! is brought up by `scripts/compose/run`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The names that begin with `prefix` in `text`, each up to what cannot be in a name.
fn names<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let of_a_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.match_indices(prefix)
        .map(|(at, _)| text[at..].split(|c| !of_a_name(c)).next().unwrap())
        .collect()
}

fn sources(dir: &Path, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

/// The metrics that the program's sources register: a name as a whole, or its end
/// where the floor has a prefix of its own.
fn registered() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let mut found = BTreeSet::new();
    for file in &files {
        let prefixes = names(file, "tallystick_")
            .into_iter()
            .filter(|name| name.ends_with('_') && file.contains(&format!("\"{name}{{name}}\"")));
        let prefixes: Vec<&str> = prefixes.collect();
        for literal in file.split('"').skip(1) {
            if literal.starts_with("tallystick_") {
                found.insert(literal.to_owned());
            } else if literal.starts_with(|c: char| c.is_ascii_lowercase()) {
                found.extend(prefixes.iter().map(|prefix| format!("{prefix}{literal}")));
            }
        }
    }
    found
}

fn exists(metric: &str, registered: &BTreeSet<String>) -> bool {
    let histogram = ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|end| metric.strip_suffix(end));
    registered.contains(metric) || histogram.is_some_and(|name| registered.contains(name))
}

#[test]
fn the_dashboard_names_metrics_that_there_are() {
    let text = std::fs::read_to_string(root().join("deploy/grafana/dashboards/tallystick.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let registered = registered();
    assert!(exists("tallystick_log_entries", &registered));
    assert!(exists("tallystick_gossip_list_age_seconds", &registered));
    assert!(exists("tallystick_commit_seconds_bucket", &registered));
    assert!(!exists("tallystick_log_entries_bucket_", &registered));
    assert!(!exists("tallystick_gossip_lag", &registered));

    let panels = dashboard["panels"].as_array().unwrap();
    assert!(!panels.is_empty());
    for panel in panels {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{} asks nothing", panel["title"]);
        for target in targets {
            let asked = target["expr"].as_str().unwrap();
            for metric in names(asked, "tallystick_") {
                assert!(
                    exists(metric, &registered),
                    "{}: no {metric} is registered",
                    panel["title"]
                );
            }
        }
    }
    // What a federation's operator has to see, each by the metric that says it.
    let shown = names(&text, "tallystick_");
    for metric in [
        "tallystick_partner_redemptions_total",
        "tallystick_issuer_answer_seconds_bucket",
        "tallystick_refused_total",
        "tallystick_gossip_heard_timestamp_seconds",
        "tallystick_gossip_list_age_seconds",
        "tallystick_log_entries",
        "tallystick_gossip_forked_logs",
        "tallystick_intents_open",
    ] {
        assert!(shown.contains(metric), "{metric} is not on the dashboard");
    }
}

/// Each published port is open to this machine alone.
#[test]
fn no_port_is_open_to_other_machines() {
    let text = std::fs::read_to_string(root().join("docker-compose.yml")).unwrap();
    let published: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- \""))
        .filter(|port| port.contains("_PORT:-"))
        .collect();
    assert_eq!(published.len(), 5);
    for port in &published {
        assert!(port.starts_with("127.0.0.1:${"), "{port}");
    }
    assert_eq!(text.matches("ports:").count(), published.len());
}

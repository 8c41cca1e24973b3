//! The README's commands, run word by word.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// The marker before a block that is run.
const MARKER: &str = "<!-- run -->\n```sh\n";

fn script(document: &str, blocks_min: usize) -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
    let blocks: Vec<&str> = text
        .split(MARKER)
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(
        blocks.len() >= blocks_min,
        "{document} has lost its marked blocks"
    );
    blocks.join("\n")
}

/// `count` authorities on loopback that nobody listens on.
fn free_authorities(count: usize) -> Vec<String> {
    let free = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let free: Vec<_> = free.collect();
    free.iter()
        .map(|listener| listener.local_addr().unwrap().to_string())
        .collect()
}

/// Runs a script in a directory of its own; what it said.
fn run(script: &str, environment: &[(&str, String)]) -> String {
    let place = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_tallystick"));
    let path = format!(
        "{}:{}",
        program.parent().unwrap().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    // Monitor mode, so that `%1` is a job as in a terminal.
    let script = format!("set -eu -o pipefail -m\n{script}");
    let done = Command::new("bash")
        .args(["-c", &script])
        .current_dir(place.path())
        .env("PATH", path)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let told = format!(
        "{}\n{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(done.status.success(), "{told}");
    told
}

fn has_curl() -> bool {
    let there = Command::new("curl").arg("--version").output().is_ok();
    if !there {
        println!("skipped: curl is not installed");
    }
    there
}

#[test]
fn the_readmes_commands_work_as_written() {
    if !has_curl() {
        return;
    }
    let authority = free_authorities(1).remove(0);
    let script = script("README.md", 5).replace("127.0.0.1:8080", &authority);
    let environment = [
        ("TALLYSTICK_LISTEN", authority.clone()),
        ("TALLYSTICK_BASE_URL", format!("http://{authority}")),
    ];
    let told = run(&script, &environment);
    assert!(told.contains("sequence_number"), "{told}");
}

#[test]
fn two_nodes_follow_one_roster_as_written() {
    if !has_curl() {
        return;
    }
    let mut script = script("docs/federation.md", 5);
    for (written, free) in ["8081", "8082"].into_iter().zip(free_authorities(2)) {
        script = script.replace(written, free.rsplit(':').next().unwrap());
    }
    let told = run(&script, &[]);
    for part in [
        "What it changes",
        "joins, with the key",
        "can be published",
        "version 2  ",
    ] {
        assert!(told.contains(part), "{part} is not in:\n{told}");
    }
}

#[test]
fn one_node_witnesses_another_as_written() {
    if !has_curl() {
        return;
    }
    let mut script = script("docs/witness.md", 3);
    for (written, free) in ["8081", "8082"].into_iter().zip(free_authorities(2)) {
        script = script.replace(written, free.rsplit(':').next().unwrap());
    }
    let told = run(&script, &[]);
    assert!(
        told.contains("which a quorum of witnesses has cosigned"),
        "{told}"
    );
}

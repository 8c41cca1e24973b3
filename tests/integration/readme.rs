//! The README's commands, run word by word.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// The marker before a block that is run.
const MARKER: &str = "<!-- run -->\n```sh\n";

fn script() -> String {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let blocks: Vec<&str> = readme
        .split(MARKER)
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() >= 5, "the README has lost its marked blocks");
    blocks.join("\n")
}

#[test]
fn the_readmes_commands_work_as_written() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: curl is not installed");
        return;
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = free.local_addr().unwrap().to_string();
    drop(free);
    let place = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_tallystick"));
    let path = format!(
        "{}:{}",
        program.parent().unwrap().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    // Monitor mode, so that `%1` is a job as in a terminal.
    let script = format!("set -eu -o pipefail -m\n{}", script().replace("127.0.0.1:8080", &authority));
    let done = Command::new("bash")
        .args(["-c", &script])
        .current_dir(place.path())
        .env("PATH", path)
        .env("TALLYSTICK_LISTEN", &authority)
        .env("TALLYSTICK_BASE_URL", format!("http://{authority}"))
        .output()
        .unwrap();
    let told = format!(
        "{}\n{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(done.status.success(), "{told}");
    assert!(told.contains("sequence_number"), "{told}");
}

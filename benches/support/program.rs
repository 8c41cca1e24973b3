//! The program as a process: how long it runs, and how much memory it takes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Between two looks at a process.
const LOOK: Duration = Duration::from_millis(10);

/// What one run took.
pub struct Run {
    /// From the start to the end of the process.
    pub elapsed: Duration,
    /// Its largest resident memory, in bytes (`VmHWM`), as last seen.
    pub peak_bytes: u64,
}

/// Runs `tallystick` with these arguments; it has to succeed.
pub fn run(arguments: &[&str], directory: &Path) -> Run {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tallystick"))
        .args(arguments)
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut peak_bytes = 0;
    let status = loop {
        peak_bytes = peak_of(child.id()).unwrap_or(peak_bytes);
        match child.try_wait().expect("a child of this process") {
            Some(status) => break status,
            None => std::thread::sleep(LOOK),
        }
    };
    assert!(status.success(), "{arguments:?} ended with {status}");
    Run {
        elapsed: started.elapsed(),
        peak_bytes,
    }
}

fn peak_of(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// A new auditor's key of the node in `directory`: one that is served already may
/// take a second to know it.
#[allow(dead_code, reason = "another bench needs none")]
pub fn auditor_key(directory: &Path) -> String {
    let made = Command::new(env!("CARGO_BIN_EXE_tallystick"))
        .args(["key", "add"])
        .arg(directory)
        .args(["--role", "auditor", "--json"])
        .output()
        .expect("the program starts");
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).expect("a key in JSON");
    made["key"].as_str().expect("a key").to_owned()
}

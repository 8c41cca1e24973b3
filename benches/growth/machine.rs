//! What the operating system says of a process and of a directory.

use std::path::Path;
use std::time::Duration;

/// Bytes that this process has resident.
pub fn resident() -> u64 {
    status("VmRSS:")
}

/// The most bytes that this process has had resident.
pub fn resident_most() -> u64 {
    status("VmHWM:")
}

fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .expect("a line on resident memory");
    let kilobytes = line.trim().trim_end_matches(" kB").trim();
    kilobytes.parse::<u64>().expect("a number") * 1024
}

/// Bytes of the files in and below `dir`, as they are allocated.
pub fn on_disk(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("an entry");
        let found = entry.metadata().expect("it is there");
        bytes += if found.is_dir() {
            on_disk(&entry.path())
        } else {
            found.blocks() * 512
        };
    }
    bytes
}

/// The value that a share `q` of `times` does not exceed.
pub fn quantile(times: &mut [Duration], q: f64) -> Duration {
    times.sort_unstable();
    let at = ((times.len() as f64 - 1.0) * q).round();
    times[at as usize]
}

//! The command-line program; see `tallystick help`.

use std::process::ExitCode;

/// Requests allocate in one thread and free in another, which costs the system's
/// allocator more (docs/performance.md has figures).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tallystick::cli::main()
}

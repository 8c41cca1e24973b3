//! The command-line program; see `tallystick help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tallystick::cli::main()
}

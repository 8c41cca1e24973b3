//! The command-line program; see `tallystick help`.

fn main() {}

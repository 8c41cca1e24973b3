//! Floor 8: the command line, one file per subcommand.

pub mod import;
pub mod verify;

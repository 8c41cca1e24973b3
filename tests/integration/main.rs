//! Everything that is tested through the public doors, in one binary.

mod kill;
mod layering;
mod node;
mod page;
mod store_format;

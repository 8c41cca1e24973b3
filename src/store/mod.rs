//! Floor 4: durable rows. Everything that is kept passes through [`Engine`].

mod engine;

pub use engine::{Batch, Engine, Row, StoreError};

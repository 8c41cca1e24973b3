//! Ports for nodes that are stopped and started again at one address.

use std::net::TcpListener;

use anyhow::Context as _;

use crate::primitives::{Entropy, OsEntropy};

/// Ports below those that systems give out to whoever asks for any: nobody gets one of
/// these by chance while its node is away.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// Ports that are tried before it is given up.
const TRIES: u32 = 64;

/// A listener on a loopback port that is free, and stays so by all odds.
///
/// # Errors
/// When no port of those that were tried is free.
pub fn spare() -> anyhow::Result<TcpListener> {
    let entropy: &dyn Entropy = &OsEntropy;
    let mut last = None;
    for _ in 0..TRIES {
        let drawn = u16::from_be_bytes(entropy.bytes());
        let port = PORTS.start + drawn % (PORTS.end - PORTS.start);
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(String::new, |error| error.to_string());
    Err(anyhow::anyhow!(why)).context("no loopback port is free")
}

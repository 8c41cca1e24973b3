//! Floor 1: bytes to values and back. Pure.

pub mod cbor;
pub mod cbor_read;
pub mod cbor_write;
pub mod did;
pub mod qr_text;
pub mod zlib;

//! Deterministic CBOR written straight into a buffer (RFC 8949 section 4.2.1),
//! for the hot paths that [`super::cbor::encode`] would slow down.
//!
//! In scope: shortest heads, integers, byte and text strings. The caller keeps
//! maps sorted and counts right; every user of this module has a test that
//! proves its bytes equal to those of the slow way.

/// Unsigned integer.
pub const UINT: u8 = 0;
/// Negative integer.
pub const NINT: u8 = 1;
/// Byte string.
pub const BYTES: u8 = 2;
/// Text string.
pub const TEXT: u8 = 3;
/// Array.
pub const ARRAY: u8 = 4;
/// Map.
pub const MAP: u8 = 5;
/// Tag.
pub const TAG: u8 = 6;

/// False, a whole item; true is the next one.
pub(super) const FALSE: u8 = 0xf4;
pub(super) const TRUE: u8 = 0xf5;
/// Null, a whole item.
pub const NULL: u8 = 0xf6;

/// Writes the head of an item: its major type and argument, in the shortest form.
pub fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    if argument < 24 {
        out.push(major | argument.to_le_bytes()[0]);
    } else if let Ok(short) = u8::try_from(argument) {
        out.extend_from_slice(&[major | 24, short]);
    } else if let Ok(short) = u16::try_from(argument) {
        out.push(major | 25);
        out.extend_from_slice(&short.to_be_bytes());
    } else if let Ok(short) = u32::try_from(argument) {
        out.push(major | 26);
        out.extend_from_slice(&short.to_be_bytes());
    } else {
        out.push(major | 27);
        out.extend_from_slice(&argument.to_be_bytes());
    }
}

/// Writes an unsigned integer.
pub fn uint(out: &mut Vec<u8>, number: u64) {
    head(out, UINT, number);
}

/// Writes an integer of either sign.
pub fn int(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        head(out, NINT, number.unsigned_abs() - 1);
    } else {
        head(out, UINT, number.unsigned_abs());
    }
}

/// Writes a byte string.
pub fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    head(out, BYTES, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes a text string.
pub fn text(out: &mut Vec<u8>, text: &str) {
    head(out, TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Writes null.
pub fn null(out: &mut Vec<u8>) {
    out.push(NULL);
}

/// Writes true or false.
pub fn bool(out: &mut Vec<u8>, value: bool) {
    out.push(FALSE + u8::from(value));
}

/// How many bytes the head of `argument` takes.
#[must_use]
pub fn head_len(argument: u64) -> usize {
    match argument {
        0..24 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::cbor;

    #[test]
    fn the_same_bytes_as_the_slow_way() {
        let edges = [
            0,
            1,
            23,
            24,
            255,
            256,
            65_535,
            65_536,
            u64::from(u32::MAX),
            1 << 32,
            u64::MAX,
        ];
        for number in edges {
            let mut out = Vec::new();
            uint(&mut out, number);
            assert_eq!(out, cbor::encode(&cbor::int(number)));
            assert_eq!(out.len(), head_len(number));
        }
        for number in [0, -1, -24, -25, -256, -257, -65_537, i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            int(&mut out, number);
            assert_eq!(out, cbor::encode(&cbor::int(number)));
        }
        let mut out = Vec::new();
        bytes(&mut out, &[7; 300]);
        text(&mut out, "Äpfel");
        null(&mut out);
        bool(&mut out, false);
        bool(&mut out, true);
        let mut slow = cbor::encode(&cbor::bytes([7; 300]));
        slow.extend(cbor::encode(&cbor::text("Äpfel")));
        slow.extend(cbor::encode(&serde_cbor::Value::Null));
        slow.extend(cbor::encode(&serde_cbor::Value::Bool(false)));
        slow.extend(cbor::encode(&serde_cbor::Value::Bool(true)));
        assert_eq!(out, slow);
    }
}

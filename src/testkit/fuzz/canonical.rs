//! A checker of deterministic CBOR, written from RFC 8949 sections 3 and 4.2.1
//! and formats, section 1, without looking at the gate or at serde_cbor: it
//! reads heads off the bytes and builds no value. The gate is compared with it.

use std::ops::Range;

/// What the checker says of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canonical {
    /// One item in its one encoding, with so many arrays, maps and tags inside
    /// each other.
    Yes(usize),
    /// Anything else.
    No,
}

/// Items inside each other beyond which the checker says no by itself.
const DEPTH_MAX: usize = 1_000;

/// Whether `input` is exactly one item of deterministic CBOR without floats,
/// undefined and simple values other than false, true and null.
#[must_use]
pub fn canonical(input: &[u8]) -> Canonical {
    let mut reader = Reader {
        input,
        at: 0,
        deepest: 0,
    };
    match reader.item(0) {
        Some(()) if reader.at == input.len() => Canonical::Yes(reader.deepest),
        _ => Canonical::No,
    }
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    deepest: usize,
}

impl Reader<'_> {
    /// Reads one item; `None` where it is not canonical.
    fn item(&mut self, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        let first = self.byte()?;
        let (major, short) = (first >> 5, first & 0x1f);
        if major == 7 {
            // false, true and null; 23 is undefined, 24 a simple value's byte,
            // 25 to 27 are floats and 31 is a break.
            return (20..=22).contains(&short).then_some(());
        }
        let argument = self.argument(short)?;
        if major >= 4 {
            self.deepest = self.deepest.max(depth + 1);
        }
        match major {
            0 | 1 => Some(()),
            2 => self.skip(argument).map(drop),
            3 => {
                let text = self.skip(argument)?;
                std::str::from_utf8(&self.input[text]).ok().map(drop)
            }
            4 => (0..argument).try_for_each(|_| self.item(depth + 1)),
            5 => self.map(argument, depth),
            _ => self.item(depth + 1),
        }
    }

    /// Keys stand in the bytewise order of their encodings, each once.
    fn map(&mut self, pairs: u64, depth: usize) -> Option<()> {
        let mut previous: Option<Range<usize>> = None;
        for _ in 0..pairs {
            let start = self.at;
            self.item(depth + 1)?;
            let key = start..self.at;
            if previous.is_some_and(|previous| self.input[previous] >= self.input[key.clone()]) {
                return None;
            }
            previous = Some(key);
            self.item(depth + 1)?;
        }
        Some(())
    }

    /// The argument of a head, in the shortest of its five forms.
    fn argument(&mut self, short: u8) -> Option<u64> {
        let (bytes, least) = match short {
            0..=23 => return Some(u64::from(short)),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            // 28 to 30 are reserved, 31 is an indefinite length.
            _ => return None,
        };
        let mut number = 0;
        for _ in 0..bytes {
            number = number << 8 | u64::from(self.byte()?);
        }
        (number >= least).then_some(number)
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.input.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn skip(&mut self, len: u64) -> Option<Range<usize>> {
        let end = self.at.checked_add(usize::try_from(len).ok()?)?;
        if end > self.input.len() {
            return None;
        }
        let skipped = self.at..end;
        self.at = end;
        Some(skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples of RFC 8949, appendix A, and section 4.2.1's rules.
    #[test]
    fn examples_of_the_specification() {
        let says = |hex: &str| canonical(&data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap());
        for hex in [
            "00",
            "17",
            "1818",
            "1bffffffffffffffff",
            "3bffffffffffffffff",
            "f4",
            "f5",
            "f6",
            "40",
            "4401020304",
            "60",
            "62c3bc",
            "80",
            "83010203",
            "8301820203820405",
            "a0",
            "a201020304",
            "a26161016162820203",
            "c074323031332d30332d32315432303a30343a30305a",
            // Section 4.2.1's example of an order: 10, 100, -1, "z", "aa", [100], [-1], false.
            "a80a0018640020 00617a00626161008118640081200 0f400",
        ] {
            let hex = hex.replace(' ', "");
            assert_ne!(says(&hex), Canonical::No, "{hex}");
        }
        for hex in [
            "",
            "1817",
            "190001",
            "1a00000001",
            "1b0000000000000001",
            "f7",
            "f0",
            "f8ff",
            "f90000",
            "fa47c35000",
            "fb3ff199999999999a",
            "5f42010243030405ff",
            "7f657374726561646d696e67ff",
            "9fff",
            "bfff",
            "ff",
            "1c",
            "6180",
            "0000",
            "8201",
            "a201020103",
            "a203040102",
            "a101",
            "d80018",
            "7a00000001",
        ] {
            assert_eq!(says(hex), Canonical::No, "{hex}");
        }
        assert_eq!(says("8181818100"), Canonical::Yes(4));
    }
}

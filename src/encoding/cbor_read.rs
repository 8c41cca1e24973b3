//! Deterministic CBOR read piece by piece, for the hot paths that building a
//! value would slow down.
//!
//! This is no second gate. The reader is lenient: it takes heads longer than
//! they need be and does not look at what a caller skips. Whoever uses it writes
//! what was read once more with [`super::cbor_write`], compares the bytes, and
//! leaves to [`super::cbor::decode`] whatever does not come out the same. What
//! does is the deterministic encoding of what was read, which is what the gate
//! asks for.

use super::cbor_write as write;

/// Reads one item after another; `None` where the next one is of another kind,
/// or cut off.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Begins with the first item of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// True when all has been read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// The number of items of an array.
    pub fn array(&mut self) -> Option<u64> {
        self.head(write::ARRAY)
    }

    /// Takes an array of exactly `count` items.
    pub fn tuple(&mut self, count: u64) -> Option<()> {
        (self.array()? == count).then_some(())
    }

    /// The number of pairs of a map.
    pub fn map(&mut self) -> Option<u64> {
        self.head(write::MAP)
    }

    /// The number of a tag.
    pub fn tag(&mut self) -> Option<u64> {
        self.head(write::TAG)
    }

    /// An unsigned integer.
    pub fn uint(&mut self) -> Option<u64> {
        self.head(write::UINT)
    }

    /// An integer of either sign.
    pub fn int(&mut self) -> Option<i64> {
        if self.rest.first()? >> 5 == write::NINT {
            let number = i64::try_from(self.head(write::NINT)?).ok()?;
            Some(-1 - number)
        } else {
            i64::try_from(self.uint()?).ok()
        }
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.head(write::BYTES)?;
        self.take(len)
    }

    /// A byte string of exactly `N` bytes.
    pub fn byte_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes()?.try_into().ok()
    }

    /// A text string.
    pub fn text(&mut self) -> Option<&'a str> {
        let len = self.head(write::TEXT)?;
        std::str::from_utf8(self.take(len)?).ok()
    }

    /// True or false.
    pub fn bool(&mut self) -> Option<bool> {
        let (first, rest) = self.rest.split_first()?;
        let value = match *first {
            write::FALSE => false,
            write::TRUE => true,
            _ => return None,
        };
        self.rest = rest;
        Some(value)
    }

    /// `Some(None)` for null, otherwise what `read` reads.
    pub fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if *self.rest.first()? == write::NULL {
            self.rest = &self.rest[1..];
            return Some(None);
        }
        read(self).map(Some)
    }

    fn head(&mut self, major: u8) -> Option<u64> {
        let (first, rest) = self.rest.split_first()?;
        if first >> 5 != major {
            return None;
        }
        let short = first & 0x1f;
        let extra = match short {
            0..24 => 0,
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return None,
        };
        let (argument, rest) = rest.split_at_checked(extra)?;
        self.rest = rest;
        Some(if extra == 0 {
            u64::from(short)
        } else {
            argument
                .iter()
                .fold(0, |number, byte| (number << 8) | u64::from(*byte))
        })
    }

    fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(len).ok()?)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::cbor;

    #[test]
    fn what_was_written_is_read() {
        let mut out = Vec::new();
        write::head(&mut out, write::TAG, 18);
        write::head(&mut out, write::ARRAY, 5);
        write::int(&mut out, i64::MIN);
        write::int(&mut out, i64::MAX);
        write::bytes(&mut out, &[7; 300]);
        write::text(&mut out, "Äpfel");
        write::null(&mut out);
        write::uint(&mut out, 70_000);
        write::bool(&mut out, false);
        write::bool(&mut out, true);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.tag(), Some(18));
        assert_eq!(reader.tuple(5), Some(()));
        assert_eq!(reader.int(), Some(i64::MIN));
        assert_eq!(reader.int(), Some(i64::MAX));
        assert_eq!(reader.bytes(), Some(&[7; 300][..]));
        assert_eq!(reader.text(), Some("Äpfel"));
        assert_eq!(reader.optional(Reader::uint), Some(None));
        assert_eq!(reader.optional(Reader::uint), Some(Some(70_000)));
        assert_eq!((reader.bool(), reader.bool()), (Some(false), Some(true)));
        assert_eq!(reader.bool(), None);
        assert!(reader.is_done());
        assert_eq!(reader.uint(), None);
    }

    #[test]
    fn other_kinds_and_cut_items_are_not_read() {
        let text = cbor::encode(&cbor::text("abc"));
        assert_eq!(Reader::new(&text).bytes(), None);
        assert_eq!(Reader::new(&text[..3]).text(), None);
        assert_eq!(Reader::new(&text).bool(), None);
        assert_eq!(Reader::new(&[0x62, 0xff, 0xff]).text(), None, "not UTF-8");
        assert_eq!(Reader::new(&[0x1b, 0xff]).uint(), None, "a head cut off");
        assert_eq!(Reader::new(&[0x5f, 0x41, 1, 0xff]).bytes(), None, "indefinite");
        let far = cbor::encode(&cbor::int(u64::MAX));
        assert_eq!(
            (Reader::new(&far).uint(), Reader::new(&far).int()),
            (Some(u64::MAX), None)
        );
        assert_eq!(
            Reader::new(&[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).int(),
            None
        );
        assert_eq!(Reader::new(&[0x42, 1, 2]).byte_array::<3>(), None);
    }
}

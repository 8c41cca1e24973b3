//! QR text: how a credential's bytes travel through scanners and tills
//! (formats, section 3, 'QR text').
//!
//! In scope: the digits, the link around them, and reading either form back.
//! Out of scope: the picture (`credential::qr_code`) and what the bytes mean.
//!
//! ```text
//! bare   = digits
//! link   = origin "/V#" digits          ; case of origin and V is free, "%23" is "#"
//! digits = the integer 0x01 || bytes, big-endian, in base 10
//! ```

use crate::primitives::{Origin, limits};

/// First byte of the integer, so that leading zero bytes survive.
const MARK: u8 = 0x01;

/// Digits of one limb when writing: 10^9 times 2^32 stays within 64 bits.
const WRITE_DIGITS: usize = 9;
const WRITE_BASE: u64 = 1_000_000_000;

/// Digits of one step when reading: 10^18 fits 64 bits.
const READ_DIGITS: usize = 18;

/// Why a text is not a QR text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QrTextError {
    /// Nothing but white space.
    #[error("the text is empty")]
    Empty,
    /// A character that is no ASCII digit, where digits are due.
    #[error("the code is made of the digits 0 to 9 only")]
    NotDigits,
    /// More than [`limits::QR_DIGITS_MAX`] digits.
    #[error("{digits} digits, at most {max} are allowed", max = limits::QR_DIGITS_MAX)]
    TooLong {
        /// Digits given.
        digits: usize,
    },
    /// A leading zero: not the one text of these bytes.
    #[error("the digits begin with a zero")]
    LeadingZero,
    /// The integer's first byte is not 0x01.
    #[error("the digits are not a code of this kind (their first byte is not 1)")]
    NoMark,
    /// A link, but not `https://HOST/V#digits`.
    #[error("the link is not of the form https://HOST/V#digits")]
    NotALink,
}

/// What a QR text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QrText {
    /// The credential's bytes.
    pub bytes: Vec<u8>,
    /// The link's origin; `None` in the bare form. A verifier refuses a link
    /// whose origin is not the issuer's.
    pub origin: Option<Origin>,
}

/// `bytes` as decimal digits. More than about 1,037 bytes give more digits
/// than [`decode_digits`] takes.
#[must_use]
pub fn encode_digits(bytes: &[u8]) -> String {
    let marked: Vec<u8> = std::iter::once(MARK).chain(bytes.iter().copied()).collect();
    // Limbs of nine digits, least significant first.
    let mut limbs: Vec<u32> = Vec::with_capacity(marked.len() / 3 + 1);
    let (first, words) = marked.split_at(marked.len() % 4);
    push_word(&mut limbs, first);
    for word in words.chunks_exact(4) {
        push_word(&mut limbs, word);
    }
    let mut out = String::with_capacity(limbs.len() * WRITE_DIGITS);
    let mut from_top = limbs.iter().rev().skip_while(|limb| **limb == 0);
    if let Some(top) = from_top.next() {
        out.push_str(&top.to_string());
    }
    for limb in from_top {
        push_nine_digits(&mut out, *limb);
    }
    out
}

/// `limbs = limbs * 256^word.len() + word`, for words of up to four bytes.
fn push_word(limbs: &mut Vec<u32>, word: &[u8]) {
    let mut carry = word
        .iter()
        .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    let shift = 8 * word.len();
    for limb in limbs.iter_mut() {
        let wide = (u64::from(*limb) << shift) + carry;
        *limb = u32::try_from(wide % WRITE_BASE).expect("below 10^9");
        carry = wide / WRITE_BASE;
    }
    while carry > 0 {
        limbs.push(u32::try_from(carry % WRITE_BASE).expect("below 10^9"));
        carry /= WRITE_BASE;
    }
}

fn push_nine_digits(out: &mut String, mut limb: u32) {
    let mut digits = [b'0'; WRITE_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit += (limb % 10).to_le_bytes()[0];
        limb /= 10;
    }
    out.extend(digits.map(char::from));
}

/// The bytes that `digits` stand for. The whole text is read: one text for one
/// credential.
///
/// # Errors
/// [`QrTextError`] for anything that [`encode_digits`] does not write.
pub fn decode_digits(digits: &str) -> Result<Vec<u8>, QrTextError> {
    let digits = digits.as_bytes();
    if digits.is_empty() {
        return Err(QrTextError::Empty);
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(QrTextError::NotDigits);
    }
    if digits.len() > limits::QR_DIGITS_MAX {
        return Err(QrTextError::TooLong { digits: digits.len() });
    }
    if digits[0] == b'0' {
        return Err(QrTextError::LeadingZero);
    }
    let mut limbs: Vec<u64> = Vec::with_capacity(digits.len() / READ_DIGITS + 1);
    let (first, rest) = digits.split_at(digits.len() % READ_DIGITS);
    push_digits(&mut limbs, first);
    for chunk in rest.chunks_exact(READ_DIGITS) {
        push_digits(&mut limbs, chunk);
    }
    let bytes: Vec<u8> = limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    match bytes[start..].split_first() {
        Some((&MARK, rest)) => Ok(rest.to_vec()),
        _ => Err(QrTextError::NoMark),
    }
}

/// `limbs = limbs * 10^digits.len() + digits`, for at most 18 ASCII digits.
fn push_digits(limbs: &mut Vec<u64>, digits: &[u8]) {
    let (eights, rest) = digits.as_chunks::<8>();
    let mut carry: u64 = eights
        .iter()
        .fold(0, |number, eight| number * 100_000_000 + eight_digits(*eight));
    for digit in rest {
        carry = carry * 10 + u64::from(digit - b'0');
    }
    let scale = 10_u64.pow(u32::try_from(digits.len()).expect("at most 18 digits"));
    for limb in limbs.iter_mut() {
        let wide = u128::from(*limb) * u128::from(scale) + u128::from(carry);
        let low = wide & u128::from(u64::MAX);
        *limb = u64::try_from(low).expect("masked to 64 bits");
        carry = u64::try_from(wide >> 64).expect("a product of 64-bit numbers");
    }
    if carry > 0 {
        limbs.push(carry);
    }
}

/// The number that eight ASCII digits write, two, four and eight digits at a time.
fn eight_digits(digits: [u8; 8]) -> u64 {
    let number = u64::from_le_bytes(digits) & 0x0f0f_0f0f_0f0f_0f0f;
    let number = (number.wrapping_mul(1 + (10 << 8)) >> 8) & 0x00ff_00ff_00ff_00ff;
    let number = (number.wrapping_mul(1 + (100 << 16)) >> 16) & 0x0000_ffff_0000_ffff;
    number.wrapping_mul(1 + (10_000 << 32)) >> 32
}

/// The link up to and with `#`: `HTTPS://HOST/V#`, in capitals for QR's
/// alphanumeric mode.
#[must_use]
pub fn link_prefix(origin: &Origin) -> String {
    let mut prefix = origin.to_string();
    prefix.make_ascii_uppercase();
    prefix.push_str("/V#");
    prefix
}

/// The link form of `bytes`: a phone's camera opens the verification page, and
/// what follows `#` never reaches the server.
#[must_use]
pub fn link(origin: &Origin, bytes: &[u8]) -> String {
    let mut text = link_prefix(origin);
    text.push_str(&encode_digits(bytes));
    text
}

/// Reads either form. White space around it is cut off, anything else refused.
///
/// # Errors
/// [`QrTextError`].
pub fn parse(text: &str) -> Result<QrText, QrTextError> {
    let text = text.trim();
    let split = text.split_once('#').or_else(|| text.split_once("%23"));
    let Some((page, digits)) = split else {
        let looks_like_link = text.contains("://");
        return match decode_digits(text) {
            Err(QrTextError::NotDigits) if looks_like_link => Err(QrTextError::NotALink),
            read => Ok(QrText {
                bytes: read?,
                origin: None,
            }),
        };
    };
    let origin = page
        .strip_suffix("/V")
        .or_else(|| page.strip_suffix("/v"))
        .filter(|origin| !origin.ends_with('/'))
        .and_then(|origin| Origin::parse(origin).ok())
        .ok_or(QrTextError::NotALink)?;
    Ok(QrText {
        bytes: decode_digits(digits)?,
        origin: Some(origin),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn origin() -> Origin {
        Origin::parse("https://coop.example").unwrap()
    }

    #[test]
    fn known_answers() {
        for (bytes, digits) in [
            (&[][..], "1"),
            (&[0], "256"),
            (&[0xff], "511"),
            (&[0, 0], "65536"),
            (&[0, 0, 0], "16777216"),
            (&[0xff; 3], "33554431"),
            (&[0xff; 4], "8589934591"),
            (&[0; 8], "18446744073709551616"),
        ] {
            assert_eq!(encode_digits(bytes), digits);
            assert_eq!(decode_digits(digits).unwrap(), bytes);
        }
    }

    #[test]
    fn only_the_one_text_is_read() {
        for (text, why) in [
            ("", QrTextError::Empty),
            ("0256", QrTextError::LeadingZero),
            ("0", QrTextError::LeadingZero),
            ("2", QrTextError::NoMark),
            ("255", QrTextError::NoMark),
            ("512", QrTextError::NoMark),
            ("25 6", QrTextError::NotDigits),
            ("+256", QrTextError::NotDigits),
            ("२५६", QrTextError::NotDigits),
        ] {
            assert_eq!(decode_digits(text), Err(why), "{text}");
        }
        let longest = encode_digits(&[0xff; 1_037]);
        assert!(longest.len() <= limits::QR_DIGITS_MAX);
        assert!(decode_digits(&longest).is_ok());
        let digits = limits::QR_DIGITS_MAX + 1;
        assert_eq!(
            decode_digits(&"1".repeat(digits)),
            Err(QrTextError::TooLong { digits })
        );
    }

    #[test]
    fn links_are_read_in_either_case() {
        let expected = QrText {
            bytes: vec![0xff],
            origin: Some(origin()),
        };
        assert_eq!(link(&origin(), &[0xff]), "HTTPS://COOP.EXAMPLE/V#511");
        for text in [
            "HTTPS://COOP.EXAMPLE/V#511",
            "https://coop.example/v#511",
            " \thttps://Coop.Example/V%23511\r\n",
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        assert_eq!(
            parse(" 511\n").unwrap(),
            QrText {
                bytes: vec![0xff],
                origin: None
            }
        );
        let local = Origin::parse("http://127.0.0.1:8080").unwrap();
        assert_eq!(parse(&link(&local, &[1])).unwrap().origin, Some(local));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "https://coop.example/V",
            "https://coop.example/V#",
            "https://coop.example/V#0511",
            "https://coop.example/V#511#",
            "https://coop.example/V#511%23",
            "https://coop.example/V?x#511",
            "https://coop.example//V#511",
            "https://coop.example/shop/V#511",
            "https://user@coop.example/V#511",
            "http://coop.example/V#511",
            "ftp://coop.example/V#511",
            "coop.example/V#511",
            "#511",
            "   ",
            "511 511",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = link(&origin(), &bytes);
            prop_assert_eq!(parse(&text).unwrap().bytes, bytes.clone());
            prop_assert_eq!(decode_digits(&encode_digits(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn what_is_read_is_written_the_same(digits in "[1-9][0-9]{0,200}") {
            if let Ok(bytes) = decode_digits(&digits) {
                prop_assert_eq!(encode_digits(&bytes), digits);
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }
    }
}

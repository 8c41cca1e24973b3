//! QR codes (ISO/IEC 18004) of QR text: segments pushed by hand, so that the
//! digits go in numeric mode, and three pictures.

use qrcode::bits::Bits;
use qrcode::types::QrError;
use qrcode::{Color, EcLevel, QrCode, Version};

use crate::encoding::qr_text;
use crate::primitives::Origin;

/// Light modules around the code (ISO/IEC 18004 section 6.3.8).
const QUIET_ZONE: usize = 4;

/// 15 % of the code words may be damaged: what printed receipts need.
const LEVEL: EcLevel = EcLevel::M;

/// The largest version of the standard.
const VERSION_MAX: i16 = 40;

/// Characters of QR's alphanumeric mode.
const ALPHANUMERIC: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";

/// Why there is no picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QrCodeError {
    /// More than fits the largest version.
    #[error("the text is too long for a QR code")]
    TooLong,
    /// The PNG could not be written.
    #[error("the PNG could not be written")]
    Png,
}

/// A QR code, ready to be drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    version: i16,
    width: usize,
    dark: Vec<bool>,
}

/// The link form of `bytes` as a QR code, at level M in the smallest version:
/// alphanumeric `HTTPS://HOST/V`, the byte `#`, numeric digits.
///
/// # Errors
/// [`QrCodeError::TooLong`].
pub fn link(origin: &Origin, bytes: &[u8]) -> Result<Picture, QrCodeError> {
    let prefix = qr_text::link_prefix(origin);
    let page = prefix.strip_suffix('#').unwrap_or(&prefix);
    let digits = qr_text::encode_digits(bytes);
    draw(|bits| {
        // The brackets of an IPv6 address are in no mode but bytes.
        if page.bytes().all(|byte| ALPHANUMERIC.contains(&byte)) {
            bits.push_alphanumeric_data(page.as_bytes())?;
            bits.push_byte_data(b"#")?;
        } else {
            bits.push_byte_data(prefix.as_bytes())?;
        }
        bits.push_numeric_data(digits.as_bytes())
    })
}

/// The bare form of `bytes` as a QR code, at level M in the smallest version.
///
/// # Errors
/// [`QrCodeError::TooLong`].
pub fn bare(bytes: &[u8]) -> Result<Picture, QrCodeError> {
    let digits = qr_text::encode_digits(bytes);
    draw(|bits| bits.push_numeric_data(digits.as_bytes()))
}

fn draw(push: impl Fn(&mut Bits) -> Result<(), QrError>) -> Result<Picture, QrCodeError> {
    for version in 1..=VERSION_MAX {
        let mut bits = Bits::new(Version::Normal(version));
        if push(&mut bits).is_err() || bits.push_terminator(LEVEL).is_err() {
            continue;
        }
        let Ok(code) = QrCode::with_bits(bits, LEVEL) else {
            continue;
        };
        let dark = code
            .to_colors()
            .into_iter()
            .map(|color| color == Color::Dark)
            .collect();
        return Ok(Picture {
            version,
            width: code.width(),
            dark,
        });
    }
    Err(QrCodeError::TooLong)
}

impl Picture {
    /// The code's version, 1 to 40.
    #[must_use]
    pub fn version(&self) -> i16 {
        self.version
    }

    /// Modules along a side, the quiet zone included.
    #[must_use]
    pub fn side(&self) -> usize {
        self.width + 2 * QUIET_ZONE
    }

    /// True for a dark module; the quiet zone and what is beyond are light.
    #[must_use]
    pub fn is_dark(&self, x: usize, y: usize) -> bool {
        let inside = QUIET_ZONE..QUIET_ZONE + self.width;
        inside.contains(&x)
            && inside.contains(&y)
            && self.dark[(y - QUIET_ZONE) * self.width + x - QUIET_ZONE]
    }

    /// For a terminal: two modules to a character, light ones drawn, as most
    /// terminals are dark.
    #[must_use]
    pub fn to_terminal(&self) -> String {
        let mut out = String::new();
        for y in (0..self.side()).step_by(2) {
            for x in 0..self.side() {
                // Below the last row nothing is drawn.
                let upper_light = !self.is_dark(x, y);
                let lower_light = y + 1 < self.side() && !self.is_dark(x, y + 1);
                out.push(match (upper_light, lower_light) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                });
            }
            out.push('\n');
        }
        out
    }

    /// An SVG document: one unit to a module, scaled by whoever shows it.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let side = self.side();
        let mut path = String::new();
        for y in 0..side {
            let row: Vec<bool> = (0..side).map(|x| self.is_dark(x, y)).collect();
            let mut x = 0;
            for run in row.chunk_by(|left, right| left == right) {
                let length = run.len();
                if run[0] {
                    path.push_str(&format!("M{x} {y}h{length}v1h-{length}z"));
                }
                x += length;
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" \
             shape-rendering=\"crispEdges\" role=\"img\">\
             <rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/><path d=\"{path}\"/></svg>"
        )
    }

    /// A PNG of one bit a pixel, `scale` (at least 1) pixels to a module.
    ///
    /// # Errors
    /// [`QrCodeError::Png`].
    pub fn to_png(&self, scale: u8) -> Result<Vec<u8>, QrCodeError> {
        let scale = usize::from(scale.max(1));
        let side = self.side() * scale;
        let row_len = side.div_ceil(8);
        let mut pixels = Vec::with_capacity(row_len * side);
        for y in 0..self.side() {
            let mut row = vec![0_u8; row_len];
            for x in (0..side).filter(|x| !self.is_dark(x / scale, y)) {
                row[x / 8] |= 0x80 >> (x % 8);
            }
            for _ in 0..scale {
                pixels.extend_from_slice(&row);
            }
        }
        let side = u32::try_from(side).map_err(|_| QrCodeError::Png)?;
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, side, side);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::One);
        let mut writer = encoder.write_header().map_err(|_| QrCodeError::Png)?;
        writer.write_image_data(&pixels).map_err(|_| QrCodeError::Png)?;
        writer.finish().map_err(|_| QrCodeError::Png)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::primitives::limits;

    fn origin() -> Origin {
        // 20 characters of host.
        Origin::parse("https://shop.coop-example.eu").unwrap()
    }

    /// Decodes a PNG as a scanner would: no knowledge of how it was made.
    fn scan(png: &[u8]) -> String {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(png));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        let (width, height) = (info.width as usize, info.height as usize);
        let mut image =
            rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| pixels[y * info.line_size + x]);
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        grids[0].decode().unwrap().1
    }

    #[test]
    fn a_scanner_reads_the_same_text() {
        let bytes: Vec<u8> = (0..205).collect();
        let picture = link(&origin(), &bytes).unwrap();
        let text = scan(&picture.to_png(4).unwrap());
        assert_eq!(text, qr_text::link(&origin(), &bytes));
        assert_eq!(qr_text::parse(&text).unwrap().bytes, bytes);
        let text = scan(&bare(&bytes).unwrap().to_png(3).unwrap());
        assert_eq!(text, qr_text::encode_digits(&bytes));
        let local = Origin::parse("http://[::1]:8080").unwrap();
        let text = scan(&link(&local, &bytes).unwrap().to_png(3).unwrap());
        assert_eq!(text, qr_text::link(&local, &bytes));
    }

    /// Formats, section 3, 'QR text': what fits each version.
    #[test]
    fn the_promised_capacities() {
        let origin = origin();
        assert_eq!(origin.authority().len(), 20);
        for (bytes, version) in [(186, 10), (190, 11), (220, 11), (230, 12)] {
            assert_eq!(
                link(&origin, &vec![0xff; bytes]).unwrap().version(),
                version,
                "{bytes} bytes"
            );
        }
        for (bytes, version) in [(150, 8), (155, 9), (211, 10), (215, 11)] {
            assert_eq!(
                bare(&vec![0xff; bytes]).unwrap().version(),
                version,
                "{bytes} bytes"
            );
        }
        assert!(bare(&vec![0xff; 1_037]).is_ok());
        assert_eq!(
            bare(&vec![0xff; limits::CREDENTIAL_BYTES_MAX]),
            Err(QrCodeError::TooLong)
        );
    }

    /// Version 1, with the quiet zone 29 modules along a side: an odd number, so
    /// that a terminal's last line is half a row.
    fn small() -> (Picture, BTreeSet<(usize, usize)>) {
        let picture = bare(&[1, 2, 3]).unwrap();
        assert_eq!((picture.version(), picture.side()), (1, 29));
        let dark = (0..29)
            .flat_map(|y| (0..29).map(move |x| (x, y)))
            .filter(|(x, y)| picture.is_dark(*x, *y))
            .collect();
        (picture, dark)
    }

    #[test]
    fn light_around_and_beyond() {
        let (picture, dark) = small();
        // The outer corners of the three finder patterns.
        for corner in [(4, 4), (24, 4), (4, 24)] {
            assert!(dark.contains(&corner), "{corner:?}");
        }
        assert!(
            dark.iter()
                .all(|(x, y)| (4..25).contains(x) && (4..25).contains(y))
        );
        for outside in [(29, 0), (0, 29), (29, 4), (4, 29), (33, 33)] {
            assert!(!picture.is_dark(outside.0, outside.1), "{outside:?}");
        }
    }

    #[test]
    fn a_terminal_shows_each_light_module_and_nothing_below() {
        let (picture, dark) = small();
        let mut light = BTreeSet::new();
        let terminal = picture.to_terminal();
        for (row, line) in terminal.lines().enumerate() {
            assert_eq!(line.chars().count(), 29);
            for (x, drawn) in line.chars().enumerate() {
                let (upper, lower) = match drawn {
                    '█' => (true, true),
                    '▀' => (true, false),
                    '▄' => (false, true),
                    ' ' => (false, false),
                    other => panic!("{other:?} is drawn"),
                };
                light.extend(upper.then_some((x, 2 * row)));
                light.extend(lower.then_some((x, 2 * row + 1)));
            }
        }
        assert_eq!(terminal.lines().count(), 15);
        let all = (0..29).flat_map(|y| (0..29).map(move |x| (x, y)));
        assert_eq!(light, all.filter(|module| !dark.contains(module)).collect());
    }

    #[test]
    fn an_svg_draws_each_dark_module_once() {
        let (picture, dark) = small();
        let svg = picture.to_svg();
        assert!(svg.starts_with("<svg ") && svg.contains("viewBox=\"0 0 29 29\""));
        let (_, path) = svg.split_once("<path d=\"").unwrap();
        let path = path.strip_suffix("z\"/></svg>").unwrap();
        let mut drawn = BTreeSet::new();
        for bar in path.split('z') {
            let (start, outline) = bar[1..].split_once('h').unwrap();
            let (x, y) = start.split_once(' ').unwrap();
            let [x, y]: [usize; 2] = [x, y].map(|number| number.parse().unwrap());
            let (length, _) = outline.split_once('v').unwrap();
            assert_eq!(
                bar,
                format!("M{x} {y}h{length}v1h-{length}z").trim_end_matches('z')
            );
            let length: usize = length.parse().unwrap();
            for x in x..x + length {
                assert!(drawn.insert((x, y)), "{x},{y} twice");
            }
            // One bar to a run of them: as long as it can be, and never empty.
            assert!(length > 0 && !dark.contains(&(x - 1, y)) && !dark.contains(&(x + length, y)));
        }
        assert_eq!(drawn, dark);
    }
}

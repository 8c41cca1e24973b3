//! A TrueType font as text in a PDF: by glyph, whole in the file, so that it
//! looks the same everywhere and can be searched.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use anyhow::{Context as _, bail};
use ttf_parser::{Face, GlyphId};

use super::pdf::{Id, Pdf};

/// DejaVu Sans for Latin, Greek, Cyrillic, Armenian and Georgian letters;
/// assets/dejavu says how it was made.
const BUILT_IN: &[u8] = include_bytes!("../../../assets/dejavu/DejaVuSans-subset.ttf");

/// Units of a glyph's width in a PDF.
const WIDTH_UNITS: f32 = 1_000.0;

/// A font, and which of its glyphs were shown.
pub struct Font<'a> {
    bytes: &'a [u8],
    face: Face<'a>,
    shown: BTreeMap<u16, char>,
}

impl Font<'static> {
    /// The font that is always there.
    pub fn built_in() -> Self {
        Font::parse(BUILT_IN).expect("the built-in font is a font")
    }
}

impl<'a> Font<'a> {
    /// A font file.
    ///
    /// # Errors
    /// For what is no TrueType font, or may not be put into documents.
    pub fn parse(bytes: &'a [u8]) -> anyhow::Result<Self> {
        let face = Face::parse(bytes, 0).context("this is no font file")?;
        if face.tables().glyf.is_none() {
            bail!("the font's outlines are not TrueType's; take a .ttf file");
        }
        if face.permissions() == Some(ttf_parser::Permissions::Restricted) {
            bail!("the font's licence does not let it be put into documents");
        }
        Ok(Self {
            bytes,
            face,
            shown: BTreeMap::new(),
        })
    }

    /// The characters of `text` that the font has no glyph for.
    pub fn missing(&self, text: &str) -> Option<char> {
        let mut letters = text.chars().filter(|letter| !letter.is_whitespace());
        letters.find(|letter| self.face.glyph_index(*letter).is_none())
    }

    /// How wide `text` is in points at `size`.
    pub fn width(&self, text: &str, size: f32) -> f32 {
        let advance = |letter| f32::from(self.face.glyph_hor_advance(self.glyph(letter)).unwrap_or(0));
        text.chars().map(advance).sum::<f32>() * size / f32::from(self.face.units_per_em())
    }

    /// The operand that shows `text`: its glyphs in hexadecimal.
    pub fn show(&mut self, text: &str) -> String {
        let mut hex = String::from("<");
        for letter in text.chars() {
            let glyph = self.glyph(letter).0;
            self.shown.entry(glyph).or_insert(letter);
            let _ = write!(hex, "{glyph:04x}");
        }
        hex.push('>');
        hex
    }

    fn glyph(&self, letter: char) -> GlyphId {
        let letter = if letter.is_whitespace() { ' ' } else { letter };
        self.face.glyph_index(letter).unwrap_or_default()
    }

    /// Writes the font as the object `id`, at the end, when it is known what was
    /// shown (ISO 32000-1, section 9.7: a composite font with glyphs as codes).
    ///
    /// # Errors
    /// What writing gives.
    pub fn write<W: Write>(&self, pdf: &mut Pdf<W>, id: Id) -> io::Result<()> {
        let [descendant, descriptor, file, unicode] = [(); 4].map(|()| pdf.reserve());
        pdf.stream(file, &format!("/Length1 {}", self.bytes.len()), self.bytes)?;
        pdf.stream(unicode, "", self.to_unicode().as_bytes())?;
        let scale = WIDTH_UNITS / f32::from(self.face.units_per_em());
        let em = |units: i16| (f32::from(units) * scale).round();
        let frame = self.face.global_bounding_box();
        pdf.object(
            descriptor,
            &format!(
                "<< /Type /FontDescriptor /FontName /Sheet /Flags 4 /FontBBox [{} {} {} {}] /ItalicAngle 0 /Ascent {} \
                 /Descent {} /CapHeight {} /StemV 80 /FontFile2 {file} >>",
                em(frame.x_min),
                em(frame.y_min),
                em(frame.x_max),
                em(frame.y_max),
                em(self.face.ascender()),
                em(self.face.descender()),
                em(self.face.capital_height().unwrap_or(self.face.ascender())),
            ),
        )?;
        let mut widths = String::new();
        for glyph in self.shown.keys() {
            let advance = self.face.glyph_hor_advance(GlyphId(*glyph)).unwrap_or(0);
            let _ = write!(widths, "{glyph} [{}] ", (f32::from(advance) * scale).round());
        }
        pdf.object(
            descendant,
            &format!(
                "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Sheet /CIDSystemInfo << /Registry (Adobe) /Ordering \
                 (Identity) /Supplement 0 >> /FontDescriptor {descriptor} /DW 0 /W [{widths}] /CIDToGIDMap /Identity >>"
            ),
        )?;
        pdf.object(
            id,
            &format!(
                "<< /Type /Font /Subtype /Type0 /BaseFont /Sheet /Encoding /Identity-H /DescendantFonts [{descendant}] \
                 /ToUnicode {unicode} >>"
            ),
        )
    }

    /// Which letter each glyph stands for: for searching and copying.
    fn to_unicode(&self) -> String {
        let mut map = String::from(
            "/CIDInit /ProcSet findresource begin 12 dict begin begincmap\n/CMapName /Sheet def /CMapType 2 def\n\
             1 begincodespacerange <0000> <ffff> endcodespacerange\n",
        );
        let glyphs: Vec<_> = self.shown.iter().collect();
        // A section holds at most 100 lines.
        for section in glyphs.chunks(100) {
            let _ = writeln!(map, "{} beginbfchar", section.len());
            for (glyph, letter) in section {
                let _ = write!(map, "<{glyph:04x}> <");
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    let _ = write!(map, "{unit:04x}");
                }
                map.push_str(">\n");
            }
            map.push_str("endbfchar\n");
        }
        map.push_str("endcmap CMapName currentdict /CMap defineresource pop end end\n");
        map
    }
}

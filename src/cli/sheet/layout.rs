//! Coupons on A4 pages: two columns of equal fields, each with the code, what
//! the coupon is worth, until when and where, and below it the terms.

use std::fmt::Write as _;

use crate::credential::qr_code::Picture;

use super::font::Font;

/// Points of a millimetre.
const MM: f32 = 72.0 / 25.4;

/// An A4 page in points.
pub const PAGE: (f32, f32) = (210.0 * MM, 297.0 * MM);

/// What printers leave white.
const MARGIN: f32 = 8.0 * MM;

/// Fields side by side.
const COLUMNS: usize = 2;

/// Between a field's edge, its code and its texts.
const GAP: f32 = 3.0 * MM;

/// Side of a code, its quiet zone included: modules of a half millimetre and
/// more up to version 13.
const CODE: f32 = 40.0 * MM;

/// Letters' heights in points.
const NAME: f32 = 11.0;
const TEXT: f32 = 8.5;
const SMALL: f32 = 6.5;

/// Height of a line, as a multiple of its letters'.
const LINE: f32 = 1.25;

/// Lines of a campaign's name beside the code.
const NAME_LINES_MAX: usize = 4;

const COLUMN: f32 = (PAGE.0 - 2.0 * MARGIN) / COLUMNS as f32;
const BESIDE: f32 = COLUMN - CODE - 3.0 * GAP;
const BELOW: f32 = COLUMN - 2.0 * GAP;

/// What a field says beside its code.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// The campaign's name.
    pub name: String,
    /// Smaller lines under it: worth, end, host, the coupon's name.
    pub lines: Vec<String>,
}

/// The fields of a page, all of one height.
pub struct Grid {
    rows: usize,
    height: f32,
}

impl Grid {
    /// The grid whose fields have room for the longest of these terms, each
    /// wrapped already; `None` where not one fits a page.
    pub fn for_terms<'a>(terms: impl Iterator<Item = &'a Vec<String>>) -> Option<Self> {
        let lines = terms.map(Vec::len).max().unwrap_or(0);
        let least = 3.0 * GAP + CODE + lines as f32 * SMALL * LINE;
        let room = PAGE.1 - 2.0 * MARGIN;
        let rows = (room / least).floor() as usize;
        (rows > 0).then(|| Self {
            rows,
            height: room / rows as f32,
        })
    }

    /// Fields of a page.
    pub fn fields(&self) -> usize {
        self.rows * COLUMNS
    }

    /// Draws the field number `at` of a page: its edge, to cut along, its code,
    /// and its words.
    pub fn draw(
        &self,
        page: &mut String,
        at: usize,
        font: &mut Font<'_>,
        (code, words, terms): (&Picture, &Words, &[String]),
    ) {
        let left = MARGIN + (at % COLUMNS) as f32 * COLUMN;
        let top = PAGE.1 - MARGIN - (at / COLUMNS) as f32 * self.height;
        let bottom = top - self.height;
        let _ = writeln!(
            page,
            "q 0.6 G 0.4 w [2 2] 0 d {left:.2} {bottom:.2} {COLUMN:.2} {:.2} re S Q",
            self.height
        );
        let below = top - GAP - CODE;
        draw_code(page, code, (left + GAP, below));
        let beside = left + GAP + CODE + GAP;
        let mut y = top - GAP;
        let mut names = wrap(font, &words.name, NAME, BESIDE);
        if names.len() > NAME_LINES_MAX {
            names.truncate(NAME_LINES_MAX);
            names[NAME_LINES_MAX - 1].push('…');
        }
        draw_lines(page, font, &names, NAME, (beside, &mut y));
        for text in &words.lines {
            y -= TEXT / 2.0;
            let lines = wrap(font, text, TEXT, BESIDE);
            draw_lines(page, font, &lines, TEXT, (beside, &mut y));
        }
        let mut y = below - GAP / 2.0;
        draw_lines(page, font, terms, SMALL, (left + GAP, &mut y));
    }
}

/// The terms as a field has them: in small print, over its whole width.
pub fn wrap_terms(font: &Font<'_>, terms: &str) -> Vec<String> {
    wrap(font, terms, SMALL, BELOW)
}

fn draw_lines(page: &mut String, font: &mut Font<'_>, lines: &[String], size: f32, (x, y): (f32, &mut f32)) {
    for line in lines {
        *y -= size * LINE;
        let shown = font.show(line);
        let _ = writeln!(page, "BT /F {size} Tf {x:.2} {y:.2} Td {shown} Tj ET");
    }
}

/// The code as a stencil of a bit a module, which printers draw sharply at any
/// size, in a tenth of the bytes that lines would take.
fn draw_code(page: &mut String, code: &Picture, (x, y): (f32, f32)) {
    let side = code.side();
    let _ = write!(
        page,
        "q {CODE:.2} 0 0 {CODE:.2} {x:.2} {y:.2} cm BI /W {side} /H {side} /IM true /F /AHx ID "
    );
    for row in 0..side {
        for first in (0..side).step_by(8) {
            // In a stencil 0 is painted.
            let dark = (0..8).filter(|bit| code.is_dark(first + bit, row));
            let byte = dark.fold(0xff_u8, |byte, bit| byte & !(0x80 >> bit));
            let _ = write!(page, "{byte:02x}");
        }
    }
    page.push_str(">\nEI Q\n");
}

/// `text` in lines of at most `width`, broken at spaces, and within a word that
/// is longer than a line.
fn wrap(font: &Font<'_>, text: &str, size: f32, width: f32) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let longer = if line.is_empty() {
                word.to_owned()
            } else {
                format!("{line} {word}")
            };
            if font.width(&longer, size) <= width {
                line = longer;
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            for letter in word.chars() {
                line.push(letter);
                if font.width(&line, size) > width && line.chars().count() > 1 {
                    line.pop();
                    lines.push(std::mem::replace(&mut line, letter.to_string()));
                }
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_where_they_have_to_be() {
        let font = Font::built_in();
        let text = "Für alle Mitglieder, auch in Łódź und Αθήνα: zwei Euro Nachlass je Einkauf.\nSecond";
        let lines = wrap(&font, text, 10.0, 120.0);
        assert!(lines.len() > 3);
        assert!(lines.iter().all(|line| font.width(line, 10.0) <= 120.0));
        assert_eq!(lines.join(" "), text.replace('\n', " "));
        assert_eq!(lines.last().unwrap(), "Second");
        let long = "x".repeat(100);
        let lines = wrap(&font, &long, 10.0, 120.0);
        assert!(lines.iter().all(|line| font.width(line, 10.0) <= 120.0));
        assert_eq!(lines.concat(), long);
    }

    #[test]
    fn fields_grow_with_the_terms() {
        let fields = |lines: usize| {
            let terms = vec![String::new(); lines];
            Grid::for_terms([&terms].into_iter()).map(|grid| grid.fields())
        };
        assert_eq!(fields(0), Some(10));
        assert_eq!(fields(2), Some(10));
        assert_eq!(fields(12), Some(6));
        assert_eq!(fields(40), Some(2));
        assert_eq!(fields(200), None);
    }
}

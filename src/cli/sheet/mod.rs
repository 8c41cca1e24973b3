//! `tallystick qr --sheet`: coupons on A4 pages, for printing.
//!
//! | module | what it is |
//! |---|---|
//! | `layout` | where things are on a page |
//! | `font` | text by glyph |
//! | `pdf` | the file |
//!
//! A page is in memory at a time, whatever the number of coupons.

mod font;
mod layout;
mod pdf;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use self::font::Font;
use self::layout::{Grid, PAGE, Words, wrap_terms};
use self::pdf::{Id, Pdf};
use super::verify::{benefit_words, campaigns_in};
use crate::credential::{Benefit, Campaign, Coupon, Signed, qr_code};
use crate::encoding::qr_text;
use crate::primitives::{CampaignId, Origin, UnixSeconds, limits};

/// A campaign and its terms in lines.
struct Printed {
    campaign: Campaign,
    terms: Vec<String>,
}

/// Writes the coupons in `input` as a PDF to `output`, and says how many coupons
/// and pages.
///
/// # Errors
/// What cannot be read, drawn or written.
pub fn write(
    input: &str,
    output: &Path,
    campaigns: &[PathBuf],
    font: Option<&Path>,
) -> anyhow::Result<(u64, u64)> {
    let own = match font {
        Some(path) => Some(super::verify::read_file(path, limits::FONT_FILE_BYTES_MAX)?),
        None => None,
    };
    let font = match (&own, font) {
        (Some(bytes), Some(path)) => {
            ensure!(
                bytes.len() <= limits::FONT_FILE_BYTES_MAX,
                "{} has more than {} bytes",
                path.display(),
                limits::FONT_FILE_BYTES_MAX
            );
            Font::parse(bytes).with_context(|| path.display().to_string())?
        }
        _ => Font::built_in(),
    };
    let campaigns = load(&font, campaigns)?;
    let grid = Grid::for_terms(campaigns.values().map(|printed| &printed.terms))
        .context("a campaign's terms are too long for a page")?;
    let out = File::create(output).with_context(|| output.display().to_string())?;
    let mut pdf = Pdf::begin(BufWriter::new(out)).context("writing the sheet")?;
    let shape = pdf.reserve();
    let mut sheet = Sheet {
        campaigns,
        grid,
        font,
        pdf,
        shape,
        page: String::new(),
        coupons: 0,
        pages: 0,
    };
    if input == "-" {
        sheet.read(std::io::stdin().lock())?;
    } else {
        let file = File::open(input).with_context(|| input.to_owned())?;
        sheet.read(BufReader::new(file))?;
    }
    sheet.finish()
}

fn load(font: &Font<'_>, paths: &[PathBuf]) -> anyhow::Result<BTreeMap<CampaignId, Printed>> {
    let mut all = BTreeMap::new();
    for path in paths {
        for bytes in campaigns_in(path)? {
            let signed = Signed::<Campaign>::parse(&bytes)
                .with_context(|| format!("{} is no campaign", path.display()))?;
            let id = signed.id();
            let campaign = signed.into_content();
            let terms = terms_of(&campaign);
            check_letters(font, &[&campaign.terms.name, &terms])?;
            let terms = wrap_terms(font, &terms);
            all.insert(id, Printed { campaign, terms });
        }
    }
    Ok(all)
}

fn check_letters(font: &Font<'_>, texts: &[&str]) -> anyhow::Result<()> {
    match texts.iter().find_map(|text| font.missing(text)) {
        Some(letter) => bail!(
            "the font has no letter {letter:?} (U+{:04X}); name a TrueType font that has with --font FILE.ttf",
            u32::from(letter)
        ),
        None => Ok(()),
    }
}

/// What a customer has to know besides the benefit.
fn terms_of(campaign: &Campaign) -> String {
    let terms = &campaign.terms;
    let mut text = terms.text.trim().to_owned();
    let mut add = |sentence: String| {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&sentence);
    };
    if let Some(minimum) = terms.minimum_basket {
        add(format!("From a basket of {}.", terms.currency.show(minimum)));
    }
    match (terms.uses_per_coupon, terms.benefit) {
        (None, Benefit::StoredValue { .. }) => {}
        (None | Some(1), _) => add("Good once.".to_owned()),
        (Some(uses), _) => add(format!("Good {uses} times.")),
    }
    text
}

/// A time to the minute: `2026-12-31 22:59 UTC`.
fn for_people(at: UnixSeconds) -> String {
    let time = at.rfc3339();
    match (time.get(..10), time.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
        _ => time,
    }
}

struct Sheet<'a> {
    campaigns: BTreeMap<CampaignId, Printed>,
    grid: Grid,
    font: Font<'a>,
    pdf: Pdf<BufWriter<File>>,
    /// The font in the file.
    shape: Id,
    page: String,
    coupons: u64,
    pages: u64,
}

impl Sheet<'_> {
    /// Reads what `tallystick issue` prints: lines of name and QR text, or JSON.
    fn read(&mut self, mut input: impl BufRead) -> anyhow::Result<()> {
        if input.fill_buf()?.trim_ascii_start().first() == Some(&b'{') {
            for value in serde_json::Deserializer::from_reader(input).into_iter::<Value>() {
                let value =
                    value.with_context(|| format!("after {} coupons: this is no JSON", self.coupons))?;
                match value["coupons"].as_array() {
                    Some(coupons) => coupons.iter().try_for_each(|coupon| self.json(coupon))?,
                    None => self.json(&value)?,
                }
            }
            return Ok(());
        }
        let mut line = String::new();
        loop {
            line.clear();
            let most = limits::COUPON_LINE_BYTES_MAX as u64 + 1;
            if (&mut input).take(most).read_line(&mut line)? == 0 {
                return Ok(());
            }
            ensure!(
                line.len() <= limits::COUPON_LINE_BYTES_MAX,
                "line {} is too long to be a coupon's",
                self.coupons + 1
            );
            if let Some(qr) = line.split_whitespace().last() {
                self.add(qr)?;
            }
        }
    }

    fn json(&mut self, coupon: &Value) -> anyhow::Result<()> {
        let qr = coupon["qr"].as_str();
        self.add(qr.with_context(|| format!("after {} coupons: a JSON object without qr", self.coupons))?)
    }

    fn add(&mut self, qr: &str) -> anyhow::Result<()> {
        self.try_add(qr)
            .with_context(|| format!("coupon {}", self.coupons + 1))
    }

    fn try_add(&mut self, qr: &str) -> anyhow::Result<()> {
        let text = qr_text::parse(qr).context("this is no QR text")?;
        let signed = Signed::<Coupon>::parse(&text.bytes).context("this is no coupon")?;
        let coupon = signed.content();
        let printed = self.campaigns.get(&coupon.campaign).with_context(|| {
            format!(
                "its campaign {0} is in no file that was named: give it with --campaign FILE \
                 (`tallystick campaign show {0} --json > FILE`)",
                coupon.campaign
            )
        })?;
        let (issuer, list) = coupon
            .status
            .uri
            .rsplit_once("/s/")
            .unwrap_or((&coupon.status.uri, "0"));
        // A forged code can point to a forger's page, so the host is said.
        let host = match &text.origin {
            Some(origin) => origin.authority().to_owned(),
            None => Origin::parse(issuer)
                .map_or_else(|_| issuer.to_owned(), |origin| origin.authority().to_owned()),
        };
        let code = match &text.origin {
            Some(origin) => qr_code::link(origin, &text.bytes),
            None => qr_code::bare(&text.bytes),
        }?;
        let words = Words {
            name: printed.campaign.terms.name.clone(),
            lines: vec![
                benefit_words(&printed.campaign.terms, coupon.amount),
                format!("Valid until {}", for_people(coupon.not_after)),
                host,
                format!("No. {list}-{}", coupon.status.index),
            ],
        };
        check_letters(
            &self.font,
            &words.lines.iter().map(String::as_str).collect::<Vec<_>>(),
        )?;
        let at = usize::try_from(self.coupons % self.grid.fields() as u64).expect("a few fields");
        let field = (&code, &words, printed.terms.as_slice());
        self.grid.draw(&mut self.page, at, &mut self.font, field);
        self.coupons += 1;
        if at + 1 == self.grid.fields() {
            self.end_page()?;
        }
        Ok(())
    }

    fn end_page(&mut self) -> anyhow::Result<()> {
        let content = std::mem::take(&mut self.page);
        let resources = format!("/Font << /F {} >>", self.shape);
        self.pages += 1;
        let written = self.pdf.page(PAGE, &resources, content.as_bytes());
        written.context("writing the sheet")
    }

    fn finish(mut self) -> anyhow::Result<(u64, u64)> {
        ensure!(self.coupons > 0, "there are no coupons in it");
        if !self.page.is_empty() {
            self.end_page()?;
        }
        let (mut pdf, font) = (self.pdf, self.font);
        let written = font.write(&mut pdf, self.shape).and_then(|()| pdf.finish());
        written.context("writing the sheet")?;
        Ok((self.coupons, self.pages))
    }
}

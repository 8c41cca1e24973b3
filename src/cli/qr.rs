//! `tallystick qr`: a QR text as a picture, or many as a sheet.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::{input, output};
use crate::credential::qr_code;
use crate::encoding::qr_text;

/// Draw the QR code of a coupon or receipt: in the terminal, as SVG or as PNG; or a sheet of coupons as PDF
///
/// The code is drawn from the text as it is, link or digits, in the smallest
/// version at level M. What it says is not checked: see `tallystick verify`.
///
/// With --sheet the input is what `tallystick issue` prints, as text or JSON, and
/// the coupons come on A4 pages, each with its code, what it is worth, until
/// when, whose page the code opens, and the campaign's terms.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tallystick qr coupon.txt --svg coupon.svg\n  \
                        tallystick issue --node shop CAMPAIGN | cut -f2 | tallystick qr -\n  \
                        tallystick campaign show --node shop CAMPAIGN --json > campaign.json\n  \
                        tallystick qr coupons.txt --sheet coupons.pdf --campaign campaign.json")]
pub struct Args {
    /// The QR text, or a file with it, or - for standard input; for a sheet a file of coupons, or -
    #[arg(value_name = "TEXT|FILE|-")]
    text: String,
    /// Write an SVG file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write a PNG file
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// Write many coupons as a PDF for printing
    #[arg(long, value_name = "FILE", requires = "campaign", conflicts_with_all = ["svg", "png"])]
    sheet: Option<PathBuf>,
    /// The coupons' campaign, as `tallystick campaign show --json` prints it; may be repeated
    #[arg(long, value_name = "FILE", requires = "sheet")]
    campaign: Vec<PathBuf>,
    /// A TrueType font for letters that the built-in one has not
    ///
    /// Built in are Latin, Greek, Cyrillic, Armenian and Georgian letters.
    #[arg(long, value_name = "FILE", requires = "sheet")]
    font: Option<PathBuf>,
    /// Pixels to a module in the PNG
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    scale: u8,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(path) = &self.sheet {
            let (coupons, pages) =
                super::sheet::write(&self.text, path, &self.campaign, self.font.as_deref())?;
            output::note(&format!("{coupons} coupons on {pages} pages"));
            return Ok(ExitCode::SUCCESS);
        }
        let text = input::qr_text(&self.text)?;
        let code = qr_text::parse(&text)
            .context("this is no QR text of a coupon or receipt (nor a file that holds one)")?;
        let picture = match &code.origin {
            Some(origin) => qr_code::link(origin, &code.bytes),
            None => qr_code::bare(&code.bytes),
        }?;
        if let Some(path) = &self.svg {
            std::fs::write(path, picture.to_svg()).with_context(|| path.display().to_string())?;
        }
        if let Some(path) = &self.png {
            std::fs::write(path, picture.to_png(self.scale)?).with_context(|| path.display().to_string())?;
        }
        if self.svg.is_none() && self.png.is_none() {
            output::data(&for_terminal(&picture.to_terminal()));
        }
        // A forged code can point to a forger's page, so the host is said.
        if let Some(origin) = &code.origin {
            output::note(&format!("links to {}", origin.authority()));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Light modules are drawn, so the terminal has to be dark: where standard
/// output is a terminal that takes colours, it is told to be.
fn for_terminal(picture: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if plain || !std::io::stdout().is_terminal() {
        return picture.to_owned();
    }
    let lines = picture
        .lines()
        .map(|line| format!("\u{1b}[97;40m{line}\u{1b}[0m\n"));
    lines.collect()
}

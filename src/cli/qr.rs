//! `tallystick qr`: a QR text as a picture.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::{input, output};
use crate::credential::qr_code;
use crate::encoding::qr_text;

/// Draw the QR code of a coupon or receipt: in the terminal, as SVG or as PNG
///
/// The code is drawn from the text as it is, link or digits, in the smallest
/// version at level M. What it says is not checked: see `tallystick verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tallystick qr coupon.txt --svg coupon.svg\n  \
                        tallystick issue --node shop CAMPAIGN | cut -f2 | tallystick qr -")]
pub struct Args {
    /// The QR text, or a file with it, or - for standard input
    #[arg(value_name = "TEXT|FILE|-")]
    text: String,
    /// Write an SVG file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write a PNG file
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// Pixels to a module in the PNG
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    scale: u8,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
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

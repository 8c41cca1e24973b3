//! `tallystick demo`: a day of a co-op, told in plain words.

mod day;
mod frauds;
mod story;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::client::Client;
use super::output;
use crate::primitives::{Origin, Register};
use crate::server::{self, Initialised, NewDir, NodeDir, Overrides, Serving};
use story::Story;

/// Play a co-op's day: receipts, coupons, every fraud that can be tried, and an audit
///
/// It needs no network and no set-up: the node lives in a directory of its own,
/// which is removed at the end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tallystick demo --serve")]
pub struct Args {
    /// Leave the node's directory where it is, and say where
    #[arg(long)]
    keep: bool,
    /// Leave the node running, and print what to open and lines to paste
    #[arg(long)]
    serve: bool,
}

/// A directory that goes away with the demo, unless it is kept.
struct Place {
    root: PathBuf,
    kept: bool,
}

impl Place {
    fn make(kept: bool) -> anyhow::Result<Self> {
        let parent = std::env::temp_dir();
        let root = parent.join(format!("tallystick-demo-{}", std::process::id()));
        std::fs::create_dir_all(&root).with_context(|| format!("{} cannot be made", root.display()))?;
        Ok(Self { root, kept })
    }

    fn node(&self) -> PathBuf {
        self.root.join("coop")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_dir_all(&self.root)
        {
            output::note(&format!("{} could not be removed: {error}", self.root.display()));
        }
    }
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let place = Place::make(self.keep)?;
        // The port first: links and QR codes name it.
        let listener = listen()?;
        let address = listener.local_addr().context("a listener has an address")?;
        let made = NodeDir::create(
            &place.node(),
            &NewDir {
                base_url: Origin::parse(&format!("http://{address}"))?,
                name: "Corner Co-op".to_owned(),
                register: Register::new("till-1")?,
                guard: None,
                passphrase: None,
            },
        )?;
        let mut story = Story::begin();
        story.say(&format!(
            "Corner Co-op opens. Its node answers at http://{address}; its keys were made a moment ago."
        ));
        let played = play(&made, listener, &mut story)?;
        audit(&place.node(), &mut story)?;
        story.end();
        if self.keep {
            output::note(&format!("The node's directory stays: {}", place.node().display()));
        }
        if self.serve {
            let listener =
                TcpListener::bind(address).with_context(|| format!("{address} was taken meanwhile"))?;
            let opened = made.directory.open(&overrides(), None)?;
            tell_what_to_try(&format!("http://{address}"), &made, &played);
            server::run::until_signal(&opened, listener)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The default port where it is free, so that the links look as in the README.
fn listen() -> anyhow::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", 8080))
        .or_else(|_| TcpListener::bind(("127.0.0.1", 0)))
        .context("no loopback port is free")
}

fn overrides() -> Overrides {
    Overrides {
        workers: Some(2),
        // A made-up shop has no trade to hide, and its log is there to be looked at.
        entries_public: Some(true),
        ..Overrides::default()
    }
}

/// What the day leaves for the visitor to look at.
struct Played {
    receipt_link: String,
    coupon_link: String,
    spare_coupon: String,
}

fn play(made: &Initialised, listener: TcpListener, story: &mut Story) -> anyhow::Result<Played> {
    let serving = Serving::on(made.directory.open(&overrides(), None)?, listener)?;
    let till = Client::new(&serving.url(), Some(&made.till_key))?;
    let office = Client::new(&serving.url(), Some(&made.office_key))?;
    let played = day::play(&till, &office, story).and_then(|day| {
        frauds::play(&till, &office, &serving.url(), &day, story)?;
        Ok(Played {
            receipt_link: day.receipt_link,
            coupon_link: day.spare_coupon.clone(),
            spare_coupon: day.spare_coupon,
        })
    });
    serving.stop().context("closing the node")?;
    played
}

fn audit(directory: &Path, story: &mut Story) -> anyhow::Result<()> {
    story.heading("The auditor comes");
    story.say("The node is closed. A copy of its store is checked: every hash, link, signature, number, total and use.");
    let (report, clean) = super::audit::in_words(directory)?;
    for line in report.lines() {
        story.say(line);
    }
    anyhow::ensure!(clean, "the audit of the demo's log is not clean");
    Ok(())
}

fn tell_what_to_try(url: &str, made: &Initialised, played: &Played) {
    let till = made.till_key.as_str();
    let sale = r#"{"register": "till-1", "till_reference": "try/1", "type": "sale", "currency": "EUR", "prices_include_tax": true, "lines": [{"description": "Apples", "quantity": "0.482", "unit": "kg", "unit_price": "2.99", "total": 144, "tax_rate": "7.00"}], "taxes": [{"rate": "7.00", "net": 135, "tax": 9}], "tenders": [{"kind": "cash", "amount": 144}], "total": 144}"#;
    let redemption = format!(
        r#"{{"coupon": "{}", "register": "till-1", "till_reference": "try/1", "basket": {{"total": 2500, "currency": "EUR"}}}}"#,
        played.spare_coupon
    );
    output::data(&format!(
        "\nThe node goes on at {url} until you press Ctrl-C.\n\n\
         Open a receipt in a browser, as a member's phone does:\n  {}\n\n\
         Open a coupon:\n  {}\n\n\
         Post a sale, as a till does (post it twice: the answer is the same):\n\
         curl -sS {url}/v1/receipts -H 'Authorization: Bearer {till}' -H 'Idempotency-Key: try-1' -H 'Content-Type: application/json' -d '{sale}'\n\n\
         Redeem that coupon:\n\
         curl -sS {url}/v1/redemptions -H 'Authorization: Bearer {till}' -H 'Idempotency-Key: try-2' -H 'Content-Type: application/json' -d '{redemption}'\n\n\
         See the log's signed checkpoint:\n\
         curl -sS {url}/checkpoint\n",
        played.receipt_link, played.coupon_link
    ));
}

//! `tallystick demo`: a day of a co-op and its neighbours, told in plain words.

mod day;
mod frauds;
mod neighbours;
mod shop;
mod story;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::federation::found::found;
use super::{output, ports};
use crate::server::{self, Initialised};
use shop::Shop;
use story::Story;

/// Play a day of three co-ops: receipts, coupons, every fraud that can be tried, neighbours, and an audit
///
/// It needs no network and no set-up: the nodes live in a directory of their own,
/// which is removed at the end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tallystick demo --serve")]
pub struct Args {
    /// Leave the nodes' directories where they are, and say where
    #[arg(long)]
    keep: bool,
    /// Leave the first node running, and print what to open and lines to paste
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

    fn node(&self, name: &str) -> PathBuf {
        self.root.join(name)
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
        // Held until all are known, so that no two get the same.
        let listeners = [listen()?, ports::spare()?, ports::spare()?];
        let mut addresses = Vec::new();
        for listener in &listeners {
            addresses.push(listener.local_addr().context("a listener has an address")?);
        }
        drop(listeners);
        let mut shops = [
            Shop::make("Corner Co-op", &place.node("corner"), addresses[0])?,
            Shop::make("Hill Co-op", &place.node("hill"), addresses[1])?,
            Shop::make("River Co-op", &place.node("river"), addresses[2])?,
        ];
        let dirs = shops.each_ref().map(|shop| &shop.made.directory);
        let federation = found("Valley Co-ops", &dirs)?;
        for shop in &mut shops {
            shop.open()?;
            federation.publish(&shop.office()?)?;
        }
        let mut story = Story::begin();
        story.say(&format!(
            "Corner Co-op opens. Its node answers at {}; its keys were made a moment ago, and so were those of its \
             neighbours, Hill Co-op and River Co-op. A roster lists all three, and who is not on it counts for nothing.",
            shops[0].url()
        ));
        let played = play(&mut shops, &mut story)?;
        for shop in &mut shops {
            shop.close()?;
        }
        audit(&shops, &mut story)?;
        story.end();
        if self.keep {
            output::note(&format!("The nodes' directories stay: {}", place.root.display()));
        }
        if self.serve {
            let shop = &shops[0];
            let listener = TcpListener::bind(shop.address)
                .with_context(|| format!("{} was taken meanwhile", shop.address))?;
            let opened = shop.opened()?;
            tell_what_to_try(&shop.url(), &shop.made, &played);
            server::run::until_signal(&opened, listener)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The default port where it is free, so that the links look as in the README.
fn listen() -> anyhow::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", 8080)).map_or_else(|_| ports::spare(), Ok)
}

/// What the day leaves for the visitor to look at.
struct Played {
    receipt_link: String,
    coupon_link: String,
    spare_coupon: String,
}

fn play(shops: &mut [Shop; 3], story: &mut Story) -> anyhow::Result<Played> {
    let (till, office) = (shops[0].till()?, shops[0].office()?);
    let day = day::play(&till, &office, story)?;
    frauds::play(&till, &office, &shops[0].url(), &day, story)?;
    neighbours::play(shops, &day.for_neighbours, story)?;
    Ok(Played {
        receipt_link: day.receipt_link,
        coupon_link: day.spare_coupon.clone(),
        spare_coupon: day.spare_coupon,
    })
}

fn audit(shops: &[Shop; 3], story: &mut Story) -> anyhow::Result<()> {
    story.heading("The auditor comes");
    story.say("The nodes are closed. A copy of each store is checked: every hash, link, signature, number, total and use.");
    for shop in shops {
        story.say(&format!("{}:", shop.name));
        let (report, clean) = super::audit::in_words(shop.made.directory.root())?;
        for line in report.lines() {
            story.say(line);
        }
        anyhow::ensure!(clean, "the audit of {}'s log is not clean", shop.name);
    }
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

//! `tallystick playground`: a federation on this machine to try things against.

mod halves;
mod journey;
mod valley;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::output;
use crate::server::line::Line;
use journey::Journey;
use valley::{Valley, aside};

/// Nodes that fit on one machine without getting into each other's way.
const NODES_MAX: usize = 16;

const COMMANDS: &str = concat!(
    "  status            who runs, and which lines are not whole\n",
    "  compare           whether all halves in the nodes' logs match\n",
    "  cut A B           nothing gets through between A and B any more\n",
    "  lose A B          requests between A and B arrive, and their answers get lost\n",
    "  delay A B MS      everything between A and B takes MS milliseconds longer\n",
    "  heal A B          the line between A and B is whole again\n",
    "  kill A            end A's process at once (SIGKILL)\n",
    "  start A           start it again\n",
    "  quit              stop all of them",
);

/// Start several nodes on loopback ports that form a federation, with sample data
///
/// Each node is a process of its own, with a till key, an office key, a campaign and
/// some coupons; all of it is printed. Lines between nodes are cut, and nodes killed,
/// by commands on standard input.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tallystick playground --nodes 3")]
pub struct Args {
    /// How many nodes, 2 to 16
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    nodes: usize,
    /// Coupons that each node issues
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    coupons: u32,
    /// Where the nodes' directories are made, to be kept [default: a directory that is removed at the end]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Redeem the coupons of The Complete Journey, as scripts/complete-journey-csv writes it, all over the nodes
    #[arg(long, value_name = "DIR")]
    journey: Option<PathBuf>,
    /// Print what was started, and what comes of it, as JSON, a line each
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if !(2..=NODES_MAX).contains(&self.nodes) {
            bail!("--nodes takes 2 to {NODES_MAX}");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("the playground cannot be set up")?;
        runtime.block_on(self.play())
    }

    async fn play(self) -> anyhow::Result<ExitCode> {
        let read = |dir: &PathBuf| Journey::read(dir, self.nodes).map(Arc::new);
        let journey = self.journey.as_ref().map(read).transpose()?;
        let mut valley = Valley::start(self.nodes, self.dir, self.coupons).await?;
        if self.json {
            output::data(&valley.to_json().to_string());
        } else {
            output::data(&valley.told());
            output::note(&format!("Commands:\n{COMMANDS}"));
        }
        if let Some(journey) = &journey {
            begin(journey, &valley, self.json)?;
        }
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        loop {
            let line = tokio::select! {
                line = lines.next_line() => line.context("standard input cannot be read")?,
                _ = tokio::signal::ctrl_c() => None,
            };
            let Some(line) = line else { break };
            let words: Vec<&str> = line.split_whitespace().collect();
            match command(&mut valley, &words, self.json).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => output::data(&format!("failed: {}: {error:#}", words.join(" "))),
            }
            if let (Some(journey), ["status"]) = (&journey, words.as_slice()) {
                output::data(&journey.told());
            }
        }
        valley.stop()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Lets the journey be played in a thread of its own, which tells how it went.
fn begin(journey: &Arc<Journey>, valley: &Valley, json: bool) -> anyhow::Result<()> {
    let (journey, shops) = (Arc::clone(journey), aside(|| valley.shops())?);
    let play = move || match journey.play(&shops) {
        Ok(played) if json => output::data(&format!("journey: {}", played.to_json())),
        Ok(played) => output::data(&format!("journey: {}", played.told())),
        Err(error) => output::data(&format!("journey failed: {error:#}")),
    };
    let thread = std::thread::Builder::new().name("journey".to_owned());
    thread.spawn(play).context("no thread can be started")?;
    Ok(())
}

/// Carries one command out; false for the last one.
async fn command(valley: &mut Valley, words: &[&str], json: bool) -> anyhow::Result<bool> {
    match words {
        [] => {}
        ["quit"] => return Ok(false),
        ["status"] => output::data(&valley.status()),
        ["compare"] => {
            let compared = aside(|| valley.compare())?;
            output::data(&if json {
                compared.to_json().to_string()
            } else {
                compared.told()
            });
        }
        ["cut", one, other] => valley.between(one, other, |line| line.set(Line::Cut))?,
        ["lose", one, other] => valley.between(one, other, |line| line.set(Line::AnswersLost))?,
        ["delay", one, other, ms] => {
            let ms = ms.parse().context("MS is a number of milliseconds")?;
            valley.between(one, other, |line| line.delay(Duration::from_millis(ms)))?;
        }
        ["heal", one, other] => valley.between(one, other, |line| {
            line.set(Line::Whole);
            line.delay(Duration::ZERO);
        })?,
        ["kill", name] => valley.kill(name)?,
        ["start", name] => valley.start_again(name).await?,
        _ => bail!("this is no command; there are:\n{COMMANDS}"),
    }
    if !matches!(words, [] | ["status"] | ["compare"]) {
        output::data(&format!("done: {}", words.join(" ")));
    }
    Ok(true)
}

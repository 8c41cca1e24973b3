//! `tallystick federation evidence`: what convicts members, shown and saved.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

use crate::cli::node_args::NodeArgs;
use crate::cli::output;

/// Show what convicts members of having signed two things that contradict each other
///
/// The node has found it or gossip has brought it. docs/gossip.md says what to do about
/// it, step by step.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  tallystick federation evidence --node https://tally.coop.example --save fork.cbor\n  \
                  tallystick verify --evidence fork.cbor --log-key VKEY"
)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// Only what convicts this member, by its did
    #[arg(long, value_name = "DID")]
    member: Option<String>,
    /// Write the evidence of a fork into this new file, for `tallystick verify --evidence`
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut answer = self.node.with(|client| client.get("/v1/federation/evidence"))?;
        let all = answer["evidence"]
            .as_array_mut()
            .context("the answer is none of a Tallystick node's")?;
        if let Some(member) = &self.member {
            all.retain(|one| one["member"] == member.as_str());
        }
        if let Some(path) = &self.save {
            save(path, all)?;
        }
        output::result(self.json, &answer, told);
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes the one piece of evidence of a fork that there is.
fn save(path: &PathBuf, all: &[Value]) -> anyhow::Result<()> {
    let forks: Vec<&Value> = all.iter().filter(|one| one["kind"] == "fork").collect();
    let fork = match forks[..] {
        [] => bail!("there is no evidence of a fork to be saved"),
        [fork] => fork,
        _ => {
            let dids: Vec<&str> = forks.iter().filter_map(|one| one["member"].as_str()).collect();
            bail!(
                "the logs of {} members are convicted: choose with --member one of {}",
                forks.len(),
                dids.join(", ")
            )
        }
    };
    let bytes = fork["evidence"].as_str().unwrap_or_default();
    let bytes = BASE64URL_NOPAD
        .decode(bytes.as_bytes())
        .context("the evidence is no base64url")?;
    let shown = path.display();
    let new = std::fs::File::create_new(path).with_context(|| format!("{shown} cannot be made"))?;
    std::io::Write::write_all(&mut &new, &bytes).with_context(|| format!("{shown} cannot be written"))?;
    output::note(&format!(
        "saved; anybody checks it: tallystick verify --evidence {shown} --log-key {}",
        fork["log_key"].as_str().unwrap_or_default()
    ));
    Ok(())
}

fn told(answer: &Value) -> String {
    let all = answer["evidence"].as_array().map_or(&[][..], Vec::as_slice);
    if all.is_empty() {
        return "No evidence is held against any member.\n".to_owned();
    }
    let lines = all.iter().map(|one| {
        let effect = match one["stops_redemptions"].as_bool() {
            Some(true) => "no new redemption of its coupons is taken",
            _ => "its coupons are redeemed all the same",
        };
        format!(
            "{}  {}: {}; {effect}\n",
            output::text(one, "member"),
            output::text(one, "kind"),
            output::text(one, "said")
        )
    });
    lines.collect()
}

//! `tallystick federation evidence`: what convicts members, shown and saved.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

use crate::cli::node_args::NodeArgs;
use crate::cli::output;
use crate::credential::ListEvidence;
use crate::log::ForkEvidence;

/// Show what convicts members of having signed two things that contradict each other
///
/// The node has found it or gossip has brought it. docs/gossip.md says what to do about
/// it, step by step.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tallystick federation evidence --node https://tally.coop.example --kind fork --save fork.cbor\n  \
                  tallystick verify --evidence fork.cbor --log-key VKEY\n  \
                  tallystick federation evidence --node https://tally.coop.example --list 0 --save lists.cbor\n  \
                  tallystick verify --evidence lists.cbor --trust did.json"
)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// Only what convicts this member, by its did
    #[arg(long, value_name = "DID")]
    member: Option<String>,
    /// Only of this kind
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Only of two status lists of this number
    #[arg(long, value_name = "NUMBER")]
    list: Option<u32>,
    /// Pass over so many pieces, which earlier calls have shown
    #[arg(long, value_name = "COUNT", default_value_t = 0, conflicts_with = "save")]
    from: u32,
    /// Write the one piece of evidence into this new file, for `tallystick verify --evidence`
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What members are convicted of.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// A log with two histories
    Fork,
    /// Two status lists of one number and time that say different things
    #[value(name = "two_lists", alias = "two-lists")]
    TwoLists,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::TwoLists => "two_lists",
        }
    }
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let asked = self.asked();
        let answer = self
            .node
            .with(|client| client.get_where("/v1/federation/evidence", &asked))?;
        if !answer["evidence"].is_array() {
            bail!("the answer is none of a Tallystick node's");
        }
        if let Some(path) = &self.save {
            save(path, &answer)?;
        }
        output::result(self.json, &answer, |answer| self.told(answer));
        Ok(ExitCode::SUCCESS)
    }

    /// What the node is asked for.
    fn asked(&self) -> Vec<(&'static str, String)> {
        let from = (self.from > 0).then_some(self.from);
        let asked = [
            ("member", self.member.clone()),
            ("kind", self.kind.map(|kind| kind.word().to_owned())),
            ("list", self.list.map(|list| list.to_string())),
            ("from", from.map(|from| from.to_string())),
        ];
        let given = asked.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.collect()
    }

    fn told(&self, answer: &Value) -> String {
        let (all, total) = (pieces(answer), total(answer));
        let chosen = self.member.is_some() || self.kind.is_some() || self.list.is_some();
        let mut told = String::new();
        for one in all {
            let effect = match one["stops_redemptions"].as_bool() {
                Some(true) => "no new redemption of its coupons is taken",
                _ => "its coupons are redeemed all the same",
            };
            let _ = writeln!(
                told,
                "{}  {}: {}; {effect}",
                output::text(one, "member"),
                output::text(one, "kind"),
                output::text(one, "said")
            );
        }
        let (shown, from) = (all.len() as u64, u64::from(self.from));
        let next = from + shown;
        if total == 0 && chosen {
            told.push_str("No such evidence is held.\n");
        } else if total == 0 {
            told.push_str("No evidence is held against any member.\n");
        } else if shown == 0 {
            let _ = writeln!(told, "There are {total} pieces in all, and none after these.");
        } else if next < total {
            let _ = writeln!(
                told,
                "Shown are {} to {next} of {total} pieces: go on with --from {next}, or choose with --member, --kind or \
                 --list.",
                from + 1
            );
        }
        told
    }
}

fn pieces(answer: &Value) -> &[Value] {
    answer["evidence"].as_array().map_or(&[][..], Vec::as_slice)
}

/// Pieces that are held, shown or not. A node that does not say shows all.
fn total(answer: &Value) -> u64 {
    answer["total"].as_u64().unwrap_or(pieces(answer).len() as u64)
}

/// Writes the one piece of evidence that there is.
fn save(path: &PathBuf, answer: &Value) -> anyhow::Result<()> {
    let one = match (pieces(answer), total(answer)) {
        ([], _) => bail!("there is no such evidence to be saved"),
        ([one], 1) => one,
        (all, total) => bail!(several(all, total)),
    };
    let bytes = one["evidence"].as_str().unwrap_or_default();
    let bytes = BASE64URL_NOPAD
        .decode(bytes.as_bytes())
        .context("the evidence is no base64url")?;
    let judged_by = judged_by(one, &bytes)?;
    let shown = path.display();
    let new = std::fs::File::create_new(path).with_context(|| format!("{shown} cannot be made"))?;
    std::io::Write::write_all(&mut &new, &bytes).with_context(|| format!("{shown} cannot be written"))?;
    output::note(&format!(
        "saved; anybody checks it: tallystick verify --evidence {shown} {judged_by}"
    ));
    Ok(())
}

/// How `verify` is told whom the evidence is about.
fn judged_by(one: &Value, bytes: &[u8]) -> anyhow::Result<String> {
    if one["kind"] == Kind::Fork.word() {
        ForkEvidence::decode(bytes).context("the node gave what is no evidence")?;
        return Ok(format!(
            "--log-key {}",
            one["log_key"].as_str().unwrap_or_default()
        ));
    }
    ListEvidence::decode(bytes).context("the node gave what is no evidence")?;
    Ok(format!(
        "--trust did.json (the did.json of {})",
        output::text(one, "member")
    ))
}

/// That there are several, and what chooses each.
fn several(all: &[Value], total: u64) -> String {
    let mut said = format!("there are {total} such pieces of evidence: choose one with");
    for one in all {
        let _ = write!(said, "\n  --member {}", output::text(one, "member"));
        let _ = match one["list"].as_u64() {
            Some(list) => write!(said, " --list {list}"),
            None => write!(said, " --kind {}", output::text(one, "kind")),
        };
    }
    if (all.len() as u64) < total {
        said.push_str("\n  and others: see them all without --save");
    }
    said
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn args(given: &[&str]) -> Args {
        let fixed = ["evidence", "--node", "http://127.0.0.1:9"];
        Cli::try_parse_from([&fixed[..], given].concat()).unwrap().args
    }

    /// An answer with a fork of some members and lists of the first one.
    fn answer(forks: usize, lists: usize, total: usize) -> Value {
        let fork =
            |n| json!({"member": format!("did:web:coop-{n}.example"), "kind": "fork", "said": "it forked"});
        let list = |n| json!({"member": "did:web:coop-0.example", "kind": "two_lists", "list": n, "said": "it lied"});
        let all: Vec<Value> = (0..forks).map(fork).chain((0..lists).map(list)).collect();
        json!({"evidence": all, "total": total})
    }

    #[test]
    fn the_node_is_asked_for_what_was_chosen() {
        assert_eq!(args(&[]).asked(), []);
        let all = args(&[
            "--member",
            "did:web:a%3A1",
            "--kind",
            "two_lists",
            "--list",
            "3",
            "--from",
            "64",
        ]);
        let asked = [
            ("member", "did:web:a%3A1"),
            ("kind", "two_lists"),
            ("list", "3"),
            ("from", "64"),
        ];
        assert_eq!(all.asked(), asked.map(|(name, value)| (name, value.to_owned())));
        let both = ["evidence", "--node", "x", "--from", "1", "--save", "y"];
        assert!(Cli::try_parse_from(both).is_err());
    }

    #[test]
    fn what_is_not_shown_is_said() {
        let told = |given: &[&str], answer: &Value| args(given).told(answer);
        assert_eq!(
            told(&[], &answer(0, 0, 0)),
            "No evidence is held against any member.\n"
        );
        assert_eq!(
            told(&["--list", "1"], &answer(0, 0, 0)),
            "No such evidence is held.\n"
        );
        let all = told(&[], &answer(1, 1, 2));
        assert_eq!(all.lines().count(), 2, "{all}");
        let first = told(&[], &answer(0, 64, 130));
        assert!(
            first.contains("Shown are 1 to 64 of 130 pieces: go on with --from 64"),
            "{first}"
        );
        let second = told(&["--from", "64"], &answer(0, 64, 130));
        assert!(
            second.contains("Shown are 65 to 128 of 130 pieces: go on with --from 128"),
            "{second}"
        );
        let last = told(&["--from", "128"], &answer(0, 2, 130));
        assert_eq!(last.lines().count(), 2, "{last}");
        assert_eq!(
            told(&["--from", "200"], &answer(0, 0, 130)),
            "There are 130 pieces in all, and none after these.\n"
        );
    }

    #[test]
    fn one_of_several_has_to_be_chosen() {
        let path = PathBuf::from("/no/such/dir/saved.cbor");
        let refused = |answer: &Value| save(&path, answer).unwrap_err().to_string();
        assert_eq!(refused(&answer(0, 0, 0)), "there is no such evidence to be saved");
        assert_eq!(
            refused(&answer(2, 1, 3)),
            "there are 3 such pieces of evidence: choose one with\n  \
             --member did:web:coop-0.example --kind fork\n  \
             --member did:web:coop-1.example --kind fork\n  \
             --member did:web:coop-0.example --list 0"
        );
        assert!(refused(&answer(0, 64, 65)).ends_with("and others: see them all without --save"));
        // Nor is one saved that others are not shown beside, or that is none.
        assert!(refused(&answer(0, 1, 2)).contains("there are 2"));
        for (kind, bytes) in [("two_lists", "gg"), ("fork", "gg"), ("fork", "!")] {
            let one =
                json!({"evidence": [{"member": "did:web:a", "kind": kind, "evidence": bytes}], "total": 1});
            assert!(refused(&one).contains("evidence"), "{kind} {bytes}");
        }
    }
}

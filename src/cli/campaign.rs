//! `tallystick campaign`: the signed terms of coupons.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::input::{self, RepeatArgs, When};
use super::node_args::NodeArgs;
use super::output;
use crate::primitives::limits;

/// Sign the terms of a coupon series, and show those that there are
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Create(Box<Create>),
    List(List),
    Show(Show),
}

/// Sign a campaign's terms; they can't be changed afterwards
///
/// Amounts are in minor units: 200 is 2.00 EUR. The terms come from flags, or
/// whole from a JSON file as POST /v1/campaigns takes it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tallystick campaign create --name 'Spring' --text '2 EUR off from 10 EUR' --currency EUR \\\n    \
                  --amount-off 200 --minimum-basket 1000 --not-after +90d\n  \
                  tallystick campaign create --file spring.json"
)]
#[command(group = clap::ArgGroup::new("benefit").args(["amount_off", "percent_off", "stored_value"]))]
struct Create {
    /// A JSON file with all terms, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "text", "currency", "benefit", "minimum_basket",
        "uses", "budget", "not_before", "not_after", "reversal_window"])]
    file: Option<String>,
    /// What the campaign is called
    #[arg(long, required_unless_present = "file")]
    name: Option<String>,
    /// What it is, in a sentence for members [default: the name]
    #[arg(long)]
    text: Option<String>,
    /// ISO 4217 letters, such as EUR
    #[arg(long, value_name = "CODE", required_unless_present = "file")]
    currency: Option<String>,
    /// This amount off a basket
    #[arg(long, value_name = "MINOR", required_unless_present_any = ["file", "percent_off", "stored_value"])]
    amount_off: Option<u64>,
    /// These basis points off a basket: 1000 is 10 %; needs --cap
    #[arg(long, value_name = "BASIS_POINTS", requires = "cap")]
    percent_off: Option<u64>,
    /// The most that --percent-off gives
    #[arg(long, value_name = "MINOR", requires = "percent_off")]
    cap: Option<u64>,
    /// This value, which may be spent in parts
    #[arg(long, value_name = "MINOR")]
    stored_value: Option<u64>,
    /// The least basket total
    #[arg(long, value_name = "MINOR")]
    minimum_basket: Option<u64>,
    /// Uses of one coupon [default: the node's, 1]
    #[arg(long, value_name = "N")]
    uses: Option<u32>,
    /// The most that all coupons together give
    #[arg(long, value_name = "MINOR")]
    budget: Option<u64>,
    /// From when the coupons are good [default: now]
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    not_before: Option<When>,
    /// Until when, as in 2026-12-31T23:59:59+01:00 or +90d
    #[arg(long, value_name = "TIME", value_parser = When::parse, required_unless_present = "file")]
    not_after: Option<When>,
    /// How long after a redemption it can be reversed, in seconds
    #[arg(long, value_name = "SECONDS")]
    reversal_window: Option<u64>,
    #[command(flatten)]
    repeat: RepeatArgs,
    #[command(flatten)]
    node: NodeArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Show all campaigns
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tallystick campaign list --node shop")]
struct List {
    #[command(flatten)]
    node: NodeArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Show one campaign's terms
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tallystick campaign show --node shop CAMPAIGN")]
struct Show {
    /// The campaign's id
    #[arg(value_name = "CAMPAIGN")]
    id: String,
    #[command(flatten)]
    node: NodeArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Create(args) => args.run(),
            Command::List(args) => args.run(),
            Command::Show(args) => args.run(),
        }
    }
}

impl Create {
    fn run(self) -> anyhow::Result<ExitCode> {
        let (body, key) = match &self.file {
            Some(path) => {
                let text = input::read(path, limits::BODY_BYTES_MAX)?;
                let body: Value =
                    serde_json::from_str(&text).with_context(|| format!("{path} is no JSON"))?;
                (body, self.repeat.key([])?)
            }
            None => {
                let not_before = self.not_before.clone().unwrap_or_else(When::now);
                let key = self
                    .repeat
                    .key([Some(&not_before), self.not_after.as_ref()].into_iter().flatten())?;
                (self.terms(&not_before), key)
            }
        };
        let answer = self
            .node
            .with(|client| client.post("/v1/campaigns", &key, &body.to_string()))?;
        output::result(self.json, &answer, |value| output::text(value, "id"));
        Ok(ExitCode::SUCCESS)
    }

    fn terms(&self, not_before: &When) -> Value {
        let benefit = match (self.amount_off, self.percent_off, self.stored_value) {
            (Some(amount), ..) => json!({ "kind": "amount_off", "amount": amount }),
            (_, Some(basis_points), _) => {
                json!({ "kind": "percent_off", "basis_points": basis_points, "cap": self.cap })
            }
            (.., amount) => json!({ "kind": "stored_value", "amount": amount }),
        };
        let members = [
            ("name", json!(self.name)),
            ("text", json!(self.text.as_ref().or(self.name.as_ref()))),
            ("currency", json!(self.currency)),
            ("benefit", benefit),
            ("minimum_basket", json!(self.minimum_basket)),
            ("uses_per_coupon", json!(self.uses)),
            ("budget", json!(self.budget)),
            ("not_before", json!(not_before.as_str())),
            ("not_after", json!(self.not_after.as_ref().map(When::as_str))),
            ("reversal_window_seconds", json!(self.reversal_window)),
        ];
        object(members)
    }
}

impl List {
    fn run(self) -> anyhow::Result<ExitCode> {
        let answer = self.node.with(|client| client.get("/v1/campaigns"))?;
        output::result(self.json, &answer, |value| {
            let campaigns = value["campaigns"].as_array().map_or(&[][..], Vec::as_slice);
            let line = |campaign: &Value| {
                format!(
                    "{}  {}  until {}\n",
                    output::text(campaign, "id"),
                    output::text(campaign, "name"),
                    output::text(campaign, "not_after")
                )
            };
            campaigns.iter().map(line).collect()
        });
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    fn run(self) -> anyhow::Result<ExitCode> {
        let path = format!("/v1/campaigns/{}", segment(&self.id)?);
        let answer = self.node.with(|client| client.get(&path))?;
        output::result(self.json, &answer, |value| {
            let members = value.as_object().into_iter().flatten();
            members
                .map(|(name, _)| format!("{name:<24} {}\n", output::text(value, name)))
                .collect()
        });
        Ok(ExitCode::SUCCESS)
    }
}

/// An id as a part of a path: nothing in it may be read as another path.
///
/// # Errors
/// [`super::UsageError`] when it is no id.
pub(super) fn segment(id: &str) -> anyhow::Result<&str> {
    let plain = !id.is_empty()
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if plain {
        Ok(id)
    } else {
        Err(super::UsageError(format!("{id:?} is no id: it has letters, digits, - and _ only")).into())
    }
}

/// A JSON object of the members that are not null.
pub(super) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let present = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(
        present
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Map<_, _>>(),
    )
}

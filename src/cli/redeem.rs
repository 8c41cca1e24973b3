//! `tallystick redeem`: a coupon against a basket, or only the question.

use std::process::ExitCode;

use serde_json::json;

use super::campaign::object;
use super::input::{self, RepeatArgs};
use super::node_args::NodeArgs;
use super::output;
use crate::primitives::{Amount, Currency};

/// Redeem a coupon against a basket, or ask with --check whether it would work
///
/// Amounts are in minor units: 2500 is 25.00 EUR.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tallystick redeem --node shop coupon.txt --register till-1 --total 2500 --currency EUR\n  \
                        tallystick redeem --node shop coupon.txt --total 2500 --currency EUR --check"
)]
pub struct Args {
    /// The coupon's QR text, or a file with it, or - for standard input
    #[arg(value_name = "TEXT|FILE|-")]
    coupon: String,
    /// The register that redeems; a till's key is bound to one
    #[arg(
        long,
        value_name = "NAME",
        env = "TALLYSTICK_REGISTER",
        required_unless_present = "check"
    )]
    register: Option<String>,
    /// The till's own reference of the sale [default: one made from the idempotency key]
    #[arg(long, value_name = "TEXT")]
    till_reference: Option<String>,
    /// The basket's total
    #[arg(long, value_name = "MINOR")]
    total: u64,
    /// The basket's currency, such as EUR
    #[arg(long, value_name = "CODE")]
    currency: String,
    /// How much of a stored value to spend
    #[arg(long, value_name = "MINOR")]
    amount: Option<u64>,
    /// Only ask whether it would work; changes nothing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    repeat: RepeatArgs,
    #[command(flatten)]
    node: NodeArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let coupon = input::qr_text(&self.coupon)?;
        let basket = json!({ "total": self.total, "currency": self.currency });
        if self.check {
            return self.ask(&object([
                ("coupon", json!(coupon)),
                ("basket", basket),
                ("amount", json!(self.amount)),
            ]));
        }
        let key = self.repeat.key([])?;
        let reference = self
            .till_reference
            .clone()
            .unwrap_or_else(|| format!("cli-{key:.100}"));
        let body = object([
            ("coupon", json!(coupon)),
            ("register", json!(self.register)),
            ("till_reference", json!(reference)),
            ("basket", basket),
            ("amount", json!(self.amount)),
        ]);
        let answer = self
            .node
            .with(|client| client.post("/v1/redemptions", &key, &body.to_string()))?;
        output::result(self.json, &answer, |value| {
            format!(
                "redemption {}\namount {}\nremaining uses {}\nremaining value {}\n",
                output::text(value, "id"),
                self.money(value, "amount"),
                output::text(value, "remaining_uses"),
                self.money(value, "remaining_value"),
            )
        });
        Ok(ExitCode::SUCCESS)
    }

    /// An amount of the answer as people write it.
    fn money(&self, answer: &serde_json::Value, member: &str) -> String {
        let amount = answer[member].as_i64().and_then(|units| Amount::new(units).ok());
        match (Currency::from_letters(&self.currency), amount) {
            (Ok(currency), Some(amount)) => currency.show(amount),
            _ => output::text(answer, member),
        }
    }

    /// Exit code 0 for a coupon that would work, 1 for one that would not.
    fn ask(&self, body: &serde_json::Value) -> anyhow::Result<ExitCode> {
        let answer = self
            .node
            .with(|client| client.ask("/v1/validations", &body.to_string()))?;
        let valid = answer["valid"] == true;
        output::result(self.json, &answer, |value| {
            if valid {
                format!("would work: amount {}\n", self.money(value, "amount"))
            } else {
                format!(
                    "would be refused: {} ({})\n",
                    output::text(value, "detail"),
                    output::text(value, "code")
                )
            }
        });
        Ok(if valid {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

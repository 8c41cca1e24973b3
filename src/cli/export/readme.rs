//! The page that tells a person what lies in an exported directory.

use std::fmt::Write as _;

use serde_json::Value;

use super::tables::Counted;

use crate::node::audit::show_sum;

/// `README.txt`.
pub fn text(about: &Value, counted: &Counted, size: u64) -> String {
    let mut out = String::new();
    write(&mut out, about, counted, size).expect("writing to a string does not fail");
    out
}

fn write(out: &mut String, about: &Value, counted: &Counted, size: u64) -> std::fmt::Result {
    let word = |member: &str| about[member].as_str().unwrap_or_default();
    let (from, to) = (&about["from"], about["to"].as_u64().unwrap_or_default());
    writeln!(out, "A period of the log of {}\n", word("origin"))?;
    writeln!(
        out,
        "Entries {from} to {} of the {size} that the log's checkpoint covers.",
        to.saturating_sub(1)
    )?;
    if let Some((first, last)) = counted.times {
        writeln!(out, "Recorded from {} to {}.", first.rfc3339(), last.rfc3339())?;
    }
    writeln!(
        out,
        "The period is one of the log: sales that were imported, or posted after an outage, stand where they were\n\
         recorded; their own time is the column sold_at.\n"
    )?;
    writeln!(out, "FOR A SPREADSHEET\n")?;
    writeln!(out, "receipts.csv      {}", lines(counted.receipts, "receipt"))?;
    writeln!(
        out,
        "redemptions.csv   {}, {}",
        lines(counted.redemptions, "redemption"),
        lines(counted.reversals, "reversal")
    )?;
    writeln!(out, "campaigns.csv     the campaigns that they belong to\n")?;
    out.push_str(
        "UTF-8, comma separated, amounts in the currency's unit with a point, times in UTC. A text that a spreadsheet\n\
         would take for a formula has an apostrophe before it. What receipts come to, by register:\n\n",
    );
    for ((register, currency, kind), (count, sum)) in &counted.sums {
        writeln!(
            out,
            "  {register:<19} {kind:<10} {count:>9}  {}",
            show_sum(currency, *sum)
        )?;
    }
    if counted.without_stub > 0 {
        writeln!(
            out,
            "\n{} could be had without the signed stub: type and total are empty there.",
            lines(counted.without_stub, "receipt")
        )?;
    }
    if counted.erasures > 0 {
        writeln!(
            out,
            "\n{} recorded in this period; stubs and totals stay.",
            lines(counted.erasures, "erasure")
        )?;
    }
    write!(
        out,
        "\nFOR AN AUDITOR\n\n\
         tallystick audit THIS_DIRECTORY --log-key '{}'\n\n\
         checks every entry of the period: hashes and links, that it is in the tree whose root the log's key has signed,\n\
         signatures of receipts and campaigns, numbers, totals and uses, as far as they can be judged without what came\n\
         before. Take the log's key from the co-op itself, not from this page.\n\n\
         checkpoint        the newest signed checkpoint when this was written (C2SP tlog-checkpoint)\n\
         log.vkey          the log's key\n\
         tile/             entries, hashes, receipts' stubs, coupons' tags (C2SP tlog-tiles); the first 256 entries are\n\
         \x20                 always there, since the first one names the keys\n\
         credentials/      campaigns as COSE, receipts' signed stubs a line each (tallystick verify)\n\
         proofs/           N.tlog-proof: that entry N is in the log (C2SP tlog-proof), of every entry of the period but\n\
         \x20                 receipts, whose paths follow from tile/, and status lists\n\
         export.json       which entries these are\n\n\
         The audit goes by tile/ and checkpoint. The tables were made from them by whoever ran the export: to rely on\n\
         tables that somebody else hands you, make them anew with a key of your own.\n\n\
         No person is named here: what is on a receipt besides its number, type and total stays with the node. But to the\n\
         node a stub is the proof that one holds the receipt: with it anyone can ask for what is on it, until that is\n\
         erased. Hand this directory to those alone who may see that.\n",
        word("log_key")
    )
}

fn lines(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

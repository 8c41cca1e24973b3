//! The report as one HTML file that opens offline: no scripts, nothing that is
//! loaded from elsewhere, charts as SVG. Every text in it is escaped, since the
//! log that is audited may be hostile.

use std::fmt::Write as _;

use crate::node::audit::{AuditReport, DayTotal, Finding, Rule, Verdict, is_turnover, show_sum};

use super::{day_name, place};

/// Width of the charts, in the SVG's own units.
const WIDTH: f64 = 920.0;

/// Height of a chart's bars.
const HEIGHT: f64 = 140.0;

/// Bars of a chart: of more days several share one.
const BARS_MAX: usize = 184;

/// Rows of a table; `--json` has all of them.
const ROWS_MAX: usize = 200;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1d2327; --dim: #5b646b; --line: #d5dade; --paper: #fff; --bar: #2c6e8f;
  --good: #1c6b3a; --bad: #a3231f; --doubt: #7a5200; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaed; --dim: #a2abb2; --line: #3a4248; --paper: #14181b;
  --bar: #6fb1d1; --good: #6cc58c; --bad: #f08a85; --doubt: #e0b25a; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.verdict { font-size: 1.15rem; font-weight: 600; border-left: .4rem solid; padding: .4rem .8rem; }
.clean { color: var(--good); } .findings { color: var(--bad); } .doubt { color: var(--doubt); }
.dim { color: var(--dim); } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
code { overflow-wrap: anywhere; } svg { width: 100%; height: auto; } svg rect { fill: var(--bar); }
svg rect.gap { fill: var(--bad); } svg rect.whole { fill: var(--good); }
svg text { fill: var(--dim); font: 12px system-ui, sans-serif; } svg line { stroke: var(--line); }
@media print { body { margin: 0; max-width: none; } }
";

/// The whole file.
pub fn to_html(report: &AuditReport) -> String {
    let mut out = String::new();
    write(&mut out, report).expect("writing to a string does not fail");
    out
}

fn write(out: &mut String, report: &AuditReport) -> std::fmt::Result {
    let summary = &report.summary;
    let name = if summary.name.is_empty() {
        "a log without a name"
    } else {
        &summary.name
    };
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Audit of {0}</title><style>{STYLE}</style></head><body>\n<h1>Audit of the log of {0}</h1>\n\
         <p class=\"dim\">{1}</p>\n",
        escape(name),
        escape(&summary.base_url)
    )?;
    write_verdict(out, report)?;
    write_facts(out, report)?;
    let days: Vec<(u64, DayTotal)> = summary.days.iter().map(|(day, total)| (*day, *total)).collect();
    write_volume(out, &days, "Receipts a day", |day| day.receipts)?;
    write_volume(out, &days, "Redemptions a day", |day| day.redemptions)?;
    write_campaigns(out, report)?;
    write_partners(out, report)?;
    write_gaps(out, report)?;
    write_receipts(out, report)?;
    write_erasures(out, report)?;
    write_findings(out, report)?;
    out.push_str("</body></html>\n");
    Ok(())
}

fn write_verdict(out: &mut String, report: &AuditReport) -> std::fmt::Result {
    let (class, words) = match report.verdict() {
        Verdict::Clean => ("clean", "Clean: every rule holds".to_owned()),
        Verdict::CleanAsFarAsKnown => ("doubt", "Clean as far as can be known".to_owned()),
        Verdict::Findings => (
            "findings",
            format!(
                "Something is wrong: {} under {}",
                counted(report.findings.total(), "finding"),
                counted(report.findings.counts().len() as u64, "rule")
            ),
        ),
    };
    writeln!(out, "<p class=\"verdict {class}\">{words}</p>")?;
    if !report.notes.is_empty() {
        out.push_str("<ul>");
        for note in &report.notes {
            write!(out, "<li>{}</li>", escape(note))?;
        }
        out.push_str("</ul>\n");
    }
    Ok(())
}

fn write_facts(out: &mut String, report: &AuditReport) -> std::fmt::Result {
    let summary = &report.summary;
    out.push_str("<table>");
    let mut row =
        |name: &str, value: String| write!(out, "<tr><th>{name}</th><td>{}</td></tr>", escape(&value));
    row(
        "entries",
        format!(
            "{} to {}, {} in all",
            report.part.start,
            report.part.end.saturating_sub(1),
            report.part.end - report.part.start
        ),
    )?;
    if let (Some(first), Some(last)) = (summary.first_time, summary.last_time) {
        row("written", format!("{} to {}", first.rfc3339(), last.rfc3339()))?;
    }
    if let Some(root) = summary.root {
        row("root", root.to_string())?;
    }
    for point in &report.points {
        let reached = if point.compared { "" } else { ", not reached" };
        row(
            "compared with",
            format!("{}: {} entries{reached}", point.source, point.size),
        )?;
    }
    row(
        "coupons",
        format!(
            "{} issued, {} of them redeemed; {}, {}",
            summary.coupons,
            summary.coupons_redeemed,
            counted(summary.kind("redemption"), "redemption"),
            counted(summary.kind("reversal"), "reversal")
        ),
    )?;
    row("receipts", summary.kind("receipt").to_string())?;
    out.push_str("</table>\n");
    Ok(())
}

/// Days as bars; of many days some that follow one another share a bar.
fn write_volume(
    out: &mut String,
    days: &[(u64, DayTotal)],
    title: &str,
    count: impl Fn(&DayTotal) -> u64,
) -> std::fmt::Result {
    let (Some((first, _)), Some((last, _))) = (days.first(), days.last()) else {
        return Ok(());
    };
    let span = last - first + 1;
    let per_bar = span.div_ceil(BARS_MAX as u64);
    let bars = usize::try_from(span.div_ceil(per_bar)).expect("at most BARS_MAX");
    let mut heights = vec![0_u64; bars];
    for (day, total) in days {
        let at = usize::try_from((day - first) / per_bar).expect("below the number of bars");
        heights[at] += count(total);
    }
    let most = heights.iter().copied().max().unwrap_or(0);
    let all: u64 = heights.iter().sum();
    if all == 0 {
        return Ok(());
    }
    let shared = if per_bar > 1 {
        format!(", {per_bar} days a bar")
    } else {
        String::new()
    };
    write!(
        out,
        "<h2>{title}</h2><svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{title}: {all} in {}, at most {most} a \
         bar\">",
        HEIGHT + 40.0,
        counted(span, "day")
    )?;
    #[expect(clippy::cast_precision_loss, reason = "a drawing")]
    let step = WIDTH / bars as f64;
    for (at, height) in heights.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a drawing")]
        let (x, tall) = (at as f64 * step, HEIGHT * *height as f64 / most as f64);
        if *height > 0 {
            let from = day_name(first + at as u64 * per_bar);
            write!(
                out,
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>from {from}: {height}</title></rect>",
                20.0 + HEIGHT - tall.max(1.0),
                (step * 0.8).max(0.5),
                tall.max(1.0),
            )?;
        }
    }
    let base = HEIGHT + 20.0;
    writeln!(
        out,
        "<line x1=\"0\" y1=\"{base}\" x2=\"{WIDTH}\" y2=\"{base}\"/><text x=\"0\" y=\"12\">{most} at most{shared}</text>\
         <text x=\"0\" y=\"{0}\">{1}</text><text x=\"{WIDTH}\" y=\"{0}\" text-anchor=\"end\">{2}</text></svg>",
        base + 16.0,
        day_name(*first),
        day_name(*last)
    )
}

fn write_campaigns(out: &mut String, report: &AuditReport) -> std::fmt::Result {
    let campaigns = &report.summary.campaigns;
    if campaigns.is_empty() {
        return Ok(());
    }
    let most = campaigns
        .values()
        .map(|campaign| campaign.redemptions)
        .max()
        .unwrap_or(0);
    out.push_str(
        "<h2>Redemptions by campaign</h2><table><tr><th>campaign</th><th class=\"n\">coupons</th>\
         <th class=\"n\">redemptions</th><th></th><th class=\"n\">granted, less reversals</th></tr>",
    );
    let mut sorted: Vec<_> = campaigns.values().collect();
    sorted.sort_by(|a, b| {
        b.redemptions
            .cmp(&a.redemptions)
            .then_with(|| a.name.cmp(&b.name))
    });
    for campaign in sorted.iter().take(ROWS_MAX) {
        write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>{}<td class=\"n\">{}</td></tr>",
            escape(&campaign.name),
            campaign.issued,
            campaign.redemptions,
            bar(campaign.redemptions, most),
            escape(&show_sum(
                campaign.currency,
                i128::from(campaign.spent.minor_units())
            ))
        )?;
    }
    out.push_str("</table>\n");
    more(out, sorted.len())
}

fn write_partners(out: &mut String, report: &AuditReport) -> std::fmt::Result {
    let mut sorted: Vec<(&String, u64)> = report
        .summary
        .partners
        .iter()
        .map(|(partner, count)| (partner, *count))
        .collect();
    sorted.sort_by_key(|(partner, count)| (std::cmp::Reverse(*count), *partner));
    let Some((_, most)) = sorted.first().copied() else {
        return Ok(());
    };
    out.push_str(
        "<h2>Redemptions by partner</h2><table><tr><th>redeemed by</th><th class=\"n\">redemptions</th><th></th></tr>",
    );
    for (partner, count) in sorted.iter().take(ROWS_MAX) {
        write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{count}</td>{}</tr>",
            escape(partner),
            bar(*count, most)
        )?;
    }
    out.push_str("</table>\n");
    more(out, sorted.len())
}

/// A cell with a bar.
fn bar(count: u64, most: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a drawing")]
    let width = 100.0 * count as f64 / most.max(1) as f64;
    format!(
        "<td style=\"width:30%\"><svg viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" style=\"height:.8rem\" \
         aria-hidden=\"true\"><rect width=\"{width:.1}\" height=\"8\"/></svg></td>"
    )
}

/// The log as a strip, with what could not be read of it.
fn write_gaps(out: &mut String, report: &AuditReport) -> std::fmt::Result {
    let (first, end) = (report.part.start, report.part.end);
    if first == end {
        return Ok(());
    }
    #[expect(clippy::cast_precision_loss, reason = "a drawing")]
    let x = |entry: u64| WIDTH * (entry.clamp(first, end) - first) as f64 / (end - first) as f64;
    let lost: Vec<&Finding> = report
        .findings
        .kept()
        .iter()
        .filter(|finding| is_gap(finding.rule))
        .collect();
    let words = if lost.is_empty() {
        "no entry is missing, and no register's numbers have a gap"
    } else {
        "red: entries that are missing or changed, and numbers of registers that do not follow one another"
    };
    write!(
        out,
        "<h2>Gaps</h2><p class=\"dim\">{words}</p><svg viewBox=\"0 0 {WIDTH} 40\" role=\"img\" aria-label=\"{words}\">\
         <rect class=\"whole\" width=\"{WIDTH}\" height=\"20\"/>"
    )?;
    for (from, to) in lost.iter().filter_map(|finding| finding.entries) {
        let (left, right) = (x(from), x(to.saturating_add(1)));
        write!(
            out,
            "<rect class=\"gap\" x=\"{left:.1}\" width=\"{:.1}\" height=\"20\"><title>entries {from} to {to}</title></rect>",
            (right - left).max(2.0)
        )?;
    }
    writeln!(
        out,
        "<text x=\"0\" y=\"36\">entry {first}</text><text x=\"{WIDTH}\" y=\"36\" text-anchor=\"end\">entry {}</text></svg>",
        end - 1
    )
}

fn is_gap(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::EntriesUnreadable
            | Rule::EntriesLost
            | Rule::EntryChanged
            | Rule::LogShorterThanSigned
            | Rule::SequenceNumber
            | Rule::BatchGap
    )
}

fn write_receipts(out: &mut String, report: &AuditReport) -> std::fmt::Result {
    let receipts = &report.summary.receipts;
    if receipts.is_empty() {
        return Ok(());
    }
    out.push_str(
        "<h2>Receipts by register</h2><table><tr><th>register</th><th>type</th><th class=\"n\">receipts</th>\
         <th class=\"n\">total</th></tr>",
    );
    for (key, total) in receipts.iter().take(ROWS_MAX) {
        let training = if is_turnover(key.kind) {
            ""
        } else {
            " (no turnover)"
        };
        write!(
            out,
            "<tr><td>{}</td><td>{}{training}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(key.register.as_str()),
            escape(key.kind),
            total.count,
            escape(&show_sum(key.currency, total.sum))
        )?;
    }
    out.push_str("</table>\n");
    more(out, receipts.len())
}

fn write_findings(out: &mut String, report: &AuditReport) -> std::fmt::Result {
    if report.findings.total() == 0 {
        return Ok(());
    }
    out.push_str("<h2>Findings</h2>");
    for (rule, count) in report.findings.counts() {
        write!(
            out,
            "<h3><code>{}</code> ({count})</h3><p>What to do: {}.</p><table>",
            rule.id(),
            escape(rule.hint())
        )?;
        let of_rule: Vec<&Finding> = report
            .findings
            .kept()
            .iter()
            .filter(|finding| finding.rule == *rule)
            .collect();
        for finding in of_rule.iter().take(ROWS_MAX) {
            write!(
                out,
                "<tr><th>{}</th><td>{}</td></tr>",
                escape(&place(finding)),
                escape(&finding.message)
            )?;
        }
        out.push_str("</table>\n");
        more(out, usize::try_from(*count).unwrap_or(usize::MAX))?;
    }
    Ok(())
}

fn write_erasures(out: &mut String, report: &AuditReport) -> std::fmt::Result {
    let erasures = &report.summary.erasures;
    if erasures.is_empty() {
        return Ok(());
    }
    out.push_str(
        "<h2>Erased receipts</h2><table><tr><th>receipts</th><th>erased on</th><th>because</th></tr>",
    );
    for ((day, reason), receipts) in erasures.iter().take(ROWS_MAX) {
        write!(
            out,
            "<tr><td>{receipts}</td><td>{}</td><td>{}</td></tr>",
            day_name(*day),
            escape(reason)
        )?;
    }
    out.push_str("</table>\n");
    more(out, erasures.len())
}

fn more(out: &mut String, rows: usize) -> std::fmt::Result {
    if rows > ROWS_MAX {
        write!(
            out,
            "<p class=\"dim\">and {} more; --json has them</p>",
            rows - ROWS_MAX
        )?;
    }
    Ok(())
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Whatever turns the direction of writing, or is no character of a page.
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                out.push('\u{fffd}')
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::node::audit::{Findings, Summary};

    use super::*;

    fn report() -> AuditReport {
        AuditReport {
            part: 0..8,
            is_partial: false,
            summary: Summary::default(),
            findings: Findings::default(),
            points: Vec::new(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn nothing_of_a_log_becomes_markup() {
        let mut hostile = report();
        hostile.summary.name = "</title><script>alert(1)</script>".to_owned();
        hostile.summary.partners.insert("did:web:<i>x</i>".to_owned(), 7);
        hostile.notes.push("\"quoted\" & <b>bold</b> \u{202e}".to_owned());
        let html = to_html(&hostile);
        assert!(!html.contains("<script") && !html.contains("<b>") && !html.contains('\u{202e}'));
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert!(html.contains("&quot;quoted&quot; &amp; &lt;b&gt;"));
        assert!(html.contains("<td>did:web:&lt;i&gt;x&lt;/i&gt;</td><td class=\"n\">7</td>"));
    }

    #[test]
    fn it_opens_offline() {
        let html = to_html(&report());
        assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("url("));
        assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
    }

    #[test]
    fn a_bar_is_a_day_until_there_are_too_many() {
        let bars = |days: &[u64]| {
            let mut with = report();
            let day = DayTotal {
                receipts: 3,
                redemptions: 0,
            };
            with.summary.days = days.iter().map(|at| (*at, day)).collect::<BTreeMap<_, _>>();
            let html = to_html(&with);
            assert!(!html.contains("Redemptions a day"));
            (html.matches("<rect x=").count(), html.contains("days a bar"))
        };
        assert_eq!(bars(&[20_000]), (1, false));
        assert_eq!(bars(&[20_000, 20_100, 20_183]), (3, false));
        assert_eq!(bars(&[20_000, 20_001, 20_184]), (2, true));
    }
}

//! `tallystick verify`: is this coupon, receipt, membership, campaign or status
//! list good? Offline: trusted keys, campaigns and lists come from files.
//!
//! What is judged and how stands in [`crate::credential::verify`]; here files
//! are read and the answer is put into words. docs/verify.md describes it.

mod evidence;
pub(super) mod proof;
mod trust;
mod words;

pub use proof::ProofArgs;
pub(super) use trust::campaigns_in;
pub(super) use words::benefit_words;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::credential::verify::{Report, Verifier};
use crate::primitives::{Clock as _, SystemClock, UnixSeconds, limits};

/// The exit code for input that could not be read at all.
pub const COULD_NOT_READ: u8 = 1;

const AFTER_HELP: &str = "Examples:\n  tallystick verify coupon.txt --trust did.json --status list.cwt\n  \
tallystick verify receipt.txt --trust did.json --proof answer.json --log-key VKEY\n  \
tallystick verify --evidence fork.cbor --log-key VKEY\n  \
tallystick verify --evidence lists.cbor --trust did.json\n\n\
Exit codes: 0 valid, 1 could not read, 2 usage, 10 not yet valid, 11 expired, \
12 revoked, 13 suspended, 14 used up, 15 undetermined (no status list, or one past its time), \
16 unknown issuer, 17 forged or malformed. Of several the first of 17, 16, 11, 10, 15, 12, 13, 14. \
Evidence: 0 the log or issuer is convicted, 16 nobody said whose key it is about, 17 it convicts nobody.";

/// Check a coupon, receipt, membership, campaign or status list offline
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct VerifyArgs {
    /// QR text (link or digits), a file holding it or the raw bytes, or - for standard input
    #[arg(value_name = "TEXT|FILE|-", default_value = "-", hide_default_value = true)]
    pub input: String,
    /// A did.json, a campaign, or a directory of these; may be repeated; without it no issuer is known
    #[arg(long, value_name = "FILE|DIR")]
    pub trust: Vec<PathBuf>,
    /// A status list token; may be repeated
    #[arg(long, value_name = "FILE")]
    pub status: Vec<PathBuf>,
    /// The time to judge at, such as 2026-03-07T16:21:09+01:00 [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub at: Option<UnixSeconds>,
    /// What proves that it is in its issuer's log.
    #[command(flatten)]
    pub proof: ProofArgs,
    /// In place of a credential: evidence against a log (judged by --log-key) or of two status lists (by --trust)
    #[arg(long, value_name = "FILE", group = "about_a_log", conflicts_with_all = ["input", "status", "at"])]
    pub evidence: Option<PathBuf>,
    /// Print one JSON object instead of sentences
    #[arg(long)]
    pub json: bool,
}

/// A time as people write it: RFC 3339 with an offset.
fn parse_time(text: &str) -> Result<UnixSeconds, String> {
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        format!(
            "{text:?} is not a time with an offset, such as 2026-03-07T16:21:09Z or 2026-03-07T16:21:09+01:00"
        )
    })?;
    u64::try_from(time.as_second())
        .map(UnixSeconds)
        .map_err(|_| "times before 1970 are not used here".to_owned())
}

/// Runs the command and gives the exit code. The answer goes to `stdout`,
/// what is to be known of the files beside it to `stderr`.
pub fn run(
    args: &VerifyArgs,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> std::io::Result<u8> {
    if let Some(path) = &args.evidence {
        return run_evidence(args, path, stdout, stderr);
    }
    match judge(args, stdin, stderr) {
        Ok((report, at)) => {
            if args.json {
                writeln!(stdout, "{}", words::json(&report, at))?;
            } else {
                writeln!(stdout, "{}", words::sentences(&report))?;
            }
            Ok(report.verdict.exit_code())
        }
        Err(error) => could_not_read(args, &error, stdout, stderr),
    }
}

fn run_evidence(
    args: &VerifyArgs,
    path: &Path,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> std::io::Result<u8> {
    match evidence::judge(path, args.proof.log_key.as_ref(), &args.trust) {
        Ok(judged) => {
            for note in &judged.notes {
                writeln!(stderr, "note: {note}")?;
            }
            if args.json {
                writeln!(stdout, "{}", judged.json)?;
            } else {
                writeln!(stdout, "{}", judged.words)?;
            }
            Ok(judged.exit_code)
        }
        Err(error) => could_not_read(args, &error, stdout, stderr),
    }
}

fn could_not_read(
    args: &VerifyArgs,
    error: &anyhow::Error,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> std::io::Result<u8> {
    let reason = format!("{error:#}");
    if args.json {
        let json = serde_json::json!({
            "verdict": "could_not_read", "exit_code": COULD_NOT_READ, "kind": null, "reason": reason,
        });
        writeln!(stdout, "{json}")?;
    }
    writeln!(stderr, "error: {reason}")?;
    Ok(COULD_NOT_READ)
}

fn judge(
    args: &VerifyArgs,
    stdin: &mut dyn Read,
    stderr: &mut dyn Write,
) -> anyhow::Result<(Report, UnixSeconds)> {
    let mut verifier = Verifier::new();
    let mut notes = trust::load(&mut verifier, &args.trust)?;
    notes.extend(trust::load_lists(&mut verifier, &args.status)?);
    for note in notes {
        writeln!(stderr, "note: {note}")?;
    }
    let at = args.at.unwrap_or_else(|| SystemClock.now());
    let report = match input(&args.input, stdin)? {
        Input::Text(text) => verifier.check_text(&text, at),
        Input::Bytes(bytes) => verifier.check_bytes(&bytes, at),
    };
    Ok((args.proof.check(report)?, at))
}

#[derive(Debug, PartialEq, Eq)]
enum Input {
    Text(String),
    Bytes(Vec<u8>),
}

fn input(argument: &str, stdin: &mut dyn Read) -> anyhow::Result<Input> {
    if argument == "-" {
        return content(read_all(stdin)?, "standard input");
    }
    let path = Path::new(argument);
    // The longest file name there is has 255 bytes; a QR text has more.
    let is_text = argument.contains(['#', '\n'])
        || argument.contains("%23")
        || argument.contains("://")
        || argument.trim().bytes().all(|byte| byte.is_ascii_digit())
        || (argument.len() > 255 && !argument.contains('/'));
    if path.is_file() {
        content(read_file(path, limits::STATUS_TOKEN_BYTES_MAX)?, argument)
    } else if argument.trim().is_empty() {
        anyhow::bail!("the text is empty; give QR text, a file, or - for standard input")
    } else if is_text {
        Ok(Input::Text(argument.to_owned()))
    } else {
        anyhow::bail!("{argument:?} is neither QR text (digits, or a link with #) nor a file that is there")
    }
}

/// Bytes that are not text are judged as a credential too, and fail as one.
fn content(bytes: Vec<u8>, from: &str) -> anyhow::Result<Input> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        anyhow::bail!("{from} is empty");
    }
    // Tag 18. Some signatures happen to be UTF-8, but no QR text begins so.
    if bytes[0] == 0xd2 {
        return Ok(Input::Bytes(bytes));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => Input::Text(text),
        Err(error) => Input::Bytes(error.into_bytes()),
    })
}

pub(super) fn read_file(path: &Path, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| anyhow::anyhow!("cannot read {shown}: {error}"))?;
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| anyhow::anyhow!("cannot read {shown}: {error}"))?;
    Ok(bytes)
}

fn read_all(stdin: &mut dyn Read) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than fits: what is too long is judged so.
    stdin
        .take(limits::STATUS_TOKEN_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| anyhow::anyhow!("cannot read standard input: {error}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(argument: &str, stdin: &[u8]) -> anyhow::Result<Input> {
        input(argument, &mut &stdin[..])
    }

    #[test]
    fn text_files_and_standard_input_are_told_apart() {
        let text = |text: &str| Input::Text(text.to_owned());
        assert_eq!(read("123", b"").unwrap(), text("123"));
        assert_eq!(read(" 123 ", b"").unwrap(), text(" 123 "));
        let link = "https://coop.example/V#1";
        assert_eq!(read(link, b"").unwrap(), text(link));
        assert_eq!(read("-", b"123\n").unwrap(), text("123\n"));
        assert_eq!(read("-", &[0xd2, 0x84]).unwrap(), Input::Bytes(vec![0xd2, 0x84]));
        assert_eq!(read(&"9x".repeat(200), b"").unwrap(), text(&"9x".repeat(200)));
        for missing in ["no-such-file.txt", "", " ", "/no/such/file"] {
            assert!(read(missing, b"").is_err(), "{missing:?}");
        }
        assert!(read("-", b"").is_err());
        assert!(read("-", b" \n").is_err());
    }

    #[test]
    fn times_need_an_offset() {
        assert_eq!(parse_time("1970-01-01T01:00:01+01:00"), Ok(UnixSeconds(1)));
        for text in [
            "2026-03-07T16:21:09",
            "2026-03-07",
            "1969-12-31T23:59:59Z",
            "5",
            "",
        ] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}

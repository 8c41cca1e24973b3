//! CORE-POS, the till of North America's food co-ops: exports of its table
//! `dtransactions`. docs/import.md says what becomes of which row.

mod columns;
mod days;
mod file;
mod receipt;
mod row;
mod summary;

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use jiff::tz::TimeZone;

use self::file::Survey;
use self::row::Till;
pub use self::summary::Summary;
use super::rows::{Encoding, RowCounts};
use super::tally::Tally;
use super::target::Target;
use super::{Common, SOME_REJECTED, pipeline};
use crate::credential::details::is_tender_kind;
use crate::node::Node;
use crate::primitives::{Currency, limits};

/// What each tender code means, unless `--tender` says otherwise: the codes
/// with which CORE-POS comes.
const TENDERS: [(&str, &str); 11] = [
    ("CA", "cash"),
    ("CC", "card"),
    ("CK", "check"),
    ("CP", "coupon"),
    ("EC", "ebt_cash"),
    ("EF", "ebt_food"),
    ("GD", "gift_card"),
    ("IC", "store_coupon"),
    ("MI", "in_store_charge"),
    ("SC", "store_credit"),
    ("TC", "gift_certificate"),
];

/// The `card_no` that is no member in every shop.
const NO_CARD: &str = "0";

/// What an export does not say itself.
#[derive(clap::Args, Clone, Debug)]
pub struct Settings {
    /// A card_no that means 'no member', beside 0; may be given several times
    #[arg(long, value_name = "CARD_NO", default_value = "11")]
    no_member: Vec<String>,
    /// What a tender code means, such as WT=wic; may be given several times
    #[arg(long, value_name = "CODE=KIND", value_parser = tender)]
    tender: Vec<(String, String)>,
    /// The year of times before 1970, for exports whose years were replaced
    #[arg(long, value_parser = clap::value_parser!(i16).range(1970..=9999))]
    year: Option<i16>,
    /// The store, for exports without the column store_id
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    store_id: u32,
    /// The currency of all amounts
    #[arg(long, value_name = "LETTERS", default_value = "USD", value_parser = currency)]
    currency: Currency,
    /// How text is encoded: utf-8 or latin1
    #[arg(long, default_value = "utf-8", value_parser = encoding)]
    encoding: Encoding,
}

fn tender(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((code, kind)) if !code.trim().is_empty() && is_tender_kind(kind) => {
            Ok((code.trim().to_owned(), kind.to_owned()))
        }
        _ => Err(format!(
            "a tender is CODE=KIND, the kind a snake_case word of up to {} characters, such as WT=wic",
            limits::TENDER_KIND_CHARS_MAX
        )),
    }
}

fn currency(letters: &str) -> Result<Currency, String> {
    Currency::from_letters(letters).map_err(|error| error.to_string())
}

fn encoding(name: &str) -> Result<Encoding, String> {
    match name {
        "utf-8" => Ok(Encoding::Utf8),
        "latin1" => Ok(Encoding::Latin1),
        _ => Err("it is utf-8 or latin1".to_owned()),
    }
}

/// How rows are understood.
#[derive(Clone, Debug)]
pub struct Rules {
    zone: TimeZone,
    year: Option<i16>,
    store_id: u64,
    currency: Currency,
    encoding: Encoding,
    register: Option<String>,
    no_member: Vec<String>,
    tenders: BTreeMap<String, String>,
}

impl Rules {
    fn new(settings: &Settings, common: &Common) -> Self {
        let known = TENDERS.map(|(code, kind)| (code.to_owned(), kind.to_owned()));
        Self {
            zone: common.time_zone.clone().unwrap_or(TimeZone::UTC),
            year: settings.year,
            store_id: settings.store_id.into(),
            currency: settings.currency,
            encoding: settings.encoding,
            register: common.register.clone(),
            no_member: settings
                .no_member
                .iter()
                .map(|card| card.trim().to_owned())
                .collect(),
            tenders: known.into_iter().chain(settings.tender.iter().cloned()).collect(),
        }
    }

    /// The kind of tender that a code means.
    fn tender(&self, code: &str) -> Option<&str> {
        self.tenders.get(code).map(String::as_str)
    }

    /// The member, unless the number says that there is none.
    fn member(&self, card: &str) -> Option<String> {
        let none = card.is_empty() || card == NO_CARD || self.no_member.iter().any(|number| number == card);
        (!none).then(|| card.to_owned())
    }

    /// The register's name: the lane, after the store where there are several.
    fn register(&self, till: Till) -> String {
        match (&self.register, till.store) {
            (Some(name), _) => name.clone(),
            (None, 0) => format!("lane{}", till.register),
            (None, store) => format!("shop{store}-lane{}", till.register),
        }
    }

    /// An amount for people.
    fn shown(&self, minor: i128) -> String {
        let exponent = self.currency.exponent();
        let one = 10_i128.pow(exponent);
        let whole = (minor.abs() / one).to_string();
        let mut text = String::from(if minor < 0 { "-" } else { "" });
        for (place, digit) in whole.chars().enumerate() {
            if place > 0 && (whole.len() - place).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        if exponent > 0 {
            text.push_str(&format!(
                ".{:0width$}",
                minor.abs() % one,
                width = exponent as usize
            ));
        }
        text
    }
}

/// Imports exports of `dtransactions` and gives the exit code. All are looked
/// through before the first receipt is issued.
///
/// # Errors
/// What stops an import.
pub async fn import(
    files: &[PathBuf],
    settings: &Settings,
    common: &Common,
    open: &dyn Fn(&Path) -> anyhow::Result<Node>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> anyhow::Result<u8> {
    let began = Instant::now();
    let rules = Arc::new(Rules::new(settings, common));
    let surveys: Vec<Survey> = files
        .iter()
        .map(|path| file::survey(path, &rules))
        .collect::<anyhow::Result<_>>()?;
    let mut tally = Tally::new(common.report.as_deref())?;
    let target = Arc::new(super::connect(common, open).await?);
    let read = import_all(surveys, &rules, &target, &mut tally).await;
    super::close(&target).await;
    tally.finish(stderr)?;
    let (counts, summary) = read?;
    let seconds = began.elapsed().as_secs_f64();
    if common.json {
        let mut json = tally.json(&counts, seconds);
        json["core_pos"] = summary.json(&rules, &tally);
        writeln!(stdout, "{json}")?;
    } else {
        let words = [tally.words(&counts, seconds), summary.words(&rules, &tally)];
        writeln!(stdout, "{}", words.join("\n"))?;
    }
    Ok(if tally.is_whole() { 0 } else { SOME_REJECTED })
}

async fn import_all(
    surveys: Vec<Survey>,
    rules: &Arc<Rules>,
    target: &Arc<Target>,
    tally: &mut Tally,
) -> anyhow::Result<(RowCounts, Summary)> {
    let (mut counts, mut summary) = (RowCounts::default(), Summary::default());
    for survey in surveys {
        tally.begin(&survey.path);
        let (mut reader, progress) = file::open(&survey.path)?;
        let rules = Arc::clone(rules);
        let read = pipeline::run(
            move |emit| days::read(&mut reader, &survey, &rules, emit),
            Arc::clone(target),
            tally,
            &progress,
        )
        .await;
        progress.finish_and_clear();
        let of_file = read?;
        let ((of_rows, of_file), after) = of_file;
        counts.add(&of_rows);
        counts.add(&after);
        summary.merge(of_file);
    }
    Ok((counts, summary))
}

/// Reads an export that is in memory, with the settings that a shop need not
/// give.
pub(super) fn read_whole(
    export: &[u8],
    year: Option<i16>,
    common: &Common,
    emit: pipeline::Emit<'_>,
) -> anyhow::Result<(RowCounts, Summary)> {
    let settings = Settings {
        no_member: vec!["11".to_owned()],
        tender: Vec::new(),
        year,
        store_id: 0,
        currency: currency("USD").map_err(anyhow::Error::msg)?,
        encoding: Encoding::Utf8,
    };
    let rules = Rules::new(&settings, common);
    let export: Arc<[u8]> = export.into();
    let open = || file::rows_of(Cursor::new(Arc::clone(&export)));
    let survey = file::look_through(Path::new("export"), &open, &rules)?;
    days::read(&mut open()?, &survey, &rules, emit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(letters: &str) -> Rules {
        Rules {
            zone: TimeZone::UTC,
            year: None,
            store_id: 0,
            currency: currency(letters).unwrap(),
            encoding: Encoding::Utf8,
            register: None,
            no_member: vec!["11".to_owned()],
            tenders: BTreeMap::new(),
        }
    }

    #[test]
    fn amounts_are_written_for_people() {
        let rule = rules("USD");
        for (minor, text) in [
            (14_187_916, "141,879.16"),
            (-5, "-0.05"),
            (0, "0.00"),
            (100_000, "1,000.00"),
            (-99_999, "-999.99"),
        ] {
            assert_eq!(rule.shown(minor), text);
        }
        assert_eq!(rules("JPY").shown(1_234_567), "1,234,567");
    }

    #[test]
    fn members_and_registers_have_names() {
        let rule = rules("USD");
        assert_eq!(rule.member("11"), None);
        assert_eq!(rule.member("0"), None);
        assert_eq!(rule.member(""), None);
        assert_eq!(rule.member("110").as_deref(), Some("110"));
        let till = |store| Till {
            store,
            register: 3,
            employee: 1,
            number: 1,
        };
        assert_eq!(rule.register(till(0)), "lane3");
        assert_eq!(rule.register(till(2)), "shop2-lane3");
    }

    #[test]
    fn default_tenders_are_words_that_receipts_take() {
        for (code, kind) in TENDERS {
            assert_eq!(
                tender(&format!("{code}={kind}")),
                Ok((code.to_owned(), kind.to_owned()))
            );
        }
        for bad in ["WT", "=wic", "WT=", "WT=WIC", "WT=a b"] {
            assert!(tender(bad).is_err(), "{bad}");
        }
    }
}

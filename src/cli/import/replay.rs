//! The Complete Journey's coupons: which was redeemed when, and for how much.
//!
//! The data tells a redemption's household, coupon, campaign and day. What it
//! was worth is the household's coupon discount of that day, shared out over its
//! redemptions of that day; where the household bought nothing, or without a
//! discount, it is zero. A day is shared out once its last row was read, and its
//! redemptions are decided at its last second, after its receipts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use anyhow::Context as _;
use csv::StringRecord;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::complete_journey::column;
use super::rows::Reject;
use super::zone::{self, When};
use crate::credential::{Benefit, Terms};
use crate::ledger::CampaignDraft;
use crate::primitives::{Amount, Currency, UnixSeconds, limits};

/// The files that are read.
pub const CAMPAIGNS: &str = "campaigns.csv";
pub const REDEMPTIONS: &str = "coupon_redemptions.csv";

/// The register of a redemption by a household that bought nothing that day.
const NO_BASKET: &str = "store-unknown";

/// A campaign of the data.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its number in the data.
    pub number: String,
    /// What is signed.
    pub draft: CampaignDraft,
}

/// A coupon and its use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Household, campaign, coupon number and use: what people and the node call it.
    pub name: String,
    /// Its line in [`REDEMPTIONS`].
    pub line: u64,
    /// Which of the plans.
    pub campaign: usize,
    /// Where the household bought last that day.
    pub register: String,
    /// The last second of its day.
    pub at: UnixSeconds,
    /// What the household bought that day; `None` if nothing.
    pub basket: Option<Amount>,
    /// Its share of the day's discount.
    pub value: Amount,
}

/// A row of [`REDEMPTIONS`].
#[derive(Clone, Debug)]
struct Row {
    line: u64,
    household: String,
    campaign: usize,
    /// Household, campaign, coupon number and use.
    name: String,
}

/// What a household bought on a day on which it redeems.
#[derive(Clone, Debug, Default)]
struct Bought {
    total: i64,
    discount: i64,
    register: String,
}

/// Redemptions that wait for their day.
pub struct Replay {
    days: BTreeMap<Date, Vec<Row>>,
    households: HashSet<String>,
    /// The day that is being read.
    today: Option<(String, Date)>,
    /// Of the households that redeem today.
    bought: HashMap<String, Bought>,
    zone: TimeZone,
    /// For all receipts, in place of their stores.
    register: Option<String>,
}

/// The files as they were read: campaigns, and rows that cannot be used.
pub struct Loaded {
    /// The campaigns.
    pub plans: Vec<Plan>,
    /// Rows of [`REDEMPTIONS`].
    pub rows: u64,
    /// Rows that are a household's later uses of one coupon.
    pub later_uses: u64,
    /// Rows that were left out.
    pub rejects: Vec<Reject>,
}

/// Reads both files; `None` where there are no redemptions.
///
/// # Errors
/// What cannot be read, a column that is missing, and a campaign whose row is
/// bad.
pub fn load(
    directory: &Path,
    currency: Currency,
    zone: &TimeZone,
    register: Option<String>,
) -> anyhow::Result<Option<(Loaded, Replay)>> {
    let path = directory.join(REDEMPTIONS);
    if !path.try_exists().unwrap_or(true) {
        return Ok(None);
    }
    let plans = plans(&directory.join(CAMPAIGNS), currency, zone)?;
    let mut replay = Replay {
        days: BTreeMap::new(),
        households: HashSet::new(),
        today: None,
        bought: HashMap::new(),
        zone: zone.clone(),
        register,
    };
    let mut loaded = Loaded {
        plans,
        rows: 0,
        later_uses: 0,
        rejects: Vec::new(),
    };
    let mut uses: HashMap<String, u32> = HashMap::new();
    let mut table = Table::open(
        &path,
        ["household_id", "coupon_upc", "campaign_id", "redemption_date"],
    )?;
    while let Some((line, [household, coupon, number, date])) = table.next()? {
        loaded.rows += 1;
        if loaded.rows > limits::IMPORT_REDEMPTIONS_MAX {
            anyhow::bail!(
                "{REDEMPTIONS} holds more than {} rows",
                limits::IMPORT_REDEMPTIONS_MAX
            );
        }
        let known = loaded.plans.iter().position(|plan| plan.number == number);
        let read = match (known, date.parse::<Date>()) {
            _ if household.is_empty() || coupon.is_empty() => {
                Err("household_id or coupon_upc is empty".to_owned())
            }
            (None, _) => Err(format!("the campaign {number:?} is not in {CAMPAIGNS}")),
            (_, Err(_)) => Err(format!(
                "redemption_date: {date:?} is not a day such as 2017-01-01"
            )),
            (Some(campaign), Ok(date)) => Ok((campaign, date)),
        };
        match read {
            Ok((campaign, date)) => {
                let named = format!("{household}/{number}/{coupon}");
                let nth = uses.entry(named.clone()).or_default();
                *nth += 1;
                loaded.later_uses += u64::from(*nth > 1);
                replay.households.insert(household.clone());
                let name = format!("{named}/{nth}");
                replay.days.entry(date).or_default().push(Row {
                    line,
                    name,
                    household,
                    campaign,
                });
            }
            Err(reason) => loaded.rejects.push(Reject {
                line,
                receipt: None,
                reason: format!("{REDEMPTIONS}: {reason}"),
                whole: false,
            }),
        }
    }
    Ok(Some((loaded, replay)))
}

fn plans(path: &Path, currency: Currency, zone: &TimeZone) -> anyhow::Result<Vec<Plan>> {
    let mut table = Table::open(path, ["campaign_id", "campaign_type", "start_date", "end_date"])?;
    let mut plans: Vec<Plan> = Vec::new();
    while let Some((line, [number, kind, start, end])) = table.next()? {
        let day = |text: &str| -> anyhow::Result<Date> {
            let read = text.parse();
            read.with_context(|| {
                format!("{CAMPAIGNS}, line {line}: {text:?} is not a day such as 2017-01-01")
            })
        };
        if number.is_empty() || plans.iter().any(|plan| plan.number == number) {
            anyhow::bail!("{CAMPAIGNS}, line {line}: campaign_id is empty or stands twice");
        }
        if plans.len() >= limits::IMPORT_CAMPAIGNS_MAX {
            anyhow::bail!(
                "{CAMPAIGNS} holds more than {} campaigns",
                limits::IMPORT_CAMPAIGNS_MAX
            );
        }
        // Every coupon has its own value, in place of this smallest one, but those
        // that gave nothing.
        let value = Amount::new(1).expect("one minor unit");
        let mut terms = Terms::new(
            format!("The Complete Journey, campaign {number}"),
            format!("{kind}. Each coupon has a value of its own, for one use."),
            currency,
            Benefit::StoredValue { value },
        );
        terms.uses_per_coupon = Some(1);
        plans.push(Plan {
            number,
            draft: CampaignDraft {
                terms,
                not_before: midnight(day(&start)?, zone)?,
                not_after: midnight(day(&end)?.tomorrow()?, zone)?,
            },
        });
    }
    Ok(plans)
}

fn midnight(day: Date, zone: &TimeZone) -> anyhow::Result<UnixSeconds> {
    let (at, _) = zone::resolve(When::Local(day.to_datetime(jiff::civil::Time::midnight())), zone)
        .map_err(anyhow::Error::msg)?;
    Ok(at)
}

impl Replay {
    /// Takes a row of a purchase: who bought, where and when, and, where that is
    /// asked for, for how much and with how much coupon discount in minor units.
    /// Gives the redemptions of days that are over.
    pub fn see(
        &mut self,
        household: &str,
        store: &str,
        time: &str,
        amounts: impl FnOnce() -> (i64, i64),
    ) -> Vec<Use> {
        let same_day = |(text, _): &(String, Date)| time.starts_with(text.as_str());
        let mut over = Vec::new();
        if !self.today.as_ref().is_some_and(same_day) {
            let Ok(day) = time.parse::<DateTime>().map(DateTime::date) else {
                return over;
            };
            over = self.settle_before(Some(day));
            self.today = Some((day.to_string(), day));
        }
        let Some((_, today)) = &self.today else {
            return over;
        };
        // Purchases of a day that was settled count no more; of this one only whose household redeems.
        if self.households.contains(household)
            && self.days.first_key_value().is_some_and(|(day, _)| day == today)
        {
            let (total, discount) = amounts();
            let bought = self.bought.entry(household.to_owned()).or_default();
            bought.total = bought.total.saturating_add(total);
            bought.discount = bought.discount.saturating_add(discount);
            bought.register = match &self.register {
                Some(register) => register.clone(),
                None => format!("store-{store}"),
            };
        }
        over
    }

    /// The redemptions of all days before `until`; of all that are left if
    /// `None`.
    pub fn settle_before(&mut self, until: Option<Date>) -> Vec<Use> {
        let mut uses = Vec::new();
        while let Some(first) = self.days.first_entry()
            && until.is_none_or(|until| *first.key() < until)
        {
            let (day, rows) = first.remove_entry();
            let of_today = self.today.as_ref().is_some_and(|(_, today)| *today == day);
            let bought = if of_today {
                std::mem::take(&mut self.bought)
            } else {
                HashMap::new()
            };
            self.share_out(day, rows, &bought, &mut uses);
        }
        self.bought.clear();
        uses
    }

    fn share_out(&self, day: Date, rows: Vec<Row>, bought: &HashMap<String, Bought>, uses: &mut Vec<Use>) {
        let end = day
            .tomorrow()
            .ok()
            .and_then(|next| midnight(next, &self.zone).ok());
        let at = UnixSeconds(end.map_or(0, |end| end.0.saturating_sub(1)));
        let mut counts: HashMap<String, i64> = HashMap::new();
        for row in &rows {
            *counts.entry(row.household.clone()).or_default() += 1;
        }
        let mut given: HashMap<String, i64> = HashMap::new();
        for row in rows {
            let count = counts[&row.household];
            let place = given.entry(row.household.clone()).or_default();
            let basket = bought.get(&row.household);
            let discount = basket.map_or(0, |bought| bought.discount.max(0));
            // What does not divide goes to the first, a minor unit each.
            let share = discount / count + i64::from(*place < discount % count);
            *place += 1;
            let amount = |minor: i64| Amount::new(minor).unwrap_or(Amount::ZERO);
            uses.push(Use {
                name: row.name,
                line: row.line,
                campaign: row.campaign,
                register: basket.map_or_else(|| NO_BASKET.to_owned(), |bought| bought.register.clone()),
                at,
                basket: basket.map(|bought| amount(bought.total)),
                value: amount(share),
            });
        }
    }
}

/// A small table, row by row, its columns found by name.
struct Table<const N: usize> {
    reader: csv::Reader<std::fs::File>,
    shown: String,
    places: [usize; N],
    record: StringRecord,
}

impl<const N: usize> Table<N> {
    fn open(path: &Path, names: [&str; N]) -> anyhow::Result<Self> {
        let shown = path.display().to_string();
        let mut reader = csv::Reader::from_path(path).with_context(|| format!("cannot read {shown}"))?;
        let header = reader.headers().with_context(|| format!("cannot read {shown}"))?;
        let mut places = [0; N];
        for (place, name) in places.iter_mut().zip(names) {
            *place = column(header, name).with_context(|| format!("in {shown}"))?;
        }
        Ok(Self {
            reader,
            shown,
            places,
            record: StringRecord::new(),
        })
    }

    fn next(&mut self) -> anyhow::Result<Option<(u64, [String; N])>> {
        let more = self.reader.read_record(&mut self.record);
        if !more.with_context(|| format!("cannot read {}", self.shown))? {
            return Ok(None);
        }
        let line = self.record.position().map_or(0, csv::Position::line);
        let field = |place: usize| self.record.get(place).unwrap_or_default().trim().to_owned();
        Ok(Some((line, self.places.map(field))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(redemptions: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let campaigns = "campaign_id,campaign_type,start_date,end_date\n13,Type A,2017-08-08,2017-09-24\n";
        std::fs::write(dir.path().join(CAMPAIGNS), campaigns).unwrap();
        let header = "household_id,coupon_upc,campaign_id,redemption_date\n";
        std::fs::write(dir.path().join(REDEMPTIONS), format!("{header}{redemptions}")).unwrap();
        dir
    }

    fn loaded(redemptions: &str) -> (Loaded, Replay) {
        let dollar = Currency::from_letters("USD").unwrap();
        let dir = files(redemptions);
        load(dir.path(), dollar, &TimeZone::UTC, None).unwrap().unwrap()
    }

    fn shares(uses: &[Use]) -> Vec<(&str, i64)> {
        uses.iter()
            .map(|each| (each.name.as_str(), each.value.minor_units()))
            .collect()
    }

    #[test]
    fn a_days_discount_is_shared_out_to_the_cent() {
        let (loaded, mut replay) =
            loaded("7,50,13,2017-09-01\n8,50,13,2017-09-01\n7,51,13,2017-09-01\n7,50,13,2017-09-01\n");
        assert_eq!((loaded.rows, loaded.later_uses), (4, 1));
        assert!(
            replay
                .see("7", "1", "2017-08-31 23:00:00", || (900, 77))
                .is_empty(),
            "another day"
        );
        assert!(
            replay
                .see("7", "1", "2017-09-01 08:00:00", || (500, 60))
                .is_empty()
        );
        assert!(
            replay
                .see("7", "2", "2017-09-01 09:00:00", || (100, 40))
                .is_empty()
        );
        assert!(
            replay
                .see("9", "2", "2017-09-01 09:00:00", || (100, 40))
                .is_empty(),
            "redeems nothing"
        );
        let uses = replay.see("9", "2", "2017-09-02 09:00:00", || (100, 40));
        assert_eq!(
            shares(&uses),
            [
                ("7/13/50/1", 34),
                ("8/13/50/1", 0),
                ("7/13/51/1", 33),
                ("7/13/50/2", 33)
            ]
        );
        assert_eq!(uses[0].basket, Some(Amount::new(600).unwrap()));
        assert_eq!(
            (uses[0].register.as_str(), uses[1].register.as_str()),
            ("store-2", NO_BASKET)
        );
        assert_eq!(uses[1].basket, None);
        assert_eq!(uses[0].at, UnixSeconds(1_504_310_399));
        assert!(replay.settle_before(None).is_empty());
    }

    #[test]
    fn days_without_any_purchase_are_settled_in_their_order() {
        let (_, mut replay) = loaded("7,50,13,2017-09-20\n7,51,13,2017-09-03\n7,52,13,2017-09-01\n");
        let uses = replay.see("7", "1", "2017-09-03 08:00:00", || (500, 60));
        assert_eq!(shares(&uses), [("7/13/52/1", 0)]);
        let uses = replay.settle_before(None);
        assert_eq!(shares(&uses), [("7/13/51/1", 60), ("7/13/50/1", 0)]);
    }

    #[test]
    fn campaigns_last_from_their_first_day_through_their_last() {
        let (loaded, _) = loaded("7,50,13,yesterday\n7,50,14,2017-09-01\n,50,13,2017-09-01\n");
        let draft = &loaded.plans[0].draft;
        draft.check().unwrap();
        assert_eq!(draft.not_before, UnixSeconds(1_502_150_400));
        assert_eq!(draft.not_after, UnixSeconds(1_506_297_600));
        let reasons: Vec<&str> = loaded
            .rejects
            .iter()
            .map(|reject| reject.reason.as_str())
            .collect();
        assert_eq!(
            loaded
                .rejects
                .iter()
                .map(|reject| reject.line)
                .collect::<Vec<_>>(),
            [2, 3, 4]
        );
        assert!(
            reasons[0].contains("yesterday") && reasons[1].contains("\"14\""),
            "{reasons:?}"
        );
    }
}

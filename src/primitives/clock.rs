//! Time as the protocol counts it: whole seconds since 1970, UTC.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::limits;

/// Seconds of a day.
const DAY: u64 = 86_400;

/// Seconds since 1970-01-01T00:00:00Z, the only time that credentials, entries
/// and decisions carry (CWT `NumericDate`, RFC 8392 section 2, integers only).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    /// `self + seconds`, stopping at the largest value.
    #[must_use]
    pub fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// `self - seconds`, stopping at 0.
    #[must_use]
    pub fn minus(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// The distance between two times in seconds, whichever is later.
    #[must_use]
    pub fn distance(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }

    /// For people: RFC 3339 in UTC, `2026-03-07T15:21:09Z`. A time past the year 9999 is
    /// shown as the last second of that year.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let seconds = self.0.min(limits::UNIX_SECONDS_MAX);
        let (days, second) = (seconds / DAY, seconds % DAY);
        let (hour, minute) = (second / 3_600, second / 60 % 60);
        let (year, month, day) = civil(days);
        format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z",
            second % 60
        )
    }
}

/// The date `days` after 1970-01-01. Years are counted from March on, so that the day
/// that leap years have more is their last, in cycles of 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    /// Days from 0000-03-01 to 1970-01-01, and of 400, 100, 4 and 1 years.
    const BEFORE_1970: u64 = 719_468;
    const OF_400: u64 = 146_097;
    const OF_100: u64 = 36_524;
    const OF_4: u64 = 1_461;
    let days = days + BEFORE_1970;
    let (cycle, day_of_cycle) = (days / OF_400, days % OF_400);
    let leap_days = day_of_cycle / (OF_4 - 1) - day_of_cycle / OF_100 + day_of_cycle / (OF_400 - 1);
    let year_of_cycle = (day_of_cycle - leap_days) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    // From March on months have 31, 30, 31, 30, 31 days, over and over: 153 in five.
    let months = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months + 2) / 5 + 1;
    let month = if months < 10 { months + 3 } else { months - 9 };
    let year = cycle * 400 + year_of_cycle + u64::from(month <= 2);
    (year, month, day)
}

impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the time comes from. The pure floors never hold one; they are given
/// a [`UnixSeconds`].
pub trait Clock: Send + Sync + 'static {
    /// The present time.
    fn now(&self) -> UnixSeconds;
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixSeconds {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixSeconds(since.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_is_shown_as_another_implementation_shows_it() {
        let begin = jiff::civil::date(1970, 1, 1);
        for days in (0..=limits::UNIX_SECONDS_MAX / DAY).step_by(7).chain(0..=60_000) {
            let date = begin.saturating_add(jiff::SignedDuration::from_hours(
                24 * i64::try_from(days).unwrap(),
            ));
            let time = UnixSeconds(days * DAY + 86_399 - days % DAY);
            let (hour, minute) = ((time.0 / 3_600) % 24, (time.0 / 60) % 60);
            let second = time.0 % 60;
            assert_eq!(
                time.rfc3339(),
                format!("{date}T{hour:02}:{minute:02}:{second:02}Z")
            );
        }
        assert_eq!(UnixSeconds(u64::MAX).rfc3339(), "9999-12-31T23:59:59Z");
    }
}

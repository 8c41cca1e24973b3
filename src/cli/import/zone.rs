//! Local times of sale: read in a time zone, with the hours that a change of
//! the clock skips or repeats counted.

use jiff::civil::DateTime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::primitives::UnixSeconds;

/// A time as an export has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// On the shop's clock.
    Local(DateTime),
    /// With an offset.
    Exact(jiff::Timestamp),
}

/// What came of a local time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// The clock skipped this hour: the time was moved on by as much.
    pub gap: bool,
    /// The clock showed this hour twice: the first is taken.
    pub overlap: bool,
}

/// Reads a zone: `UTC`, an IANA name, or an offset such as `+01:00`.
///
/// # Errors
/// A sentence.
pub fn parse(name: &str) -> Result<TimeZone, String> {
    DateTimeParser::new()
        .parse_time_zone(name)
        .map_err(|error| format!("{name:?} is no time zone such as UTC, Europe/Berlin or +01:00: {error}"))
}

/// The time in seconds since 1970.
///
/// # Errors
/// A sentence for times before 1970 or out of range.
pub fn resolve(when: When, zone: &TimeZone) -> Result<(UnixSeconds, Shift), String> {
    let (timestamp, shift) = match when {
        When::Exact(timestamp) => (timestamp, Shift::default()),
        When::Local(local) => {
            let ambiguous = zone.to_ambiguous_timestamp(local);
            let shift = match ambiguous.offset() {
                AmbiguousOffset::Unambiguous { .. } => Shift::default(),
                AmbiguousOffset::Gap { .. } => Shift {
                    gap: true,
                    overlap: false,
                },
                AmbiguousOffset::Fold { .. } => Shift {
                    gap: false,
                    overlap: true,
                },
            };
            let timestamp = ambiguous
                .compatible()
                .map_err(|error| format!("the time {local} cannot be read: {error}"))?;
            (timestamp, shift)
        }
    };
    let seconds =
        u64::try_from(timestamp.as_second()).map_err(|_| format!("the time {timestamp} lies before 1970"))?;
    Ok((UnixSeconds(seconds), shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str, zone: &str) -> (u64, Shift) {
        let when = When::Local(text.parse().unwrap());
        let (at, shift) = resolve(when, &parse(zone).unwrap()).unwrap();
        (at.0, shift)
    }

    #[test]
    fn zones_have_names_or_offsets() {
        assert_eq!(local("1970-01-01 01:00:00", "UTC").0, 3_600);
        assert_eq!(local("1970-01-01 01:00:00", "+01:00").0, 0);
        for bad in ["", "Mars/Olympus", "1 hour"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(
            resolve(
                When::Local("1969-12-31 00:00:00".parse().unwrap()),
                &TimeZone::UTC
            )
            .is_err()
        );
    }

    #[test]
    fn zone_names_need_no_files_of_the_system() {
        let carried = jiff::tz::TimeZoneDatabase::bundled();
        assert_eq!(
            carried.get("Europe/Berlin").unwrap().iana_name(),
            Some("Europe/Berlin")
        );
        assert!(parse("Europe/Berlin").is_ok());
    }

    #[test]
    fn skipped_and_repeated_hours_are_noticed() {
        // Central European time by its rules, so that no zone database is needed.
        let zone = "CET-1CEST,M3.5.0,M10.5.0/3";
        let (before, plain) = local("2026-03-29 01:59:59", zone);
        assert_eq!(plain, Shift::default());
        let (moved, gap) = local("2026-03-29 02:30:00", zone);
        assert!(gap.gap && moved == before + 1 + 30 * 60);
        let (first, fold) = local("2026-10-25 02:30:00", zone);
        let (after, _) = local("2026-10-25 03:00:00", zone);
        assert!(fold.overlap && after == first + 90 * 60);
    }
}

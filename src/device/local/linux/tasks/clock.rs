//! The time zone of a device and when a schedule comes next in it.
//!
//! Invariant: bounded: no schedule is followed for more than some years.

use super::super::sources::Sources;
use super::calendar::Calendar;
use crate::error::Result;
use crate::model::{DevicePath, Timestamp};
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::{CivilDate, CivilDateTime, CivilTime, Cron, CronDateTime, Resolution, Weekday};
use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use std::cell::RefCell;
use std::collections::HashMap;

/// No zone's file is as big.
const ZONE_LIMIT: u64 = 256 << 10;
/// Schedules whose next time is remembered.
const REMEMBERED: usize = 10_000;

/// Five fields, and the zone that they are in where they name one.
type Schedule = (String, Option<Vec<u8>>);

/// A point in time in the device's zone.
pub struct Clock<'a> {
    sources: &'a Sources<'a>,
    now: Timestamp,
    zone: TimeZone,
    zones: RefCell<HashMap<Vec<u8>, TimeZone>>,
    next: RefCell<HashMap<Schedule, Option<Timestamp>>>,
}

impl<'a> Clock<'a> {
    /// In the zone of the device's `/etc/localtime`; UTC where it has none.
    pub fn read(sources: &'a Sources<'a>, now: Timestamp) -> Result<Self> {
        let zone = zone_of(sources, &DevicePath::new("/etc/localtime"))?.unwrap_or(TimeZone::UTC);
        Ok(Clock { sources, now, zone, zones: RefCell::default(), next: RefCell::default() })
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// When five fields of a crontab come next, in the zone that `CRON_TZ` names.
    pub fn next_of_cron(&self, fields: &str, zone: Option<&[u8]>) -> Result<Option<Timestamp>> {
        let key = (fields.to_owned(), zone.map(<[u8]>::to_vec));
        if let Some(known) = self.next.borrow().get(&key) {
            return Ok(*known);
        }
        let zone = match zone {
            Some(name) => self.named_zone(name)?,
            None => self.zone.clone(),
        };
        let now = self.wall(&zone);
        let next = pattern(fields).zip(now).and_then(|(cron, now)| cron.find_next_occurrence(&Wall(now), false).ok());
        let next = next.and_then(|Wall(at)| instant(&zone, at));
        let mut remembered = self.next.borrow_mut();
        if remembered.len() < REMEMBERED {
            remembered.insert(key, next);
        }
        Ok(next)
    }

    /// Whether five fields name a time that no calendar has, such as the 30th of February. What is no schedule at all,
    /// or one of another scheduler, is not told by this.
    pub fn never_comes(&self, fields: &str) -> Result<bool> {
        Ok(self.next_of_cron(fields, Some(b"UTC"))?.is_none() && pattern(fields).is_some())
    }

    /// When an `OnCalendar=` comes next.
    pub fn next_of_calendar(&self, calendar: &Calendar) -> Result<Option<Timestamp>> {
        let zone = match calendar.zone() {
            Some(name) => self.named_zone(name)?,
            None => self.zone.clone(),
        };
        let next = self.wall(&zone).and_then(|now| calendar.next(now));
        Ok(next.and_then(|at| instant(&zone, at)))
    }

    /// The first moment of a day, some days after it.
    pub fn day_after(&self, day: Date, days: i64) -> Option<Timestamp> {
        let day = day.checked_add(SignedDuration::from_hours(days.checked_mul(24)?)).ok()?;
        instant(&self.zone, day.to_datetime(Time::midnight()))
    }

    /// What clocks in a zone show now.
    fn wall(&self, zone: &TimeZone) -> Option<DateTime> {
        jiff::Timestamp::from_nanosecond(self.now.as_nanos()).ok().map(|now| zone.to_datetime(now))
    }

    fn named_zone(&self, name: &[u8]) -> Result<TimeZone> {
        if name == b"UTC" {
            return Ok(TimeZone::UTC);
        }
        if let Some(known) = self.zones.borrow().get(name) {
            return Ok(known.clone());
        }
        let is_name = name.iter().all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(b)) && !name.is_empty();
        let path = DevicePath::new("/usr/share/zoneinfo").join(&DevicePath::new([b"./", name].concat()));
        let zone = if is_name { zone_of(self.sources, &path)? } else { None };
        let zone = zone.unwrap_or_else(|| self.zone.clone());
        let mut zones = self.zones.borrow_mut();
        if zones.len() < REMEMBERED {
            zones.insert(name.to_vec(), zone.clone());
        }
        Ok(zone)
    }
}

fn zone_of(sources: &Sources<'_>, path: &DevicePath) -> Result<Option<TimeZone>> {
    let file = sources.head(path, ZONE_LIMIT)?.filter(|f| !f.cut);
    Ok(file.and_then(|f| TimeZone::tzif("device", &f.bytes).ok()))
}

/// When clocks show this: the first of two such moments, and past a gap that has it not.
fn instant(zone: &TimeZone, at: DateTime) -> Option<Timestamp> {
    let at = zone.to_timestamp(at).ok()?;
    Some(Timestamp::from_unix(at.as_second(), u32::try_from(at.subsec_nanosecond()).unwrap_or_default()))
}

/// A time as clocks show it, for a search among days and minutes.
#[derive(Clone, Copy)]
struct Wall(DateTime);

impl CronDateTime for Wall {
    fn to_civil(&self) -> CivilDateTime {
        let part = |n: i8| u32::try_from(n).unwrap_or_default();
        let (date, time) = (self.0.date(), self.0.time());
        let (month, day) = (part(date.month()), part(date.day()));
        let (hour, minute, second) = (part(time.hour()), part(time.minute()), part(time.second()));
        // jiff's parts are in range already.
        CivilDateTime::new(
            CivilDate::from_parts_unchecked(date.year().into(), month, day),
            CivilTime::from_parts_unchecked(hour, minute, second),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(u32::try_from(self.0.weekday().to_sunday_zero_offset()).unwrap_or_default())
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let part = |n: u32| i8::try_from(n).map_err(|_| CronError::InvalidDate);
        let year = i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?;
        let (hour, minute, second) = (part(civil.hour())?, part(civil.minute())?, part(civil.second())?);
        DateTime::new(year, part(civil.month())?, part(civil.day())?, hour, minute, second, 0)
            .map(|at| Resolution::Single(Wall(at)))
            .map_err(|_| CronError::InvalidDate)
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Wall)
    }

    fn cmp_instant(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// Five fields as cron reads them, and nothing that other schedulers add.
fn pattern(fields: &str) -> Option<Cron> {
    let plain = |field: &str| field.bytes().all(|b| b.is_ascii_digit() || b"*/,-".contains(&b));
    let named = |field: &str| {
        let words = field.split(|c: char| !c.is_ascii_alphabetic()).filter(|w| !w.is_empty());
        let known = |w: &str| NAMES.iter().any(|n| n.eq_ignore_ascii_case(w));
        words.into_iter().all(known) && field.bytes().all(|b| b.is_ascii_alphanumeric() || b"*/,-".contains(&b))
    };
    let parts: Vec<&str> = fields.split_ascii_whitespace().collect();
    let [minute, hour, day, month, weekday] = parts[..] else { return None };
    if ![minute, hour, day].into_iter().all(plain) || ![month, weekday].into_iter().all(named) {
        return None;
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(fields).ok()
}

const NAMES: [&str; 19] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "sun", "mon", "tue", "wed",
    "thu", "fri", "sat",
];

#[cfg(test)]
mod tests {
    use super::super::super::units::tests::Root;
    use super::*;
    use proptest::prelude::*;

    fn next(fields: &str, now: &str) -> Option<String> {
        let root = Root::new();
        let sources = Sources::new(&root.view, &root.job);
        let clock = Clock::read(&sources, Timestamp::parse(now).unwrap()).unwrap();
        clock.next_of_cron(fields, None).unwrap().map(|t| t.to_string())
    }

    #[test]
    fn the_next_minute_that_fits() {
        let now = "2026-11-24T18:40:30Z";
        for (fields, at) in [
            ("17 * * * *", "2026-11-24T19:17:00Z"),
            ("*/5 * * * *", "2026-11-24T18:45:00Z"),
            ("52 6 1 * *", "2026-12-01T06:52:00Z"),
            ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
            // A day of the month or of the week: either will do.
            ("0 0 13 * fri", "2026-11-27T00:00:00Z"),
            ("0 0 * * 7", "2026-11-29T00:00:00Z"),
        ] {
            assert_eq!(next(fields, now).as_deref(), Some(at), "{fields}");
        }
    }

    #[test]
    fn what_never_comes_and_what_is_no_schedule_have_no_next_time() {
        let now = "2026-11-24T18:40:30Z";
        for fields in ["0 0 30 2 *", "0 0 L * *", "0 0 * * MON#1", "61 * * * *", "* * * *", "* * * * * *", "0 0 1W * *"]
        {
            assert_eq!(next(fields, now), None, "{fields}");
        }
    }

    #[test]
    fn the_zone_is_the_device_s_own() {
        let Ok(berlin) = std::fs::read("/usr/share/zoneinfo/Europe/Berlin") else { return };
        let root = Root::new();
        root.write("/etc/localtime", &berlin);
        root.write("/usr/share/zoneinfo/X/Y", &berlin);
        let sources = Sources::new(&root.view, &root.job);
        let clock = Clock::read(&sources, Timestamp::parse("2026-11-24T18:40:00Z").unwrap()).unwrap();
        let next = |zone: Option<&[u8]>| clock.next_of_cron("0 12 * * *", zone).unwrap().unwrap().to_string();
        assert_eq!(next(None), "2026-11-25T11:00:00Z");
        assert_eq!(next(Some(b"UTC")), "2026-11-25T12:00:00Z");
        assert_eq!(next(Some(b"X/Y")), "2026-11-25T11:00:00Z");
        assert_eq!(next(Some(b"../../../etc/shadow")), "2026-11-25T11:00:00Z");
    }

    #[test]
    fn only_a_time_that_no_calendar_has_never_comes() {
        let root = Root::new();
        let sources = Sources::new(&root.view, &root.job);
        let clock = Clock::read(&sources, Timestamp::parse("2026-11-24T18:40:30Z").unwrap()).unwrap();
        for (fields, never) in [
            ("0 0 31 2 *", true),
            ("0 0 30 feb *", true),
            ("0 0 31 4,6,9,11 *", true),
            ("0 0 29 2 *", false),
            ("0 0 31 2 mon", false),
            ("* * * * *", false),
            ("61 * * * *", false),
            ("0~30 * * * *", false),
        ] {
            assert_eq!(clock.never_comes(fields).unwrap(), never, "{fields}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_fields_have_a_next_time_or_none(fields in "[0-9*/,LW#a-z ?-]{0,20}") {
            let _ = next(&fields, "2026-11-24T18:40:30Z");
        }
    }
}

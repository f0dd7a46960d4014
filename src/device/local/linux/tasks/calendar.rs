//! Calendar events of systemd (`man 7 systemd.time`, CALENDAR EVENTS).
//!
//! Invariant: pure and bounded; a form that is not understood is no [`Calendar`], never a wrong time.

use jiff::civil::{Date, DateTime, Time};

/// Days that are looked through for one that fits: leap days are up to eight years apart.
const DAYS: u32 = 366 * 9;
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// `Mon..Fri *-*-* 12:00/15:00 Europe/Berlin`, to the second.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Calendar {
    /// Monday first.
    weekdays: [bool; 7],
    year: Field,
    month: Field,
    day: Field,
    hour: Field,
    minute: Field,
    second: Field,
    zone: Option<Vec<u8>>,
}

/// Parts of a component, one of which must fit.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Field(Vec<Part>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part {
    from: u32,
    to: u32,
    step: u32,
}

impl Field {
    fn any() -> Field {
        Field(vec![Part { from: 0, to: u32::MAX, step: 1 }])
    }

    fn only(value: u32) -> Field {
        Field(vec![Part { from: value, to: value, step: 1 }])
    }

    /// `*`, `N`, `A..B`, `A/STEP`, `A..B/STEP`, joined by commas. `least` is where `*` begins.
    fn parse(text: &str, least: u32, most: u32) -> Option<Field> {
        let part = |text: &str| {
            let (range, step) = match text.split_once('/') {
                Some((range, step)) => (range, Some(number(step).filter(|s| *s > 0)?)),
                None => (text, None),
            };
            let (from, to) = match (range, range.split_once("..")) {
                ("*", _) if step.is_none() => (least, most),
                (_, Some((from, to))) => (number(from)?, number(to)?),
                (one, None) => {
                    let one = number(one)?;
                    (one, if step.is_some() { most } else { one })
                }
            };
            (from <= to && to <= most && from >= least).then_some(Part { from, to, step: step.unwrap_or(1) })
        };
        let parts: Option<Vec<Part>> = text.split(',').map(part).collect();
        parts.filter(|p| p.len() <= 256).map(Field)
    }

    fn fits(&self, value: u32) -> bool {
        self.0.iter().any(|p| (p.from..=p.to).contains(&value) && (value - p.from).is_multiple_of(p.step))
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

impl Calendar {
    pub fn parse(text: &str) -> Option<Calendar> {
        let mut words: Vec<&str> = text.split_ascii_whitespace().collect();
        words.first()?;
        let mut calendar = Calendar::midnight();
        let is_zone = |w: &&&str| {
            let is_area = w.contains('/') && w.starts_with(|c: char| c.is_ascii_alphabetic());
            is_area || **w == "UTC"
        };
        if let Some(zone) = words.last().filter(is_zone) {
            calendar.zone = Some(zone.as_bytes().to_vec());
            words.pop();
        }
        if let [one] = words[..]
            && let Some(shorthand) = calendar.shorthand(one)
        {
            return Some(shorthand);
        }
        let mut rest = words.into_iter().peekable();
        if let Some(days) = rest.peek().filter(|w| w.starts_with(|c: char| c.is_ascii_alphabetic())) {
            calendar.weekdays = weekdays(days)?;
            rest.next();
        }
        if let Some(date) = rest.peek().filter(|w| !w.contains(':')) {
            calendar.set_date(date)?;
            rest.next();
        }
        if let Some(time) = rest.next() {
            calendar.set_time(time)?;
        }
        rest.next().is_none().then_some(calendar)
    }

    fn midnight() -> Calendar {
        let (year, month, day) = (Field::any(), Field::any(), Field::any());
        let zero = || Field::only(0);
        Calendar { weekdays: [true; 7], year, month, day, hour: zero(), minute: zero(), second: zero(), zone: None }
    }

    fn shorthand(&self, word: &str) -> Option<Calendar> {
        let mut c = self.clone();
        let months = |months: &[u32]| Field(months.iter().map(|m| Part { from: *m, to: *m, step: 1 }).collect());
        match word.to_ascii_lowercase().as_str() {
            "minutely" => (c.hour, c.minute) = (Field::any(), Field::any()),
            "hourly" => c.hour = Field::any(),
            "daily" => {}
            "weekly" => c.weekdays = [true, false, false, false, false, false, false],
            "monthly" => c.day = Field::only(1),
            "quarterly" => (c.month, c.day) = (months(&[1, 4, 7, 10]), Field::only(1)),
            "semiannually" | "semi-annually" => (c.month, c.day) = (months(&[1, 7]), Field::only(1)),
            "yearly" | "annually" => (c.month, c.day) = (Field::only(1), Field::only(1)),
            _ => return None,
        }
        Some(c)
    }

    fn set_date(&mut self, text: &str) -> Option<()> {
        let parts: Vec<&str> = text.split('-').collect();
        let (year, month, day) = match parts[..] {
            [year, month, day] => (year, month, day),
            [month, day] => ("*", month, day),
            _ => return None,
        };
        self.year = Field::parse(year, 1970, 2200)?;
        self.month = Field::parse(month, 1, 12)?;
        self.day = Field::parse(day, 1, 31)?;
        Some(())
    }

    fn set_time(&mut self, text: &str) -> Option<()> {
        let parts: Vec<&str> = text.split(':').collect();
        let (hour, minute, second) = match parts[..] {
            [hour, minute, second] => (hour, minute, second),
            [hour, minute] => (hour, minute, "0"),
            _ => return None,
        };
        self.hour = Field::parse(hour, 0, 23)?;
        self.minute = Field::parse(minute, 0, 59)?;
        self.second = Field::parse(second, 0, 59)?;
        Some(())
    }

    pub fn zone(&self) -> Option<&[u8]> {
        self.zone.as_deref()
    }

    /// The first time after `now` that fits.
    pub fn next(&self, now: DateTime) -> Option<DateTime> {
        let mut day = now.date();
        for i in 0..DAYS {
            if self.fits_day(day) {
                let after = (i == 0).then(|| now.time());
                if let Some(time) = self.first_time(after) {
                    return Some(day.to_datetime(time));
                }
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    fn fits_day(&self, day: Date) -> bool {
        let weekday = usize::try_from(day.weekday().to_monday_zero_offset()).unwrap_or_default();
        let part = |n: i16| u32::try_from(n).unwrap_or_default();
        self.weekdays.get(weekday).copied().unwrap_or_default()
            && self.year.fits(part(day.year()))
            && self.month.fits(part(day.month().into()))
            && self.day.fits(part(day.day().into()))
    }

    fn first_time(&self, after: Option<Time>) -> Option<Time> {
        for hour in (0..24).filter(|h| self.hour.fits(*h)) {
            for minute in (0..60).filter(|m| self.minute.fits(*m)) {
                for second in (0..60).filter(|s| self.second.fits(*s)) {
                    let part = |n: u32| i8::try_from(n).unwrap_or_default();
                    let time = Time::new(part(hour), part(minute), part(second), 0).ok()?;
                    if after.is_none_or(|after| time > after) {
                        return Some(time);
                    }
                }
            }
        }
        None
    }
}

/// `Mon`, `Mon..Fri`, `Sat,Sun`, by their first letters or in full.
fn weekdays(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    let index = |name: &str| {
        let name = name.to_ascii_lowercase();
        let full = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
        WEEKDAYS.iter().zip(full).position(|(short, full)| name == *short || name == full)
    };
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (from, to) = match part.split_once("..") {
            Some((from, to)) => (index(from)?, index(to)?),
            None => (index(part)?, index(part)?),
        };
        days.get_mut(from..=to)?.fill(true);
    }
    days.contains(&true).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVENTS: [&str; 19] = [
        "minutely",
        "hourly",
        "daily",
        "weekly",
        "monthly",
        "quarterly",
        "semiannually",
        "yearly",
        "*-*-* 6,18:00",
        "Mon..Fri *-*-* 12:00/15:30",
        "Sat,Sun 03:10:05",
        "Sat..Sun 10:00",
        "*-02-29",
        "*-*-1..7 4:00:00",
        "2027-01-01",
        "*:0/5",
        "Sun *-*-* 03:10",
        "*-*-1/2 00:00 UTC",
        "thursday",
    ];

    fn next(text: &str) -> Option<String> {
        let now = "2026-11-24T18:40:30".parse().unwrap();
        Calendar::parse(text)?.next(now).map(|t| t.strftime("%Y-%m-%d %H:%M:%S").to_string())
    }

    #[test]
    fn the_next_time_is_what_systemd_says() {
        for text in EVENTS {
            assert!(next(text).is_some(), "{text}");
        }
        if !crate::tools::have("systemd-analyze") {
            return;
        }
        for text in EVENTS {
            let told = std::process::Command::new("systemd-analyze")
                .args(["calendar", "--base-time=2026-11-24 18:40:30 UTC", text])
                .env("TZ", "UTC")
                .env("LC_ALL", "C")
                .output()
                .unwrap();
            let told = String::from_utf8(told.stdout).unwrap();
            let line = told
                .lines()
                .find_map(|l| l.trim().strip_prefix("Next elapse: "))
                .unwrap_or_else(|| panic!("{text}: {told}"));
            let theirs: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(next(text).unwrap(), format!("{} {}", theirs[1], theirs[2]), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_or_never_comes_has_no_time() {
        for text in [
            "",
            "Sat..Mon 10:00",
            "*-*~1",
            "12",
            "Foo",
            "*-*-* *:*:*:*",
            "25:00",
            "*-13-*",
            "2001-01-01",
            "*-02-30",
            "0/0:00",
        ] {
            assert_eq!(next(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_calendar_or_none(text in "[A-Za-z0-9*./,:~ -]{0,30}") {
            let _ = next(&text);
        }
    }
}

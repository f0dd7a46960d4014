//! anacron: jobs that are made up for when the host was off (`man 5 anacrontab`).

use super::Collect;
use crate::error::Result;
use crate::model::{DevicePath, ScheduledTask, Timestamp};
use crate::shape::Untrusted;

const TABLE: &str = "/etc/anacrontab";
const FILE_LIMIT: u64 = 1 << 20;
const LINES: usize = 10_000;
const SPOOL: &str = "/var/spool/anacron";
const STAMP_LIMIT: u64 = 64;

/// A line `PERIOD DELAY NAME COMMAND`.
struct Line<'t> {
    period: &'t str,
    /// Minutes.
    delay: i64,
    name: &'t [u8],
    command: &'t [u8],
}

pub(super) fn rows(collect: &Collect<'_>) -> Result<Vec<ScheduledTask>> {
    let path = DevicePath::new(TABLE);
    let Some(source) = collect.sources.read(&path, FILE_LIMIT)? else { return Ok(Vec::new()) };
    let mut rows = Vec::new();
    for line in source.bytes.split(|b| *b == b'\n').take(LINES).filter_map(parse) {
        rows.push(ScheduledTask {
            name: Untrusted::new(format!("anacron/{}", Untrusted::from_bytes(line.name).raw())),
            kind: "anacron",
            schedule: Some(Untrusted::new(format!("{}, {} minutes after", every(line.period), line.delay))),
            command: Some(Untrusted::from_bytes(line.command)),
            user: Some(Untrusted::new("root")),
            enabled: Some(true),
            source: Some(path.clone()),
            next_run: next(collect, &line)?,
        });
    }
    Ok(rows)
}

fn parse(line: &[u8]) -> Option<Line<'_>> {
    let line = line.trim_ascii();
    if line.first() == Some(&b'#') {
        return None;
    }
    let mut rest = line;
    let mut field = || {
        let end = rest.iter().position(u8::is_ascii_whitespace)?;
        let (field, after) = rest.split_at(end);
        rest = after.trim_ascii_start();
        Some(field)
    };
    let period = std::str::from_utf8(field()?).ok()?;
    let delay = std::str::from_utf8(field()?).ok()?.parse().ok().filter(|d| (0..=1_000_000).contains(d))?;
    let name = field()?;
    let is_period = period.starts_with('@') || period.bytes().all(|b| b.is_ascii_digit());
    (is_period && !rest.is_empty()).then_some(Line { period, delay, name, command: rest })
}

fn every(period: &str) -> String {
    if period.starts_with('@') { period.to_owned() } else { format!("every {period} days") }
}

/// From the day of the last run, which the spool keeps by the job's name.
fn next(collect: &Collect<'_>, line: &Line<'_>) -> Result<Option<Timestamp>> {
    let days = match line.period {
        "@daily" => 1,
        "@weekly" => 7,
        "@monthly" => 30,
        "@yearly" | "@annually" => 365,
        period => match period.parse().ok().filter(|d| (1..=100_000).contains(d)) {
            Some(days) => days,
            None => return Ok(None),
        },
    };
    if line.name.contains(&b'/') {
        return Ok(None);
    }
    let stamp = DevicePath::new(SPOOL).join(&DevicePath::new(line.name));
    let Some(stamp) = collect.sources.head(&stamp, STAMP_LIMIT)? else { return Ok(None) };
    let day = std::str::from_utf8(stamp.bytes.trim_ascii()).ok();
    let day = day.and_then(|d| jiff::civil::Date::strptime("%Y%m%d", d).ok());
    let due = day.and_then(|day| collect.clock.day_after(day, days)).map(|t| t.plus_secs(line.delay * 60));
    Ok(due.filter(|t| *t > collect.clock.now()))
}

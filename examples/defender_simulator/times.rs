//! Times as the service writes them: UTC with `Z` and 0 to 7 digits of fraction.

use jiff::{SignedDuration, Timestamp};

/// With as many digits as the moment happens to ask for: the service does not keep to one number.
pub fn written(at: Timestamp) -> String {
    let ticks = at.subsec_nanosecond().unsigned_abs() / 100;
    let digits = (ticks % 8) as usize;
    let second = at.strftime("%Y-%m-%dT%H:%M:%S");
    match digits {
        0 => format!("{second}Z"),
        n => format!("{second}.{}Z", &format!("{ticks:07}")[..n]),
    }
}

pub fn now() -> String {
    written(Timestamp::now())
}

/// So many seconds before now.
pub fn ago(seconds: u64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// For `Date` and `Retry-After`.
pub fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

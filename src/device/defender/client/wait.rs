//! How long to wait: what a `Retry-After` says, and back-off with jitter.

use crate::model::Timestamp;
use std::time::Duration;

/// What a `Retry-After` says, seconds or an HTTP date. `now` is the sender's own time where it told it.
pub(super) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = http_date(value)?;
    Some(Duration::from_secs(u64::try_from(until.as_secs() - now.as_secs()).unwrap_or(0)))
}

/// `Tue, 24 Nov 2026 22:04:08 GMT`.
pub(super) fn http_date(value: &str) -> Option<Timestamp> {
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value.trim()).ok()?;
    Some(Timestamp::from_unix(at.as_second(), 0))
}

/// `first` doubled with each attempt up to `most`, and between 75 and 125 of a hundred of that, so that clients that
/// failed together do not come back together.
pub(crate) fn back_off(first: Duration, most: Duration, attempt: u32) -> Duration {
    jittered(first.saturating_mul(1 << attempt.min(16)).min(most))
}

pub(crate) fn jittered(wait: Duration) -> Duration {
    let mut byte = [128u8];
    // Without randomness the wait is just not spread.
    let _ = getrandom::fill(&mut byte);
    wait.mul_f64(0.75 + f64::from(byte[0]) / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        let now = Timestamp::parse("2026-11-24T22:04:08Z").unwrap();
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Tue, 24 Nov 2026 22:04:38 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Tue, 24 Nov 2026 22:00:00 GMT", now), Some(Duration::ZERO));
        for odd in ["", "-1", "soon", "99999999999999999999", "7.5"] {
            assert_eq!(retry_after(odd, now), None, "{odd}");
        }
    }

    #[test]
    fn back_off_grows_to_its_bound() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(2));
        assert!(back_off(first, most, 0) <= first * 2);
        for attempt in [5, 16, 400] {
            let wait = back_off(first, most, attempt);
            assert!(wait >= most.mul_f64(0.75) && wait <= most.mul_f64(1.25), "{wait:?}");
        }
    }
}

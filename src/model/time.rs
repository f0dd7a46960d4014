//! Points in time, from devices and of our own: nanoseconds since 1970 UTC, written ISO-8601 with a `Z`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A point in time. Written to the second, or to the millisecond where it has a fraction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(i128);

impl Timestamp {
    pub fn now() -> Self {
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(d) => Timestamp(d.as_nanos() as i128),
            Err(e) => Timestamp(-(e.duration().as_nanos() as i128)),
        }
    }

    pub fn from_unix(seconds: i64, nanos: u32) -> Self {
        Timestamp(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
    }

    /// Seconds since 1970, and nanoseconds after them.
    pub fn to_unix(self) -> (i64, u32) {
        (self.as_secs(), u32::try_from(self.0.rem_euclid(1_000_000_000)).unwrap_or(0))
    }

    pub fn from_millis(ms: i64) -> Self {
        Timestamp(i128::from(ms) * 1_000_000)
    }

    pub fn as_secs(self) -> i64 {
        i64::try_from(self.0.div_euclid(1_000_000_000)).unwrap_or(if self.0 < 0 { i64::MIN } else { i64::MAX })
    }

    pub fn as_millis(self) -> i64 {
        i64::try_from(self.0.div_euclid(1_000_000)).unwrap_or(if self.0 < 0 { i64::MIN } else { i64::MAX })
    }

    pub fn as_nanos(self) -> i128 {
        self.0
    }

    pub fn plus_secs(self, seconds: i64) -> Self {
        Timestamp(self.0 + i128::from(seconds) * 1_000_000_000)
    }

    /// ISO-8601 as written, RFC 3339 with any offset, or a date alone (midnight UTC).
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(t) = text.parse::<jiff::Timestamp>() {
            return Some(Timestamp(t.as_nanosecond()));
        }
        let date = text.parse::<jiff::civil::Date>().ok()?;
        let at = jiff::tz::TimeZone::UTC.to_timestamp(date.to_datetime(jiff::civil::Time::midnight())).ok()?;
        Some(Timestamp(at.as_nanosecond()))
    }
}

impl fmt::Display for Timestamp {
    /// Written by hand: a listing of 100,000 files writes 300,000 of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.as_secs();
        let (days, rest) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
        // Civil date from days since 1970-01-01 (proleptic Gregorian, eras of 400 years that begin in March).
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + i64::from(month <= 2);
        let ms = self.0.rem_euclid(1_000_000_000) / 1_000_000;
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", rest / 3600, rest % 3600 / 60, rest % 60)?;
        if ms != 0 {
            write!(f, ".{ms:03}")?;
        }
        f.write_str("Z")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        Timestamp::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("a time is written 2026-11-24T03:00:00Z, or as a date 2026-11-24"))
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_jiff_writes_it() {
        for secs in [0, -1, 951_782_400, 951_868_799, 1_709_164_800, 4_102_444_800, -2_208_988_800, 253_402_207_200] {
            let theirs = jiff::Timestamp::from_second(secs).map(|t| t.to_string());
            assert_eq!(theirs.ok(), Some(Timestamp::from_unix(secs, 0).to_string()));
        }
        assert_eq!(Timestamp::from_unix(0, 5_000_000).to_string(), "1970-01-01T00:00:00.005Z");
    }

    #[test]
    fn reads_a_date_alone() {
        assert_eq!(Timestamp::parse("2026-11-24").map(|t| t.to_string()).as_deref(), Some("2026-11-24T00:00:00Z"));
        assert_eq!(Timestamp::parse("yesterday"), None);
    }
}

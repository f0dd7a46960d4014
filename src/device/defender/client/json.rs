//! JSON of a service whose documents and payloads disagree: unknown fields, nulls, odd types, raw control characters
//! inside of strings.
//!
//! Invariant: a field that cannot be read is as if it were missing; only what is no JSON object at all is an error.

use crate::model::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Bodies up to here are read where they came in; larger ones on a thread that nobody else waits for.
const SMALL: usize = 64 << 10;

/// A field of the wrong type, or null, is the default.
pub(crate) fn tolerant<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + DeserializeOwned,
{
    let raw = <&RawValue>::deserialize(from)?;
    Ok(serde_json::from_str(raw.get()).unwrap_or_default())
}

/// A time with any number of digits after its seconds, with or without a zone (then UTC).
pub(crate) fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text: Option<String> = tolerant(from)?;
    Ok(text.and_then(|text| {
        let clock = text.split_once('T').map_or("", |(_, clock)| clock);
        let has_zone = clock.is_empty() || clock.contains(['Z', 'z', '+', '-']);
        if has_zone { Timestamp::parse(&text) } else { Timestamp::parse(&format!("{text}Z")) }
    }))
}

/// A list in which only what can be read is kept.
pub(crate) fn rows<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let raw = <&RawValue>::deserialize(from)?;
    // The common case costs one pass.
    if let Ok(rows) = serde_json::from_str(raw.get()) {
        return Ok(rows);
    }
    let each: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    Ok(each.into_iter().filter_map(|row| serde_json::from_str(row.get()).ok()).collect())
}

/// A body as a type; mends what can be mended.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    let bare = trimmed(body);
    serde_json::from_slice(bare).or_else(|e| serde_json::from_slice(&mended(bare)).map_err(|_| e))
}

/// As [`read`], off this thread where it takes long.
pub(crate) async fn read_aside<T: DeserializeOwned + Send + 'static>(body: Vec<u8>) -> Result<T, serde_json::Error> {
    if body.len() <= SMALL {
        return read(&body);
    }
    match tokio::task::spawn_blocking(move || read(&body)).await {
        Ok(read) => read,
        Err(_) => Err(serde::de::Error::custom("the reader ended early")),
    }
}

/// Without a byte order mark and the NULs and blanks around.
fn trimmed(body: &[u8]) -> &[u8] {
    let mut body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    while let Some((last, rest)) = body.split_last()
        && (*last == 0 || last.is_ascii_whitespace())
    {
        body = rest;
    }
    body
}

/// Escapes the control characters that stand raw inside of strings, and replaces what is not UTF-8.
fn mended(body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let mut out = String::with_capacity(text.len() + 64);
    let (mut inside, mut escaped) = (false, false);
    for c in text.chars() {
        if inside && c < ' ' {
            // A backslash before a raw control character escaped nothing that JSON knows.
            if escaped {
                out.push('\\');
            }
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
            escaped = false;
            continue;
        }
        match c {
            '"' if !escaped => inside = !inside,
            _ => {}
        }
        escaped = inside && c == '\\' && !escaped;
        out.push(c);
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Deserialize, Debug, PartialEq)]
    #[serde(default)]
    struct Row {
        #[serde(deserialize_with = "tolerant")]
        name: Option<String>,
        #[serde(deserialize_with = "tolerant")]
        count: i64,
        #[serde(deserialize_with = "time")]
        at: Option<Timestamp>,
    }

    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct List {
        #[serde(deserialize_with = "rows")]
        value: Vec<Row>,
    }

    #[test]
    fn a_field_of_the_wrong_type_is_missing() {
        let row: Row = read(br#"{"name":7,"count":null,"other":[{}],"at":{}}"#).unwrap();
        assert_eq!(row, Row::default());
    }

    #[test]
    fn times_have_none_to_seven_digits() {
        for (text, nanos) in [
            ("2026-11-24T10:00:00Z", 0),
            ("2026-11-24T10:00:00.1Z", 100_000_000),
            ("2026-11-24T10:00:00.1234567Z", 123_456_700),
            ("2026-11-24T10:00:00.12", 120_000_000),
        ] {
            let row: Row = read(format!(r#"{{"at":"{text}"}}"#).as_bytes()).unwrap();
            assert_eq!(row.at.unwrap().to_unix().1, nanos, "{text}");
        }
    }

    #[test]
    fn a_row_that_is_none_takes_no_other_along() {
        let list: List = read(br#"{"value":[{"name":"a"},7,{"name":"b"}]}"#).unwrap();
        assert_eq!(list.value.len(), 2);
        assert!(read::<List>(br#"{"value":"none"}"#).unwrap().value.is_empty());
    }

    #[test]
    fn a_raw_line_break_in_a_string_is_mended() {
        let row: Row = read(b"\xef\xbb\xbf{\"name\":\"a\r\nb\\\\\tc\\\"d\", \"count\":\n2}\0\0").unwrap();
        assert_eq!(row.name.as_deref(), Some("a\r\nb\\\tc\"d"));
        assert_eq!(row.count, 2);
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for body in [&b""[..], b"<html>", b"{\"name\":\"a", b"null x"] {
            assert!(read::<Row>(body).is_err());
        }
    }
}

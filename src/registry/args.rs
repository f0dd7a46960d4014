//! The arguments that many tools share, taken apart from a tool's own.
//!
//! Invariant: every key is seen once or the call is refused; a tool's own arguments go on as the text that the client
//! sent, so nothing is lost before the typed parse.

use super::Tool;
use super::spec::unknown_argument;
use super::sweep::{DEVICE, swept};
use crate::error::{Error, ErrorCode, Result, in_words};
use crate::model::{DeviceRow, Row, SessionId};
use crate::shape::Wanted;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// No arguments of any tool come near this.
const MAX_ARGS: usize = 1 << 20;
const MAX_REASON: usize = 200;
/// Characters of a wrong value that its refusal quotes.
const GIVEN: usize = 60;
/// Entries of `devices`.
const MAX_DEVICES: usize = 1_000;
pub const MAX_LIMIT: usize = 1000;
pub const DEFAULT_LIMIT: usize = 50;

/// A comment for the record: one line of at most 200 characters.
pub fn one_line(command: &str, comment: Option<&str>) -> Result<()> {
    match comment.filter(|c| c.chars().count() > MAX_REASON || c.contains(['\n', '\r'])) {
        None => Ok(()),
        Some(_) => {
            let what = format!("{command}: a comment is one line of at most {MAX_REASON} characters");
            Err(Error::new(ErrorCode::BadArgs, what))
        }
    }
}

/// Arguments beyond a command's own.
#[derive(Debug, Default, Clone)]
pub struct Common {
    pub session: Option<SessionId>,
    /// Many devices instead of a session's: names, ids, filters over the rows of `devices`.
    pub devices: Vec<String>,
    pub background: bool,
    pub limit: Option<usize>,
    pub cursor: Option<String>,
    pub wanted: Wanted,
    pub reason: Option<String>,
}

/// A shared parameter: its name, its schema type, its description.
pub(super) type Shared = (&'static str, &'static str, &'static str);

pub(super) const SESSION: Shared = ("session", "string", "Default: newest");
pub(super) const DEVICES: Shared = ("devices", "array", "Many: names, ids, a filter");
pub(super) const BACKGROUND: Shared = ("background", "boolean", "Run as a job");
pub(super) const REASON: Shared = ("reason", "string", "Why; one line, for the person");
const CURSOR: Shared = ("cursor", "string", "next_cursor");
pub(super) const LISTING: &[Shared] = &[
    ("limit", "integer", "50, max 1000"),
    CURSOR,
    ("fields", "array", "Only these"),
    ("sort", "string", "field or -field"),
    ("filter", "string", "field=x, ~part, >n and …"),
];

/// The shared parameters that make sense for a tool.
pub(super) fn shared(tool: &dyn Tool) -> Vec<Shared> {
    let spec = tool.spec();
    let mut out = Vec::new();
    if spec.session {
        out.push(SESSION);
    }
    if spec.sweeps() {
        out.push(DEVICES);
    }
    if spec.long {
        out.push(BACKGROUND);
    }
    if spec.effect.asks() {
        out.push(REASON);
    }
    if spec.paged && tool.row_fields().is_some() {
        out.extend_from_slice(LISTING);
    } else if spec.sweeps() {
        // One object a device: a listing all the same.
        out.push(CURSOR);
    }
    out
}

/// Splits a call's arguments into the shared ones and the tool's own, as JSON text.
pub fn split(tool: &dyn Tool, raw: &str) -> Result<(Common, String)> {
    let name = tool.spec().name;
    if raw.len() > MAX_ARGS {
        return Err(Error::new(
            ErrorCode::TooLarge,
            format!("{name}: {} bytes of arguments; at most {MAX_ARGS} are read", raw.len()),
        ));
    }
    let mut common = Common::default();
    if raw.is_empty() || raw == "{}" {
        return Ok((common, "{}".into()));
    }
    let pairs = members(name, raw)?;
    let shared = shared(tool);
    let mut own = String::with_capacity(raw.len());
    for (key, value) in &pairs {
        if shared.iter().any(|(n, ..)| n == key) {
            common.take(name, key, value)?;
        } else {
            own.push(if own.is_empty() { '{' } else { ',' });
            own.push_str(&serde_json::Value::from(key.as_str()).to_string());
            own.push(':');
            own.push_str(value.get());
        }
    }
    if own.is_empty() {
        own.push('{');
    }
    own.push('}');
    refuse_nul(name, &pairs)?;
    if !common.devices.is_empty() {
        common.check_devices(name)?;
        common.wanted.check(swept(tool).fields)?;
        // A row whose device nobody can tell says nothing.
        if !common.wanted.fields.is_empty() && !common.wanted.fields.iter().any(|field| field == DEVICE) {
            common.wanted.fields.insert(0, DEVICE.into());
        }
    } else if let Some(known) = tool.row_fields() {
        common.wanted.check(known)?;
    }
    Ok((common, own))
}

/// A tool's own arguments in one spelling: keys sorted, `null` left out, no white space, no needless escapes. Equal
/// calls are equal texts.
pub fn canonical(args: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<serde_json::Value>(args) else { return args.to_owned() };
    value.sort_all_objects();
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    value.to_string()
}

/// The members of a JSON object, each key once.
fn members<'a>(tool: &str, raw: &'a str) -> Result<Vec<(String, &'a RawValue)>> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of arguments")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut out: Self::Value = Vec::new();
            while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                if out.iter().any(|(k, _)| *k == key) {
                    return Err(serde::de::Error::custom(format!("{key:?} stands twice")));
                }
                out.push((key, value));
            }
            Ok(out)
        }
    }

    let mut reader = serde_json::Deserializer::from_str(raw);
    let pairs = reader.deserialize_map(Members).and_then(|p| reader.end().map(|()| p));
    pairs.map_err(|e| {
        let text = e.to_string();
        let reason = in_words(text.split(" at line ").next().unwrap_or_default());
        Error::new(ErrorCode::BadArgs, format!("{tool}: {reason}")).hint("arguments are one JSON object, each key once")
    })
}

/// No argument of any command means a NUL, and every system below would cut the text there.
fn refuse_nul(tool: &str, pairs: &[(String, &RawValue)]) -> Result<()> {
    match pairs.iter().find(|(key, value)| key.contains('\0') || holds_nul(value.get())) {
        None => Ok(()),
        Some((key, _)) => Err(Error::new(ErrorCode::BadArgs, format!("{tool}: argument {key:?} holds a NUL"))),
    }
}

fn holds_nul(json: &str) -> bool {
    // An escaped backslash before `u0000` makes it plain text: count the backslashes.
    json.match_indices("u0000")
        .any(|(at, _)| json.as_bytes().iter().take(at).rev().take_while(|b| **b == b'\\').count() % 2 == 1)
}

impl Common {
    fn take(&mut self, tool: &str, key: &str, value: &RawValue) -> Result<()> {
        let bad = |what: &str| {
            let given: String = value.get().chars().take(GIVEN).collect();
            let cut = if given.len() < value.get().len() { "…" } else { "" };
            Error::new(ErrorCode::BadArgs, format!("{tool}: argument {key:?}: {given}{cut} is not {what}"))
                .hint(format!("help {tool} shows the arguments"))
        };
        let text = || serde_json::from_str::<String>(value.get()).map_err(|_| bad("a text"));
        match key {
            "session" => self.session = Some(SessionId::new(text()?)),
            "devices" => {
                let one = || serde_json::from_str::<String>(value.get()).map(|one| vec![one]);
                let named = serde_json::from_str(value.get()).or_else(|_| one());
                self.devices = named
                    .ok()
                    .filter(|all: &Vec<String>| !all.is_empty() && all.iter().all(|one| !one.trim().is_empty()))
                    .ok_or_else(|| bad("a list of names, ids or filters"))?;
                if self.devices.len() > MAX_DEVICES {
                    let given = self.devices.len();
                    let what = format!("{tool}: {given} entries in devices; at most {MAX_DEVICES} are read");
                    return Err(Error::new(ErrorCode::TooLarge, what).hint("a filter names any number of devices"));
                }
            }
            "background" => self.background = serde_json::from_str(value.get()).map_err(|_| bad("true or false"))?,
            "cursor" => self.cursor = Some(text()?),
            "sort" => self.wanted.sort = Some(text()?),
            "filter" => self.wanted.filter = Some(text()?),
            "fields" => {
                self.wanted.fields = serde_json::from_str(value.get()).map_err(|_| bad("a list of field names"))?;
            }
            "limit" => {
                let limit = serde_json::from_str(value.get()).ok().filter(|n| (1..=MAX_LIMIT).contains(n));
                self.limit = Some(limit.ok_or_else(|| bad("a whole number from 1 to 1000"))?);
            }
            "reason" => {
                let reason = text()?;
                if reason.chars().count() > MAX_REASON || reason.contains(['\n', '\r']) {
                    return Err(bad("one line of at most 200 characters"));
                }
                self.reason = Some(reason);
            }
            _ => return Err(unknown_argument(tool, key, &[])),
        }
        Ok(())
    }

    fn check_devices(&self, tool: &str) -> Result<()> {
        let bad = |what: &str, hint: &str| {
            Err(Error::new(ErrorCode::BadArgs, format!("{tool}: devices {what}")).hint(hint.to_owned()))
        };
        if self.session.is_some() {
            return bad("and session are two places", "give the one or the other");
        }
        if let Some(list) = self.device_names().find(|name| name.contains(',') && !name.starts_with("image:")) {
            return bad(&format!("{list:?} names several in one text"), "give a list; in the console, -devices A B");
        }
        if self.cursor.is_some() {
            return bad("and cursor do not go together", "a cursor stands alone: it knows its devices");
        }
        self.device_filters().try_for_each(|filter| {
            // Every device has nothing somewhere in its name.
            if filter.trim_end().ends_with('~') || filter.contains("~ ") || filter.contains("~\"\"") {
                return bad(&format!("{filter:?} compares with nothing"), "say what the field is to hold");
            }
            let wanted = Wanted { filter: Some(filter.to_owned()), ..Wanted::default() };
            wanted.check(DeviceRow::FIELDS).map_err(|mut e| {
                e.message = format!("{tool}: devices: {}", e.message);
                e
            })
        })
    }

    /// Those of `devices` that are filters: no device's name or id has a comparison in it, but an image's directory may.
    pub fn device_filters(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().map(String::as_str).filter(|text| is_filter(text))
    }

    /// Those of `devices` that name one.
    pub fn device_names(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().map(String::as_str).filter(|text| !is_filter(text))
    }

    pub fn page_size(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_LIMIT)
    }
}

fn is_filter(text: &str) -> bool {
    text.contains(['=', '~', '<', '>']) && !text.starts_with("image:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_nul_is_seen_and_its_spelling_is_not() {
        assert!(holds_nul(r#""a\u0000b""#));
        assert!(!holds_nul(r#""a\\u0000b""#));
        assert!(holds_nul(r#""a\\\u0000b""#));
        assert!(!holds_nul(r#""u0000""#));
    }

    #[test]
    fn equal_calls_have_one_spelling() {
        let one = canonical(r#"{"type":"file","id":"/a"}"#);
        assert_eq!(canonical("{ \"id\" : \"\\u002fa\", \"hive\":null, \"type\":\"file\" }"), one);
        assert_ne!(canonical(r#"{"type":"file","id":"/b"}"#), one);
    }

    #[test]
    fn a_key_twice_is_refused() {
        let e = members("dir", r#"{"path":"/a","path":"/b"}"#).unwrap_err();
        assert_eq!(e.code, ErrorCode::BadArgs);
        assert!(e.message.contains("twice"), "{e}");
        assert!(members("dir", r#"{"p\u0061th":"/a","path":"/b"}"#).is_err());
        assert!(members("dir", "[]").is_err());
        assert!(members("dir", r#"{"a":1} {"b":2}"#).is_err());
    }
}

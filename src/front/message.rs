//! A raw message, looked at before anyone else: JSON throughout, each key once, one call, an id that can be answered.
//!
//! Invariants: no tree is built; what passes here says the same to every parser after it. A refusal names its id where
//! the id can be read.

use crate::error::ErrorCode;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

pub const PARSE_ERROR: i32 = -32700;
pub const INVALID_REQUEST: i32 = -32600;
pub const METHOD_NOT_FOUND: i32 = -32601;
pub const INVALID_PARAMS: i32 = -32602;
/// A call that was refused or failed; its data says why.
pub const SERVER_ERROR: i32 = -32000;

/// An id is echoed: no client needs a long one.
const MAX_ID: usize = 256;
/// Keys of one object. No message comes near this, and each key is held while its object is read.
const MAX_KEYS: usize = 4096;
/// Below this many keys a look through the list is faster than a hash.
const FEW_KEYS: usize = 16;

/// A request's id: a whole number or text.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(untagged)]
pub enum Id {
    Number(i64),
    Text(Arc<str>),
}

impl Id {
    /// Reads an id's JSON text; fractions, `null` and long texts are none.
    fn read(json: &str) -> Option<Id> {
        match json.as_bytes().first()? {
            b'"' => {
                let text: Cow<str> = serde_json::from_str(json).ok()?;
                (text.len() <= MAX_ID).then(|| Id::Text(text.into()))
            }
            _ => json.parse().ok().map(Id::Number),
        }
    }
}

/// Where a message keeps the arguments of a tool: keys that stand twice there are the call's fault, not the message's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `params.arguments`.
    Mcp,
    /// `params`.
    Rpc,
}

/// A message that is turned away before it means anything.
#[derive(PartialEq, Eq, Debug)]
pub struct Refusal {
    pub id: Option<Id>,
    /// JSON-RPC's code.
    pub code: i32,
    pub reason: ErrorCode,
    pub message: Cow<'static, str>,
}

impl Refusal {
    pub fn invalid(id: Option<Id>, message: impl Into<Cow<'static, str>>) -> Self {
        Refusal { id, code: INVALID_REQUEST, reason: ErrorCode::Protocol, message: message.into() }
    }

    pub fn params(id: Id, message: impl Into<Cow<'static, str>>) -> Self {
        Refusal { id: Some(id), code: INVALID_PARAMS, reason: ErrorCode::BadArgs, message: message.into() }
    }

    fn parse(id: Option<Id>, message: impl Into<Cow<'static, str>>) -> Self {
        Refusal { id, code: PARSE_ERROR, reason: ErrorCode::Protocol, message: message.into() }
    }

    pub fn too_long() -> Self {
        Refusal {
            id: None,
            code: INVALID_REQUEST,
            reason: ErrorCode::TooLarge,
            message: "the message is longer than 16 MiB and was skipped".into(),
        }
    }

    pub fn cut(line: &[u8]) -> Self {
        Self::parse(read_id(line), "the input ended inside a message")
    }

    pub fn id_in_use(id: Id) -> Self {
        Self::invalid(Some(id), "this id was used by an earlier request: each request needs its own")
    }
}

/// A message that can be acted on.
#[derive(Debug)]
pub enum Message<'a> {
    Call(Request<'a>),
    /// No answer is wanted.
    Notice(Notice<'a>),
    /// An answer to a question that this server did not ask.
    Answer,
}

#[derive(Debug)]
pub struct Request<'a> {
    pub id: Id,
    pub method: Cow<'a, str>,
    pub params: Option<&'a RawValue>,
    /// A key that stands twice in the arguments.
    pub twice: Option<String>,
}

#[derive(Debug)]
pub struct Notice<'a> {
    pub method: Cow<'a, str>,
    pub params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    result: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

/// A member that is there, `null` too.
pub fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads one message.
pub fn read(line: &[u8], form: Form) -> Result<Message<'_>, Refusal> {
    let text = std::str::from_utf8(line).map_err(|_| Refusal::parse(read_id(line), "the message is not UTF-8"))?;
    let found = check(text, form).map_err(|e| unreadable(line, &e))?;
    match found.top {
        Top::Object => {}
        Top::Array => return Err(Refusal::invalid(None, "batches are not served: send one message a line")),
        Top::Other => return Err(Refusal::invalid(None, "a message is a JSON object")),
    }
    if let Some(key) = found.twice {
        let id = if key == "id" { None } else { read_id(line) };
        return Err(Refusal::invalid(id, format!("the key {key:?} stands twice")));
    }
    let envelope: Envelope = serde_json::from_str(text).map_err(|e| unreadable(line, &e))?;
    envelope.open(found.twice_in_arguments)
}

fn unreadable(line: &[u8], e: &serde_json::Error) -> Refusal {
    if e.is_data() {
        let message = format!("an object has more than {MAX_KEYS} keys");
        return Refusal { reason: ErrorCode::TooLarge, ..Refusal::invalid(read_id(line), message) };
    }
    Refusal::parse(read_id(line), format!("the message is not JSON: {e}"))
}

impl<'a> Envelope<'a> {
    fn open(self, twice: Option<String>) -> Result<Message<'a>, Refusal> {
        let id = match self.id {
            None => None,
            Some(raw) => Some(
                Id::read(raw.get())
                    .ok_or_else(|| Refusal::invalid(None, "an id is a whole number or a text of at most 256 bytes"))?,
            ),
        };
        if self.jsonrpc.is_none_or(|v| v.get() != r#""2.0""#) {
            return Err(Refusal::invalid(id, "the message is not JSON-RPC 2.0: \"jsonrpc\" must be \"2.0\""));
        }
        let Some(method) = self.method else {
            return match self.result.is_some() || self.error.is_some() {
                true => Ok(Message::Answer),
                false => Err(Refusal::invalid(id, "the message has no method")),
            };
        };
        let Ok(method) = serde_json::from_str::<Text>(method.get()) else {
            return Err(Refusal::invalid(id, "the method is not a text"));
        };
        let (method, params) = (method.0, self.params);
        Ok(match id {
            Some(id) => Message::Call(Request { id, method, params, twice }),
            None => Message::Notice(Notice { method, params }),
        })
    }
}

/// A text, borrowed where it has no escapes.
#[derive(Deserialize)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

#[derive(PartialEq, Eq, Clone, Copy)]
enum Top {
    Object,
    Array,
    Other,
}

struct Found {
    top: Top,
    twice: Option<String>,
    twice_in_arguments: Option<String>,
}

/// Reads the whole message once: every string is decoded (a lone surrogate is an error), every key compared.
fn check(text: &str, form: Form) -> Result<Found, serde_json::Error> {
    let mut walk =
        Walk { form, keys: Vec::new(), found: Found { top: Top::Other, twice: None, twice_in_arguments: None } };
    let mut reader = serde_json::Deserializer::from_str(text);
    Value { walk: &mut walk, place: Place::Message }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(walk.found)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Message,
    Params,
    Arguments,
    Other,
}

struct Walk<'de> {
    form: Form,
    /// The keys of the objects that are open, innermost last.
    keys: Vec<Cow<'de, str>>,
    found: Found,
}

impl Walk<'_> {
    fn below(&self, place: Place, key: &str) -> Place {
        match (place, self.form, key) {
            (Place::Arguments, ..) => Place::Arguments,
            (Place::Message, Form::Mcp, "params") => Place::Params,
            (Place::Message, Form::Rpc, "params") | (Place::Params, _, "arguments") => Place::Arguments,
            _ => Place::Other,
        }
    }

    fn note_twice(&mut self, place: Place, key: &str) {
        let slot = match place {
            Place::Arguments => &mut self.found.twice_in_arguments,
            _ => &mut self.found.twice,
        };
        slot.get_or_insert_with(|| key.chars().take(60).collect());
    }
}

struct Value<'w, 'de> {
    walk: &'w mut Walk<'de>,
    place: Place,
}

impl<'de> DeserializeSeed<'de> for Value<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if self.place == Place::Message {
            self.walk.found.top = Top::Array;
        }
        let place = if self.place == Place::Arguments { Place::Arguments } else { Place::Other };
        while seq.next_element_seed(Value { walk: self.walk, place })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Value { walk, place } = self;
        if place == Place::Message {
            walk.found.top = Top::Object;
        }
        let first = walk.keys.len();
        let mut many: Option<HashSet<Cow<'de, str>>> = None;
        let mut count = 0;
        while let Some(key) = map.next_key_seed(Key)? {
            count += 1;
            if count > MAX_KEYS {
                return Err(A::Error::custom("too many keys"));
            }
            let child = walk.below(place, &key);
            let own = walk.keys.get(first..).unwrap_or_default();
            let seen = match &many {
                None => own.contains(&key),
                Some(many) => many.contains(&key),
            };
            if seen {
                walk.note_twice(place, &key);
            } else if let Some(many) = &mut many {
                many.insert(key);
            } else {
                walk.keys.push(key);
                if count == FEW_KEYS {
                    many = Some(walk.keys.drain(first..).collect());
                }
            }
            map.next_value_seed(Value { walk: &mut *walk, place: child })?;
        }
        walk.keys.truncate(first);
        Ok(())
    }
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// The id of a message that cannot be read as a whole: a complete `"id": value` of the outermost object, there once.
fn read_id(line: &[u8]) -> Option<Id> {
    let mut found = None;
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(byte) = line.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let Some(end) = end_of_string(line, at) else { break };
                let is_id = depth == 1 && line.get(at..end) == Some(br#""id""#);
                at = end;
                if is_id && let Some(value) = member_value(line, at) {
                    if found.is_some() {
                        return None;
                    }
                    found = Some(value);
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Id::read(std::str::from_utf8(found?).ok()?)
}

/// After the string that begins at `start`; `None` where it has no end.
fn end_of_string(line: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match line.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The value of a member whose key ends at `at`: a string or a bare word with something after it.
fn member_value(line: &[u8], at: usize) -> Option<&[u8]> {
    let skip_space = |mut at: usize| {
        while line.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    };
    let colon = skip_space(at);
    if line.get(colon) != Some(&b':') {
        return None;
    }
    let start = skip_space(colon + 1);
    let end = match line.get(start)? {
        b'"' => end_of_string(line, start)?,
        _ => start + line.get(start..)?.iter().position(|b| matches!(b, b',' | b'}') || b.is_ascii_whitespace())?,
    };
    line.get(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> Refusal {
        match read(line.as_bytes(), Form::Mcp) {
            Err(refusal) => refusal,
            Ok(message) => panic!("{line} passes: {message:?}"),
        }
    }

    fn call(line: &str) -> Request<'_> {
        match read(line.as_bytes(), Form::Mcp) {
            Ok(Message::Call(request)) => request,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn what_is_not_json_is_answered_with_the_id_where_it_can_be_read() {
        for (line, id) in [
            (r#"{"jsonrpc":"2.0","id":7,"method":"ping",}"#, Some(Id::Number(7))),
            (r#"{"jsonrpc":"2.0","id" : "a-1" ,"method":ping}"#, Some(Id::Text("a-1".into()))),
            (r#"{"id":{"id":3},"x":}"#, None),
            (r#"{"a":{"id":3},"x":}"#, None),
            (r#"{"s":"\"id\":9","x":}"#, None),
            (r#"{"id":1,"id":2,"x":}"#, None),
            (r#"{"id":1.5,"x":}"#, None),
            (r#"{"id":12"#, None),
            (r#"{"id":12,"method":"pi"#, Some(Id::Number(12))),
            ("hello", None),
        ] {
            let refusal = refused(line);
            assert_eq!((refusal.code, refusal.id), (PARSE_ERROR, id), "{line}");
        }
    }

    #[test]
    fn a_lone_surrogate_is_no_json() {
        let refusal =
            refused(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"path":"\ud800"}}}"#);
        assert_eq!((refusal.code, refusal.id), (PARSE_ERROR, Some(Id::Number(1))));
        assert_eq!(refused(r#"{"jsonrpc":"2.0","id":1,"\udc00":1,"method":"ping"}"#).code, PARSE_ERROR);
        call(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\ud83d\ude00"}}"#);
    }

    #[test]
    fn invalid_utf8_is_answered_with_its_id() {
        let refusal = read(b"{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"\xff\"}", Form::Mcp).expect_err("not UTF-8");
        assert_eq!((refusal.code, refusal.id), (PARSE_ERROR, Some(Id::Number(4))));
    }

    #[test]
    fn a_key_twice_is_refused_at_any_depth() {
        for line in [
            r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"x","name":"y"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"x","n\u0061me":"y"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"a":[{"b":1,"b":1}]}}}"#,
        ] {
            let refusal = refused(line);
            assert_eq!((refusal.code, refusal.id), (INVALID_REQUEST, Some(Id::Number(1))), "{line}");
        }
        assert_eq!(refused(r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}"#).id, None);
    }

    #[test]
    fn a_key_twice_among_many_is_refused() {
        let many: String = (0..40).map(|n| format!("\"k{n}\":{n},")).collect();
        let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{{"_meta":{{{many}"k3":0}}}}}}"#);
        assert_eq!(refused(&line).code, INVALID_REQUEST);
    }

    #[test]
    fn a_key_twice_in_arguments_is_the_calls_own_fault() {
        let line = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"dir","arguments":{"a":[{"x":1,"x":2}]}}}"#;
        assert_eq!(call(line).twice.as_deref(), Some("x"));
        let line = r#"{"jsonrpc":"2.0","id":1,"method":"dir","params":{"path":"/","path":"/"}}"#;
        match read(line.as_bytes(), Form::Rpc) {
            Ok(Message::Call(request)) => assert_eq!(request.twice.as_deref(), Some("path")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn equal_keys_of_different_objects_pass() {
        let line = r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":{"a":1},"y":{"a":1},"a":[{"a":1},{"a":1}]}}"#;
        assert_eq!(call(line).twice, None);
    }

    #[test]
    fn an_object_with_too_many_keys_is_too_large() {
        let many: String = (0..=MAX_KEYS).map(|n| format!("\"k{n}\":0,")).collect();
        let refusal = refused(&format!(r#"{{"id":1,{many}"jsonrpc":"2.0"}}"#));
        assert_eq!((refusal.code, refusal.reason), (INVALID_REQUEST, ErrorCode::TooLarge));
    }

    #[test]
    fn a_batch_is_refused_whole() {
        let refusal = refused(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#);
        assert_eq!((refusal.code, refusal.id), (INVALID_REQUEST, None));
        assert_eq!(refused("[]").code, INVALID_REQUEST);
        assert_eq!(refused("[").code, PARSE_ERROR);
        assert_eq!(refused("3").code, INVALID_REQUEST);
    }

    #[test]
    fn only_whole_numbers_and_texts_are_ids() {
        for id in
            ["null", "1.0", "1e0", "true", "[1]", "{}", "9223372036854775808", &format!("\"{}\"", "x".repeat(257))]
        {
            let refusal = refused(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#));
            assert_eq!((refusal.code, refusal.id), (INVALID_REQUEST, None), "{id}");
        }
        assert_eq!(call(r#"{"jsonrpc":"2.0","id":-1,"method":"ping"}"#).id, Id::Number(-1));
        assert_eq!(call(r#"{"jsonrpc":"2.0","id":"\u0041","method":"ping"}"#).id, Id::Text("A".into()));
    }

    #[test]
    fn a_message_that_is_no_call_is_refused() {
        for line in
            [r#"{"id":1,"method":"ping"}"#, r#"{"jsonrpc":"2.0","id":1}"#, r#"{"jsonrpc":"2.0","id":1,"method":3}"#]
        {
            assert_eq!(refused(line).id, Some(Id::Number(1)), "{line}");
        }
    }

    #[test]
    fn a_message_without_id_is_a_notice_and_one_with_a_result_an_answer() {
        let notice = read(br#"{"jsonrpc":"2.0","method":"tools/call","params":{}}"#, Form::Mcp);
        assert!(matches!(notice, Ok(Message::Notice(_))));
        let answer = read(br#"{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}"#, Form::Mcp);
        assert!(matches!(answer, Ok(Message::Answer)));
    }

    #[test]
    fn a_deep_message_is_refused_and_does_not_overflow() {
        let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{}"#, "[".repeat(100_000));
        assert_eq!(refused(&line).code, PARSE_ERROR);
    }
}

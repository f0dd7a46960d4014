//! The filter language: `field=value`, `!=`, `~` (holds, whatever the case), `>`, `>=`, `<`, `<=`, joined by `and`.
//!
//! Invariant: what `Display` writes parses to the same filter. A value is compared by the type of the cell; a filter
//! that makes no sense for it is refused, never silently false.

use super::clean;
use super::redact::{names_a_thing, redact};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Cell, Timestamp};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

const MAX_BYTES: usize = 4096;
const MAX_TESTS: usize = 32;
const MAX_NAME: usize = 128;
const DAY_S: i64 = 86_400;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Is,
    IsNot,
    Holds,
    Over,
    AtLeast,
    Under,
    AtMost,
}

impl Op {
    /// Longer spellings first.
    const ALL: [(&str, Op); 7] = [
        ("!=", Op::IsNot),
        (">=", Op::AtLeast),
        ("<=", Op::AtMost),
        ("=", Op::Is),
        ("~", Op::Holds),
        (">", Op::Over),
        ("<", Op::Under),
    ];

    fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, op)| *op == self).map_or("=", |(text, _)| text)
    }

    fn allows(self, order: Ordering) -> bool {
        match self {
            Op::Is | Op::Holds => order.is_eq(),
            Op::IsNot => order.is_ne(),
            Op::Over => order.is_gt(),
            Op::AtLeast => order.is_ge(),
            Op::Under => order.is_lt(),
            Op::AtMost => order.is_le(),
        }
    }
}

/// A value in all the readings that a cell may ask for.
#[derive(Clone, PartialEq, Debug)]
struct Value {
    text: String,
    lower: String,
    number: Option<i128>,
    flag: Option<bool>,
    /// A span of milliseconds: one, or the whole day of a date alone.
    time: Option<(i64, i64)>,
}

impl Value {
    fn new(text: String) -> Self {
        let lower = text.to_lowercase();
        let flag = match lower.as_str() {
            "true" | "yes" => Some(true),
            "false" | "no" => Some(false),
            _ => None,
        };
        let time = Timestamp::parse(&text).map(|t| {
            let is_date = text.len() <= 10;
            let end = if is_date { t.plus_secs(DAY_S).as_millis().saturating_sub(1) } else { t.as_millis() };
            (t.as_millis(), end)
        });
        Value { number: text.parse().ok(), flag, time, lower, text }
    }
}

#[derive(Clone, PartialEq, Debug)]
struct Test {
    /// Where it starts, in characters.
    at: usize,
    name: String,
    op: Op,
    value: Value,
}

/// A parsed filter.
#[derive(Clone, Debug)]
pub struct Filter {
    tests: Vec<Test>,
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        let key = |t: &Test| (t.name.clone(), t.op, t.value.text.clone());
        self.tests.len() == other.tests.len() && self.tests.iter().zip(&other.tests).all(|(a, b)| key(a) == key(b))
    }
}

impl Filter {
    /// `E_BAD_ARGS` says where and what was expected.
    pub fn parse(text: &str) -> Result<Filter> {
        if text.len() > MAX_BYTES {
            let message = format!("filter: {} bytes; at most {MAX_BYTES} are read", text.len());
            return Err(Error::new(ErrorCode::BadArgs, message));
        }
        let mut reader = Reader { text, at: 0 };
        let mut tests = Vec::new();
        loop {
            if tests.len() == MAX_TESTS {
                return Err(reader.error(format!("more than {MAX_TESTS} conditions")));
            }
            tests.push(reader.test()?);
            if !reader.joined()? {
                return Ok(Filter { tests });
            }
        }
    }

    /// The fields it looks at, without what follows a dot.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.tests.iter().map(|t| Place::head(&t.name))
    }

    /// Where each condition looks; `index` finds a field and gets its position in the text, for messages.
    pub(super) fn places(&self, index: impl Fn(&str, usize) -> Result<usize>) -> Result<Vec<Place>> {
        self.tests.iter().map(|t| Place::new(&t.name, |head| index(head, t.at))).collect()
    }

    /// Whether a row passes; `places` are of [`Filter::places`].
    pub(super) fn matches<'a>(&self, places: &[Place], cell: impl Fn(usize) -> Cell<'a>) -> Result<bool> {
        for (test, place) in self.tests.iter().zip(places) {
            let cell = place.reach(cell(place.field))?;
            if !test.passes(&cell)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, test) in self.tests.iter().enumerate() {
            if n > 0 {
                f.write_str(" and ")?;
            }
            write!(f, "{}{}", test.name, test.op.as_str())?;
            let text = &test.value.text;
            let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'/' | b':' | b'-' | b'*' | b'@');
            if !text.is_empty() && text.bytes().all(bare) {
                f.write_str(text)?;
            } else {
                write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))?;
            }
        }
        Ok(())
    }
}

impl Test {
    fn passes(&self, cell: &Cell<'_>) -> Result<bool> {
        match (self.op, cell) {
            (Op::IsNot, cell) => Ok(!self.any(Op::Is, cell)?),
            (op, cell) => self.any(op, cell),
        }
    }

    fn any(&self, op: Op, cell: &Cell<'_>) -> Result<bool> {
        match cell {
            Cell::List(items) => any_of(items.iter(), |item| self.any(op, item)),
            Cell::Object(members) => any_of(members.iter(), |(_, member)| Ok(self.member(op, member))),
            Cell::Empty => Ok(op == Op::Is && self.value.text.is_empty()),
            Cell::Unsigned(n) => self.number(op, i128::from(*n)),
            Cell::Signed(n) => self.number(op, i128::from(*n)),
            Cell::Bool(b) => self.flag(op, *b),
            Cell::Time(t) => self.time(op, *t),
            Cell::Text(text) => Ok(self.text(op, text)),
            Cell::Raw(text) => {
                let text = as_it_leaves(&self.name, text);
                Ok(self.text(op, &text) || matches!(clean(&text), Cow::Owned(c) if self.text(op, &c)))
            }
        }
    }

    /// Of an object as a whole any member may match; those of another type than the value do not.
    fn member(&self, op: Op, cell: &Cell<'_>) -> bool {
        self.any(op, cell).unwrap_or(false)
    }

    fn number(&self, op: Op, n: i128) -> Result<bool> {
        if op == Op::Holds {
            return Ok(n.to_string().contains(&self.value.text));
        }
        match self.value.number {
            Some(wanted) => Ok(op.allows(n.cmp(&wanted))),
            None if self.value.text.is_empty() => Ok(false),
            None => Err(self.mismatch("a whole number")),
        }
    }

    fn flag(&self, op: Op, is: bool) -> Result<bool> {
        if self.value.text.is_empty() {
            return Ok(false);
        }
        match (op, self.value.flag) {
            (Op::Is | Op::IsNot | Op::Holds, Some(wanted)) => Ok(op.allows(is.cmp(&wanted))),
            _ => Err(self.mismatch("true or false, compared by = and !=")),
        }
    }

    fn time(&self, op: Op, t: Timestamp) -> Result<bool> {
        if op == Op::Holds {
            return Ok(t.to_string().to_lowercase().contains(&self.value.lower));
        }
        // To the millisecond, as it is shown: a time that was copied from a row is equal to that row's.
        let ms = t.as_millis();
        match self.value.time {
            Some((from, to)) => Ok(match op {
                Op::Under => ms < from,
                Op::AtLeast => ms >= from,
                Op::Over => ms > to,
                Op::AtMost => ms <= to,
                Op::Is | Op::IsNot | Op::Holds => (from..=to).contains(&ms),
            }),
            None if self.value.text.is_empty() => Ok(false),
            None => Err(self.mismatch("a time: 2026-11-24T03:00:00Z, or a date 2026-11-24")),
        }
    }

    fn text(&self, op: Op, text: &str) -> bool {
        match op {
            Op::Is => text == self.value.text,
            Op::Holds => holds(text, &self.value.lower),
            op => op.allows(natural(text, &self.value.text)),
        }
    }

    fn mismatch(&self, is: &str) -> Error {
        let shown: String = self.value.text.chars().take(60).collect();
        Error::new(
            ErrorCode::BadArgs,
            format!("filter: position {}: {} cannot be compared with {shown:?}", self.at + 1, self.name),
        )
        .hint(format!("{} is {is}", self.name))
    }
}

/// Whether one of them passes. A mismatch counts only where none does.
fn any_of<T>(items: impl Iterator<Item = T>, passes: impl Fn(T) -> Result<bool>) -> Result<bool> {
    let mut refused = Ok(false);
    for item in items {
        match passes(item) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(e) => refused = Err(e),
        }
    }
    refused
}

/// Whether `text` holds `lower`, which is in lower case, in any case.
fn holds(text: &str, lower: &str) -> bool {
    if !text.is_ascii() || !lower.is_ascii() {
        return text.to_lowercase().contains(lower);
    }
    let Some((first, rest)) = lower.as_bytes().split_first() else { return true };
    let mut tail = text.as_bytes();
    while let Some(at) = tail.iter().position(|b| b.to_ascii_lowercase() == *first) {
        tail = tail.get(at + 1..).unwrap_or_default();
        if tail.get(..rest.len()).is_some_and(|t| t.eq_ignore_ascii_case(rest)) {
            return true;
        }
    }
    false
}

/// A text of the device without its secrets, where the field is one that is redacted.
fn as_it_leaves<'a>(name: &str, text: &'a str) -> Cow<'a, str> {
    let member = name.rsplit('.').next().unwrap_or(name);
    if names_a_thing(member) { Cow::Borrowed(text) } else { redact(text) }
}

/// A field, or what a dotted name reaches inside it.
pub(super) struct Place {
    field: usize,
    name: String,
    members: Vec<String>,
}

impl Place {
    /// The field's own name.
    pub(super) fn head(name: &str) -> &str {
        name.split('.').next().unwrap_or(name)
    }

    pub(super) fn new(name: &str, index: impl Fn(&str) -> Result<usize>) -> Result<Place> {
        let mut parts = name.split('.');
        let field = index(parts.next().unwrap_or_default())?;
        Ok(Place { field, name: name.to_owned(), members: parts.map(str::to_owned).collect() })
    }

    pub(super) fn field(&self) -> usize {
        self.field
    }

    fn reach<'a>(&self, cell: Cell<'a>) -> Result<Cell<'a>> {
        self.members.iter().try_fold(cell, |cell, name| self.member(cell, name))
    }

    fn member<'a>(&self, cell: Cell<'a>, name: &str) -> Result<Cell<'a>> {
        match cell {
            Cell::Empty => Ok(Cell::Empty),
            Cell::Object(members) => {
                Ok(members.into_iter().find(|(n, _)| *n == name).map_or(Cell::Empty, |(_, member)| member))
            }
            Cell::List(items) => {
                Ok(Cell::List(items.into_iter().map(|i| self.member(i, name)).collect::<Result<_>>()?))
            }
            _ => Err(Error::new(ErrorCode::BadArgs, format!("there is no field {:?}", self.name))
                .hint(format!("{:?} is a plain value", Place::head(&self.name)))),
        }
    }

    /// What a row is sorted by: the cell with its texts as they leave.
    pub(super) fn key<'a>(&self, cell: Cell<'a>) -> Result<Cell<'a>> {
        Ok(match self.reach(cell)? {
            Cell::Raw(Cow::Borrowed(text)) => Cell::Raw(as_it_leaves(&self.name, text)),
            Cell::Raw(Cow::Owned(text)) => Cell::Raw(Cow::Owned(as_it_leaves(&self.name, &text).into_owned())),
            Cell::List(items) if items.iter().all(|i| matches!(i, Cell::Empty)) => Cell::Empty,
            other => other,
        })
    }
}

/// By type: numbers, times, `false` before `true`, text naturally; lists and objects item by item.
pub(super) fn compare(a: &Cell<'_>, b: &Cell<'_>) -> Ordering {
    match (a, b) {
        (Cell::Bool(a), Cell::Bool(b)) => a.cmp(b),
        (Cell::Time(a), Cell::Time(b)) => a.cmp(b),
        (Cell::Text(a) | Cell::Raw(a), Cell::Text(b) | Cell::Raw(b)) => natural(a, b),
        (Cell::List(a), Cell::List(b)) => each(a.iter(), b.iter()),
        (Cell::Object(a), Cell::Object(b)) => each(a.iter().map(|(_, c)| c), b.iter().map(|(_, c)| c)),
        (a, b) => match (whole(a), whole(b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => rank(a).cmp(&rank(b)),
        },
    }
}

fn each<'c, 'a: 'c>(mut a: impl Iterator<Item = &'c Cell<'a>>, mut b: impl Iterator<Item = &'c Cell<'a>>) -> Ordering {
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) => match compare(x, y) {
                Ordering::Equal => {}
                decided => return decided,
            },
        }
    }
}

fn whole(cell: &Cell<'_>) -> Option<i128> {
    match cell {
        Cell::Unsigned(n) => Some(i128::from(*n)),
        Cell::Signed(n) => Some(i128::from(*n)),
        _ => None,
    }
}

/// An order of types, for cells of one column that differ in type.
fn rank(cell: &Cell<'_>) -> u8 {
    match cell {
        Cell::Bool(_) => 0,
        Cell::Unsigned(_) | Cell::Signed(_) => 1,
        Cell::Time(_) => 2,
        Cell::Text(_) | Cell::Raw(_) => 3,
        Cell::List(_) => 4,
        Cell::Object(_) => 5,
        Cell::Empty => 6,
    }
}

/// Text with its numbers by value: `eth2` before `eth10`. A total order, equal only for equal texts.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut x, mut y) = (a.as_bytes(), b.as_bytes());
    loop {
        match (x.split_first(), y.split_first()) {
            (None, None) => return a.cmp(b),
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some((p, _)), Some((q, _))) if p.is_ascii_digit() && q.is_ascii_digit() => {
                let ((m, m_rest), (n, n_rest)) = (digits(x), digits(y));
                match m.len().cmp(&n.len()).then_with(|| m.cmp(n)) {
                    Ordering::Equal => (x, y) = (m_rest, n_rest),
                    decided => return decided,
                }
            }
            (Some((p, x_rest)), Some((q, y_rest))) => match p.cmp(q) {
                Ordering::Equal => (x, y) = (x_rest, y_rest),
                decided => return decided,
            },
        }
    }
}

/// The digits at the start without leading zeros, and the rest.
fn digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let zeros = bytes.iter().take_while(|b| **b == b'0').count();
    let end = zeros + bytes.iter().skip(zeros).take_while(|b| b.is_ascii_digit()).count();
    (bytes.get(zeros..end).unwrap_or_default(), bytes.get(end..).unwrap_or_default())
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Where it stands, in characters.
    fn position(&self) -> usize {
        self.text.get(..self.at).unwrap_or_default().chars().count()
    }

    fn error(&self, message: impl fmt::Display) -> Error {
        Error::new(ErrorCode::BadArgs, format!("filter: position {}: {message}", self.position() + 1))
            .hint("a filter is field=value, joined by and; also != ~ > >= < <=; quote a value that holds and")
    }

    fn test(&mut self) -> Result<Test> {
        self.skip_space();
        let at = self.position();
        let rest = self.rest();
        let name_len = rest.bytes().take_while(|b| is_name_byte(*b)).count();
        let name = rest.get(..name_len).unwrap_or_default();
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(self.error("a field's name is expected"));
        }
        self.at += name_len;
        self.skip_space();
        let op = self.op(name)?;
        self.skip_space();
        let value = match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
            _ => self.bare()?,
        };
        Ok(Test { at, name: name.to_owned(), op, value: Value::new(value) })
    }

    fn op(&mut self, name: &str) -> Result<Op> {
        let rest = self.rest();
        let Some((spelling, op)) = Op::ALL.iter().find(|(spelling, _)| rest.starts_with(spelling)) else {
            return Err(self.error(format!("= != ~ > >= < or <= is expected after {name:?}")));
        };
        self.at += spelling.len();
        if self.rest().starts_with(['=', '~', '<', '>']) {
            return Err(self.error(format!("{spelling:?} is followed by another sign; quote a value that starts so")));
        }
        Ok(*op)
    }

    /// In double quotes `\"` is a quote and `\\` a backslash; in single quotes everything stands for itself.
    fn quoted(&mut self, quote: char) -> Result<String> {
        let start = self.at;
        let mut out = String::new();
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.at = start + at + 1;
                    return Ok(out);
                }
                '\\' if quote == '"' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                    Some((_, escaped)) => out.push(escaped),
                    None => out.push('\\'),
                },
                c => out.push(c),
            }
        }
        Err(self.error("the quote does not end"))
    }

    /// Up to the next `and`, or the end.
    fn bare(&mut self) -> Result<String> {
        let rest = self.rest();
        let mut end = rest.len();
        for (at, word) in words(rest) {
            let after = rest.get(at + word.len()..).unwrap_or_default();
            // What is meant as an alternative would else be a value that nothing matches.
            if word.eq_ignore_ascii_case("or") && at > 0 && starts_a_test(after) {
                self.at += at;
                return Err(self.error("conditions are joined by and only; ask twice for either, or quote the value"));
            }
            if word.eq_ignore_ascii_case("and") && (at > 0 || starts_a_test(after)) {
                end = at;
                break;
            }
        }
        self.at += end;
        Ok(rest.get(..end).unwrap_or_default().trim_end().to_owned())
    }

    /// Whether an `and` follows; nothing else may.
    fn joined(&mut self) -> Result<bool> {
        self.skip_space();
        let rest = self.rest();
        if rest.is_empty() {
            return Ok(false);
        }
        match words(rest).next() {
            Some((_, word)) if word.eq_ignore_ascii_case("and") => {
                self.at += word.len();
                Ok(true)
            }
            _ => Err(self.error("and is expected after a quoted value")),
        }
    }
}

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.')
}

fn starts_a_test(text: &str) -> bool {
    let text = text.trim_start();
    let name = text.bytes().take_while(|b| is_name_byte(*b)).count();
    name > 0 && text.get(name..).unwrap_or_default().trim_start().starts_with(['=', '!', '~', '<', '>'])
}

/// Words with their places.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split(char::is_whitespace).filter_map(move |word| {
        let start = at;
        at += word.len() + text.get(at + word.len()..)?.chars().next().map_or(0, char::len_utf8);
        (!word.is_empty()).then_some((start, word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DevicePath, Job};
    use crate::shape::Untrusted;
    use crate::shape::{Rows, Wanted, select};
    use proptest::prelude::*;

    crate::model::row! {
        pub struct Sample {
            pub pid: u32,
            pub name: Untrusted,
            pub path: DevicePath,
            pub started: Option<Timestamp>,
            pub deleted: Option<bool>,
            pub tags: Vec<String>,
            pub attributes: Option<crate::model::Attributes>,
        }
    }

    fn rows() -> Vec<Sample> {
        let row = |pid, name: &str, started: &str, deleted, tags: &[&str], owner: &str| Sample {
            pid,
            name: Untrusted::new(name),
            path: DevicePath::new(format!("/bin/{pid}")),
            started: Timestamp::parse(started),
            deleted,
            tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            attributes: Some(crate::model::Attributes {
                mode: "-rw-r--r--".into(),
                owner: Some(Untrusted::new(owner)),
                group: None,
                hidden: pid == 1,
                immutable: false,
                append_only: false,
            }),
        };
        vec![
            row(1, "init", "2026-11-24T03:00:00.1239Z", Some(false), &["a", "b"], "root"),
            row(20, "\u{202e}evil", "2026-11-24T05:00:00Z", Some(true), &[], "mallory"),
            row(3, "Search and Rescue", "", None, &["b"], "root"),
        ]
    }

    fn pids(filter: &str) -> std::result::Result<Vec<u64>, String> {
        let rows = rows();
        let wanted = Wanted { filter: Some(filter.into()), ..Wanted::default() };
        let selection = select(&rows, &wanted, &Job::default()).map_err(|e| e.to_string())?;
        Ok(selection.order.iter().map(|r| u64::from(rows[*r as usize].pid)).collect())
    }

    #[test]
    fn compares_by_the_type_of_the_cell() {
        for (filter, expected) in [
            ("pid=1", vec![1]),
            ("pid > 2", vec![20, 3]),
            ("pid>=3 AND pid<=3", vec![3]),
            ("pid~0", vec![20]),
            ("name~SEARCH", vec![3]),
            ("name='Search and Rescue'", vec![3]),
            ("name!=init", vec![20, 3]),
            ("started=2026-11-24T03:00:00.123Z", vec![1]),
            ("started=2026-11-24", vec![1, 20]),
            ("started>2026-11-24T03:00:00.123Z", vec![20]),
            ("started>2026-11-24", vec![]),
            ("started=", vec![3]),
            ("deleted=true", vec![20]),
            ("deleted!=true", vec![1, 3]),
            ("deleted=''", vec![3]),
            ("tags=b", vec![1, 3]),
            ("tags!=b", vec![20]),
            ("attributes.owner=root and attributes.hidden=true", vec![1]),
            ("attributes~mallory", vec![20]),
            ("attributes.nothing=x", vec![]),
            ("path=/bin/20", vec![20]),
            ("name>=a", vec![1, 20]),
        ] {
            assert_eq!(pids(filter), Ok(expected), "{filter}");
        }
    }

    #[test]
    fn text_is_found_as_it_is_and_as_it_is_shown() {
        assert_eq!(pids("name~\u{202e}"), Ok(vec![20]));
        assert_eq!(pids(r"name~\u{202e}"), Ok(vec![20]));
    }

    #[test]
    fn a_filter_does_not_find_out_a_secret() {
        let secret: Vec<crate::model::Process> = Vec::new();
        assert!(Rows::is_empty(&secret));
        let test = |filter: &str| {
            let filter = Filter::parse(filter).unwrap();
            let places = filter.places(|_, _| Ok(0)).unwrap();
            filter.matches(&places, |_| Cell::Raw("mysqldump --password=hunter2 db".into())).unwrap()
        };
        assert!(!test("command_line~hunter"));
        assert!(!test("command_line~password=h"));
        assert!(test("command_line~password=[redacted:"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        for (filter, part) in [
            ("", "position 1: a field's name"),
            ("pid", "is expected after \"pid\""),
            ("pid==1", "another sign"),
            ("pdi=1", "there is no field \"pdi\""),
            ("pid=1 and nmae=x", "position 11: there is no field \"nmae\""),
            ("pid=1 or pid=2", "joined by and only"),
            ("pid='1", "quote does not end"),
            ("name='a' x", "and is expected"),
            ("name='a' and", "a field's name"),
            ("pid=one", "is a whole number"),
            ("started>soon", "is a time"),
            ("deleted>true", "is true or false"),
            ("pid.x=1", "no field \"pid.x\""),
        ] {
            let e = pids(filter).expect_err(filter);
            assert!(e.starts_with("E_BAD_ARGS: ") && e.contains(part), "{filter}: {e}");
        }
        assert!(pids("nmae=x").unwrap_err().contains("did you mean \"name\"?"));
        assert!(pids(&"a=1 and ".repeat(40)).is_err());
        assert!(pids(&format!("name={}", "x".repeat(5000))).is_err());
    }

    #[test]
    fn numbers_in_text_count_by_value() {
        let mut names = vec!["eth10", "eth2", "eth02", "eth", "a"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["a", "eth", "eth02", "eth2", "eth10"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r#"[a-c=!~<>'"\\ and.é]{0,40}"#) {
            let _ = Filter::parse(&text);
        }

        #[test]
        fn what_was_printed_reads_the_same(text in r#"[a-b.]{1,3}(=|!=|~|>|>=|<|<=)[a-c'" \\&é]{0,10}( and c=.{0,8})?"#) {
            if let Ok(filter) = Filter::parse(&text) {
                let printed = filter.to_string();
                let again = Filter::parse(&printed).map_err(|e| TestCaseError::fail(format!("{printed}: {e}")))?;
                prop_assert_eq!(again, filter, "{}", printed);
            }
        }

        #[test]
        fn natural_is_an_order(a in "[a0-2]{0,5}", b in "[a0-2]{0,5}", c in "[a0-2]{0,5}") {
            prop_assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            prop_assert_eq!(natural(&a, &b).is_eq(), a == b);
            if natural(&a, &b).is_le() && natural(&b, &c).is_le() {
                prop_assert!(natural(&a, &c).is_le());
            }
        }
    }
}

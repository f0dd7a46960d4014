//! The part of OData that the collections understand: `$filter`, `$top`, `$skip`, `$orderby`.

use crate::answer::Refusal;
use serde_json::Value;
use std::cmp::Ordering;

/// A filter over a row.
#[derive(Debug, PartialEq)]
pub enum Filter {
    Or(Vec<Filter>),
    And(Vec<Filter>),
    Not(Box<Filter>),
    Compare(String, Op, Value),
    In(String, Vec<Value>),
    Text(TextTest, String, String),
    /// `field/any(x: …)`: the test is over the element, named by an empty field.
    Any(String, Box<Filter>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

/// What a query asks of a collection.
pub struct Asked {
    pub filter: Option<Filter>,
    pub top: usize,
    pub skip: usize,
    /// A field, and whether it falls.
    pub order: Option<(String, bool)>,
}

const TOP_MAX: usize = 10_000;
const DEPTH_MAX: usize = 40;

/// `fields` are the properties that a filter may name.
pub fn asked(query: Option<&str>, fields: &[&str]) -> Result<Asked, Refusal> {
    let mut asked = Asked { filter: None, top: TOP_MAX, skip: 0, order: None };
    let number = |name: &str, text: &str| {
        text.parse::<usize>().map_err(|_| invalid(&format!("Invalid value '{text}' for {name} query option found.")))
    };
    for (key, value) in crate::endpoint::query_pairs(query) {
        match key.as_str() {
            "$filter" => asked.filter = Some(Parser::new(&value, fields)?.whole()?),
            "$top" => {
                asked.top = number("$top", &value)?;
                if asked.top > TOP_MAX {
                    return Err(invalid(&format!(
                        "The limit of '{TOP_MAX}' for Top query has been exceeded. The value from the incoming request is '{value}'."
                    )));
                }
            }
            "$skip" => asked.skip = number("$skip", &value)?,
            "$orderby" => {
                let mut words = value.split_whitespace();
                let field = words.next().unwrap_or_default().to_owned();
                asked.order = Some((field, words.next() == Some("desc")));
            }
            _ => {}
        }
    }
    Ok(asked)
}

fn invalid(why: &str) -> Refusal {
    Refusal::bad("ODataError", format!("The query specified in the URI is not valid. {why}"))
}

#[derive(Debug, Clone, PartialEq)]
enum Word {
    Name(String),
    Literal(Value),
    Open,
    Close,
    Comma,
    Colon,
}

struct Parser<'a> {
    words: Vec<Word>,
    at: usize,
    fields: &'a [&'a str],
    /// The variables of `any` that are in reach.
    variable: Option<String>,
}

impl<'a> Parser<'a> {
    fn new(text: &str, fields: &'a [&'a str]) -> Result<Parser<'a>, Refusal> {
        Ok(Parser { words: words(text)?, at: 0, fields, variable: None })
    }

    fn whole(mut self) -> Result<Filter, Refusal> {
        let filter = self.or(0)?;
        match self.words.get(self.at) {
            None => Ok(filter),
            Some(word) => Err(invalid(&format!("Syntax error at {word:?}."))),
        }
    }

    fn next(&mut self) -> Option<Word> {
        self.at += 1;
        self.words.get(self.at - 1).cloned()
    }

    fn is(&self, name: &str) -> bool {
        matches!(self.words.get(self.at), Some(Word::Name(n)) if n == name)
    }

    fn expect(&mut self, word: &Word) -> Result<(), Refusal> {
        match self.next() {
            Some(found) if found == *word => Ok(()),
            found => Err(invalid(&format!("Syntax error: {word:?} expected, {found:?} found."))),
        }
    }

    fn or(&mut self, depth: usize) -> Result<Filter, Refusal> {
        let mut all = vec![self.and(depth)?];
        while self.is("or") {
            self.at += 1;
            all.push(self.and(depth)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Filter::Or(all) })
    }

    fn and(&mut self, depth: usize) -> Result<Filter, Refusal> {
        let mut all = vec![self.one(depth)?];
        while self.is("and") {
            self.at += 1;
            all.push(self.one(depth)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Filter::And(all) })
    }

    fn one(&mut self, depth: usize) -> Result<Filter, Refusal> {
        if depth > DEPTH_MAX {
            return Err(invalid("The node count limit has been exceeded."));
        }
        match self.next() {
            Some(Word::Open) => {
                let inside = self.or(depth + 1)?;
                self.expect(&Word::Close)?;
                Ok(inside)
            }
            Some(Word::Name(name)) if name == "not" => Ok(Filter::Not(Box::new(self.one(depth + 1)?))),
            Some(Word::Name(name)) => match name.as_str() {
                "startswith" => self.text(TextTest::StartsWith),
                "endswith" => self.text(TextTest::EndsWith),
                "contains" => self.text(TextTest::Contains),
                _ => match name.strip_suffix("/any") {
                    Some(field) => self.any(field, depth),
                    None => self.compared(&name),
                },
            },
            word => Err(invalid(&format!("Syntax error at {word:?}."))),
        }
    }

    fn text(&mut self, test: TextTest) -> Result<Filter, Refusal> {
        self.expect(&Word::Open)?;
        let field = match self.next() {
            Some(Word::Name(name)) => self.field(&name)?,
            word => return Err(invalid(&format!("A property expected, {word:?} found."))),
        };
        self.expect(&Word::Comma)?;
        let Some(Word::Literal(Value::String(part))) = self.next() else {
            return Err(invalid("A string expected."));
        };
        self.expect(&Word::Close)?;
        Ok(Filter::Text(test, field, part))
    }

    fn any(&mut self, field: &str, depth: usize) -> Result<Filter, Refusal> {
        let field = self.field(field)?;
        self.expect(&Word::Open)?;
        let Some(Word::Name(variable)) = self.next() else { return Err(invalid("A range variable expected.")) };
        self.expect(&Word::Colon)?;
        let outer = self.variable.replace(variable);
        let inside = self.or(depth + 1)?;
        self.variable = outer;
        self.expect(&Word::Close)?;
        Ok(Filter::Any(field, Box::new(inside)))
    }

    fn compared(&mut self, name: &str) -> Result<Filter, Refusal> {
        let field = self.field(name)?;
        let Some(Word::Name(op)) = self.next() else { return Err(invalid("An operator expected.")) };
        let op = match op.as_str() {
            "eq" => Op::Eq,
            "ne" => Op::Ne,
            "gt" => Op::Gt,
            "ge" => Op::Ge,
            "lt" => Op::Lt,
            "le" => Op::Le,
            "in" => return Ok(Filter::In(field, self.list()?)),
            other => return Err(invalid(&format!("Syntax error at '{other}'."))),
        };
        match self.next() {
            Some(Word::Literal(value)) => Ok(Filter::Compare(field, op, value)),
            word => Err(invalid(&format!("A value expected, {word:?} found."))),
        }
    }

    fn list(&mut self) -> Result<Vec<Value>, Refusal> {
        self.expect(&Word::Open)?;
        let mut values = Vec::new();
        loop {
            match self.next() {
                Some(Word::Literal(value)) => values.push(value),
                word => return Err(invalid(&format!("A value expected, {word:?} found."))),
            }
            match self.next() {
                Some(Word::Comma) => {}
                Some(Word::Close) => return Ok(values),
                word => return Err(invalid(&format!("Syntax error at {word:?}."))),
            }
        }
    }

    /// As the row spells it.
    fn field(&self, name: &str) -> Result<String, Refusal> {
        if self.variable.as_deref() == Some(name) {
            return Ok(String::new());
        }
        let known = self.fields.iter().find(|f| f.eq_ignore_ascii_case(name));
        known.map(|f| (*f).to_owned()).ok_or_else(|| invalid(&format!("Could not find a property named '{name}'.")))
    }
}

fn words(text: &str) -> Result<Vec<Word>, Refusal> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, length) = match first {
            '(' => (Word::Open, 1),
            ')' => (Word::Close, 1),
            ',' => (Word::Comma, 1),
            ':' => (Word::Colon, 1),
            '\'' => quoted(rest)?,
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || "(),'".contains(c)).unwrap_or(rest.len());
                let bare = &rest[..end];
                // A range variable ends at its colon, a time does not.
                let end = match bare.find(':') {
                    Some(colon) if !bare.starts_with(|c: char| c.is_ascii_digit()) => colon,
                    _ => end,
                };
                (bare_word(&rest[..end]), end)
            }
        };
        out.push(word);
        rest = rest[length..].trim_start();
    }
    Ok(out)
}

/// `'it''s'`.
fn quoted(text: &str) -> Result<(Word, usize), Refusal> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != '\'' {
            value.push(c);
        } else if chars.next_if(|(_, next)| *next == '\'').is_some() {
            value.push('\'');
        } else {
            return Ok((Word::Literal(value.into()), at + 1));
        }
    }
    Err(invalid("There is an unterminated string literal."))
}

fn bare_word(text: &str) -> Word {
    let guid = text.len() == 36 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    match text {
        "true" => Word::Literal(true.into()),
        "false" => Word::Literal(false.into()),
        "null" => Word::Literal(Value::Null),
        _ if guid => Word::Literal(text.into()),
        _ => match text.parse::<i64>() {
            Ok(number) => Word::Literal(number.into()),
            Err(_) if text.starts_with(|c: char| c.is_ascii_digit()) => Word::Literal(text.into()),
            Err(_) => Word::Name(text.into()),
        },
    }
}

impl Filter {
    pub fn holds(&self, row: &Value) -> bool {
        match self {
            Filter::Or(all) => all.iter().any(|f| f.holds(row)),
            Filter::And(all) => all.iter().all(|f| f.holds(row)),
            Filter::Not(inside) => !inside.holds(row),
            Filter::In(field, values) => values.iter().any(|v| compared(of(row, field), v) == Some(Ordering::Equal)),
            Filter::Any(field, inside) => of(row, field).as_array().is_some_and(|a| a.iter().any(|v| inside.holds(v))),
            Filter::Text(test, field, part) => of(row, field).as_str().is_some_and(|text| match test {
                TextTest::StartsWith => text.starts_with(part),
                TextTest::EndsWith => text.ends_with(part),
                TextTest::Contains => text.contains(part),
            }),
            Filter::Compare(field, op, value) => {
                let order = compared(of(row, field), value);
                match op {
                    Op::Eq => order == Some(Ordering::Equal),
                    Op::Ne => order != Some(Ordering::Equal),
                    Op::Gt => order == Some(Ordering::Greater),
                    Op::Ge => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
                    Op::Lt => order == Some(Ordering::Less),
                    Op::Le => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                }
            }
        }
    }
}

fn of<'a>(row: &'a Value, field: &str) -> &'a Value {
    if field.is_empty() { row } else { &row[field] }
}

/// Text that is a time on both sides compares as one: their fractions have any number of digits.
pub fn compared(found: &Value, asked: &Value) -> Option<Ordering> {
    match (found, asked) {
        (Value::String(a), Value::String(b)) => match (time(a), time(b)) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => Some(a.cmp(b)),
        },
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        // A list equals what it holds.
        (Value::Array(all), Value::String(_)) => all.contains(asked).then_some(Ordering::Equal),
        _ => None,
    }
}

fn time(text: &str) -> Option<jiff::Timestamp> {
    let bytes = text.as_bytes();
    (bytes.len() >= 20 && bytes[4] == b'-' && bytes[10] == b'T').then(|| text.parse().ok())?
}

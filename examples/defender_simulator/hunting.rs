//! Advanced hunting: the part of KQL that a look for a hash, a name or an address needs, over seeded tables.
//!
//! `Table | where A == "x" and B has "y" | where T > ago(7d) | project A, B | sort by T desc | take 10 | count`.

use crate::answer::{Answer, Refusal, json_with};
use crate::devices::Device;
use crate::machines::text;
use crate::odata::compared;
use crate::seed::Seed;
use crate::service::Simulator;
use crate::times;
use crate::windows;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use std::cmp::Ordering;

type Columns = &'static [(&'static str, &'static str)];
const TABLES: &[(&str, Columns)] = &[
    (
        "DeviceProcessEvents",
        &[
            ("Timestamp", "DateTime"),
            ("DeviceId", "String"),
            ("DeviceName", "String"),
            ("ActionType", "String"),
            ("FileName", "String"),
            ("FolderPath", "String"),
            ("SHA1", "String"),
            ("SHA256", "String"),
            ("ProcessId", "Int64"),
            ("ProcessCommandLine", "String"),
            ("AccountName", "String"),
            ("InitiatingProcessFileName", "String"),
            ("ReportId", "Int64"),
        ],
    ),
    (
        "DeviceFileEvents",
        &[
            ("Timestamp", "DateTime"),
            ("DeviceId", "String"),
            ("DeviceName", "String"),
            ("ActionType", "String"),
            ("FileName", "String"),
            ("FolderPath", "String"),
            ("SHA1", "String"),
            ("SHA256", "String"),
            ("FileSize", "Int64"),
            ("ReportId", "Int64"),
        ],
    ),
    (
        "DeviceNetworkEvents",
        &[
            ("Timestamp", "DateTime"),
            ("DeviceId", "String"),
            ("DeviceName", "String"),
            ("ActionType", "String"),
            ("RemoteIP", "String"),
            ("RemotePort", "Int64"),
            ("RemoteUrl", "String"),
            ("LocalIP", "String"),
            ("LocalPort", "Int64"),
            ("Protocol", "String"),
            ("InitiatingProcessFileName", "String"),
            ("ReportId", "Int64"),
        ],
    ),
];
const ROWS_MAX: usize = 100_000;
/// Events of one device in a table.
const EVENTS: u64 = 6;

pub fn run(sim: &Simulator, body: &Value) -> Answer {
    let query = text(body, "Query")?;
    let mut stages = stages(&query)?.into_iter();
    let table = stages.next().unwrap_or_default();
    let name = match table.as_slice() {
        [Token::Word(name)] => name.clone(),
        _ => return Err(bad("Query could not be parsed at its beginning")),
    };
    let Some((_, columns)) = TABLES.iter().find(|(known, _)| *known == name) else {
        return Err(bad(&format!("'where' operator: Failed to resolve table or column expression named '{name}'")));
    };
    let mut columns: Vec<(String, &'static str)> = columns.iter().map(|(n, t)| ((*n).to_owned(), *t)).collect();
    let mut rows: Vec<Value> = {
        let tenant = sim.tenant();
        tenant.devices.iter().flat_map(|d| events(&name, d, sim.options.seed)).collect()
    };
    for stage in stages {
        apply(&stage, &mut columns, &mut rows)?;
    }
    rows.truncate(ROWS_MAX);
    let kept = |row: &Value| -> Value {
        let fields: Map<String, Value> = columns.iter().map(|(n, _)| (n.clone(), row[n].clone())).collect();
        Value::Object(fields)
    };
    let schema: Vec<Value> = columns.iter().map(|(n, t)| json!({ "Name": n, "Type": t })).collect();
    let results: Vec<Value> = rows.iter().map(kept).collect();
    Ok(json_with(200, &json!({ "Stats": { "ExecutionTime": 0.05 }, "Schema": schema, "Results": results })))
}

fn bad(why: &str) -> Refusal {
    Refusal::bad("BadRequest", format!("{why}. Fix semantic errors in your query."))
}

fn events(table: &str, device: &Device, seed: u64) -> Vec<Value> {
    let mut seed = Seed::new(seed, &format!("{table}{}", device.id()));
    let base = |n: u64, seed: &mut Seed| {
        json!({
            "Timestamp": times::written(times::ago(seed.below(86_400 * 29))),
            "DeviceId": device.id(),
            "DeviceName": device.name().to_lowercase(),
            "ReportId": n + 1,
        })
    };
    let images = windows::images();
    (0..EVENTS)
        .filter_map(|n| {
            let mut row = base(n, &mut seed);
            let image = seed.pick(images);
            let more = match table {
                "DeviceNetworkEvents" => json!({
                    "ActionType": "ConnectionSuccess",
                    "RemoteIP": seed.pick(&["198.51.100.23", "203.0.113.80", "192.0.2.44"]),
                    "RemotePort": seed.pick(&[443, 80, 4444]),
                    "RemoteUrl": seed.pick(&["updates.example", "cdn.example", "c2.bad.example"]),
                    "LocalIP": device.field("lastIpAddress"),
                    "LocalPort": 49_152 + seed.below(10_000),
                    "Protocol": "Tcp",
                    "InitiatingProcessFileName": image.name(),
                }),
                _ => json!({
                    "ActionType": if table == "DeviceFileEvents" { "FileCreated" } else { "ProcessCreated" },
                    "FileName": image.name(),
                    "FolderPath": image.path,
                    "SHA1": image.sha1,
                    "SHA256": image.sha256,
                    "FileSize": image.size,
                    "ProcessId": seed.below(30_000) * 4,
                    "ProcessCommandLine": format!("\"{}\"", image.path),
                    "AccountName": seed.pick(&["system", "m.keller", "j.okafor"]),
                    "InitiatingProcessFileName": "services.exe",
                }),
            };
            row.as_object_mut()?.extend(more.as_object()?.clone());
            Some(row)
        })
        .collect()
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(String),
}

/// The query's stages, split at `|` outside of strings.
fn stages(query: &str) -> Result<Vec<Vec<Token>>, Refusal> {
    let mut stages = vec![Vec::new()];
    let chars: Vec<char> = query.chars().collect();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied();
        let stage = stages.last_mut().ok_or_else(|| bad("Query is empty"))?;
        match c {
            '|' => stages.push(Vec::new()),
            '/' if next == Some('/') => at += chars[at..].iter().take_while(|c| **c != '\n').count(),
            '@' if matches!(next, Some('"' | '\'')) => {
                let (text, length) = string(&chars[at + 1..], true)?;
                stage.push(Token::Text(text));
                at += length;
            }
            '"' | '\'' => {
                let (text, length) = string(&chars[at..], false)?;
                stage.push(Token::Text(text));
                at += length - 1;
            }
            _ if c.is_alphanumeric() || c == '_' => {
                let word: String =
                    chars[at..].iter().take_while(|c| c.is_alphanumeric() || "_.-".contains(**c)).collect();
                at += word.chars().count() - 1;
                // `in~` is one word.
                let tilde = chars.get(at + 1) == Some(&'~');
                at += usize::from(tilde);
                stage.push(Token::Word(if tilde { format!("{word}~") } else { word }));
            }
            '(' | ')' | ',' => stage.push(Token::Sign(c.into())),
            _ if "=!<>~".contains(c) => {
                let sign: String = chars[at..].iter().take_while(|c| "=!<>~".contains(**c)).collect();
                at += sign.len() - 1;
                stage.push(Token::Sign(sign));
            }
            _ if c.is_whitespace() || c == ';' => {}
            other => return Err(bad(&format!("Query could not be parsed at '{other}'"))),
        }
        at += 1;
    }
    Ok(stages)
}

/// A string literal and how many characters it takes, quotes included.
fn string(chars: &[char], verbatim: bool) -> Result<(String, usize), Refusal> {
    let quote = chars.first().copied().unwrap_or('"');
    let (mut text, mut at) = (String::new(), 1);
    loop {
        match chars.get(at) {
            None => return Err(bad("Query could not be parsed: a string has no end")),
            Some('\\') if !verbatim => {
                let escaped = chars.get(at + 1).copied().unwrap_or('\\');
                text.push(match escaped {
                    'n' => '\n',
                    't' => '\t',
                    other => other,
                });
                at += 2;
            }
            Some(c) if *c == quote && verbatim && chars.get(at + 1) == Some(&quote) => {
                text.push(quote);
                at += 2;
            }
            Some(c) if *c == quote => return Ok((text, at + 1)),
            Some(c) => {
                text.push(*c);
                at += 1;
            }
        }
    }
}

fn apply(stage: &[Token], columns: &mut Vec<(String, &'static str)>, rows: &mut Vec<Value>) -> Result<(), Refusal> {
    let Some((Token::Word(operator), rest)) = stage.split_first() else {
        return Err(bad("Query could not be parsed: an operator expected after '|'"));
    };
    match operator.as_str() {
        "where" => {
            let mut condition = Condition { tokens: rest, at: 0, columns };
            let test = condition.any()?;
            if condition.at < rest.len() {
                return Err(bad(&format!("Query could not be parsed at {:?}", rest[condition.at])));
            }
            rows.retain(|row| test.holds(row));
        }
        "take" | "limit" => {
            let [Token::Word(count)] = rest else { return Err(bad("'take' operator: a number expected")) };
            rows.truncate(count.parse().map_err(|_| bad("'take' operator: a number expected"))?);
        }
        "count" => {
            *columns = vec![("Count".into(), "Int64")];
            *rows = vec![json!({ "Count": rows.len() })];
        }
        "project" => {
            let names = rest.iter().filter(|t| **t != Token::Sign(",".into()));
            let kept: Result<Vec<_>, _> = names.map(|t| column(t, columns)).collect();
            *columns = kept?;
        }
        "sort" | "order" => {
            let (by, rest) = rest.split_first().ok_or_else(|| bad("'sort' operator: 'by' expected"))?;
            let (Token::Word(by), Some(name)) = (by, rest.first()) else {
                return Err(bad("'sort' operator: 'by' expected"));
            };
            if by != "by" {
                return Err(bad("'sort' operator: 'by' expected"));
            }
            let (field, _) = column(name, columns)?;
            let rises = matches!(rest.get(1), Some(Token::Word(w)) if w == "asc");
            rows.sort_by(|a, b| {
                let order = compared(&a[&field], &b[&field]).unwrap_or(Ordering::Equal);
                if rises { order } else { order.reverse() }
            });
        }
        other => return Err(bad(&format!("Query operator '{other}' could not be resolved"))),
    }
    Ok(())
}

fn column<'a>(token: &Token, columns: &[(String, &'a str)]) -> Result<(String, &'a str), Refusal> {
    let Token::Word(name) = token else { return Err(bad(&format!("A column expected, {token:?} found"))) };
    let found = columns.iter().find(|(known, _)| known == name).cloned();
    found.ok_or_else(|| bad(&format!("Failed to resolve column or scalar expression named '{name}'")))
}

enum Test {
    Any(Vec<Test>),
    All(Vec<Test>),
    One(String, String, Vec<Value>),
}

impl Test {
    fn holds(&self, row: &Value) -> bool {
        match self {
            Test::Any(tests) => tests.iter().any(|t| t.holds(row)),
            Test::All(tests) => tests.iter().all(|t| t.holds(row)),
            Test::One(field, operator, values) => values.iter().any(|value| one(&row[field], operator, value)),
        }
    }
}

fn one(found: &Value, operator: &str, asked: &Value) -> bool {
    let lower = |v: &Value| v.as_str().unwrap_or_default().to_lowercase();
    let order = compared(found, asked);
    match operator {
        "==" | "in" => order == Some(Ordering::Equal),
        "!=" => order != Some(Ordering::Equal),
        "=~" | "in~" => lower(found) == lower(asked),
        "!~" => lower(found) != lower(asked),
        ">" => order == Some(Ordering::Greater),
        "<" => order == Some(Ordering::Less),
        ">=" => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        "<=" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        "startswith" => lower(found).starts_with(&lower(asked)),
        "endswith" => lower(found).ends_with(&lower(asked)),
        "contains" => lower(found).contains(&lower(asked)),
        // A whole term: what stands beside it is no letter and no digit.
        _ => {
            let (text, term) = (lower(found), lower(asked));
            let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
            text.match_indices(&term)
                .any(|(at, _)| edge(text[..at].chars().next_back()) && edge(text[at + term.len()..].chars().next()))
        }
    }
}

struct Condition<'a> {
    tokens: &'a [Token],
    at: usize,
    columns: &'a [(String, &'static str)],
}

impl Condition<'_> {
    fn next(&mut self) -> Option<Token> {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned()
    }

    fn took(&mut self, token: &Token) -> bool {
        let there = self.tokens.get(self.at) == Some(token);
        self.at += usize::from(there);
        there
    }

    fn any(&mut self) -> Result<Test, Refusal> {
        let mut tests = vec![self.all()?];
        while self.took(&Token::Word("or".into())) {
            tests.push(self.all()?);
        }
        Ok(Test::Any(tests))
    }

    fn all(&mut self) -> Result<Test, Refusal> {
        let mut tests = vec![self.one()?];
        while self.took(&Token::Word("and".into())) {
            tests.push(self.one()?);
        }
        Ok(Test::All(tests))
    }

    fn one(&mut self) -> Result<Test, Refusal> {
        if self.took(&Token::Sign("(".into())) {
            let inside = self.any()?;
            return if self.took(&Token::Sign(")".into())) { Ok(inside) } else { Err(bad("')' expected")) };
        }
        let name = self.next().ok_or_else(|| bad("'where' operator: a condition expected"))?;
        let (field, _) = column(&name, self.columns)?;
        let operator = match self.next() {
            Some(Token::Sign(sign)) if ["==", "!=", "=~", "!~", ">", "<", ">=", "<="].contains(&sign.as_str()) => sign,
            Some(Token::Word(word))
                if ["in", "in~", "has", "contains", "startswith", "endswith"].contains(&word.as_str()) =>
            {
                word
            }
            other => return Err(bad(&format!("'where' operator: an operator expected, {other:?} found"))),
        };
        let values = if operator.starts_with("in") { self.list()? } else { vec![self.value()?] };
        Ok(Test::One(field, operator, values))
    }

    fn list(&mut self) -> Result<Vec<Value>, Refusal> {
        if !self.took(&Token::Sign("(".into())) {
            return Err(bad("'(' expected after 'in'"));
        }
        let mut values = vec![self.value()?];
        while self.took(&Token::Sign(",".into())) {
            values.push(self.value()?);
        }
        if self.took(&Token::Sign(")".into())) { Ok(values) } else { Err(bad("')' expected")) }
    }

    fn value(&mut self) -> Result<Value, Refusal> {
        match self.next() {
            Some(Token::Text(text)) => Ok(text.into()),
            Some(Token::Word(word)) if word == "ago" || word == "datetime" => {
                let open = self.took(&Token::Sign("(".into()));
                let inside = self.next();
                let close = self.took(&Token::Sign(")".into()));
                match inside {
                    Some(Token::Word(span)) if open && close && word == "ago" => ago(&span),
                    Some(Token::Word(time) | Token::Text(time)) if open && close => Ok(time.into()),
                    _ => Err(bad(&format!("{word}() expected"))),
                }
            }
            Some(Token::Word(word)) => match word.as_str() {
                "true" => Ok(true.into()),
                "false" => Ok(false.into()),
                number => number
                    .parse::<i64>()
                    .map(Value::from)
                    .map_err(|_| bad(&format!("Failed to resolve column or scalar expression named '{number}'"))),
            },
            other => Err(bad(&format!("a value expected, {other:?} found"))),
        }
    }
}

/// `7d`, `12h`, `30m`, `10s`.
fn ago(span: &str) -> Result<Value, Refusal> {
    let wrong = || bad(&format!("ago(): '{span}' is no time span"));
    let unit = span.chars().next_back().ok_or_else(wrong)?;
    let number: i64 = span[..span.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let seconds = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return Err(wrong()),
    };
    let back = number.checked_mul(seconds).filter(|s| (0..=86_400 * 3650).contains(s)).ok_or_else(wrong)?;
    Ok(times::written(Timestamp::now() - SignedDuration::from_secs(back)).into())
}

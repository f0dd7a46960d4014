//! A line of the Live Response console: taken apart into a tool call, and put together again for the transcript.
//!
//! Invariant: one line is one call. `;`, `&&`, `|`, `$()` and back-ticks are text; nothing is guessed: what could be
//! read in two ways is refused. `parse(render(x))` is `x`.

use crate::error::{Error, ErrorCode, Result};
use crate::nearest::nearest;
use serde_json::Value;

/// No line that a person types comes near this.
const MAX_LINE: usize = 64 * 1024;

/// What a value of a parameter is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Text,
    Integer,
    /// A flag, named without a value; `-name:false` takes it back.
    Boolean,
    /// All the values that follow, up to the next option; the option may be repeated.
    TextList,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parameter {
    pub name: String,
    pub kind: Kind,
}

/// What the grammar has to know of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsoleSpec {
    pub name: &'static str,
    /// Parameters that values without a name fill, in this order.
    pub positional: &'static [&'static str],
    pub parameters: Vec<Parameter>,
    /// Flags that may stand first without a hyphen: `remediate list`.
    pub flags: &'static [&'static str],
}

/// How a listing is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    Json,
    Table,
}

/// A line, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The canonical name.
    pub command: String,
    /// A JSON object, its members in the order of the command's parameters.
    pub args: String,
    /// It ended with `&`.
    pub background: bool,
    /// The file after `>`, for the console to write.
    pub redirect: Option<String>,
    pub output: Option<Output>,
}

/// Reads one line. `lookup` finds a command by its name or alias in lower case; `known` are the names to suggest.
///
/// `E_UNKNOWN_COMMAND`, `E_AMBIGUOUS_ARGS` for a parameter that is given twice, `E_BAD_ARGS` for the rest.
pub fn parse(line: &str, lookup: &dyn Fn(&str) -> Option<ConsoleSpec>, known: &[&str]) -> Result<Line> {
    if line.len() > MAX_LINE {
        return Err(Error::new(ErrorCode::TooLarge, format!("a line of {} bytes; at most {MAX_LINE}", line.len())));
    }
    let mut words = words(line)?;
    let background = words.last().is_some_and(|w| w.is_bare("&"));
    if background {
        words.pop();
    }
    let redirect = redirect(&mut words)?;
    let mut words = words.into_iter();
    let Some(first) = words.next() else {
        return Err(bad("the line names no command").hint("help lists the commands"));
    };
    let spec = lookup(&first.text.to_ascii_lowercase()).ok_or_else(|| unknown_command(&first.text, known))?;
    let mut call = Call { spec: &spec, given: vec![None; spec.parameters.len()], output: None, filled: 0 };
    call.read(&words.collect::<Vec<_>>())?;
    Ok(Line { command: spec.name.to_owned(), args: call.args(), background, redirect, output: call.output })
}

/// The lines of `console -c`: `;` and line ends part them, outside quotes. Blank ones are left out.
pub fn split_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut scan = Scan::new(text);
    while let Some((at, c)) = scan.next() {
        if !scan.in_quotes() && matches!(c, ';' | '\n') {
            lines.push(text.get(start..at).unwrap_or_default());
            start = at + 1;
        }
    }
    lines.push(text.get(start..).unwrap_or_default());
    lines.into_iter().map(str::trim).filter(|l| !l.is_empty()).collect()
}

/// The words of a text, parted as those of a line are. No shell is asked.
pub fn split_words(text: &str) -> Result<Vec<String>> {
    if text.len() > MAX_LINE {
        return Err(Error::new(ErrorCode::TooLarge, format!("{} bytes; at most {MAX_LINE}", text.len())));
    }
    Ok(words(text)?.into_iter().map(|word| word.text).collect())
}

/// A call as the line that a person would type for it. `args` is a JSON object; members that the command does not
/// know, or whose value has another form, are written as JSON text.
pub fn render(spec: &ConsoleSpec, args: &str) -> String {
    let members: serde_json::Map<String, Value> = serde_json::from_str(args).unwrap_or_default();
    let mut line = spec.name.to_owned();
    let kind_of = |name: &str| spec.parameters.iter().find(|p| p.name == name).map(|p| p.kind);
    let placed = spec
        .positional
        .iter()
        .take_while(|name| {
            kind_of(name).is_some_and(|k| k != Kind::TextList) && members.get(**name).is_some_and(|v| !v.is_null())
        })
        .count();
    let positional = spec.positional.get(..placed).unwrap_or_default();
    for value in positional.iter().filter_map(|name| members.get(*name)) {
        line.push(' ');
        line.push_str(&word(value));
    }
    let is_given = |v: &Value| !v.is_null() && v.as_array().is_none_or(|a| !a.is_empty());
    for (name, value) in members.iter().filter(|(n, v)| !positional.contains(&n.as_str()) && is_given(v)) {
        line.push_str(" -");
        line.push_str(&quote(name));
        match (kind_of(name), value) {
            (Some(Kind::Boolean), Value::Bool(true)) => {}
            (Some(Kind::Boolean), value) => line.push_str(&format!(":{value}")),
            (Some(Kind::TextList), Value::Array(items)) => items.iter().for_each(|item| {
                line.push(' ');
                line.push_str(&word(item));
            }),
            (_, value) => {
                line.push(' ');
                line.push_str(&word(value));
            }
        }
    }
    line
}

/// A value as a word, quoted where it has to be.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Number(n) if !n.to_string().starts_with('-') => n.to_string(),
        Value::Bool(b) => b.to_string(),
        other => quote(&other.to_string()),
    }
}

fn quote(text: &str) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || "_-./\\:,+@%=*?~^{}[]()#!$|`".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_safe) {
        return text.to_owned();
    }
    if !text.contains('\'') && text.contains(['"', '\\']) {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\\']) {
        let (plain, from) = rest.split_at(at);
        let body = from.trim_start_matches('\\');
        let backslashes = from.get(..from.len() - body.len()).unwrap_or_default();
        out.push_str(plain);
        rest = body;
        match body.strip_prefix('"') {
            // A backslash before a quote would escape it, so it stands outside the quotes.
            Some(after) if !backslashes.is_empty() => {
                out.push_str(&format!("\"{backslashes}\"\\\""));
                rest = after;
            }
            Some(after) => {
                out.push_str("\\\"");
                rest = after;
            }
            None if body.is_empty() => return format!("{out}\"{backslashes}"),
            None => out.push_str(backslashes),
        }
    }
    format!("{out}{rest}\"")
}

/// A word of a line; `quoted` where it starts with a quote: it is then a value, whatever it looks like.
#[derive(Clone, PartialEq, Debug)]
struct Word {
    text: String,
    quoted: bool,
}

impl Word {
    fn is_bare(&self, text: &str) -> bool {
        !self.quoted && self.text == text
    }

    /// The name of an option: a hyphen and a letter.
    fn option(&self) -> Option<&str> {
        let name = self.text.strip_prefix('-').filter(|_| !self.quoted)?;
        name.starts_with(|c: char| c == '-' || c == '_' || c.is_alphabetic()).then_some(name)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Quote {
    None,
    Single,
    Double,
}

/// Walks over a text and knows whether it stands in quotes. Both ways to read a line, into words and into lines, use
/// it, so that they cannot differ.
struct Scan<'t> {
    text: &'t str,
    at: usize,
    quote: Quote,
    /// The character given last is one of a pair of quotes.
    is_mark: bool,
    at_word_start: bool,
}

impl<'t> Scan<'t> {
    fn new(text: &'t str) -> Self {
        Scan { text, at: 0, quote: Quote::None, is_mark: false, at_word_start: true }
    }

    fn in_quotes(&self) -> bool {
        self.quote != Quote::None
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next character that counts; the backslash of `\"` in double quotes does not.
    fn next(&mut self) -> Option<(usize, char)> {
        let at = self.at;
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        self.is_mark = false;
        match (self.quote, c) {
            // `"C:\dir\"` at the end of a line: no quote follows that could end it, so this one does.
            (Quote::Double, '\\')
                if self.rest().starts_with('"') && self.rest().get(1..).is_some_and(|r| r.contains('"')) =>
            {
                self.at += 1;
                return Some((at + 1, '"'));
            }
            (Quote::Double, '"') | (Quote::Single, '\'') => (self.quote, self.is_mark) = (Quote::None, true),
            (Quote::None, '"') => (self.quote, self.is_mark) = (Quote::Double, true),
            (Quote::None, '\'') if self.at_word_start => (self.quote, self.is_mark) = (Quote::Single, true),
            _ => {}
        }
        let starts_value = is_space(c) || c == ';' || (c == '>' && self.at_word_start);
        self.at_word_start = self.quote == Quote::None && !self.is_mark && starts_value;
        Some((at, c))
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn words(line: &str) -> Result<Vec<Word>> {
    let mut out = Vec::new();
    let mut current: Option<Word> = None;
    let line = line.trim_matches(is_space);
    let mut scan = Scan::new(line);
    let mut opened = 0;
    while let Some((at, c)) = scan.next() {
        if c == '\0' {
            return Err(bad("the line holds a NUL"));
        }
        if scan.is_mark {
            if scan.in_quotes() {
                opened = at;
            }
            current.get_or_insert_with(|| Word { text: String::new(), quoted: true });
        } else if scan.in_quotes() || !is_space(c) {
            current.get_or_insert_with(|| Word { text: String::new(), quoted: false }).text.push(c);
        } else if matches!(c, '\n' | '\r') {
            return Err(bad("a line break outside quotes").hint("one command a line"));
        } else {
            out.extend(current.take());
        }
    }
    if scan.in_quotes() {
        let position = line.get(..opened).unwrap_or_default().chars().count() + 1;
        return Err(bad(format!("the quote at position {position} does not end"))
            .hint("a double quote inside double quotes is written \\\""));
    }
    out.extend(current);
    Ok(out)
}

/// Takes `> file` off the end.
fn redirect(words: &mut Vec<Word>) -> Result<Option<String>> {
    let is_sign = |w: &Word| !w.quoted && w.text.starts_with('>');
    let Some(at) = words.iter().position(is_sign) else { return Ok(None) };
    let tail = words.split_off(at);
    if tail.iter().filter(|w| is_sign(w)).count() > 1 {
        return Err(ambiguous("the line has more than one > file"));
    }
    let mut files: Vec<String> = tail.into_iter().map(|w| w.text).collect();
    if let Some(first) = files.first_mut() {
        first.remove(0);
        if first.starts_with('>') {
            return Err(bad(">> is not there").hint("> writes a new file, never over one or to the end of one"));
        }
    }
    files.retain(|f| !f.is_empty());
    match <[String; 1]>::try_from(files) {
        Ok([file]) => Ok(Some(file)),
        Err(files) if files.is_empty() => Err(bad("> names no file").hint("COMMAND > FILE")),
        Err(_) => Err(bad("> file stands at the end of a line")
            .hint("quote a file name with spaces, and a filter such as \"pid > 100\"")),
    }
}

/// A call while its line is read.
struct Call<'s> {
    spec: &'s ConsoleSpec,
    /// For each parameter what was given.
    given: Vec<Option<Given>>,
    output: Option<Output>,
    /// Positions filled.
    filled: usize,
}

/// Values as JSON.
#[derive(Clone)]
enum Given {
    One(String),
    Many { values: Vec<String>, by_name: bool },
}

impl Call<'_> {
    fn read(&mut self, words: &[Word]) -> Result<()> {
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            match word.option() {
                None => {
                    let is_last = words.peek().is_none();
                    self.positional(word, is_last)?;
                }
                Some("-") => {
                    return Err(ambiguous("-- is no end of options here")
                        .hint("quote a value that starts with a hyphen: \"-x\""));
                }
                Some(name) => {
                    let mut values = std::iter::from_fn(|| words.next_if(|w| w.option().is_none()));
                    self.option(name, &mut values)?;
                }
            }
        }
        Ok(())
    }

    fn positional(&mut self, word: &Word, is_last: bool) -> Result<()> {
        let flag = self.spec.flags.iter().find(|f| self.filled == 0 && word.is_bare(f));
        if let Some((at, Kind::Boolean)) = flag.and_then(|f| self.find(f)) {
            return self.set(at, true.to_string());
        }
        let parameter = self.spec.positional.get(self.filled).and_then(|name| self.find(name));
        let output = if is_last && !word.quoted { output_named(&word.text) } else { None };
        match (parameter, output) {
            (Some((_, Kind::Integer | Kind::Boolean)) | None, Some(output)) => self.set_output(output),
            (None, None) => Err(self.left_over(word)),
            (Some((at, Kind::TextList)), _) => self.append(at, word, false),
            (Some((at, kind)), _) => {
                self.filled += 1;
                let value = self.value(at, kind, word)?;
                self.set(at, value)
            }
        }
    }

    fn option<'w>(&mut self, name: &str, values: &mut impl Iterator<Item = &'w Word>) -> Result<()> {
        let folded = name.to_ascii_lowercase();
        if folded == "output" && self.find("output").is_none() {
            let word = values.next().ok_or_else(|| self.no_value("output"))?;
            let output = output_named(&word.text).ok_or_else(|| {
                bad(format!("-output takes json or table, not {:?}", short(&word.text)))
                    .hint("a file to write is named by > FILE")
            })?;
            return self.set_output(output);
        }
        let (folded, switch) = match folded.split_once(':') {
            Some((name, switch)) => (name, Some(switch)),
            None => (folded.as_str(), None),
        };
        let (at, kind) = self.find(folded).ok_or_else(|| self.unknown_option(name))?;
        match (kind, switch) {
            (Kind::Boolean, switch) => {
                let on = switch.map_or(Some(true), boolean);
                let on = on.ok_or_else(|| bad(format!("-{folded} is a flag: -{folded}, or -{folded}:false")))?;
                self.set(at, on.to_string())
            }
            (_, Some(_)) => Err(self.unknown_option(name)),
            (Kind::TextList, None) => {
                let first = values.next().ok_or_else(|| self.no_value(folded))?;
                self.append(at, first, true)?;
                values.try_for_each(|word| self.append(at, word, true))
            }
            (kind, None) => {
                let word = values.next().ok_or_else(|| self.no_value(folded))?;
                let value = self.value(at, kind, word)?;
                self.set(at, value)
            }
        }
    }

    fn find(&self, name: &str) -> Option<(usize, Kind)> {
        let mut parameters = self.spec.parameters.iter().enumerate();
        parameters.find(|(_, p)| p.name.eq_ignore_ascii_case(name)).map(|(at, p)| (at, p.kind))
    }

    fn name(&self, at: usize) -> &str {
        self.spec.parameters.get(at).map_or("", |p| &p.name)
    }

    /// The word as JSON of the parameter's kind.
    fn value(&self, at: usize, kind: Kind, word: &Word) -> Result<String> {
        let wrong = |what: &str| {
            bad(format!("{}: -{} takes {what}, not {:?}", self.spec.name, self.name(at), short(&word.text)))
                .hint(format!("help {} shows the arguments", self.spec.name))
        };
        match kind {
            Kind::Text | Kind::TextList => Ok(text(&word.text)),
            Kind::Boolean => {
                boolean(&word.text.to_ascii_lowercase()).map(|b| b.to_string()).ok_or_else(|| wrong("true or false"))
            }
            Kind::Integer => {
                let number =
                    word.text.parse::<u64>().map(i128::from).or_else(|_| word.text.parse::<i64>().map(i128::from));
                number.map(|n| n.to_string()).map_err(|_| wrong("a whole number"))
            }
        }
    }

    fn set(&mut self, at: usize, value: String) -> Result<()> {
        match self.given.get_mut(at) {
            Some(slot @ None) => {
                *slot = Some(Given::One(value));
                Ok(())
            }
            _ => Err(self.twice(self.name(at))),
        }
    }

    fn append(&mut self, at: usize, word: &Word, by_name: bool) -> Result<()> {
        // Names of fields hold no comma, and people list them by commas.
        let is_fields = self.name(at) == "fields" && !word.quoted;
        let items: Vec<String> = if is_fields {
            word.text.split(',').filter(|f| !f.is_empty()).map(text).collect()
        } else {
            vec![text(&word.text)]
        };
        match self.given.get_mut(at) {
            Some(slot @ None) => *slot = Some(Given::Many { values: items, by_name }),
            Some(Some(Given::Many { values, by_name: before })) if *before == by_name => values.extend(items),
            _ => return Err(self.twice(self.name(at))),
        }
        Ok(())
    }

    fn set_output(&mut self, output: Output) -> Result<()> {
        match self.output.replace(output) {
            None => Ok(()),
            Some(_) => Err(self.twice("output")),
        }
    }

    fn args(&self) -> String {
        let mut out = String::from("{");
        for (parameter, given) in self.spec.parameters.iter().zip(&self.given) {
            let value = match given {
                None => continue,
                Some(Given::One(value)) => value.clone(),
                Some(Given::Many { values, .. }) => format!("[{}]", values.join(",")),
            };
            if out.len() > 1 {
                out.push(',');
            }
            out.push_str(&format!("{}:{value}", text(&parameter.name)));
        }
        out.push('}');
        out
    }

    fn twice(&self, name: &str) -> Error {
        ambiguous(format!("{}: {name} is given twice", self.spec.name))
            .hint("a value stands in its place or behind its name, once")
    }

    fn no_value(&self, name: &str) -> Error {
        bad(format!("{}: -{name} has no value", self.spec.name))
            .hint(format!("-{name} VALUE; quote a value that starts with a hyphen"))
    }

    fn left_over(&self, word: &Word) -> Error {
        let places = match self.spec.positional {
            [] => "takes no value without a name".to_owned(),
            names => format!("takes {} in this order", names.join(", ")),
        };
        bad(format!("{} {places}; {:?} is left over", self.spec.name, short(&word.text)))
            .hint("quote a value with spaces")
    }

    fn unknown_option(&self, name: &str) -> Error {
        let e = bad(format!("{} has no option -{}", self.spec.name, short(name)));
        let plain = name.trim_start_matches('-').split(['=', ':']).next().unwrap_or(name).to_ascii_lowercase();
        let names = self.spec.parameters.iter().map(|p| p.name.as_str()).chain(["output"]);
        match nearest(&plain, names.clone()) {
            Some(near) => e.hint(format!("did you mean -{near}?")),
            None => {
                e.hint(format!("its options are {}", names.map(|n| format!("-{n}")).collect::<Vec<_>>().join(", ")))
            }
        }
    }
}

fn text(text: &str) -> String {
    Value::from(text).to_string()
}

fn boolean(word: &str) -> Option<bool> {
    match word {
        "true" | "on" | "yes" => Some(true),
        "false" | "off" | "no" => Some(false),
        _ => None,
    }
}

fn output_named(word: &str) -> Option<Output> {
    if word.eq_ignore_ascii_case("json") {
        Some(Output::Json)
    } else if word.eq_ignore_ascii_case("table") {
        Some(Output::Table)
    } else {
        None
    }
}

fn unknown_command(name: &str, known: &[&str]) -> Error {
    let e = Error::new(ErrorCode::UnknownCommand, format!("there is no command {:?}", short(name)));
    match nearest(&name.to_ascii_lowercase(), known.iter().copied()) {
        Some(near) => e.hint(format!("did you mean {near}?")),
        None => e.hint("help lists the commands"),
    }
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::BadArgs, message)
}

fn ambiguous(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::AmbiguousArgs, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: &[&str] = &["remediate", "processes", "dir", "run", "connections", "trace"];

    fn spec(word: &str) -> Option<ConsoleSpec> {
        let (name, positional, parameters): (_, &'static [&'static str], &[(&str, Kind)]) = match word {
            "remediate" => (
                "remediate",
                &["type", "id"],
                &[
                    ("type", Kind::Text),
                    ("id", Kind::Text),
                    ("ids", Kind::TextList),
                    ("auto", Kind::Boolean),
                    ("list", Kind::Boolean),
                ],
            ),
            "processes" | "process" => (
                "processes",
                &["pid"],
                &[
                    ("pid", Kind::Integer),
                    ("name", Kind::Text),
                    ("tree", Kind::Boolean),
                    ("fields", Kind::TextList),
                    ("filter", Kind::Text),
                ],
            ),
            "dir" | "ls" => ("dir", &["path"], &[("path", Kind::Text), ("full_path", Kind::Boolean)]),
            "run" => ("run", &["script", "parameters"], &[("script", Kind::Text), ("parameters", Kind::TextList)]),
            "connections" => ("connections", &[], &[]),
            "trace" => ("trace", &["enabled"], &[("enabled", Kind::Boolean)]),
            _ => return None,
        };
        let parameters = parameters.iter().map(|(n, kind)| Parameter { name: (*n).into(), kind: *kind }).collect();
        Some(ConsoleSpec { name, positional, parameters, flags: &["list"] })
    }

    fn read(line: &str) -> Result<Line> {
        parse(line, &spec, NAMES)
    }

    fn args(line: &str) -> String {
        read(line).map(|l| l.args).unwrap_or_else(|e| e.to_string())
    }

    #[test]
    fn a_flag_may_stand_first() {
        assert_eq!(args("remediate list"), r#"{"list":true}"#);
        assert_eq!(args("remediate file list"), r#"{"type":"file","id":"list"}"#);
        assert_eq!(args("remediate \"list\""), r#"{"type":"list"}"#);
    }

    fn refused(line: &str) -> (ErrorCode, String) {
        let e = read(line).expect_err(line);
        (e.code, e.to_string())
    }

    #[test]
    fn a_parameter_given_twice_is_refused() {
        for line in [
            "remediate file A -id B",
            "remediate -id A -id B",
            "remediate -type file file A",
            "remediate -auto -auto",
            "remediate file A -- -id B",
            "dir -output json -output json",
            "run x.sh a -parameters b",
            "processes > a > b",
        ] {
            assert_eq!(refused(line).0, ErrorCode::AmbiguousArgs, "{line}");
        }
    }

    #[test]
    fn separators_of_shells_are_text() {
        assert_eq!(args("dir $(id)"), r#"{"path":"$(id)"}"#);
        assert_eq!(args("dir a;isolate"), r#"{"path":"a;isolate"}"#);
        assert_eq!(args("dir `id`|x"), r#"{"path":"`id`|x"}"#);
        assert_eq!(args("dir \"a && isolate; remediate file /\""), r#"{"path":"a && isolate; remediate file /"}"#);
        assert_eq!(refused("dir a && isolate").0, ErrorCode::BadArgs);
        assert_eq!(refused("dir a\nisolate").0, ErrorCode::BadArgs);
        assert_eq!(args("dir 'a\nb'"), r#"{"path":"a\nb"}"#);
    }

    #[test]
    fn a_command_is_found_in_any_case_and_no_other_spelling() {
        assert_eq!(
            read("PROCESS 12").map(|l| (l.command, l.args)).unwrap(),
            ("processes".into(), r#"{"pid":12}"#.into())
        );
        for name in ["rem\u{200b}ediate", "ｒemediate", "proceses", "."] {
            assert_eq!(refused(name).0, ErrorCode::UnknownCommand);
        }
        assert!(refused("proceses").1.contains("did you mean processes?"));
        assert_eq!(refused("  ").0, ErrorCode::BadArgs);
    }

    #[test]
    fn values_stand_in_their_place_or_behind_their_name() {
        assert_eq!(args("remediate file /tmp/x -auto"), r#"{"type":"file","id":"/tmp/x","auto":true}"#);
        assert_eq!(args("remediate -ID /tmp/x -Type file"), r#"{"type":"file","id":"/tmp/x"}"#);
        assert_eq!(args("remediate file -ids a b -auto -ids c"), r#"{"type":"file","ids":["a","b","c"],"auto":true}"#);
        assert_eq!(args("processes -fields pid,name user"), r#"{"fields":["pid","name","user"]}"#);
        assert_eq!(args("trace off"), r#"{"enabled":false}"#);
        assert_eq!(args("processes -tree:false"), r#"{"tree":false}"#);
    }

    #[test]
    fn quoted_values_are_no_options_and_backslashes_are_text() {
        assert_eq!(
            args(r#"run x.ps1 -parameters "-processName Registry""#),
            r#"{"script":"x.ps1","parameters":["-processName Registry"]}"#
        );
        assert_eq!(args(r"dir C:\Users\O'Brien"), r#"{"path":"C:\\Users\\O'Brien"}"#);
        assert_eq!(args(r#"dir "C:\Program Files\""#), r#"{"path":"C:\\Program Files\\"}"#);
        assert_eq!(args(r#"dir "a\"b""#), r#"{"path":"a\"b"}"#);
        assert_eq!(args(r"dir 'a\'"), r#"{"path":"a\\"}"#);
        assert_eq!(args(r#"processes -filter name="a b""#), r#"{"filter":"name=a b"}"#);
        assert_eq!(args(r#"dir """#), r#"{"path":""}"#);
        assert_eq!(refused(r#"dir "abc"#).0, ErrorCode::BadArgs);
        assert!(refused(r#"dir "abc"#).1.contains("position 5"));
    }

    #[test]
    fn background_redirect_and_output() {
        let line = read("processes -output JSON > out.txt &").unwrap();
        assert!(line.background);
        assert_eq!((line.redirect.as_deref(), line.output), (Some("out.txt"), Some(Output::Json)));
        assert_eq!(read("connections json").unwrap().output, Some(Output::Json));
        assert_eq!(read("processes table").unwrap().output, Some(Output::Table));
        assert_eq!(args("dir json"), r#"{"path":"json"}"#);
        assert_eq!(read("dir >'my file'").unwrap().redirect.as_deref(), Some("my file"));
        assert_eq!(args("processes -filter pid>100"), r#"{"filter":"pid>100"}"#);
        for line in ["dir >> x", "dir >", "dir > a b", "dir -output yaml", "dir -output", "connections xml"] {
            assert_eq!(refused(line).0, ErrorCode::BadArgs, "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_near() {
        assert!(refused("dir -fullpath").1.contains("did you mean -full_path?"));
        assert!(refused("dir --full_path").1.contains("did you mean -full_path?"));
        assert!(refused("processes abc").1.contains("whole number"));
        assert!(refused("processes -name -tree").1.contains("-name has no value"));
        assert!(refused("dir a b").1.contains("\"b\" is left over"));
        assert_eq!(refused("dir a\0b").0, ErrorCode::BadArgs);
        assert_eq!(refused(&"a".repeat(MAX_LINE + 1)).0, ErrorCode::TooLarge);
    }

    #[test]
    fn lines_are_parted_outside_quotes_only() {
        assert_eq!(split_lines("dir; \n processes 1;;"), ["dir", "processes 1"]);
        assert_eq!(split_lines("dir 'a;b'; dir \"c\n;d\""), ["dir 'a;b'", "dir \"c\n;d\""]);
        assert_eq!(split_lines("dir O'Brien; cls"), ["dir O'Brien", "cls"]);
        assert_eq!(split_lines("dir \"a; cls"), ["dir \"a; cls"]);
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in r#"(remediate|processes|dir|run|trace)?[ -\x{fe}'"\\>&\n-]{0,40}"#) {
            let _ = read(&line);
            for part in split_lines(&line) {
                let _ = read(part);
            }
        }

        #[test]
        fn what_was_rendered_reads_the_same(
            values in proptest::collection::vec(r#"[a-c'"\\ \n;>&|$é-]{0,12}|json|-5"#, 5),
            auto: bool,
        ) {
            let text = |i: usize| Value::from(values[i].as_str()).to_string();
            for (name, args) in [
                ("remediate", format!(r#"{{"type":{},"id":{},"auto":{auto}}}"#, text(0), text(1))),
                ("remediate", format!(r#"{{"type":{},"ids":[{},{}],"auto":{auto}}}"#, text(2), text(3), text(4))),
                ("remediate", format!(r#"{{"id":{}}}"#, text(2))),
                ("run", format!(r#"{{"script":{},"parameters":[{}]}}"#, text(0), text(1))),
                ("trace", format!(r#"{{"enabled":{auto}}}"#)),
                ("processes", format!(r#"{{"pid":7,"filter":{}}}"#, text(3))),
            ] {
                let line = render(&spec(name).unwrap(), &args);
                let parsed = read(&line).map_err(|e| TestCaseError::fail(format!("{line}: {e}")))?;
                prop_assert_eq!(&parsed.args, &args, "{}", line);
                prop_assert!(!parsed.background && parsed.redirect.is_none() && parsed.output.is_none(), "{}", line);
                prop_assert_eq!(split_lines(&line), [line.trim()]);
            }
        }
    }
}

//! Command lines of units (`man 5 systemd.service`, COMMAND LINES): prefixes, quoting, `;` between commands, specifiers.
//!
//! Invariant: pure; nothing is expanded that only the running manager knows, and what is not known stays as it stands.

use super::name::{Name, unescape};
use crate::model::DevicePath;

/// Words of a line beyond these are dropped.
const WORDS: usize = 4_096;

/// One command of an `Exec…=` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exec {
    /// The characters before the path: `-` failure is ignored, `@` the second word is `argv[0]`, `:` no variables,
    /// `+` and `!` with full privileges, `|` through a shell.
    pub prefixes: String,
    /// The image as it is named, specifiers expanded: absolute, or a name that the manager looks up in its path.
    pub image: Vec<u8>,
    pub arguments: Vec<Vec<u8>>,
}

impl Exec {
    /// The commands of the value of an `Exec…=` line.
    pub fn parse(value: &[u8], of: &Name) -> Vec<Exec> {
        let words = words(value);
        let mut execs = Vec::new();
        for command in words.split(|w| w.separates) {
            let Some((first, rest)) = command.split_first() else { continue };
            let count = first.text.iter().take_while(|b| b"-@:+!|".contains(b)).count();
            let (prefixes, image) = first.text.split_at(count);
            let arguments = rest.iter().map(|w| specify(&w.text, of)).collect();
            let prefixes = String::from_utf8_lossy(prefixes).into_owned();
            execs.push(Exec { prefixes, image: specify(image, of), arguments });
        }
        execs
    }

    /// The image's path; `None` for a bare name, which the manager looks up.
    pub fn path(&self) -> Option<DevicePath> {
        (self.image.first() == Some(&b'/')).then(|| DevicePath::new(self.image.clone()))
    }
}

#[derive(Debug)]
struct Word {
    text: Vec<u8>,
    /// A `;` that stood alone and bare.
    separates: bool,
}

/// Splits at white space; quotes of either kind, C escapes.
fn words(value: &[u8]) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = value.trim_ascii_start();
    while !rest.is_empty() && words.len() < WORDS {
        let (word, after) = word(rest);
        words.push(word);
        rest = after.trim_ascii_start();
    }
    words
}

fn word(value: &[u8]) -> (Word, &[u8]) {
    let mut text = Vec::new();
    let mut quote = None;
    let mut rest = value;
    let mut bare = true;
    while let Some((byte, after)) = rest.split_first() {
        match (*byte, quote) {
            (b'\\', _) => {
                bare = false;
                let (bytes, taken) = escape(after);
                text.extend_from_slice(&bytes);
                rest = after.get(taken..).unwrap_or_default();
                continue;
            }
            (b, Some(open)) if b == open => quote = None,
            (b'"' | b'\'', None) => {
                bare = false;
                quote = Some(*byte);
            }
            (b, None) if b.is_ascii_whitespace() => break,
            (b, _) => text.push(b),
        }
        rest = after;
    }
    let separates = bare && text == b";";
    (Word { text, separates }, rest)
}

/// What stands for an escape, and how many bytes after the backslash it takes.
fn escape(after: &[u8]) -> (Vec<u8>, usize) {
    let number = |digits: Option<&[u8]>, radix: u32| {
        let digits = std::str::from_utf8(digits?).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u32::from_str_radix(digits, radix).ok()
    };
    let character = |n: u32| char::from_u32(n).map(|c| c.to_string().into_bytes());
    let one = |b: u8| (vec![b], 1);
    match after.first() {
        None => (Vec::new(), 0),
        Some(b'a') => one(7),
        Some(b'b') => one(8),
        Some(b'f') => one(12),
        Some(b'n') => one(b'\n'),
        Some(b'r') => one(b'\r'),
        Some(b't') => one(b'\t'),
        Some(b'v') => one(11),
        Some(b's') => one(b' '),
        Some(b'x') => match number(after.get(1..3), 16).and_then(|n| u8::try_from(n).ok()) {
            Some(byte) => (vec![byte], 3),
            None => (b"\\x".to_vec(), 1),
        },
        Some(b'u') => number(after.get(1..5), 16).and_then(character).map_or((b"\\u".to_vec(), 1), |c| (c, 5)),
        Some(b'U') => number(after.get(1..9), 16).and_then(character).map_or((b"\\U".to_vec(), 1), |c| (c, 9)),
        Some(b'0'..=b'7') => match number(after.get(..3), 8).and_then(|n| u8::try_from(n).ok()) {
            Some(byte) => (vec![byte], 3),
            None => (b"\\".to_vec(), 0),
        },
        Some(other) => one(*other),
    }
}

/// Expands the specifiers that a file alone tells (`man 5 systemd.unit`, SPECIFIERS), for the system manager.
pub fn specify(text: &[u8], of: &Name) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        let (plain, specifier) = rest.split_at(at);
        out.extend_from_slice(plain);
        let value = specifier.get(1).and_then(|b| specifier_value(*b, of));
        let taken = match &value {
            Some(value) => {
                out.extend_from_slice(value);
                2
            }
            None => {
                out.push(b'%');
                1
            }
        };
        rest = specifier.get(taken..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

fn specifier_value(specifier: u8, of: &Name) -> Option<Vec<u8>> {
    let instance = of.instance().filter(|i| !i.is_empty());
    let stem = |name: &str| name.rsplit_once('.').map_or(name, |(stem, _)| stem).as_bytes().to_vec();
    let last = of.prefix().rsplit_once('-').map_or(of.prefix(), |(_, last)| last);
    Some(match specifier {
        b'%' => b"%".to_vec(),
        b'n' => of.as_str().as_bytes().to_vec(),
        b'N' => stem(of.as_str()),
        b'p' => of.prefix().as_bytes().to_vec(),
        b'P' => unescape(of.prefix()),
        b'j' => last.as_bytes().to_vec(),
        b'J' => unescape(last),
        b'i' => instance?.as_bytes().to_vec(),
        b'I' => unescape(instance?),
        b'f' => [b"/", &unescape(instance.unwrap_or(of.prefix()))[..]].concat(),
        b't' => b"/run".to_vec(),
        b'S' => b"/var/lib".to_vec(),
        b'C' => b"/var/cache".to_vec(),
        b'L' => b"/var/log".to_vec(),
        b'E' => b"/etc".to_vec(),
        b'T' => b"/tmp".to_vec(),
        b'V' => b"/var/tmp".to_vec(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(value: &str) -> Vec<(String, String, Vec<String>)> {
        let name = Name::parse(b"demo-x@a-b.service").unwrap();
        let text = |b: &Vec<u8>| String::from_utf8_lossy(b).into_owned();
        let execs = Exec::parse(value.as_bytes(), &name).into_iter();
        execs.map(|e| (e.prefixes, text(&e.image), e.arguments.iter().map(text).collect())).collect()
    }

    fn exec(prefixes: &str, image: &str, arguments: &[&str]) -> (String, String, Vec<String>) {
        (prefixes.into(), image.into(), arguments.iter().map(|a| (*a).to_owned()).collect())
    }

    #[test]
    fn prefixes_quotes_and_escapes() {
        assert_eq!(parse("-+@/bin/sh  sh -c 'a \"b\"  c'"), [exec("-+@", "/bin/sh", &["sh", "-c", "a \"b\"  c"])]);
        assert_eq!(parse(r#""/opt/my app/x" a\x20b \101 \q"#), [exec("", "/opt/my app/x", &["a b", "A", "q"])]);
    }

    #[test]
    fn a_bare_semicolon_ends_a_command() {
        assert_eq!(parse("/bin/a x ; -/bin/b"), [exec("", "/bin/a", &["x"]), exec("-", "/bin/b", &[])]);
        assert_eq!(parse(r#"/bin/a \; ";" x;"#), [exec("", "/bin/a", &[";", ";", "x;"])]);
    }

    #[test]
    fn specifiers_are_those_of_the_unit() {
        let expected = ["demo-x@a-b.service", "a-b", "a/b", "/a/b", "demo-x", "x", "100%", "%Z"];
        assert_eq!(parse("/opt/%p %n %i %I %f %p %j 100%% %Z"), [exec("", "/opt/demo-x", &expected)]);
    }

    proptest! {
        #[test]
        fn any_value_is_split_without_loss_of_control(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let name = Name::parse(b"a.service").unwrap();
            let _ = Exec::parse(&value, &name);
        }
    }
}

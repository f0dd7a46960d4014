//! Names of units (`man 5 systemd.unit`): a prefix, an instance after `@` where there is one, and a type.
//!
//! Invariant: a [`Name`] is one that the system would load; any other file name is none.

use std::fmt;

/// `UNIT_NAME_MAX`.
const LONGEST: usize = 255;
const TYPES: [&str; 11] =
    ["service", "socket", "target", "device", "mount", "automount", "swap", "timer", "path", "slice", "scope"];

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// A name of letters, digits and `:-_.\@` that ends in a unit's type.
    pub fn parse(bytes: &[u8]) -> Option<Name> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (stem, kind) = text.rsplit_once('.')?;
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_' | b'.' | b'\\' | b'@');
        let known = TYPES.contains(&kind) && bytes.len() <= LONGEST;
        let whole = !stem.is_empty() && !stem.starts_with('@') && text.bytes().all(fits);
        (known && whole).then(|| Name(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `service`, `timer`, …
    pub fn kind(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(_, kind)| kind)
    }

    fn stem(&self) -> &str {
        self.0.rsplit_once('.').map_or(&self.0, |(stem, _)| stem)
    }

    /// Up to the `@`, or the type.
    pub fn prefix(&self) -> &str {
        self.stem().split_once('@').map_or(self.stem(), |(prefix, _)| prefix)
    }

    /// What stands between `@` and the type: empty for a template, `None` for a plain unit.
    pub fn instance(&self) -> Option<&str> {
        self.stem().split_once('@').map(|(_, instance)| instance)
    }

    pub fn is_template(&self) -> bool {
        self.instance() == Some("")
    }

    /// The template of an instance.
    pub fn template(&self) -> Option<Name> {
        let instance = self.instance().filter(|i| !i.is_empty());
        instance.map(|_| Name(format!("{}@.{}", self.prefix(), self.kind())))
    }

    /// The unit of the same stem and another type: what a timer starts where it names nothing.
    pub fn with_kind(&self, kind: &str) -> Name {
        Name(format!("{}.{kind}", self.stem()))
    }

    /// This template with an instance.
    pub fn instantiate(&self, instance: &str) -> Name {
        Name(format!("{}@{instance}.{}", self.prefix(), self.kind()))
    }

    /// The names whose `.d` directories hold drop-ins for this unit: itself, its template, and what remains when the
    /// prefix is cut at its dashes (`foo-bar.service` → `foo-.service`).
    pub fn drop_in_names(&self) -> Vec<String> {
        let mut names = vec![self.0.clone()];
        names.extend(self.template().map(|t| t.0));
        let prefix = self.prefix();
        let tail = self.0.get(prefix.len()..).unwrap_or_default();
        let dashes = prefix.bytes().enumerate().filter(|(i, b)| *b == b'-' && *i > 0 && *i + 1 < prefix.len());
        let cut: Vec<_> = dashes.filter_map(|(i, _)| prefix.get(..=i)).map(|p| format!("{p}{tail}")).collect();
        names.extend(cut.into_iter().rev());
        names
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `-` is `/`, `\xNN` a byte (`man 1 systemd-escape`).
pub fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = rest.strip_prefix(b"\\x").and_then(|h| std::str::from_utf8(h.get(..2)?).ok());
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = rest.get(4..).unwrap_or_default();
            }
            None => {
                out.push(if *first == b'-' { b'/' } else { *first });
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_the_system_would_not_load_is_no_name() {
        let long = format!("{}.service", "a".repeat(250));
        for bad in ["", ".service", "@.service", "a.conf", "a", "a b.service", "../a.service", "é.service", &long] {
            assert_eq!(Name::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Name::parse(b"a\xff.service"), None);
    }

    #[test]
    fn templates_and_instances() {
        let instance = name(r"getty@tty-1\x2d2.service");
        assert_eq!((instance.prefix(), instance.instance()), ("getty", Some(r"tty-1\x2d2")));
        assert_eq!(instance.template(), Some(name("getty@.service")));
        assert_eq!(unescape(instance.instance().unwrap()), b"tty/1-2");
        assert!(name("getty@.service").is_template() && name("getty@.service").template().is_none());
        assert_eq!(name("a.timer").with_kind("service"), name("a.service"));
    }

    #[test]
    fn drop_ins_come_from_the_name_its_template_and_its_cut_prefixes() {
        assert_eq!(
            name("foo-bar-baz.service").drop_in_names(),
            ["foo-bar-baz.service", "foo-bar-.service", "foo-.service"]
        );
        assert_eq!(name("foo@i.service").drop_in_names(), ["foo@i.service", "foo@.service"]);
        assert_eq!(name("-.slice").drop_in_names(), ["-.slice"]);
    }
}

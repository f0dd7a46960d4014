//! Desktop entries (freedesktop.org's Desktop Entry and Autostart specifications).
//!
//! Invariant: pure; the first value of a key counts, of the group `Desktop Entry` alone.

use crate::shape::Untrusted;

/// What an entry says of its start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    pub exec: Option<Vec<u8>>,
    /// `KEY=value` of what keeps it from starting, everywhere or in some desktops.
    pub conditions: Vec<Vec<u8>>,
    pub hidden: bool,
}

const CONDITIONS: [&[u8]; 6] =
    [b"Hidden", b"OnlyShowIn", b"NotShowIn", b"TryExec", b"X-GNOME-Autostart-enabled", b"AutostartCondition"];

impl Entry {
    pub fn parse(bytes: &[u8]) -> Entry {
        let mut entry = Entry::default();
        let mut is_group = false;
        let mut seen: Vec<&[u8]> = Vec::new();
        for line in bytes.split(|b| *b == b'\n').map(|l| l.trim_ascii()) {
            if line.first() == Some(&b'[') {
                is_group = line == b"[Desktop Entry]";
                continue;
            }
            let Some(at) = line.iter().position(|b| *b == b'=').filter(|_| is_group && line.first() != Some(&b'#'))
            else {
                continue;
            };
            let (key, value) = line.split_at(at);
            let (key, value) = (key.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii());
            let counts = key == b"Exec" || CONDITIONS.contains(&key);
            if !counts || seen.contains(&key) {
                continue;
            }
            seen.push(key);
            match key {
                b"Exec" => entry.exec = Some(value.to_vec()),
                b"Hidden" if value == b"false" => {}
                b"X-GNOME-Autostart-enabled" if value == b"true" => {}
                _ => entry.conditions.push([key, b"=", value].concat()),
            }
            entry.hidden |= key == b"Hidden" && value == b"true";
        }
        entry
    }

    /// What starts, and where it does not.
    pub fn told(&self) -> Option<Untrusted> {
        let parts: Vec<&[u8]> = self.exec.iter().chain(&self.conditions).map(Vec::as_slice).collect();
        (!parts.is_empty()).then(|| Untrusted::from_bytes(&parts.join(&b"; "[..])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_value_of_the_right_group_counts() {
        let text = b"[Other]\nExec=/no\n[Desktop Entry]\n#Exec=/no\nExec = /yes %U\nExec=/no\nHidden=true\nOnlyShowIn=GNOME;\n[Desktop Action x]\nExec=/no\n";
        let entry = Entry::parse(text);
        assert_eq!(entry.told().unwrap().raw(), "/yes %U; Hidden=true; OnlyShowIn=GNOME;");
        assert!(entry.hidden);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_entry(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = [&b"[Desktop Entry]\n"[..], &bytes].concat();
            prop_assert!(Entry::parse(&text).exec.is_none_or(|e| e.len() <= bytes.len()));
        }
    }
}

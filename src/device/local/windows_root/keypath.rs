//! Keys as people write them: `HKLM\SOFTWARE`, `HKEY_CURRENT_USER\\Console`, `"Computer\HKU\S-1-5-18"`, quoted or not.

use crate::device::local::registry::same;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Top {
    LocalMachine,
    CurrentUser,
    Users,
    ClassesRoot,
    CurrentConfig,
}

const TOPS: &[(Top, &str, &str)] = &[
    (Top::LocalMachine, "HKLM", "HKEY_LOCAL_MACHINE"),
    (Top::CurrentUser, "HKCU", "HKEY_CURRENT_USER"),
    (Top::Users, "HKU", "HKEY_USERS"),
    (Top::ClassesRoot, "HKCR", "HKEY_CLASSES_ROOT"),
    (Top::CurrentConfig, "HKCC", "HKEY_CURRENT_CONFIG"),
];

/// The name at the top, where there is one, and the names below it.
pub fn parse(key: &str) -> (Option<Top>, Vec<String>) {
    let key = key.trim();
    let quoted = ['"', '\''].iter().find_map(|q| key.strip_prefix(*q)?.strip_suffix(*q));
    let mut parts: Vec<String> =
        quoted.unwrap_or(key).split('\\').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let is = |part: Option<&String>, name: &str| part.is_some_and(|part| same(part.trim_end_matches(':'), name));
    if is(parts.first(), "Computer") && parts.len() > 1 {
        parts.remove(0);
    }
    if is(parts.first(), "Registry") {
        let top = [("Machine", Top::LocalMachine), ("User", Top::Users)];
        if let Some((_, top)) = top.iter().find(|(name, _)| is(parts.get(1), name)) {
            return (Some(*top), parts.split_off(2));
        }
    }
    let top = TOPS.iter().find(|(_, short, long)| is(parts.first(), short) || is(parts.first(), long));
    match top {
        Some((top, ..)) => (Some(*top), parts.split_off(1)),
        None => (None, parts),
    }
}

/// The parts of `key\value` below a hive's root, whichever of them are the value's, and whether a backslash ends it:
/// then it is the default value of a key. Spaces stay, inside quotes also at the end.
pub fn value_path(id: &str) -> (Vec<String>, bool) {
    let bare = ['"', '\''].iter().find_map(|q| id.trim().strip_prefix(*q)?.strip_suffix(*q)).unwrap_or(id);
    let (top, first) = parse(bare);
    let led_there = usize::from(matches!(top, Some(Top::LocalMachine | Top::Users)));
    let count = first.len().saturating_sub(led_there);
    let all: Vec<String> = bare.split('\\').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let parts = all.into_iter().rev().take(count).collect::<Vec<_>>().into_iter().rev().collect();
    (parts, bare.ends_with('\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_one_key() {
        let wanted = (Some(Top::LocalMachine), vec!["SOFTWARE".to_owned(), "A b".to_owned()]);
        for key in [
            r"HKLM\SOFTWARE\A b",
            r"hklm\SOFTWARE\A b\",
            r"HKLM:\SOFTWARE\A b",
            r"HKEY_LOCAL_MACHINE\\SOFTWARE\\A b",
            r#""HKEY_LOCAL_MACHINE\SOFTWARE\A b""#,
            r"'HKLM\SOFTWARE\A b'",
            r"Computer\HKEY_LOCAL_MACHINE\SOFTWARE\A b",
            r"\Registry\Machine\SOFTWARE\A b",
        ] {
            assert_eq!(parse(key), wanted, "{key}");
        }
        assert_eq!(parse("Software/x"), (None, vec!["Software/x".to_owned()]));
        assert_eq!(parse(""), (None, Vec::new()));
    }

    #[test]
    fn a_value_is_named_below_its_hive() {
        let parts = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        for (id, names, is_default) in [
            (r"HKLM\SOFTWARE\a\evil", &["a", "evil"][..], false),
            (r"HKLM\\SOFTWARE\\a\\evil", &["a", "evil"], false),
            (r"a\evil ", &["a", "evil "], false),
            (r#""HKCU\a\evil ""#, &["a", "evil "], false),
            (r"HKU\S-1-5-18\a\", &["a"], true),
            (r"\", &[], true),
            ("", &[], false),
        ] {
            assert_eq!(value_path(id), (parts(names), is_default), "{id}");
        }
    }
}

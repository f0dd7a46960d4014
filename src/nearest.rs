//! "Did you mean": the known name that is closest to an unknown one.

use std::collections::BTreeSet;

/// The known name within a third of its length in edits, if there is one.
pub fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let unknown: Vec<char> = unknown.chars().take(64).collect();
    known
        .into_iter()
        .map(|k| (distance(&unknown, &k.chars().collect::<Vec<_>>()), k))
        .filter(|(d, k)| *d <= k.chars().count().div_ceil(3))
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// How many near names are told.
const NEAR: usize = 3;

/// What to say where nothing has the name that was asked for: which names are near it, else how many there are.
/// `nothing`: "no task has the name".
pub fn unmatched<'a>(nothing: &str, asked: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: BTreeSet<&str> = known.into_iter().collect();
    let shown: String = asked.chars().take(60).collect();
    let part = asked.to_lowercase();
    let is_near = |name: &&str| !part.is_empty() && name.to_lowercase().contains(&part);
    let mut near: Vec<&str> = known.iter().copied().filter(is_near).take(NEAR).collect();
    if near.is_empty() {
        near.extend(nearest(asked, known.iter().copied()));
    }
    let near: Vec<String> = near.iter().map(|n| format!("{:?}", n.chars().take(200).collect::<String>())).collect();
    match (near.is_empty(), known.len()) {
        (false, _) => format!("{nothing} {shown:?}; near it: {}", near.join(", ")),
        (true, 0) => format!("{nothing} {shown:?}; there is none of any name"),
        (true, n) => format!("{nothing} {shown:?}; there are {n} other names"),
    }
}

/// Levenshtein's distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let next = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = next;
            left = next;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_slip_and_nothing_else() {
        let known = ["processes", "persistence", "path"];
        assert_eq!(nearest("proceses", known), Some("processes"));
        assert_eq!(nearest("pth", known), Some("path"));
        assert_eq!(nearest("wipe", known), None);
    }

    #[test]
    fn a_name_that_nothing_has_is_said_with_what_is_near() {
        let known = ["root", "apt-daily.timer", "apt-daily-upgrade.timer", "root"];
        let say = |asked: &str| unmatched("nobody is", asked, known);
        assert_eq!(say("APT-daily"), r#"nobody is "APT-daily"; near it: "apt-daily-upgrade.timer", "apt-daily.timer""#);
        assert_eq!(say("rot"), r#"nobody is "rot"; near it: "root""#);
        assert_eq!(say("zzzzzz"), r#"nobody is "zzzzzz"; there are 3 other names"#);
        assert_eq!(unmatched("nobody is", "x", []), r#"nobody is "x"; there is none of any name"#);
        assert!(say(&"x".repeat(10_000)).len() < 200);
    }
}

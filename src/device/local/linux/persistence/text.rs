//! The lines that run, of configuration and scripts of any kind.
//!
//! Invariant: text is cut to a bound, never interpreted: what is no comment may run.

use crate::shape::Untrusted;

/// Bytes of a row's command.
const COMMAND: usize = 4_096;

/// How the lines of a kind of file are read.
#[derive(Clone, Copy)]
pub struct Style {
    /// What a line that is a comment begins with.
    pub comments: &'static [&'static [u8]],
    /// Which lines start code; `None` is all of them: then they are told only of a file that no package vouches for.
    pub keep: Option<fn(&[u8]) -> bool>,
}

const HASH: &[&[u8]] = &[b"#"];

/// A script or a job: every line may run.
pub const SCRIPT: Style = Style { comments: HASH, keep: None };

/// Lines of which only some start code.
pub const fn only(keep: fn(&[u8]) -> bool) -> Style {
    Style { comments: HASH, keep: Some(keep) }
}

impl Style {
    pub const fn comments(self, comments: &'static [&'static [u8]]) -> Style {
        Style { comments, ..self }
    }

    /// The lines that start code: trimmed, those that end in `\` joined with the next.
    pub fn lines(&self, text: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        let mut open: Option<Vec<u8>> = None;
        for line in text.split(|b| matches!(b, b'\n' | b'\r')) {
            let part = line.trim_ascii();
            let mut whole = match open.take() {
                Some(mut begun) => {
                    begun.push(b' ');
                    begun.extend_from_slice(part);
                    begun
                }
                None if part.is_empty() || self.is_comment(part) => continue,
                None => part.to_vec(),
            };
            if whole.ends_with(b"\\") && whole.len() < COMMAND {
                whole.pop();
                whole.truncate(whole.trim_ascii_end().len());
                open = Some(whole);
            } else {
                lines.push(whole);
            }
        }
        lines.extend(open);
        lines.retain(|line| !line.trim_ascii().is_empty() && self.keep.is_none_or(|keep| keep(line)));
        lines
    }

    fn is_comment(&self, line: &[u8]) -> bool {
        self.comments.iter().any(|comment| line.starts_with(comment))
    }
}

/// Lines as a row's command, within a bound; `None` for no lines.
pub fn command(lines: &[Vec<u8>]) -> Option<Untrusted> {
    let mut text = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if text.len() + line.len() > COMMAND {
            let room = COMMAND.saturating_sub(text.len());
            text.extend_from_slice(line.get(..room.min(line.len())).unwrap_or_default());
            text.extend_from_slice(format!(" … ({} lines in all)", lines.len()).as_bytes());
            break;
        }
        if at > 0 {
            text.extend_from_slice(b"; ");
        }
        text.extend_from_slice(line);
    }
    (!text.is_empty()).then(|| Untrusted::from_bytes(&text))
}

/// Whether it is text that a person may have written, by its first bytes.
pub fn is_text(bytes: &[u8]) -> bool {
    !bytes.iter().take(8_192).any(|b| *b == 0)
}

/// Whether the line has one of the words, whatever their case.
pub fn has_word(line: &[u8], words: &[&str]) -> bool {
    let line = line.to_ascii_lowercase();
    words.iter().any(|word| memchr::memmem::find(&line, word.as_bytes()).is_some())
}

/// The line's first word, in lower case, and the rest.
pub fn directive(line: &[u8]) -> (Vec<u8>, &[u8]) {
    let end = line.iter().position(|b| b.is_ascii_whitespace() || *b == b'=').unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let rest = rest.trim_ascii_start();
    let rest = rest.strip_prefix(b"=").unwrap_or(rest);
    (word.to_ascii_lowercase(), rest.trim_ascii())
}

/// Whether the line assigns to one of these variables (`export X=`, `setenv X`, `X DEFAULT=`), names in upper case.
pub fn assigns(line: &[u8], names: &[&str]) -> bool {
    let mut words = line.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty());
    let word =
        words.find(|w| !matches!(*w, b"export" | b"setenv" | b"declare" | b"-x" | b"set" | b"-gx")).unwrap_or_default();
    let name = word.split(|b| *b == b'=').next().unwrap_or_default();
    names.iter().any(|known| known.as_bytes() == name || (known.ends_with('_') && name.starts_with(known.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(style: &Style, text: &[u8]) -> Vec<String> {
        style.lines(text).iter().map(|l| String::from_utf8_lossy(l).into_owned()).collect()
    }

    #[test]
    fn comments_and_blanks_run_nothing_and_joined_lines_are_one() {
        assert_eq!(lines(&SCRIPT, b"# a\n\n  b \\\n   c\n\\\n\nd\\"), ["b c", "d"]);
        assert!(lines(&SCRIPT, b"\n \t\n#x\n\\\n").is_empty());
    }

    #[test]
    fn a_command_is_cut() {
        let cut = command(&vec![vec![b'x'; 3_000]; 3]).unwrap();
        assert!(cut.raw().len() < COMMAND + 64 && cut.raw().ends_with("(3 lines in all)"));
        assert_eq!(command(&[]), None);
    }

    #[test]
    fn a_variable_is_told_by_its_name_alone() {
        assert!(assigns(b"export LD_PRELOAD=/x", &["LD_"]) && assigns(b"PATH DEFAULT=/x", &["PATH"]));
        assert!(!assigns(b"MYPATH=/x", &["PATH"]) && !assigns(b"", &["PATH"]));
    }
}

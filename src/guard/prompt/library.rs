//! How library files stand on a person's screen: in a plan, and before they are approved.

use super::field;
use crate::guard::library::Shelved;
use crate::model::{LibraryItem, Step};
use crate::shape::{clean, is_plain};
use std::fmt::{Result, Write};

/// What a plan does with a library file.
pub(super) fn step(out: &mut String, step: &Step) -> Result {
    match step {
        Step::Run { script, interpreter, program, parameters, directory, user, time_limit_s, output_max } => {
            item(out, script)?;
            field(out, "interpreter", &interpreter.to_text())?;
            if let Some(program) = program {
                field(out, "its sha256", program.sha256.as_str())?;
                field(out, "its inode", &format!("{}, {} bytes", program.identity, program.size_bytes))?;
            }
            for option in script.interpreter.iter().flat_map(|i| &i.options) {
                field(out, "its option", option)?;
            }
            field(out, "parameters", &format!("{}, none of them read by a shell", parameters.len()))?;
            for (i, parameter) in parameters.iter().enumerate() {
                field(out, &format!("  {}", i + 1), parameter)?;
            }
            field(out, "starts in", &directory.to_text())?;
            field(out, "runs as", user)?;
            field(out, "time limit", &format!("{time_limit_s} s, then all that it started is killed"))?;
            field(out, "output", &format!("kept as evidence, up to {output_max} bytes"))
        }
        Step::Put { item: of, path, keep } => {
            item(out, of)?;
            field(out, "to", &path.to_text())?;
            field(out, "stays", if *keep { "over a restart" } else { "until the next restart" })
        }
        Step::DeleteScript { item: of } => item(out, of),
        _ => Ok(()),
    }
}

pub(super) fn item(out: &mut String, item: &LibraryItem) -> Result {
    field(out, "library file", item.name.as_str())?;
    field(out, "sha256", item.sha256.as_str())?;
    field(out, "size", &format!("{} bytes", item.size_bytes))?;
    field(out, "type", item.kind.as_str())?;
    match &item.signer {
        Some(signer) => field(out, "signed by", &format!("minisign {signer}")),
        None if item.kind.is_runnable() => field(out, "! signed by", "nobody"),
        None => field(out, "signed by", "nobody"),
    }
}

/// A library file before a person approves it: its facts and its text, every line of it.
pub(in crate::guard) fn item_screen(shelved: &Shelved, text: Option<&str>, unsigned_allowed: bool) -> String {
    let mut out = String::with_capacity(text.map_or(0, str::len) + 2048);
    // Writing to a string does not fail.
    let _ = head(&mut out, shelved, unsigned_allowed).and_then(|()| body(&mut out, text));
    out.lines().map(clean).collect::<Vec<_>>().join("\n") + "\n"
}

fn head(out: &mut String, shelved: &Shelved, unsigned_allowed: bool) -> Result {
    writeln!(out, "A file of the script library.\n")?;
    item(out, &shelved.item)?;
    if let Some(interpreter) = &shelved.item.interpreter {
        field(out, "interpreter", &interpreter.program)?;
        for option in &interpreter.options {
            field(out, "its option", option)?;
        }
    }
    if let Some(description) = &shelved.description {
        field(out, "description", description)?;
    }
    field(out, "added by", shelved.by.as_str())?;
    field(out, "added at", &shelved.added.to_string())?;
    if shelved.item.kind.is_runnable() && shelved.item.signer.is_none() && !unsigned_allowed {
        field(out, "! unsigned", "the policy lets no unsigned script run, approved or not")?;
    }
    match &shelved.approved {
        Some(approval) => field(out, "approved by", &format!("{} at {}", approval.person, approval.at)),
        None => field(out, "approved by", "nobody: it cannot be run or put"),
    }
}

fn body(out: &mut String, text: Option<&str>) -> Result {
    let Some(text) = text else {
        return writeln!(out, "\n  ! OPAQUE: its content is not text, or too long to be read, and is not shown here");
    };
    writeln!(out, "\nIts text, every line of it:\n")?;
    let mut hidden = 0usize;
    for (i, line) in text.lines().enumerate() {
        // A tab is the one invisible character that scripts are full of.
        let line = line.replace('\t', "    ");
        hidden += usize::from(!is_plain(&line));
        writeln!(out, "{:>6} | {}", i + 1, clean(&line))?;
    }
    match hidden {
        0 => Ok(()),
        n => writeln!(out, "\n  ! {n} line(s) hold characters that are not plain; they are written as escapes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_cannot_redraw_its_screen() {
        let mut out = String::new();
        body(&mut out, Some("echo hi\r\n\x1b[2K\x1b[1Arm -rf /\n\u{202e}x\n\tindented")).unwrap();
        assert!(out.contains("     1 | echo hi\\r") || out.contains("     1 | echo hi\n"), "{out}");
        assert!(!out.contains('\x1b') && !out.contains('\u{202e}') && !out.contains('\t'), "{out}");
        assert!(out.contains("     4 |     indented") && out.contains("! 2 line(s)"), "{out}");
    }
}

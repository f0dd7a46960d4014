//! `live-response schema`: the documents that follow from the commands' definitions.
//!
//! Invariant: the same binary always writes the same bytes; `schemas/` in the repository is what it writes.

use super::Exit;
use super::io::Io;
use crate::commands;
use crate::error::{Error, ErrorCode, Result};
use crate::registry::{command_table, input_schema, open_rpc, output_schema};
use serde::Serialize;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- commands -->";
const END: &str = "<!-- /commands -->";

#[derive(clap::Args)]
pub struct Args {
    /// Writes them below this directory, and the table of commands into ./README.md where that has a place for it
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

pub(super) fn run(args: &Args, io: &mut Io) -> Result<Exit> {
    let Some(dir) = &args.write else {
        io.say(pretty(&open_rpc(commands::ALL))?.trim_end())?;
        return Ok(Exit::Done);
    };
    for (path, text) in documents()? {
        let path = dir.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| Error::io(parent.display(), e))?;
        }
        std::fs::write(&path, text).map_err(|e| Error::io(path.display(), e))?;
    }
    let readme = Path::new("README.md");
    if let Ok(text) = std::fs::read_to_string(readme)
        && let Some(fresh) = with_table(&text)
    {
        std::fs::write(readme, fresh).map_err(|e| Error::io(readme.display(), e))?;
    }
    Ok(Exit::Done)
}

/// Every generated file, by its path below `schemas/`.
pub fn documents() -> Result<Vec<(PathBuf, String)>> {
    let mut out = vec![(PathBuf::from("openrpc.json"), pretty(&open_rpc(commands::ALL))?)];
    for tool in commands::ALL.iter().chain(commands::TENANT) {
        let name = tool.spec().name;
        let tools = Path::new("tools");
        out.push((tools.join(format!("{name}.input.json")), pretty(&input_schema(*tool))?));
        out.push((tools.join(format!("{name}.output.json")), pretty(&output_schema(*tool))?));
    }
    Ok(out)
}

/// A README with a fresh table of commands between its marks; `None` where it has no marks.
pub fn with_table(readme: &str) -> Option<String> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}{END}{after}", command_table(commands::ALL)))
}

fn pretty<T: Serialize>(value: &T) -> Result<String> {
    let text = serde_json::to_string_pretty(value);
    text.map(|t| t + "\n").map_err(|e| Error::new(ErrorCode::Internal, "a schema has no JSON form").source(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_replaces_the_one_between_the_marks() {
        let fresh = with_table("a\n<!-- commands -->\nthe table before\n<!-- /commands -->\nb\n").unwrap();
        assert!(fresh.starts_with("a\n<!-- commands -->\n| command |"), "{fresh}");
        assert!(fresh.ends_with("<!-- /commands -->\nb\n") && !fresh.contains("the table before"));
        assert_eq!(with_table(&fresh).as_deref(), Some(fresh.as_str()));
        assert_eq!(with_table("no marks"), None);
    }
}

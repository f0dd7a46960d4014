//! `live-response completions SHELL`.

use super::Exit;
use super::io::Io;
use crate::error::{Error, Result};
use clap_complete::Shell;
use std::io::Write;

#[derive(clap::Args)]
pub(super) struct Args {
    shell: Shell,
}

pub(super) fn run(args: &Args, command: &mut clap::Command, io: &mut Io) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "live-response", &mut script);
    io.out.write_all(&script).map_err(|e| Error::io("stdout", e))?;
    Ok(Exit::Done)
}

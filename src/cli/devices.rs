//! `live-response devices`: what can be connected to.

use super::io::Io;
use super::{Exit, listing};
use crate::config::Config;
use crate::dispatcher::{Dispatcher, Extent};
use crate::error::{Error, ErrorCode, Result};
use crate::principal::Transport;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A JSON array with every field
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Config, args: Args, io: &mut Io) -> Result<Exit> {
    let answered = super::block_on(async {
        let connection = Dispatcher::new(config).connect(Transport::Call);
        connection.call("devices", "{}", Extent::All).await
    })?;
    if let Some(e) = &answered.result.error {
        let code = ErrorCode::parse(&e.code).unwrap_or(ErrorCode::Internal);
        return Err(Error::new(code, e.message.clone()));
    }
    for warning in &answered.result.warnings {
        io.note(&format!("warning: {warning}"));
    }
    if let Some(all) = answered.rows {
        listing::print_selected(&*all.rows, &all.selection, all.columns, args.json, io)?;
    }
    Ok(Exit::Done)
}

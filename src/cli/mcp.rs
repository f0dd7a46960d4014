//! `live-response mcp`: the tools over MCP on stdio.

use super::Exit;
use crate::commands;
use crate::config::Config;
use crate::dispatcher::Dispatcher;
use crate::error::{Error, ErrorCode, Result};
use crate::front;
use crate::nearest::nearest;
use crate::principal::Transport;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Offers only the tools that change nothing
    #[arg(long)]
    read_only: bool,
    /// Offers only these tools, parted by commas
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    tools: Option<Vec<String>>,
    /// Puts the output schemas into the tool list
    #[arg(long)]
    output_schemas: bool,
}

pub(super) fn run(config: &Config, args: Args) -> Result<Exit> {
    args.tools.iter().flatten().try_for_each(|name| known(name))?;
    let options = front::mcp::Options {
        read_only: args.read_only,
        tools: args.tools,
        output_schemas: args.output_schemas,
        tenant: config.defender.is_some(),
    };
    super::block_on(async {
        let connection = Dispatcher::new(config).connect(Transport::Mcp);
        front::mcp::serve(connection, options).await
    })?;
    Ok(Exit::Done)
}

fn known(name: &str) -> Result<()> {
    if commands::find(name).is_some() {
        return Ok(());
    }
    let e = Error::new(ErrorCode::BadArgs, format!("--tools: there is no tool {name:?}"));
    Err(match nearest(name, commands::ALL.iter().map(|t| t.spec().name)) {
        Some(near) => e.hint(format!("did you mean {near:?}?")),
        None => e.hint("`live-response console -c help` lists them"),
    })
}

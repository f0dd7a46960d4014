//! `live-response rpc`: the tools as JSON-RPC methods on stdio.

use super::Exit;
use crate::config::Config;
use crate::dispatcher::Dispatcher;
use crate::error::Result;
use crate::front;
use crate::principal::Transport;

pub(super) fn run(config: &Config) -> Result<Exit> {
    super::block_on(async {
        let connection = Dispatcher::new(config).connect(Transport::Rpc);
        front::jsonrpc::serve(connection).await
    })?;
    Ok(Exit::Done)
}

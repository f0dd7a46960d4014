//! The Model Context Protocol on stdio: every tool of the registry for an assistant's client, in every version of the
//! protocol that `rmcp` speaks.
//!
//! Invariants: a tool's arguments go on as the text that the client sent; an answer is rendered once, as text; nothing
//! that a client says or leaves out approves anything, and it is never asked to.

mod handler;
mod list;
mod resource;
mod transport;

use super::lines::Lines;
use super::{Wire, watch};
use crate::commands;
use crate::dispatcher::Connection;
use crate::error::Result;
use crate::registry::Tool;
use handler::Handler;
use std::sync::Arc;
use transport::StrictTransport;

/// Which tools a client sees, and how much of them.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only tools that change no device.
    pub read_only: bool,
    /// Only these.
    pub tools: Option<Vec<String>>,
    /// Send output schemas with the list of tools.
    pub output_schemas: bool,
    /// Whether a tenant is configured.
    pub tenant: bool,
}

impl Options {
    fn offers(&self, tool: &dyn Tool) -> bool {
        let spec = tool.spec();
        let named = self.tools.as_ref().is_none_or(|names| names.iter().any(|n| n == spec.name));
        let of_tenant = commands::TENANT.iter().any(|t| t.spec().name == spec.name);
        named && (self.tenant || !of_tenant) && !(self.read_only && spec.effect.changes())
    }

    /// The tools that a client sees, in the registry's order.
    fn offered(&self) -> impl Iterator<Item = &'static dyn Tool> {
        commands::ALL.iter().chain(commands::TENANT).copied().filter(|tool| self.offers(*tool))
    }
}

/// Serves one client on stdio until its input ends; needs a runtime with I/O and time.
pub async fn serve(connection: Arc<Connection>, options: Options) -> Result<()> {
    let (input, output) = rmcp::transport::stdio_pipes();
    let wire = Wire::new(connection, output);
    let watching = tokio::spawn(watch(wire.input_over.clone(), wire.gone.clone()));
    let transport = StrictTransport::new(wire.clone(), Lines::new(input));
    run(&wire, options, transport).await;
    wire.finish().await;
    watching.abort();
    Ok(())
}

async fn run<R, W>(wire: &Arc<Wire<W>>, options: Options, transport: StrictTransport<R, W>)
where
    R: tokio::io::AsyncRead + Unpin + Send + 'static,
    W: tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let handler = Handler::new(wire.clone(), options);
    match rmcp::serve_server(handler, transport).await {
        Ok(running) => {
            if let Err(broken) = running.waiting().await {
                tracing::error!(%broken, "the protocol loop broke off");
            }
        }
        // Its input ended before it said anything.
        Err(e) => tracing::debug!(%e, "no session was opened"),
    }
}

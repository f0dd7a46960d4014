//! `live-response console [DEVICE]`: the Live Response console.

use super::Exit;
use super::io::Io;
use crate::config::Config;
use crate::dispatcher::Dispatcher;
use crate::error::Result;
use crate::front::console::{self, Options, Verdict};
use crate::principal::Transport;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The device to connect to, by id or name
    #[arg(default_value = "local")]
    device: String,
    /// Runs these lines, parted by ; or line ends, and ends
    #[arg(short, value_name = "LINES", allow_hyphen_values = true)]
    command: Option<String>,
}

pub(super) fn run(config: &Config, args: Args, io: &mut Io) -> Result<Exit> {
    let options = Options {
        device: args.device,
        lines: args.command,
        terminal: io.terminal,
        history: config.home.join("console_history"),
    };
    let verdict = super::block_on(async {
        let dispatcher = Dispatcher::new(config);
        console::run(dispatcher.connect(Transport::Console), options).await
    });
    Ok(match verdict? {
        Verdict::Completed => Exit::Done,
        Verdict::Failed => Exit::Failed,
        Verdict::Usage => Exit::Usage,
        Verdict::Refused => Exit::Refused,
        Verdict::Pending => Exit::Pending,
    })
}

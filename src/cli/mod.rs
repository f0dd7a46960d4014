//! The command line: one file a subcommand, and what each of them ends with.
//!
//! Invariants: stdout carries answers only, everything else goes to stderr, cleaned; the exit codes are those of the
//! contract; a runtime is started in one place, and a thread that is stuck never keeps the process alive.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

mod approvals;
mod approver;
mod audit;
mod call;
mod completions;
mod console;
mod demo;
mod devices;
mod doctor;
mod evidence;
mod io;
mod library;
mod listing;
mod mcp;
mod policy;
mod rpc;
pub mod schema;

use crate::config::Config;
use crate::error::{Error, ErrorCode, Result};
use clap::{CommandFactory, Parser, Subcommand};
use io::Io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Microsoft Defender Live Response commands as typed tools for AI assistants, and a guard that asks a person first.
#[derive(Parser)]
#[command(name = "live-response", version, max_term_width = 100)]
struct Cli {
    /// Configuration file [default: $LIVE_RESPONSE_CONFIG, else live-response/config.toml in the configuration folder]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand)]
enum Sub {
    /// Serves the commands as MCP tools on stdio
    Mcp(mcp::Args),
    /// Serves the commands as JSON-RPC 2.0 methods on stdio, one message a line
    Rpc,
    /// The Live Response console
    Console(console::Args),
    /// Calls one tool and prints its result object
    Call(call::Args),
    /// The person's side: shows what an assistant asks for, and says yes or no
    #[command(subcommand)]
    Approvals(approvals::Sub),
    /// People who may approve, and their factors
    #[command(subcommand)]
    Approver(approver::Sub),
    /// Collected files, their custody and integrity
    #[command(subcommand)]
    Evidence(evidence::Sub),
    /// The script library: what `run` and `putfile` take
    #[command(subcommand)]
    Library(library::Sub),
    /// The audit log
    #[command(subcommand)]
    Audit(audit::Sub),
    /// A triage of this host through a real MCP session, in a throw-away home
    Demo,
    /// What can be connected to
    Devices(devices::Args),
    /// The guard's policy
    #[command(subcommand)]
    Policy(policy::Sub),
    /// The tools' JSON Schemas and the OpenRPC document
    Schema(schema::Args),
    /// What works here, and what is missing
    Doctor(doctor::Args),
    /// Holds an isolation: started by the program itself
    #[command(hide = true)]
    DeadMan { home: PathBuf },
    /// Completions for a shell, on stdout
    Completions(completions::Args),
    /// Stands over an approved script; this program starts it
    #[cfg(all(target_os = "linux", feature = "run"))]
    #[command(hide = true)]
    Supervise,
}

/// How the process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    Done,
    /// Failed, refused (save for a call), cancelled, expired, unknown.
    Failed,
    Usage,
    /// A call was refused.
    Refused,
    /// A call waits for a person.
    Pending,
}

impl Exit {
    const fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Pending => 4,
        }
    }
}

/// Runs the process's command line.
pub fn run() -> ExitCode {
    crate::trace::start();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // What was typed stands in the message.
        Err(e) if e.use_stderr() => {
            let mut io = Io::standard();
            e.to_string().trim_end().lines().for_each(|line| io.note(&crate::shape::clean(line)));
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2));
        }
        Err(e) => {
            // Help and version are answers; a complaint quotes what was given and is cleaned.
            match e.use_stderr() {
                true => Io::standard().note(&e.render().to_string()),
                false => drop(e.print()),
            }
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2));
        }
    };
    #[cfg(all(target_os = "linux", feature = "run"))]
    if matches!(cli.command, Sub::Supervise) {
        return crate::supervise::run();
    }
    let mut io = Io::standard();
    let exit = perform(cli, &mut io).unwrap_or_else(|e| ended(&mut io, &e));
    ExitCode::from(exit.code())
}

fn perform(cli: Cli, io: &mut Io) -> Result<Exit> {
    let config = || Config::load(cli.config.as_deref());
    match cli.command {
        Sub::Mcp(args) => mcp::run(&config()?, args),
        Sub::Rpc => rpc::run(&config()?),
        Sub::Console(args) => console::run(&config()?, args, io),
        Sub::Call(args) => call::run(config(), args, io),
        Sub::Approvals(sub) => approvals::run(&config()?, sub, io),
        Sub::Approver(sub) => approver::run(&config()?, sub, io),
        Sub::Evidence(sub) => evidence::run(&config()?, sub, io),
        Sub::Library(sub) => library::run(&config()?, sub, io),
        Sub::Audit(sub) => audit::run(&config()?, sub, io),
        Sub::Demo => demo::run(io),
        Sub::Devices(args) => devices::run(&config()?, args, io),
        Sub::Policy(sub) => policy::run(&config()?, sub, io),
        Sub::Schema(args) => schema::run(&args, io),
        Sub::Doctor(args) => doctor::run(config(), args, io),
        Sub::DeadMan { home } => crate::dead_man::run(home, &mut io.out).map(|()| Exit::Done),
        Sub::Completions(args) => completions::run(&args, &mut Cli::command(), io),
        #[cfg(all(target_os = "linux", feature = "run"))]
        Sub::Supervise => Ok(Exit::Done),
    }
}

/// An error's last word on stderr. A reader that has gone away wants none.
fn ended(io: &mut Io, e: &Error) -> Exit {
    if !e.is_broken_pipe() {
        io.complain(e);
    }
    if e.code == ErrorCode::BadArgs { Exit::Usage } else { Exit::Failed }
}

/// The one place where a runtime is started: one thread, as little as a stdio server needs.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|e| Error::io("the runtime", e))
}

/// Runs to the end; what is stuck in a thread is left behind.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = runtime()?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(target_os = "linux", feature = "run"))]
    #[test]
    fn the_supervisor_has_its_name() {
        let cli = Cli::try_parse_from(["live-response", crate::supervise::SUBCOMMAND]).unwrap();
        assert!(matches!(cli.command, Sub::Supervise));
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}

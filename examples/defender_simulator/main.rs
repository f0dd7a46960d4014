//! A simulated Microsoft Defender for Endpoint tenant, for trying and testing the backend without one.
//!
//! It serves the documented REST API on loopback, plain http. Its Linux devices are throw-away roots in which scripts
//! run for real; its Windows devices replay recordings. It touches nothing outside its own temporary folder.

mod access;
mod actions;
mod answer;
mod archive;
mod configuration;
mod connection;
mod control;
mod devices;
mod endpoint;
mod entra;
mod faults;
mod files;
mod gzip;
mod hunting;
mod intel;
mod library;
mod linux;
mod live;
mod machines;
mod odata;
mod options;
mod results;
mod scratch;
mod seed;
mod service;
mod tenant;
mod times;
mod windows;

use clap::Parser;
use options::Options;
use service::Simulator;
use std::io::Write;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    many_files()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(run(options));
    // A blocking read of stdin may stand there for ever.
    runtime.shutdown_background();
    ended
}

/// Each device and each result keeps a file open.
fn many_files() -> rustix::io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    if !options.listen.ip().is_loopback() {
        return Err(format!("{} is not a loopback address: the simulator speaks plain http", options.listen).into());
    }
    let until_eof = options.until_eof;
    let listener = tokio::net::TcpListener::bind(options.listen).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let simulator = Arc::new(Simulator::new(options, url.clone())?);
    configuration::write(&simulator)?;
    println!("listening on {url}");
    std::io::stdout().flush()?;

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        served = connection::serve(listener, simulator.clone()) => served?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hang_up.recv() => {}
        () = end_of_input(), if until_eof => {}
    }
    simulator.end().await;
    Ok(())
}

async fn end_of_input() {
    let mut stdin = tokio::io::stdin();
    let mut bytes = [0; 256];
    while matches!(stdin.read(&mut bytes).await, Ok(n) if n > 0) {}
}

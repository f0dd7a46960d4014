//! The command line. A limit of 0 is no limit.

use clap::{Parser, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// A simulated Microsoft Defender for Endpoint tenant.
#[derive(Parser, Debug, Clone)]
#[command(name = "defender_simulator")]
pub struct Options {
    /// A loopback address; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8443")]
    pub listen: SocketAddr,
    /// How many devices the tenant has.
    #[arg(long, default_value_t = 50)]
    pub devices: usize,
    /// What the tenant has.
    #[arg(long, value_enum, default_value_t = Platforms::Mixed)]
    pub platforms: Platforms,
    /// The same seed gives the same ids.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Writes `config.toml` and the client's secret into this folder.
    #[arg(long, value_name = "DIR")]
    pub config_out: Option<PathBuf>,
    /// Divides the times of actions and the three days that an offline device is waited for.
    #[arg(long, default_value_t = 1.0)]
    pub speed: f64,
    /// How long an action takes at speed 1, in milliseconds; a script that takes longer takes longer.
    #[arg(long, default_value_t = 2000)]
    pub action_ms: u64,
    /// How long a fresh action answers 404, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub unseen_ms: u64,
    /// Live responses started within a minute.
    #[arg(long, default_value_t = 10)]
    pub starts_per_minute: usize,
    /// Live responses that run at the same time.
    #[arg(long, default_value_t = 25)]
    pub sessions: usize,
    /// Calls of each endpoint within a minute; where the API documents 100.
    #[arg(long, default_value_t = 100)]
    pub calls_per_minute: usize,
    /// Calls of each endpoint within an hour; where the API documents 1500.
    #[arg(long, default_value_t = 1500)]
    pub calls_per_hour: usize,
    /// Hunting queries within a minute.
    #[arg(long, default_value_t = 45)]
    pub hunts_per_minute: usize,
    /// Package links within a minute.
    #[arg(long, default_value_t = 2)]
    pub package_links_per_minute: usize,
    /// Rows on a page of a collection.
    #[arg(long, default_value_t = 10_000)]
    pub page_size: usize,
    /// Gives `@odata.nextLink` where a page is not the last.
    #[arg(long)]
    pub next_link: bool,
    /// How long a token is valid, in seconds.
    #[arg(long, default_value_t = 3599)]
    pub token_s: u64,
    /// How long a result link is valid, in seconds.
    #[arg(long, default_value_t = 1800)]
    pub link_s: u64,
    /// After how many seconds a script is ended.
    #[arg(long, default_value_t = 600)]
    pub script_limit_s: u64,
    /// Two live responses that start within the same second both run on one device.
    #[arg(long)]
    pub same_second_starts: bool,
    /// Registers the certificate (PEM) whose key signs client assertions.
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Orders for the control endpoint, carried out at the start (TOML: `[[order]]` tables).
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Ends at the end of stdin too.
    #[arg(long)]
    pub until_eof: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Platforms {
    Mixed,
    Windows,
    Linux,
}

//! Logs: to stderr only, `RUST_LOG` decides, `trace` switches debug on and off while the process runs.
//!
//! Invariant: nothing is set up on stdout, which carries protocol. Device text is in no log line but the debug source
//! of an error, and every line is cleaned on its way out.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();
static DEBUG: AtomicBool = AtomicBool::new(false);

/// `rmcp` warns of every error it answers and of every client that goes.
const QUIET: &str = "warn,rmcp=off";
const LOUD: &str = "live_response=debug,warn,rmcp=off";

/// Starts logging; a second call changes nothing.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(QUIET));
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Cleaned(std::io::stderr())).with_ansi(false);
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// Debug logging on, off, or the other of what it is. Gives what it is now.
pub fn switch(enabled: Option<bool>) -> bool {
    let enabled = enabled.unwrap_or_else(|| !DEBUG.load(Relaxed));
    DEBUG.store(enabled, Relaxed);
    if let Some(handle) = FILTER.get() {
        let _ = handle.reload(EnvFilter::new(if enabled { LOUD } else { QUIET }));
    }
    enabled
}

/// A log line on its way to a terminal.
struct Cleaned<W>(W);

impl<W: Write> Write for Cleaned<W> {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        for part in text.split_inclusive('\n') {
            let (body, end) = part.strip_suffix('\n').map_or((part, ""), |body| (body, "\n"));
            self.0.write_all(crate::shape::clean(body).as_bytes())?;
            self.0.write_all(end.as_bytes())?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

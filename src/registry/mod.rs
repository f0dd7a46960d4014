//! What a command is, and everything that follows from its one definition: JSON and console parsing, schemas, help,
//! documents. Knows no command by name.

mod acquaint;
mod adopt;
mod args;
mod captured;
pub mod console;
mod context;
mod follow;
mod help;
mod output;
mod schema;
mod spec;
mod sweep;

pub use crate::guard::Shelved;
pub use crate::session::{Examined, TranscriptLine};
pub use args::{Common, canonical, one_line, split};
pub use captured::seal_output;
pub use context::{Call, Context, Core, Resume, blocking};
pub(crate) use follow::running;
pub use follow::{Followed, JobRow, request_result};
pub use help::{command_help, command_table, console_spec};
pub use output::{Body, ListingOr, ListingOrOutcome, Object, Output};
pub use schema::{description, input_schema, open_rpc, output_schema, wordless};
pub use spec::{Command, Effect, Erased, Reply, Spec, Tool};
pub use sweep::{Swept, swept};

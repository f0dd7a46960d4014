//! What can be asked of a device and what it answers, as data: queries, rows, wishes, steps, plan. No I/O.
//!
//! Because it is data it can be batched into one script, stored in a plan, or sent to an agent. Text that a device
//! wrote is [`Untrusted`] or a [`DevicePath`]; both clean themselves when they are serialised.

mod collect;
mod device;
mod file;
mod file_row;
mod hunt;
mod ids;
mod indicator;
mod inventory;
mod isolation;
mod job;
mod kept;
mod library;
mod path;
mod plan;
mod process;
mod query;
mod report;
mod row;
mod target;
mod tenant;
mod time;

pub use collect::*;
pub use device::*;
pub use file::*;
pub use file_row::*;
pub use hunt::*;
pub use ids::*;
pub use indicator::*;
pub use inventory::*;
pub use isolation::*;
pub use job::*;
pub use kept::*;
pub use library::*;
pub use path::*;
pub use plan::*;
pub use process::*;
pub use query::*;
pub use report::*;
pub use row::*;
pub use target::*;
pub use tenant::*;
pub use time::*;

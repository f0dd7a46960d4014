//! WHAT: one file per Live Response command and per helper. This file lists them and has no logic.

mod analyze;
mod cancel;
mod cd;
mod cls;
mod collect;
mod connect;
mod connections;
mod devices;
mod dir;
mod disconnect;
mod drivers;
mod entities;
mod evidence;
mod fg;
mod fileinfo;
mod findfile;
mod getfile;
mod help;
mod hunt;
mod indicator;
mod isolate;
mod jobs;
mod library;
mod persistence;
mod processes;
mod putfile;
mod registry;
mod release;
mod remediate;
mod run;
mod scan;
mod scheduledtasks;
mod services;
mod startupfolders;
mod status;
mod trace;
mod undo;

pub use library::LibraryRow;

use crate::registry::{Erased, Tool};
use std::sync::LazyLock;

/// Every tool, in the order of lists and help: basic commands, advanced ones, helpers.
pub static ALL: &[&dyn Tool] = &[
    &Erased::<connect::Connect>::new(),
    &Erased::<cd::Cd>::new(),
    &Erased::<dir::Dir>::new(),
    &Erased::<connections::Connections>::new(),
    &Erased::<drivers::Drivers>::new(),
    &Erased::<fileinfo::Fileinfo>::new(),
    &Erased::<findfile::Findfile>::new(),
    &Erased::<getfile::Getfile>::new(),
    &Erased::<persistence::Persistence>::new(),
    &Erased::<processes::Processes>::new(),
    &Erased::<registry::Registry>::new(),
    &Erased::<scheduledtasks::Scheduledtasks>::new(),
    &Erased::<services::Services>::new(),
    &Erased::<startupfolders::Startupfolders>::new(),
    &Erased::<help::Help>::new(),
    &Erased::<jobs::Jobs>::new(),
    &Erased::<fg::Fg>::new(),
    &Erased::<status::Status>::new(),
    &Erased::<trace::Trace>::new(),
    &Erased::<cls::Cls>::new(),
    &Erased::<analyze::Analyze>::new(),
    &Erased::<collect::Collect>::new(),
    &Erased::<isolate::Isolate>::new(),
    &Erased::<release::Release>::new(),
    &Erased::<run::Run>::new(),
    &Erased::<library::Library>::new(),
    &Erased::<putfile::Putfile>::new(),
    &Erased::<remediate::Remediate>::new(),
    &Erased::<scan::Scan>::new(),
    &Erased::<undo::Undo>::new(),
    &Erased::<devices::Devices>::new(),
    &Erased::<disconnect::Disconnect>::new(),
    &Erased::<cancel::Cancel>::new(),
    &Erased::<evidence::Evidence>::new(),
];

/// Tools about a Defender tenant as a whole: listed where one is configured.
pub static TENANT: &[&dyn Tool] = &[&Erased::<hunt::Hunt>::new(), &Erased::<indicator::Indicator>::new()];

/// The tools that are listed: the tenant's too where there is one.
pub fn listed(tenant: bool) -> &'static [&'static dyn Tool] {
    static BOTH: LazyLock<Vec<&dyn Tool>> = LazyLock::new(|| ALL.iter().chain(TENANT).copied().collect());
    if tenant { &BOTH } else { ALL }
}

/// A tool by its exact name: no case folding, no aliases.
pub fn find(name: &str) -> Option<&'static dyn Tool> {
    ALL.iter().chain(TENANT).copied().find(|tool| tool.spec().name == name)
}

//! What changes this host: files, lines and links that go and come back, processes and services that are stopped, and its
//! isolation.
//!
//! Invariant: no deed begins without an [`Order`], taken by value (the dead-man goes on with one), and every order is checked again against the
//! entity on the opened handle. An entity that is not the approved one is left as it is and reported as drift.
#![allow(clippy::disallowed_methods)]

mod bytes;
mod collect;
mod dead_man;
mod exchange;
mod isolate;
mod line;
mod link;
mod nft;
mod place;
mod put;
mod quarantine;
mod record;
mod restore;
#[cfg(feature = "run")]
mod run;
mod service;
mod stop;
mod value;

pub use dead_man::{hold, revive};
pub use nft::program as nft_program;
pub use place::Place;
pub use record::{Kept, KeptFile, KeptLine, KeptProcess, KeptValue, Quarantine, Standing, What, undo_id};

use super::systemd_bus::SystemdBus;
use super::watch::Watch;
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Order;
use crate::model::{End, Job, Outcome, PackageFacts, ProcessTarget, Profile, Remediated, Step, Supply, Unit, Verified};
use std::io::Write;
use std::path::Path;

/// Writes a package of this host.
pub type Pack<'a> = dyn Fn(Profile, &mut dyn Write, &Job) -> Result<PackageFacts> + 'a;

/// What one order came to.
enum Did {
    Done {
        row: Box<Remediated>,
        verified: Verified,
    },
    /// The entity is not the approved one; nothing was done to it.
    Drift(String),
    Failed(Error),
    /// Begun and ended before its end.
    Broken {
        row: Box<Remediated>,
        error: Error,
    },
    /// It may have happened.
    Unknown {
        row: Box<Remediated>,
        message: String,
    },
}

/// What effects need of this host beside their orders.
pub struct Ground<'a> {
    pub store: &'a Quarantine,
    /// Where the system's manager of services answers, where it runs.
    pub bus: Option<&'a SystemdBus>,
    /// Where the bytes of library files come from.
    pub supply: &'a dyn Supply,
    /// A folder of our own for what is too big for memory.
    pub spill: &'a Path,
    /// Makes packages.
    pub pack: &'a Pack<'a>,
}

impl Did {
    fn done(row: Remediated, verified: Verified) -> Did {
        Did::Done { row: Box::new(row), verified }
    }

    fn unknown(row: Remediated, message: String) -> Did {
        Did::Unknown { row: Box::new(row), message }
    }
}

/// Carries the orders out, one after the other, and stops at the first that is not done.
pub fn carry_out(orders: impl Iterator<Item = Order>, ground: &Ground<'_>, job: &Job) -> Outcome {
    let mut outcome = Outcome { rows: Vec::new(), verified: Verified::Yes, end: End::Done, warnings: Vec::new() };
    let count = orders.size_hint().1.unwrap_or(0);
    job.expect(Unit::Steps, u64::try_from(count).unwrap_or(0));
    ground.store.sweep();
    let mut before = Before::default();
    for (index, order) in orders.enumerate() {
        let process = match order.step() {
            Step::Stop { process, .. } => Some(process.clone()),
            _ => None,
        };
        let did = match job.check() {
            Err(e) => Did::Failed(e),
            Ok(()) => carry_out_one(order, &mut before, ground, job),
        };
        before.stopped = process;
        match did {
            Did::Done { row, verified } => {
                outcome.rows.push(*row);
                outcome.verified = outcome.verified.and(verified);
                job.advance(1);
                continue;
            }
            Did::Drift(message) => outcome.end = End::Drift { step: index, message },
            Did::Failed(e) => outcome.end = End::failed(&e),
            Did::Broken { row, error } => {
                outcome.rows.push(*row);
                outcome.end = End::failed(&error);
            }
            Did::Unknown { row, message } => {
                outcome.rows.push(*row);
                outcome.end = End::Unknown { message };
            }
        }
        outcome.verified = outcome.verified.and(Verified::No);
        break;
    }
    outcome.warnings = job.take_warnings();
    outcome
}

/// What steps before have done that later ones build on.
#[derive(Default)]
struct Before {
    /// The process that the step before has stopped.
    stopped: Option<ProcessTarget>,
    replaced: line::Replaced,
    hives: value::Hives,
}

fn carry_out_one(order: Order, before: &mut Before, ground: &Ground<'_>, job: &Job) -> Did {
    let (store, bus) = (ground.store, ground.bus);
    match order.step() {
        Step::Quarantine { .. } => quarantine::quarantine(order, before.stopped.as_ref(), store, job),
        Step::Restore { .. } => restore::restore(order, store, job),
        Step::Stop { .. } => stop::stop(order, store, job),
        Step::Isolate { .. } => isolate::isolate(order, &Watch::new(store.home()), job),
        Step::Release { .. } => isolate::release(order, &Watch::new(store.home()), job),
        Step::Collect { .. } => collect::collect(order, ground.pack, job),
        Step::CutLine { .. } => line::cut(order, &mut before.replaced, store),
        Step::PutLine { .. } => line::put(order, &mut before.replaced, store),
        Step::CutValue { .. } => value::cut(order, &mut before.hives, store, job),
        Step::PutValue { .. } => value::put(order, &mut before.hives, store, job),
        Step::StopService { .. } => service::stop(order, bus, store, job),
        Step::StartService { .. } => service::start(order, bus, store, job),
        Step::RemoveLink { .. } => link::remove(order, store),
        Step::RestoreLink { .. } => link::restore(order, store),
        Step::Mask { .. } => link::mask(order, store),
        Step::Unmask { .. } => link::unmask(order, store),
        Step::ReloadServices => service::reload(order, bus, job),
        #[cfg(feature = "run")]
        Step::Run { .. } => run::run(order, ground.supply, ground.spill, job),
        #[cfg(not(feature = "run"))]
        Step::Run { .. } => Did::Failed(Error::new(ErrorCode::Unsupported, "this build has no code to run scripts")),
        Step::Put { .. } => put::put(order, ground.supply, job),
        Step::Tenant { .. } => {
            Did::Failed(Error::new(ErrorCode::Unsupported, "what a tenant does is not done by this host"))
        }
        Step::Disclose { .. } | Step::DeleteScript { .. } => Did::Failed(Error::new(
            ErrorCode::Unsupported,
            "what lies in this program's own stores is not done on a device",
        )),
    }
}

/// A place where a test ends this process as `kill -9` would.
#[cfg(test)]
fn fault(point: &str) {
    if std::env::var_os("LR_TEST_FAULT").is_some_and(|f| f == point) {
        std::process::abort();
    }
}

#[cfg(not(test))]
const fn fault(_: &str) {}

#[cfg(test)]
mod tests;

//! Stops and starts units of the running service manager.
//!
//! Invariant: a unit is stopped only while its files are those of the plan; that it may be stopped is durable before the
//! manager is asked.

use super::bytes;
use super::place::Place;
use super::record::{Kept, Phase, Quarantine, Standing, What};
use super::restore::take;
use super::{Did, fault};
use crate::device::local::linux::systemd_bus::SystemdBus;
use crate::error::{Error, ErrorCode};
use crate::guard::Order;
use crate::model::{Job, Remediated, ServiceTarget, Step, Timestamp, Verified};
use crate::shape::Untrusted;

pub fn stop(order: Order, bus: Option<&SystemdBus>, store: &Quarantine, job: &Job) -> Did {
    let Step::StopService { service, part_of } = order.step() else {
        return Did::Failed(Error::new(ErrorCode::Internal, "an order to stop a service names none"));
    };
    let Some(bus) = bus else { return Did::Failed(no_manager()) };
    if let Err(did) = check(service) {
        return did;
    }
    let what = What::Service { unit: service.unit.clone(), was: service.state.clone() };
    let begun = Kept::begin(&order, None, None);
    let mut kept = Kept { part_of: Some(part_of.clone()), what: Some(what), ..begun };
    let folder = match store.create(&kept.undo_id) {
        Ok(folder) => folder,
        Err(e) => return Did::Failed(e),
    };
    if let Err(e) = folder.write(&mut kept, Phase::Kept) {
        folder.discard();
        return Did::Failed(e);
    }
    fault("stop_announced");
    let stopped = bus.stop(&order, &service.unit, job);
    fault("service_stopped");
    let state = match stopped {
        Ok(state) => state,
        Err(e) => {
            // Whether it heard is not known: the record says that it may be stopped, and `undo` starts it.
            return Did::unknown(kept.row(Standing::ServiceStopped), e.message);
        }
    };
    let written = folder.write(&mut kept, Phase::Stopped);
    let row = kept.row(Standing::ServiceStopped);
    match written {
        Err(e) => Did::unknown(row, e.message),
        Ok(()) if is_down(&state) => Did::done(row, Verified::Yes),
        Ok(()) => Did::unknown(row, format!("{} was told to stop and is {state}", service.unit)),
    }
}

pub fn start(order: Order, bus: Option<&SystemdBus>, store: &Quarantine, job: &Job) -> Did {
    let Step::StartService { undo_id, unit } = order.step() else {
        return Did::Failed(Error::new(ErrorCode::Internal, "an order to start a service names none"));
    };
    let Some(bus) = bus else { return Did::Failed(no_manager()) };
    let (folder, mut kept, _) = match take(store, undo_id) {
        Ok(taken) => taken,
        Err(did) => return did,
    };
    if !matches!(&kept.what, Some(What::Service { unit: recorded, .. }) if recorded == unit) {
        return Did::Drift(format!("the undo record {undo_id} is not the one that was approved"));
    }
    let state = match bus.start(&order, unit, job) {
        Ok(state) => state,
        Err(e) => return Did::Failed(e),
    };
    let written = folder.write(&mut kept, Phase::Restored);
    let mut row = kept.row(Standing::Started);
    row.note = Some(Untrusted::new(format!("{unit} is {state}")));
    match written {
        Ok(()) if state == "active" => Did::done(row, Verified::Yes),
        Ok(()) if state == "failed" => Did::done(row, Verified::No),
        // It starts, or it ran and has ended.
        Ok(()) => Did::done(row, Verified::Unknown),
        Err(e) => Did::unknown(row, e.message),
    }
}

pub fn reload(order: Order, bus: Option<&SystemdBus>, job: &Job) -> Did {
    let Some(bus) = bus else { return Did::Failed(no_manager()) };
    match bus.reload(&order, job) {
        Ok(()) => Did::done(
            Remediated {
                r#type: "service".into(),
                id: Untrusted::new("systemd"),
                outcome: "reloaded".into(),
                undo_id: None,
                path: None,
                sha256: None,
                size_bytes: None,
                at: Some(Timestamp::now()),
                request_id: Some(order.request().clone()),
                exit_code: None,
                note: None,
            },
            Verified::Yes,
        ),
        Err(e) => Did::Failed(e),
    }
}

/// The files of the plan, or drift.
fn check(service: &ServiceTarget) -> Result<(), Did> {
    for file in &service.files {
        let read = Place::reach(&file.path)
            .and_then(|p| p.hold())
            .map_err(|e| Error::io(&file.path, e.into()))
            .and_then(|held| held.open())
            .and_then(|mut f| bytes::hash(&mut f, &Job::default()));
        match read {
            Ok((_, sha256)) if sha256 == file.sha256 => {}
            Ok(_) => return Err(Did::Drift(format!("{} has other content now", file.path))),
            Err(_) => return Err(Did::Drift(format!("{} cannot be read any more", file.path))),
        }
    }
    Ok(())
}

fn is_down(state: &str) -> bool {
    matches!(state, "inactive" | "failed" | "not-found")
}

fn no_manager() -> Error {
    Error::new(ErrorCode::Unsupported, "systemd does not run here any more")
}

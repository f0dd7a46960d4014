//! Turns on a device: who comes first starts first, and who waits is told for whom.
//!
//! Invariant: a lane is as long in the map as somebody stands in it.

use crate::device::defender::api::{ActionKind, MachineAction, MachineId};
use crate::device::defender::client::limits::stopped;
use crate::error::Result;
use crate::model::Job;
use crate::shape::clean;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;

type Key = (MachineId, ActionKind);

#[derive(Debug, Default)]
struct Lane {
    turn: Arc<tokio::sync::Mutex<()>>,
    held_by: Mutex<String>,
}

#[derive(Debug, Default)]
pub(super) struct Lanes(Arc<Mutex<HashMap<Key, Arc<Lane>>>>);

/// A turn, given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    place: Place,
    _guard: OwnedMutexGuard<()>,
}

/// Somebody who stands in a lane, waiting or at work.
#[derive(Debug)]
struct Place {
    lanes: Arc<Mutex<HashMap<Key, Arc<Lane>>>>,
    key: Key,
    lane: Arc<Lane>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's and this one's.
        if Arc::strong_count(&self.lane) <= 2 {
            lanes.remove(&self.key);
        }
    }
}

impl Place {
    fn held_by(&self) -> std::sync::MutexGuard<'_, String> {
        self.lane.held_by.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Names what holds the lane from now on.
    pub(super) fn holds(&self, action: &MachineAction) {
        *self.place.held_by() = format!("{} {} (\"{}\")", action.kind, action.id, comment(action));
    }
}

fn comment(action: &MachineAction) -> String {
    let text = action.requestor_comment.as_ref().map(|c| c.raw()).unwrap_or_default();
    clean(&text.chars().take(120).collect::<String>()).into_owned()
}

impl Lanes {
    pub(super) async fn enter(&self, machine: &MachineId, kind: &ActionKind, comment: &str, job: &Job) -> Result<Turn> {
        let place = self.place((machine.clone(), kind.clone()));
        let turn = place.lane.turn.clone();
        let guard = match turn.clone().try_lock_owned() {
            Ok(guard) => guard,
            Err(_) => {
                let who = place.held_by().clone();
                job.warn(format!("waited for its turn on the device: it was held by {who}"));
                tokio::select! {
                    guard = turn.lock_owned() => guard,
                    () = job.stopped() => return Err(super::busy(stopped(job), true, &place.held_by())),
                }
            }
        };
        let comment: String = comment.chars().take(120).collect();
        *place.held_by() = format!("{kind} of this server (\"{}\")", clean(&comment));
        Ok(Turn { place, _guard: guard })
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn place(&self, key: Key) -> Place {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(key.clone()).or_default().clone();
        Place { lanes: self.0.clone(), key, lane }
    }
}

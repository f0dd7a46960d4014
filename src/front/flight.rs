//! The requests of a client that have no answer yet: their ids, and what they hold.
//!
//! Invariant: an id stands here from its request to its answer, and a cancelled one until its work has ended and for
//! long after, so no answer goes to the wrong request.

use super::message::Id;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Requests without an answer; what comes beyond is turned away.
const MAX_REQUESTS: usize = 2048;
/// Bytes that they hold together.
const MAX_BYTES: usize = 8 << 20;
/// Cancelled ids that are remembered.
const MAX_RETIRED: usize = 1024;

#[derive(Default)]
pub struct Flight(Mutex<Requests>);

#[derive(Default)]
struct Requests {
    open: HashMap<Id, State>,
    bytes: usize,
    retired: VecDeque<Id>,
}

struct State {
    bytes: usize,
    cancelled: bool,
    /// The work has ended; its answer may still be under way.
    ended: bool,
    /// The answer's `result`, as JSON text.
    answer: Option<Arc<str>>,
}

/// Why a request cannot be taken.
#[derive(PartialEq, Eq, Debug)]
pub enum Full {
    IdInUse,
    TooMany,
}

/// A request's place; the last one dropped says that its work has ended.
pub struct Ticket {
    flight: Arc<Flight>,
    id: Id,
}

impl Flight {
    /// Takes a request in that holds so many bytes.
    pub fn begin(self: &Arc<Self>, id: &Id, bytes: usize) -> Result<Ticket, Full> {
        let mut requests = self.lock();
        if requests.open.contains_key(id) || requests.retired.contains(id) {
            return Err(Full::IdInUse);
        }
        if requests.open.len() >= MAX_REQUESTS || requests.bytes.saturating_add(bytes) > MAX_BYTES {
            return Err(Full::TooMany);
        }
        requests.bytes += bytes;
        requests.open.insert(id.clone(), State { bytes, cancelled: false, ended: false, answer: None });
        Ok(Ticket { flight: self.clone(), id: id.clone() })
    }

    /// The request is answered. Gives the answer that was laid down for it.
    pub fn end(&self, id: &Id) -> Option<Arc<str>> {
        let mut requests = self.lock();
        let state = requests.open.remove(id)?;
        requests.bytes -= state.bytes;
        state.answer
    }

    /// The client wants no answer any more.
    pub fn cancel(&self, id: &Id) {
        let mut requests = self.lock();
        if let Some(state) = requests.open.get_mut(id) {
            state.cancelled = true;
            if state.ended {
                requests.retire(id);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Requests {
    fn retire(&mut self, id: &Id) {
        if let Some(state) = self.open.remove(id) {
            self.bytes -= state.bytes;
        }
        if self.retired.len() == MAX_RETIRED {
            self.retired.pop_front();
        }
        self.retired.push_back(id.clone());
    }
}

impl Ticket {
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// Lays the answer's `result` down for [`Flight::end`].
    pub fn answer(&self, result: Arc<str>) {
        if let Some(state) = self.flight.lock().open.get_mut(&self.id) {
            state.answer = Some(result);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut requests = self.flight.lock();
        if let Some(state) = requests.open.get_mut(&self.id) {
            state.ended = true;
            if state.cancelled {
                requests.retire(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_full(flight: &Arc<Flight>, id: i64, bytes: usize) -> Option<Full> {
        flight.begin(&Id::Number(id), bytes).err()
    }

    #[test]
    fn an_id_in_flight_is_refused_and_free_after_its_answer() {
        let flight = Arc::new(Flight::default());
        let ticket = flight.begin(&Id::Number(1), 0).expect("taken");
        assert_eq!(is_full(&flight, 1, 0), Some(Full::IdInUse));
        drop(ticket);
        assert_eq!(is_full(&flight, 1, 0), Some(Full::IdInUse), "not answered yet");
        flight.end(&Id::Number(1));
        assert_eq!(is_full(&flight, 1, 0), None);
    }

    #[test]
    fn a_cancelled_id_is_not_used_again() {
        let flight = Arc::new(Flight::default());
        let ticket = flight.begin(&Id::Number(1), 5).expect("taken");
        flight.cancel(&Id::Number(1));
        assert_eq!(is_full(&flight, 1, 0), Some(Full::IdInUse));
        drop(ticket);
        assert_eq!(is_full(&flight, 1, 0), Some(Full::IdInUse));
        assert_eq!(flight.lock().bytes, 0);
    }

    #[test]
    fn a_cancel_after_the_work_ended_frees_its_place() {
        let flight = Arc::new(Flight::default());
        drop(flight.begin(&Id::Number(1), 5).expect("taken"));
        flight.cancel(&Id::Number(1));
        assert!(flight.lock().open.is_empty());
    }

    #[test]
    fn too_much_at_once_is_turned_away() {
        let flight = Arc::new(Flight::default());
        let big = flight.begin(&Id::Number(-1), MAX_BYTES).expect("taken");
        assert_eq!(is_full(&flight, -2, 1), Some(Full::TooMany));
        flight.end(big.id());
        let tickets: Vec<Ticket> = (0..2048).map(|n| flight.begin(&Id::Number(n), 0).expect("taken")).collect();
        assert_eq!(is_full(&flight, -2, 0), Some(Full::TooMany));
        drop(tickets);
    }
}

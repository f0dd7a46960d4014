//! The service's limits, held before a call is made.
//!
//! Invariant: in no span of a minute or an hour are more calls of a family under way or over than the service allows,
//! whichever way it counts: a call counts from its start until a whole span after its answer came.

use crate::config::DefenderLimits;
use crate::error::Result;
use crate::model::Job;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Calls that the service counts together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    Start,
    ActionRead,
    ActionList,
    ActionCancel,
    ResultLink,
    Respond,
    PackageLink,
    LibraryRead,
    LibraryWrite,
    Machines,
    Machine,
    Users,
    Files,
    IndicatorRead,
    IndicatorWrite,
    Hunt,
}

const FAMILIES: [Family; 16] = [
    Family::Start,
    Family::ActionRead,
    Family::ActionList,
    Family::ActionCancel,
    Family::ResultLink,
    Family::Respond,
    Family::PackageLink,
    Family::LibraryRead,
    Family::LibraryWrite,
    Family::Machines,
    Family::Machine,
    Family::Users,
    Family::Files,
    Family::IndicatorRead,
    Family::IndicatorWrite,
    Family::Hunt,
];

impl Family {
    /// At most so many in so long.
    fn windows(self, limits: &DefenderLimits) -> Vec<Window> {
        let hourly = Window::new(limits.calls_per_hour, HOUR);
        match self {
            Family::Start => vec![Window::new(limits.starts_per_minute, MINUTE)],
            Family::Hunt => vec![Window::new(limits.hunts_per_minute, MINUTE), hourly],
            Family::PackageLink => {
                let a_minute = limits.package_links_per_minute;
                vec![Window::new(a_minute, MINUTE), Window::new(a_minute.saturating_mul(60), HOUR)]
            }
            _ => vec![Window::new(limits.calls_per_minute, MINUTE), hourly],
        }
    }
}

/// The ends of the calls of one span.
#[derive(Debug)]
struct Window {
    limit: usize,
    span: Duration,
    ended: VecDeque<Instant>,
}

impl Window {
    fn new(limit: u32, span: Duration) -> Self {
        Window { limit: usize::try_from(limit).unwrap_or(usize::MAX), span, ended: VecDeque::new() }
    }

    /// How long until one more call may begin; zero for now, `None` for when one of those under way has ended.
    fn wait(&mut self, under_way: usize, now: Instant) -> Option<Duration> {
        while self.ended.front().is_some_and(|at| now.duration_since(*at) >= self.span) {
            self.ended.pop_front();
        }
        if under_way.saturating_add(self.ended.len()) < self.limit {
            return Some(Duration::ZERO);
        }
        self.ended.front().map(|at| self.span.saturating_sub(now.duration_since(*at)))
    }
}

#[derive(Debug)]
struct Counted {
    windows: Vec<Window>,
    under_way: usize,
    /// The service said to wait until then.
    held_until: Option<Instant>,
}

impl Counted {
    /// Counts one more call, or says how long to wait: until a time, or (`None`) until a call ends.
    fn begin(&mut self, now: Instant) -> std::result::Result<(), Option<Duration>> {
        if let Some(until) = self.held_until.filter(|until| *until > now) {
            return Err(Some(until.duration_since(now)));
        }
        let mut longest = Duration::ZERO;
        for window in &mut self.windows {
            longest = longest.max(window.wait(self.under_way, now).ok_or(None)?);
        }
        if longest > Duration::ZERO {
            return Err(Some(longest));
        }
        self.under_way += 1;
        Ok(())
    }

    fn end(&mut self, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        for window in &mut self.windows {
            window.ended.push_back(now);
        }
    }
}

/// One family's gate.
#[derive(Debug)]
struct Gate {
    counted: Mutex<Counted>,
    /// Whoever came first looks first.
    turn: tokio::sync::Mutex<()>,
    ended: Notify,
}

impl Gate {
    fn counted(&self) -> std::sync::MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(crate) struct Limits {
    gates: Vec<(Family, Arc<Gate>)>,
}

/// A call under way; counted as ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Gate>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.counted().end(Instant::now());
        self.0.ended.notify_waiters();
    }
}

impl Limits {
    pub(crate) fn new(limits: &DefenderLimits) -> Self {
        let gate = |family: Family| {
            let counted = Counted { windows: family.windows(limits), under_way: 0, held_until: None };
            (
                family,
                Arc::new(Gate { counted: counted.into(), turn: tokio::sync::Mutex::default(), ended: Notify::new() }),
            )
        };
        Limits { gates: FAMILIES.into_iter().map(gate).collect() }
    }

    /// Waits until one more call of the family may begin, in the order of asking.
    pub(crate) async fn enter(&self, family: Family, job: &Job) -> Result<Option<Permit>> {
        let Some((_, gate)) = self.gates.iter().find(|(f, _)| *f == family) else { return Ok(None) };
        let waiting = async {
            let _turn = gate.turn.lock().await;
            loop {
                let ended = gate.ended.notified();
                tokio::pin!(ended);
                // Registered before the look, so that no end is missed between the two.
                ended.as_mut().enable();
                let begun = gate.counted().begin(Instant::now());
                match begun {
                    Ok(()) => return Permit(gate.clone()),
                    Err(Some(wait)) => tokio::time::sleep(wait).await,
                    Err(None) => ended.await,
                }
            }
        };
        tokio::select! {
            permit = waiting => Ok(Some(permit)),
            () = job.stopped() => Err(stopped(job)),
        }
    }

    /// No call of the family begins before `wait` has passed: the service said so.
    pub(crate) fn hold(&self, family: Family, wait: Duration) {
        if let Some((_, gate)) = self.gates.iter().find(|(f, _)| *f == family) {
            let until = Instant::now() + wait;
            let mut counted = gate.counted();
            counted.held_until = Some(counted.held_until.map_or(until, |held| held.max(until)));
        }
    }
}

/// Why a job that was stopped ends.
pub(crate) fn stopped(job: &Job) -> crate::error::Error {
    use crate::error::{Error, ErrorCode};
    job.check().err().unwrap_or_else(|| Error::new(ErrorCode::Cancelled, "the command was cancelled"))
}

/// Waits, unless the job is to stop.
pub(crate) async fn pause(wait: Duration, job: &Job) -> Result<()> {
    tokio::select! {
        () = tokio::time::sleep(wait) => Ok(()),
        () = job.stopped() => Err(stopped(job)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(limit: u32) -> Counted {
        Counted { windows: vec![Window::new(limit, MINUTE)], under_way: 0, held_until: None }
    }

    #[test]
    fn no_span_holds_more_than_the_limit() {
        let (mut counted, start) = (counted(10), Instant::now());
        let mut begun = Vec::new();
        let mut now = start;
        while begun.len() < 45 {
            match counted.begin(now) {
                Ok(()) => {
                    begun.push(now);
                    counted.end(now + Duration::from_millis(50));
                }
                Err(wait) => now += wait.unwrap(),
            }
        }
        for (i, at) in begun.iter().enumerate() {
            let within = begun.iter().skip(i).take_while(|b| b.duration_since(*at) < MINUTE).count();
            assert!(within <= 10, "{within} in a minute");
        }
        let took = begun.last().unwrap().duration_since(start);
        assert!(took < MINUTE * 4 + Duration::from_secs(2), "{took:?}");
    }

    #[test]
    fn a_call_under_way_counts() {
        let (mut counted, now) = (counted(2), Instant::now());
        assert_eq!(counted.begin(now), Ok(()));
        assert_eq!(counted.begin(now), Ok(()));
        assert_eq!(counted.begin(now), Err(None), "only an end makes room");
        counted.end(now);
        assert_eq!(counted.begin(now), Err(Some(MINUTE)));
    }

    #[test]
    fn what_the_service_asked_for_is_waited() {
        let (mut counted, now) = (counted(5), Instant::now());
        counted.held_until = Some(now + Duration::from_secs(7));
        assert_eq!(counted.begin(now), Err(Some(Duration::from_secs(7))));
        assert_eq!(counted.begin(now + Duration::from_secs(7)), Ok(()));
    }

    #[tokio::test]
    async fn a_cancelled_job_waits_for_no_turn() {
        let limits = Limits::new(&DefenderLimits { starts_per_minute: 1, ..DefenderLimits::default() });
        let _held = limits.enter(Family::Start, &Job::default()).await.unwrap();
        let job = Job::default();
        job.cancel();
        let refused = limits.enter(Family::Start, &job).await.unwrap_err();
        assert_eq!(refused.code, crate::error::ErrorCode::Cancelled);
    }
}

//! One look at all actions that anybody waits for, instead of a look each: the limits would not do for 25.
//!
//! Invariants: it runs only while somebody waits; nobody's cancel takes the news from another; an action that is not
//! there at first, and a service that is away for a while, are waited for.

use crate::device::defender::api::{ActionId, MachineAction};
use crate::device::defender::client::limits::stopped;
use crate::device::defender::client::wait::jittered;
use crate::device::defender::client::{Client, Failure, FailureKind, quoted};
use crate::error::{Error, ErrorCode, Result};
use crate::model::Job;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// A new action may not be there yet for so long.
const MISSING: Duration = Duration::from_secs(30);
/// A service that does not answer is tried for so long.
const AWAY: Duration = Duration::from_secs(900);
/// Ids in one question: an address has its length.
const TOGETHER: usize = 40;

/// An error is for several who wait.
type News = Option<std::result::Result<MachineAction, Arc<Error>>>;

#[derive(Debug)]
struct Watched {
    news: watch::Sender<News>,
    next: Instant,
    wait: Duration,
    /// What the last look saw.
    seen: Option<String>,
    missing_since: Option<Instant>,
    away_since: Option<Instant>,
}

#[derive(Debug, Default)]
struct State {
    watched: HashMap<ActionId, Watched>,
    runs: bool,
}

#[derive(Debug)]
pub(super) struct Poller {
    client: Client,
    first: Duration,
    most: Duration,
    state: Mutex<State>,
    came: Notify,
}

impl Poller {
    pub(super) fn new(client: &Client) -> Arc<Poller> {
        let limits = &client.settings().limits;
        let first = Duration::from_millis(u64::from(limits.poll_first_ms));
        Arc::new(Poller {
            first,
            most: Duration::from_millis(u64::from(limits.poll_max_ms)).max(first),
            client: client.clone(),
            state: Mutex::default(),
            came: Notify::new(),
        })
    }

    /// Waits for the action's end.
    pub(super) async fn follow(self: &Arc<Self>, id: &ActionId, job: &Job) -> Result<MachineAction> {
        let mut news = self.watch(id);
        loop {
            tokio::select! {
                changed = news.changed() => {
                    changed.map_err(|_| Error::new(ErrorCode::Internal, format!("action {id} is watched no more")))?;
                }
                () = job.stopped() => return Err(stopped(job)),
            }
            match &*news.borrow_and_update() {
                Some(Ok(action)) if action.status.is_final() => return Ok(action.clone()),
                Some(Err(e)) => return Err(e.copy()),
                Some(Ok(_)) | None => {}
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(self: &Arc<Self>, id: &ActionId) -> watch::Receiver<News> {
        let mut state = self.state();
        let watched = state.watched.entry(id.clone()).or_insert_with(|| Watched {
            news: watch::Sender::new(None),
            next: Instant::now() + self.first,
            wait: self.first,
            seen: None,
            missing_since: None,
            away_since: None,
        });
        let news = watched.news.subscribe();
        if !state.runs {
            state.runs = true;
            tokio::spawn(self.clone().run());
        }
        drop(state);
        self.came.notify_one();
        news
    }

    async fn run(self: Arc<Self>) {
        let running = Running(&self);
        loop {
            let came = self.came.notified();
            let (due, next) = {
                let mut state = self.state();
                state.watched.retain(|_, watched| watched.news.receiver_count() > 0);
                let Some(next) = state.watched.values().map(|watched| watched.next).min() else {
                    state.runs = false;
                    // Nothing is left to clear, and another may run once the lock is given back.
                    std::mem::forget(running);
                    return;
                };
                (self.due(&state), next)
            };
            if due.is_empty() {
                tokio::select! {
                    () = tokio::time::sleep_until(next.into()) => {}
                    () = came => {}
                }
                continue;
            }
            for some in due.chunks(TOGETHER) {
                self.look(some).await;
            }
        }
    }

    /// Those whose time has come, and those whose time is near: they share the question.
    fn due(&self, state: &State) -> Vec<ActionId> {
        let now = Instant::now();
        if !state.watched.values().any(|watched| watched.next <= now) {
            return Vec::new();
        }
        let near = |watched: &Watched| watched.next <= now + watched.wait / 2;
        state.watched.iter().filter(|(_, watched)| near(watched)).map(|(id, _)| id.clone()).collect()
    }

    async fn look(&self, ids: &[ActionId]) {
        let job = Job::default();
        if let [id] = ids {
            let seen = self.client.look(id, &job).await;
            self.tell(id, seen);
            return;
        }
        let wanted: Vec<String> = ids.iter().map(|id| format!("id eq {}", quoted(id.as_str()))).collect();
        match self.client.list_actions(Some(&wanted.join(" or ")), &job).await {
            Ok(actions) => {
                let mut actions: HashMap<ActionId, MachineAction> =
                    actions.into_iter().map(|action| (action.id.clone(), action)).collect();
                for id in ids {
                    self.tell(id, actions.remove(id).ok_or_else(|| missing(id)));
                }
            }
            Err(failure) => {
                for id in ids {
                    self.tell(id, Err(Failure { error: failure.error.copy(), kind: failure.kind }));
                }
            }
        }
    }

    fn tell(&self, id: &ActionId, seen: std::result::Result<MachineAction, Failure>) {
        let now = Instant::now();
        let mut state = self.state();
        let Some(watched) = state.watched.get_mut(id) else { return };
        let news = match seen {
            Ok(action) => {
                (watched.missing_since, watched.away_since) = (None, None);
                let seen = outline(&action);
                let moved = watched.seen.replace(seen.clone()).is_some_and(|before| before != seen);
                watched.wait = if moved { self.first } else { (watched.wait * 3 / 2).min(self.most) };
                Some(Ok(action))
            }
            Err(failure) => {
                watched.wait = (watched.wait * 3 / 2).min(self.most);
                let (since, patience) = match failure.kind {
                    FailureKind::Missing => (&mut watched.missing_since, MISSING),
                    FailureKind::Refused if failure.error.code != ErrorCode::Throttled => {
                        (&mut watched.away_since, Duration::ZERO)
                    }
                    _ => (&mut watched.away_since, AWAY),
                };
                let since = *since.get_or_insert(now);
                (now.duration_since(since) >= patience).then(|| Err(Arc::new(failure.error)))
            }
        };
        watched.next = now + jittered(watched.wait).min(self.most);
        let ends = match &news {
            Some(Ok(action)) => action.status.is_final(),
            Some(Err(_)) => true,
            None => return,
        };
        watched.news.send_replace(news);
        if ends {
            // Who comes later looks anew.
            state.watched.remove(id);
        }
    }
}

/// If the task ends early (its runtime does), the next who comes starts another.
struct Running<'a>(&'a Poller);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.watched.clear();
        state.runs = false;
    }
}

fn missing(id: &ActionId) -> Failure {
    let error = Error::new(ErrorCode::NotFound, format!("Defender has no action {id}"))
        .hint("it may be past its retention (180 days), or another tenant's");
    Failure { error, kind: FailureKind::Missing }
}

/// What makes a look worth a sooner one.
fn outline(action: &MachineAction) -> String {
    let commands = action.commands.iter().map(|c| format!("{}{}", c.command_status, c.start_time.is_some()));
    format!("{} {}", action.status, commands.collect::<Vec<_>>().join(" "))
}

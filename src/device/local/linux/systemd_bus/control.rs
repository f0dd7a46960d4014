//! What changes the running systemd: stop, start, reload; and the state of one unit.
//!
//! Invariant: called by effects only, which hold an order.

use super::{MANAGER, Systemd, SystemdBus};
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Order;
use crate::model::Job;
use std::time::Duration;
use zbus::{OwnedObjectPath, OwnedVariant};

/// What its processes have before they are killed. systemd itself would give them 90 s.
const POLITE: Duration = Duration::from_secs(10);
const KILLED: Duration = Duration::from_secs(10);
const STARTS_WITHIN: Duration = Duration::from_secs(20);
const RELOADS_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A unit as the manager has it now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// `active`, `inactive`, …; `not-found` where nothing is loaded under the name.
    pub state: String,
    pub main_pid: Option<u32>,
    pub fragment: Option<String>,
    /// Units whose elapse, traffic or change starts it.
    pub triggered_by: Vec<String>,
    pub refuses_stop: bool,
}

impl SystemdBus {
    /// One unit's state.
    pub fn now(&self, unit: &str, job: &Job) -> Result<Now> {
        let unit = unit.to_owned();
        self.talk(job, |systemd| async move { systemd.now(&unit).await })
    }

    /// Stops a unit, and kills what has not ended then; its state afterwards.
    pub fn stop(&self, _: &Order, unit: &str, job: &Job) -> Result<String> {
        let unit = unit.to_owned();
        let polite = POLITE.min(self.limit);
        self.within(POLITE + KILLED).talk(job, |systemd| async move {
            let asked = systemd.call(MANAGER, "Manager", "StopUnit", &(&unit, "replace")).await;
            match asked {
                Err(e) if is_unknown(&e) => return Ok("not-found".to_owned()),
                other => drop(other?),
            }
            let is_down = |state: &str| matches!(state, "inactive" | "failed" | "not-found");
            let state = systemd.until(&unit, polite, is_down).await?;
            if is_down(&state) {
                return Ok(state);
            }
            // SIGKILL: it is not asked any more.
            systemd.call(MANAGER, "Manager", "KillUnit", &(&unit, "all", 9i32)).await?;
            systemd.until(&unit, KILLED / 2, is_down).await
        })
    }

    /// Starts a unit; its state afterwards.
    pub fn start(&self, _: &Order, unit: &str, job: &Job) -> Result<String> {
        let name = unit.to_owned();
        let started = self.within(STARTS_WITHIN + POLITE).talk(job, |systemd| async move {
            match systemd.call(MANAGER, "Manager", "StartUnit", &(&name, "replace")).await {
                Err(e) if is_unknown(&e) => return Ok("not-found".to_owned()),
                other => drop(other?),
            }
            systemd.until(&name, STARTS_WITHIN, |state| matches!(state, "active" | "failed")).await
        })?;
        match started.as_str() {
            "not-found" => Err(Error::new(ErrorCode::NotFound, format!("systemd knows no unit {unit}"))
                .hint("bring its unit file back first")),
            _ => Ok(started),
        }
    }

    /// Has it read its unit files again.
    pub fn reload(&self, _: &Order, job: &Job) -> Result<()> {
        self.within(RELOADS_WITHIN)
            .talk(job, |systemd| async move { systemd.call(MANAGER, "Manager", "Reload", &()).await.map(drop) })
    }

    fn within(&self, limit: Duration) -> SystemdBus {
        SystemdBus { limit: limit + self.limit, ..self.clone() }
    }
}

impl Systemd {
    async fn now(&self, unit: &str) -> zbus::Result<Now> {
        let missing = Now { state: "not-found".into(), ..Now::default() };
        let object: OwnedObjectPath = match self.call(MANAGER, "Manager", "LoadUnit", &unit).await {
            Ok(answer) => answer.body().deserialize()?,
            Err(e) if is_unknown(&e) => return Ok(missing),
            Err(e) => return Err(e),
        };
        let load: String = text(self.get(&object, "Unit", "LoadState").await?);
        let state: String = text(self.get(&object, "Unit", "ActiveState").await?);
        if load == "not-found" && state == "inactive" {
            return Ok(missing);
        }
        let fragment: String = text(self.get(&object, "Unit", "FragmentPath").await?);
        let triggered_by = self.get(&object, "Unit", "TriggeredBy").await?;
        let refuses_stop = self.get(&object, "Unit", "RefuseManualStop").await?;
        let main_pid = match unit.ends_with(".service") {
            true => u32::try_from(self.get(&object, "Service", "MainPID").await?).ok().filter(|pid| *pid != 0),
            false => None,
        };
        Ok(Now {
            state,
            main_pid,
            fragment: Some(fragment).filter(|f| !f.is_empty()),
            triggered_by: Vec::<String>::try_from(triggered_by).unwrap_or_default(),
            refuses_stop: bool::try_from(refuses_stop).unwrap_or(false),
        })
    }

    async fn get(&self, object: &OwnedObjectPath, interface: &str, name: &str) -> zbus::Result<OwnedVariant> {
        let interface = format!("org.freedesktop.systemd1.{interface}");
        self.call(object.as_str(), "Properties", "Get", &(interface, name)).await?.body().deserialize()
    }

    /// Looks at the state until it is a wanted one or the time is over.
    async fn until(&self, unit: &str, limit: Duration, is_wanted: fn(&str) -> bool) -> zbus::Result<String> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let state = self.now(unit).await?.state;
            if is_wanted(&state) || tokio::time::Instant::now() > deadline {
                return Ok(state);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

fn text(value: OwnedVariant) -> String {
    String::try_from(value).unwrap_or_default()
}

/// The manager has no such unit.
fn is_unknown(e: &zbus::Error) -> bool {
    matches!(e, zbus::Error::MethodError(name, ..) if name.as_str() == "org.freedesktop.systemd1.NoSuchUnit")
}

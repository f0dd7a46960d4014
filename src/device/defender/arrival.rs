//! What is known of a device when a session opens: by the tenant's records alone, nothing is started on it.
//!
//! Invariant: what the tenant does not know is said, not guessed.

use super::DefenderDevice;
use super::api::{ActionKind, LogonUser, Machine, MachineAction, Status};
use super::machines;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Arrival, Job, SignedIn};
use crate::shape::Untrusted;

/// Accounts that are shown.
const SIGNED_IN: usize = 50;

impl DefenderDevice {
    pub(super) async fn arrival(&self, job: &Job) -> Result<Arrival> {
        let client = &self.tenant.client;
        let id = self.machine_id();
        let (machine, users, actions) =
            tokio::join!(client.machine(id.as_str(), job), client.logon_users(id, job), client.actions_of(id, job));
        let machine = machine?;
        self.tenant.remember(&machine);
        let mut hidden = not_known(&machine);
        let signed_in = match users {
            Ok(users) => {
                hidden.push("signed_in is who signed in lately by the tenant's records, not who is there now".into());
                users.iter().take(SIGNED_IN).filter_map(signed_in).collect()
            }
            Err(e) => {
                hidden.push(unseen("who signed in", &e));
                Vec::new()
            }
        };
        let isolation = match &actions {
            Ok(actions) => isolation(actions, &mut hidden),
            Err(e) => {
                hidden.push(unseen("whether it is isolated", e));
                "unknown".to_owned()
            }
        };
        let account = if self.platform() == "windows" { "SYSTEM" } else { "root" };
        Ok(Arrival {
            os: machines::os(&machine).unwrap_or_else(|| Untrusted::new("unknown")),
            host_name: None,
            kernel: None,
            current_directory: self.syntax().root(),
            clock: None,
            skew_ms: None,
            time_zone: None,
            boot_time: None,
            isolation: Some(isolation),
            signed_in,
            account: Untrusted::new(account),
            hidden,
        })
    }
}

fn not_known(machine: &Machine) -> Vec<String> {
    let mut lines = vec!["the device's clock, time zone and boot time: the tenant does not know them".to_owned()];
    if let Some(health) = machines::not_active(machine) {
        let seen = machine.last_seen.map(|t| format!(", last seen {t}")).unwrap_or_default();
        lines.push(format!(
            "its sensor's health is {health}{seen}: what is started on it waits until it reports, for 3 days at most"
        ));
    }
    lines
}

/// `of` is not in the answer: why.
fn unseen(of: &str, e: &Error) -> String {
    let hint = e.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
    if e.code == ErrorCode::NotFound || e.code == ErrorCode::NoDevice {
        return format!("{of}: the tenant has no record");
    }
    format!("{of}: {}: {}{hint}", e.code, e.message)
}

fn signed_in(user: &LogonUser) -> Option<SignedIn> {
    let text = |text: &Option<Untrusted>| text.as_ref().map(|t| t.raw().to_owned()).filter(|t| !t.is_empty());
    let name = match (text(&user.account_domain), text(&user.account_name)) {
        (Some(domain), Some(name)) => format!("{domain}\\{name}"),
        (None, Some(name)) => name,
        _ => text(&user.id)?,
    };
    Some(SignedIn {
        user: Untrusted::new(name),
        terminal: user.logon_types.clone().unwrap_or_else(|| Untrusted::new("")),
        from: None,
        since: user.last_seen,
    })
}

/// What the newest of the device's isolations and releases that took place left.
fn isolation(actions: &[MachineAction], hidden: &mut Vec<String>) -> String {
    let is_one = |a: &&MachineAction| matches!(a.kind, ActionKind::Isolate | ActionKind::Unisolate);
    let newest = |wanted: fn(&MachineAction) -> bool| {
        actions.iter().filter(is_one).filter(|a| wanted(a)).max_by_key(|a| a.creation_date_time_utc)
    };
    if let Some(waiting) = newest(|a| !a.status.is_final()) {
        hidden.push(format!("an isolation or release is under way: {}", waiting.told()));
    }
    match newest(|a| a.status == Status::Succeeded) {
        None => {
            hidden.push("whether it is isolated: no such action of the last months is listed".into());
            "unknown".to_owned()
        }
        Some(action) if action.kind == ActionKind::Unisolate => "none".to_owned(),
        Some(action) => match action.scope.as_ref().map(|scope| scope.raw().to_ascii_lowercase()).as_deref() {
            Some("selective") => "selective".to_owned(),
            _ => "full".to_owned(),
        },
    }
}

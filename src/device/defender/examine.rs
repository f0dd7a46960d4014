//! Whether the tenant of the configuration can be worked with: signed in, permissions, clocks, library. For people.
//!
//! Invariants: two calls, both reading; no secret and no token is in what comes of it.

use super::Tenant;
use super::library::Held;
use crate::error::{Error, ErrorCode, Result};
use crate::model::Job;
use std::time::Duration;

/// Of the token and of the library each; what does not answer by then is said not to.
const WITHIN: Duration = Duration::from_secs(5);

/// What the app is to have, each with those that hold it too, and what needs it.
const PERMISSIONS: &[(&[&str], &str)] = &[
    (&["Machine.Read.All", "Machine.ReadWrite.All"], "devices, connect, every result"),
    (&["Machine.LiveResponse"], "every command that runs on a device"),
    (&["Library.Manage"], "every script, library sync"),
    (&["User.Read.All"], "who signed in"),
    (&["File.Read.All"], "analyze"),
    (&["Machine.CollectForensics"], "collect on Windows"),
    (&["Machine.Isolate"], "isolate, release"),
    (&["Machine.Scan"], "scan"),
    (&["Machine.StopAndQuarantine"], "remediate file on Windows"),
    (&["AdvancedQuery.Read.All"], "hunt"),
    (&["Ti.ReadWrite.All", "Ti.ReadWrite"], "indicator"),
];

/// A permission that the app lacks, and what needs it.
pub struct Lacks {
    pub permission: &'static str,
    pub needed_by: &'static str,
}

pub struct Examined {
    /// What the app lacks; `None` where its token does not say what it has.
    pub lacks: Option<Vec<Lacks>>,
    /// Seconds that this host's clock is ahead of the sign-in service's.
    pub skew_s: Option<i64>,
    pub library: Result<Held>,
}

impl Tenant {
    /// `Err` where nobody could sign in.
    pub async fn examine(&self) -> Result<Examined> {
        let signed_in = within("the sign-in service", self.client.signed_in(&Job::default())).await?;
        Ok(Examined {
            lacks: signed_in.roles.map(|roles| lacks(&roles)),
            skew_s: signed_in.skew_s,
            library: within("the tenant's library", self.held(&Job::default())).await,
        })
    }
}

async fn within<T>(who: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(WITHIN, call).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorCode::Timeout, format!("{who} did not answer in {} s", WITHIN.as_secs()))
            .hint("check the way there: proxy, DNS, firewall"))
    })
}

fn lacks(roles: &[String]) -> Vec<Lacks> {
    let has = |names: &[&str]| names.iter().any(|name| roles.iter().any(|role| role == name));
    let lacking = PERMISSIONS.iter().filter(|(names, _)| !has(names));
    lacking.filter_map(|(names, needed_by)| Some(Lacks { permission: names.first()?, needed_by })).collect()
}

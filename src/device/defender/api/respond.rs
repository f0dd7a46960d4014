//! Response actions on a device: isolation, scan, investigation package, stop and quarantine.

use super::live_response::Value;
use super::{ActionId, Comment, MachineAction, MachineId};
use crate::device::defender::client::{Client, Endpoint, Failure, Family, Link};
use crate::error::{ErrorCode, Result};
use crate::model::Job;
use serde::Serialize;

macro_rules! endpoint {
    ($name:ident, $what:literal, $permission:literal) => {
        static $name: Endpoint =
            Endpoint { what: $what, permission: $permission, family: Family::Respond, missing: ErrorCode::NoDevice };
    };
}

endpoint!(ISOLATE, "isolate the device", "Machine.Isolate");
endpoint!(UNISOLATE, "release the device", "Machine.Isolate");
endpoint!(SCAN, "start a scan", "Machine.Scan");
endpoint!(COLLECT, "collect an investigation package", "Machine.CollectForensics");
endpoint!(QUARANTINE, "stop and quarantine the file", "Machine.StopAndQuarantine");

static PACKAGE: Endpoint = Endpoint {
    what: "give the link of a package",
    permission: "Machine.CollectForensics",
    family: Family::PackageLink,
    missing: ErrorCode::NotFound,
};

/// How far a device is cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum IsolationType {
    Full,
    /// Leaves Outlook, Teams and Skype.
    Selective,
}

/// How much of a device is scanned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum ScanType {
    Quick,
    Full,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Isolate<'a> {
    comment: &'a str,
    isolation_type: IsolationType,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Scan<'a> {
    comment: &'a str,
    scan_type: ScanType,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Quarantine<'a> {
    comment: &'a str,
    sha1: &'a str,
}

type Started = std::result::Result<MachineAction, Failure>;

impl Client {
    async fn respond<T: Serialize>(
        &self,
        endpoint: &'static Endpoint,
        machine: &MachineId,
        verb: &str,
        body: &T,
        job: &Job,
    ) -> Started {
        let call = self.post(endpoint, &["machines", machine.as_str(), verb], body)?;
        self.ask(&call, job).await
    }

    pub(crate) async fn isolate(&self, machine: &MachineId, how: IsolationType, comment: &str, job: &Job) -> Started {
        let body = Isolate { comment, isolation_type: how };
        self.respond(&ISOLATE, machine, "isolate", &body, job).await
    }

    pub(crate) async fn unisolate(&self, machine: &MachineId, comment: &str, job: &Job) -> Started {
        self.respond(&UNISOLATE, machine, "unisolate", &Comment { comment }, job).await
    }

    pub(crate) async fn scan(&self, machine: &MachineId, how: ScanType, comment: &str, job: &Job) -> Started {
        let body = Scan { comment, scan_type: how };
        self.respond(&SCAN, machine, "runAntiVirusScan", &body, job).await
    }

    pub(crate) async fn collect_package(&self, machine: &MachineId, comment: &str, job: &Job) -> Started {
        self.respond(&COLLECT, machine, "collectInvestigationPackage", &Comment { comment }, job).await
    }

    /// Every copy of the file on the device, and the processes that run it.
    pub(crate) async fn stop_and_quarantine(
        &self,
        machine: &MachineId,
        sha1: &str,
        comment: &str,
        job: &Job,
    ) -> Started {
        let body = Quarantine { comment, sha1 };
        self.respond(&QUARANTINE, machine, "StopAndQuarantineFile", &body, job).await
    }

    /// The address of a package; `E_NOT_FOUND` while it is not complete.
    pub async fn package_link(&self, action: &ActionId, job: &Job) -> Result<Link> {
        let call = self.get(&PACKAGE, &["machineactions", action.as_str(), "getPackageUri"], &[])?;
        Ok(self.ask::<Value>(&call, job).await.map_err(Failure::into_error)?.link())
    }
}

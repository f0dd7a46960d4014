//! What the audit log says of calls: what was turned away, what went out, what was cut from it.

use crate::audit::{Log, Record};
use crate::error::{Error, ErrorCode, State};
use crate::guard::Asked;
use crate::model::{CommandId, DeviceId, SessionId, Sha256};
use crate::principal::{Principal, Transport};
use crate::registry::{Call, Core, blocking};
use crate::shape::ResultObject;
use serde_json::value::RawValue;
use std::sync::Arc;

/// What was turned away, on its way to the audit log.
pub(super) struct TurnedAway {
    pub(super) command: String,
    pub(super) command_id: CommandId,
    pub(super) by: Principal,
    pub(super) transport: Transport,
    pub(super) session: Option<(SessionId, DeviceId)>,
    pub(super) code: ErrorCode,
    pub(super) message: String,
    pub(super) detail: Option<Box<RawValue>>,
}

impl TurnedAway {
    pub(super) async fn record(self, core: &Arc<Core>) {
        let recorded = core.guard(move |g| {
            let mut error = Error::new(self.code, self.message);
            error.detail = self.detail;
            let unknown_keys = unknown_keys(error.detail.as_deref());
            let asked = Asked {
                by: &self.by,
                transport: self.transport,
                command: &self.command,
                command_id: Some(&self.command_id),
                device: self.session.as_ref().map(|(_, device)| device),
                session: self.session.as_ref().map(|(session, _)| session),
                unknown_keys: &unknown_keys,
            };
            g.refused(asked, &error);
        });
        if let Err(e) = recorded.await {
            tracing::warn!(code = %e.code, "a refusal was not recorded");
        }
    }
}

/// The names of arguments that a tool does not have, from the error's detail.
fn unknown_keys(detail: Option<&RawValue>) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Detail {
        unknown_keys: Vec<String>,
    }
    detail.and_then(|d| serde_json::from_str::<Detail>(d.get()).ok()).map(|d| d.unknown_keys).unwrap_or_default()
}

/// One line in the audit log for a call that looked at something, as `part_of` another where it was a look at one of many
/// devices; a warning where it could not be written.
pub(super) async fn on_record(
    core: &Arc<Core>,
    log: &Arc<Log>,
    call: &Call,
    part_of: Option<&CommandId>,
    result: &ResultObject,
) -> Option<String> {
    if let Some(e) = result.error.as_ref().filter(|_| result.state == State::Refused) {
        let device = result.device.as_ref().map(|d| d.id.clone());
        let turned_away = TurnedAway {
            command: call.spec.name.into(),
            command_id: call.command_id.clone(),
            by: call.principal.clone(),
            transport: call.transport,
            session: result.session.clone().zip(device),
            code: ErrorCode::parse(&e.code)?,
            message: e.message.clone(),
            detail: e.detail.clone(),
        };
        turned_away.record(core).await;
        return None;
    }
    let records = returned(call, part_of, result);
    let log = log.clone();
    match blocking(move || records.into_iter().try_for_each(|r| log.note(r))).await {
        Ok(Ok(())) => None,
        Ok(Err(e)) | Err(e) => Some(format!("this call is not in the audit log: {}", e.message)),
    }
}

/// What the log says of an answer: that it went out, and what was cut from it.
fn returned(call: &Call, part_of: Option<&CommandId>, result: &ResultObject) -> Vec<Record> {
    let mut detail = serde_json::json!({
        "command_id": call.command_id,
        "command": call.spec.name,
        "session": result.session,
        "device": result.device.as_ref().map(|d| &d.id),
        "args_sha256": Sha256::of(call.args.as_bytes()),
        "state": result.state,
        "error": result.error.as_ref().map(|e| &e.code),
        "rows": result.page.as_ref().map(|p| p.total),
        "untrusted": result.untrusted,
        "elapsed_ms": result.elapsed_ms,
    });
    if let (Some(whole), Some(detail)) = (part_of, detail.as_object_mut()) {
        detail.insert("part_of".into(), whole.as_str().into());
    }
    let mut records = vec![Record::new("output.returned").by(&call.principal).detail(&detail)];
    if let Some(page) = result.page.as_ref().filter(|p| p.truncated) {
        let detail =
            serde_json::json!({ "command_id": call.command_id, "returned": page.returned, "total": page.total });
        records.push(Record::new("output.truncated").by(&call.principal).detail(&detail));
    }
    records
}

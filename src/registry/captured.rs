//! What a script wrote, for the answer: begin and end, read again from the evidence store.
//!
//! Invariant: what a person would be asked about first is not shown here.

use super::{Core, blocking};
use crate::error::{Error, ErrorCode, Result};
use crate::evidence::Custody;
use crate::guard::RequestView;
use crate::model::{Disclosure, Job, Outcome, SessionId, Sha256};
use crate::shape::Untrusted;
use std::sync::Arc;

/// Bytes of either end that are shown.
const END: u64 = 16 << 10;

/// The output that a row of the outcome names; `None` where there is none. `E_SCOPE` where showing it asks a person.
pub(super) async fn content(core: &Arc<Core>, view: &RequestView, outcome: &Outcome) -> Result<Option<String>> {
    let ran = outcome.rows.iter().find(|row| row.r#type == "script" && row.sha256.is_some());
    let Some((sha256, size)) = ran.and_then(|row| Some((row.sha256.clone()?, row.size_bytes?))) else {
        return Ok(None);
    };
    let (store, by, wanted) = (core.evidence.clone(), view.by.clone(), sha256.clone());
    let held = blocking(move || store.held(&by, Some(&wanted), None)).await??;
    let secret = held.into_iter().next().and_then(|held| held.secret);
    let met = core.acquaint(&view.device).await;
    let device = view.device.clone();
    if core.guard(move |g| g.must_ask(&device, secret.as_deref())).await? {
        met.map_err(|e| super::acquaint::unmet(&view.device, &e))?;
        return Err(Error::new(ErrorCode::Scope, "a person is asked before it is, with `evidence` and its sha256"));
    }
    if size <= 2 * END {
        return slice(core, &sha256, 0, size).await.map(Some);
    }
    let begin = slice(core, &sha256, 0, END).await?;
    let end = slice(core, &sha256, size - END, END).await?;
    let between = size - 2 * END;
    Ok(Some(format!("{begin}\n… {between} bytes left out; `evidence` with the sha256 reads them …\n{end}")))
}

/// Seals what the work gave out, and names it in its row.
pub async fn seal_output(core: &Arc<Core>, view: &RequestView, job: &Arc<Job>, outcome: &mut Outcome) {
    let Some(captured) = job.take_captured() else { return };
    let custody = Custody {
        device: view.device.clone(),
        device_name: Untrusted::new(view.device_name.as_str()),
        session: view.session.clone().unwrap_or_else(|| SessionId::new("")),
        command_id: view.command_id.clone(),
        principal: view.by.clone(),
        comment: None,
    };
    // Also what was cancelled has said something.
    let sealing = Arc::new(Job::default());
    let file = tokio::fs::File::from_std(captured.file);
    match core.evidence.seal(captured.facts, file, custody, &sealing).await {
        Ok(sealed) => {
            if let Some(row) = outcome.rows.last_mut() {
                row.sha256 = Some(sealed.sha256);
                row.size_bytes = Some(sealed.size_bytes);
            }
        }
        Err(e) => outcome.warnings.push(format!("the output was not kept: {}", e.message)),
    }
    outcome.warnings.extend(sealing.take_warnings());
}

async fn slice(core: &Arc<Core>, sha256: &Sha256, offset: u64, length: u64) -> Result<String> {
    let store = core.evidence.clone();
    let asked = Disclosure {
        sha256: sha256.clone(),
        path: crate::model::DevicePath::new("/"),
        secret: String::new(),
        entry: None,
        offset,
        length,
        r#as: "text".into(),
        r#match: None,
    };
    Ok(blocking(move || store.read(&asked)).await??.content)
}

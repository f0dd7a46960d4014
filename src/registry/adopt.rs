//! Requests that a backend goes on with when the process that began them has ended: looked after, never begun again.
//!
//! Invariants: one process at a time looks after a request; a look begins nothing on a device; what has not ended stays
//! open for the next look.

use super::Core;
use super::captured::seal_output;
use crate::error::Result;
use crate::guard::RequestView;
use crate::model::{DeviceId, End, Job};
use std::sync::Arc;
use std::time::Duration;

/// A backend that does not answer within this is asked again another time.
const WITHIN: Duration = Duration::from_secs(20);

/// Looks what became of a request whose executor is gone, and records its end where there is one.
pub(super) async fn look(core: &Arc<Core>, view: &RequestView) -> Result<()> {
    let id = view.id.clone();
    let Some((adopted, execution)) = core.guard(move |g| g.adopt(&id)).await?? else { return Ok(()) };
    let job = Arc::new(Job::default());
    let device: DeviceId = adopted.device.clone();
    let asked = async {
        let device = core.sessions.device(device.as_str(), &job).await?;
        Ok::<_, crate::error::Error>(device.adopt(adopted, &job).await)
    };
    let mut outcome = match tokio::time::timeout(WITHIN, asked).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(e)) => {
            tracing::warn!(code = %e.code, "a request that a backend goes on with could not be looked after");
            return Ok(());
        }
        Err(_) => return Ok(()),
    };
    if matches!(outcome.end, End::GoesOn { .. }) {
        return Ok(());
    }
    outcome.warnings.extend(job.take_warnings());
    seal_output(core, view, &job, &mut outcome).await;
    core.guard(move |g| g.finished(execution, &outcome)).await??;
    Ok(())
}

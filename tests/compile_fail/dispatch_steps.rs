//! Neither does the session manager.
use live_response::model::{Job, Step};
use live_response::session::SessionManager;
use std::sync::Arc;

async fn run(sessions: &SessionManager, steps: Vec<Step>, job: &Arc<Job>) {
    sessions.dispatch(steps, job).await;
}

fn main() {}

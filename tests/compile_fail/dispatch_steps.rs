//! Neither does the session manager.
use live_response::model::{Job, Step, Supply};
use live_response::session::SessionManager;
use std::sync::Arc;

async fn run(sessions: &SessionManager, steps: Vec<Step>, supply: Arc<dyn Supply>, job: &Arc<Job>) {
    sessions.dispatch(steps, supply, job).await;
}

fn main() {}

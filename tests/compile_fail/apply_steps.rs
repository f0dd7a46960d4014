//! A device takes no plan that was not approved.
use live_response::device::Device;
use live_response::model::{Job, Step, Supply};
use std::sync::Arc;

async fn run(device: &dyn Device, steps: Vec<Step>, supply: Arc<dyn Supply>, job: &Arc<Job>) {
    device.apply(steps, supply, job).await;
}

fn main() {}

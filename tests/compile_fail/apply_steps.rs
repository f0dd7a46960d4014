//! A device takes no plan that was not approved.
use live_response::device::Device;
use live_response::model::{Job, Step};
use std::sync::Arc;

async fn run(device: &dyn Device, steps: Vec<Step>, job: &Arc<Job>) {
    device.apply(steps, job).await;
}

fn main() {}

//! An approval cannot be made from its parts.
use live_response::guard::Approved;
use live_response::model::{DeviceId, RequestId};

fn main() {
    let _ = Approved { request: RequestId::mint(), device: DeviceId::new("local"), steps: vec![] };
}

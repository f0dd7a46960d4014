//! An approval cannot be made from its parts.
use live_response::guard::Approved;
use live_response::model::{DeviceId, RequestId};

fn main() {
    let device = DeviceId::new("local");
    let _ = Approved { request: RequestId::mint(), device, steps: vec![], people: vec![], window_s: 0 };
}

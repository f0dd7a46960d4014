//! An approval is used up by taking its orders.
use live_response::guard::Approved;
use live_response::model::DeviceId;

fn twice(approved: Approved, on: &DeviceId) {
    let _ = approved.orders(on);
    let _ = approved.orders(on);
}

fn main() {}

//! The functions with an effect are not reachable from outside.
fn main() {
    let _ = live_response::device::local::linux::effect::quarantine::quarantine;
}

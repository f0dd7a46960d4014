//! There is no empty approval.
use live_response::guard::Approved;

fn main() {
    let _ = Approved::default();
}

//! An approval cannot be kept for a second time.
use live_response::guard::Approved;

fn twice(approved: Approved) -> (Approved, Approved) {
    (approved.clone(), approved)
}

fn main() {}

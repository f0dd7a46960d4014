//! An approval cannot be read from a text.
use live_response::guard::Approved;

fn main() {
    let _: Approved = serde_json::from_str("{}").unwrap();
}

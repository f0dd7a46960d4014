//! An order cannot be made for a step of one's own.
use live_response::guard::Order;
use live_response::model::{RequestId, Step};

fn order(step: Step) -> Order {
    Order { step, request: RequestId::mint(), people: vec![].into() }
}

fn main() {}

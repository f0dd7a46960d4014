//! An order is carried out once.
use live_response::guard::Order;

fn twice(order: Order) -> (Order, Order) {
    (order.clone(), order)
}

fn main() {}

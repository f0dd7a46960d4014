//! A command reaches no device but through its context's methods.
use live_response::registry::Context;

async fn reach(cx: &Context<'_>) {
    let _ = cx.session;
    let _ = cx.core;
}

fn main() {}

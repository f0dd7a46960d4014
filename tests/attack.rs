//! The product under attack, through the real binary: an assistant with every tool, a hostile device, hostile state.

mod rpc_client;

#[path = "attack/arguments.rs"]
mod arguments;
#[path = "attack/enrolment.rs"]
mod enrolment;
#[path = "attack/output.rs"]
mod output;
#[path = "attack/own.rs"]
mod own;
#[path = "attack/races.rs"]
mod races;
#[path = "attack/screen.rs"]
mod screen;
#[path = "attack/secrets.rs"]
mod secrets;

use serde_json::{Value, json};
use std::process::Output;

/// Opens a session on a device.
fn connect(rpc: &mut rpc_client::Rpc, device: &str) -> Value {
    let answer = rpc.call("connect", json!({ "device": device }));
    assert_eq!(answer["state"], "completed", "{answer}");
    answer
}

#[track_caller]
fn assert_code(answer: &Value, code: &str) {
    assert_eq!(answer["error"]["code"], code, "{answer}");
}

/// All that a process said.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

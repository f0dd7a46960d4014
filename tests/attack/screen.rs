//! GT-040 to GT-046: what the approver sees, and what would have it read as something else.

use crate::connect;
use crate::rpc_client::{Home, Rpc};
use serde_json::json;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The screen of a request to quarantine a file of this name.
fn screen(name: &[u8], reason: &str) -> String {
    let home = Home::new();
    home.enroll("alex");
    let path = home.path().join("files").join(OsStr::from_bytes(name));
    std::fs::write(&path, "x").expect("a file");
    let spoken: String = path.as_os_str().as_bytes().iter().map(|b| format!("\\x{b:02x}")).collect();
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    let pending = rpc.call("remediate", json!({ "type": "file", "id": format!("esc:{spoken}"), "reason": reason }));
    assert_eq!(pending["state"], "pending_approval", "{pending}");
    let id = pending["approval"]["request_id"].as_str().expect("a request");
    let output = home.run(&["approvals", "show", id], "");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    text
}

fn lines_with(screen: &str, field: &str) -> usize {
    screen.lines().filter(|l| l.trim_start().starts_with(field)).count()
}

#[test]
fn gt_040_names_that_redraw_the_screen_are_shown_written_out() {
    let text = screen(b"a\x1b[2K\x1b[1A\r\x08\x7f\xc2\x9bx", "");
    assert!(text.contains("\\x1b[2K") || text.contains("\\x1b"), "{text}");
    assert_eq!(lines_with(&text, "Command"), 1);
}

#[test]
fn gt_042_direction_controls_are_written_out_and_flagged() {
    let text = screen("exe\u{202e}gpj".as_bytes(), "");
    assert!(!text.contains('\u{202e}') && text.contains("direction control"), "{text}");
}

#[test]
fn gt_045_a_name_padded_to_the_edge_begins_no_field_of_its_own() {
    let name = format!("a{}sha256{}0000", " ".repeat(60), " ".repeat(9));
    let text = screen(name.as_bytes(), "");
    assert!(text.lines().all(|l| !l.contains("a      ") && !l.contains("sha256         0000")), "{text}");
}

#[test]
fn gt_046_a_reason_forges_no_block() {
    let reason = format!("urgent{}Command         dir", " ".repeat(74));
    let text = screen(b"x", &reason);
    assert!(!text.contains("Command         dir"), "{text}");
    assert!(text.contains("UNVERIFIED"), "{text}");
}

#[test]
fn gt_046_a_reason_with_lines_is_refused_or_one_line() {
    let home = Home::new();
    home.enroll("alex");
    let file = home.file("x", b"x");
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    let reason = "ok\n  Command  dir\n  [approve]\u{2028}\u{85}";
    let answer = rpc.call("remediate", json!({ "type": "file", "id": file, "reason": reason }));
    if let Some(id) = answer["approval"]["request_id"].as_str() {
        let text = String::from_utf8(home.run(&["approvals", "show", id], "").stdout).expect("UTF-8");
        assert_eq!((lines_with(&text, "Command"), lines_with(&text, "[approve]")), (1, 0), "{text}");
    }
}

//! The Bash half of the script pack, as it is uploaded, asked and answered.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::path::Path;

pub const NONCE: &str = "0123456789abcdef0123456789abcdef";

/// What is put before a script besides the prelude, as `pack.rs` has it.
fn parts(name: &str) -> &'static [&'static str] {
    match name {
        "findfile" => &["walk"],
        "persistence" => &["walk", "units", "tasks", "desktop", "found", "access", "programs", "hooks"],
        "scheduledtasks" => &["units", "tasks"],
        "services" => &["units"],
        "startupfolders" => &["desktop"],
        _ => &[],
    }
}

/// A whole script.
pub fn text(name: &str) -> String {
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/device/defender/pack/bash");
    let part = |name: &str| std::fs::read_to_string(pack.join(format!("{name}.sh"))).expect("a script");
    let whole: String = ["prelude"].iter().chain(parts(name)).chain(&[name]).map(|name| part(name)).collect();
    assert!(!whole.contains('\r'), "{name} has line ends of Windows");
    whole
}

/// The argument as the sender writes it: ASCII, compact.
pub fn word(limit_s: u64, args: &Value) -> String {
    let text = json!({ "nonce": NONCE, "limit_s": limit_s, "args": args }).to_string();
    let mut ascii = String::new();
    for unit in text.encode_utf16() {
        match char::from_u32(unit.into()).filter(char::is_ascii) {
            Some(c) => ascii.push(c),
            None => ascii.push_str(&format!("\\u{unit:04x}")),
        }
    }
    URL_SAFE_NO_PAD.encode(ascii)
}

/// The one document on stdout, which names this nonce.
pub fn document(stdout: &[u8], nonce: &str) -> Value {
    let text = std::str::from_utf8(stdout).expect("UTF-8");
    let begin = format!("@@live-response {nonce} begin");
    let end = format!("@@live-response {nonce} end");
    let lines: Vec<&str> = text.lines().collect();
    let at: Vec<usize> = lines.iter().enumerate().filter(|(_, l)| **l == begin).map(|(i, _)| i).collect();
    assert_eq!(at.len(), 1, "{text}");
    assert_eq!(lines.get(at[0] + 2), Some(&end.as_str()), "{text}");
    let value: Value = serde_json::from_str(lines[at[0] + 1]).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(value["v"], 1);
    value
}

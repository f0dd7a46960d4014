//! The simulated Defender tenant: what others test against holds what the API documents.

mod support;

use serde_json::{Value, json};
use support::defender::Simulator;

fn run_script(name: &str, args: &str) -> Value {
    json!([{ "type": "RunScript", "params": [{ "key": "ScriptName", "value": name }, { "key": "Args", "value": args }] }])
}

#[test]
fn a_script_runs_for_real_on_a_linux_device() {
    let simulator = Simulator::start(&["--devices", "4"]);
    let token = simulator.token();
    let (status, machines) = simulator.api(&token, "GET", "/api/machines?$filter=osPlatform%20eq%20'Ubuntu'", None);
    assert_eq!(status, 200);
    let machine = machines["value"][0]["id"].as_str().expect("a machine");
    let script = "printf 'id=%s args=%s host=%s\\n' \"$(id -u)\" \"$1\" \"$(hostname)\"; pgrep kdevtmpfsi >/dev/null && echo evil; echo oops >&2; exit 3\n";
    assert_eq!(simulator.upload(&token, "tiny.sh", script).0, 200);
    assert_eq!(simulator.upload(&token, "tiny.sh", script).0, 400, "the name is taken");
    let action = simulator.live_response(&token, machine, run_script("tiny.sh", "eyJ9"));
    if action["status"] == "Failed" && !rustix::process::geteuid().is_root() {
        println!("ignored: no user namespaces here: {action}");
        return;
    }
    assert_eq!(action["status"], "Succeeded", "{action}");
    let result = simulator.result(&token, action["id"].as_str().expect("an id"), 0);
    let result: Value = serde_json::from_slice(&result).expect("JSON");
    let name = machines["value"][0]["computerDnsName"].as_str().expect("a name");
    assert_eq!(result["script_output"], format!("id=0 args=eyJ9 host={name}\nevil\n"));
    assert_eq!((&result["script_errors"], &result["exit_code"]), (&json!("oops\n"), &json!(3)));
    assert_eq!(simulator.count("run_live_response"), 1);
}

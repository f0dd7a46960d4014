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

/// The document that a script of the pack printed, without what stands round it.
fn document(result: &[u8], nonce: &str) -> Value {
    let result: Value = serde_json::from_slice(result).expect("JSON");
    let output = result["script_output"].as_str().expect("text");
    assert!(output.starts_with("Transcript started, output file is ") && output.ends_with('\0'), "{output}");
    let (_, rest) = output.split_once(&format!("@@live-response {nonce} begin\r\n")).expect("a beginning");
    let (line, _) = rest.split_once(&format!("\r\n@@live-response {nonce} end\r\n")).expect("an end");
    serde_json::from_str(line).expect("a document")
}

#[test]
fn a_windows_device_replays_with_its_arguments() {
    use base64::Engine;
    let simulator = Simulator::start(&["--devices", "4"]);
    let token = simulator.token();
    let (machine, _) = simulator.device("windows");
    let nonce = "0123456789abcdef".repeat(2);
    let script = "lr-processes-0123456789abcdef.ps1";
    assert_eq!(simulator.upload(&token, script, "# recorded").0, 200);
    let argument = json!({ "nonce": nonce, "limit_s": 540, "args": { "name": "SVCH0ST*" } }).to_string();
    let word = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(argument);
    let action = simulator.live_response(&token, &machine, run_script(script, &word));
    let result = simulator.result(&token, action["id"].as_str().expect("an id"), 0);
    let document = document(&result, &nonce);
    let rows = document["rows"].as_array().expect("rows");
    assert_eq!((rows.len(), &rows[0]["name"], &document["complete"]), (1, &json!("svch0st.exe"), &json!(true)));
}

#[test]
fn a_device_takes_one_live_response_at_a_time() {
    let simulator = Simulator::start(&["--devices", "4", "--platforms", "windows", "--action-ms", "60000"]);
    let token = simulator.token();
    let (machine, _) = simulator.device("windows");
    assert_eq!(simulator.upload(&token, "x.ps1", "x").0, 200);
    let path = format!("/api/machines/{machine}/runliveresponse");
    let body = json!({ "Commands": run_script("x.ps1", ""), "Comment": "a test" });
    let (status, first) = simulator.api(&token, "POST", &path, Some(body.clone()));
    assert_eq!((status, &first["status"]), (201, &json!("Pending")));
    let (status, refused) = simulator.api(&token, "POST", &path, Some(body));
    assert_eq!((status, &refused["error"]["code"]), (400, &json!("ActiveRequestAlreadyExists")));
    let id = first["id"].as_str().expect("an id");
    let cancel = format!("/api/machineactions/{id}/cancel");
    assert_eq!(simulator.api(&token, "POST", &cancel, Some(json!({ "Comment": "no" }))).0, 200);
    assert_eq!(simulator.ended(&token, id)["status"], "Cancelled");
}

#[test]
fn a_fault_spoils_as_many_answers_as_it_was_told() {
    let simulator = Simulator::start(&["--devices", "2"]);
    let token = simulator.token();
    let machines = |_: u32| simulator.api(&token, "GET", "/api/machines", None).0;
    simulator
        .control(json!({ "fault": { "endpoint": "machines", "times": 2, "do": { "status": { "status": 503 } } } }));
    simulator.control(json!({ "fault": { "endpoint": "machines", "do": { "cut": {} } } }));
    assert_eq!([1, 2, 3, 4].map(machines), [503, 503, 0, 200]);
    simulator.control(json!({ "permissions": { "revoke": ["Machine.Read.All"] } }));
    assert_eq!(machines(5), 403);
    simulator.control(json!({ "expire_tokens": true }));
    assert_eq!(machines(6), 401);
}

#[test]
fn limits_are_those_of_the_documents() {
    let simulator = Simulator::start(&["--devices", "2", "--calls-per-minute", "3"]);
    let token = simulator.token();
    let statuses = [(); 4].map(|()| simulator.api(&token, "GET", "/api/machines", None).0);
    assert_eq!(statuses, [200, 200, 200, 429]);
}

#[test]
fn the_same_seed_gives_the_same_ids() {
    let ids = |seed: &str| -> Vec<Value> {
        let simulator = Simulator::start(&["--devices", "5", "--seed", seed]);
        simulator.devices().iter().map(|d| d["id"].clone()).collect()
    };
    assert_eq!(ids("3"), ids("3"));
    assert_ne!(ids("3"), ids("4"));
}

/// A client assertion as RFC 7523 has it, signed by `openssl` with a key made for this test.
#[test]
fn an_assertion_is_taken_when_its_certificate_is_registered() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as base64url};
    if !support::tools::have("openssl") {
        return;
    }
    let home = support::Home::new();
    let (key, certificate) = (home.files().join("key.pem"), home.files().join("cert.pem"));
    let openssl = |arguments: &[&str], input: &[u8]| -> Vec<u8> {
        use std::io::Write;
        let mut child = std::process::Command::new("openssl")
            .args(arguments)
            .current_dir(home.files())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("openssl");
        child.stdin.take().expect("stdin").write_all(input).expect("input");
        let out = child.wait_with_output().expect("an end");
        assert!(out.status.success(), "openssl {arguments:?}");
        out.stdout
    };
    let request = "req -x509 -newkey rsa:2048 -nodes -subj /CN=simulated -days 2 -keyout key.pem -out cert.pem";
    openssl(&request.split(' ').collect::<Vec<_>>(), b"");
    let simulator = Simulator::start(&["--devices", "1", "--certificate", certificate.to_str().expect("text")]);
    let config: toml::Table = std::fs::read_to_string(simulator.config()).expect("a file").parse().expect("TOML");
    let of = |name: &str| config["defender"][name].as_str().expect("text").to_owned();
    let path = format!("/{}/oauth2/v2.0/token", of("tenant_id"));
    let assertion = |lives: i64| {
        let now = jiff::Timestamp::now().as_second();
        let client = of("client_id");
        let claims = json!({ "iss": client, "sub": client, "aud": format!("{}{path}", simulator.url()), "jti": "1", "nbf": now - 3600, "exp": now + lives });
        let part = |v: &Value| base64url.encode(v.to_string());
        let message = format!("{}.{}", part(&json!({ "alg": "RS256", "typ": "JWT" })), part(&claims));
        let key = key.to_str().expect("text");
        let signature = openssl(&["dgst", "-sha256", "-sign", key], message.as_bytes());
        format!("{message}.{}", base64url.encode(signature))
    };
    let ask = |assertion: &str| {
        let body = format!(
            "grant_type=client_credentials&client_id={}&scope=https://api.securitycenter.microsoft.com/.default&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion={assertion}",
            of("client_id")
        );
        let (status, answer) = simulator.http("POST", &path, "", body.as_bytes());
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        (status, answer["error_codes"][0].as_u64())
    };
    let good = assertion(600);
    assert_eq!(ask(&good), (200, None));
    let (message, signature) = good.rsplit_once('.').expect("a signature");
    let other = signature.chars().rev().collect::<String>();
    assert_eq!(ask(&format!("{message}.{other}")), (401, Some(700_027)));
    assert_eq!(ask(&assertion(-1000)), (401, Some(700_024)));
}

//! The simulated Defender tenant, started for one test and ended with it.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// A running simulator; its configuration lies in a folder of its own.
pub struct Simulator {
    child: Child,
    url: String,
    folder: PathBuf,
}

/// A request that the simulator saw.
#[derive(Clone, Debug)]
pub struct SeenRequest {
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    /// `run_live_response`, `machines`, …
    pub endpoint: String,
    pub time: String,
    /// `None` as long as it is being answered.
    pub status: Option<u16>,
}

impl SeenRequest {
    /// Path and query, as they were asked for.
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

impl Simulator {
    /// Starts it on a free port with these options besides, fast: `--action-ms 200 --calls-per-minute 0
    /// --calls-per-hour 0 --starts-per-minute 0` unless they say otherwise.
    pub fn start(options: &[&str]) -> Simulator {
        let folder = std::env::temp_dir().join(format!("live-response-tenant-{}-{}", std::process::id(), next()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut command = Command::new(program());
        command.args(["--listen", "127.0.0.1:0", "--until-eof", "--config-out"]).arg(&folder).args(options);
        for (option, value) in [
            ("--action-ms", "200"),
            ("--calls-per-minute", "0"),
            ("--calls-per-hour", "0"),
            ("--starts-per-minute", "0"),
        ] {
            if !options.contains(&option) {
                command.args([option, value]);
            }
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the simulator");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
        let url = line.trim().strip_prefix("listening on ").expect("its address").to_owned();
        Simulator { child, url, folder }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where `config.toml` and `defender.secret` lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// For `--config` or `$LIVE_RESPONSE_CONFIG`.
    pub fn config(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    /// An order, or a list of them; `examples/defender_simulator/control.rs` says which there are.
    pub fn control(&self, order: Value) {
        let (status, body) = self.http("POST", "/_control", "", order.to_string().as_bytes());
        assert_eq!(status, 200, "the simulator refused {order}: {}", String::from_utf8_lossy(&body));
    }

    /// Every request so far, in order; those to the control endpoint are not among them.
    pub fn log(&self) -> Vec<SeenRequest> {
        let rows = self.get_control("/_control/log");
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let rows = rows.as_array().expect("a list").iter();
        rows.map(|row| SeenRequest {
            method: text(row, "method"),
            path: text(row, "path"),
            query: row["query"].as_str().map(str::to_owned),
            endpoint: text(row, "endpoint"),
            time: text(row, "time"),
            status: row["status"].as_u64().and_then(|s| u16::try_from(s).ok()),
        })
        .collect()
    }

    /// How often an endpoint was called.
    pub fn count(&self, endpoint: &str) -> usize {
        self.log().iter().filter(|seen| seen.endpoint == endpoint).count()
    }

    /// The devices with `id`, `name`, `platform`, `online`, `isolated`, …
    pub fn devices(&self) -> Vec<Value> {
        self.get_control("/_control/devices").as_array().expect("a list").clone()
    }

    /// The first online device of a platform (`windows`, `linux`, `macos`) that takes live responses: id and name.
    pub fn device(&self, platform: &str) -> (String, String) {
        let ready = |d: &Value| d["platform"] == platform && d["online"] == true && d["automated"] == true;
        let found = self.devices().into_iter().find(ready).expect("such a device");
        let text = |name: &str| found[name].as_str().expect("text").to_owned();
        (text("id"), text("name"))
    }

    fn get_control(&self, path: &str) -> Value {
        serde_json::from_slice(&self.http("GET", path, "", b"").1).expect("JSON")
    }

    /// A bearer token of the configured application.
    pub fn token(&self) -> String {
        let config: toml::Table = std::fs::read_to_string(self.config()).expect("a file").parse().expect("TOML");
        let text = |name: &str| config["defender"][name].as_str().expect("text").to_owned();
        let secret = std::fs::read_to_string(text("client_secret_file")).expect("a secret");
        let body = format!(
            "grant_type=client_credentials&client_id={}&client_secret={secret}&scope=https://api.securitycenter.microsoft.com/.default",
            text("client_id")
        );
        let head = "Content-Type: application/x-www-form-urlencoded\r\n";
        let (status, body) =
            self.http("POST", &format!("/{}/oauth2/v2.0/token", text("tenant_id")), head, body.as_bytes());
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    /// What every token that it gives begins with, whatever it is good for.
    pub fn first_of_tokens(&self) -> String {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"RS256","#)
    }

    /// A call of the API as an application makes it: status and JSON body (null where there is none).
    pub fn api(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let head = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        let body = body.map(|b| b.to_string()).unwrap_or_default();
        let (status, body) = self.http(method, path, &head, body.as_bytes());
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Uploads a library file.
    pub fn upload(&self, token: &str, name: &str, content: &str) -> (u16, Value) {
        let boundary = "simulated-boundary";
        let field = |name: &str, value: &str| {
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n{content}\r\n{}{}{}--{boundary}--\r\n",
            field("HasParameters", "false"),
            field("OverrideIfExists", "false"),
            field("Description", "a test")
        );
        let head =
            format!("Authorization: Bearer {token}\r\nContent-Type: multipart/form-data; boundary={boundary}\r\n");
        let (status, body) = self.http("POST", "/api/libraryfiles", &head, body.as_bytes());
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Starts a live response and waits for its end.
    pub fn live_response(&self, token: &str, machine: &str, commands: Value) -> Value {
        let body = json!({ "Commands": commands, "Comment": "a test" });
        let (status, action) = self.api(token, "POST", &format!("/api/machines/{machine}/runliveresponse"), Some(body));
        assert_eq!(status, 201, "{action}");
        self.ended(token, action["id"].as_str().expect("an id"))
    }

    /// The action once it has ended.
    pub fn ended(&self, token: &str, action: &str) -> Value {
        let deadline = std::time::Instant::now() + Duration::from_secs(180);
        loop {
            let (status, row) = self.api(token, "GET", &format!("/api/machineactions/{action}"), None);
            if status == 200 && !["Pending", "InProgress"].contains(&row["status"].as_str().unwrap_or_default()) {
                return row;
            }
            assert!(std::time::Instant::now() < deadline, "no end of {row}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// The bytes of a command's result.
    pub fn result(&self, token: &str, action: &str, index: usize) -> Vec<u8> {
        let path = format!("/api/machineactions/{action}/GetLiveResponseResultDownloadLink(index={index})");
        let (status, link) = self.api(token, "GET", &path, None);
        assert_eq!(status, 200, "{link}");
        let link = link["value"].as_str().expect("a link").strip_prefix(&self.url).expect("its own").to_owned();
        self.http("GET", &link, "", b"").1
    }

    /// One request on a connection of its own: status and body.
    pub fn http(&self, method: &str, path: &str, head: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let address = self.url.strip_prefix("http://").expect("http");
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a timeout");
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n{head}\r\n");
        stream.write_all(request.as_bytes()).expect("a request");
        stream.write_all(body).expect("a body");
        let mut answer = Vec::new();
        // A connection that was cut gives what came before.
        let _ = stream.read_to_end(&mut answer);
        let at = answer.windows(4).position(|w| w == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
        let head = String::from_utf8_lossy(&answer[..at]).into_owned();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        (status, answer.split_off(at))
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // The end of its input is its end.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn next() -> u32 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// Beside the test program, where `cargo test` builds examples. `cargo test --test …` alone does not: what is not there is
/// built then, what is there may be older than its source.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = profile().join("examples/defender_simulator");
        if !program.exists() {
            build();
        }
        program
    })
}

/// Builds the simulator anew where its source is newer.
pub fn build() {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--locked", "--quiet", "--example", "defender_simulator"]);
    if profile().ends_with("release") {
        build.arg("--release");
    }
    // As this program was built, so that nothing is built twice.
    if !cfg!(feature = "yara") {
        build.args(["--no-default-features", "--features", "run"]);
    }
    // What cargo tells a program that it runs would have crates built anew whose build scripts look at it.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|told| name.starts_with(told)) {
            build.env_remove(name);
        }
    }
    let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(built.is_ok_and(|s| s.success()), "cargo build --example defender_simulator");
}

/// `target/PROFILE`.
fn profile() -> PathBuf {
    let test = std::env::current_exe().expect("a program");
    test.parent().and_then(Path::parent).expect("target/PROFILE").to_owned()
}

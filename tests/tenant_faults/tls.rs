//! The way to the service: who is trusted, which hosts are asked, and that a token goes nowhere else.

use crate::support::defender::Simulator;
use crate::support::{Home, Said, ended, tools};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What was asked of a listener of ours, as it came.
type Asked = Arc<Mutex<Vec<String>>>;

/// Serves each connection on a thread of its own; its port.
fn listen(serve: impl Fn(TcpStream) -> Option<()> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// A whole request: its head, and as much body as it says.
fn request(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.split("content-length:").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
            if bytes.len() >= end + length.unwrap_or(0usize) {
                return Some(bytes);
            }
        }
        match stream.read(&mut buffer).ok()? {
            0 => return None,
            n => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}

/// Speaks TLS with this certificate, and passes what it hears on to a server on loopback; its port.
fn tls_in_front_of(folder: &Path, name: &str, behind: String) -> u16 {
    let certificate = CertificateDer::from_pem_file(folder.join(format!("{name}.crt"))).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|c| c.with_no_client_auth().with_single_cert(vec![certificate], key))
        .expect("a configuration");
    let config = Arc::new(config);
    listen(move |stream| {
        let mut tls = rustls::StreamOwned::new(rustls::ServerConnection::new(config.clone()).ok()?, stream);
        let asked = request(&mut tls)?;
        let line = asked.windows(2).position(|w| w == b"\r\n")? + 2;
        let mut server = TcpStream::connect(&behind).ok()?;
        server.write_all(&[&asked[..line], b"connection: close\r\n", &asked[line..]].concat()).ok()?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).ok()?;
        tls.write_all(&answer).ok()?;
        tls.conn.send_close_notify();
        tls.flush().ok()
    })
}

fn openssl(folder: &Path, arguments: &str) {
    let made = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().expect("openssl");
    assert!(made.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&made.stderr));
}

/// `devices` with this `[defender]` in place of the tenant's addresses.
fn devices(home: &Home, tenant: &Simulator, addresses: &str) -> Command {
    let own = |line: &&str| !line.starts_with("api_url") && !line.starts_with("login_url");
    let config = std::fs::read_to_string(tenant.config()).expect("a configuration");
    let kept: Vec<&str> = config.lines().filter(own).collect();
    let file = home.file("config.toml", format!("{}\n{addresses}\n", kept.join("\n")));
    let mut command = home.piped(&["--config", &file.display().to_string(), "call", "devices", "{}"]);
    for name in
        ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"]
    {
        command.env_remove(name);
    }
    command
}

fn run(mut command: Command) -> Output {
    ended(command.spawn().expect("the binary"))
}

#[test]
fn a_certificate_of_a_trusted_authority_for_this_host_is_needed() {
    if !tools::have("openssl") {
        return;
    }
    let (home, tenant) = (Home::new(), Simulator::start(&["--devices", "3"]));
    let folder = home.files();
    for name in ["ca", "rogue"] {
        openssl(
            &folder,
            &format!("req -x509 -newkey rsa:2048 -nodes -subj /CN={name} -days 2 -keyout {name}.key -out {name}.crt"),
        );
    }
    for (name, host, authority, days) in [
        ("good", "localhost", "ca", "2"),
        ("misnamed", "api.example", "ca", "2"),
        ("forged", "localhost", "rogue", "2"),
    ] {
        home.file("names", format!("subjectAltName=DNS:{host}\nbasicConstraints=CA:FALSE\n"));
        openssl(&folder, &format!("req -newkey rsa:2048 -nodes -subj /CN={host} -keyout {name}.key -out {name}.csr"));
        openssl(
            &folder,
            &format!(
                "x509 -req -in {name}.csr -CA {authority}.crt -CAkey {authority}.key -CAcreateserial -days {days} -extfile names -out {name}.crt"
            ),
        );
    }
    let behind = tenant.url().trim_start_matches("http://").to_owned();
    let through = |name: &str, root: &str| {
        let port = tls_in_front_of(&folder, name, behind.clone());
        let url = format!("https://localhost:{port}");
        let mut command = devices(&home, &tenant, &format!("api_url = {url:?}\nlogin_url = {url:?}"));
        command.env("SSL_CERT_FILE", folder.join(format!("{root}.crt"))).env_remove("SSL_CERT_DIR");
        run(command).expect(0).json()
    };
    for (name, root) in [("misnamed", "ca"), ("forged", "ca"), ("good", "rogue")] {
        let result = through(name, root);
        let warned = result["warnings"].to_string();
        assert!(warned.contains("certificate"), "{name} under {root}: {result}");
        assert_eq!(result["data"]["rows"].as_array().map(Vec::len), Some(1), "{result}");
    }
    assert!(tenant.log().is_empty(), "something was sent to who could not prove itself: {:?}", tenant.log());
    let result = through("good", "ca");
    assert_eq!(result["data"]["rows"].as_array().map(Vec::len), Some(4), "{result}");
}

#[test]
fn a_redirect_takes_no_token_along() {
    let (home, tenant) = (Home::new(), Simulator::start(&["--devices", "3"]));
    let elsewhere: Asked = Arc::default();
    let heard = elsewhere.clone();
    let other = listen(move |mut stream| {
        let asked = request(&mut stream)?;
        heard.lock().ok()?.push(String::from_utf8_lossy(&asked).into_owned());
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\nconnection: close\r\n\r\n{\"value\":[]}").ok()
    });
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let api = listen(move |mut stream| {
            request(&mut stream)?;
            let answer = format!(
                "HTTP/1.1 {status}\r\nlocation: http://127.0.0.1:{other}/api/machines\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).ok()
        });
        let urls = format!("api_url = \"http://127.0.0.1:{api}\"\nlogin_url = {:?}", tenant.url());
        let mut command = devices(&home, &tenant, &urls);
        command.env("RUST_LOG", "trace");
        let output = run(command).expect(0);
        let result = output.json();
        assert!(result["warnings"].to_string().contains("redirects"), "{status}: {result}");
        assert!(!output.err().contains(&tenant.first_of_tokens()), "the token was logged");
    }
    assert!(elsewhere.lock().expect("a lock").is_empty(), "it was followed: {elsewhere:?}");
}

#[test]
fn plain_http_goes_to_loopback_only() {
    let (home, tenant) = (Home::new(), Simulator::start(&["--devices", "3"]));
    for key in ["api_url", "login_url"] {
        for url in
            ["http://api.example", "http://10.0.0.1:8080", "http://127.0.0.1.example", "http://127.0.0.1@api.example"]
        {
            let output = run(devices(&home, &tenant, &format!("{key} = {url:?}")));
            assert_ne!(output.code(), 0, "{url}");
            let said = format!("{}{}", output.out(), output.err());
            assert!(said.contains(key) && said.contains("loopback"), "{url}: {said}");
        }
    }
    // What was signed in for by TLS is not asked in the clear.
    let (api, log) = (tenant.url(), tenant.log().len());
    let result = run(devices(&home, &tenant, &format!("login_url = \"https://127.0.0.1:9\"\napi_url = {api:?}")))
        .expect(0)
        .json();
    assert!(result["warnings"].to_string().contains("sign in"), "{result}");
    assert_eq!(tenant.log().len(), log);
}

#[test]
fn each_cloud_is_signed_in_to_at_its_own_host() {
    let (home, tenant) = (Home::new(), Simulator::start(&["--devices", "3"]));
    let clouds = [
        ("commercial", "login.microsoftonline.com"),
        ("gcc", "login.microsoftonline.com"),
        ("gcc-high", "login.microsoftonline.us"),
        ("dod", "login.microsoftonline.us"),
    ];
    // A proxy that is asked for each host, and lets nobody through.
    let runs = clouds.map(|(cloud, host)| {
        let asked: Asked = Arc::default();
        let heard = asked.clone();
        let proxy = listen(move |mut stream| {
            let asked = request(&mut stream)?;
            heard.lock().ok()?.push(String::from_utf8_lossy(&asked).lines().next().unwrap_or_default().to_owned());
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok()
        });
        let mut command = devices(&home, &tenant, &format!("cloud = {cloud:?}"));
        command.env("HTTPS_PROXY", format!("http://127.0.0.1:{proxy}"));
        let child = command.spawn().expect("the binary");
        // The next one writes another configuration.
        while asked.lock().expect("a lock").is_empty() {
            std::thread::sleep(Duration::from_millis(20));
        }
        (child, asked, host)
    });
    for (child, asked, host) in runs {
        let result = ended(child).expect(0).json();
        assert!(result["warnings"].to_string().contains("cannot sign in"), "{result}");
        let asked = asked.lock().expect("a lock").clone();
        assert!(asked.iter().all(|line| line.starts_with(&format!("CONNECT {host}:443 "))), "{asked:?}");
    }
}

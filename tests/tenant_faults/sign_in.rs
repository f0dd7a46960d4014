//! Signing in to a tenant: secrets that are wrong or have expired, permissions and tokens that go, clocks that differ.

use crate::support::tenant::Case;
use crate::support::{Said, tools};
use serde_json::{Value, json};
use std::path::Path;

const WRONG: &str = "canary-wrong-secret-4Zt9";

#[test]
fn what_goes_in_mid_session_is_named_and_comes_back() {
    let (mut case, name) = Case::synced("windows", &[]);
    case.is_traced = true;
    assert!(case.tenant.token().starts_with(&case.tenant.first_of_tokens()), "the canary is no token's");
    let file = case.tenant.folder().join("defender.secret");
    let secret = std::fs::read_to_string(&file).expect("a secret");
    let mut server = case.serve();
    server.done("connect", json!({ "device": name }));
    server.done("services", json!({}));
    // A token that ends is another one's beginning.
    case.tenant.control(json!({ "expire_tokens": true }));
    server.done("services", json!({}));
    let expect = |error: Value, said: &[&str]| {
        assert_eq!(error["code"], "E_BACKEND", "{error}");
        said.iter().for_each(|part| assert!(error.to_string().contains(part), "no {part} in {error}"));
    };
    for permission in ["Machine.LiveResponse", "Library.Manage"] {
        case.tenant.control(json!({ "permissions": { "revoke": [permission] } }));
        case.tenant.control(json!({ "expire_tokens": true }));
        let asked = json!({ "path": super::changes::EVIL });
        let error = match permission {
            // A listing of the library counts for a minute.
            "Library.Manage" => case.call(&name, "fileinfo", asked).expect(1).json()["error"].clone(),
            _ => server.error("fileinfo", asked),
        };
        expect(error, &[permission, "grant admin consent", "API permissions"]);
        case.tenant.control(json!({ "permissions": { "grant": [permission] } }));
        server.done("fileinfo", json!({ "path": super::changes::EVIL }));
    }
    // Started, and then not to be read: the permission that reads is named.
    case.tenant.control(json!({ "permissions": { "revoke": ["Machine.Read.All", "Machine.ReadWrite.All"] } }));
    expect(server.error("services", json!({})), &["Machine.Read.All", "grant admin consent"]);
    case.tenant.control(json!({ "permissions": { "grant": ["Machine.Read.All"] } }));
    server.done("services", json!({}));
    std::fs::write(&file, format!("{WRONG}\n")).expect("a secret");
    case.tenant.control(json!({ "expire_tokens": true }));
    let error = server.error("services", json!({}));
    assert!(!error.to_string().contains(WRONG), "{error}");
    expect(error, &["AADSTS7000215", "the client secret is wrong", "not its id"]);
    std::fs::write(&file, &secret).expect("a secret");
    case.tenant.control(json!({ "secret": "expired" }));
    expect(server.error("services", json!({})), &["AADSTS7000222", "has expired", "make a new secret"]);
    case.tenant.control(json!({ "secret": "valid" }));
    server.done("services", json!({}));
    drop(server);
    let log = std::fs::read_to_string(case.home.path().join("log")).expect("a log");
    assert!(log.contains("TRACE") && log.contains("hyper"), "nothing was traced");
    assert!(!log.contains(WRONG) && !log.contains(secret.trim()) && !log.contains("Bearer ey"), "a secret was logged");
}

fn openssl(folder: &Path, arguments: &str) {
    let made =
        std::process::Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().expect("openssl");
    assert!(made.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn a_certificate_signs_in_whatever_the_clocks_say_and_another_key_does_not() {
    if !tools::have("openssl") {
        return;
    }
    let made = crate::support::Home::new();
    let folder = made.files();
    for name in ["ours", "other"] {
        openssl(
            &folder,
            &format!("req -x509 -newkey rsa:2048 -nodes -subj /CN=app -days 2 -keyout {name}.key -out {name}.crt"),
        );
    }
    let registered = folder.join("ours.crt").display().to_string();
    let case = Case::new(&["--devices", "4", "--certificate", &registered], "", |_| {
        String::new() + &crate::support::tenant::lab("x")
    });
    let name = case.tenant.device("windows").1;
    let pem = case.home.path().join("app.pem");
    let config = std::fs::read_to_string(&case.config).expect("a configuration");
    let secret = config.lines().find(|line| line.starts_with("client_secret_file")).expect("a secret");
    std::fs::write(
        &case.config,
        config.replace(secret, &format!("client_certificate = {:?}", pem.display().to_string())),
    )
    .expect("a file");
    let sign_in = |key: &str, certificate: &str, offset: i64| {
        let read = |name: String| std::fs::read_to_string(folder.join(name)).expect("PEM");
        std::fs::write(&pem, read(format!("{key}.key")) + &read(format!("{certificate}.crt"))).expect("a file");
        std::fs::set_permissions(&pem, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
        case.tenant.control(json!({ "clock_offset_s": offset }));
        case.call(&name, "cd", json!({ "path": "Windows" }))
    };
    sign_in("ours", "ours", 0).expect(0);
    for offset in [-7200, 7200] {
        sign_in("ours", "ours", offset).expect(0);
    }
    for (key, certificate) in [("other", "ours"), ("ours", "other"), ("other", "other")] {
        let output = sign_in(key, certificate, 0).expect(1);
        let error = output.json()["error"].clone();
        assert!(error["code"] == "E_BACKEND" && error["message"].to_string().contains("AADSTS700027"), "{error}");
        assert!(error["hint"].to_string().contains("upload the certificate"), "{error}");
    }
}

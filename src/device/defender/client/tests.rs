//! A small service on loopback that answers as it is told, and what the client makes of it.

use super::*;
use crate::config::{Credential, DefenderLimits};
use crate::private::{self, scratch::Scratch};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use std::sync::Mutex;

/// A call as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) bearer: Option<String>,
    pub(crate) body: String,
}

type Answer = dyn Fn(&Asked, usize) -> Response + Send + Sync;

/// Answers by a function of the call and how many like it came before; keeps what came.
pub(crate) struct Service {
    pub(crate) settings: Defender,
    asked: Arc<Mutex<Vec<Asked>>>,
    _folder: Scratch,
}

pub(crate) const SECRET: &str = "canary-secret-7Qm8";

struct Shared {
    asked: Arc<Mutex<Vec<Asked>>>,
    answer: Box<Answer>,
}

pub(crate) fn json(status: u16, body: impl Into<String>) -> Response {
    let status = axum::http::StatusCode::from_u16(status).unwrap();
    (status, [("content-type", "application/json")], body.into()).into_response()
}

pub(crate) fn error(status: u16, code: &str, message: &str) -> Response {
    let error = serde_json::json!({"error": {"code": code, "message": message, "target": "c0ffee"}});
    json(status, error.to_string())
}

/// Token `n`, good for an hour.
pub(crate) fn token(n: usize) -> Response {
    json(200, format!(r#"{{"token_type":"Bearer","expires_in":3599,"access_token":"canary-token-{n}"}}"#))
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    method: axum::http::Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = Asked {
        method: method.to_string(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        bearer: headers.get("authorization").map(|v| v.to_str().unwrap().to_owned()),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let before = {
        let mut all = shared.asked.lock().unwrap();
        all.push(asked.clone());
        all.iter().filter(|a| a.method == asked.method && a.path == asked.path).count() - 1
    };
    (shared.answer)(&asked, before)
}

impl Service {
    /// Tokens are granted; `answer` says the rest.
    pub(crate) async fn new(answer: impl Fn(&Asked, usize) -> Response + Send + Sync + 'static) -> Service {
        Self::whole(
            move |asked, n| if asked.path.ends_with("/oauth2/v2.0/token") { token(n) } else { answer(asked, n) },
        )
        .await
    }

    pub(crate) async fn whole(answer: impl Fn(&Asked, usize) -> Response + Send + Sync + 'static) -> Service {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::new(Shared { asked: asked.clone(), answer: Box::new(answer) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(serve).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, app).await });
        let folder = Scratch::new();
        let secret = folder.join("secret");
        private::replace(&secret, format!("{SECRET}\n").as_bytes()).unwrap();
        let settings = Defender {
            tenant_id: "t-1".into(),
            client_id: "c-1".into(),
            credential: Credential::SecretFile(secret),
            api_url: format!("http://{address}"),
            login_url: format!("http://{address}"),
            scope: "https://api.example/.default".into(),
            limits: DefenderLimits {
                starts_per_minute: 1_000,
                calls_per_minute: 10_000,
                calls_per_hour: 100_000,
                poll_first_ms: 5,
                poll_max_ms: 40,
                ..DefenderLimits::default()
            },
        };
        Service { settings, asked, _folder: folder }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.settings)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        self.asked().iter().filter(|a| a.method == method && a.path.contains(part)).count()
    }
}

fn machine(name: &str) -> String {
    format!(r#"{{"id":"{}","computerDnsName":"{name}","osBuild":null,"isExcluded":false}}"#, "ab".repeat(20))
}

#[tokio::test]
async fn one_token_serves_calls_that_come_together() {
    let service = Service::new(|_, _| json(200, machine("one"))).await;
    let (client, job) = (service.client(), Job::default());
    let (a, b, c) = tokio::join!(client.machine("one", &job), client.machine("one", &job), client.machine("one", &job));
    for found in [a, b, c] {
        assert_eq!(found.unwrap().computer_dns_name.unwrap().raw(), "one");
    }
    assert_eq!(service.count("POST", "/t-1/oauth2/v2.0/token"), 1);
    let form = &service.asked()[0].body;
    assert!(form.contains("grant_type=client_credentials") && form.contains(SECRET), "{form}");
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_once() {
    let service = Service::new(|asked, _| match asked.bearer.as_deref() {
        Some("Bearer canary-token-0") => error(401, "Unauthorized", "expired"),
        _ => json(200, machine("one")),
    })
    .await;
    service.client().machine("one", &Job::default()).await.unwrap();
    let never = Service::new(|_, _| error(401, "Unauthorized", "no")).await;
    let refused = never.client().machine("one", &Job::default()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Backend);
    assert!(refused.hint.unwrap().contains("Machine.Read.All"));
    assert_eq!(never.count("GET", "/machines/"), 2);
}

#[tokio::test]
async fn a_short_lived_token_is_fetched_again() {
    let service = Service::whole(|asked, n| match asked.path.ends_with("token") {
        true => json(200, format!(r#"{{"expires_in":"0","access_token":"t{n}"}}"#)),
        false => json(200, machine("one")),
    })
    .await;
    let client = service.client();
    for _ in 0..2 {
        client.machine("one", &Job::default()).await.unwrap();
    }
    assert_eq!(service.count("POST", "token"), 2);
}

#[tokio::test]
async fn what_entra_says_becomes_what_to_do() {
    for (says, word) in [
        ("AADSTS7000222: The provided client secret keys are expired.", "new secret"),
        ("AADSTS7000215: Invalid client secret provided.", "value, not its id"),
        ("AADSTS90002: Tenant not found.", "tenant_id"),
        ("AADSTS1: something", "tenant_id, client_id"),
    ] {
        let body = serde_json::json!({"error": "invalid_client", "error_description": says}).to_string();
        let service = Service::whole(move |_, _| json(401, body.clone())).await;
        let e = service.client().machine("one", &Job::default()).await.unwrap_err();
        assert_eq!(e.code, ErrorCode::Backend);
        assert!(e.hint.as_deref().unwrap().contains(word), "{says}: {e:?}");
        assert_eq!(service.asked().len(), 1, "{says}");
    }
}

#[tokio::test]
async fn a_secret_that_others_may_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let service = Service::new(|_, _| json(200, "{}")).await;
    let Credential::SecretFile(path) = &service.settings.credential else { panic!("a secret file") };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let e = service.client().machine("one", &Job::default()).await.unwrap_err();
    assert!(e.message.contains("may be read by others"), "{e}");
    assert!(service.asked().is_empty());
}

#[tokio::test]
async fn refusals_have_stable_codes_and_a_next_step() {
    for (status, code, ours, word) in [
        (403, "Forbidden", ErrorCode::Backend, "Machine.Read.All"),
        (403, "DisabledFeature", ErrorCode::Backend, "Advanced features"),
        (403, "DisallowedOperation", ErrorCode::Backend, "automation level"),
        (404, "ResourceNotFound", ErrorCode::NoDevice, "devices"),
        (400, "OsPlatformNotSupported", ErrorCode::Unsupported, "system"),
        (400, "ActiveRequestAlreadyExists", ErrorCode::DeviceBusy, "wait"),
        (400, "InvalidInput", ErrorCode::BadArgs, "value"),
        (400, "BadRequest", ErrorCode::Backend, "correlation"),
    ] {
        let service = Service::new(move |_, _| error(status, code, "evil\u{1b}[2J text")).await;
        let e = service.client().machine("one", &Job::default()).await.unwrap_err();
        assert_eq!(e.code, ours, "{code}");
        assert!(e.hint.as_deref().unwrap().contains(word), "{code}: {e:?}");
        assert!(!e.message.contains('\u{1b}'), "{e:?}");
        assert!(e.detail.unwrap().get().contains("c0ffee"), "{code}");
        assert_eq!(service.count("GET", "/machines/"), 1, "{code}");
    }
}

#[tokio::test]
async fn reads_survive_what_is_no_answer() {
    let service = Service::new(|_, n| match n {
        0 => json(503, "busy"),
        1 => json(200, "<html>sign in</html>"),
        2 => json(200, r#"{"id":"ab","computerDns"#),
        _ => json(200, machine("one")),
    })
    .await;
    service.client().machine("one", &Job::default()).await.unwrap();
    assert_eq!(service.count("GET", "/machines/"), 4);
}

#[tokio::test]
async fn a_change_is_not_sent_twice_on_its_own() {
    let service = Service::new(|_, _| json(500, "{}")).await;
    let (client, job) = (service.client(), Job::default());
    let machine = crate::device::defender::api::MachineId::new("ab".repeat(20));
    let commands = [crate::device::defender::api::LiveCommand::GetFile { path: "/x".into() }];
    let e = client.start_live_response(&machine, &commands, "c", &job).await.unwrap_err().into_error();
    assert_eq!(e.code, ErrorCode::Backend);
    assert_eq!(service.count("POST", "runliveresponse"), 1);
}

#[tokio::test]
async fn the_quota_is_waited_for_and_then_told() {
    let service = Service::new(|_, n| match n {
        0 => {
            let mut busy = error(429, "TooManyRequests", "slow down");
            busy.headers_mut().insert("retry-after", "0".parse().unwrap());
            busy
        }
        _ => json(200, machine("one")),
    })
    .await;
    service.client().machine("one", &Job::default()).await.unwrap();
    let long = Service::new(|_, _| {
        let mut busy = error(429, "TooManyRequests", "slow down");
        busy.headers_mut().insert("retry-after", "86400".parse().unwrap());
        busy
    })
    .await;
    let e = long.client().machine("one", &Job::default()).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::Throttled);
    assert_eq!(long.count("GET", "/machines/"), 1);
}

#[tokio::test]
async fn a_cancelled_job_ends_its_waiting() {
    let service = Service::new(|_, _| {
        let mut busy = error(429, "TooManyRequests", "slow down");
        busy.headers_mut().insert("retry-after", "500".parse().unwrap());
        busy
    })
    .await;
    let (client, job) = (service.client(), Arc::new(Job::default()));
    let asking = tokio::spawn({
        let job = job.clone();
        async move { client.machine("one", &job).await.map(drop) }
    });
    while service.count("GET", "/machines/") == 0 {
        tokio::task::yield_now().await;
    }
    job.cancel();
    assert_eq!(asking.await.unwrap().unwrap_err().code, ErrorCode::Cancelled);
}

#[tokio::test]
async fn pages_are_followed_on_the_same_host_only() {
    let rows: Vec<String> = (0..10_000).map(|i| machine(&format!("m{i}"))).collect();
    let full = format!(r#"{{"value":[{}]}}"#, rows.join(","));
    let service = Service::new(move |asked, _| match asked.query.contains("%24skip=10000") {
        true => json(200, r#"{"value":[{"id":"last"}]}"#),
        false => json(200, full.clone()),
    })
    .await;
    let mut pages = service.client().machines(Some("healthStatus eq 'Active'"));
    let job = Job::default();
    assert_eq!(pages.next(&job).await.unwrap().unwrap().len(), 10_000);
    assert_eq!(pages.next(&job).await.unwrap().unwrap().len(), 1);
    assert!(pages.next(&job).await.unwrap().is_none());
    assert!(service.asked()[1].query.contains("%24filter=healthStatus"));

    let evil =
        Service::new(|_, _| json(200, r#"{"value":[],"@odata.nextLink":"https://evil.example/api/machines"}"#)).await;
    let e = evil.client().machines(None).next(&job).await.unwrap_err();
    assert!(e.message.contains("another host"), "{e}");
    let none = Service::new(|_, _| error(404, "ResourceNotFound", "no recent machines")).await;
    assert!(none.client().machines(None).next(&job).await.unwrap().is_none());
}

#[tokio::test]
async fn a_name_cannot_leave_its_place_in_the_path() {
    let service = Service::new(|_, _| json(200, "{}")).await;
    let (client, job) = (service.client(), Job::default());
    for name in ["..", ".", ""] {
        assert_eq!(client.machine(name, &job).await.unwrap_err().code, ErrorCode::BadArgs, "{name:?}");
    }
    client.machine("a/../../oauth2?x=1#y", &job).await.unwrap();
    let last = service.asked().pop().unwrap();
    assert_eq!((last.path.as_str(), last.query.as_str()), ("/api/machines/a%2F..%2F..%2Foauth2%3Fx=1%23y", ""));
}

#[tokio::test]
async fn a_result_is_fetched_without_the_token() {
    use tokio::io::AsyncReadExt;
    let service = Service::new(|asked, n| match asked.path.as_str() {
        "/blob" if n == 0 => json(403, "expired"),
        "/blob" => json(200, "bytes"),
        path if path.ends_with("GetLiveResponseResultDownloadLink(index=0)") => {
            json(200, r#"{"value":"\"BASE/blob?sig=canary-link\""}"#)
        }
        _ => json(404, "{}"),
    })
    .await;
    let (client, job) = (service.client(), Job::default());
    let action = crate::device::defender::api::ActionId::new("a-1");
    let link = client.result_link(&action, 0, &job).await.unwrap();
    assert!(!format!("{link:?}").contains("canary"));
    let e = client.download(&link, &job).await.err().unwrap();
    assert!(!format!("{e:?}").contains("canary"), "{e:?}");
    let link = Link::new(format!("{}/blob?sig=canary-link", service.settings.api_url));
    assert_eq!(client.download(&link, &job).await.err().unwrap().code, ErrorCode::Expired);
    let mut text = String::new();
    let mut download = client.download(&link, &job).await.unwrap();
    download.bytes.read_to_string(&mut text).await.unwrap();
    assert_eq!((text.as_str(), download.length), ("bytes", Some(5)));
    assert!(service.asked().iter().filter(|a| a.path == "/blob").all(|a| a.bearer.is_none()));
}

#[tokio::test]
async fn nothing_secret_is_in_an_error_or_a_log() {
    let service = Service::new(|asked, _| match asked.path.as_str() {
        "/api/machines/gone" => json(302, "{}"),
        _ => error(400, "BadRequest", &format!("you sent {}", asked.bearer.clone().unwrap_or_default())),
    })
    .await;
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = Lines(log.clone());
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || lines.clone()).finish();
    // For the whole test program: one for a thread misses what another thread's calls came to first.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let (client, job) = (service.client(), Job::default());
    let mut texts = format!("{client:?}");
    for name in ["one", "gone"] {
        let e = client.machine(name, &job).await.unwrap_err();
        texts += &format!("{e:?} {e}");
    }
    let echo = Service::whole(|asked, _| {
        json(401, serde_json::json!({"error": "invalid", "error_description": asked.body}).to_string())
    })
    .await;
    texts += &format!("{:?}", echo.client().machine("one", &job).await.unwrap_err());
    let link = Link::new("http://127.0.0.1:1/blob?sig=canary-link");
    texts += &format!("{:?} {link:?}", client.download(&link, &job).await.err().unwrap());
    texts += &String::from_utf8_lossy(&log.lock().unwrap());
    assert!(texts.contains("Defender refused a call"), "the log was not caught");
    assert!(!texts.contains("canary"), "{texts}");
}

#[derive(Clone)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_certificate_signs_in_and_a_wrong_clock_is_told() {
    if !crate::tools::have("openssl") {
        return;
    }
    let service = Service::whole(|asked, n| {
        if !asked.path.ends_with("token") {
            return json(200, machine("one"));
        }
        if n > 0 {
            return token(n);
        }
        let body = serde_json::json!({"error": "invalid_client", "error_description": "AADSTS700024: not in range"});
        let mut late = json(401, body.to_string());
        late.headers_mut().insert("date", "Tue, 24 Nov 2020 22:04:08 GMT".parse().unwrap());
        late
    })
    .await;
    let folder = Scratch::new();
    let pem = folder.join("app.pem");
    private::replace(&pem, &certificate(&folder)).unwrap();
    let settings = Defender { credential: Credential::Certificate(pem), ..service.settings.clone() };
    Client::new(&settings).machine("one", &Job::default()).await.unwrap();
    let forms: Vec<String> =
        service.asked().iter().filter(|a| a.path.ends_with("token")).map(|a| a.body.clone()).collect();
    assert!(forms[0].contains("client_assertion="), "{}", forms[0]);
    let claims = |form: &str| {
        use base64::Engine;
        let jwt = form.split("client_assertion=").nth(1).unwrap().split('&').next().unwrap();
        let part = jwt.split('.').nth(1).unwrap();
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()
    };
    let theirs = Timestamp::parse("2020-11-24T22:04:08Z").unwrap().as_secs();
    assert_eq!(claims(&forms[1])["iat"], theirs, "the second is signed by the service's clock");
    assert_ne!(claims(&forms[0])["jti"], claims(&forms[1])["jti"]);
    assert_eq!(claims(&forms[1])["aud"], format!("{}/t-1/oauth2/v2.0/token", settings.login_url));
}

/// A key and its certificate, made for the test.
fn certificate(folder: &std::path::Path) -> Vec<u8> {
    let (key, cert) = (folder.join("key"), folder.join("cert"));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-days", "2", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    [std::fs::read(key).unwrap(), std::fs::read(cert).unwrap()].concat()
}

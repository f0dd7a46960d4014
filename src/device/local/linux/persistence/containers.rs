//! Containers that start again by themselves: docker's, podman's, and pods that a node starts from files.
//!
//! Invariant: of the engines' JSON only what is named here is read; a file that is none is a row that says so.

use super::scan::{Entry, Found, Scan};
use super::text::only;
use crate::error::Result;
use crate::model::DevicePath;
use rustix::fs::FileType;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Containers of one engine that are rows.
const CONTAINERS: usize = 2_000;

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    name: String,
    path: String,
    args: Vec<String>,
    config: Inner,
    state: State,
    mount_points: BTreeMap<String, Mount>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Inner {
    image: String,
    user: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    running: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Mount {
    source: String,
    destination: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    binds: Option<Vec<String>>,
    privileged: bool,
    pid_mode: String,
    network_mode: String,
    ipc_mode: String,
    cap_add: Option<Vec<String>>,
    restart_policy: Restart,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Restart {
    name: String,
}

pub fn containers(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    for root in ["/var/lib/docker/containers", "/var/snap/docker/common/var-lib-docker/containers"] {
        let folders = scan.dir(root).into_iter().filter(|(_, kind)| *kind == FileType::Directory).take(CONTAINERS);
        for (folder, _) in folders {
            scan.job.check()?;
            docker(scan, found, &folder);
        }
    }
    podman(scan, found)?;
    let quadlets = ["/etc/containers/systemd", "/run/containers/systemd", "/usr/share/containers/systemd"];
    let quadlet = only(|line| {
        let (word, _) = super::text::directive(line);
        let keys = [
            &b"image"[..],
            b"exec",
            b"volume",
            b"podmanargs",
            b"addcapability",
            b"user",
            b"pod",
            b"yaml",
            b"mount",
            b"securitylabeldisable",
            b"entrypoint",
        ];
        keys.contains(&&word[..])
    });
    let root = super::scan::root();
    found.files(scan, scan.files_below(quadlets, 4), Some(&root), &quadlet)?;
    for home in &scan.homes {
        let folder = home.path.join(&DevicePath::new(".config/containers/systemd"));
        found.files(scan, scan.files_below([folder.as_bytes()], 4), home.user.as_ref(), &quadlet)?;
    }
    let manifest = only(|line| {
        let line = line.strip_prefix(b"- ").unwrap_or(line);
        let keys = [
            "image:",
            "command:",
            "args:",
            "hostPath:",
            "path:",
            "privileged:",
            "hostPID:",
            "hostNetwork:",
            "mountPath:",
            "\"image\"",
            "\"command\"",
        ];
        keys.iter().any(|k| line.starts_with(k.as_bytes()))
    });
    let manifests = [
        "/etc/kubernetes/manifests",
        "/var/lib/rancher/k3s/server/manifests",
        "/var/lib/rancher/k3s/agent/pod-manifests",
    ];
    found.files(scan, scan.files_below(manifests, 3), Some(&root), &manifest)
}

fn docker(scan: &Scan<'_>, found: &mut Found, folder: &DevicePath) {
    let path = folder.join(&DevicePath::new("config.v2.json"));
    let Some(item) = scan.look(&path) else { return };
    let host = scan.look(&folder.join(&DevicePath::new("hostconfig.json")));
    let Ok(config) = serde_json::from_slice::<Config>(&item.text) else {
        return found.push(Entry::of(&item).note("no configuration that docker would read"));
    };
    let host: HostConfig = host.and_then(|h| serde_json::from_slice(&h.text).ok()).unwrap_or_default();
    let user = if config.config.user.is_empty() { "root" } else { config.config.user.as_str() };
    let entry = Entry::of(&item).name(config.name.trim_start_matches('/')).lines(&told(&config, &host));
    let entry = entry.user(Some(crate::shape::Untrusted::new(user)));
    let entry = entry.note(if config.state.running { "running" } else { "not running" });
    found.push(entry.note_if(host.privileged || reaches_host(&host), "reaches the host"));
}

fn told(config: &Config, host: &HostConfig) -> Vec<Vec<u8>> {
    let mut lines = vec![format!("image {}", config.config.image)];
    let mut run = vec![config.path.as_str()];
    run.extend(config.args.iter().map(String::as_str));
    lines.push(format!("runs {}", run.join(" ")));
    if !matches!(host.restart_policy.name.as_str(), "" | "no") {
        lines.push(format!("restart {}", host.restart_policy.name));
    }
    if host.privileged {
        lines.push("privileged".to_owned());
    }
    let mounts: Vec<String> = match &host.binds {
        Some(binds) if !binds.is_empty() => binds.clone(),
        _ => config.mount_points.values().map(|m| format!("{}:{}", m.source, m.destination)).collect(),
    };
    if !mounts.is_empty() {
        lines.push(format!("mounts {}", mounts.join(", ")));
    }
    for (what, mode) in [("pid", &host.pid_mode), ("network", &host.network_mode), ("ipc", &host.ipc_mode)] {
        if mode == "host" {
            lines.push(format!("{what} host"));
        }
    }
    if let Some(added) = host.cap_add.as_ref().filter(|a| !a.is_empty()) {
        lines.push(format!("capabilities {}", added.join(", ")));
    }
    lines.into_iter().map(String::into_bytes).collect()
}

fn reaches_host(host: &HostConfig) -> bool {
    let sources = host.binds.iter().flatten().filter_map(|b| b.split(':').next());
    let places = [
        "/",
        "/etc",
        "/root",
        "/home",
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/proc",
        "/sys",
        "/dev",
        "/boot",
        "/usr",
    ];
    host.pid_mode == "host" || sources.into_iter().any(|s| places.contains(&s.trim_end_matches('/')) || s == "/")
}

/// `containers.json` of podman's storage, root's and every home's.
fn podman(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let own = [DevicePath::new("/var/lib/containers/storage")].map(|p| (p, Some(super::scan::root())));
    let homes =
        scan.homes.iter().map(|h| (h.path.join(&DevicePath::new(".local/share/containers/storage")), h.user.clone()));
    for (storage, user) in own.into_iter().chain(homes) {
        for driver in ["overlay-containers", "vfs-containers"] {
            scan.job.check()?;
            let folder = storage.join(&DevicePath::new(driver));
            let Some(item) = scan.look(&folder.join(&DevicePath::new("containers.json"))) else { continue };
            let Ok(list) = serde_json::from_slice::<Vec<Value>>(&item.text) else {
                found.push(Entry::of(&item).note("no list that podman would read"));
                continue;
            };
            for container in list.iter().take(CONTAINERS) {
                let text = |key: &str| container.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                let name = container.get("names").and_then(|n| n.get(0)).and_then(Value::as_str).unwrap_or_default();
                let id = text("id");
                // What was created is in a text of its own, again JSON.
                let meta: Value = serde_json::from_str(&text("metadata")).unwrap_or_default();
                let image = meta.get("image-name").and_then(Value::as_str).map_or_else(|| text("image"), str::to_owned);
                let name = if name.is_empty() { &id } else { name };
                let mut lines = vec![format!("image {image}").into_bytes()];
                let plain = DevicePath::new(id.bytes().filter(u8::is_ascii_alphanumeric).collect::<Vec<_>>());
                let config = folder.join(&plain).join(&DevicePath::new("userdata/config.json"));
                if let Some(config) = scan.look(&config).and_then(|c| serde_json::from_slice::<Value>(&c.text).ok()) {
                    lines.extend(runtime(&config));
                }
                found.push(Entry::of(&item).name(name).lines(&lines).user(user.clone()));
            }
        }
    }
    Ok(())
}

/// What runs and is mounted, of an OCI `config.json`.
fn runtime(config: &Value) -> Vec<Vec<u8>> {
    let args = config.pointer("/process/args").and_then(Value::as_array);
    let args: Vec<&str> = args.into_iter().flatten().filter_map(Value::as_str).collect();
    let mounts = config.get("mounts").and_then(Value::as_array);
    let binds = mounts.into_iter().flatten().filter(|m| m.get("type").and_then(Value::as_str) == Some("bind"));
    let binds =
        binds.filter_map(|m| Some(format!("{}:{}", m.get("source")?.as_str()?, m.get("destination")?.as_str()?)));
    // Podman's own mounts of resolv.conf and the like lie in its storage.
    let binds: Vec<String> = binds.filter(|b| !b.contains("/containers/storage/") && !b.starts_with("/run/")).collect();
    let mut lines = vec![format!("runs {}", args.join(" ")).into_bytes()];
    if !binds.is_empty() {
        lines.push(format!("mounts {}", binds.join(", ")).into_bytes());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_of_other_shapes_is_refused_or_told_as_far_as_it_goes() {
        for text in ["[]", "1", "{\"Name\":1}", "{\"Config\":[]}", ""] {
            let read = serde_json::from_str::<Config>(text);
            assert!(read.is_err() || read.is_ok_and(|c| c.name.is_empty()), "{text}");
        }
        let host: HostConfig = serde_json::from_str(r#"{"Binds":null,"CapAdd":null,"PidMode":"host"}"#).unwrap();
        assert!(reaches_host(&host));
        assert!(runtime(&Value::Null).len() == 1);
    }
}

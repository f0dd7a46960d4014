//! The tenant's devices, made from the seed: their rows as the API gives them, and what the simulator knows of them.

use crate::linux::Slot;
use crate::options::{Options, Platforms};
use crate::seed::Seed;
use crate::times;
use crate::windows;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    Windows,
    Linux,
    MacOs,
}

pub struct Device {
    pub row: Value,
    /// The row as text, so that 10,000 of them page fast.
    pub text: String,
    pub platform: Platform,
    /// Whether it is online; actions wait for it.
    pub online: watch::Sender<bool>,
    /// Its automation level is set, without which nothing runs there.
    pub automated: bool,
    pub stuck: bool,
    pub isolated: bool,
    pub restricted: bool,
    /// Its throw-away root, made at first use.
    pub root: Slot,
    pub windows: Arc<Mutex<windows::State>>,
    /// Files that an order put there, where scripts do not see them: path and size.
    pub generated: BTreeMap<String, u64>,
}

impl Device {
    pub fn field(&self, name: &str) -> &str {
        self.row[name].as_str().unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        self.field("id")
    }

    pub fn name(&self) -> &str {
        self.field("computerDnsName")
    }

    /// Changes a field of the row.
    pub fn set(&mut self, name: &str, value: Value) {
        self.row[name] = value;
        self.text = self.row.to_string();
    }
}

const SITES: &[&str] = &["fra", "lon", "nyc", "sin"];
const GROUPS: &[(&str, u64)] = &[("Workstations", 140), ("Servers", 141), ("Domain Controllers", 142)];

pub fn seeded(options: &Options) -> Vec<Device> {
    let mut seed = Seed::new(options.seed, "devices");
    (0..options.devices).map(|n| device(n, options.platforms, &mut seed)).collect()
}

fn device(n: usize, platforms: Platforms, seed: &mut Seed) -> Device {
    let platform = match (platforms, n % 10) {
        (Platforms::Windows, _) => Platform::Windows,
        (Platforms::Linux, _) => Platform::Linux,
        (Platforms::Mixed, 1 | 3 | 6 | 8) => Platform::Linux,
        (Platforms::Mixed, 9) if n % 20 == 19 => Platform::MacOs,
        (Platforms::Mixed, _) => Platform::Windows,
    };
    let (os, version, build, prefix) = match platform {
        Platform::Linux if n % 4 == 3 => ("RedHatEnterpriseLinux", "9.4", None, "rhel"),
        Platform::Linux => ("Ubuntu", "24.4", None, "lnx"),
        Platform::MacOs => ("macOS", "15.1", None, "mac"),
        Platform::Windows if n.is_multiple_of(5) => ("WindowsServer2022", "21H2", Some(20348), "SRV"),
        Platform::Windows if n.is_multiple_of(7) => ("Windows10", "22H2", Some(19045), "WKS"),
        Platform::Windows => ("Windows11", "23H2", Some(22631), "WKS"),
    };
    let site = seed.pick(SITES);
    let name = match platform {
        // The case is the device's own.
        Platform::Windows => format!("{prefix}-{}-{n:04}.corp.example", site.to_uppercase()),
        _ => format!("{prefix}-{site}-{n:04}.corp.example"),
    };
    let group = match os {
        "WindowsServer2022" if n.is_multiple_of(10) => GROUPS[2],
        "WindowsServer2022" | "Ubuntu" | "RedHatEnterpriseLinux" => GROUPS[1],
        _ => GROUPS[0],
    };
    let group = (n % 17 != 16).then_some(group);
    let health = if n % 13 == 12 { "Inactive" } else { "Active" };
    let address = format!("10.{}.{}.{}", n / 62_500 % 250, n / 250 % 250, n % 250 + 1);
    let tags: Vec<&str> = [(n.is_multiple_of(6), "vip"), (n % 4 == 1, "patch-ring-1"), (n % 11 == 10, "kiosk")]
        .iter()
        .filter_map(|(has, tag)| has.then_some(*tag))
        .collect();
    let row = json!({
        "id": seed.hex(40),
        "mergedIntoMachineId": null,
        "isPotentialDuplication": false,
        "isExcluded": false,
        "exclusionReason": null,
        "computerDnsName": name,
        "firstSeen": times::written(times::ago(86_400 * (40 + seed.below(300)))),
        "lastSeen": times::written(times::ago(seed.below(80_000))),
        "osPlatform": os,
        "osVersion": null,
        "osProcessor": "x64",
        "version": version,
        "lastIpAddress": address,
        "lastExternalIpAddress": format!("203.0.113.{}", seed.below(250) + 1),
        "agentVersion": if platform == Platform::Windows { "10.8790.26100.1" } else { "101.25032.0010" },
        "osBuild": build,
        "healthStatus": health,
        "deviceValue": if tags.contains(&"vip") { "High" } else { "Normal" },
        "rbacGroupId": group.map_or(0, |g| g.1),
        "rbacGroupName": group.map(|g| g.0),
        "riskScore": seed.pick(&["None", "None", "Informational", "Low", "Medium", "High"]),
        "exposureLevel": seed.pick(&["Low", "Low", "Medium", "High"]),
        "isAadJoined": platform == Platform::Windows,
        "aadDeviceId": (platform == Platform::Windows).then(|| seed.guid()),
        "machineTags": tags,
        "onboardingStatus": "Onboarded",
        "osArchitecture": "64-bit",
        "managedBy": if n.is_multiple_of(3) { "Intune" } else { "Unknown" },
        "managedByStatus": if n.is_multiple_of(3) { "Success" } else { "Unknown" },
        "ipAddresses": [
            { "ipAddress": address, "macAddress": seed.hex(12).to_uppercase(), "type": "Ethernet", "operationalStatus": "Up" },
            { "ipAddress": if n % 9 == 8 { "" } else { "127.0.0.1" }, "macAddress": null, "type": "SoftwareLoopback", "operationalStatus": "Up" },
        ],
        "vmMetadata": null,
    });
    Device {
        text: row.to_string(),
        row,
        platform,
        online: watch::Sender::new(health == "Active"),
        automated: group.is_some(),
        stuck: false,
        isolated: false,
        restricted: false,
        root: Slot::default(),
        windows: Arc::default(),
        generated: BTreeMap::new(),
    }
}

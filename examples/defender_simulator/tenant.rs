//! What the tenant holds, behind one lock.

use crate::actions::Action;
use crate::control::{ActionOrder, FaultOrder, ResultOrder};
use crate::devices::{self, Device};
use crate::endpoint::Endpoint;
use crate::library::LibraryFile;
use crate::options::Options;
use crate::results::Stored;
use crate::seed::Seed;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

/// Every permission that some endpoint needs.
const ROLES: &[&str] = &[
    "AdvancedQuery.Read.All",
    "File.Read.All",
    "Library.Manage",
    "Machine.CollectForensics",
    "Machine.Isolate",
    "Machine.LiveResponse",
    "Machine.Read.All",
    "Machine.RestrictExecution",
    "Machine.Scan",
    "Machine.StopAndQuarantine",
    "Ti.ReadWrite",
    "User.Read.All",
];

/// A request as it was seen.
#[derive(Clone, Serialize)]
pub struct Seen {
    pub method: String,
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    pub endpoint: Endpoint,
    pub time: String,
    /// Absent as long as it is being answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

pub struct Token {
    pub until: Instant,
}

/// A result link: what it leads to, and until when.
pub struct Link {
    pub until: Instant,
    pub stored: Stored,
    pub name: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SecretState {
    Valid,
    Expired,
}

pub struct Tenant {
    pub tenant_id: String,
    pub client_id: String,
    pub secret: String,
    pub secret_state: SecretState,
    pub roles: BTreeSet<String>,
    pub devices: Vec<Device>,
    by_id: HashMap<String, usize>,
    by_name: HashMap<String, usize>,
    pub actions: Vec<Action>,
    action_by_id: HashMap<String, usize>,
    pub library: BTreeMap<String, LibraryFile>,
    pub indicators: Vec<Value>,
    pub tokens: HashMap<String, Token>,
    pub calls: HashMap<Endpoint, VecDeque<Instant>>,
    pub links: HashMap<String, Link>,
    pub ids: Seed,
    pub log: Vec<Seen>,
    pub faults: Vec<FaultOrder>,
    pub action_orders: Vec<ActionOrder>,
    pub result_orders: Vec<ResultOrder>,
    /// What `Date` headers and assertions are off by.
    pub clock_offset_s: i64,
}

impl Tenant {
    pub fn new(options: &Options) -> Tenant {
        let mut ids = Seed::new(options.seed, "tenant");
        let (tenant_id, client_id) = (ids.guid(), ids.guid());
        let devices = devices::seeded(options);
        let key = |d: &Device, name: &str| d.field(name).to_ascii_lowercase();
        let index = |name: &str| devices.iter().enumerate().map(|(n, d)| (key(d, name), n)).collect();
        Tenant {
            tenant_id,
            client_id,
            secret: crate::seed::random_hex(40),
            secret_state: SecretState::Valid,
            roles: ROLES.iter().map(|r| (*r).to_owned()).collect(),
            by_id: index("id"),
            by_name: index("computerDnsName"),
            devices,
            actions: Vec::new(),
            action_by_id: HashMap::new(),
            library: BTreeMap::new(),
            indicators: Vec::new(),
            tokens: HashMap::new(),
            calls: HashMap::new(),
            links: HashMap::new(),
            ids,
            log: Vec::new(),
            faults: Vec::new(),
            action_orders: Vec::new(),
            result_orders: Vec::new(),
            clock_offset_s: 0,
        }
    }

    /// By id or DNS name.
    pub fn device_index(&self, id_or_name: &str) -> Option<usize> {
        let key = id_or_name.to_ascii_lowercase();
        self.by_id.get(&key).or_else(|| self.by_name.get(&key)).copied()
    }

    pub fn device(&self, id_or_name: &str) -> Option<&Device> {
        self.devices.get(self.device_index(id_or_name)?)
    }

    pub fn device_mut(&mut self, id_or_name: &str) -> Option<&mut Device> {
        let index = self.device_index(id_or_name)?;
        self.devices.get_mut(index)
    }

    pub fn add_action(&mut self, action: Action) {
        self.action_by_id.insert(action.id.clone(), self.actions.len());
        self.actions.push(action);
    }

    pub fn action(&self, id: &str) -> Option<&Action> {
        self.actions.get(*self.action_by_id.get(&id.to_ascii_lowercase())?)
    }

    pub fn action_mut(&mut self, id: &str) -> Option<&mut Action> {
        let index = *self.action_by_id.get(&id.to_ascii_lowercase())?;
        self.actions.get_mut(index)
    }
}

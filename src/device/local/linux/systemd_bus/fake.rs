//! A manager that answers as systemd does, and remembers what it was told.

use super::{MANAGER, SystemdBus};
use crate::private::scratch::Scratch;
use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use zbus::OwnedObjectPath;
use zbus::connection;

const UNIT: &str = "/org/freedesktop/systemd1/unit/u";

/// A unit of the fake manager.
#[derive(Clone, Default)]
pub struct Unit {
    pub state: String,
    pub triggered_by: Vec<String>,
    pub refuses_stop: bool,
    /// It takes a SIGKILL to stop it.
    pub is_stubborn: bool,
}

#[derive(Default)]
pub struct Told {
    pub units: BTreeMap<String, Unit>,
    pub calls: Vec<String>,
}

pub struct Fake {
    pub told: Arc<Mutex<Told>>,
    pub bus: SystemdBus,
    _dir: Scratch,
}

struct Manager(Arc<Mutex<Told>>);
struct AnyUnit(Arc<Mutex<Told>>, String);
struct AnyService;

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum Refused {
    NoSuchUnit(String),
}

impl Fake {
    /// A manager with these units, until the test ends.
    pub fn start(units: &[(&str, Unit)]) -> Fake {
        let dir = Scratch::new();
        let socket = dir.join("bus");
        let listener = UnixListener::bind(&socket).unwrap();
        let units = units.iter().map(|(name, unit)| ((*name).to_owned(), unit.clone())).collect();
        let told = Arc::new(Mutex::new(Told { units, calls: Vec::new() }));
        let serving = Arc::clone(&told);
        // Ends with the process: each talk is a connection of its own.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let told = Arc::clone(&serving);
                std::thread::spawn(move || serve(stream, told));
            }
        });
        Fake { told, bus: SystemdBus::at(socket, true, Duration::from_secs(60)), _dir: dir }
    }

    pub fn running(name: &str) -> Fake {
        Fake::start(&[(name, Unit { state: "active".into(), ..Unit::default() })])
    }

    pub fn with_limit(&self, limit: Duration) -> SystemdBus {
        SystemdBus { limit, ..self.bus.clone() }
    }

    pub fn state(&self, unit: &str) -> String {
        self.told.lock().unwrap().units[unit].state.clone()
    }

    pub fn calls(&self) -> Vec<String> {
        self.told.lock().unwrap().calls.clone()
    }
}

fn serve(stream: std::os::unix::net::UnixStream, told: Arc<Mutex<Told>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let names: Vec<String> = told.lock().unwrap().units.keys().cloned().collect();
        let mut builder = connection::Builder::unix_stream(stream)
            .server(zbus::Guid::generate())
            .p2p()
            .serve_at(MANAGER, Manager(Arc::clone(&told)));
        for (index, name) in names.iter().enumerate() {
            let path = format!("{UNIT}{index}");
            builder =
                builder.serve_at(path.clone(), AnyUnit(Arc::clone(&told), name.clone())).serve_at(path, AnyService);
        }
        builder = builder.serve_at(format!("{UNIT}none"), AnyUnit(Arc::clone(&told), String::new()));
        if let Ok(connection) = builder.build().await {
            connection.closed().await;
        }
    });
}

impl Manager {
    fn tell(&self, call: &str, unit: &str, change: impl FnOnce(&mut Unit)) -> Result<OwnedObjectPath, Refused> {
        let mut told = self.0.lock().unwrap();
        told.calls.push(format!("{call} {unit}"));
        let known = told.units.get_mut(unit).ok_or_else(|| Refused::NoSuchUnit(format!("Unit {unit} not loaded.")))?;
        change(known);
        Ok(OwnedObjectPath::try_from("/org/freedesktop/systemd1/job/1".to_owned()).unwrap())
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn load_unit(&self, name: String) -> OwnedObjectPath {
        let index = self.0.lock().unwrap().units.keys().position(|known| *known == name);
        let path = index.map_or_else(|| format!("{UNIT}none"), |index| format!("{UNIT}{index}"));
        OwnedObjectPath::try_from(path).unwrap()
    }

    fn stop_unit(&self, name: String, _mode: String) -> Result<OwnedObjectPath, Refused> {
        self.tell("stop", &name, |unit| {
            let stubborn = unit.is_stubborn && unit.state == "active";
            unit.state = if stubborn { "deactivating".into() } else { "inactive".into() };
        })
    }

    fn kill_unit(&self, name: String, _whom: String, signal: i32) -> Result<(), Refused> {
        self.tell(&format!("kill {signal}"), &name, |unit| unit.state = "failed".into()).map(drop)
    }

    fn start_unit(&self, name: String, _mode: String) -> Result<OwnedObjectPath, Refused> {
        self.tell("start", &name, |unit| unit.state = "active".into())
    }

    fn reload(&self) {
        self.0.lock().unwrap().calls.push("reload".into());
    }
}

impl AnyUnit {
    fn unit(&self) -> Unit {
        self.0.lock().unwrap().units.get(&self.1).cloned().unwrap_or_default()
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
impl AnyUnit {
    #[zbus(property)]
    fn load_state(&self) -> String {
        if self.1.is_empty() { "not-found".into() } else { "loaded".into() }
    }

    #[zbus(property)]
    fn active_state(&self) -> String {
        if self.1.is_empty() { "inactive".into() } else { self.unit().state }
    }

    #[zbus(property)]
    fn fragment_path(&self) -> String {
        String::new()
    }

    #[zbus(property)]
    fn triggered_by(&self) -> Vec<String> {
        self.unit().triggered_by
    }

    #[zbus(property)]
    fn refuse_manual_stop(&self) -> bool {
        self.unit().refuses_stop
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Service")]
impl AnyService {
    #[zbus(property, name = "MainPID")]
    fn main_pid(&self) -> u32 {
        4_194_303
    }
}

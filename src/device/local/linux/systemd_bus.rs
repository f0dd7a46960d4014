//! What the running systemd says of its units, over D-Bus (`man 5 org.freedesktop.systemd1`).
//!
//! Invariant: only properties are read, nothing is started or changed. The whole of a talk has a time limit and ends with
//! the job, so a bus that hangs costs seconds; what it says is text of a device like any other, and counted.

mod control;
mod direct;
#[cfg(test)]
pub mod fake;

pub use control::Now;

use super::units::Name;
use crate::error::{Error, ErrorCode, Result};
use crate::model::Job;
use rustix::process::geteuid;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinSet;
use zbus::zvariant::DynamicType;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, Variant, connection};

/// For a whole talk.
const LIMIT: Duration = Duration::from_secs(10);
/// Units that are asked at a time.
const AT_ONCE: usize = 32;
/// Units beyond these are not asked about.
const UNITS: usize = 20_000;

const MANAGER: &str = "/org/freedesktop/systemd1";
const BOOTED: &str = "/run/systemd/system";
const BUS: &str = "/run/dbus/system_bus_socket";
const PRIVATE: &str = "/run/systemd/private";

/// A socket at which systemd answers.
#[derive(Clone, Debug)]
pub struct SystemdBus {
    socket: PathBuf,
    /// systemd itself is at the other end, no bus between.
    direct: bool,
    limit: Duration,
}

/// A unit that is loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded {
    pub name: Name,
    pub description: String,
    /// `loaded`, `not-found`, `masked`, …
    pub load: String,
    /// `active`, `inactive`, `failed`, …
    pub active: String,
    /// `running`, `exited`, `dead`, …
    pub sub: String,
    object: OwnedObjectPath,
}

/// What a loaded service runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Runs {
    pub main_pid: Option<u32>,
    /// The image of the first `ExecStart`.
    pub image: Option<String>,
    /// Empty where the unit names none.
    pub user: Option<String>,
    /// The unit's file as it was loaded.
    pub fragment: Option<String>,
}

/// When a timer elapses next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Elapses {
    /// Microseconds since 1970.
    pub realtime: Option<u64>,
    /// Microseconds since boot.
    pub monotonic: Option<u64>,
}

/// The services that are loaded with what they run, and the state of every unit file.
#[derive(Clone, Debug, Default)]
pub struct Services {
    pub loaded: Vec<(Loaded, Runs)>,
    /// Unit names with `enabled`, `static`, ….
    pub files: Vec<(String, String)>,
}

impl SystemdBus {
    /// This host's; `None` where systemd does not run it.
    pub fn host() -> Option<Self> {
        if !std::path::Path::new(BOOTED).is_dir() {
            return None;
        }
        let bus = SystemdBus { socket: BUS.into(), direct: false, limit: LIMIT };
        if !bus.socket.exists() && geteuid().is_root() {
            return Some(SystemdBus { socket: PRIVATE.into(), direct: true, ..bus });
        }
        Some(bus)
    }

    /// One at a socket of a test's.
    #[cfg(test)]
    pub fn at(socket: impl Into<PathBuf>, direct: bool, limit: Duration) -> Self {
        SystemdBus { socket: socket.into(), direct, limit }
    }

    /// The services. `E_BACKEND` or `E_TIMEOUT` where the bus does not answer as it should.
    pub fn services(&self, job: &Job) -> Result<Services> {
        self.talk(job, |systemd| async move {
            let loaded = systemd.units("*.service").await?;
            let files = systemd.call(MANAGER, "Manager", "ListUnitFiles", &()).await?;
            let files: Vec<(String, String)> = files.body().deserialize()?;
            let base =
                |(path, state): (String, String)| (path.rsplit('/').next().unwrap_or_default().to_owned(), state);
            Ok(Services { loaded: systemd.each(loaded, runs).await?, files: files.into_iter().map(base).collect() })
        })
    }

    /// The timers that are loaded, and when each elapses.
    pub fn timers(&self, job: &Job) -> Result<Vec<(Loaded, Elapses)>> {
        self.talk(job, |systemd| async move {
            let loaded = systemd.units("*.timer").await?;
            systemd.each(loaded, elapses).await
        })
    }

    fn talk<T, F>(&self, job: &Job, ask: impl FnOnce(Systemd) -> F) -> Result<T>
    where
        F: Future<Output = zbus::Result<T>>,
    {
        job.check()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::io("a runtime for the bus", e))?;
        let answered = runtime.block_on(async {
            tokio::select! {
                () = job.stopped() => Err(None),
                answer = tokio::time::timeout(self.limit, async { ask(self.connect().await?).await }) => answer.map_err(|_| None).and_then(|a| a.map_err(Some)),
            }
        });
        // Whatever is still open ends here; a thread that hangs is not waited for.
        runtime.shutdown_background();
        job.check()?;
        answered.map_err(|e| match e {
            Some(e) => Error::new(ErrorCode::Backend, "systemd's bus did not answer as it should").source(e),
            None => Error::new(ErrorCode::Timeout, format!("systemd's bus did not answer within {:?}", self.limit)),
        })
    }

    async fn connect(&self) -> zbus::Result<Systemd> {
        let io = |e: std::io::Error| zbus::Error::from(e);
        let stream = tokio::net::UnixStream::connect(&self.socket).await.map_err(io)?;
        let stream = if self.direct { direct::through(stream).map_err(io)? } else { stream };
        let builder = connection::Builder::unix_stream(stream.into_std().map_err(io)?);
        let builder = if self.direct { builder.p2p() } else { builder };
        Ok(Systemd { connection: builder.build().await?, direct: self.direct })
    }
}

#[derive(Clone)]
struct Systemd {
    connection: Connection,
    direct: bool,
}

type Listed = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

impl Systemd {
    async fn call<B>(&self, path: &str, interface: &str, method: &str, body: &B) -> zbus::Result<zbus::Message>
    where
        B: serde::Serialize + DynamicType,
    {
        let destination = (!self.direct).then_some("org.freedesktop.systemd1");
        let interface = match interface {
            "Properties" => "org.freedesktop.DBus.Properties".to_owned(),
            own => format!("org.freedesktop.systemd1.{own}"),
        };
        self.connection.call_method(destination, path, Some(interface), method, body).await
    }

    async fn property(&self, of: &Loaded, interface: &str, name: &str) -> zbus::Result<OwnedVariant> {
        let interface = format!("org.freedesktop.systemd1.{interface}");
        let answer = self.call(of.object.as_str(), "Properties", "Get", &(interface, name)).await?;
        answer.body().deserialize()
    }

    async fn units(&self, pattern: &str) -> zbus::Result<Vec<Loaded>> {
        let body = (Vec::<&str>::new(), vec![pattern]);
        let answer = self.call(MANAGER, "Manager", "ListUnitsByPatterns", &body).await?;
        let units: Vec<Listed> = answer.body().deserialize()?;
        let loaded = |(name, description, load, active, sub, _, object, ..): Listed| {
            Some(Loaded { name: Name::parse(name.as_bytes())?, description, load, active, sub, object })
        };
        Ok(units.into_iter().take(UNITS).filter_map(loaded).collect())
    }

    /// Asks about each unit, several at a time. A unit that went away meanwhile has nothing to tell.
    async fn each<T, F>(&self, units: Vec<Loaded>, ask: fn(Systemd, Loaded) -> F) -> zbus::Result<Vec<(Loaded, T)>>
    where
        T: Default + Send + 'static,
        F: Future<Output = zbus::Result<T>> + Send + 'static,
    {
        let mut told = Vec::with_capacity(units.len());
        let mut asking = JoinSet::new();
        let mut waiting = units.into_iter();
        loop {
            while asking.len() < AT_ONCE
                && let Some(unit) = waiting.next()
            {
                let systemd = self.clone();
                asking.spawn(async move { (unit.clone(), ask(systemd, unit).await) });
            }
            match asking.join_next().await {
                None => break,
                Some(Ok((unit, Ok(answer)))) => told.push((unit, answer)),
                Some(Ok((unit, Err(e)))) if is_gone(&e) => told.push((unit, T::default())),
                Some(Ok((_, Err(e)))) => return Err(e),
                Some(Err(e)) => return Err(zbus::Error::Failure(e.to_string())),
            }
        }
        told.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        Ok(told)
    }
}

fn is_gone(e: &zbus::Error) -> bool {
    use zbus::fdo::Error::{UnknownInterface, UnknownMethod, UnknownObject, UnknownProperty};
    match e {
        zbus::Error::MethodError(..) => true,
        zbus::Error::FDO(e) => {
            matches!(**e, UnknownObject(_) | UnknownInterface(_) | UnknownMethod(_) | UnknownProperty(_))
        }
        _ => false,
    }
}

async fn runs(systemd: Systemd, unit: Loaded) -> zbus::Result<Runs> {
    if unit.load == "not-found" {
        return Ok(Runs::default());
    }
    let fragment = systemd.property(&unit, "Unit", "FragmentPath");
    let pid = systemd.property(&unit, "Service", "MainPID");
    let user = systemd.property(&unit, "Service", "User");
    let start = systemd.property(&unit, "Service", "ExecStart");
    let (fragment, pid, user, start) = tokio::try_join!(fragment, pid, user, start)?;
    Ok(Runs {
        main_pid: u32::try_from(pid).ok().filter(|pid| *pid != 0),
        image: first_image(&start),
        user: String::try_from(user).ok(),
        fragment: String::try_from(fragment).ok().filter(|path| !path.is_empty()),
    })
}

async fn elapses(systemd: Systemd, unit: Loaded) -> zbus::Result<Elapses> {
    // 0 and the highest number say never.
    let known = |value: OwnedVariant| u64::try_from(value).ok().filter(|us| !matches!(*us, 0 | u64::MAX));
    let realtime = systemd.property(&unit, "Timer", "NextElapseUSecRealtime");
    let monotonic = systemd.property(&unit, "Timer", "NextElapseUSecMonotonic");
    let (realtime, monotonic) = tokio::try_join!(realtime, monotonic)?;
    Ok(Elapses { realtime: known(realtime), monotonic: known(monotonic) })
}

/// Of `a(sasbttttuii)`: the path of the first command.
fn first_image(start: &OwnedVariant) -> Option<String> {
    let Variant::Array(commands) = &**start else { return None };
    let Variant::Structure(command) = commands.iter().next()? else { return None };
    match command.fields().first()? {
        Variant::Str(path) => Some(path.to_string()),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests;

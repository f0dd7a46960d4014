//! What can be connected to: this host, directories as images, and the devices of a Defender tenant.
//!
//! Invariant: opening a device does no work on it; the first call that needs it does.

use super::Device;
use super::defender::{self, Tenant, TenantDevice};
use super::image::{self, ImageDevice};
use super::local::engines::Engines;
use super::local::pool::Pool;
use super::local::{self, LocalDevice, OwnThings};
use crate::config::Config;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DeviceId, DevicePath, DeviceRef, DeviceRow, Job};
use crate::nearest::nearest;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Directories that `image:` may open; none listed means any.
#[derive(Clone)]
struct Images(Arc<[PathBuf]>);

pub struct Devices {
    local: Arc<LocalDevice>,
    own: Arc<OwnThings>,
    home: PathBuf,
    engines: Arc<Engines>,
    pool: Pool,
    images: Images,
    tenant: Option<Arc<Tenant>>,
}

impl Devices {
    pub fn new(config: &Config) -> Devices {
        let files = config.file.iter().chain(&config.policy).cloned().collect();
        let own = Arc::new(OwnThings::new(config.home.clone(), files));
        let pool = Pool::default();
        let engines = Arc::new(Engines::new(&config.home, config.clamd.clone()));
        let local = Arc::new(LocalDevice::new(config, Arc::clone(&own), Arc::clone(&engines), pool.clone()));
        let home = config.home.clone();
        let tenant = config.defender.as_ref().map(|settings| Arc::new(Tenant::new(settings, config.home.clone())));
        Devices { local, own, home, engines, pool, images: Images(config.images.as_slice().into()), tenant }
    }

    /// The devices that are known without being named, but for a tenant's.
    pub fn here(&self) -> Vec<Arc<dyn Device>> {
        let images = self.images.0.iter().map(|dir| Arc::new(self.image(dir.clone())) as Arc<dyn Device>);
        std::iter::once(Arc::clone(&self.local) as Arc<dyn Device>).chain(images).collect()
    }

    /// Their lines in `devices`.
    pub fn rows(&self) -> Vec<DeviceRow> {
        self.here().iter().map(|device| device.row()).collect()
    }

    /// Every device of the tenant, where there is one.
    pub async fn of_the_tenant(&self, job: &Job) -> Result<Vec<Arc<dyn Device>>> {
        match &self.tenant {
            Some(tenant) => tenant.all(job).await,
            None => Ok(Vec::new()),
        }
    }

    /// The devices of the tenant, where there is one; all of them unless a part of an id or name narrows them.
    pub async fn tenant_rows(
        &self,
        part: Option<&str>,
        backend: Option<&str>,
        job: &Arc<Job>,
    ) -> Result<Vec<DeviceRow>> {
        let Some(tenant) = self.tenant.as_ref().filter(|_| backend.is_none_or(|b| b == defender::BACKEND)) else {
            return Ok(Vec::new());
        };
        match tenant.rows(part, job).await {
            Ok(rows) => Ok(rows),
            Err(e) => {
                job.check()?;
                let hint = e.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                job.warn(format!("the Defender tenant's devices are not listed: {}: {}{hint}", e.code, e.message));
                Ok(Vec::new())
            }
        }
    }

    /// The tenant of the configuration.
    pub fn tenant(&self) -> Option<&Arc<Tenant>> {
        self.tenant.as_ref()
    }

    /// What a device's id stands for, whether or not it can be opened now. Looks at nothing.
    pub fn describe(&self, id: &DeviceId) -> Option<DeviceRef> {
        match id.as_str() {
            local::ID => Some(self.local.describe()),
            text if text.starts_with(image::PREFIX) => Some(image::describe(text)),
            defender::BACKEND => self.tenant.as_ref().map(|_| TenantDevice::described()),
            _ => self.tenant.as_ref().and_then(|tenant| tenant.describe(id)),
        }
    }

    /// Opens a device by its id or its unique name. `E_NO_DEVICE` names the nearest one. The directory of an image is
    /// looked at on a slot of the pool: its mount may hang.
    pub async fn open(&self, named: &str, job: &Arc<Job>) -> Result<Arc<dyn Device>> {
        if let Some(dir) = named.strip_prefix(image::PREFIX).map(str::to_owned) {
            let images = self.images.clone();
            let real = self.pool.run(job, move |_| images.directory(&dir)).await?;
            return Ok(Arc::new(self.image(real)));
        }
        let host = self.local.describe().name;
        if named == local::ID || named.eq_ignore_ascii_case(host.raw()) {
            return Ok(Arc::clone(&self.local) as Arc<dyn Device>);
        }
        if named == defender::BACKEND
            && let Some(tenant) = &self.tenant
        {
            return Ok(Arc::new(TenantDevice::new(Arc::clone(tenant))));
        }
        if let Some(tenant) = &self.tenant {
            return Ok(Arc::new(tenant.open(named, job).await?));
        }
        if named.starts_with(defender::PREFIX) {
            return Err(Error::new(ErrorCode::NoDevice, format!("no device {named:?}: no tenant is configured"))
                .hint("add [defender] with tenant_id, client_id and client_secret_file to the configuration"));
        }
        let near = nearest(named, [local::ID, host.raw()]);
        let hint = match near {
            Some(near) => format!("did you mean {near:?}? `devices` lists what there is"),
            None => "`devices` lists what there is; a mounted image is written image:/its/directory".to_owned(),
        };
        Err(Error::new(ErrorCode::NoDevice, format!("no device {named:?}")).hint(hint))
    }

    fn image(&self, dir: PathBuf) -> ImageDevice {
        let (home, own, engines) = (self.home.clone(), Arc::clone(&self.own), Arc::clone(&self.engines));
        ImageDevice::new(dir, home, own, engines, self.pool.clone())
    }
}

impl Images {
    /// The real directory of an image, where it may be opened.
    fn directory(&self, text: &str) -> Result<PathBuf> {
        let no = |why: &str| Error::new(ErrorCode::NoDevice, format!("no device \"{}{text}\": {why}", image::PREFIX));
        let path = DevicePath::from_text(text).map_err(|e| no(&e).hint("write image:/its/directory"))?;
        let path = Path::new(OsStr::from_bytes(path.as_bytes()));
        if !path.is_absolute() {
            return Err(no("its directory is not absolute").hint("write image:/its/directory"));
        }
        let real = std::fs::canonicalize(path)
            .map_err(|e| no(&e.to_string()).hint("mount the image first, and name the directory it is mounted on"))?;
        if !real.is_dir() {
            return Err(no("it is no directory").hint("mount the image first, and name the directory it is mounted on"));
        }
        let is_listed = |dir: &PathBuf| std::fs::canonicalize(dir).is_ok_and(|listed| real.starts_with(listed));
        if !self.0.is_empty() && !self.0.iter().any(is_listed) {
            return Err(
                no("the configuration does not list it").hint("`devices` shows the images that [local] images lists")
            );
        }
        Ok(real)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::guard::approved_for_test;
    use crate::model::{
        Answer, ArrivalQuery, Ask, ConnectionQuery, DirQuery, End, EntityKind, FileQuery, NoSupply, Outcome,
        ProcessQuery, Query, RegistryQuery, RemediatedQuery, Verified, Wish,
    };
    use crate::private::scratch::Scratch;
    use tokio::io::AsyncReadExt;

    fn devices(home: &Path, images: Vec<PathBuf>) -> Devices {
        Devices::new(&Config {
            file: None,
            home: home.to_owned(),
            policy: None,
            allow_shared_account: false,
            limits: Limits::default(),
            images,
            clamd: None,
            working_folder: Some(home.join("put")),
            library_keys: Vec::new(),
            defender: None,
        })
    }

    fn spoken(path: &Path) -> String {
        DevicePath::new(path.as_os_str().as_bytes()).to_text().into_owned()
    }

    async fn remediate(device: &dyn Device, wish: Wish, job: &Arc<Job>) -> Outcome {
        let steps = device.resolve(&wish, job).await.unwrap();
        device.apply(approved_for_test(device.id(), steps), Arc::new(NoSupply), job).await
    }

    fn of_file(path: &Path) -> Wish {
        Wish::Remediate { kind: EntityKind::File, ids: vec![spoken(path)] }
    }

    #[tokio::test]
    async fn this_host_has_two_names() {
        let (home, job) = (Scratch::new(), Arc::new(Job::default()));
        let devices = devices(&home, Vec::new());
        let host = devices.rows()[0].name.raw().to_owned();
        for name in ["local".to_owned(), host.clone(), host.to_uppercase()] {
            assert_eq!(devices.open(&name, &job).await.unwrap().id().as_str(), "local", "{name}");
        }
        assert_eq!(std::fs::read_dir(&*home).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn an_unknown_device_comes_with_the_nearest() {
        let (home, job) = (Scratch::new(), Arc::new(Job::default()));
        let e = devices(&home, Vec::new()).open("locl", &job).await.err().unwrap();
        assert_eq!(e.code, ErrorCode::NoDevice);
        assert!(e.hint.unwrap().contains("\"local\""));
        for bad in ["", "LOCAL ", "image:", "image:relative", "image:/never/was", "image:/dev/null", "image:esc:\\x"] {
            assert_eq!(
                devices(&home, Vec::new()).open(bad, &job).await.err().unwrap().code,
                ErrorCode::NoDevice,
                "{bad:?}"
            );
        }
    }

    #[tokio::test]
    async fn only_listed_images_open_where_some_are_listed() {
        let (home, image, job) = (Scratch::new(), Scratch::new(), Arc::new(Job::default()));
        std::fs::create_dir(image.join("disk")).unwrap();
        std::os::unix::fs::symlink("/etc", image.join("out")).unwrap();
        let listed = devices(&home, vec![image.join("disk")]);
        assert_eq!(listed.rows().len(), 2);
        listed.open(&format!("image:{}", image.join("disk").display()), &job).await.unwrap();
        for out in [image.join("out"), image.join("disk/.."), PathBuf::from("/")] {
            assert!(listed.open(&format!("image:{}", out.display()), &job).await.is_err(), "{}", out.display());
        }
    }

    #[test]
    fn an_image_that_is_gone_has_still_its_name() {
        let home = Scratch::new();
        let devices = devices(&home, Vec::new());
        let gone = devices.describe(&DeviceId::new("image:/never/was")).unwrap();
        assert_eq!((gone.id.as_str(), gone.backend), ("image:/never/was", "image"));
        assert_eq!(devices.describe(&DeviceId::new("local")).unwrap().backend, "local");
        assert!(devices.describe(&DeviceId::new("elsewhere")).is_none());
    }

    #[tokio::test]
    async fn a_file_of_this_host_goes_comes_back_and_is_listed() {
        let (home, dir, job) = (Scratch::new(), Scratch::new(), Arc::new(Job::default()));
        let local = devices(&home, Vec::new()).open("local", &job).await.unwrap();
        let path = dir.join("evil");
        std::fs::write(&path, "payload").unwrap();
        let gone = remediate(local.as_ref(), of_file(&path), &job).await;
        assert_eq!((&gone.end, gone.verified, path.exists()), (&End::Done, Verified::Yes, false), "{gone:?}");
        let listed =
            RemediatedQuery::pick(local.read(RemediatedQuery::default().query(), &job).await.unwrap()).unwrap();
        assert_eq!(listed[0].outcome, "quarantined");
        let undo = Wish::Undo { kind: EntityKind::File, ids: vec![spoken(&path)] };
        let back = remediate(local.as_ref(), undo, &job).await;
        assert_eq!((&back.end, back.verified), (&End::Done, Verified::Yes));
        assert_eq!(std::fs::read(&path).unwrap(), b"payload");
    }

    #[tokio::test]
    async fn a_plan_for_another_device_is_not_done() {
        let (home, dir, job) = (Scratch::new(), Scratch::new(), Arc::new(Job::default()));
        let local = devices(&home, Vec::new()).open("local", &job).await.unwrap();
        std::fs::write(dir.join("file"), "x").unwrap();
        let steps = local.resolve(&of_file(&dir.join("file")), &job).await.unwrap();
        let outcome = local.apply(approved_for_test(&DeviceId::new("image:/x"), steps), Arc::new(NoSupply), &job).await;
        assert!(matches!(&outcome.end, End::Failed { code, .. } if code == "E_DIGEST_MISMATCH"));
        assert!(dir.join("file").exists());
    }

    #[tokio::test]
    async fn what_a_device_has_not_is_said() {
        let (home, dir, job) = (Scratch::new(), Scratch::new(), Arc::new(Job::default()));
        let all = devices(&home, Vec::new());
        let (local, image) = (
            all.open("local", &job).await.unwrap(),
            all.open(&format!("image:{}", dir.display()), &job).await.unwrap(),
        );
        let unsupported = |e: Error| assert!(e.code == ErrorCode::Unsupported && e.hint.is_some(), "{e}");
        unsupported(local.read(RegistryQuery::default().query(), &job).await.err().unwrap());
        for query in
            [ProcessQuery::default().query(), ConnectionQuery::default().query(), RemediatedQuery::default().query()]
        {
            unsupported(image.read(query, &job).await.err().unwrap());
        }
        std::fs::write(dir.join("file"), "x").unwrap();
        unsupported(image.supports(&of_file(&dir.join("file"))).unwrap_err());
        unsupported(image.resolve(&of_file(&dir.join("file")), &job).await.err().unwrap());
        let steps = local.resolve(&of_file(&dir.join("file")), &job).await.unwrap();
        assert!(matches!(
            image.apply(approved_for_test(image.id(), steps), Arc::new(NoSupply), &job).await.end,
            End::Failed { .. }
        ));
        assert!(dir.join("file").exists());
    }

    #[tokio::test]
    async fn an_image_is_read_within_itself_by_its_own_names() {
        let (home, dir, job) = (Scratch::new(), Scratch::new(), Arc::new(Job::default()));
        std::fs::create_dir(dir.join("etc")).unwrap();
        let uid = rustix::process::geteuid().as_raw();
        std::fs::write(dir.join("etc/passwd"), format!("ann:x:{uid}:{uid}::/:/bin/sh\n")).unwrap();
        std::fs::write(dir.join("etc/os-release"), "PRETTY_NAME=\"Image OS 1\"\n").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.join("link")).unwrap();
        let image = devices(&home, Vec::new()).open(&format!("image:{}", dir.display()), &job).await.unwrap();
        let arrival = ArrivalQuery::pick(image.read(ArrivalQuery::default().query(), &job).await.unwrap()).unwrap();
        assert_eq!(arrival.os.raw(), "Image OS 1");
        let query = Query::Dir(DirQuery { path: DevicePath::new("/etc"), full_path: false });
        let Answer::Dir(rows) = image.read(query, &job).await.unwrap() else { panic!() };
        let first = crate::model::FileEntry::from(&rows[0]);
        let owner = first.attributes.as_ref().unwrap().owner.as_ref().unwrap().raw();
        assert_eq!((rows.len(), owner), (2, "ann"));
        let mut fetched = image.fetch(FileQuery { path: DevicePath::new("/link") }, &job).await.unwrap();
        let mut text = String::new();
        fetched.bytes.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("ann:"));
    }

    #[tokio::test]
    async fn gt_174_an_image_over_the_state_does_not_open_it() {
        let (home, job) = (Scratch::new(), Arc::new(Job::default()));
        std::fs::write(home.join("secret"), "canary").unwrap();
        let all = devices(&home, Vec::new());
        let inside = all.open(&format!("image:{}", home.display()), &job).await.unwrap();
        let above = all.open(&format!("image:{}", home.parent().unwrap().display()), &job).await.unwrap();
        let below = DevicePath::new("/").join(&DevicePath::new(home.file_name().unwrap().as_bytes()));
        for (device, path) in [(inside, DevicePath::new("/secret")), (above, below.join(&DevicePath::new("secret")))] {
            assert_eq!(device.fetch(FileQuery { path }, &job).await.err().unwrap().code, ErrorCode::SelfTarget);
        }
    }
}

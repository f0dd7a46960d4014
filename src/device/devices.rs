//! What can be connected to: this host, and directories as images.
//!
//! Invariant: opening a device does no work on it; the first call that needs it does.

use super::Device;
use super::image::{self, ImageDevice};
use super::local::pool::Pool;
use super::local::{self, LocalDevice, OwnThings};
use crate::config::Config;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, DeviceRow};
use crate::nearest::nearest;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub struct Devices {
    local: Arc<LocalDevice>,
    own: Arc<OwnThings>,
    pool: Pool,
    /// Directories that `image:` may open; none listed means any.
    images: Vec<PathBuf>,
}

impl Devices {
    pub fn new(config: &Config) -> Devices {
        let files = config.file.iter().chain(&config.policy).cloned().collect();
        let own = Arc::new(OwnThings::new(config.home.clone(), files));
        let pool = Pool::default();
        let local = Arc::new(LocalDevice::new(&config.home, Arc::clone(&own), pool.clone()));
        Devices { local, own, pool, images: config.images.clone() }
    }

    /// The devices that are known without being named.
    pub fn rows(&self) -> Vec<DeviceRow> {
        let images = self.images.iter().map(|dir| self.image(dir.clone()).row());
        std::iter::once(self.local.row()).chain(images).collect()
    }

    /// Opens a device by its id or its unique name. `E_NO_DEVICE` names the nearest one. Looks at a directory that is
    /// named as an image, which may block where its mount hangs.
    pub fn open(&self, named: &str) -> Result<Arc<dyn Device>> {
        if let Some(dir) = named.strip_prefix(image::PREFIX) {
            return Ok(Arc::new(self.image(self.directory(dir)?)));
        }
        let host = self.local.describe().name;
        if named == local::ID || named.eq_ignore_ascii_case(host.raw()) {
            return Ok(Arc::clone(&self.local) as Arc<dyn Device>);
        }
        let near = nearest(named, [local::ID, host.raw()]);
        let hint = match near {
            Some(near) => format!("did you mean {near:?}? `devices` lists what there is"),
            None => "`devices` lists what there is; a mounted image is written image:/its/directory".to_owned(),
        };
        Err(Error::new(ErrorCode::NoDevice, format!("no device {named:?}")).hint(hint))
    }

    fn image(&self, dir: PathBuf) -> ImageDevice {
        ImageDevice::new(dir, Arc::clone(&self.own), self.pool.clone())
    }

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
        if !self.images.is_empty() && !self.images.iter().any(is_listed) {
            return Err(
                no("the configuration does not list it").hint("`devices` shows the images that [local] images lists")
            );
        }
        Ok(real)
    }
}

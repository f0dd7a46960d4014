//! `services` and `drivers` of a Windows volume: `Services` of the current control set.

use super::machine::{Control, Machine, key, number, text};
use super::{WindowsRoot, pe};
use crate::device::local::linux::view::How;
use crate::device::local::registry::{Hive, Key};
use crate::error::Result;
use crate::model::{DevicePath, Driver, Job, Service};
use crate::shape::Untrusted;

/// `SERVICE_KERNEL_DRIVER`, `SERVICE_FILE_SYSTEM_DRIVER`, `SERVICE_RECOGNIZER_DRIVER`.
const DRIVER: u32 = 0x1 | 0x2 | 0x8;
/// `SERVICE_WIN32_OWN_PROCESS`, `SERVICE_WIN32_SHARE_PROCESS`.
const SERVICE: u32 = 0x10 | 0x20;

/// A key of `Services` that is started as something.
pub struct Entry {
    pub name: String,
    pub key: Key,
    pub is_driver: bool,
    /// As it is written, with arguments.
    pub image: Option<String>,
    /// The DLL that the image loads for this service.
    pub dll: Option<String>,
    pub start: Option<&'static str>,
    pub account: Option<String>,
}

/// Everything that the current control set starts.
pub fn entries(control: &Control, job: &Job) -> Result<Vec<Entry>> {
    let hive = control.file.hive();
    let Some(services) = key(hive, hive.root(), &format!("{}\\Services", control.set), job)? else {
        job.warn(format!("SYSTEM has no {}\\Services", control.set));
        return Ok(Vec::new());
    };
    let mut entries = Vec::new();
    for service in hive.subkeys(&services, job)? {
        job.check()?;
        let kind = number(hive, &service, "Type").unwrap_or(0);
        if kind & (DRIVER | SERVICE) == 0 {
            continue;
        }
        job.advance(1);
        entries.push(Entry {
            name: service.name.to_string(),
            is_driver: kind & DRIVER != 0,
            image: text(hive, &service, "ImagePath"),
            dll: dll(hive, &service, job)?,
            start: start(hive, &service),
            account: text(hive, &service, "ObjectName"),
            key: service,
        });
    }
    Ok(entries)
}

fn dll(hive: &Hive, service: &Key, job: &Job) -> Result<Option<String>> {
    let parameters = hive.subkey(service, "Parameters", job)?;
    let below = parameters.and_then(|parameters| text(hive, &parameters, "ServiceDll"));
    Ok(below.or_else(|| text(hive, service, "ServiceDll")))
}

fn start(hive: &Hive, service: &Key) -> Option<&'static str> {
    let delayed = number(hive, service, "DelayedAutoStart").is_some_and(|d| d != 0);
    match number(hive, service, "Start")? {
        0 => Some("boot"),
        1 => Some("system"),
        2 if delayed => Some("automatic, delayed"),
        2 => Some("automatic"),
        3 => Some("manual"),
        4 => Some("disabled"),
        _ => None,
    }
}

/// `path` is what a responder looks at: the DLL where the image only hosts it.
pub fn services(root: &WindowsRoot<'_>, job: &Job) -> Result<Vec<Service>> {
    let Some(control) = Machine::system(root, job)? else { return Ok(Vec::new()) };
    control.file.warn(job);
    let hive = control.file.hive();
    let rows = entries(&control, job)?.into_iter().filter(|e| !e.is_driver).map(|entry| Service {
        description: text(hive, &entry.key, "DisplayName").map(Untrusted::new),
        state: None,
        start_mode: entry.start.map(Untrusted::new),
        path: entry.dll.or(entry.image).map(DevicePath::new),
        account: entry.account.map(Untrusted::new),
        pid: None,
        unit_file: None,
        name: Untrusted::new(entry.name),
    });
    Ok(rows.collect())
}

pub fn drivers(root: &WindowsRoot<'_>, job: &Job) -> Result<Vec<Driver>> {
    let Some(control) = Machine::system(root, job)? else { return Ok(Vec::new()) };
    control.file.warn(job);
    let mut rows = Vec::new();
    let mut unsigned = 0;
    for entry in entries(&control, job)?.into_iter().filter(|e| e.is_driver) {
        job.check()?;
        let path = entry.image.unwrap_or_else(|| format!("System32\\drivers\\{}.sys", entry.name));
        let place = root.on_volume(&path, None);
        let handle = place.as_ref().and_then(|p| root.view.open(p, How::Handle).ok());
        let opened = place.and_then(|p| root.view.open(&p, How::File).ok());
        let image = opened.and_then(|file| pe::Image::read(&file.file, file.facts.size));
        unsigned += usize::from(image.as_ref().is_some_and(|image| !image.signed));
        rows.push(Driver {
            name: Untrusted::new(entry.name),
            path: Some(DevicePath::new(path)),
            size_bytes: handle.map(|file| file.facts.size),
            version: image.as_ref().and_then(|image| image.version.clone()).map(Untrusted::new),
            signer: None,
            signed: image.and_then(|image| image.signed.then_some(true)),
            loaded: None,
            used_by: Vec::new(),
            tainted: None,
        });
    }
    if unsigned > 0 {
        job.warn(format!("{unsigned} drivers carry no signature of their own: a catalogue may sign them, or nobody"));
    }
    Ok(rows)
}

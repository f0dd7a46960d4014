//! How lines, registry values, links and services of a plan are put before a person: each field of the step on a line of its own.

use super::{field, quarantine};
use crate::model::{DevicePath, FileTarget, LineTarget, PartOf, ServiceTarget, Step, ValueTarget};
use std::fmt::Result;

/// The fields of a step on a line, a value, a link or a service.
pub(super) fn step(out: &mut String, step: &Step) -> Result {
    match step {
        Step::CutLine { file, line: cut, .. } => {
            line(out, cut)?;
            quarantine(out, file)?;
        }
        Step::PutLine { file, line: put, .. } => {
            line(out, put)?;
            quarantine(out, file)?;
        }
        Step::CutValue { hive, value: cut, .. } => {
            value(out, cut)?;
            quarantine(out, hive)?;
        }
        Step::PutValue { hive, value: put, whole, .. } => {
            value(out, put)?;
            field(
                out,
                "hive becomes",
                if *whole { "what it was, byte for byte" } else { "what it is, with this value" },
            )?;
            quarantine(out, hive)?;
        }
        Step::StopService { service: stopped, .. } => service(out, stopped)?,
        Step::StartService { unit, .. } => field(out, "unit", unit)?,
        Step::RemoveLink { link, .. } => {
            field(out, "path", &link.path.to_text())?;
            field(out, "leads to", &link.target.to_text())?;
            field(out, "identity", &link.identity.to_string())?;
            field(out, "owner", &format!("{}:{}", link.uid, link.gid))?;
        }
        Step::RestoreLink { path, target, uid, gid, .. } => {
            field(out, "path", &path.to_text())?;
            field(out, "leads to", &target.to_text())?;
            field(out, "owner", &format!("{uid}:{gid}"))?;
        }
        Step::Mask { path, .. } | Step::Unmask { path, .. } => field(out, "path", &path.to_text())?,
        _ => {}
    }
    match step {
        Step::CutLine { part_of: whole, .. }
        | Step::CutValue { part_of: whole, .. }
        | Step::StopService { part_of: whole, .. }
        | Step::RemoveLink { part_of: whole, .. }
        | Step::Mask { part_of: whole, .. } => part_of(out, Some(whole)),
        Step::PutLine { undo_id, .. }
        | Step::PutValue { undo_id, .. }
        | Step::StartService { undo_id, .. }
        | Step::RestoreLink { undo_id, .. }
        | Step::Unmask { undo_id, .. } => field(out, "undo record", undo_id.as_str()),
        _ => Ok(()),
    }
}

fn service(out: &mut String, service: &ServiceTarget) -> Result {
    field(out, "unit", &service.unit)?;
    field(out, "state", &service.state)?;
    if let Some(pid) = service.pid {
        field(out, "main process", &pid.to_string())?;
    }
    for file in &service.files {
        field(out, "unit file", &file.path.to_text())?;
        field(out, "sha256", file.sha256.as_str())?;
    }
    if let Some(image) = &service.image {
        field(out, "runs", &image.to_text())?;
    }
    service.notes.iter().try_for_each(|note| field(out, "! note", note))
}

/// The entity that was asked for.
pub(super) fn part_of(out: &mut String, whole: Option<&PartOf>) -> Result {
    match whole {
        Some(PartOf { kind, id }) => field(out, "part of", &format!("{} {id}", kind.as_str())),
        None => Ok(()),
    }
}

fn line(out: &mut String, line: &LineTarget) -> Result {
    field(out, "line", &line.number.to_string())?;
    field(out, "text", &line.text)?;
    match line.text.starts_with("esc:") {
        true => field(out, "! text", "not plain text; written esc: with escapes"),
        false => Ok(()),
    }
}

fn value(out: &mut String, value: &ValueTarget) -> Result {
    field(out, "key", &value.key.join("\\"))?;
    match value.name.as_str() {
        "" => field(out, "value", "(the default value)")?,
        name => field(out, "value", name)?,
    }
    field(out, "kind", &value.kind)?;
    match &value.data {
        Some(data) => field(out, "data", data)?,
        None => field(out, "data", "(not shown: the hive holds secrets)")?,
    }
    field(out, "data size", &format!("{} bytes", value.size_bytes))?;
    field(out, "data sha256", value.sha256.as_str())
}

/// The file that a step takes away or cuts.
pub(super) fn changed_file(step: &Step) -> Option<&FileTarget> {
    match step {
        Step::Quarantine { file, .. } | Step::CutLine { file, .. } | Step::CutValue { hive: file, .. } => Some(file),
        _ => None,
    }
}

/// The texts of a device that a step shows, besides its paths.
pub(super) fn texts(step: &Step) -> Vec<String> {
    match step {
        Step::Quarantine { part_of: Some(p), .. } | Step::RemoveLink { part_of: p, .. } => vec![raw(&p.id)],
        Step::CutLine { line, part_of, .. } => vec![raw(&line.text), raw(&part_of.id)],
        Step::PutLine { line, .. } => vec![raw(&line.text)],
        Step::CutValue { value, .. } | Step::PutValue { value, .. } => {
            value.key.iter().chain([&value.name]).chain(&value.data).cloned().collect()
        }
        Step::StopService { service, .. } => {
            let mut texts = service.notes.clone();
            texts.extend([service.unit.clone(), service.state.clone()]);
            texts
        }
        Step::StartService { unit, .. } => vec![unit.clone()],
        _ => Vec::new(),
    }
}

/// What an escaped text stands for.
fn raw(text: &str) -> String {
    match DevicePath::from_text(text) {
        Ok(bytes) => String::from_utf8_lossy(bytes.as_bytes()).into_owned(),
        Err(_) => text.to_owned(),
    }
}

//! What a person sees: the guard's own rendering of the stored plan, complete, with nothing invisible.
//!
//! Invariants: rendered from the stored bytes alone; never cut; the only bytes below 0x20 are the line feeds between
//! lines; the assistant's words stand apart, on one line, marked as unverified.

mod library;
mod parts;
mod tenant;

pub(super) use library::item_screen;

use super::Guard;
use super::digest;
use super::ledger::unknown;
use super::plan::{Plan, paths};
use super::state::{Entry, PromptShown, State};
use super::step::Stage;
use crate::error::Result;
use crate::model::{FileTarget, Isolation, ProcessTarget, RequestId, Sha256, Step, Timestamp, Way};
use crate::shape::{clean, is_plain};
use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

const REASON_CHARS: usize = 200;
/// No name or argument needs so many spaces in a row.
const PADDING: &str = "    ";
const MAX_REMEMBERED: usize = 4096;

/// A plan as it is put before a person.
#[derive(Clone, Debug)]
pub struct Prompt {
    pub id: RequestId,
    /// To print as it is. Files have the absolute path and the whole SHA-256 each unbroken on one line.
    pub text: String,
    pub digest: Sha256,
    /// Of `text`: a vote names it.
    pub preview_sha256: Sha256,
    /// The device's name as the text shows it.
    pub device: String,
    /// The device's name, to be typed, where a step cannot be undone.
    pub check: Option<String>,
    /// The assurance that a vote needs: `L`, …
    pub level: &'static str,
    pub votes: u32,
    pub needed: u32,
    pub expires: Timestamp,
    /// A vote that comes sooner is refused.
    pub min_view: Duration,
    /// Whether it waits for a vote.
    pub pending: bool,
    /// What deserves a second look: `packaged`, `links`, `unsigned`, `direction_control`, `escaped`.
    pub flags: Vec<&'static str>,
}

impl Guard {
    /// Renders a request and, while it is pending, puts on record that it was shown.
    pub fn show(&self, id: &RequestId) -> Result<Prompt> {
        let min_view_s = self.policy_now().map(|p| p.defaults.min_view_s).unwrap_or(2);
        // What has ended is shown without a record, also where the log cannot be written.
        if !self.current(|state, now| state.entry(id).map(|e| e.is_pending(now)))?.ok_or_else(|| unknown(id))? {
            return self.current(|state, _| render(state, state.entry(id).ok_or_else(|| unknown(id))?, min_view_s))?;
        }
        let prompt = self.turn(|turn| {
            let state = turn.state;
            let entry = state.entry(id).ok_or_else(|| unknown(id))?;
            let live = turn.look(entry).is_ok();
            let prompt = render(state, entry, min_view_s)?;
            if live && entry.life.stage == Stage::Pending {
                let told = PromptShown {
                    preview_sha256: prompt.preview_sha256.clone(),
                    bytes: prompt.text.len(),
                    complete: true,
                    flags: prompt.flags.iter().map(|f| (*f).to_owned()).collect(),
                };
                let record = turn.about("prompt.shown", entry).channel("approvals").detail(&told);
                turn.put(record);
            }
            Ok(prompt)
        })?;
        self.remember(&prompt.preview_sha256);
        Ok(prompt)
    }

    /// Viewing time begins when this process has the text; a later look does not begin it anew.
    pub(super) fn remember(&self, preview: &Sha256) {
        let now = self.log.now();
        let mut shown = self.shown.lock().unwrap_or_else(|p| p.into_inner());
        if shown.len() >= MAX_REMEMBERED {
            shown.clear();
        }
        shown.entry(preview.clone()).or_insert(now);
    }
}

fn render(state: &State, entry: &Entry, min_view_s: u64) -> Result<Prompt> {
    let (plan, bytes) = entry.read_plan()?;
    let refused = state.requests.iter().filter(|e| e.life.stage == Stage::Denied && e.steps == entry.steps).count();
    let flags = flags(&plan);
    let device = clean(&plan.device.name_at_request).into_owned();
    let check = (!plan.is_reversible()).then(|| device.clone());
    let mut text = String::with_capacity(2048);
    // Writing to a string does not fail.
    let _ = head(&mut text, entry, &plan, refused)
        .and_then(|()| steps(&mut text, &plan, &flags))
        .and_then(|()| foot(&mut text, entry, check.as_deref()));
    // Once more over the whole, so that no field can be forgotten; cleaning clean text changes nothing.
    let text = text.lines().map(clean).collect::<Vec<_>>().join("\n") + "\n";
    Ok(Prompt {
        id: entry.id.clone(),
        digest: digest::plan(bytes),
        preview_sha256: digest::preview(&text),
        text,
        device,
        check,
        level: entry.required.level.as_str(),
        votes: entry.life.yes,
        needed: entry.life.needed,
        expires: plan.expires_at,
        min_view: Duration::from_secs(min_view_s),
        pending: entry.life.stage == Stage::Pending,
        flags,
    })
}

/// One line of a field: what would break the line is made visible.
fn field(out: &mut String, name: &str, value: &str) -> std::fmt::Result {
    writeln!(out, "  {name:<15} {}", unpadded(&clean(value)))
}

/// Runs of spaces written out: at the end of a terminal's line they would begin what looks like another field.
fn unpadded(value: &str) -> Cow<'_, str> {
    if !value.contains(PADDING) {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len() * 2);
    let mut rest = value;
    while let Some(at) = rest.find(PADDING) {
        let (before, from) = rest.split_at(at);
        let after = from.trim_start_matches(' ');
        out.push_str(before);
        out.extend(std::iter::repeat_n("\\x20", from.len() - after.len()));
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn head(out: &mut String, entry: &Entry, plan: &Plan, refused: usize) -> std::fmt::Result {
    match entry.life.stage {
        Stage::Pending => writeln!(out, "An assistant asks for your approval. Nothing has been changed yet.\n")?,
        _ => writeln!(out, "An assistant asked for approval. This waits for nobody any more.\n")?,
    }
    field(out, "Request", plan.request_id.as_str())?;
    field(out, "Match code", &format!("{} (the chat shows the same)", digest::match_code(&entry.digest)))?;
    let transport = super::submit::channel(plan.requester.transport);
    field(out, "Asked by", &format!("{} over {transport}", plan.requester.principal))?;
    if let Some(claimed) = &entry.claimed {
        field(out, "Calls itself", &format!("{} (not verified)", clean(claimed)))?;
    }
    field(out, "Device", &plan.device.name_at_request)?;
    field(out, "Device id", plan.device.id.as_str())?;
    field(out, "Group, tier", &format!("{}, {}", plan.device.group, plan.device.tier.as_str()))?;
    field(out, "Command", &plan.command)?;
    field(out, "Arguments", plan.args.get())?;
    field(out, "Asked at", &plan.created_at.to_string())?;
    field(out, "Expires at", &plan.expires_at.to_string())?;
    let (yes, needed) = (entry.life.yes, entry.life.needed);
    field(out, "Votes", &format!("{yes} of {needed}, level {}", plan.required.level.as_str()))?;
    field(out, "State", stage(entry.life.stage))?;
    if refused > 0 {
        field(out, "Refused before", &format!("{refused} time(s)"))?;
    }
    field(out, "Plan digest", entry.digest.as_str())
}

const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Pending => "waits for you",
        Stage::Approved => "approved",
        Stage::Consuming => "is being carried out",
        Stage::Done => "carried out",
        Stage::Denied => "refused by a person",
        Stage::Expired => "expired",
        Stage::Cancelled => "cancelled",
        Stage::Revoked => "revoked by a halt",
        Stage::Invalidated(_) => "void",
        Stage::Unknown => "outcome unknown",
    }
}

fn steps(out: &mut String, plan: &Plan, flags: &[&str]) -> std::fmt::Result {
    let count = plan.steps.len();
    writeln!(out, "\nThe plan: {count} step(s) in this order, ending at the first whose target is not as shown here.")?;
    for (i, step) in plan.steps.iter().enumerate() {
        writeln!(out)?;
        let title = match step {
            Step::Quarantine { .. } => "Move this file into quarantine (undo brings it back)",
            Step::Stop { keep_image: true, .. } => "Stop this process for good, and keep a copy of its image",
            Step::Stop { keep_image: false, .. } => "Stop this process for good",
            Step::Restore { .. } => "Put this file back where it was: what was removed returns",
            Step::Collect { .. } => {
                "Write a forensics package into this folder as a new file (remediate takes it away)"
            }
            Step::CutLine { .. } => "Take this line out of this file (undo puts it back)",
            Step::PutLine { .. } => "Put this line back into this file: what was removed returns",
            Step::CutValue { .. } => "Take this value out of this registry hive (undo puts it back)",
            Step::PutValue { .. } => "Put this value back into this registry hive: what was removed returns",
            Step::StopService { .. } => "Stop this service (undo starts it again)",
            Step::StartService { .. } => "Start this service again",
            Step::RemoveLink { .. } => "Take this link away (undo puts it back)",
            Step::RestoreLink { .. } => "Put this link back: what was removed returns",
            Step::Mask { .. } => "Mask this unit, so that nothing starts it (undo lifts that)",
            Step::Unmask { .. } => "Lift this mask: the unit can be started again",
            Step::ReloadServices => "Have the service manager read its unit files again",
            Step::Run { .. } => "Run this script: what it does cannot be taken back by this program",
            Step::Put { .. } => "Write this library file to the device, under a new name",
            Step::DeleteScript { .. } => "Take this file out of the script library",
            Step::Isolate { .. } => "Cut this host off the network (release ends that)",
            Step::Release { .. } => "Give this host its network back, and whoever may be on it with it",
            Step::Tenant { deed } => tenant::title(deed),
            Step::Disclose { .. } => "Show this content of a collected file to the assistant: it cannot be taken back",
        };
        writeln!(out, "  {}. {title}", i + 1)?;
        match step {
            Step::Quarantine { file, part_of } => {
                quarantine(out, file)?;
                parts::part_of(out, part_of.as_ref())?;
            }
            Step::Stop { process, .. } => stop(out, process)?,
            Step::Restore { undo_id, path, size_bytes, sha256, mode, uid, gid } => {
                field(out, "path", &path.to_text())?;
                field(out, "sha256", sha256.as_str())?;
                field(out, "size", &format!("{size_bytes} bytes"))?;
                field(out, "mode, owner", &format!("{:04o}, {uid}:{gid}", mode & 0o7777))?;
                field(out, "undo record", undo_id.as_str())?;
            }
            Step::Collect { folder, directory, name, profile } => {
                field(out, "folder", &folder.to_text())?;
                field(out, "identity", &directory.to_string())?;
                field(out, "new file", name)?;
                field(out, "profile", profile.as_str())?;
                field(out, "! content", "it may hold password hashes and keys; this device's root alone may read it")?;
            }
            Step::CutLine { .. }
            | Step::PutLine { .. }
            | Step::CutValue { .. }
            | Step::PutValue { .. }
            | Step::StopService { .. }
            | Step::StartService { .. }
            | Step::RemoveLink { .. }
            | Step::RestoreLink { .. }
            | Step::Mask { .. }
            | Step::Unmask { .. }
            | Step::ReloadServices => parts::step(out, step)?,
            Step::Run { .. } | Step::Put { .. } | Step::DeleteScript { .. } => library::step(out, step)?,
            Step::Tenant { deed } => tenant::step(out, deed)?,
            Step::Isolate { isolation } => isolate(out, isolation)?,
            Step::Release { release } => {
                field(out, "isolation", release.kind.as_str())?;
                field(out, "isolated by", release.isolated_by.as_str())?;
            }
            Step::Disclose { slice } => {
                field(out, "collected from", &slice.path.to_text())?;
                field(out, "sha256", slice.sha256.as_str())?;
                field(out, "secret", &slice.secret)?;
                if let Some(entry) = &slice.entry {
                    field(out, "entry", entry)?;
                }
                field(out, "bytes", &format!("{} from offset {}, as {}", slice.length, slice.offset, slice.r#as))?;
                if let Some(pattern) = &slice.r#match {
                    field(out, "lines with", pattern)?;
                }
            }
        }
        for path in paths(step).iter().filter(|p| p.to_text().starts_with("esc:")) {
            field(
                out,
                "! name",
                &format!("{} bytes, not plain text; written esc: with escapes", path.as_bytes().len()),
            )?;
        }
    }
    if flags.contains(&"direction_control") {
        writeln!(out, "\n  ! contains direction control: something here is written to read as something else")?;
    }
    Ok(())
}

fn isolate(out: &mut String, isolation: &Isolation) -> std::fmt::Result {
    field(out, "isolation", isolation.kind.as_str())?;
    field(out, "cuts", &format!("all traffic but what is listed here; {} connections now", isolation.cuts))?;
    field(out, "goes on", "loopback; neighbour discovery of IPv6")?;
    if isolation.dhcp {
        field(out, "goes on", "DHCP (policy)")?;
    }
    for exemption in &isolation.exemptions {
        let (name, what) = match exemption.way {
            Way::Both => ("goes on", format!("{}, any traffic, both ways", exemption.peer)),
            Way::Out => ("goes out", format!("to {}", exemption.peer)),
            Way::In => {
                let from = exemption.peer.network.map_or_else(|| "any address".to_owned(), |n| n.to_string());
                ("comes in", format!("from {from} to port {}", exemption.peer.port.unwrap_or_default()))
            }
        };
        field(out, name, &format!("{what} ({})", clean(&exemption.why)))?;
    }
    if !isolation.exemptions.iter().any(|e| matches!(e.way, Way::In | Way::Both)) {
        field(out, "! comes in", "nothing: after it only a person at this host itself can release it")?;
    }
    field(
        out,
        "confirm",
        &format!("within {} s that you are still connected, or it is rolled back", isolation.commit_s),
    )?;
    field(out, "lease", &format!("ends by itself after {} s, and at a reboot", isolation.lease_s))?;
    field(out, "rules sha256", isolation.ruleset_sha256.as_str())
}

fn quarantine(out: &mut String, file: &FileTarget) -> std::fmt::Result {
    field(out, "path", &file.path.to_text())?;
    field(out, "sha256", file.sha256.as_str())?;
    field(out, "size", &format!("{} bytes", file.size_bytes))?;
    field(out, "mode, owner", &format!("{:04o}, {}:{}", file.mode & 0o7777, file.uid, file.gid))?;
    field(out, "modified", &file.modified.to_string())?;
    field(out, "identity", &file.identity.to_string())?;
    if let Some(package) = &file.package {
        field(out, "! package", &format!("belongs unmodified to {}: part of the system", clean(package)))?;
    }
    if file.links > 1 {
        field(out, "! links", &format!("{} names: the same bytes stay reachable by the others", file.links))?;
    }
    Ok(())
}

fn stop(out: &mut String, process: &ProcessTarget) -> std::fmt::Result {
    field(out, "pid", &process.pid.to_string())?;
    field(out, "name", &process.name)?;
    field(out, "user", &process.user)?;
    field(out, "command line", &process.command_line)?;
    field(out, "started", &process.started.to_string())?;
    match &process.image {
        Some(image) => field(out, "path", &image.to_text())?,
        None => field(out, "path", "(its image has no name any more)")?,
    }
    field(out, "sha256", process.image_sha256.as_str())?;
    field(out, "image size", &format!("{} bytes", process.image_size))?;
    match &process.image_note {
        Some(note) => field(out, "image", note),
        None => Ok(()),
    }
}

fn foot(out: &mut String, entry: &Entry, check: Option<&str>) -> std::fmt::Result {
    if let Some(reason) = &entry.reason {
        writeln!(out, "\n  +-- UNVERIFIED: the assistant's own words, not part of the plan --")?;
        writeln!(out, "  | {}", super::submit::cut(&unpadded(&clean(reason)), REASON_CHARS))?;
        writeln!(out, "  +------------------------------------------------------------------")?;
    }
    if entry.life.stage != Stage::Pending {
        return Ok(());
    }
    writeln!(
        out,
        "\nYour code approves exactly this, once. Never give it to the assistant: it works nowhere in the chat."
    )?;
    match check {
        Some(name) => writeln!(out, "This cannot be undone: on the line after the code type the device's name: {name}"),
        None => Ok(()),
    }
}

fn flags(plan: &Plan) -> Vec<&'static str> {
    let file = |f: &dyn Fn(&FileTarget) -> bool| plan.steps.iter().any(|s| parts::changed_file(s).is_some_and(f));
    let mut flags = Vec::new();
    if file(&|f| f.package.is_some()) {
        flags.push("packaged");
    }
    if file(&|f| f.links > 1) {
        flags.push("links");
    }
    if plan.script.as_ref().is_some_and(|item| item.kind.is_runnable() && item.signer.is_none()) {
        flags.push("unsigned");
    }
    let mut texts: Vec<String> = vec![plan.device.name_at_request.clone()];
    texts.extend(plan.steps.iter().flat_map(paths).map(|p| String::from_utf8_lossy(p.as_bytes()).into_owned()));
    texts.extend(plan.steps.iter().flat_map(|s| match s {
        Step::Stop { process, .. } => vec![process.name.clone(), process.user.clone(), process.command_line.clone()],
        Step::Run { parameters, .. } => parameters.clone(),
        Step::Isolate { isolation } => isolation.exemptions.iter().map(|e| e.why.clone()).collect(),
        Step::Tenant { deed } => tenant::texts(deed),
        other => parts::texts(other),
    }));
    if let Ok(args) = serde_json::from_str::<serde_json::Value>(plan.args.get()) {
        collect_texts(&args, &mut texts);
    }
    if texts.iter().any(|t| t.chars().any(is_direction_control)) {
        flags.push("direction_control");
    }
    if texts.iter().any(|t| !is_plain(t)) {
        flags.push("escaped");
    }
    flags
}

fn collect_texts(value: &serde_json::Value, into: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => {
            let bytes = crate::model::DevicePath::from_text(text).map(|p| p.as_bytes().to_vec());
            into.push(bytes.map_or_else(|_| text.clone(), |b| String::from_utf8_lossy(&b).into_owned()));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|v| collect_texts(v, into)),
        serde_json::Value::Object(fields) => fields.values().for_each(|v| collect_texts(v, into)),
        _ => {}
    }
}

fn is_direction_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

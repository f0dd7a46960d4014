//! The tenant's devices: as rows, and found by what a person calls them.
//!
//! Invariant: a name that more than one device has opens none of them.

use super::BACKEND;
use super::api::{Machine, MachineId};
use super::client::{Client, Pages, quoted};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DeviceId, DeviceRow, DeviceTraits, Job};
use crate::nearest::nearest;
use crate::shape::{Untrusted, scrub};

/// Devices that a refusal lists.
const LISTED: usize = 8;
/// The group that is no group.
const UNASSIGNED: &str = "UnassignedGroup";

/// What is remembered of a device.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) name: Untrusted,
    pub(super) platform: &'static str,
}

impl Known {
    pub(super) fn of(machine: &Machine) -> Known {
        Known { name: name(machine), platform: platform(machine) }
    }
}

/// Whether it is a device's id: 40 hex digits.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Its DNS name; the id where the tenant knows none.
pub(super) fn name(machine: &Machine) -> Untrusted {
    let known = machine.computer_dns_name.clone().filter(|name| !name.raw().is_empty());
    known.unwrap_or_else(|| Untrusted::new(machine.id.as_str()))
}

pub(super) fn platform(machine: &Machine) -> &'static str {
    let os = machine.os_platform.as_ref().map(|os| os.raw().to_ascii_lowercase()).unwrap_or_default();
    match os.as_str() {
        os if os.starts_with("windows") => "windows",
        os if os.starts_with("macos") || os.starts_with("mac os") => "macos",
        os if os.starts_with("ios") || os.starts_with("android") => "mobile",
        "" => "unknown",
        _ => "linux",
    }
}

/// `Windows11 22H2 (build 22621)`.
pub(super) fn os(machine: &Machine) -> Option<Untrusted> {
    let text = |text: &Option<Untrusted>| text.as_ref().map(|t| t.raw().to_owned()).filter(|t| !t.is_empty());
    let mut parts: Vec<String> = [text(&machine.os_platform), text(&machine.version)].into_iter().flatten().collect();
    parts.extend(machine.os_build.filter(|build| *build != 0).map(|build| format!("(build {build})")));
    (!parts.is_empty()).then(|| Untrusted::new(parts.join(" ")))
}

/// Where its sensor does not report: its state in the tenant's words.
pub(super) fn not_active(machine: &Machine) -> Option<String> {
    let health = machine.health_status.as_ref()?;
    (!health.raw().eq_ignore_ascii_case("Active")).then(|| short(health))
}

fn short(text: &Untrusted) -> String {
    let cut: String = text.raw().chars().take(200).collect();
    scrub(&cut).into_owned()
}

/// Words before which a tag says what only the tenant says: a device can give itself tags.
const OURS: &[&str] = &["group:", "health:"];

fn tags(machine: &Machine) -> Vec<String> {
    let is_ours = |tag: &String| OURS.iter().any(|ours| tag.to_ascii_lowercase().starts_with(ours));
    let mut tags: Vec<String> = machine.machine_tags.iter().map(short).filter(|tag| !is_ours(tag)).collect();
    let group = machine.rbac_group_name.as_ref().filter(|group| !group.raw().is_empty() && group.raw() != UNASSIGNED);
    tags.extend(group.map(|group| format!("group:{}", short(group))));
    tags.extend(not_active(machine).map(|health| format!("health:{health}")));
    tags
}

/// What a policy may know it by.
pub(super) fn traits(machine: &Machine) -> DeviceTraits {
    DeviceTraits { backend: BACKEND, name: name(machine).raw().to_owned(), tags: tags(machine) }
}

pub(super) fn row(machine: Machine) -> DeviceRow {
    DeviceRow {
        name: name(&machine),
        backend: BACKEND,
        platform: platform(&machine),
        os: os(&machine),
        address: machine.last_ip_address.as_ref().map(short).filter(|address| !address.is_empty()),
        last_seen: machine.last_seen,
        group: None,
        tier: None,
        tags: tags(&machine),
        id: DeviceId::new(machine.id.as_str()),
    }
}

/// The devices whose id or name has this part in it. The service only knows how names begin, so it is not asked to
/// leave others out, save for a whole id.
pub(super) fn matching(client: &Client, part: Option<&str>) -> Pages<Machine> {
    let filter = part.filter(|part| is_id(part)).map(|id| format!("id eq {}", quoted(id)));
    client.machines(filter.as_deref())
}

/// The one device of this id or name.
pub(super) async fn find(
    client: &Client,
    named: &str,
    names: impl FnOnce() -> Vec<String>,
    job: &Job,
) -> Result<Machine> {
    if is_id(named) {
        return client.machine(&named.to_ascii_lowercase(), job).await;
    }
    let found = if is_name(named) { beginning(client, named, job).await? } else { Vec::new() };
    let is = |machine: &&Machine, test: &dyn Fn(&str) -> bool| test(&name(machine).raw().to_ascii_lowercase());
    let wanted = named.to_ascii_lowercase();
    let whole: Vec<&Machine> = found.iter().filter(|m| is(m, &|name| name == wanted)).collect();
    let first_part = format!("{wanted}.");
    let matching = match whole.is_empty() {
        false => whole,
        true => found.iter().filter(|m| is(m, &|name| name.starts_with(&first_part))).collect(),
    };
    match matching.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(unknown(named, &found, names())),
        several => Err(ambiguous(named, several)),
    }
}

/// What a DNS name may be made of; all else is in no query.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Devices whose names begin so. The service compares as they are written, mostly in lower case; where it finds none, all
/// of them are looked at.
async fn beginning(client: &Client, named: &str, job: &Job) -> Result<Vec<Machine>> {
    let lower = named.to_lowercase();
    for text in [named, &lower] {
        let filter = format!("startswith(computerDnsName,{})", quoted(text));
        let found = client.machines(Some(&filter)).all(job).await?;
        if !found.is_empty() {
            return Ok(found);
        }
        if lower == named {
            break;
        }
    }
    let mut pages = client.machines(None);
    let mut found = Vec::new();
    while let Some(page) = pages.next(job).await? {
        found.extend(page.into_iter().filter(|m| name(m).raw().to_lowercase().starts_with(&lower)));
    }
    Ok(found)
}

fn unknown(named: &str, found: &[Machine], known: Vec<String>) -> Error {
    let names: Vec<String> = found.iter().map(|m| name(m).raw().to_owned()).chain(known).collect();
    let hint = match nearest(named, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {:?}? `devices` lists what there is", scrub(near)),
        None => "`devices` lists what there is; one that has not reported for 30 days is found by its id".to_owned(),
    };
    Error::new(ErrorCode::NoDevice, format!("no device {named:?} in the Defender tenant")).hint(hint)
}

fn ambiguous(named: &str, several: &[&Machine]) -> Error {
    let mut lines: Vec<String> = several.iter().take(LISTED).map(|m| line(m)).collect();
    if several.len() > LISTED {
        lines.push(format!("and {} more", several.len() - LISTED));
    }
    Error::new(ErrorCode::NoDevice, format!("{} devices of the Defender tenant are called {named:?}", several.len()))
        .hint(format!("take one by its id: {}", lines.join(", ")))
}

fn line(machine: &Machine) -> String {
    let id: &MachineId = &machine.id;
    let seen = machine.last_seen.map(|t| format!(", last seen {t}")).unwrap_or_default();
    format!("{id} ({}{seen})", short(&name(machine)))
}

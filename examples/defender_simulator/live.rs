//! Live response: what a request may ask, and its commands run one after the other.

use crate::actions::{self, Command, New};
use crate::answer::{Answer, Refusal};
use crate::control::ResultOrder;
use crate::devices::Platform;
use crate::files;
use crate::gzip::Source;
use crate::linux::{self, Root};
use crate::machines;
use crate::results::{Encoding, Stored};
use crate::service::{Sim, Simulator};
use crate::tenant::Tenant;
use crate::windows;
use axum::body::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

const E_FAIL: i32 = -2_147_467_259; // 0x80004005
/// What a script's arguments may not hold.
const FORBIDDEN: &[char] = &[';', '&', '|', '!', '$'];

/// What a script printed and how it ended.
pub struct Ran {
    pub exit_code: i64,
    pub output: Vec<u8>,
    pub errors: Vec<u8>,
}

pub fn start(sim: &Sim, id: &str, body: &Value) -> Answer {
    let comment = machines::text(body, "Comment")?;
    let commands = commands(body)?;
    let tenant = sim.tenant();
    let index = tenant.device_index(id).ok_or_else(|| machines::missing(id))?;
    let device = &tenant.devices[index];
    if !device.field("onboardingStatus").eq_ignore_ascii_case("onboarded") {
        return Err(Refusal::bad("BadRequest", format!("Machine {id} is not onboarded")));
    }
    if !device.automated {
        let message = "Live response cannot be run on this machine: the machine group has no automation level assigned";
        return Err(Refusal::new(403, "DisallowedOperation", message));
    }
    for command in &commands {
        let name = command.param("FileName").or_else(|| command.param("ScriptName"));
        if let Some(name) = name.filter(|n| !tenant.library.contains_key(*n)) {
            return Err(Refusal::bad("BadRequest", format!("File {name} does not exist in the library")));
        }
    }
    drop(tenant);
    let external = body["ExternalId"].as_str().map(str::to_owned);
    actions::start(sim, index, New { kind: "LiveResponse", scope: None, comment, related: None, external, commands })
}

impl Command {
    fn param(&self, key: &str) -> Option<&str> {
        self.params.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

/// PutFile before RunScript before GetFile, each with its parameters, keys with their case.
fn commands(body: &Value) -> Result<Vec<Command>, Refusal> {
    let list = body["Commands"].as_array().filter(|l| !l.is_empty());
    let list = list.ok_or_else(|| Refusal::bad("MissingRequiredParameter", "The Commands field is required."))?;
    let mut reached = 0;
    let mut commands = Vec::new();
    for written in list {
        let kind = written["type"].as_str().unwrap_or_default();
        let (order, needed) = match kind {
            "PutFile" => (0, "FileName"),
            "RunScript" => (1, "ScriptName"),
            "GetFile" => (2, "Path"),
            other => return Err(Refusal::bad("InvalidInput", format!("Command type '{other}' is not supported"))),
        };
        if order < reached {
            return Err(Refusal::bad("InvalidInput", "Commands must be ordered: PutFile, RunScript, GetFile"));
        }
        reached = order;
        let pair = |p: &Value| Some((p["key"].as_str()?.to_owned(), p["value"].as_str()?.to_owned()));
        let params: Vec<_> = written["params"].as_array().into_iter().flatten().filter_map(pair).collect();
        let command = Command {
            kind: kind.into(),
            params,
            started: None,
            ended: None,
            status: "Created",
            errors: Vec::new(),
            stored: None,
        };
        if command.param(needed).is_none_or(str::is_empty) {
            return Err(Refusal::bad("MissingRequiredParameter", format!("{kind} needs the parameter {needed}")));
        }
        if command.param("Args").is_some_and(|args| args.contains(FORBIDDEN)) {
            return Err(Refusal::bad("InvalidInput", "Args contains invalid characters"));
        }
        commands.push(command);
    }
    Ok(commands)
}

/// Runs the commands; after one that fails, no other.
pub async fn run(sim: &Sim, id: &str) -> Result<(), i32> {
    let mut index = 0;
    loop {
        let (kind, params, device) = {
            let tenant = sim.tenant();
            let Some(action) = tenant.action(id) else { return Err(E_FAIL) };
            let Some(command) = action.commands.get(index) else { return Ok(()) };
            (command.kind.clone(), command.params.clone(), action.device)
        };
        let param = |key: &str| params.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v.as_str());
        actions::update(sim, id, |a| a.commands[index].started = Some(Timestamp::now()));
        let ended = match kind.as_str() {
            "PutFile" => put(sim, device, param("FileName")).await.map(|()| None),
            "RunScript" => script(sim, id, index, device, param("ScriptName"), param("Args")).await.map(Some),
            _ => get(sim, device, param("Path")).await.map(Some),
        };
        let failed = ended.is_err();
        actions::update(sim, id, |action| {
            let command = &mut action.commands[index];
            command.ended = Some(Timestamp::now());
            match ended {
                Ok(stored) => {
                    command.status = "Completed";
                    command.stored = stored;
                }
                Err(why) => {
                    command.status = "Failed";
                    command.errors.push(why);
                }
            }
        });
        if failed {
            return Err(E_FAIL);
        }
        index += 1;
    }
}

/// What an order of the tests says of this result.
pub fn ordered(tenant: &mut Tenant, device: usize, package: bool) -> ResultOrder {
    let here = |o: &ResultOrder, t: &Tenant| {
        o.package == package && o.device.as_deref().is_none_or(|d| t.device_index(d) == Some(device))
    };
    let Some(at) = tenant.result_orders.iter().position(|o| here(o, tenant)) else { return ResultOrder::default() };
    let order = tenant.result_orders[at].clone();
    tenant.result_orders[at].times = order.times.saturating_sub(1);
    if order.times <= 1 {
        tenant.result_orders.remove(at);
    }
    order
}

fn place(sim: &Simulator, device: usize) -> (Platform, linux::Slot, Arc<std::sync::Mutex<windows::State>>, String) {
    let tenant = sim.tenant();
    let device = &tenant.devices[device];
    (device.platform, device.root.clone(), device.windows.clone(), device.name().to_owned())
}

async fn root(sim: &Sim, device: usize) -> Result<Arc<Root>, String> {
    let (_, slot, _, name) = place(sim, device);
    linux::root(&slot, &sim.scratch, &name).await
}

fn library_file(sim: &Simulator, name: &str) -> Result<Bytes, String> {
    let tenant = sim.tenant();
    tenant
        .library
        .get(name)
        .map(|f| f.bytes.clone())
        .ok_or_else(|| format!("File {name} does not exist in the library"))
}

async fn put(sim: &Sim, device: usize, name: &str) -> Result<(), String> {
    let bytes = library_file(sim, name)?;
    let (platform, _, state, _) = place(sim, device);
    match platform {
        Platform::Windows => windows::put(&state, name, bytes),
        Platform::Linux => root(sim, device).await?.put(name, &bytes)?,
        Platform::MacOs => {}
    }
    Ok(())
}

async fn script(sim: &Sim, id: &str, index: usize, device: usize, name: &str, args: &str) -> Result<Stored, String> {
    let bytes = library_file(sim, name)?;
    let (platform, _, state, host) = place(sim, device);
    let limit = Duration::from_secs(sim.options.script_limit_s);
    let ran = match platform {
        Platform::Linux => root(sim, device).await?.run(name, &bytes, args, limit).await?,
        // It may hash a file of gigabytes.
        Platform::Windows => tokio::task::block_in_place(|| windows::run(&state, &host, name, args)),
        Platform::MacOs => Ran { exit_code: 0, output: format!("{name} {args}\n").into_bytes(), errors: Vec::new() },
    };
    let order = ordered(&mut sim.tenant(), device, false);
    let bytes = transcript(name, platform, ran, &order);
    let path = sim.scratch.path().join("results").join(format!("{id}_{index}.json"));
    let stored = || -> io::Result<Source> {
        File::create_new(&path)?.write_all(&bytes)?;
        Ok(Source::File(Arc::new(File::open(&path)?), bytes.len() as u64))
    };
    let source = stored().map_err(|e| e.to_string())?;
    Ok(Stored { lost: order.lost, expired: order.expired, ..Stored::plain(source) })
}

/// The result's JSON: the output with the noise of a transcript round it.
fn transcript(name: &str, platform: Platform, ran: Ran, order: &ResultOrder) -> Vec<u8> {
    let mut output = String::new();
    if platform == Platform::Windows {
        let guid = crate::seed::random_guid().to_uppercase();
        output.push_str("Transcript started, output file is C:\\ProgramData\\Microsoft\\Windows Defender Advanced Threat Protection\\Temp\\PSScriptOutputs\\PSScript_Transcript_{");
        output.push_str(&guid);
        output.push_str("}.txt\n");
    }
    let noise = "The quick brown fox jumps over the lazy dog, again and again and again.\n";
    let lines = order.noise_bytes.div_ceil(noise.len());
    output.push_str(&noise.repeat(lines)[..order.noise_bytes]);
    output.push_str(&order.before);
    if !order.no_output {
        let printed = String::from_utf8_lossy(&ran.output);
        let whole = "\"complete\":true";
        let cut = "\"complete\":false";
        output.push_str(&if order.partial { printed.replace(whole, cut) } else { printed.into_owned() });
    }
    output.push_str(&order.after);
    if platform == Platform::Windows {
        output.push_str("\0\0\0\0");
    }
    let (name_key, errors_key) =
        if order.old_names { ("name", "script_error") } else { ("script_name", "script_errors") };
    let errors = order.script_errors.clone().unwrap_or_else(|| String::from_utf8_lossy(&ran.errors).into_owned());
    let body = json!({
        name_key: name,
        "exit_code": order.exit_code.unwrap_or(ran.exit_code),
        "script_output": output,
        errors_key: errors,
    });
    let text = body.to_string();
    // As the documented example has it: no valid JSON.
    let text = if order.raw_breaks { text.replace("\\n", "\n") } else { text };
    text.into_bytes()
}

async fn get(sim: &Sim, device: usize, path: &str) -> Result<Stored, String> {
    let (platform, _, state, _) = place(sim, device);
    let generated = sim.tenant().devices[device].generated.get(path).copied();
    let source = match (generated, platform) {
        (Some(size), _) => Source::Generated(size),
        (None, Platform::Windows) => windows::get(&state, path)?,
        (None, Platform::Linux) => files::source(root(sim, device).await?.open(path)?)?,
        (None, Platform::MacOs) => return Err(format!("The file {path} was not found")),
    };
    let order = ordered(&mut sim.tenant(), device, false);
    let encoding = match order.encoding.as_deref() {
        None | Some("gzip") => Encoding::Gzip,
        Some("plain") => Encoding::Plain,
        Some("double") => Encoding::Double,
        Some(other) => return Err(format!("the order asks for the encoding {other}")),
    };
    let source = if order.wrong_bytes { source.spoiled().map_err(|e| e.to_string())? } else { source };
    Ok(Stored { source, encoding, lost: order.lost, expired: order.expired })
}

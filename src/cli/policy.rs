//! `live-response policy check`: which rule decides for each gated command on each device.

use super::io::Io;
use super::{Exit, listing};
use crate::commands;
use crate::config::Config;
use crate::dispatcher::Dispatcher;
use crate::error::Result;
use crate::model::{DeviceId, row};
use crate::registry::Effect;
use std::path::PathBuf;

#[derive(clap::Subcommand)]
pub(super) enum Sub {
    /// Reads the policy and says what it asks for, command by command
    Check {
        /// A policy file to try [default: the one in force]
        file: Option<PathBuf>,
        /// A JSON array
        #[arg(long)]
        json: bool,
    },
}

row! {
    pub struct RulingRow {
        pub device: DeviceId,
        pub command: &'static str,
        /// What one call comes to: votes and level, or a refusal's code.
        pub answer: String,
        pub group: Option<String>,
        pub tier: Option<&'static str>,
        pub level: Option<&'static str>,
        pub votes: Option<u32>,
        /// The rules that match.
        pub rules: Vec<String>,
        pub why: Option<String>,
    }
}

pub(super) fn run(config: &Config, sub: Sub, io: &mut Io) -> Result<Exit> {
    let Sub::Check { file, json } = sub;
    let mut config = config.clone();
    if let Some(file) = file {
        config.policy = Some(std::path::absolute(&file).unwrap_or(file));
    }
    let core = Dispatcher::new(&config).core().clone();
    let facts = core.guard.policy()?;
    let mut rows = Vec::new();
    for device in super::block_on(core.sessions.known_rows())? {
        for tool in commands::ALL.iter().filter(|t| t.spec().effect.asks()) {
            rows.push(ruling(&core.guard, device.id.clone(), tool.spec().name, tool.spec().effect));
        }
    }
    if !json {
        let source = facts.file.as_ref().map_or_else(|| facts.source.to_owned(), |f| f.display().to_string());
        io.say(&format!(
            "policy: {} (sha256 {})\na request waits {} s, a plan is read for {} s at least, an approval holds for {} s\n",
            crate::shape::clean(&source),
            facts.sha256,
            facts.pending_ttl_s,
            facts.min_view_s,
            facts.exec_window_s
        ))?;
    }
    listing::print(&rows, &["device", "command", "answer", "group", "tier", "rules", "why"], json, io)?;
    Ok(Exit::Done)
}

fn ruling(guard: &crate::guard::Guard, device: DeviceId, command: &'static str, effect: Effect) -> RulingRow {
    let gated = if matches!(effect, Effect::Disclosure) { crate::guard::DISCLOSURE } else { command };
    match guard.explain(gated, &device) {
        Ok(r) => RulingRow {
            device,
            command,
            answer: match (r.votes, effect) {
                (n, Effect::Disclosure) => format!("{n} yes for secrets"),
                (n, _) => format!("{n} yes"),
            },
            group: Some(r.group),
            tier: Some(r.tier.as_str()),
            level: Some(r.level.as_str()),
            votes: Some(r.votes),
            rules: r.rules,
            why: None,
        },
        Err(e) => {
            let (group, _) = guard.place(&device);
            RulingRow {
                device,
                command,
                answer: e.code.as_str().to_owned(),
                group,
                tier: None,
                level: None,
                votes: None,
                rules: Vec::new(),
                why: Some(crate::shape::clean(&e.message).into_owned()),
            }
        }
    }
}

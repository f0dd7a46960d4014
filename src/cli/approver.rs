//! `live-response approver`: who may approve.
//!
//! Invariant: a secret is printed once, to stdout, and kept nowhere here.

use super::io::Io;
use super::{Exit, listing};
use crate::config::Config;
use crate::decide::Signals;
use crate::dispatcher::Dispatcher;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Timestamp, row};
use qrcode::{Color, QrCode};
use std::sync::Arc;

#[derive(clap::Subcommand)]
pub(super) enum Sub {
    /// Enrols a person with an authenticator app (TOTP)
    Enroll {
        name: String,
        /// An enrolled person whose code allows it; the first enrolment is open
        #[arg(long = "as", value_name = "NAME")]
        authority: Option<String>,
    },
    /// Who is enrolled
    List {
        /// A JSON array with every field
        #[arg(long)]
        json: bool,
    },
    /// Takes a person's enrolment away
    Remove {
        name: String,
        /// An enrolled person whose code allows it [default: NAME]
        #[arg(long = "as", value_name = "NAME")]
        authority: Option<String>,
    },
}

row! {
    pub struct PersonRow {
        pub name: String,
        pub factor: String,
        pub since: Timestamp,
        /// A first code was given.
        pub confirmed: bool,
    }
}

pub(super) fn run(config: &Config, sub: Sub, io: &mut Io) -> Result<Exit> {
    let dispatcher = Dispatcher::new(config);
    match sub {
        Sub::Enroll { name, authority } => {
            super::block_on(async { enroll(&dispatcher, name, authority, io, &mut Signals::take()?).await })
        }
        Sub::List { json } => {
            let people = dispatcher.core().guard.enrolled()?;
            let rows: Vec<PersonRow> = people
                .iter()
                .map(|p| PersonRow {
                    name: p.name.clone(),
                    factor: p.factor.to_string(),
                    since: p.since,
                    confirmed: p.confirmed,
                })
                .collect();
            listing::print(&rows, &["name", "factor", "since", "confirmed"], json, io)?;
            Ok(Exit::Done)
        }
        Sub::Remove { name, authority } => {
            super::block_on(async { remove(&dispatcher, name, authority, io, &mut Signals::take()?).await })
        }
    }
}

async fn enroll(
    dispatcher: &Arc<Dispatcher>,
    name: String,
    authority: Option<String>,
    io: &mut Io,
    signals: &mut Signals,
) -> Result<Exit> {
    let core = dispatcher.core();
    let authority = with_code(authority, io, signals).await?;
    let enrolment = core
        .guard({
            let name = name.clone();
            move |g| g.enroll(&name, as_pair(authority.as_ref()))
        })
        .await??;
    io.say(&format!(
        "{name} is enrolled. Scan this with an authenticator app, now: it is shown once.\n\n{}\n\n{}\n\
         The codes are for `live-response approvals` in a terminal and for nothing else. Never give one to the \
         assistant,\nwhatever it says: a code works nowhere in the chat.",
        enrolment.otpauth_url.as_str(),
        picture(&enrolment.otpauth_url)?,
    ))?;
    first_code(dispatcher, name, io, signals).await
}

/// Asks for one code, to see that the app has it right. An empty line skips that.
async fn first_code(dispatcher: &Arc<Dispatcher>, name: String, io: &mut Io, signals: &mut Signals) -> Result<Exit> {
    let code = match io.secret("a first code from the app (empty: skip): ", signals).await {
        Ok(code) => code.filter(|c| !c.is_empty()),
        Err(e) if e.code == ErrorCode::Cancelled => None,
        Err(e) => return Err(e),
    };
    let Some(code) = code else {
        io.note("warning: no first code was checked; if the app has it wrong, no approval will go through");
        return Ok(Exit::Done);
    };
    let confirmed = dispatcher.core().guard(move |g| g.confirm_first_code(&name, &code)).await?;
    match confirmed {
        Ok(_) => {
            io.say("The code is right.")?;
            Ok(Exit::Done)
        }
        Err(e) => {
            io.note("the enrolment stands; check the app and both clocks, or remove it and enrol again");
            Err(e)
        }
    }
}

async fn remove(
    dispatcher: &Arc<Dispatcher>,
    name: String,
    authority: Option<String>,
    io: &mut Io,
    signals: &mut Signals,
) -> Result<Exit> {
    let authority = with_code(Some(authority.unwrap_or_else(|| name.clone())), io, signals).await?;
    let removed = name.clone();
    dispatcher.core().guard(move |g| g.remove(&name, as_pair(authority.as_ref()))).await??;
    io.say(&format!("{} is enrolled no more", crate::shape::clean(&removed)))?;
    Ok(Exit::Done)
}

async fn with_code(name: Option<String>, io: &mut Io, signals: &mut Signals) -> Result<Option<(String, String)>> {
    let Some(name) = name else { return Ok(None) };
    let code = io.secret(&format!("code of {}: ", crate::shape::clean(&name)), signals).await?;
    let Some(code) = code.filter(|c| !c.is_empty()) else {
        return Err(Error::new(ErrorCode::FactorInvalid, format!("no code of {name:?} was given"))
            .hint("it is the first line of stdin, or is typed when asked for"));
    };
    Ok(Some((name, code)))
}

fn as_pair(authority: Option<&(String, String)>) -> Option<(&str, &str)> {
    authority.map(|(name, code)| (name.as_str(), code.as_str()))
}

/// The QR code in half blocks, light on dark, with the quiet zone that scanners need.
fn picture(url: &str) -> Result<String> {
    const QUIET: usize = 2;
    let code = QrCode::new(url).map_err(|e| Error::new(ErrorCode::Internal, format!("the QR code: {e}")))?;
    let (width, modules) = (code.width(), code.to_colors());
    let light = |x: usize, y: usize| {
        let inside = x.checked_sub(QUIET).zip(y.checked_sub(QUIET)).filter(|(x, y)| *x < width && *y < width);
        inside.and_then(|(x, y)| modules.get(y * width + x)).is_none_or(|module| *module == Color::Light)
    };
    let mut out = String::new();
    for y in (0..width + 2 * QUIET).step_by(2) {
        for x in 0..width + 2 * QUIET {
            out.push(match (light(x, y), light(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        out.push('\n');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_a_square_inside_a_quiet_zone() {
        let picture = picture("otpauth://totp/live-response:anna?secret=JBSWY3DPEHPK3PXP").unwrap();
        let lines: Vec<&str> = picture.lines().collect();
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|l| l.chars().count() == width));
        assert_eq!(lines.len(), width.div_ceil(2));
        assert!(lines[0].chars().all(|c| c == '█'));
        assert!(lines.iter().all(|l| l.starts_with("██") && l.ends_with("██")));
    }
}

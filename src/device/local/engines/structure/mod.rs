//! The `static` engine: what a program's own structure or a script's own words say of it. It knows no malware; it sees
//! what ordinary programs do not do.
//!
//! Invariant: nothing is unpacked or run; loops over what a file claims to hold are bounded.

mod elf;
mod macho;
mod pe;
mod script;

use super::{Failure, Finding, Opinion, Sample, Status, guarded};
use crate::shape::Untrusted;
use object::Object;

/// Sections, imports, symbols that are looked at in one file.
const ITEMS: usize = 20_000;
/// Findings and notes of one file, each.
const KEPT: usize = 40;
/// Code above this many bits a byte is packed or encrypted: compilers stay below 6.9.
const DENSE: f64 = 7.2;
/// Fewer bytes tell nothing.
const ENOUGH: usize = 4_096;

/// Collects what is seen in one file.
#[derive(Default)]
struct Seen {
    findings: Vec<Finding>,
    notes: Vec<Untrusted>,
}

impl Seen {
    /// It speaks against the file.
    fn odd(&mut self, what: impl Into<String>) {
        let name = Untrusted::new(what);
        if self.findings.len() < KEPT && self.findings.iter().all(|f| f.name != name) {
            self.findings.push(Finding { name, note: None, status: Status::Suspicious });
        }
    }

    fn note(&mut self, what: impl Into<String>) {
        if self.notes.len() < KEPT {
            self.notes.push(Untrusted::new(what));
        }
    }

    /// Notes which of these names a program calls.
    fn calls(&mut self, called: &[&'static str]) {
        if !called.is_empty() {
            self.note(format!("calls {}", called.join(", ")));
        }
    }
}

/// An opinion of programs (ELF, PE, Mach-O) and scripts; none of anything else.
pub fn opinion(sample: &Sample<'_>) -> Opinion {
    let mut seen = Seen::default();
    match guarded(|| look(sample.head, &mut seen)) {
        Ok(true) => Opinion { notes: seen.notes, ..Opinion::of(&seen.findings) },
        Ok(false) => Opinion::plain(Status::NotFound),
        // What is cut short or broken still had a beginning.
        Err(failure) if seen.findings.is_empty() => Opinion::because(Status::Error, failure.to_string()),
        Err(_) => Opinion { notes: seen.notes, ..Opinion::of(&seen.findings) },
    }
}

/// Whether it was something that this engine knows.
fn look(head: &[u8], seen: &mut Seen) -> Result<bool, Failure> {
    let broken = |e: object::Error| Failure::Broken(format!("its structure is broken: {e}"));
    match head {
        [0x7f, b'E', b'L', b'F', ..] => {
            elf::packer(head, seen);
            match object::File::parse(head).map_err(broken)? {
                object::File::Elf32(file) => elf::look(&file, seen),
                object::File::Elf64(file) => elf::look(&file, seen),
                _ => return Ok(false),
            }
        }
        [b'M', b'Z', ..] => match object::File::parse(head).map_err(broken)? {
            object::File::Pe32(file) => pe::look(&file, seen),
            object::File::Pe64(file) => pe::look(&file, seen),
            _ => return Ok(false),
        },
        [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..] | [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..] => {
            let file = object::File::parse(head).map_err(broken)?;
            macho::look(&file, seen);
            if file.entry() == 0 {
                seen.note("no entry point: a library or an object");
            }
        }
        _ if script::is_text(head) => return Ok(script::look(head, seen)),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Code so dense that it is no code as a compiler writes it.
fn dense(bytes: &[u8]) -> Option<f64> {
    let bits = entropy(bytes);
    (bytes.len() >= ENOUGH && bits > DENSE).then_some(bits)
}

/// Shannon's, in bits a byte.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0u64; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let all = bytes.len().max(1) as f64;
    counts.iter().filter(|c| **c > 0).map(|c| *c as f64 / all).map(|p| -p * p.log2()).sum()
}

#[cfg(test)]
mod tests;

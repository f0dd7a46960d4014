//! What the bytes themselves say: whether content belongs to the secret list, whatever its name was.
//!
//! Invariant: a mark is found wherever the stream is cut. It errs towards secret.

use super::{HIVE, LOGIN, MEMORY, PASSWORDS, PRIVATE_KEY};
use memchr::memmem::Finder;

/// No mark in a stream is longer.
const MARK: usize = 128;
/// Nor does a magic need more bytes than these.
const MAGIC: usize = 112;
const PUTTY: &str = "PuTTY-User-Key-File-";

/// Looks at bytes as they stream by: private keys, lines of a shadow file, cores and hives.
pub struct SecretSniffer {
    found: Option<&'static str>,
    /// The end of what went by, where a mark may have begun.
    carry: Vec<u8>,
    started: bool,
    begin: Finder<'static>,
    putty: Finder<'static>,
    hash: Finder<'static>,
    seed: Finder<'static>,
}

impl Default for SecretSniffer {
    fn default() -> Self {
        SecretSniffer {
            found: None,
            carry: Vec::new(),
            started: false,
            begin: Finder::new("-----BEGIN "),
            putty: Finder::new(PUTTY),
            hash: Finder::new(":$"),
            seed: Finder::new("\"secret\":\""),
        }
    }
}

impl SecretSniffer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream; they may be cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.found.is_some() || bytes.is_empty() {
            return;
        }
        // Across the border first: the carried end and as much of the new bytes as a mark needs.
        let mut border = std::mem::take(&mut self.carry);
        border.extend(bytes.iter().take(MARK));
        self.look(&border);
        if self.found.is_none() && bytes.len() > MARK {
            self.look(bytes);
        }
        self.carry = if bytes.len() >= MARK { tail(bytes) } else { tail(&border) };
    }

    /// Why the bytes so far are on the secret list.
    pub fn verdict(&self) -> Option<&'static str> {
        self.found
    }

    fn look(&mut self, bytes: &[u8]) {
        if !self.started {
            self.found = by_magic(bytes);
            // A magic is complete once this many bytes are there.
            self.started = bytes.len() >= MAGIC;
        }
        if self.found.is_none() {
            self.found =
                self.private_key(bytes).or_else(|| self.shadow_line(bytes)).or_else(|| self.authenticator(bytes));
        }
    }

    /// A header with what follows it in a key: programs that read keys hold the header alone.
    fn private_key(&self, bytes: &[u8]) -> Option<&'static str> {
        let pem = |at: usize| {
            let rest = bytes.get(at..)?;
            let label = Finder::new("PRIVATE KEY").find(rest.get(..rest.len().min(64))?)?;
            let end = label + Finder::new("-----").find(rest.get(label..)?.get(..32.min(rest.len() - label))?)?;
            // A line's end, as JSON writes it too, and the first of the body.
            let body = rest.get(end + 5..)?;
            let ends = body.iter().take_while(|b| matches!(b, b'\r' | b'\n' | b'\\')).count();
            let body = body.get(ends..)?.get(..4)?;
            Some(ends > 0 && body.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')))
        };
        let putty = |at: usize| match bytes.get(at + PUTTY.len()..)? {
            [version, b':', b' ', kind, ..] => Some(version.is_ascii_digit() && kind.is_ascii_lowercase()),
            _ => None,
        };
        let found = self.begin.find_iter(bytes).any(|at| pem(at) == Some(true))
            || self.putty.find_iter(bytes).any(|at| putty(at) == Some(true));
        found.then_some(PRIVATE_KEY)
    }

    /// The seed of one-time codes, in base32 in JSON: this program's enrolments too, however they came to be seen.
    fn authenticator(&self, bytes: &[u8]) -> Option<&'static str> {
        let is_seed = |at: usize| {
            let rest = bytes.get(at + self.seed.needle().len()..)?.get(..16)?;
            Some(rest.iter().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7')))
        };
        self.seed.find_iter(bytes).any(|at| is_seed(at) == Some(true)).then_some(LOGIN)
    }

    /// `name:$id$…`, as `man 5 crypt` has it, from the start of a line or of what is in sight.
    fn shadow_line(&self, bytes: &[u8]) -> Option<&'static str> {
        let is_hash = |at: usize| {
            let rest = bytes.get(at + 2..)?;
            let end = rest.iter().take(8).position(|b| *b == b'$')?;
            let known =
                matches!(rest.get(..end)?, b"1" | b"2a" | b"2b" | b"2y" | b"5" | b"6" | b"7" | b"y" | b"gy" | b"sm3");
            let salt = rest.get(end + 1..)?.iter().take(4).filter(|b| b.is_ascii_alphanumeric() || b"./=$".contains(b));
            let named = at.checked_sub(1).and_then(|i| bytes.get(i)).is_some_and(|b| is_name_byte(*b));
            Some(known && named && salt.count() == 4)
        };
        self.hash.find_iter(bytes).any(|at| is_hash(at) == Some(true)).then_some(PASSWORDS)
    }
}

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'$' | b'!')
}

fn tail(bytes: &[u8]) -> Vec<u8> {
    bytes.get(bytes.len().saturating_sub(MARK)..).unwrap_or(bytes).to_vec()
}

/// By the first bytes: ELF cores, minidumps, and hives that name themselves.
fn by_magic(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\x7fELF") {
        let core = if bytes.get(5) == Some(&2) { [0, 4] } else { [4, 0] };
        return (bytes.get(16..18) == Some(&core[..])).then_some(MEMORY);
    }
    if bytes.starts_with(b"MDMP") || bytes.starts_with(b"PAGEDU64") || bytes.starts_with(b"HIBR") {
        return Some(MEMORY);
    }
    // The hive's file name is at 48, 64 bytes of UTF-16.
    let name = bytes.strip_prefix(b"regf")?.get(44..108)?;
    let name: Vec<u8> = name.iter().step_by(2).map(u8::to_ascii_lowercase).filter(|b| *b != 0).collect();
    [&b"\\sam"[..], b"\\security", b"\\system"].iter().any(|hive| name.ends_with(hive)).then_some(HIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sniff(pieces: &[&[u8]]) -> Option<&'static str> {
        let mut sniffer = SecretSniffer::new();
        pieces.iter().for_each(|p| sniffer.feed(p));
        sniffer.verdict()
    }

    fn marked() -> [(Vec<u8>, &'static str); 8] {
        let pad = vec![b'a'; 500];
        let mut core = b"\x7fELF\x02\x01".to_vec();
        core.resize(16, 0);
        core.extend([4, 0]);
        [
            ([&pad[..], b"\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz"].concat(), PRIVATE_KEY),
            ([&pad[..], b"-----BEGIN PGP PRIVATE KEY BLOCK-----\r\n\r\n", &pad].concat(), PRIVATE_KEY),
            ([&pad[..], br#""private_key": "-----BEGIN PRIVATE KEY-----\nMIIEv"#, &pad].concat(), PRIVATE_KEY),
            ([&pad[..], b"PuTTY-User-Key-File-3: ssh-ed25519\n"].concat(), PRIVATE_KEY),
            ([&pad[..], b"\nroot:$6$saltsalt$hash:19000:0:99999:7:::\n", &pad].concat(), PASSWORDS),
            (
                [&pad[..], br#"{"name":"alice","secret":"ORH63XVEBL"#.as_slice(), b"4W45WR7LG5NOIQT3UONXZO"].concat(),
                LOGIN,
            ),
            (b"root:$y$j9T$salt$hash:1::::::".to_vec(), PASSWORDS),
            ([&core[..], &pad].concat(), MEMORY),
        ]
    }

    #[test]
    fn marks_are_found_across_every_border() {
        for (bytes, why) in marked() {
            for cut in 0..bytes.len() {
                let (a, b) = bytes.split_at(cut);
                assert_eq!(sniff(&[a, b]), Some(why), "{why} cut at {cut}");
            }
            let singles: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(sniff(&singles), Some(why), "{why} byte by byte");
        }
    }

    #[test]
    fn plain_content_is_no_secret() {
        for text in [
            "-----BEGIN CERTIFICATE-----\nMIIE",
            "-----BEGIN RSA PRIVATE KEY-----\0-----END",
            "PuTTY-User-Key-File-%d",
            "price:$6 only",
            "a:$1$",
            "x=\"$HOME\":$PATH",
            "\x7fELF",
        ] {
            assert_eq!(sniff(&[text.as_bytes()]), None, "{text}");
        }
    }
}

//! Investigation packages: a zip of a few files; and any other zip.

use crate::control::ResultOrder;
use crate::devices::Device;
use crate::gzip::Source;
use crate::results::Stored;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use std::io::Write;

pub fn package(device: &Device, order: &ResultOrder) -> Stored {
    let name = device.name();
    let report = format!("Forensics collection of {name}\nSimulated.\n");
    let files = [
        ("Forensics Collection Summary.txt", report),
        ("Autoruns/HKLM_Run.txt", "SecurityHealth  %windir%\\system32\\SecurityHealthSystray.exe\n".to_owned()),
        ("Network Connections/Arp.txt", format!("Interface: {}\n", device.field("lastIpAddress"))),
        ("Processes/Processes.csv", "ProcessName,Pid\nSystem,4\n".to_owned()),
    ];
    let bytes = zip(files.iter().map(|(name, text)| (*name, text.as_bytes())));
    let source = Source::Bytes(bytes.into());
    let source = if order.wrong_bytes { source.spoiled().unwrap_or(source) } else { source };
    Stored { lost: order.lost, expired: order.expired, ..Stored::plain(source) }
}

/// APPNOTE.TXT 4.3: local headers with their files, the central directory, its end.
pub fn zip<'a>(files: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let (mut out, mut central, mut count) = (Vec::new(), Vec::new(), 0_u16);
    for (name, content) in files {
        let mut crc = Crc::new();
        crc.update(content);
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::default());
        // Writing to memory does not fail.
        let _ = deflated.write_all(content);
        let deflated = deflated.finish().unwrap_or_default();
        let is_smaller = deflated.len() < content.len();
        let (method, packed) = if is_smaller { (8, deflated.as_slice()) } else { (0, content) };
        let at = (out.len() as u32).to_le_bytes();
        let mut common = Vec::new();
        for word in [20_u16, 0x0800, method, 0, 0x5b78] {
            common.extend(word.to_le_bytes());
        }
        for word in [crc.sum(), packed.len() as u32, content.len() as u32] {
            common.extend(word.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());
        common.extend(0_u16.to_le_bytes());
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(packed);
        central.extend(b"PK\x01\x02\x14\x00");
        central.extend(&common);
        // No comment, first disk, plain attributes.
        central.extend([0; 10]);
        central.extend(at);
        central.extend(name.as_bytes());
        count += 1;
    }
    let (start, size) = (out.len() as u32, central.len() as u32);
    out.extend(central);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0; 2]);
    out
}

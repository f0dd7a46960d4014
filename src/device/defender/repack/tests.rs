use super::*;
use crate::private::scratch::Scratch;
use crate::secret::MARK;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use std::io::Write;

/// A member as an archive may have it.
struct Written<'w> {
    name: &'w [u8],
    bytes: Vec<u8>,
    /// What the directory says of it, where that is not so.
    size: Option<u32>,
    crc: Option<u32>,
    flags: u16,
    method: u16,
    mode: u32,
}

fn plain<'w>(name: &'w str, bytes: &[u8]) -> Written<'w> {
    Written { name: name.as_bytes(), bytes: bytes.to_vec(), size: None, crc: None, flags: 0, method: 8, mode: 0 }
}

fn zip(members: &[Written<'_>]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for m in members {
        let mut crc = flate2::Crc::new();
        crc.update(&m.bytes);
        let packed = if m.method == 8 {
            let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
            deflate.write_all(&m.bytes).unwrap();
            deflate.finish().unwrap()
        } else {
            m.bytes.clone()
        };
        let at = u32::try_from(out.len()).unwrap();
        let mut common = Vec::new();
        for word in [20, m.flags, m.method, 0, 0x5b78] {
            common.extend(word.to_le_bytes());
        }
        let size = m.size.unwrap_or(u32::try_from(m.bytes.len()).unwrap());
        for word in [m.crc.unwrap_or(crc.sum()), u32::try_from(packed.len()).unwrap(), size] {
            common.extend(word.to_le_bytes());
        }
        common.extend(u16::try_from(m.name.len()).unwrap().to_le_bytes());
        common.extend(0_u16.to_le_bytes());
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(m.name);
        out.extend(packed);
        central.extend(b"PK\x01\x02\x14\x03");
        central.extend(&common);
        central.extend([0; 6]);
        central.extend((m.mode << 16).to_le_bytes());
        central.extend(at.to_le_bytes());
        central.extend(m.name);
    }
    let (start, size) = (out.len(), central.len());
    out.extend(central);
    out.extend(b"PK\x05\x06\0\0\0\0");
    let count = u16::try_from(members.len()).unwrap().to_le_bytes();
    out.extend(count);
    out.extend(count);
    out.extend(u32::try_from(size).unwrap().to_le_bytes());
    out.extend(u32::try_from(start).unwrap().to_le_bytes());
    out.extend([0; 2]);
    out
}

/// A tar of entries: name, kind, size that it says, bytes. A name that leads elsewhere is written as it is.
fn tar(entries: &[(&[u8], EntryType, u64, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, kind, size, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_entry_type(*kind);
        header.set_size(*size);
        header.set_mode(0o600);
        header.set_mtime(1_700_000_000);
        header.set_cksum();
        out.extend(header.as_bytes());
        out.extend(*bytes);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

struct Packed {
    members: Vec<(String, Vec<u8>)>,
    marks: usize,
    facts: PackageFacts,
    manifest: serde_json::Value,
    warnings: Vec<String>,
}

impl Packed {
    fn names(&self) -> Vec<&str> {
        self.members.iter().map(|(name, _)| name.as_str()).filter(|n| *n != "manifest.json").collect()
    }

    fn bytes(&self, name: &str) -> &[u8] {
        self.members.iter().find(|(n, _)| n == name).map(|(_, bytes)| bytes.as_slice()).unwrap()
    }

    fn left_out(&self) -> String {
        self.manifest["left_out"].to_string()
    }
}

fn packed_within(layout: Layout, archive: &[u8], most: u64) -> Packed {
    let (home, job) = (Scratch::new(), Job::default());
    let mut file = private_file(&home);
    file.write_all(archive).unwrap();
    file.rewind().unwrap();
    let mut part =
        Part { artifact: "script", layout, file, size: archive.len() as u64, sha256: Sha256::of(archive), left_out: 0 };
    let mut to = Spool::new(&home).unwrap();
    let about = About {
        tool: "t",
        tool_version: "0",
        profile: "triage",
        host: "h".into(),
        began: Timestamp::now(),
        ended: Timestamp::now(),
        warnings: &[],
        made_of: &[],
    };
    let facts = {
        let archive = Archive::new(&mut to, &home, &job).unwrap();
        let mut pack = Pack { archive, left_out: LeftOut::default(), most, job: &job };
        pack.part(&mut part).unwrap();
        pack.archive.finish(&about, &pack.left_out).unwrap()
    };
    let unpacked = zstd::decode_all(to.read().unwrap().1).unwrap();
    let marks = memchr::memmem::find_iter(&unpacked, MARK).count();
    let mut members = Vec::new();
    for entry in tar::Archive::new(unpacked.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        members.push((String::from_utf8_lossy(&entry.path_bytes()).into_owned(), bytes));
    }
    let manifest = serde_json::from_slice(&members.last().unwrap().1).unwrap();
    Packed { members, marks, facts, manifest, warnings: job.take_warnings() }
}

fn private_file(home: &Path) -> File {
    crate::private::nameless(&home.join("snapshots")).unwrap()
}

fn packed(layout: Layout, archive: &[u8]) -> Packed {
    packed_within(layout, archive, UNPACKED)
}

#[test]
fn members_are_there_under_the_archives_name() {
    let big = b"a line of a log\n".repeat(100_000);
    let archive = zip(&[
        plain(r"events\a.csv", &big),
        Written { method: 0, ..plain("stored.txt", b"stored") },
        plain("folder/", b""),
        plain("./x//y", b"y"),
    ]);
    let package = packed(Layout::Zip, &archive);
    assert_eq!(package.names(), ["script/events/a.csv", "script/stored.txt", "script/x/y"]);
    assert!(package.bytes("script/events/a.csv") == big && package.bytes("script/stored.txt") == b"stored");
    assert_eq!((package.facts.left_out, package.facts.members, package.warnings.len()), (0, 4, 0));
}

#[test]
fn no_name_leads_out_of_the_package() {
    let bad = ["../a", "a/../../b", "/etc/passwd", r"..\c", r"C:\Windows\d", r"\\host\share\e", "nul\0", "..", ""];
    let archive = zip(&bad.iter().map(|name| plain(name, b"x")).chain([plain("good", b"good")]).collect::<Vec<_>>());
    let package = packed(Layout::Zip, &archive);
    // With what was left out goes the archive itself.
    assert_eq!(package.names(), ["script/good", "script.zip"]);
    assert_eq!(package.facts.left_out, bad.len() as u64);
    assert!(package.bytes("script.zip") == archive);

    let regular = |name: &'static str| (name.as_bytes(), EntryType::Regular, 1, &b"x"[..]);
    let entries: Vec<_> =
        ["../a", "live-response-package/../b", "/etc/c", "live-response-package/files/../../d", "good"]
            .map(regular)
            .to_vec();
    let package = packed(Layout::TarGz, &gzip(&tar(&entries)));
    assert_eq!(package.names(), ["script/good", "script.tar.gz"]);
    assert_eq!(package.facts.left_out, 4);
}

#[test]
fn copies_of_files_lie_below_host_with_their_paths_and_times() {
    let long = [b"live-response-package/files/".to_vec(), b"d/".repeat(100), b"x\0".to_vec()].concat();
    let tar = tar(&[
        (b"live-response-package/", EntryType::Directory, 0, b""),
        (b"live-response-package/files/etc/shadow", EntryType::Regular, 1, b"x"),
        (b"././@LongLink", EntryType::GNULongName, long.len() as u64, &long),
        (b"live-response-package/files/d/d", EntryType::Regular, 1, b"y"),
        (b"live-response-package/link", EntryType::Symlink, 0, b""),
        (b"live-response-package/about.txt", EntryType::Regular, 2, b"ok"),
    ]);
    let package = packed(Layout::TarGz, &gzip(&tar));
    let placed = format!("host/{}x", "d/".repeat(100));
    assert_eq!(
        package.names(),
        ["PaxHeaders/mark", "host/etc/shadow", &placed, "script/about.txt", "script.tar.gz"][1..]
    );
    let first = &package.manifest["members"][0];
    assert_eq!((&first["source"], &first["marked"]), (&"/etc/shadow".into(), &"password hashes".into()));
    assert!(first["modified"].as_str().unwrap().starts_with("2023-11-14T"), "{first}");
    assert!(package.left_out().contains(NO_FILE), "{}", package.left_out());
}

#[test]
fn what_an_archive_cannot_hold_is_not_made_up() {
    let archive = zip(&[
        Written { size: Some(u32::MAX - 1), ..plain("bomb", b"x") },
        Written { size: Some(5), method: 0, ..plain("stored", b"x") },
        plain("good", b"good"),
    ]);
    let package = packed(Layout::Zip, &archive);
    assert_eq!(package.names(), ["script/good", "script.zip"]);
    assert!(package.left_out().contains(IMPOSSIBLE), "{}", package.left_out());
    let entries = [(&b"big"[..], EntryType::Regular, 7 << 30, &b"x"[..])];
    let package = packed(Layout::TarGz, &gzip(&tar(&entries)));
    assert_eq!(package.names(), ["script.tar.gz"]);
    let name = [(&b"././@LongLink"[..], EntryType::GNULongName, 1 << 40, &b"x"[..])];
    let package = packed(Layout::TarGz, &gzip(&tar(&name)));
    assert!(package.warnings[0].contains("a name of 1099511627776 bytes"), "{:?}", package.warnings);
}

#[test]
fn a_bomb_is_given_up_at_the_bound() {
    let zeros = vec![0; 3 << 20];
    let archive = zip(&[plain("a", &zeros), plain("b", &zeros), plain("c", b"fits")]);
    let package = packed_within(Layout::Zip, &archive, 4 << 20);
    assert_eq!(package.names(), ["script/a", "script/c", "script.zip"]);
    assert!(package.left_out().contains(FULL), "{}", package.left_out());
    let tar = tar(&[(b"a", EntryType::Regular, 3 << 20, &zeros), (b"b", EntryType::Regular, 3 << 20, &zeros)]);
    let package = packed_within(Layout::TarGz, &gzip(&tar), 4 << 20);
    assert_eq!(package.names(), ["script/a", "script.tar.gz"]);
}

#[test]
fn what_is_damaged_is_said_and_kept_as_it_came() {
    let whole = zip(&[plain("a", &b"some text, again and again. ".repeat(100)), plain("b", b"b")]);
    let cases: [(Vec<u8>, &str); 5] = [
        (b"no zip at all, but long enough for an end".to_vec(), "no end of a zip archive"),
        (b"PK".to_vec(), "too short"),
        (whole[..whole.len() - 30].to_vec(), "no end of a zip archive"),
        ([b"PK\x05\x06".to_vec(), vec![0xff; 18]].concat(), "no end of a zip archive"),
        (
            [b"PK\x05\x06\0\0\0\0\x09\0\x09\0\0\0\0\0\0\0\0\0".to_vec(), vec![0; 2]].concat(),
            "cannot be read to its end",
        ),
    ];
    for (bytes, why) in cases {
        let package = packed(Layout::Zip, &bytes);
        assert_eq!(package.names(), ["script.zip"], "{why}");
        assert!(package.warnings[0].contains(why), "{why}: {:?}", package.warnings);
    }
    for archive in
        [zip(&[Written { crc: Some(7), ..plain("a", b"x") }]), zip(&[Written { size: Some(9), ..plain("a", b"x") }])]
    {
        let package = packed(Layout::Zip, &archive);
        assert_eq!(package.names(), ["script/a", "script.zip"]);
        assert!(package.manifest["members"][0]["note"].is_string(), "{}", package.manifest);
    }
    let whole =
        gzip(&tar(&[(b"a", EntryType::Regular, 100_000, &[b'x'; 100_000]), (b"b", EntryType::Regular, 1, b"b")]));
    let package = packed(Layout::TarGz, &whole[..whole.len() - 20]);
    assert_eq!(package.names().last(), Some(&"script.tar.gz"));
}

#[test]
fn what_cannot_be_looked_into_is_left_out_or_secret() {
    let archive = zip(&[
        Written { flags: 1, ..plain("encrypted", b"x") },
        Written { method: 14, ..plain("lzma", b"x") },
        Written { mode: 0o120_777, ..plain("link", b"/etc/shadow") },
        plain("inner.cab", b"MSCF\0\0\0\0 anything"),
        plain("config/SAM", b"regf"),
    ]);
    let package = packed(Layout::Zip, &archive);
    assert_eq!(package.facts.left_out, 3);
    // The cabinet, the hive, and the archive itself.
    assert_eq!((package.facts.secrets, package.marks), (3, 3));
    assert!(package.facts.secret.as_ref().unwrap().contains(secret::ARCHIVE), "{:?}", package.facts.secret);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_a_device_sends_there_is_a_package(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600), at in 0usize..4000, byte: u8) {
        packed_within(Layout::Zip, &bytes, 1 << 20);
        packed_within(Layout::TarGz, &bytes, 1 << 20);
        let mut archive = zip(&[plain("a", b"some text"), plain("b", &[0; 3000])]);
        let length = archive.len();
        archive[at % length] = byte;
        packed_within(Layout::Zip, &archive, 1 << 20);
    }
}

//! What a program's file says of itself: its version, and whether it carries a signature.
//!
//! Invariant: only what is needed is read of a file, whatever it says of its sizes. A signature is told, not verified.

use object::read::pe::{ImageNtHeaders, PeFile, ResourceDirectory, ResourceDirectoryTable, ResourceNameOrId};
use object::{FileKind, LittleEndian as LE, ReadCache, ReadRef, pe};
use std::fs::File;

/// Drivers have some megabytes; graphics cards' a hundred.
const SIZE_MAX: u64 = 256 << 20;
/// The tables of resources stand before what they name.
const TABLES_MAX: u32 = 1 << 20;
/// A version resource has a kilobyte or two.
const VERSION_MAX: u32 = 64 << 10;
/// `RT_VERSION`.
const VERSION: u16 = 16;
/// `VS_FIXEDFILEINFO` stands behind three numbers and the name `VS_VERSION_INFO`, on the next multiple of four bytes.
const FIXED: usize = 40;
const FIXED_MARK: u32 = 0xFEEF_04BD;
/// `WIN_CERT_TYPE_PKCS_SIGNED_DATA`.
const SIGNED_DATA: u16 = 2;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// `dwFileVersion`: `10.0.19041.1`.
    pub version: Option<String>,
    /// Whether an Authenticode signature stands in the file.
    pub signed: bool,
}

impl Image {
    /// `None` for what is no PE, or more than 256 MiB.
    pub fn read(file: &File, size: u64) -> Option<Image> {
        if size > SIZE_MAX {
            return None;
        }
        let bytes = ReadCache::new(file);
        match FileKind::parse(&bytes).ok()? {
            FileKind::Pe32 => Self::of::<pe::ImageNtHeaders32, _>(&bytes),
            FileKind::Pe64 => Self::of::<pe::ImageNtHeaders64, _>(&bytes),
            _ => None,
        }
    }

    fn of<'d, Pe: ImageNtHeaders, R: ReadRef<'d>>(bytes: R) -> Option<Image> {
        let file = PeFile::<Pe, R>::parse(bytes).ok()?;
        Some(Image { version: version(&file), signed: is_signed(&file) })
    }
}

/// The directory's address is an offset in the file, of a `WIN_CERTIFICATE`: its length, its revision, its type.
fn is_signed<'d, Pe: ImageNtHeaders, R: ReadRef<'d>>(file: &PeFile<'d, Pe, R>) -> bool {
    let head = || {
        let (at, size) = file.data_directory(pe::IMAGE_DIRECTORY_ENTRY_SECURITY)?.address_range();
        let end = u64::from(at).checked_add(size.into())?;
        let inside = at > 0 && size > 8 && end <= file.data().len().ok()?;
        inside.then(|| file.data().read_bytes_at(at.into(), 8).ok())?
    };
    head().is_some_and(|head| head.ends_with(&SIGNED_DATA.to_le_bytes()))
}

/// The first version resource, in whatever language it is.
fn version<'d, Pe: ImageNtHeaders, R: ReadRef<'d>>(file: &PeFile<'d, Pe, R>) -> Option<String> {
    let sections = file.section_table();
    let (at, size) = file.data_directory(pe::IMAGE_DIRECTORY_ENTRY_RESOURCE)?.address_range();
    let (offset, room) = sections.pe_file_range_at(at)?;
    let within = |offset: u32, size: u32| {
        let left = file.data().len().ok()?.checked_sub(offset.into())?;
        file.data().read_bytes_at(offset.into(), u64::from(size).min(left)).ok()
    };
    let resources = ResourceDirectory::new(within(offset, room.min(size).min(TABLES_MAX))?);
    let kinds = resources.root().ok()?;
    let kind = kinds.entries.iter().find(|e| matches!(e.name_or_id(), ResourceNameOrId::Id(VERSION)))?;
    let names = kind.data(resources).ok()?.table()?;
    let languages = first(&names)?.data(resources).ok()?.table()?;
    let data = first(&languages)?.data(resources).ok()?.data()?;
    let (offset, room) = sections.pe_file_range_at(data.offset_to_data.get(LE))?;
    fixed_version(within(offset, room.min(data.size.get(LE)).min(VERSION_MAX))?)
}

fn first<'d>(table: &ResourceDirectoryTable<'d>) -> Option<&'d pe::ImageResourceDirectoryEntry> {
    table.entries.first()
}

fn fixed_version(info: &[u8]) -> Option<String> {
    let number = |at: usize| {
        let bytes = info.get(FIXED + at..FIXED + at + 4)?;
        bytes.try_into().ok().map(u32::from_le_bytes)
    };
    let (high, low) = (number(8)?, number(12)?);
    let said = number(0)? == FIXED_MARK && (high, low) != (0, 0);
    said.then(|| format!("{}.{}.{}.{}", high >> 16, high & 0xffff, low >> 16, low & 0xffff))
}

#[cfg(test)]
mod tests {
    use super::super::WindowsRoot;
    use super::super::services::drivers;
    use super::super::tests::Volume;
    use super::*;
    use crate::device::local::registry::build::key;
    use crate::model::{DevicePath, Driver, Job};

    const HEADERS: usize = 0x58;
    const RESOURCES: usize = 0x200;
    const CERTIFICATE: usize = 0x400;

    fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
        bytes[at..at + value.len()].copy_from_slice(value);
    }

    fn put32(bytes: &mut [u8], at: usize, value: u32) {
        put(bytes, at, &value.to_le_bytes());
    }

    /// A 64-bit driver with a version resource, and a certificate where it is signed.
    fn driver(signed: bool) -> Vec<u8> {
        let mut bytes = vec![0; CERTIFICATE];
        put(&mut bytes, 0, b"MZ");
        put32(&mut bytes, 0x3c, 0x40);
        put(&mut bytes, 0x40, b"PE\0\0");
        put(&mut bytes, 0x44, &[0x64, 0x86, 1, 0]);
        put(&mut bytes, 0x54, &[240, 0, 0x22, 0x20]);
        put(&mut bytes, HEADERS, &[0x0b, 0x02]);
        put32(&mut bytes, HEADERS + 32, 0x1000);
        put32(&mut bytes, HEADERS + 36, 0x200);
        put32(&mut bytes, HEADERS + 108, 16);
        put32(&mut bytes, HEADERS + 128, 0x1000);
        put32(&mut bytes, HEADERS + 132, 0x200);
        put(&mut bytes, HEADERS + 240, b".rsrc");
        for (at, value) in [(8, 0x200), (12, 0x1000), (16, 0x200), (20, RESOURCES as u32)] {
            put32(&mut bytes, HEADERS + 240 + at, value);
        }
        // Three tables of one entry each: the kind, the name, the language.
        for (table, id, next) in [(0, 16, 0x8000_0018), (24, 1, 0x8000_0030), (48, 0x409, 72)] {
            put(&mut bytes, RESOURCES + table + 14, &[1, 0]);
            put32(&mut bytes, RESOURCES + table + 16, id);
            put32(&mut bytes, RESOURCES + table + 20, next);
        }
        put32(&mut bytes, RESOURCES + 72, 0x1000 + 88);
        put32(&mut bytes, RESOURCES + 76, 92);
        let info = RESOURCES + 88 + FIXED;
        for (at, value) in [(0, FIXED_MARK), (8, 10 << 16), (12, 19041 << 16 | 1)] {
            put32(&mut bytes, info + at, value);
        }
        if signed {
            put32(&mut bytes, HEADERS + 144, CERTIFICATE as u32);
            put32(&mut bytes, HEADERS + 148, 16);
            bytes.extend([16, 0, 0, 0, 0, 2, 2, 0, 0x30, 0, 0, 0, 0, 0, 0, 0]);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Image> {
        let volume = Volume::empty();
        volume.file("x.sys", bytes);
        Image::read(&File::open(volume.path().join("x.sys")).unwrap(), bytes.len() as u64)
    }

    fn image(signed: bool) -> Option<Image> {
        Some(Image { version: Some("10.0.19041.1".into()), signed })
    }

    #[test]
    fn version_and_signature_are_the_file_s_own() {
        assert_eq!((read(&driver(true)), read(&driver(false))), (image(true), image(false)));
        assert_eq!(read(b"\x7fELF"), None);
        assert_eq!(Image::read(&File::open("/dev/null").unwrap(), SIZE_MAX + 1), None);
    }

    #[test]
    fn a_signature_beyond_the_end_is_none() {
        let mut cut = driver(true);
        cut.truncate(CERTIFICATE + 8);
        assert_eq!(read(&cut), image(false));
    }

    #[test]
    fn any_cut_and_any_flipped_byte_is_read_or_not() {
        let whole = driver(true);
        for end in (0..whole.len()).step_by(7) {
            let _ = read(&whole[..end]);
        }
        for at in (0..whole.len()).step_by(3) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            let _ = read(&bytes);
        }
    }

    #[test]
    fn drivers_of_a_volume_have_what_their_files_say() {
        let volume = Volume::new();
        let mut system = key("ROOT");
        system.put_dword("Select", "Current", 1);
        for (name, image) in [("good", r"\SystemRoot\System32\drivers\good.sys"), ("bare", ""), ("gone", "")] {
            let path = format!(r"ControlSet001\Services\{name}");
            system.put_dword(&path, "Type", 1);
            if !image.is_empty() {
                system.put(&path, "ImagePath", image);
            }
        }
        volume.hive("WINDOWS/system32/Config/System", &system);
        volume.file("WINDOWS/system32/drivers/good.sys", driver(true));
        volume.file("WINDOWS/system32/drivers/BARE.sys", driver(false));
        let job = Job::default();
        let view = volume.view();
        let rows = drivers(&WindowsRoot::at(&view, &DevicePath::new("/")).unwrap(), &job).unwrap();
        let said = |name: &str| -> (Option<String>, Option<bool>) {
            let row: &Driver = rows.iter().find(|row| row.name.raw() == name).unwrap();
            (row.version.as_ref().map(|v| v.raw().to_owned()), row.signed)
        };
        assert_eq!(said("good"), (Some("10.0.19041.1".into()), Some(true)));
        assert_eq!(said("bare"), (Some("10.0.19041.1".into()), None));
        assert_eq!(said("gone"), (None, None));
        assert!(job.take_warnings().iter().any(|w| w.starts_with("1 drivers carry no signature")));
    }
}

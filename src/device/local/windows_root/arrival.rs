//! What a Windows volume is: its system, name and time zone, as SOFTWARE and SYSTEM have them.

use super::hives::HiveFile;
use super::machine::{Machine, key, number, text};
use super::{Called, WindowsRoot};
use crate::device::local::registry::{Hive, Key};
use crate::error::Result;
use crate::model::Job;
use crate::shape::Untrusted;

const VERSION: &str = r"Microsoft\Windows NT\CurrentVersion";
/// The first build of Windows 11, whose ProductName still says 10.
const ELEVEN: u32 = 22_000;

/// What `connect` tells of it; absent is what its hives do not say.
pub struct About {
    pub os: Option<Untrusted>,
    pub time_zone: Option<Untrusted>,
    pub called: Called,
}

/// A hive that is missing or broken is a warning.
pub fn about(root: &WindowsRoot<'_>, job: &Job) -> Result<About> {
    let software = Machine::software(root, job)?;
    let version = match &software {
        Some(file) => key(file.hive(), file.hive().root(), VERSION, job)?,
        None => None,
    };
    let version = software.as_ref().map(HiveFile::hive).zip(version);
    let system = Machine::system(root, job)?;
    let of_set = |path: &str, names: &[&str]| -> Result<Option<Untrusted>> {
        let Some(control) = &system else { return Ok(None) };
        let hive = control.file.hive();
        let key = key(hive, hive.root(), &format!("{}\\{path}", control.set), job)?;
        let found = key.and_then(|key| names.iter().find_map(|name| text(hive, &key, name)));
        Ok(found.map(|text| Untrusted::new(of_one_string(&text))))
    };
    let named = of_set(r"Control\ComputerName\ComputerName", &["ComputerName"])?;
    let about = About {
        os: version.as_ref().and_then(|(hive, key)| os(hive, key)).map(Untrusted::new),
        time_zone: of_set(r"Control\TimeZoneInformation", &["TimeZoneKeyName", "StandardName"])?,
        called: Called {
            host_name: match named {
                None => of_set(r"Services\Tcpip\Parameters", &["Hostname", "NV Hostname"])?,
                named => named,
            },
            letter: version.as_ref().and_then(|(hive, key)| letter(&text(hive, key, "SystemRoot")?)).unwrap_or('C'),
            system: root.system.clone(),
        },
    };
    Ok(about)
}

/// `Windows 10 Pro 22H2 (build 19045.3324)`.
fn os(hive: &Hive, version: &Key) -> Option<String> {
    let of = |name: &str| text(hive, version, name).map(|text| of_one_string(&text).to_owned());
    let build = of("CurrentBuildNumber").or_else(|| of("CurrentBuild"));
    let mut os = of("ProductName")?;
    let number_of = build.as_deref().and_then(|build| build.parse::<u32>().ok());
    if let Some(edition) = os.strip_prefix("Windows 10").filter(|_| number_of.is_some_and(|n| n >= ELEVEN)) {
        os = format!("Windows 11{edition}");
    }
    if let Some(release) = of("DisplayVersion").or_else(|| of("ReleaseId")).or_else(|| of("CSDVersion")) {
        os = format!("{os} {release}");
    }
    let Some(build) = build else { return Some(os) };
    Some(match number(hive, version, "UBR") {
        Some(revision) => format!("{os} (build {build}.{revision})"),
        None => format!("{os} (build {build})"),
    })
}

/// Windows leaves what a longer name was behind the closing NUL of a shorter one.
fn of_one_string(text: &str) -> &str {
    text.split('\0').next().unwrap_or(text).trim()
}

fn letter(system_root: &str) -> Option<char> {
    match system_root.as_bytes() {
        [letter, b':', ..] if letter.is_ascii_alphabetic() => Some(char::from(letter.to_ascii_uppercase())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Volume;
    use super::*;
    use crate::device::local::registry::build::{key as node, text16};
    use crate::model::DevicePath;

    fn about(volume: &Volume, job: &Job) -> About {
        super::about(&WindowsRoot::at(&volume.view(), &DevicePath::new("/")).unwrap(), job).unwrap()
    }

    fn raw(text: &Option<Untrusted>) -> Option<&str> {
        text.as_ref().map(Untrusted::raw)
    }

    #[test]
    fn the_system_is_told_from_its_hives() {
        let volume = Volume::empty();
        let mut software = node("ROOT");
        for (name, value) in [
            ("ProductName", "Windows 10 Pro"),
            ("CurrentBuild", "22631"),
            ("DisplayVersion", "23H2"),
            ("SystemRoot", r"D:\Windows"),
        ] {
            software.put(VERSION, name, value);
        }
        software.put_dword(VERSION, "UBR", 2861);
        let mut system = node("ROOT");
        system.put_dword("Select", "Current", 2);
        system.put(r"ControlSet001\Control\ComputerName\ComputerName", "ComputerName", "OLD");
        system.put(r"ControlSet002\Control\ComputerName\ComputerName", "ComputerName", "WKS-07");
        let zone = system.at(r"ControlSet002\Control\TimeZoneInformation");
        zone.values.push(("TimeZoneKeyName".into(), 1, text16("W. Europe Standard Time\0left over")));
        volume.hive("Windows/System32/config/SOFTWARE", &software).hive("Windows/System32/config/SYSTEM", &system);
        let job = Job::default();
        let about = about(&volume, &job);
        assert_eq!(raw(&about.os), Some("Windows 11 Pro 23H2 (build 22631.2861)"));
        assert_eq!(raw(&about.called.host_name), Some("WKS-07"));
        assert_eq!(raw(&about.time_zone), Some("W. Europe Standard Time"));
        assert_eq!((about.called.letter, about.called.system), ('D', DevicePath::new("/Windows")));
        assert_eq!(job.take_warnings(), Vec::<String>::new());
    }

    #[test]
    fn what_the_hives_do_not_say_is_absent_and_a_missing_hive_is_named() {
        let volume = Volume::empty();
        volume.file("WINNT/system32/config/software", "no hive");
        let job = Job::default();
        let about = about(&volume, &job);
        assert_eq!((raw(&about.os), raw(&about.called.host_name), raw(&about.time_zone)), (None, None, None));
        assert_eq!((about.called.letter, about.called.system), ('C', DevicePath::new("/WINNT")));
        let warnings = job.take_warnings().join("; ");
        assert!(warnings.contains("no hive SYSTEM") && warnings.contains("software"), "{warnings}");
    }
}

//! Files whose place alone starts them, as data, and what is looked for in them.

/// Where a file lies: below the folder `Windows`, the volume's root, or each user's folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Below {
    Windows,
    Root,
    User,
}

/// One file, or with `*` at its end every file of a folder.
pub struct Place {
    pub technique: &'static str,
    pub attack_id: &'static str,
    pub below: Below,
    pub path: &'static [&'static str],
    pub note: Option<&'static str>,
}

const fn place(technique: &'static str, attack_id: &'static str, below: Below, path: &'static [&'static str]) -> Place {
    Place { technique, attack_id, below, path, note: None }
}

const fn noted(note: &'static str, place: Place) -> Place {
    Place { note: Some(note), ..place }
}

use Below::{Root, User, Windows};

const PHANTOM: &str = "Windows loads a DLL of this name and ships none";
const SCRIPTS: &str = "names the scripts of the local group policy";

pub const PLACES: &[Place] = &[
    place("powershell-profiles", "T1546.013", Windows, &["System32", "WindowsPowerShell", "v1.0", "profile.ps1"]),
    place(
        "powershell-profiles",
        "T1546.013",
        Windows,
        &["System32", "WindowsPowerShell", "v1.0", "Microsoft.PowerShell_profile.ps1"],
    ),
    place("powershell-profiles", "T1546.013", Windows, &["SysWOW64", "WindowsPowerShell", "v1.0", "profile.ps1"]),
    place("powershell-profiles", "T1546.013", Root, &["Program Files", "PowerShell", "7", "profile.ps1"]),
    place("powershell-profiles", "T1546.013", User, &["Documents", "WindowsPowerShell", "profile.ps1"]),
    place(
        "powershell-profiles",
        "T1546.013",
        User,
        &["Documents", "WindowsPowerShell", "Microsoft.PowerShell_profile.ps1"],
    ),
    place("powershell-profiles", "T1546.013", User, &["Documents", "PowerShell", "profile.ps1"]),
    place("powershell-profiles", "T1546.013", User, &["Documents", "PowerShell", "Microsoft.PowerShell_profile.ps1"]),
    noted(
        SCRIPTS,
        place("logon-scripts", "T1037.001", Windows, &["System32", "GroupPolicy", "Machine", "Scripts", "scripts.ini"]),
    ),
    noted(
        SCRIPTS,
        place("logon-scripts", "T1037.001", Windows, &["System32", "GroupPolicy", "User", "Scripts", "scripts.ini"]),
    ),
    place("application-shims", "T1546.011", Windows, &["AppPatch", "Custom", "*"]),
    place("application-shims", "T1546.011", Windows, &["AppPatch", "Custom", "Custom64", "*"]),
    place("office", "T1137", User, &["AppData", "Roaming", "Microsoft", "Word", "STARTUP", "*"]),
    place("office", "T1137", User, &["AppData", "Roaming", "Microsoft", "Excel", "XLSTART", "*"]),
    place("office", "T1137", User, &["AppData", "Roaming", "Microsoft", "AddIns", "*"]),
    place("office", "T1137", User, &["AppData", "Roaming", "Microsoft", "Outlook", "VbaProject.OTM"]),
    noted(PHANTOM, place("phantom-dlls", "T1574.001", Windows, &["System32", "wlbsctrl.dll"])),
    noted(PHANTOM, place("phantom-dlls", "T1574.001", Windows, &["System32", "wbem", "wbemcomn.dll"])),
    noted(PHANTOM, place("phantom-dlls", "T1574.001", Windows, &["System32", "TSMSISrv.dll"])),
    noted(PHANTOM, place("phantom-dlls", "T1574.001", Windows, &["System32", "TSVIPSrv.dll"])),
    noted(PHANTOM, place("phantom-dlls", "T1574.001", Windows, &["System32", "WptsExtensions.dll"])),
    noted(PHANTOM, place("phantom-dlls", "T1574.001", Windows, &["System32", "fveapi.dll.local"])),
    place("boot-configuration", "T1542.003", Root, &["Boot", "BCD"]),
    place("boot-configuration", "T1542.003", Root, &["EFI", "Microsoft", "Boot", "BCD"]),
    noted(
        "downloads that wait; read it with a BITS tool",
        place("bits", "T1197", Root, &["ProgramData", "Microsoft", "Network", "Downloader", "qmgr.db"]),
    ),
    noted(
        "downloads that wait; read it with a BITS tool",
        place("bits", "T1197", Root, &["ProgramData", "Microsoft", "Network", "Downloader", "qmgr0.dat"]),
    ),
];

/// Programs that Windows starts before anybody has signed in.
pub const ACCESSIBILITY: &[&str] =
    &["sethc.exe", "utilman.exe", "osk.exe", "magnify.exe", "narrator.exe", "displayswitch.exe", "atbroker.exe"];
/// What somebody puts in their place.
pub const SHELLS: &[&[&str]] = &[
    &["System32", "cmd.exe"],
    &["System32", "taskmgr.exe"],
    &["System32", "WindowsPowerShell", "v1.0", "powershell.exe"],
    &["explorer.exe"],
];

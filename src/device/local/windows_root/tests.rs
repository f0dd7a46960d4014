//! A small Windows volume, its hives written by the tests, and what is asked of it.

use super::registry::read;
use crate::device::local::OwnThings;
use crate::device::local::linux::view::View;
use crate::device::local::registry::build::{Node, dirty, hive, key, new_log, text16};
use crate::error::{ErrorCode, Result};
use crate::model::{DevicePath, Job, RegistryKey, RegistryQuery, RegistryRow};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A volume in a directory of its own, removed at the end.
pub struct Volume(PathBuf);

pub const SID: &str = "S-1-5-21-1-2-3-1001";
const CONFIG: &str = "WINDOWS/system32/Config";

impl Volume {
    /// Windows with a user `ann` whose folder holds both hives; names in mixed case.
    pub fn new() -> Volume {
        let volume = Volume::empty();
        let mut system = key("ROOT");
        system.put_dword("Select", "Current", 2);
        system.put(r"ControlSet001\Control", "which", "first");
        system.put(r"ControlSet002\Control", "which", "second");
        let mut software = key("ROOT");
        let list = format!(r"Microsoft\Windows NT\CurrentVersion\ProfileList\{SID}");
        software.put(&list, "ProfileImagePath", r"C:\Users\Ann");
        software.put(r"Classes\.txt", "", "txtfile");
        software.put(r"Microsoft\Windows\CurrentVersion\Run", "Updater", r"C:\Program Files\u.exe");
        volume.hive(&format!("{CONFIG}/System"), &system);
        volume.hive(&format!("{CONFIG}/software"), &software);
        volume.hive("Users/Ann/ntuser.dat", key("ROOT").put("Console", "FontSize", "12"));
        let classes = "Users/Ann/AppData/Local/Microsoft/Windows/UsrClass.dat";
        volume.hive(classes, key("ROOT").put(".txt", "", "evilfile"));
        volume
    }

    pub fn empty() -> Volume {
        let name = format!("live-response-windows-{}", crate::model::random_hex::<8>());
        let root = std::env::temp_dir().canonicalize().unwrap().join(name);
        std::fs::create_dir(&root).unwrap();
        Volume(root)
    }

    pub fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    pub fn hive(&self, path: &str, root: &Node) -> &Self {
        self.file(path, hive(root))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn view(&self) -> View {
        View::image(&self.0, Arc::new(OwnThings::new(self.0.join("no-home"), Vec::new()))).unwrap()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn ask(volume: &Volume, key: &str, user: Option<&str>, job: &Job) -> Result<(RegistryKey, Vec<RegistryRow>)> {
    let query = RegistryQuery { key: key.into(), user: user.map(str::to_owned), ..RegistryQuery::default() };
    read(&volume.view(), &query, job)
}

/// The rows in short: key, value, data.
fn rows(volume: &Volume, key: &str, user: Option<&str>) -> Vec<(String, String, String)> {
    let rows = ask(volume, key, user, &Job::default()).unwrap().1;
    let text = |text: Option<crate::shape::Untrusted>| text.map(|t| t.raw().to_owned()).unwrap_or_default();
    rows.into_iter().map(|r| (r.key.raw().to_owned(), text(r.value), text(r.data))).collect()
}

fn row(key: &str, value: &str, data: &str) -> (String, String, String) {
    (key.into(), value.into(), data.into())
}

#[test]
fn the_current_control_set_is_the_one_that_select_names() {
    let wanted = vec![row(r"HKLM\SYSTEM\ControlSet002\Control", "which", "second")];
    assert_eq!(rows(&Volume::new(), r"hklm\system\currentcontrolset\control", None), wanted);
}

#[test]
fn a_users_keys_are_found_by_name_and_by_sid() {
    let volume = Volume::new();
    let wanted = vec![row(&format!(r"HKU\{SID}\Console"), "FontSize", "12")];
    for (key, user) in [
        (r"HKCU\Console".to_owned(), Some("ann")),
        (r"HKEY_CURRENT_USER\\Console".to_owned(), Some(SID)),
        (r"HKU\ANN\console".to_owned(), None),
        (format!(r"HKU\{SID}\Console"), None),
    ] {
        assert_eq!(rows(&volume, &key, user), wanted, "{key}");
    }
}

#[test]
fn the_current_user_without_a_user_says_which_there_are() {
    let error = ask(&Volume::new(), r"HKCU\Console", None, &Job::default()).err().unwrap();
    assert_eq!(error.code, ErrorCode::BadArgs);
    assert_eq!(error.hint.unwrap(), format!("there are \"Ann\" ({SID})"));
    let error = ask(&Volume::new(), r"HKCU\Console", Some("bob"), &Job::default()).err().unwrap();
    assert!(error.code == ErrorCode::NotFound && error.hint.unwrap().contains("Ann"));
}

#[test]
fn classes_are_the_users_and_then_the_machines() {
    let volume = Volume::new();
    let user = row(&format!(r"HKU\{SID}\Software\Classes\.txt"), "", "evilfile");
    let machine = row(r"HKLM\SOFTWARE\Classes\.txt", "", "txtfile");
    assert_eq!(rows(&volume, r"HKCR\.TXT", Some("ann")), vec![user.clone(), machine.clone()]);
    assert_eq!(rows(&volume, r"HKCR\.txt", None), vec![machine]);
    assert_eq!(rows(&volume, &format!(r"HKU\{SID}_Classes\.txt"), None)[0].2, user.2);
}

#[test]
fn the_tops_list_what_is_there() {
    let volume = Volume::new();
    let keys = |key: &str| rows(&volume, key, None).into_iter().map(|r| r.0).collect::<Vec<_>>();
    assert_eq!(keys("HKLM"), [r"HKLM\SYSTEM", r"HKLM\SOFTWARE"]);
    assert_eq!(keys("HKEY_USERS"), [format!(r"HKU\{SID}")]);
}

#[test]
fn what_is_not_there_is_told_with_what_is_near() {
    let volume = Volume::new();
    for (key, value, hint) in [
        (r"HKLM\SOFTWARE\Microsof", None, "it has \"Microsoft\""),
        (r"HKLM\SYSTEM\Select", Some("Curent"), "it has \"Current\""),
        (r"HKLM\HARDWARE\x", None, "Windows makes it when it starts"),
        (r"HKLM\NOPE", None, "there are SYSTEM, SOFTWARE"),
    ] {
        let query = RegistryQuery { key: key.into(), value: value.map(str::to_owned), ..RegistryQuery::default() };
        let error = read(&volume.view(), &query, &Job::default()).err().unwrap();
        assert_eq!(error.code, ErrorCode::NotFound, "{key}");
        assert!(error.hint.clone().unwrap().contains(hint), "{key}: {:?}", error.hint);
    }
    let error = ask(&volume, r"Microsoft\Windows", None, &Job::default()).err().unwrap();
    assert_eq!(error.code, ErrorCode::BadArgs);
}

#[test]
fn without_a_registry_it_is_unsupported() {
    let error = ask(&Volume::empty(), "HKLM", None, &Job::default()).err().unwrap();
    assert!(error.code == ErrorCode::Unsupported && error.hint.unwrap().contains("hive"));
}

#[test]
fn a_hive_alone_is_read_from_its_root_and_by_its_whole_path() {
    let volume = Volume::new();
    let hive = DevicePath::new(format!("/{CONFIG}/System"));
    for (key, shown) in
        [("", r"\"), (r"ControlSet001", "ControlSet001"), (r"HKLM\SYSTEM\CurrentControlSet", "ControlSet002")]
    {
        let query = RegistryQuery { key: key.into(), hive: Some(hive.clone()), ..RegistryQuery::default() };
        let (facts, rows) = read(&volume.view(), &query, &Job::default()).unwrap();
        assert_eq!(facts.key.unwrap().raw(), shown);
        assert!(rows.iter().all(|row| row.subkeys.is_some()) && !rows.is_empty());
    }
}

#[test]
fn a_path_into_another_hive_says_which_hive_the_file_is() {
    let volume = Volume::new();
    let query = |key: &str| RegistryQuery {
        key: key.into(),
        hive: Some(DevicePath::new(format!("/{CONFIG}/System"))),
        ..RegistryQuery::default()
    };
    let error = read(&volume.view(), &query(r"HKLM\SOFTWARE\Microsoft"), &Job::default()).err().unwrap();
    assert_eq!(error.code, ErrorCode::NotFound);
    assert!(error.message.contains(r"is the hive HKLM\SYSTEM: HKLM\SOFTWARE is not in it"), "{error}");
    assert!(read(&volume.view(), &query(r"HKLM\system\Select"), &Job::default()).is_ok());
}

#[test]
fn a_log_beside_a_hive_is_applied_and_its_rows_say_so() {
    let volume = Volume::new();
    let mut before = hive(key("ROOT").put("Services", "ImagePath", "fine.sys"));
    let after = hive(key("ROOT").put("Services", "ImagePath", "evil.sys"));
    dirty(&mut before, (8, 7));
    volume.file("x/SYSTEM", &before).file("x/system.log1", new_log(&[(7, &after)]));
    let query =
        RegistryQuery { key: "Services".into(), hive: Some(DevicePath::new("/x/SYSTEM")), ..RegistryQuery::default() };
    let job = Job::default();
    let (_, rows) = read(&volume.view(), &query, &job).unwrap();
    assert_eq!(rows[0].data.as_ref().unwrap().raw(), "evil.sys");
    assert_eq!(rows[0].from_log, Some(true));
    let said = job.take_warnings().join("; ");
    assert!(
        said.contains("1 entries of system.log1 were applied") && said.contains("stand only in a transaction log"),
        "{said}"
    );
}

#[test]
fn data_of_account_secrets_is_left_out() {
    let volume = Volume::new();
    let mut sam = key("ROOT");
    sam.at(r"SAM\Domains\Account\Users\000001F4").values.push(("V".into(), 3, text16("CANARY-hash")));
    volume.hive(&format!("{CONFIG}/SAM"), &sam).hive("loot/renamed.bin", &sam);
    for (key, hive) in [
        (r"HKLM\SAM\SAM\Domains\Account\Users\000001F4", None),
        (r"SAM\Domains\Account\Users\000001F4", Some("/loot/renamed.bin")),
    ] {
        let query = RegistryQuery { key: key.into(), hive: hive.map(DevicePath::new), ..RegistryQuery::default() };
        let job = Job::default();
        let (_, rows) = read(&volume.view(), &query, &job).unwrap();
        assert_eq!((rows[0].value.as_ref().unwrap().raw(), &rows[0].data), ("V", &None));
        assert!(job.take_warnings().join("").contains("Windows account secrets"));

        let query = RegistryQuery { value: Some("v".into()), ..query };
        let (facts, rows) = read(&volume.view(), &query, &job).unwrap();
        assert_eq!(rows[0].data, None);
        assert!(!serde_json::to_string(&facts).unwrap().contains("CANARY"));
        let apart = facts.secret.unwrap();
        assert!(apart.content.contains(&crate::model::hex(&text16("CANARY-hash"))), "{}", apart.content);
        assert!(apart.path.to_text().ends_with(r":SAM\Domains\Account\Users\000001F4\v"), "{}", apart.path);
    }
}

#[test]
fn links_that_lead_out_of_the_volume_and_fifos_are_no_hives() {
    let volume = Volume::new();
    let outside = Volume::new();
    std::os::unix::fs::symlink(outside.path().join(CONFIG).join("software"), volume.path().join("out")).unwrap();
    let fifo = volume.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    for name in ["/out", "/fifo"] {
        let query = RegistryQuery { hive: Some(DevicePath::new(name)), ..RegistryQuery::default() };
        let error = read(&volume.view(), &query, &Job::default()).err().unwrap();
        assert!(matches!(error.code, ErrorCode::NotFound | ErrorCode::NotAFile), "{name}: {error}");
    }
}

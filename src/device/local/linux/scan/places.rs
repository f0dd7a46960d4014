//! Where a quick scan looks: what anybody may write to, what starts by itself, what is served, what runs.

use super::super::proc::{Image, Proc, is_gone};
use super::super::secret::homes;
use super::super::view::View;
use crate::device::local::windows_root::WindowsRoot;
use crate::error::Result;
use crate::model::{DevicePath, Job};
use std::collections::HashSet;

/// A place to walk, or one file.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Root {
    pub path: DevicePath,
    pub depth: Option<u32>,
    pub is_file: bool,
}

impl Root {
    pub fn all(path: DevicePath) -> Root {
        Root { path, depth: None, is_file: false }
    }

    pub fn file(path: DevicePath) -> Root {
        Root { path, depth: None, is_file: true }
    }
}

const WHOLE: &[&str] = &[
    "/tmp",
    "/var/tmp",
    "/dev/shm",
    "/run",
    "/usr/local",
    "/opt",
    "/srv",
    "/var/www",
    "/usr/share/nginx",
    "/usr/lib/cgi-bin",
    "/var/lib/tomcat9/webapps",
    "/var/lib/tomcat10/webapps",
    "/etc/cron.d",
    "/etc/cron.daily",
    "/etc/cron.hourly",
    "/etc/cron.weekly",
    "/etc/cron.monthly",
    "/var/spool/cron",
    "/var/spool/at",
    "/etc/init.d",
    "/etc/profile.d",
    "/etc/update-motd.d",
    "/etc/systemd",
    "/etc/udev",
    "/etc/xdg/autostart",
    "/etc/apt/apt.conf.d",
    "/etc/NetworkManager/dispatcher.d",
    "/usr/lib/systemd/system-generators",
    "/usr/lib/systemd/system-shutdown",
    "/usr/lib/systemd/system-sleep",
    "/lib/security",
    "/usr/lib/security",
];
const FILES: &[&str] =
    &["/etc/rc.local", "/etc/ld.so.preload", "/etc/crontab", "/etc/anacrontab", "/etc/profile", "/etc/bash.bashrc"];
/// Of a home: where programs lie that its user starts, and what starts with the user.
const OF_HOME: &[&str] = &[
    ".config/autostart",
    ".config/systemd",
    ".local",
    ".ssh",
    ".cache",
    "bin",
    "public_html",
    "Downloads",
    ".vim",
    ".git/hooks",
];

/// Of a Windows volume: where programs lie that nobody installed, and what starts by itself.
const OF_WINDOWS: &[&[&str]] = &[
    &["Windows", "Temp"],
    &["Windows", "Tasks"],
    &["Windows", "System32", "Tasks"],
    &["Windows", "System32", "spool", "drivers", "color"],
    &["ProgramData"],
    &["PerfLogs"],
    &["Temp"],
    &["Recycler"],
    &["$Recycle.Bin"],
    &["inetpub", "wwwroot"],
];
/// Of the folder of a user there.
const OF_PROFILE: &[&[&str]] =
    &[&["AppData"], &["Downloads"], &["Desktop"], &["Documents"], &["Local Settings", "Temp"]];

fn of_windows(root: &WindowsRoot<'_>, job: &Job) -> Result<Vec<Root>> {
    let users = root.profiles(job)?;
    let own = users.iter().flat_map(|u| OF_PROFILE.iter().filter_map(|parts| root.find_below(&u.folder, parts)));
    let places = OF_WINDOWS.iter().filter_map(|parts| root.find(parts)).chain(own);
    let shallow = users.iter().map(|u| Root { path: u.folder.clone(), depth: Some(1), is_file: false });
    Ok(places.map(Root::all).chain(shallow).collect())
}

/// Places of which none lies in another.
pub(super) fn quick(view: &View, job: &Job) -> Result<Vec<Root>> {
    if let Some(root) = WindowsRoot::at(view, &DevicePath::new("/")) {
        return of_windows(&root, job);
    }
    let mut whole: Vec<DevicePath> = WHOLE.iter().map(|p| DevicePath::new(*p)).collect();
    let homes: Vec<DevicePath> = homes(view).into_iter().filter(|h| h.as_bytes() != b"/").collect();
    whole.extend(homes.iter().flat_map(|home| OF_HOME.iter().map(|p| home.join(&DevicePath::new(*p)))));
    whole.sort();
    whole.dedup();
    let mut roots: Vec<Root> = Vec::new();
    for path in whole {
        if !roots.iter().any(|root| is_in(&path, &root.path)) {
            roots.push(Root::all(path));
        }
    }
    // The files of a home itself, and one folder down: hidden ones have names of their own.
    let shallow: Vec<Root> = homes
        .into_iter()
        .filter(|home| !roots.iter().any(|root| is_in(home, &root.path)))
        .map(|path| Root { path, depth: Some(2), is_file: false })
        .collect();
    roots.extend(shallow);
    let files = FILES.iter().map(|p| DevicePath::new(*p)).filter(|p| view.identity(p).is_some());
    roots.extend(files.map(Root::file));
    Ok(roots)
}

fn is_in(path: &DevicePath, folder: &DevicePath) -> bool {
    super::super::own::is_below(path.as_bytes(), folder.as_bytes())
}

/// The images of running processes, each once: by their own path, or through the process where that leads nowhere.
pub(super) fn running_images(view: &View, job: &Job) -> Result<Vec<DevicePath>> {
    if !view.is_live() {
        return Ok(Vec::new());
    }
    let (proc, own) = (Proc::open()?, view.own());
    let (mut images, mut hidden) = (HashSet::new(), 0u64);
    let mut buffer = Vec::new();
    for pid in proc.pids(job)? {
        job.check()?;
        let image = proc.entry(pid).and_then(|entry| Ok((entry.image(&mut buffer)?, entry.image_stat()?)));
        match image {
            Ok((Image { path, deleted }, stat)) => {
                // It may lie in another mount namespace, where the path is another file.
                let is_here = !deleted && view.identity(&path).is_some_and(|i| i.inode == stat.stx_ino);
                let path = if is_here { path } else { DevicePath::new(format!("/proc/{pid}/exe")) };
                images.extend((!own.is_own_process(pid)).then_some(path));
            }
            Err(e) if is_gone(e) => {}
            Err(_) => hidden += 1,
        }
    }
    if hidden > 0 {
        let shielded = super::super::rights::shielded_from();
        job.warn(format!("the images of {hidden} processes cannot be seen {shielded}"));
    }
    let mut images: Vec<DevicePath> = images.into_iter().collect();
    images.sort();
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::super::super::view::tests::{Sleeper, TempTree, host, image};
    use super::*;

    #[test]
    fn no_place_lies_in_another() {
        let tree = TempTree::new();
        std::fs::create_dir_all(tree.path("img/etc")).unwrap();
        std::fs::write(tree.path("img/etc/passwd"), "a:x:1:1::/home/a:\nb:x:2:2::/srv/b:\nc:x:3:3::/:\n").unwrap();
        let roots = quick(&image(&tree, "img"), &Job::default()).unwrap();
        let whole: Vec<&Root> = roots.iter().filter(|r| r.depth.is_none() && !r.is_file).collect();
        for root in &whole {
            assert!(!whole.iter().any(|other| other != root && is_in(&root.path, &other.path)), "{root:?}");
        }
        let paths: Vec<String> = roots.iter().map(|r| r.path.to_string()).collect();
        assert!(paths.contains(&"/home/a/.local".into()) && paths.contains(&"/home/a".into()));
        assert!(!paths.iter().any(|p| p.starts_with("/srv/b")) && !paths.contains(&"/.local".into()));
    }

    #[test]
    fn a_deleted_image_is_reached_through_its_process() {
        let tree = TempTree::new();
        std::fs::copy("/bin/sleep", tree.path("gone")).unwrap();
        let child = Sleeper::run(std::process::Command::new(tree.path("gone")).arg("600"));
        std::fs::remove_file(tree.path("gone")).unwrap();
        let images = running_images(&host(&tree), &Job::default()).unwrap();
        assert!(images.contains(&DevicePath::new(format!("/proc/{}/exe", child.id()))), "{images:?}");
        assert!(!images.contains(&DevicePath::new(format!("/proc/{}/exe", std::process::id()))));
    }
}

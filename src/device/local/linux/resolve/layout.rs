//! Where scheduled tasks and start-up items lie: what may be named as one.
//!
//! Invariant: nothing is looked at, paths alone tell.

use crate::device::local::linux::startup;
use crate::device::local::linux::tasks::SPOOLS;
use crate::device::local::linux::view::View;
use crate::error::Result;
use crate::model::DevicePath;

/// Files of crontab lines (`man 5 crontab`, `man 5 anacrontab`).
const CRONTABS: &[&str] = &["/etc/crontab", "/etc/anacrontab"];
/// Directories of such files: `man 8 cron` of Debian, Red Hat, SUSE, BusyBox.
const CRONTAB_DIRS: &[&str] =
    &["/etc/cron.d", "/var/spool/cron/crontabs", "/var/spool/cron/tabs", "/var/spool/cron", "/etc/crontabs"];
/// Scripts that run by the hour, day, week, month, year.
const SCRIPT_DIRS: &[&str] = &[
    "/etc/cron.hourly",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/etc/cron.monthly",
    "/etc/cron.yearly",
    "/etc/periodic/15min",
    "/etc/periodic/hourly",
    "/etc/periodic/daily",
    "/etc/periodic/weekly",
    "/etc/periodic/monthly",
];
/// Beside what `startupfolders` lists: scripts that shells of all accounts read.
const STARTUP_DIRS: &[&str] = &["/etc/bash_completion.d", "/etc/fish/conf.d", "/etc/update-motd.d"];
const STARTUP_FILES: &[&str] = &["/etc/zlogin", "/etc/rc.local", "/etc/rc.d/rc.local", "/etc/ssh/sshrc"];
/// In a home, wherever homes lie.
const HOME_FILES: &[&str] = &[".mkshrc", ".logout", ".ssh/rc"];
const HOME_DIRS: &[&str] = &[".config/environment.d", ".config/systemd/user"];

/// The layout of a system below a root.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// Without a `/` at its end; empty for this host.
    root: Vec<u8>,
}

/// What kind of scheduled task a file is, or holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskFile {
    /// Lines of tasks.
    Crontab,
    Script,
    AtJob,
}

impl Layout {
    #[cfg(test)]
    pub fn below(root: &std::path::Path) -> Layout {
        use std::os::unix::ffi::OsStrExt;
        Layout { root: root.as_os_str().as_bytes().to_vec() }
    }

    /// A path of the system, below the root.
    pub fn path(&self, path: &str) -> DevicePath {
        DevicePath::new([&self.root, path.as_bytes()].concat())
    }

    /// A path as a view of the root names it.
    pub fn path_of(&self, path: &DevicePath) -> DevicePath {
        DevicePath::new([&self.root, path.as_bytes()].concat())
    }

    /// A view of the root; `None` where it is the whole host.
    pub fn below_root(&self, view: &View) -> Result<Option<View>> {
        match self.root.is_empty() {
            true => Ok(None),
            false => view.below(&DevicePath::new(self.root.clone())).map(Some),
        }
    }

    pub fn task_file(&self, path: &DevicePath) -> Option<TaskFile> {
        let path = self.inside(path)?;
        let dir = parent(path);
        if is_one_of(path, CRONTABS) || is_one_of(dir, CRONTAB_DIRS) {
            return Some(TaskFile::Crontab);
        }
        if is_one_of(dir, SCRIPT_DIRS) {
            return Some(TaskFile::Script);
        }
        is_one_of(dir, &SPOOLS).then_some(TaskFile::AtJob)
    }

    pub fn at_dirs(&self) -> impl Iterator<Item = DevicePath> {
        SPOOLS.iter().map(|dir| self.path(dir))
    }

    pub fn is_startup(&self, path: &DevicePath) -> bool {
        let Some(path) = self.inside(path) else { return false };
        let dir = parent(path);
        let in_home = |of: &[u8], known: &&str| {
            of.strip_suffix(known.as_bytes()).is_some_and(|home| home.len() > 1 && home.ends_with(b"/"))
        };
        let is_of = |path: &[u8], listed: &[&str], more: &[&str]| is_one_of(path, listed) || is_one_of(path, more);
        is_of(path, &startup::SYSTEM_FILES, STARTUP_FILES)
            || is_of(dir, &startup::SYSTEM_FOLDERS, STARTUP_DIRS)
            || startup::HOME_FILES.iter().chain(HOME_FILES).any(|known| in_home(path, known))
            || startup::HOME_FOLDERS.iter().chain(HOME_DIRS).any(|known| in_home(dir, known))
    }

    fn inside<'p>(&self, path: &'p DevicePath) -> Option<&'p [u8]> {
        path.as_bytes().strip_prefix(self.root.as_slice()).filter(|rest| rest.first() == Some(&b'/'))
    }
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|b| *b == b'/').and_then(|at| path.get(..at)).unwrap_or_default()
}

fn is_one_of(path: &[u8], known: &[&str]) -> bool {
    known.iter().any(|k| k.as_bytes() == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(path: &str) -> Option<TaskFile> {
        Layout::default().task_file(&DevicePath::new(path))
    }

    #[test]
    fn tasks_lie_where_cron_and_at_look() {
        for path in ["/etc/crontab", "/etc/cron.d/x", "/var/spool/cron/crontabs/root", "/var/spool/cron/root"] {
            assert_eq!(task(path), Some(TaskFile::Crontab), "{path}");
        }
        assert_eq!(task("/etc/cron.daily/x"), Some(TaskFile::Script));
        assert_eq!(task("/var/spool/cron/atjobs/a00001018c6a2e"), Some(TaskFile::AtJob));
        for path in ["/etc/passwd", "/etc/cron.d", "/etc/cron.d/x/y", "/tmp/etc/crontab", "/etc/cron.dx"] {
            assert_eq!(task(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_listed_can_be_named() {
        let is = |path: String| Layout::default().is_startup(&DevicePath::new(path));
        let home = |below: &&str| format!("/home/a/{below}");
        let files = startup::SYSTEM_FILES.iter().map(|f| (*f).to_owned()).chain(startup::HOME_FILES.iter().map(home));
        let folders = startup::SYSTEM_FOLDERS.iter().map(|f| (*f).to_owned());
        let inside = folders.chain(startup::HOME_FOLDERS.iter().map(home)).map(|folder| format!("{folder}/x"));
        for path in files.chain(inside) {
            assert!(is(path.clone()), "{path}");
        }
        for spool in SPOOLS {
            assert_eq!(task(&format!("{spool}/a00001018c6a2e")), Some(TaskFile::AtJob), "{spool}");
        }
    }

    #[test]
    fn start_up_items_lie_where_sessions_and_shells_look() {
        let is = |path: &str| Layout::default().is_startup(&DevicePath::new(path));
        for path in ["/etc/profile", "/etc/profile.d/x.sh", "/root/.bashrc", "/home/a/.config/autostart/x.desktop"] {
            assert!(is(path), "{path}");
        }
        for path in ["/etc/shadow", "/home/a/x.bashrc", "/.bashrcx", "/home/a/.config/autostart", "/etc/profile.d"] {
            assert!(!is(path), "{path}");
        }
    }

    #[test]
    fn a_layout_below_a_root_knows_only_what_is_there() {
        let layout = Layout::below(std::path::Path::new("/x"));
        assert_eq!(layout.path("/etc"), DevicePath::new("/x/etc"));
        assert!(layout.is_startup(&DevicePath::new("/x/etc/profile")));
        assert!(!layout.is_startup(&DevicePath::new("/etc/profile")));
        assert!(!layout.is_startup(&DevicePath::new("/xy/etc/profile")));
    }
}

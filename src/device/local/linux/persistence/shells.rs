//! What a shell runs when it starts, and the environment that everything starts with.

use super::scan::{Found, Scan, paths, root};
use super::text::{SCRIPT, assigns, only};
use crate::error::Result;

const SYSTEM_FILES: &[&str] = &[
    "/etc/profile",
    "/etc/bash.bashrc",
    "/etc/bashrc",
    "/etc/bash.bash_logout",
    "/etc/bash_completion",
    "/etc/zshenv",
    "/etc/zprofile",
    "/etc/zshrc",
    "/etc/zlogin",
    "/etc/zlogout",
    "/etc/csh.cshrc",
    "/etc/csh.login",
    "/etc/csh.logout",
    "/etc/ksh.kshrc",
    "/etc/mkshrc",
    "/etc/fish/config.fish",
    "/usr/share/fish/config.fish",
];
const SYSTEM_FOLDERS: &[&str] = &["/etc/profile.d", "/etc/zsh", "/etc/fish/conf.d", "/etc/csh", "/etc/skel"];
const HOME_FILES: &[&str] = &[
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".bash_aliases",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".zlogout",
    ".kshrc",
    ".mkshrc",
    ".cshrc",
    ".tcshrc",
    ".login",
    ".logout",
    ".config/fish/config.fish",
    ".inputrc",
];
/// Variables that have something else run or loaded (`man 8 ld.so`, `man 1 bash`, the interpreters' manuals).
const VARIABLES: &[&str] = &[
    "LD_",
    "PATH",
    "BASH_ENV",
    "ENV",
    "SHELL",
    "PROMPT_COMMAND",
    "PYTHONSTARTUP",
    "PYTHONPATH",
    "PYTHONHOME",
    "PERL5OPT",
    "PERL5LIB",
    "PERL5DB",
    "RUBYOPT",
    "RUBYLIB",
    "NODE_OPTIONS",
    "NODE_PATH",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "GCONV_PATH",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "LESSOPEN",
    "GIT_",
    "SSH_ASKPASS",
    "SUDO_ASKPASS",
    "GTK_MODULES",
    "GIO_EXTRA_MODULES",
    "QT_PLUGIN_PATH",
    "OPENSSL_CONF",
    "MANPAGER",
    "BROWSER",
];

pub fn system(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    found.files(scan, paths(SYSTEM_FILES), Some(&root()), &SCRIPT)?;
    found.files(scan, scan.files_in(SYSTEM_FOLDERS), Some(&root()), &SCRIPT)
}

pub fn user(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    found.home_files(scan, HOME_FILES, &SCRIPT)?;
    for home in &scan.homes {
        let folders = [".config/fish/conf.d", ".bashrc.d"].map(|f| home.path.join(&crate::model::DevicePath::new(f)));
        found.files(scan, scan.files_in(folders.iter().map(|f| f.as_bytes())), home.user.as_ref(), &SCRIPT)?;
    }
    Ok(())
}

pub fn environment(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let style = only(|line| assigns(line, VARIABLES));
    let system = ["/etc/environment", "/etc/security/pam_env.conf", "/etc/default/locale"];
    found.files(scan, paths(&system), Some(&root()), &style)?;
    found.home_files(scan, &[".pam_environment"], &style)
}

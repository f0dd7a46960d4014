//! What interpreters, editors and terminals run when they start.

use super::scan::{Entry, Found, Scan, paths, root};
use super::sweep::Kind;
use super::text::{SCRIPT, Style, directive, has_word, only};
use crate::error::Result;
use crate::model::DevicePath;

/// `import` at the start of a line of a `.pth` is run (`site` of Python's library).
const PTH: Style = Style { comments: &[b"#"], keep: Some(imports) };

fn imports(line: &[u8]) -> bool {
    line.starts_with(b"import ") || line.starts_with(b"import\t")
}

const PROFILES: &[&str] = &[
    ".perldb",
    ".pythonrc",
    ".pythonrc.py",
    ".pythonstartup",
    ".pdbrc",
    ".irbrc",
    ".pryrc",
    ".Rprofile",
    ".gdbinit",
    ".config/gdb/gdbinit",
    ".lldbinit",
    ".octaverc",
    ".guile",
    ".luarc",
    ".sqliterc",
    ".psqlrc",
];

pub fn interpreters(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    for (path, kind) in &scan.sweep()?.hits {
        if matches!(kind, Kind::Start) {
            let style = if path.name().as_bytes().ends_with(b".pth") { PTH } else { SCRIPT };
            found.files(scan, [path.clone()], None, &style)?;
        }
    }
    found.home_files(scan, PROFILES, &SCRIPT)?;
    for home in &scan.homes {
        let folder = home.path.join(&DevicePath::new(".ipython/profile_default/startup"));
        found.files(scan, scan.files_in([folder.as_bytes()]), home.user.as_ref(), &SCRIPT)?;
    }
    let system = ["/etc/perl/sitecustomize.pl", "/etc/gdb/gdbinit", "/etc/R/Rprofile.site", "/etc/irbrc"];
    found.files(scan, paths(&system), None, &SCRIPT)?;
    let npm = only(|line| {
        let (word, _) = directive(line);
        matches!(
            &word[..],
            b"script-shell"
                | b"shell"
                | b"node-options"
                | b"node_options"
                | b"git"
                | b"onload-script"
                | b"init-module"
                | b"editor"
        )
    });
    found.home_files(scan, &[".npmrc"], &npm)?;
    found.files(scan, paths(&["/etc/npmrc", "/usr/etc/npmrc", "/usr/local/etc/npmrc"]), None, &npm)?;
    let php = Style {
        comments: &[b";", b"#"],
        keep: Some(|line| {
            let (word, value) = directive(line);
            let prepends =
                matches!(&word[..], b"auto_prepend_file" | b"auto_append_file" | b"opcache.preload" | b"sendmail_path");
            let loads = matches!(&word[..], b"extension" | b"zend_extension") && value.contains(&b'/');
            (prepends || loads) && !value.is_empty() && value != b"\"\""
        }),
    };
    let ini = scan.files_below(["/etc/php", "/etc/php.d", "/usr/local/etc/php"], 5).into_iter();
    let ini = ini.filter(|p| p.name().as_bytes().ends_with(b".ini")).chain(paths(&["/etc/php.ini"]));
    found.files(scan, ini, None, &php)
}

const VIM: Style = SCRIPT.comments(&[b"\"", b"#"]);
const LISP: Style = SCRIPT.comments(&[b";"]);
const LUA: Style = SCRIPT.comments(&[b"--", b"\""]);

fn runs_in_tmux(line: &[u8]) -> bool {
    has_word(
        line,
        &[
            "run-shell",
            "run ",
            "if-shell",
            "if ",
            "#(",
            "default-command",
            "default-shell",
            "pipe-pane",
            "set-hook",
            "new-session",
            "new-window",
            "source",
        ],
    )
}

fn runs_in_screen(line: &[u8]) -> bool {
    matches!(
        &directive(line).0[..],
        b"exec" | b"screen" | b"shell" | b"backtick" | b"source" | b"bind" | b"eval" | b"stuff"
    )
}

pub fn editors(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let user = Some(root());
    found.files(
        scan,
        paths(&["/etc/vim/vimrc", "/etc/vim/vimrc.local", "/etc/vimrc", "/usr/share/vim/vimrc"]),
        user.as_ref(),
        &VIM,
    )?;
    found.files(scan, scan.files_below(["/usr/share/vim/vimfiles"], 4), user.as_ref(), &VIM)?;
    found.files(scan, scan.files_below(["/etc/xdg/nvim"], 4), user.as_ref(), &LUA)?;
    found.files(scan, scan.files_in(["/etc/emacs/site-start.d", "/etc/emacs"]), user.as_ref(), &LISP)?;
    found.files(scan, paths(&["/etc/tmux.conf"]), user.as_ref(), &only(runs_in_tmux))?;
    found.files(scan, paths(&["/etc/screenrc"]), user.as_ref(), &only(runs_in_screen))?;
    found.home_files(scan, &[".vimrc", ".exrc", ".gvimrc", ".vim/vimrc"], &VIM)?;
    found.home_files(
        scan,
        &[".emacs", ".emacs.el", ".emacs.d/init.el", ".emacs.d/early-init.el", ".config/emacs/init.el"],
        &LISP,
    )?;
    found.home_files(scan, &[".tmux.conf", ".config/tmux/tmux.conf"], &only(runs_in_tmux))?;
    found.home_files(scan, &[".screenrc"], &only(runs_in_screen))?;
    found.home_files(scan, &[".lessfilter"], &SCRIPT)?;
    found.home_files(scan, &[".mailcap"], &SCRIPT)?;
    for (path, home) in scan.in_homes(&[".lesskey", ".config/lesskey", ".less"]) {
        // A compiled one begins with a NUL: its words are read all the same.
        let Some(item) = scan.look(&path) else { continue };
        let lines: Vec<Vec<u8>> = SCRIPT
            .lines(&item.text)
            .into_iter()
            .filter(|l| has_word(l, &["lessopen", "lessclose", "shell", "pshell", "visual", "editor"]))
            .collect();
        if !lines.is_empty() {
            found.push(Entry::of(&item).lines(&lines).user(home.user.clone()));
        }
    }
    for home in &scan.homes {
        let below = |names: &[&str]| -> Vec<DevicePath> {
            let folders: Vec<_> = names.iter().map(|n| home.path.join(&DevicePath::new(*n))).collect();
            scan.files_below(folders.iter().map(DevicePath::as_bytes), 8)
        };
        let is = |path: &DevicePath, endings: &[&[u8]]| endings.iter().any(|e| path.name().as_bytes().ends_with(e));
        let mut vim =
            below(&[".vim/plugin", ".vim/ftplugin", ".vim/autoload", ".vim/after", ".vim/pack", ".vim/ftdetect"]);
        vim.retain(|p| is(p, &[b".vim", b".lua", b".py"]));
        found.files(scan, vim, home.user.as_ref(), &VIM)?;
        let mut nvim = below(&[".config/nvim", ".local/share/nvim/site"]);
        nvim.retain(|p| is(p, &[b".vim", b".lua"]));
        found.files(scan, nvim, home.user.as_ref(), &LUA)?;
    }
    Ok(())
}

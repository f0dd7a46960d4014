//! Tools and data that some tests need and a machine may not have: named, never skipped in silence.

use std::path::PathBuf;

/// Whether the program is there. Where it is not, the test says so and ends; with `LIVE_RESPONSE_REQUIRE_TOOLS` set, it
/// fails instead.
#[must_use]
pub fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(sbin).any(|dir| dir.join(program).is_file());
    found || missing(&format!("the program {program}"))
}

/// Whether Debian's Python has the module, with the same consequence.
#[must_use]
pub fn python(module: &str) -> bool {
    let place = std::path::Path::new("/usr/lib/python3/dist-packages").join(module);
    let there = place.is_dir() || place.with_extension("py").is_file();
    there || missing(&format!("the Debian package python3-{module}"))
}

/// A Python that has the module from PyPI: `$LIVE_RESPONSE_TEST_PYTHON`, else `python3`; with the same consequence.
#[must_use]
pub fn python_with(module: &str) -> Option<std::process::Command> {
    let program = std::env::var_os("LIVE_RESPONSE_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let import = std::process::Command::new(&program).args(["-c", &format!("import {module}")]).output();
    let there = import.is_ok_and(|output| output.status.success());
    (there || missing(&format!("the PyPI package {module}, in $LIVE_RESPONSE_TEST_PYTHON")))
        .then(|| std::process::Command::new(program))
}

/// Whether this runs as root, with the same consequence.
#[must_use]
pub fn root() -> bool {
    rustix::process::geteuid().is_root() || missing("root")
}

/// The real inputs that nobody here wrote: `$LIVE_RESPONSE_TEST_DATA`, else `../shared/data`. Where they are not, the test says so.
#[must_use]
pub fn data(inside: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LIVE_RESPONSE_TEST_DATA").map_or_else(|| "../shared/data".into(), PathBuf::from);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder).join(inside);
    if !path.exists() {
        println!("{}: ignored, there is no {}", test(), path.display());
        return None;
    }
    Some(path)
}

/// The content of one of them that is packed with xz.
#[must_use]
pub fn unpacked(inside: &str) -> Option<Vec<u8>> {
    let packed = std::fs::File::open(data(inside)?).expect("a readable file");
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut lzma_rust2::XzReader::new(packed, true), &mut bytes).expect("an xz file");
    Some(bytes)
}

/// What `tests/corpora.sh` fetched into `$LIVE_RESPONSE_TEST_CORPORA`.
#[must_use]
pub fn corpus(inside: &str) -> Option<PathBuf> {
    let path = std::env::var_os("LIVE_RESPONSE_TEST_CORPORA").map(|folder| PathBuf::from(folder).join(inside));
    let Some(path) = path.filter(|p| p.exists()) else {
        missing(&format!("{inside} from tests/corpora.sh, in $LIVE_RESPONSE_TEST_CORPORA"));
        return None;
    };
    Some(path)
}

fn missing(what: &str) -> bool {
    assert!(std::env::var_os("LIVE_RESPONSE_REQUIRE_TOOLS").is_none(), "{} needs {what}", test());
    println!("{}: ignored, it needs {what}", test());
    false
}

fn test() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}

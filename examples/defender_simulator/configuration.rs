//! The configuration that points the product at this tenant.

use crate::service::Simulator;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub fn write(sim: &Simulator) -> io::Result<()> {
    let Some(folder) = &sim.options.config_out else { return Ok(()) };
    fs::create_dir_all(folder)?;
    let folder = fs::canonicalize(folder)?;
    let tenant = sim.tenant();
    let secret = folder.join("defender.secret");
    private(&secret, &tenant.secret)?;
    let mut table = toml::Table::new();
    for (key, value) in [
        ("tenant_id", tenant.tenant_id.as_str()),
        ("client_id", &tenant.client_id),
        ("client_secret_file", &secret.to_string_lossy()),
        ("api_url", &sim.url),
        ("login_url", &sim.url),
    ] {
        table.insert(key.into(), value.into());
    }
    let text = format!("[defender]\n{table}");
    private(&folder.join("config.toml"), &text)
}

fn private(path: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

//! The web server that is attacked.

use std::fs::{self, File};
use std::path::Path;

use anyhow::Result;

use super::namespace::Namespace;
use super::process::Process;
use super::stop::Stop;
use super::{HTTP_PORT, SERVER, SERVER6};
use crate::tool;

/// Bytes of the page.
pub(super) const PAGE_BYTES: usize = 4096;
/// Bytes of the download.
pub(super) const DOWNLOAD_BYTES: u64 = 16 << 20;
/// The download's speed, bytes a second. Unbounded it would take what CPU time there is.
const DOWNLOAD_PER_SECOND: u64 = 4 << 20;

/// Starts nginx.
pub(super) fn start(server: &Namespace, folder: &Path, stop: &Stop) -> Result<Process> {
    let home = folder.join("nginx");
    fs::create_dir_all(home.join("html"))?;
    fs::write(
        home.join("html/index.html"),
        &"detector\n".repeat(PAGE_BYTES).as_bytes()[..PAGE_BYTES],
    )?;
    File::create(home.join("html/download"))?.set_len(DOWNLOAD_BYTES)?;
    let (log, configuration) = (home.join("log"), home.join("nginx.conf"));
    let home = tool::text(&home)?;
    fs::write(&configuration, configured(home))?;
    let configuration = tool::text(&configuration)?;
    let line = ["nginx", "-p", home, "-e", "stderr", "-c", configuration];
    let mut process = Process::contained(server, "", &line, log)?;
    process.until_it_listens(server, (SERVER, HTTP_PORT).into(), stop)?;
    Ok(process)
}

/// As a small site has it: one worker, of as many connections as Debian's configuration gives one.
fn configured(home: &str) -> String {
    format!(
        "daemon off;
master_process off;
user root;
pid {home}/nginx.pid;
events {{ worker_connections 768; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    keepalive_requests 1000000;
    server {{
        listen {SERVER}:{HTTP_PORT};
        listen [{SERVER6}]:{HTTP_PORT};
        root {home}/html;
        location /download {{ limit_rate {DOWNLOAD_PER_SECOND}; }}
    }}
}}
"
    )
}

//! The web server that is attacked.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::namespace::Namespace;
use super::stop::Stop;
use super::{HTTP_PORT, SERVER, complain};
use crate::tool;

/// Bytes of the page.
pub(super) const PAGE_BYTES: usize = 4096;
/// How long it may take to listen.
const START_MAX: Duration = Duration::from_secs(10);
/// Between two looks.
const POLL: Duration = Duration::from_millis(20);

/// nginx, running; dropping ends it.
pub(super) struct Nginx {
    child: Child,
}

impl Nginx {
    pub(super) fn start(server: &Namespace, folder: &Path, stop: &Stop) -> Result<Self> {
        let home = folder.join("nginx");
        fs::create_dir_all(home.join("html"))?;
        fs::write(
            home.join("html/index.html"),
            &"detector\n".repeat(PAGE_BYTES).as_bytes()[..PAGE_BYTES],
        )?;
        let home = tool::text(&home)?;
        fs::write(format!("{home}/nginx.conf"), configuration(home))?;
        let log = format!("{home}/error.log");
        // setpriv: should this process be killed, nginx ends too. It starts nginx in its own place, and so does ip, so
        // that the child is nginx itself.
        let child = Command::new(program("setpriv", "util-linux")?)
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program("ip", "iproute2")?)
            .args(["netns", "exec", server.name()])
            .arg(program("nginx", "nginx-light")?)
            .args(["-p", home, "-e", &log, "-c", &format!("{home}/nginx.conf")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for this process, which ends nginx when it is done.
            .process_group(0)
            .spawn()
            .context("cannot start nginx")?;
        let mut nginx = Self { child };
        nginx.wait_until_it_listens(server, stop).with_context(|| {
            format!(
                "nginx: {}",
                fs::read_to_string(&log).unwrap_or_default().trim()
            )
        })?;
        Ok(nginx)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("nginx ended with {status}"),
            None => Ok(()),
        }
    }

    fn wait_until_it_listens(&mut self, server: &Namespace, stop: &Stop) -> Result<()> {
        let end = Instant::now() + START_MAX;
        let address = SocketAddr::from((SERVER, HTTP_PORT));
        while server
            .run(|| TcpStream::connect_timeout(&address, POLL))?
            .is_err()
        {
            self.check()?;
            stop.sleep(POLL)?;
            if Instant::now() > end {
                bail!("it does not listen after {} s", START_MAX.as_secs());
            }
        }
        Ok(())
    }

    /// Kills it: it has nothing to put in order, and the signals that ask it to end are held back in it as in this
    /// process (see [`Stop::hold`]).
    fn end(&mut self) -> Result<()> {
        // Where it ended by itself it is not killed: its id may be another's by now, which `kill` knows.
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            complain("nginx", &error);
        }
    }
}

fn program(name: &str, package: &str) -> Result<std::path::PathBuf> {
    tool::find(name).with_context(|| format!("{name} is missing: install {package}"))
}

/// Without a master process: one process, which ends as a whole however it ends.
fn configuration(home: &str) -> String {
    format!(
        "daemon off;
master_process off;
user root;
pid {home}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{
        listen {SERVER}:{HTTP_PORT};
        root {home}/html;
    }}
}}
"
    )
}

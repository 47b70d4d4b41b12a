//! One request of a client, of whatever kind.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use super::super::nginx::{DOWNLOAD_BYTES, PAGE_BYTES};
use super::super::{HTTP_PORT, SSH_PORT};

/// A request that is not answered by then has failed.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of a download that are measured as one request.
const PIECE_BYTES: u64 = 512 << 10;
/// Bytes of an answer's head, at most.
const HEAD_MAX: usize = 1024;
/// A page's bytes are read at most so many at once.
const READ_BYTES: usize = 64 << 10;
/// Between two looks at a session.
const POLL: Duration = Duration::from_millis(5);

/// Someone who asks the server for something, again and again.
pub(super) struct Caller {
    source: IpAddr,
    server: IpAddr,
    way: Way,
}

enum Way {
    /// A page, each with a connection of its own.
    Short,
    /// A page, all with one connection.
    Kept(Option<TcpStream>),
    /// The next piece of a download, and what is left of it.
    Download(Option<(TcpStream, u64)>),
    /// A login.
    Session { key: PathBuf, program: PathBuf },
}

impl Caller {
    fn new((source, server): (IpAddr, IpAddr), way: Way) -> Self {
        Self {
            source,
            server,
            way,
        }
    }

    pub(super) fn short(ends: (IpAddr, IpAddr)) -> Self {
        Self::new(ends, Way::Short)
    }

    pub(super) fn kept(ends: (IpAddr, IpAddr)) -> Self {
        Self::new(ends, Way::Kept(None))
    }

    pub(super) fn download(ends: (IpAddr, IpAddr)) -> Self {
        Self::new(ends, Way::Download(None))
    }

    pub(super) fn session(ends: (IpAddr, IpAddr), key: PathBuf, program: PathBuf) -> Self {
        Self::new(ends, Way::Session { key, program })
    }

    /// Asks once.
    pub(super) fn ask(&mut self) -> Result<()> {
        let (source, server) = (self.source, self.server);
        match &mut self.way {
            Way::Short => {
                let mut stream = connect(source, server, TIMEOUT)?;
                ask_for(&mut stream, "/", "close")?;
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer)?;
                whole_page(&answer)
            }
            Way::Kept(connection) => {
                // A connection that failed is not used again.
                let mut stream = match connection.take() {
                    Some(stream) => stream,
                    None => connect(source, server, TIMEOUT)?,
                };
                ask_for(&mut stream, "/", "keep-alive")?;
                read_page(&mut stream)?;
                *connection = Some(stream);
                Ok(())
            }
            Way::Download(connection) => {
                let (mut stream, left) = match connection.take() {
                    Some(open) => open,
                    None => {
                        let mut stream = connect(source, server, TIMEOUT)?;
                        ask_for(&mut stream, "/download", "close")?;
                        (stream, DOWNLOAD_BYTES)
                    }
                };
                let piece = left.min(PIECE_BYTES);
                read_piece(&mut stream, piece)?;
                if left > piece {
                    *connection = Some((stream, left - piece));
                }
                Ok(())
            }
            Way::Session { key, program } => log_in(program, key, source, server),
        }
    }
}

/// Connects to the web server from an address.
///
/// # Errors
/// Where it takes longer than told, or is refused.
pub fn connect(source: IpAddr, server: IpAddr, within: Duration) -> Result<TcpStream> {
    let family = match source {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The time to send is the time to connect as well.
    set_socket_timeout(&socket, Timeout::Send, Some(within))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(within))?;
    bind(&socket, &SocketAddr::from((source, 0)))?;
    rustix::net::connect(&socket, &SocketAddr::from((server, HTTP_PORT)))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn ask_for(stream: &mut TcpStream, path: &str, connection: &str) -> Result<()> {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: server\r\nConnection: {connection}\r\n\r\n");
    Ok(stream.write_all(request.as_bytes())?)
}

fn whole_page(answer: &[u8]) -> Result<()> {
    if !answer.starts_with(b"HTTP/1.1 200 ") || answer.len() < PAGE_BYTES {
        bail!("not the page");
    }
    Ok(())
}

/// Reads a page, and nothing behind it.
fn read_page(stream: &mut TcpStream) -> Result<()> {
    let mut answer = Vec::with_capacity(HEAD_MAX + PAGE_BYTES);
    let mut buffer = [0; HEAD_MAX + PAGE_BYTES];
    loop {
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
        if head.is_some_and(|head| answer.len() >= head + 4 + PAGE_BYTES) {
            return whole_page(&answer);
        }
        match stream.read(&mut buffer)? {
            0 => bail!("the answer was cut off"),
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
}

/// Reads some more of a download. The answer's head counts as of it, and is made up for by the last piece.
fn read_piece(stream: &mut TcpStream, bytes: u64) -> Result<()> {
    let begin = Instant::now();
    let mut buffer = vec![0; READ_BYTES];
    let mut left = bytes as usize;
    while left > 0 {
        let most = left.min(READ_BYTES);
        match stream.read(&mut buffer[..most])? {
            0 => bail!("the download was cut off"),
            read => left -= read,
        }
        if begin.elapsed() > TIMEOUT {
            bail!("the download stalls");
        }
    }
    Ok(())
}

/// Logs in by SSH, which is to say a word of welcome.
fn log_in(program: &PathBuf, key: &PathBuf, source: IpAddr, server: IpAddr) -> Result<()> {
    let options = [
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
    ];
    let mut child = Command::new(program)
        .args(options)
        .args(["-b", &source.to_string(), "-p", &SSH_PORT.to_string()])
        .arg("-i")
        .arg(key)
        .arg(format!("root@{server}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let end = Instant::now() + TIMEOUT;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("ssh ended with {status}"),
            None if Instant::now() > end => {
                child.kill()?;
                child.wait()?;
                bail!("the login takes too long")
            }
            None => std::thread::sleep(POLL),
        }
    }
}

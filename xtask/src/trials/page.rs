//! The agent's page, for a browser outside of the laboratory: what arrives at an address of this host's loopback goes on to
//! the agent's in its namespace.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

use crate::lab::Lab;
use crate::lab::namespace::Door;

/// Where an agent serves unless it is configured otherwise.
const PORT: u16 = 9190;

/// The way to the agent that runs now.
static DOOR: Mutex<Option<Arc<Door>>> = Mutex::new(None);

/// An agent's page can be seen while this is held.
pub(super) struct Shown(());

impl Shown {
    pub(super) fn new(lab: &Lab) -> Result<Self> {
        *DOOR.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(lab.server().door()?));
        Ok(Self(()))
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        *DOOR.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Listens until this process ends; where. At any port where the usual one is taken; nowhere where none can be had.
pub(super) fn listen() -> Option<SocketAddr> {
    let loopback = Ipv4Addr::LOCALHOST;
    let listener = TcpListener::bind((loopback, PORT))
        .or_else(|_| TcpListener::bind((loopback, 0)))
        .ok()?;
    let address = listener.local_addr().ok()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || pass_on(stream));
        }
    });
    Some(address)
}

fn pass_on(mut browser: TcpStream) -> io::Result<()> {
    let door = DOOR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // This thread stays in the namespace, and ends with the connection.
    let agent = door.and_then(|door| {
        door.enter().ok()?;
        TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).ok()
    });
    let Some(agent) = agent else {
        return browser.write_all(
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    };
    let (asked, answered) = (browser.try_clone()?, agent.try_clone()?);
    let back = thread::spawn(move || copy(answered, browser));
    copy(asked, agent);
    let _ = back.join();
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

//! A real NATS server.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use super::space::{Running, Space};

pub const URL: &str = "nats://127.0.0.1:4222";

/// A server with JetStream in a namespace.
pub fn serve(space: &Space, home: &Path, arguments: &[&str]) -> Running {
    let mut command = Command::new("nats-server");
    command
        .args(["-a", "127.0.0.1", "-p", "4222", "-js", "-sd"])
        .arg(home.join("stored"))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(fs::File::create(home.join("nats.log")).unwrap());
    space.start(command)
}

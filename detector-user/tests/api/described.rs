//! The API does what its description says: schemathesis makes requests of docs/openapi.json, sound ones and broken ones, and looks at
//! each answer. Over TCP, and over the Unix socket, where changes are made.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use crate::{
    lab::skip,
    stage::{Stage, TCP},
};

/// Where it speaks for the Unix socket.
const PROXY: &str = "127.0.0.1:9192";
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// It makes requests for so long, s.
const TCP_S: u32 = 15;
const UNIX_S: u32 = 35;

/// What `cargo xtask setup` installs.
fn program() -> Option<PathBuf> {
    let program = Path::new(FOLDER).join("target/schemathesis-venv/bin/schemathesis");
    let works = Command::new(&program).arg("--version").output().is_ok();
    if !works {
        skip("needs schemathesis: `cargo xtask setup`");
    }
    works.then_some(program)
}

/// How many there are, that which is left out included.
fn operations() -> usize {
    let text = include_str!("../../../docs/openapi.json");
    let description: serde_json::Value = serde_json::from_str(text).unwrap();
    let paths = description["paths"].as_object().unwrap();
    paths
        .values()
        .map(|path| path.as_object().unwrap().len())
        .sum()
}

fn all_is_as_described(stage: &mut Stage, program: &Path, at: &str, seconds: u32) {
    let mut command = Command::new(program);
    command
        .arg("--config-file")
        .arg(Path::new(FOLDER).join("detector-user/tests/api/schemathesis.toml"))
        .arg("run")
        .arg(Path::new(FOLDER).join("docs/openapi.json"))
        .args(["--url", &format!("http://{at}")])
        .args(["--checks", "all", "--continue-on-failure", "--no-color"])
        // It never ends: `reads.rs` follows it.
        .args(["--exclude-path", "/api/v1/events"])
        .args(["--seed", "1", "--request-timeout", "30"])
        .args(["--max-time", &seconds.to_string()])
        .current_dir(&stage.folder);
    let output = stage.server.within(|| command.output()).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        stage.log()
    );
    let all = format!("Tested: {}", operations() - 1);
    assert!(said.contains(&all), "it did not try all: {said}");
    assert!(stage.is_running(), "{}", stage.log());
    assert_eq!(stage.get("/readyz").status, 200);
}

#[test]
fn reads_over_tcp_are_as_described() {
    let Some(program) = program() else {
        return;
    };
    let Some(mut stage) = Stage::new(&[], "") else {
        return;
    };
    stage.scan([10, 0, 0, 9]);
    all_is_as_described(&mut stage, &program, TCP, TCP_S);
}

#[test]
fn changes_over_the_unix_socket_are_as_described() {
    let Some(program) = program() else {
        return;
    };
    let Some(mut stage) = Stage::new(&[], "") else {
        return;
    };
    let (listener, socket) = (
        stage.server.within(|| TcpListener::bind(PROXY)).unwrap(),
        stage.socket(),
    );
    // Ends with the test program.
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let _ = pass_on(client, &socket);
        }
    });
    stage.scan([10, 0, 0, 9]);
    all_is_as_described(&mut stage, &program, PROXY, UNIX_S);
}

fn pass_on(mut client: TcpStream, socket: &Path) -> io::Result<()> {
    let mut server = UnixStream::connect(socket)?;
    let (mut asked, mut asks) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut asks, &mut asked);
        let _ = asked.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let _ = io::copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
    });
    Ok(())
}

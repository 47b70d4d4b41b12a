//! The agent on a server's interface, an attacker on the other end of the wire, and a client of its API.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write},
    net::TcpStream,
    ops::{Deref, DerefMut},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use serde_json::Value;

pub use crate::lab::agent::SECONDS;
use crate::lab::{Lab, agent, wait_for};

pub const TCP: &str = "127.0.0.1:9190";

/// The agent, with an API.
pub struct Stage(agent::Stage);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

impl Stage {
    /// Starts the agent with these arguments, and `[api]` as given besides the socket.
    pub fn new(arguments: &[&str], api: &str) -> Option<Self> {
        let furnish = |folder: &Path| {
            let socket = folder.join("run/detector.sock");
            let api = api.replace("FOLDER", &folder.display().to_string());
            let file = folder.join("detector.toml");
            fs::write(&file, format!("[api]\nsocket = {socket:?}\n{api}\n")).unwrap();
            let config = ["--config".to_owned(), file.display().to_string()];
            let given = arguments.iter().map(|&word| word.to_owned());
            config.into_iter().chain(given).collect()
        };
        Some(Self(agent::Stage::furnished(Lab::new(&[])?, furnish, &[])?))
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("run/detector.sock")
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join("detector.toml")
    }

    pub fn tcp(&self) -> TcpStream {
        let stream = self.server.within(|| TcpStream::connect(TCP)).unwrap();
        stream.set_read_timeout(Some(SECONDS)).unwrap();
        stream
    }

    /// Reads over TCP.
    pub fn get(&self, path: &str) -> Answer {
        let mut stream = self.tcp();
        exchange(&mut stream, "GET", path, "", b"")
    }

    /// Asks for something over TCP.
    pub fn send(&self, method: &str, path: &str, head: &str, body: &[u8]) -> Answer {
        exchange(&mut self.tcp(), method, path, head, body)
    }

    /// Asks for something over the Unix socket.
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(SECONDS)).unwrap();
        exchange(&mut stream, method, path, "", body)
    }

    /// The value of a series in `/metrics`.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        let value = line.unwrap_or_else(|| panic!("no {series} in:\n{text}"));
        value.trim().parse().unwrap()
    }

    /// The alerts that the API tells of a family and action.
    pub fn alerts(&self, family: &str, action: &str) -> Vec<Value> {
        let all = self.get("/api/v1/alerts").json();
        let all = all.as_array().unwrap().iter();
        all.filter(|alert| {
            alert["detector"]["family"] == family && alert["detector"]["action"] == action
        })
        .cloned()
        .collect()
    }

    pub fn await_alert(&self, family: &str, action: &str) -> Value {
        wait_for(SECONDS, || !self.alerts(family, action).is_empty());
        let alerts = self.alerts(family, action);
        let alert = alerts.first().cloned();
        alert.unwrap_or_else(|| panic!("no {action} of {family}\n{}", self.log()))
    }
}

impl Deref for Stage {
    type Target = agent::Stage;

    fn deref(&self) -> &agent::Stage {
        &self.0
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut agent::Stage {
        &mut self.0
    }
}

/// One request and its answer.
pub fn exchange<S: Write + std::io::Read>(
    stream: &mut S,
    method: &str,
    path: &str,
    head: &str,
    body: &[u8],
) -> Answer {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{head}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    // A body that is refused is not read to its end.
    let _ = stream.write_all(body);
    read_answer(stream)
}

pub fn read_answer<S: std::io::Read>(stream: &mut S) -> Answer {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "cut off: {head}");
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.split_once("content-length: ").map(|(_, rest)| {
        let digits = rest.split("\r\n").next().unwrap();
        digits.parse::<usize>().unwrap()
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body }
}

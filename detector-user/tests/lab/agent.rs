//! A server with the agent on its interface, and an attacker.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use detector_common::packet::tcp;
use serde_json::Value;

use super::{
    Lab,
    frames::{tcp_frame, v4},
    raw::Raw,
    space::{Space, veth},
    wait_for,
};

pub const SECONDS: Duration = Duration::from_secs(30);
pub const SERVER: [u8; 4] = [10, 0, 0, 1];

/// A server with the agent on its interface, and an attacker on the other end of the wire.
pub struct Stage {
    pub attacker: Space,
    pub server: Space,
    pub folder: PathBuf,
    pub agent: Child,
    lab: Lab,
}

impl Stage {
    /// Starts the agent with these arguments.
    pub fn new(arguments: &[&str]) -> Option<Self> {
        Self::on(Lab::new(&[])?, arguments, &[])
    }

    /// Starts the agent with these arguments and variables of the environment.
    pub fn on(lab: Lab, arguments: &[&str], environment: &[(&str, &str)]) -> Option<Self> {
        let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
        Self::furnished(lab, |_| arguments, environment)
    }

    /// The same, with the arguments that come of what was put into its folder.
    pub fn furnished(
        lab: Lab,
        furnish: impl FnOnce(&Path) -> Vec<String>,
        environment: &[(&str, &str)],
    ) -> Option<Self> {
        let (attacker, server) = (Space::new(), Space::new());
        veth((&attacker, "va"), (&server, "vb"));
        let pins = lab.pins().root().to_owned();
        let folder = std::env::temp_dir().join(format!(
            "detector-agent-{}-{}",
            std::process::id(),
            pins.parent()?.file_name()?.to_string_lossy()
        ));
        fs::create_dir_all(&folder).unwrap();
        let arguments = furnish(&folder);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let agent = start(&server, &pins, &folder, &arguments, environment);
        let stage = Self {
            attacker,
            server,
            folder,
            agent,
            lab,
        };
        stage.hear("ready");
        Some(stage)
    }

    pub fn pins(&self) -> PathBuf {
        self.lab.pins().root().to_owned()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Waits until the agent says this.
    pub fn hear(&self, text: &str) {
        self.hear_times(text, 1);
    }

    /// Waits until the agent has said this so often.
    pub fn hear_times(&self, text: &str, times: usize) {
        let heard = wait_for(SECONDS, || self.log().matches(text).count() >= times);
        assert!(
            heard,
            "the agent never said {text:?} {times} times:\n{}",
            self.log()
        );
    }

    pub fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.join("eve.json")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Waits for an alert of this family and action.
    pub fn alert(&self, family: &str, action: &str) -> Value {
        let find = || {
            self.events().into_iter().find(|event| {
                event["detector"]["family"] == family && event["detector"]["action"] == action
            })
        };
        wait_for(SECONDS, || find().is_some());
        find().unwrap_or_else(|| {
            panic!(
                "no {action} of {family}: {:?}\n{}",
                self.events(),
                self.log()
            )
        })
    }

    pub fn verdicts(&self) -> Vec<Value> {
        let output = self.server.try_run(&format!(
            "{} --pin-dir {} verdicts list -o json",
            env!("CARGO_BIN_EXE_detector"),
            self.pins().display()
        ));
        serde_json::from_slice::<Value>(&output.stdout)
            .ok()
            .and_then(|list| list.as_array().cloned())
            .unwrap_or_default()
    }

    /// One source knocks at many ports, and nobody answers.
    pub fn scan(&self, source: [u8; 4]) {
        self.attacker.within(|| {
            let raw = Raw::sender("va");
            for port in 1..=200 {
                raw.send(&tcp_frame(
                    v4(source, 40_000),
                    v4(SERVER, port),
                    tcp::SYN,
                    &[],
                ));
            }
        });
    }

    /// Many sources knock at one port, each once.
    pub fn flood(&self, packets: u32) {
        self.attacker.within(|| {
            let raw = Raw::sender("va");
            for n in 0..packets {
                let [_, b, c, d] = n.to_be_bytes();
                let source = v4([100 + b, c, d, 7], 1024 + (n % 60_000) as u16);
                raw.send(&tcp_frame(source, v4(SERVER, 80), tcp::SYN, &[]));
            }
        });
    }

    /// Flows that begin, carry a little and are reset, each from a port of its own of one source.
    pub fn closed_flows(&self, source: [u8; 4], ports: std::ops::Range<u16>) {
        self.attacker.within(|| {
            let raw = Raw::sender("va");
            for port in ports {
                let (client, server) = (v4(source, port), v4(SERVER, 80));
                for (flags, payload) in [
                    (tcp::SYN, &b""[..]),
                    (tcp::ACK | tcp::PSH, b"GET /"),
                    (tcp::RST | tcp::ACK, b""),
                ] {
                    raw.send(&tcp_frame(client, server, flags, payload));
                }
            }
        });
    }

    /// What the API answers, as JSON.
    pub fn json(&self, path: &str) -> Value {
        let body = get(&self.server, path).unwrap_or_default();
        serde_json::from_str(&body).unwrap_or_default()
    }

    /// A series of `/metrics`, with its labels as they are written there.
    pub fn metric(&self, series: &str) -> Option<f64> {
        metric(&self.server, series)
    }

    /// Starts another agent in the place of one that ended.
    pub fn restart(&mut self, arguments: &[&str]) {
        self.agent = start(&self.server, &self.pins(), &self.folder, arguments, &[]);
        self.hear("ready");
    }

    pub fn signal(&self, signal: &str) {
        let done = Command::new("kill")
            .args([signal, &self.agent.id().to_string()])
            .status();
        assert!(done.unwrap().success());
    }

    pub fn is_running(&mut self) -> bool {
        self.agent.try_wait().unwrap().is_none()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What an agent in a namespace answers; `None` where there is none.
fn get(space: &Space, path: &str) -> Option<String> {
    let answer = space.within(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9190").ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    })?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.to_owned())
}

/// A series of its `/metrics`, with its labels as they are written there.
pub fn metric(space: &Space, series: &str) -> Option<f64> {
    let value = |line: &str| {
        let rest = line.strip_prefix(series)?.strip_prefix(' ')?;
        rest.trim().parse().ok()
    };
    get(space, "/metrics")?.lines().find_map(value)
}

pub fn start(
    server: &Space,
    pins: &Path,
    folder: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Child {
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_detector"));
    command
        .arg("--pin-dir")
        .arg(pins)
        .args(["run", "-i", "vb", "--verdict-slots", "64"])
        .args(arguments)
        .env_remove("DETECTOR_CONFIG")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    if !arguments.contains(&"--flow-slots") {
        command.args(["--flow-slots", "4096"]);
    }
    if !arguments.contains(&"--events") {
        command.arg("--events").arg(folder.join("eve.json"));
    }
    server.within(|| command.spawn().unwrap())
}

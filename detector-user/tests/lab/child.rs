//! Parts of a test that run in a process of their own: this test program once more,
//! running one ignored test.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    process::{ChildStdout, Command, Stdio},
    time::Duration,
};

use rustix::process::{Signal, set_parent_process_death_signal};

use super::space::Running;

const ARGUMENTS: &str = "DETECTOR_LAB_CHILD";
const MARK: &str = "lab: ";

/// A process that runs one ignored test, and dies with this one at the latest.
pub struct Child {
    pub running: Running,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts the ignored test `name` with some arguments, none of them empty.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args([
                "--exact",
                name,
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(ARGUMENTS, arguments.join("\n"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            running: Running(child),
            output,
        }
    }

    /// What it says next; `None` when it has ended.
    pub fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some((_, said)) = line.trim_end().split_once(MARK) {
                return Some(said.to_owned());
            }
        }
    }

    /// Kills it as nothing can prevent.
    pub fn kill(mut self) {
        self.running.0.kill().unwrap();
        self.running.0.wait().unwrap();
    }

    /// Waits for its end; whether it succeeded.
    pub fn end(mut self) -> bool {
        while self.hear().is_some() {}
        self.running.0.wait().unwrap().success()
    }
}

/// In the child: its arguments, unless somebody runs the ignored tests by hand.
pub fn arguments() -> Option<Vec<String>> {
    let arguments = env::var(ARGUMENTS).ok()?;
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    Some(arguments.split('\n').map(str::to_owned).collect())
}

/// In the child: says something to the parent.
pub fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{MARK}{what}").unwrap();
    out.flush().unwrap();
}

/// In the child: does nothing more until it is killed.
pub fn stay() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

//! A Prometheus server in the namespace of the agent that it scrapes.

use std::{cell::RefCell, collections::BTreeSet, fs, process::Command, thread, time::Duration};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    lab::{space::Running, wait_for},
    stage::{Stage, TCP},
};

/// The namespace is the test's own, so that the port is free.
const LISTEN: &str = "127.0.0.1:9091";
/// What happened is scraped within this: a scrape, and as long as the agent serves the same reading of the kernel's maps.
const LAG: Duration = Duration::from_millis(2_000);
/// A machine that others use, too, may need this long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The server, and what has been seen to move.
pub struct Prometheus<'a> {
    stage: &'a Stage,
    moved: RefCell<BTreeSet<String>>,
    folder: TempDir,
    _running: Running,
}

/// How a series, or the sum of several, is to move.
#[derive(Clone, Copy, Debug)]
pub enum Goes {
    /// It rises, or comes and is not 0.
    Up(&'static str),
    /// It falls, or goes.
    Down(&'static str),
}
pub use Goes::{Down, Up};

impl Goes {
    fn series(self) -> &'static str {
        let (Up(series) | Down(series)) = self;
        series
    }

    fn done(self, before: Option<f64>, now: Option<f64>) -> bool {
        match self {
            Up(_) => now > Some(before.unwrap_or(0.0)),
            Down(_) => before.is_some() && now < before,
        }
    }
}

impl<'a> Prometheus<'a> {
    /// Starts it, and waits until it has scraped.
    pub fn start(stage: &'a Stage) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs: [{{job_name: detector, static_configs: [{{targets: [\"{TCP}\"]}}]}}]\n"
        );
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", at("prometheus.yml")))
            .arg(format!("--storage.tsdb.path={}", at("data")))
            .arg(format!("--web.listen-address={LISTEN}"))
            .arg("--log.level=warn")
            .stderr(fs::File::create(folder.path().join("log")).unwrap());
        let started = Self {
            stage,
            moved: RefCell::default(),
            _running: stage.server.start(command),
            folder,
        };
        started.scrapes();
        started
    }

    /// Waits until a scrape succeeds: a machine that is busy may be too slow for one now and then.
    fn scrapes(&self) {
        let up = wait_for(PATIENCE, || self.value("up") == Some(1.0));
        assert!(up, "Prometheus scrapes nothing: {}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Asks its API.
    pub fn ask(&self, path: &str, parameter: &str) -> Option<Value> {
        let mut command = Command::new("curl");
        command
            .args(["-sG", "-m", "10", "--data-urlencode", parameter])
            .arg(format!("http://{LISTEN}/api/v1/{path}"));
        let output = self.stage.server.within(|| command.output()).unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).ok()?;
        assert_eq!(answer["status"], "success", "{parameter}: {answer}");
        Some(answer["data"].clone())
    }

    /// How much some series are together as they were last scraped, below 0 or above; nothing where there are none.
    pub fn value(&self, series: &str) -> Option<f64> {
        let data = self.ask("query", &format!("query=sum(abs({series}))"))?;
        let text = data["result"][0]["value"][1].as_str()?;
        Some(text.parse().unwrap())
    }

    /// Lets something happen, and waits until all that counts it has moved.
    pub fn sees(&self, what: &str, wanted: &[Goes], happen: impl FnOnce()) {
        // What happened before is not to count as what happens now.
        thread::sleep(LAG);
        self.scrapes();
        let before: Vec<_> = wanted.iter().map(|one| self.value(one.series())).collect();
        happen();
        for (one, before) in wanted.iter().zip(before) {
            let mut now = before;
            let moved = wait_for(PATIENCE, || {
                now = self.value(one.series());
                one.done(before, now)
            });
            assert!(
                moved,
                "{what}: {one:?} did not move from {before:?}, it is {now:?}\n{}\n{}\n{}\n{}",
                self.stage.get("/api/v1/status").text(),
                self.stage.get("/api/v1/alerts?limit=5").text(),
                self.stage.log(),
                self.log()
            );
            let series = one.series();
            let name = series.split('{').next().unwrap().to_owned();
            self.moved.borrow_mut().insert(name);
        }
    }

    /// Whether a metric was seen to move.
    pub fn has_seen(&self, name: &str) -> bool {
        self.moved.borrow().contains(name)
    }
}

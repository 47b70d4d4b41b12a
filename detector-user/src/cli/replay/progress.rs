//! How far the replay is, on standard error while a person looks at it, and messages that do not tear it.

use std::fs;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::captures::Capture;
use crate::output::printable;

/// Longest part of a file's name that the bar shows.
const NAME_CHARS: usize = 40;

/// A progress bar over the bytes of all captures, as they are stored.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Bytes of the captures before this one.
    before: u64,
}

impl Progress {
    /// `quiet`: the flows themselves are being printed to the terminal.
    pub(super) fn new(captures: &[Capture], quiet: bool) -> Self {
        let bar = if quiet || !std::io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            bar(captures)
        };
        Self { bar, before: 0 }
    }

    /// The next capture.
    pub(super) fn begin(&self, path: &Path) {
        if self.bar.is_hidden() {
            return;
        }
        let name = path.file_name().unwrap_or(path.as_os_str());
        let name = name.to_string_lossy();
        let shown: String = printable(&name).chars().take(NAME_CHARS).collect();
        self.bar.set_message(shown);
    }

    /// Bytes read of the current capture.
    pub(super) fn at(&self, bytes: u64) {
        self.bar.set_position(self.before + bytes);
    }

    /// The current capture is done.
    pub(super) fn end(&mut self, bytes: u64) {
        self.before += bytes;
        self.bar.set_position(self.before);
    }

    /// Prints a line to standard error. That nobody may read it is no reason to stop.
    pub(super) fn say(&self, line: &str) {
        use std::io::Write as _;
        self.bar.suspend(|| {
            let _ = writeln!(std::io::stderr(), "{}", printable(line));
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn bar(captures: &[Capture]) -> ProgressBar {
    const REDRAW: Duration = Duration::from_millis(100);
    // A pipe has no length; then there is none of the whole.
    let total: Option<u64> = captures
        .iter()
        .map(|capture| {
            fs::metadata(&capture.path)
                .ok()
                .filter(fs::Metadata::is_file)
                .map(|metadata| metadata.len())
        })
        .sum();
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} {msg}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {decimal_bytes} {decimal_bytes_per_sec} {msg}",
        ),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(REDRAW);
    bar
}

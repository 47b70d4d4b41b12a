//! Where event lines go: a file, standard output or a Unix socket. A thread of its own writes them, so that a place that is
//! slow, full or gone holds nobody up: lines that find no room are counted.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Lines that wait to be written, at most.
const WAITING_MAX: usize = 8192;
/// After a failure it is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

/// A place for event lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
    /// A Unix stream socket, connected to.
    Socket(PathBuf),
}

impl FromStr for Place {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match (text, text.strip_prefix("unix:")) {
            ("-", _) => Self::Stdout,
            (_, Some(path)) => Self::Socket(path.into()),
            _ => Self::File(text.into()),
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Socket(path) => write!(f, "unix socket {}", path.display()),
        }
    }
}

impl Place {
    fn open(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Self::Stdout => Box::new(io::stdout()),
            Self::File(path) => Box::new(append(path)?),
            Self::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_write_timeout(Some(RETRY))?;
                Box::new(stream)
            }
        })
    }
}

fn append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// What became of lines.
#[derive(Debug, Default)]
pub struct SinkCounts {
    /// Written.
    pub written: AtomicU64,
    /// Lost, because there was no room or the place failed.
    pub lost: AtomicU64,
}

/// Takes event lines.
pub struct Sink {
    lines: Option<SyncSender<String>>,
    counts: Arc<SinkCounts>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// A sink to a place. `complain` is called, on its thread, when the place fails and when it works again.
    ///
    /// # Errors
    /// Where the place cannot be opened at first.
    pub fn open(place: Place, complain: impl Fn(&str) + Send + 'static) -> io::Result<Self> {
        let writer = place.open()?;
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let counts = Arc::new(SinkCounts::default());
        let own = Drain {
            place,
            writer: Some(writer),
            counts: counts.clone(),
            tried_at: None,
            failing: false,
        };
        let thread = std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || own.run(&waiting, &complain))?;
        Ok(Self {
            lines: Some(lines),
            counts,
            thread: Some(thread),
        })
    }

    /// Hands over a line, with its end. Never waits.
    pub fn line(&self, line: String) {
        let Some(lines) = &self.lines else {
            return;
        };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = lines.try_send(line) {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What became of the lines so far.
    #[must_use]
    pub fn counts(&self) -> &SinkCounts {
        &self.counts
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // The thread writes what waits, and ends with the channel.
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Drain {
    place: Place,
    writer: Option<Box<dyn Write + Send>>,
    counts: Arc<SinkCounts>,
    /// When it was last tried to open the place anew.
    tried_at: Option<Instant>,
    failing: bool,
}

impl Drain {
    fn run(mut self, waiting: &Receiver<String>, complain: &dyn Fn(&str)) {
        while let Ok(line) = waiting.recv() {
            let result = self.write(&line);
            match result {
                Ok(()) => {
                    self.counts.written.fetch_add(1, Ordering::Relaxed);
                    if std::mem::take(&mut self.failing) {
                        complain(&format!("events are written to {} again", self.place));
                    }
                }
                Err(error) => {
                    self.counts.lost.fetch_add(1, Ordering::Relaxed);
                    if !std::mem::replace(&mut self.failing, true) {
                        complain(&format!(
                            "writing events to {}: {error}; events are lost until it takes them again, everything else goes on",
                            self.place
                        ));
                    }
                    self.writer = None;
                }
            }
        }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                if self.tried_at.is_some_and(|at| at.elapsed() < RETRY) {
                    return Err(io::Error::other("it failed a moment ago"));
                }
                self.tried_at = Some(Instant::now());
                let writer = self.writer.insert(self.place.open()?);
                // A line may have been cut off.
                writer.write_all(b"\n")?;
                writer
            }
        };
        writer.write_all(line.as_bytes())?;
        writer.flush()
    }
}

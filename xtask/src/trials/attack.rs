//! An attack: made ready once, begun as often as its scenario is tried.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::crowd::Crowd;
use super::scenario::{Attack, PASSWORDS, Scenario};
use crate::lab::Lab;
use crate::lab::process::Process;
use crate::lab::sender::Sender;
use crate::lab::traffic;

/// Passwords that are guessed: more than there is time for.
const GUESSES: u32 = 5_000;

/// An attack, ready to begin.
pub(super) struct Ready {
    attack: &'static Attack,
    frames: Arc<Vec<Vec<u8>>>,
    /// How it comes about, for a person.
    pub(super) told: String,
    /// Whether it is made of the capture that it ought to be made of.
    pub(super) genuine: bool,
}

/// An attack, under way; dropping ends it.
pub(super) enum Running {
    Nothing,
    Frames(Sender),
    Tool(Process),
    Requests(Crowd),
}

impl Ready {
    /// Reads or makes its packets.
    pub(super) fn new(scenario: &'static Scenario, captures: &Path) -> Result<Self> {
        let mut genuine = true;
        let (frames, told) = match &scenario.attack {
            Attack::None => (Vec::new(), "nobody attacks".to_owned()),
            Attack::Replayed {
                capture,
                turn,
                per_second,
                stand_in,
            } => {
                let path = captures.join(capture);
                genuine = path.exists();
                let (frames, whence) = if genuine {
                    let frames = traffic::read(&path, turn)
                        .with_context(|| format!("cannot use {}", path.display()))?;
                    (frames, format!("from {capture}"))
                } else {
                    let why = format!("CRAFTED, for there is no {}", path.display());
                    (stand_in.craft(), why)
                };
                let told = rate(frames.len(), *per_second, scenario.lasts_s, &whence);
                (frames, told)
            }
            Attack::Crafted { recipe, per_second } => {
                let frames = recipe.craft();
                let told = rate(frames.len(), *per_second, scenario.lasts_s, "crafted");
                (frames, told)
            }
            Attack::Tool(line) => (Vec::new(), line.join(" ")),
            Attack::Requests { per_second } => {
                let told = format!("{per_second} requests a second from each of 20 addresses");
                (Vec::new(), told)
            }
        };
        Ok(Self {
            attack: &scenario.attack,
            frames: Arc::new(frames),
            told,
            genuine,
        })
    }

    pub(super) fn begin(&self, lab: &Lab) -> Result<Running> {
        let attackers = lab.attackers();
        // That of the attack before is not this one's.
        let _ = fs::remove_file(tool_log(lab));
        Ok(match self.attack {
            Attack::None => Running::Nothing,
            Attack::Replayed { per_second, .. } | Attack::Crafted { per_second, .. } => {
                Running::Frames(Sender::start(
                    attackers,
                    Arc::clone(&self.frames),
                    *per_second,
                )?)
            }
            Attack::Tool(line) => {
                let passwords = passwords(lab.folder())?;
                let passwords = crate::tool::text(&passwords)?;
                let line: Vec<&str> = line
                    .iter()
                    .map(|word| if *word == PASSWORDS { passwords } else { word })
                    .collect();
                Running::Tool(Process::contained(attackers, "", &line, tool_log(lab))?)
            }
            Attack::Requests { per_second } => {
                Running::Requests(Crowd::start(attackers, *per_second)?)
            }
        })
    }
}

fn rate(packets: usize, per_second: u32, lasts_s: u64, whence: &str) -> String {
    let again = match u64::from(per_second) * lasts_s > packets as u64 {
        true => ", over and over",
        false => "",
    };
    format!("{packets} packets, {whence}, at {per_second} a second{again}")
}

impl Running {
    /// Whether it has not ended by itself.
    pub(super) fn goes_on(&mut self) -> Result<bool> {
        let Self::Tool(process) = self else {
            return Ok(true);
        };
        match process.ended()? {
            None => Ok(true),
            Some(status) if status.success() => Ok(false),
            Some(status) => bail!(
                "the attacker's tool ended with {status}{}",
                process.last_words()
            ),
        }
    }

    pub(super) fn end(self) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Frames(mut sender) => sender.stop().map(drop),
            Self::Tool(process) => {
                drop(process);
                Ok(())
            }
            Self::Requests(mut crowd) => crowd.end(),
        }
    }
}

/// What an attacker's tool says.
pub(super) fn tool_log(lab: &Lab) -> PathBuf {
    lab.folder().join("attack.log")
}

/// A file of guesses, none of which is right.
fn passwords(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("passwords");
    if !path.exists() {
        let guesses: Vec<String> = (0..GUESSES).map(|n| format!("letmein-{n}")).collect();
        fs::write(&path, guesses.join("\n"))?;
    }
    Ok(path)
}

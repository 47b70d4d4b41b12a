//! The agent's configuration: a TOML file, every key with a default, an unknown key refused with its place.
//!
//! ```toml
//! enforce = false          # monitor: tell, and drop nothing
//! tick_ms = 100
//! model = "/etc/detector/model.bin"
//! events = "/var/log/detector/eve.json"   # or "-", or "unix:/run/…"
//!
//! [decide.rules]
//! scan_misses = { alert = 14.0, rate_limit = 40.0, drop = 100.0 }
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::model_source::ModelSettings;
use crate::{decide::policy::Policy, serve::settings::ApiSettings};

/// Where the configuration is looked for unless told otherwise.
pub const PATH: &str = "/etc/detector/detector.toml";

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("reading configuration {}: {cause}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It is not what it must be.
    #[error("configuration {}: {cause}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and what.
        cause: Box<toml::de::Error>,
    },
    /// A value is out of range.
    #[error("configuration {}: {key} is {found}, allowed is {allowed}", path.display())]
    Range {
        /// Which.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        allowed: &'static str,
    },
}

/// The file's contents.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Act, or only tell.
    pub enforce: bool,
    /// Between two ticks, ms.
    pub tick_ms: u64,
    /// The model; none: the one that is built in.
    pub model: Option<PathBuf>,
    /// Where events go.
    pub events: Option<String>,
    /// Whether flows that end are events, too.
    pub flow_events: bool,
    /// Between two stats events, s; 0: none.
    pub stats_s: u64,
    /// Where models come from, and what is done about new ones.
    pub models: ModelSettings,
    /// Where and how it serves.
    pub api: ApiSettings,
    /// How it is decided.
    pub decide: Policy,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enforce: false,
            tick_ms: 100,
            model: None,
            events: None,
            flow_events: false,
            stats_s: 10,
            models: ModelSettings::default(),
            api: ApiSettings::default(),
            decide: Policy::default(),
        }
    }
}

impl Config {
    /// Reads a file; the one at [`PATH`] may be missing.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        let given = path.unwrap_or(Path::new(PATH));
        let text = match fs::read_to_string(given) {
            Ok(text) => text,
            Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(cause) => {
                return Err(ConfigError::Read {
                    path: given.to_owned(),
                    cause,
                });
            }
        };
        Self::parse(&text, given)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|cause| ConfigError::Parse {
            path: path.to_owned(),
            cause: Box::new(cause),
        })?;
        if !(10..=10_000).contains(&config.tick_ms) {
            return Err(ConfigError::Range {
                path: path.to_owned(),
                key: "tick_ms",
                found: config.tick_ms.to_string(),
                allowed: "10 to 10000",
            });
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_is_shipped_has_every_default() {
        let text = include_str!("../../../deploy/detector.toml");
        let shipped = Config::parse(text, Path::new("deploy/detector.toml")).unwrap();
        assert_eq!(shipped, Config::default());
        // And every key: a struct's names are in its debug form.
        for word in format!("{shipped:?}").split([' ', '{', '(', ',']) {
            let Some(key) = word.strip_suffix(':') else {
                continue;
            };
            assert!(text.contains(key), "{key} is missing");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let parse = |text: &str| Config::parse(text, Path::new("x.toml"));
        assert_eq!(parse("").unwrap(), Config::default());
        let config = parse("enforce = true\n[decide.victims]\nquiet_s = 3\n").unwrap();
        assert!(config.enforce && config.decide.victims.quiet_s == 3);
        let error = parse("enforce = true\nticks = 3\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 2") && error.contains("ticks"),
            "{error}"
        );
        let error = parse("tick_ms = 3").unwrap_err().to_string();
        assert!(error.contains("10 to 10000"), "{error}");
        let error = parse("[decide.rules]\nscan = 3\n").unwrap_err().to_string();
        assert!(error.contains("scan"), "{error}");
    }
}

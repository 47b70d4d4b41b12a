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

pub mod keys;
pub mod origin;
#[cfg(test)]
mod reference;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use origin::{Origin, Resolved};
use serde::{Deserialize, Serialize};

use super::model_source::ModelSettings;
use crate::{
    decide::policy::Policy,
    drift::DriftSettings,
    enforce::target::Prefix,
    kubernetes::KubernetesSettings,
    output::{archive::ArchiveSettings, nats::NatsSettings},
    privilege::PrivilegeSettings,
    serve::settings::ApiSettings,
};

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
    #[error("configuration {}, {origin}: {key} is {found}, allowed is {allowed}", path.display())]
    Range {
        /// Which.
        path: PathBuf,
        /// Where its value comes from.
        origin: Origin,
        /// The key.
        key: String,
        /// Its value.
        found: String,
        /// What it may be.
        allowed: String,
    },
    /// A variable of the environment is not what its key must be.
    #[error("environment variable {name}: {key} cannot be {found:?}: {cause}")]
    Environment {
        /// Which.
        name: String,
        /// The key that it stands for.
        key: String,
        /// Its value.
        found: String,
        /// Why.
        cause: String,
    },
}

/// The file's contents.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Act, or only tell.
    pub enforce: bool,
    /// Prefixes and addresses that no verdict may deny, in a list: `["192.0.2.0/24", "2001:db8::1"]`.
    pub never_block: Vec<Prefix>,
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
    /// What it gives up at its start.
    pub privileges: PrivilegeSettings,
    /// Where models come from, and what is done about new ones.
    pub models: ModelSettings,
    /// When live traffic is told to have drifted from what the model was trained on.
    pub drift: DriftSettings,
    /// Where flows are archived.
    pub archive: ArchiveSettings,
    /// Where events are published.
    pub nats: NatsSettings,
    /// Whether pods are named, and how their names are had.
    pub kubernetes: KubernetesSettings,
    /// Where and how it serves.
    pub api: ApiSettings,
    /// How it is decided.
    pub decide: Policy,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enforce: false,
            never_block: Vec::new(),
            tick_ms: 100,
            model: None,
            events: None,
            flow_events: false,
            stats_s: 10,
            privileges: PrivilegeSettings::default(),
            models: ModelSettings::default(),
            drift: DriftSettings::default(),
            archive: ArchiveSettings::default(),
            nats: NatsSettings::default(),
            kubernetes: KubernetesSettings::default(),
            api: ApiSettings::default(),
            decide: Policy::default(),
        }
    }
}

impl Config {
    /// Reads a file, and what the environment says over it; the file at [`PATH`] may be missing.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        Self::resolve(path).map(|resolved| resolved.config)
    }

    /// The same, and where each value comes from.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn resolve(path: Option<&Path>) -> Result<Resolved, ConfigError> {
        let given = path.unwrap_or(Path::new(PATH));
        let text = match fs::read_to_string(given) {
            Ok(text) => text,
            Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => {
                String::new()
            }
            Err(cause) => {
                return Err(ConfigError::Read {
                    path: given.to_owned(),
                    cause,
                });
            }
        };
        Resolved::of(&text, given, |name| env::var(name).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::{keys::KEYS, *};

    fn resolve(text: &str, environment: &[(&str, &str)]) -> Result<Resolved, String> {
        let find = |name: &str| {
            let mut all = environment.iter();
            let found = all.find(|(one, _)| *one == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Resolved::of(text, Path::new("x.toml"), find).map_err(|error| error.to_string())
    }

    fn refusal(text: &str, environment: &[(&str, &str)]) -> String {
        resolve(text, environment).expect_err("it is refused")
    }

    #[test]
    fn the_file_that_is_shipped_has_every_key_with_its_default() {
        let text = include_str!("../../../deploy/detector.toml");
        let shipped = resolve(text, &[]).unwrap();
        assert_eq!(shipped.config, Config::default());
        for key in KEYS {
            let name = key.path.rsplit('.').next().unwrap();
            if key.optional {
                assert!(text.contains(&format!("# {name} = ")), "{}", key.path);
            } else {
                assert_ne!(shipped.origin(key.path), Origin::Default, "{}", key.path);
            }
        }
        // And every key of the configuration is among the keys.
        let table = toml::Value::try_from(Config::default()).unwrap();
        let mut places = Vec::new();
        fn walk(value: &toml::Value, path: String, places: &mut Vec<String>) {
            match value.as_table() {
                Some(table) if !table.contains_key("rate_limit") => {
                    for (name, inner) in table {
                        let dot = if path.is_empty() { "" } else { "." };
                        walk(inner, format!("{path}{dot}{name}"), places);
                    }
                }
                _ => places.push(path),
            }
        }
        walk(&table, String::new(), &mut places);
        for place in &places {
            assert!(KEYS.iter().any(|key| key.path == place), "{place}");
        }
        let needed = KEYS.iter().filter(|key| !key.optional).count();
        assert_eq!(places.len(), needed);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        assert_eq!(resolve("", &[]).unwrap().config, Config::default());
        let config = resolve("enforce = true\n[decide.victims]\nquiet_s = 3\n", &[]).unwrap();
        assert!(config.config.enforce && config.config.decide.victims.quiet_s == 3);
        let error = refusal("enforce = true\nticks = 3\n", &[]);
        assert!(
            error.contains("line 2") && error.contains("ticks"),
            "{error}"
        );
        let error = refusal("[decide.rules]\nscan = 3\n", &[]);
        assert!(error.contains("scan"), "{error}");
    }

    #[test]
    fn a_value_out_of_range_is_named_with_file_line_key_and_what_is_allowed() {
        for (text, says) in [
            (
                "tick_ms = 3",
                "x.toml, line 1: tick_ms is 3, allowed is 10 to 10000",
            ),
            (
                "\n[decide.verdicts]\nttl_s = 0",
                "line 3: decide.verdicts.ttl_s is 0, allowed is 1 to",
            ),
            (
                "[decide.model]\nshare_min = nan",
                "line 2: decide.model.share_min is nan",
            ),
            (
                "[decide.model]\nshare_min = -0.5",
                "share_min is -0.5, allowed is a number from 0 to 1",
            ),
            ("[decide.victims]\nalways = inf", "always is inf"),
            (
                "[decide.model]\nflows = { alert = 9.0, rate_limit = 5.0, drop = 0.0 }",
                "decide.model.flows.rate_limit is 5.0, allowed is 0 (never), or at least the step before, which is 9",
            ),
            (
                "[decide.model]\nflows = { alert = -1.0, rate_limit = 5.0, drop = 0.0 }",
                "flows.alert is -1.0",
            ),
            (
                "[decide.verdicts]\nttl_max_s = 5",
                "ttl_max_s is 5, allowed is at least decide.verdicts.ttl_s, which is 60",
            ),
            (
                "[drift]\ndrifted = 0.05",
                "drift.drifted is 0.05, allowed is at least drift.shifting, which is 0.1",
            ),
            (
                "[api]\nlisten = \"here\"",
                "line 2: api.listen is \"here\", allowed is ADDRESS:PORT",
            ),
            (
                "[archive]\nbytes_max = 5",
                "line 2: archive.bytes_max is 5, allowed is 1048576 to",
            ),
            (
                "[nats]\nurl = \"http://here\"",
                "nats.url is \"http://here\", allowed is nats://HOST[:PORT] or tls://HOST[:PORT]",
            ),
            (
                "[nats]\nsubject = \"a.*.b\"",
                "nats.subject is \"a.*.b\", allowed is words",
            ),
            (
                "[nats]\nstream = \"a.b\"",
                "nats.stream is \"a.b\", allowed is one word",
            ),
            (
                "[kubernetes]\npod_names = true",
                "kubernetes.node is \"\", allowed is the name of this node, without which its pods cannot be told from others'",
            ),
            (
                "[kubernetes]\nnode = \"a,b\"",
                "line 2: kubernetes.node is \"a,b\", allowed is a node's name",
            ),
            (
                "[api]\ntimeout_s = 0",
                "api.timeout_s is 0, allowed is 1 to 600",
            ),
        ] {
            let error = refusal(text, &[]);
            assert!(error.contains(says), "{text}: {error}");
        }
        // What the type alone forbids is told with its line, too.
        for text in [
            "tick_ms = -3",
            "enforce = 1",
            "[decide.verdicts]\nttl_s = 1.5",
        ] {
            assert!(refusal(text, &[]).contains("line "), "{text}");
        }
    }

    #[test]
    fn the_environment_goes_over_the_file_and_is_named() {
        let environment = [
            ("DETECTOR_TICK_MS", "50"),
            ("DETECTOR_API_LISTEN", "off"),
            ("DETECTOR_DECIDE_RULES_SCAN_MISSES_ALERT", "9"),
        ];
        let text = "enforce = true\ntick_ms = 20\n";
        let resolved = resolve(text, &environment).unwrap();
        let config = &resolved.config;
        assert_eq!((config.tick_ms, config.api.listen.as_str()), (50, "off"));
        let usual = Config::default().decide.rules.scan_misses;
        let ladder = config.decide.rules.scan_misses;
        assert_eq!((ladder.alert, ladder.drop), (9.0, usual.drop));
        assert_eq!(resolved.origin("enforce"), Origin::File(1));
        let variable = Origin::Environment("DETECTOR_TICK_MS".to_owned());
        assert_eq!(resolved.origin("tick_ms"), variable);
        assert_eq!(resolved.origin("stats_s"), Origin::Default);
        let error = refusal("", &[("DETECTOR_TICK_MS", "3")]);
        assert!(
            error.contains("environment variable DETECTOR_TICK_MS: tick_ms is 3, allowed is 10"),
            "{error}"
        );
        let error = refusal("", &[("DETECTOR_ENFORCE", "perhaps")]);
        assert!(
            error.contains("DETECTOR_ENFORCE") && error.contains("perhaps"),
            "{error}"
        );
    }
}

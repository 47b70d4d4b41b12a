//! Where each value comes from: the environment goes over the file, the file over the default, and flags over all of them.

use std::{collections::BTreeMap, fmt, path::Path};

use serde::de::IntoDeserializer as _;
use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use super::{
    Config, ConfigError,
    keys::{KEYS, Key, Range},
};

/// How the environment's names begin.
const PREFIX: &str = "DETECTOR_";

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said otherwise.
    Default,
    /// A line of the file.
    File(usize),
    /// A variable of the environment.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(line) => write!(f, "line {line}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// A configuration, and where its values come from.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The configuration.
    pub config: Config,
    /// By path; what is not there is a default.
    origins: BTreeMap<String, Origin>,
}

impl Resolved {
    /// A file's text under the variables of an environment.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn of(
        text: &str,
        path: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let refused = |cause| ConfigError::Parse {
            path: path.to_owned(),
            cause: Box::new(cause),
        };
        // By itself first: what is wrong with the file is told with its line.
        let mut config: Config = toml::from_str(text).map_err(refused)?;
        let mut origins = lines(text).map_err(refused)?;
        let mut table: Table = toml::from_str(text).map_err(refused)?;
        for (place, range) in places() {
            let name = variable(&place);
            let Some(given) = environment(&name) else {
                continue;
            };
            insert(&mut table, &place, value_of(&given, range));
            config = Config::deserialize_table(table.clone()).map_err(|cause| {
                ConfigError::Environment {
                    name: name.clone(),
                    key: place.clone(),
                    found: given,
                    cause: cause.message().to_owned(),
                }
            })?;
            origins.insert(place, Origin::Environment(name));
        }
        let resolved = Self { config, origins };
        resolved.check(path)?;
        Ok(resolved)
    }

    /// Where a key's value comes from; of a ladder of which parts are given, the last of them.
    #[must_use]
    pub fn origin(&self, path: &str) -> Origin {
        let within = |place: &str| {
            let rest = place.strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let mut found = self.origins.iter().filter(|(place, _)| within(place));
        let environment = |origin: &&Origin| matches!(origin, Origin::Environment(_));
        let all: Vec<&Origin> = found.by_ref().map(|(_, origin)| origin).collect();
        let first = all.iter().find(|one| environment(one)).or(all.first());
        first.map_or(Origin::Default, |origin| (*origin).clone())
    }

    /// The value of every key, `None` for those that are absent.
    #[must_use]
    pub fn values(&self) -> Vec<(&'static Key, Option<Value>)> {
        // Plain values with string keys: there is nothing to fail.
        let table = Value::try_from(&self.config).unwrap_or(Value::Table(Table::new()));
        KEYS.iter()
            .map(|key| {
                let mut parts = key.path.split('.');
                let value = parts.try_fold(&table, |value, part| value.get(part));
                (key, value.cloned())
            })
            .collect()
    }

    fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let out_of_range = |key: String, found, allowed| {
            let origin = self.origin(&key);
            Err(ConfigError::Range {
                path: path.to_owned(),
                origin,
                key,
                found,
                allowed,
            })
        };
        for (key, value) in self.values() {
            let fault = value.and_then(|value| key.range.fault(&value));
            if let Some(fault) = fault {
                let key = format!("{}{}", key.path, fault.part);
                return out_of_range(key, fault.found, fault.allowed);
            }
        }
        let verdicts = &self.config.decide.verdicts;
        if verdicts.ttl_max_s < verdicts.ttl_s {
            let allowed = format!(
                "at least decide.verdicts.ttl_s, which is {}",
                verdicts.ttl_s
            );
            let found = verdicts.ttl_max_s.to_string();
            return out_of_range("decide.verdicts.ttl_max_s".to_owned(), found, allowed);
        }
        let drift = &self.config.drift;
        if drift.drifted < drift.shifting {
            let allowed = format!("at least drift.shifting, which is {}", drift.shifting);
            let found = drift.drifted.to_string();
            return out_of_range("drift.drifted".to_owned(), found, allowed);
        }
        let kubernetes = &self.config.kubernetes;
        if kubernetes.pod_names && kubernetes.node.is_empty() {
            let allowed = "the name of this node, without which its pods cannot be told from others' (in a pod: the environment \
                           variable DETECTOR_KUBERNETES_NODE from the field spec.nodeName)";
            let key = "kubernetes.node".to_owned();
            return out_of_range(key, "\"\"".to_owned(), allowed.to_owned());
        }
        Ok(())
    }
}

impl Config {
    fn deserialize_table(table: Table) -> Result<Self, toml::de::Error> {
        serde::Deserialize::deserialize(Value::Table(table).into_deserializer())
    }
}

/// The environment's name for a key.
#[must_use]
pub fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "_").to_uppercase())
}

/// Every place that a value may be given for: each key, and each step of a ladder.
fn places() -> impl Iterator<Item = (String, Range)> {
    KEYS.iter().flat_map(|key| {
        let steps: &[&str] = match key.range {
            Range::Ladder(_) => &["", ".alert", ".rate_limit", ".drop"],
            _ => &[""],
        };
        let place = |step: &&str| (format!("{}{step}", key.path), key.range);
        steps.iter().map(place).collect::<Vec<_>>()
    })
}

/// A variable's text as a value: as it is where text is due, else as TOML has it. A list may be separated by commas alone.
fn value_of(text: &str, range: Range) -> Value {
    let plain = || Value::String(text.to_owned());
    let textual = matches!(
        range,
        Range::Text
            | Range::Listen
            | Range::Socket
            | Range::Servers
            | Range::Subject
            | Range::Word
            | Range::Node
    );
    if textual {
        return plain();
    }
    if range == Range::Prefixes && !text.trim_start().starts_with('[') {
        let all = text.split(',').map(str::trim).filter(|one| !one.is_empty());
        return all.map(Value::from).collect::<Vec<_>>().into();
    }
    let parsed: Option<Table> = toml::from_str(&format!("value = {text}")).ok();
    parsed
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(plain)
}

/// Puts a value in its place, in tables that are made where they lack. A step of a ladder that is not otherwise given
/// stands beside the defaults of the others.
fn insert(table: &mut Table, place: &str, value: Value) {
    let (outer, last) = place.rsplit_once('.').unwrap_or(("", place));
    let mut inner = table;
    let mut path = String::new();
    for part in outer.split('.').filter(|part| !part.is_empty()) {
        path.push_str(part);
        let made = || default_of(&path).unwrap_or(Value::Table(Table::new()));
        let next = inner.entry(part).or_insert_with(made);
        if !next.is_table() {
            *next = Value::Table(Table::new());
        }
        let Value::Table(next) = next else {
            return;
        };
        inner = next;
        path.push('.');
    }
    inner.insert(last.to_owned(), value);
}

/// The default of a ladder.
fn default_of(path: &str) -> Option<Value> {
    KEYS.iter()
        .find(|key| key.path == path && matches!(key.range, Range::Ladder(_)))?;
    let table = Value::try_from(Config::default()).ok()?;
    let found = path
        .split('.')
        .try_fold(&table, |value, part| value.get(part));
    found.cloned()
}

/// On which line each value of a file stands.
fn lines(text: &str) -> Result<BTreeMap<String, Origin>, toml::de::Error> {
    fn walk(table: &DeTable<'_>, before: &str, text: &str, out: &mut BTreeMap<String, Origin>) {
        for (key, value) in table {
            let place = format!("{before}{}", key.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) => walk(inner, &format!("{place}."), text, out),
                _ => {
                    let line = text[..key.span().start].matches('\n').count() + 1;
                    out.insert(place, Origin::File(line));
                }
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(DeTable::parse(text)?.get_ref(), "", text, &mut out);
    Ok(out)
}

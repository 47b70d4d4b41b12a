//! From labels to classes.

use std::{collections::BTreeMap, path::Path};

use super::TablesError;

/// Stands for every label that is not named.
const OTHERS: &str = "*";
/// Stands for no class: rows of such labels are left out.
const LEFT_OUT: &str = "-";
/// Labels by which traffic is called harmless, in lower case.
const BENIGN: [&str; 5] = ["benign", "normal", "legitimate", "background", "0"];

/// Which class a label becomes; one that is not named stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelMap {
    classes: BTreeMap<String, String>,
}

impl LabelMap {
    /// Reads arguments, each `LABEL=CLASS` or the name of a TOML file.
    ///
    /// # Errors
    /// [`TablesError::Map`].
    pub fn parse(arguments: &[String]) -> Result<Self, TablesError> {
        let mut map = Self::default();
        for argument in arguments {
            let pair = argument.split_once('=');
            match pair {
                Some((label, class)) if !Path::new(argument).is_file() => {
                    map.add(label, class, argument)?;
                }
                _ => map.file(argument)?,
            }
        }
        Ok(map)
    }

    /// What [`LabelMap::pairs`] gave.
    #[must_use]
    pub fn from_pairs(pairs: BTreeMap<String, String>) -> Self {
        Self { classes: pairs }
    }

    /// Labels and their classes, `*` for all others.
    #[must_use]
    pub fn pairs(&self) -> &BTreeMap<String, String> {
        &self.classes
    }

    fn add(&mut self, label: &str, class: &str, what: &str) -> Result<(), TablesError> {
        let (label, class) = (label.trim(), class.trim());
        if label.is_empty() || class.is_empty() {
            return Err(TablesError::Map {
                what: what.to_owned(),
                cause: "a label or a class is empty".to_owned(),
            });
        }
        self.classes.insert(label.to_owned(), class.to_owned());
        Ok(())
    }

    fn file(&mut self, path: &str) -> Result<(), TablesError> {
        let failed = |cause: String| TablesError::Map {
            what: path.to_owned(),
            cause,
        };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let table: toml::Table =
            toml::from_str(&text).map_err(|error| failed(error.message().to_owned()))?;
        self.entries(&table, &failed, path)
    }

    fn entries(
        &mut self,
        table: &toml::Table,
        failed: &impl Fn(String) -> TablesError,
        path: &str,
    ) -> Result<(), TablesError> {
        for (name, value) in table {
            match value {
                toml::Value::String(class) => self.add(name, class, path)?,
                toml::Value::Array(labels) => {
                    for label in labels {
                        let label = match label {
                            toml::Value::String(label) => label.clone(),
                            toml::Value::Integer(label) => label.to_string(),
                            _ => return Err(failed(format!("{name} lists what is no label"))),
                        };
                        self.add(&label, name, path)?;
                    }
                }
                toml::Value::Table(inner) => self.entries(inner, failed, path)?,
                _ => {
                    return Err(failed(format!(
                        "{name} is neither a class nor a list of labels"
                    )));
                }
            }
        }
        Ok(())
    }

    /// The class of a label; none where it is left out.
    #[must_use]
    pub fn class<'a>(&'a self, label: &'a str) -> Option<&'a str> {
        let alike = || {
            self.classes
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(label))
                .map(|(_, class)| class)
        };
        let class = (self.classes.get(label))
            .or_else(alike)
            .or_else(|| self.classes.get(OTHERS))
            .map_or(label, String::as_str);
        (class != LEFT_OUT).then_some(class)
    }
}

/// Which of the classes is harmless: the one named, or else the one that is called so. `0` counts only where every class is
/// a number.
#[must_use]
pub fn benign(classes: &[String], named: Option<&str>) -> Option<u16> {
    let place = |wanted: &str| {
        classes
            .iter()
            .position(|class| class.trim().eq_ignore_ascii_case(wanted))
            .map(|place| place as u16)
    };
    if let Some(named) = named {
        return place(named.trim());
    }
    let numbers = classes.iter().all(|class| class.parse::<f64>().is_ok());
    let mut called = BENIGN.iter().filter(|called| **called != "0" || numbers);
    called.find_map(|called| place(called))
}

/// Puts classes in order: the harmless one first, then numbers by value, then others by name.
pub(super) fn sort(classes: &mut [String], named: Option<&str>) {
    let first = benign(classes, named).map(|place| classes[usize::from(place)].clone());
    let number = |class: &String| class.parse::<f64>().ok();
    classes.sort_by(|a, b| {
        let key = |class: &String| (Some(class) != first.as_ref(), number(class).is_none());
        let by_number = match (number(a), number(b)) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => std::cmp::Ordering::Equal,
        };
        key(a).cmp(&key(b)).then(by_number).then_with(|| a.cmp(b))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_become_classes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.toml");
        std::fs::write(
            &path,
            "\"DoS Hulk\" = \"flood\"\nscan = [\"PortScan\", 2]\n[labels]\nx = \"-\"\n",
        )
        .unwrap();
        let map =
            LabelMap::parse(&[path.display().to_string(), "BENIGN=benign".to_owned()]).unwrap();
        for (label, class) in [
            ("DoS Hulk", Some("flood")),
            ("portscan", Some("scan")),
            ("2", Some("scan")),
            ("BENIGN", Some("benign")),
            ("x", None),
            ("Bot", Some("Bot")),
        ] {
            assert_eq!(map.class(label), class, "{label}");
        }
        let all = LabelMap::parse(&["BENIGN=benign".to_owned(), "*=attack".to_owned()]).unwrap();
        assert_eq!(all.class("Bot"), Some("attack"));
        assert!(LabelMap::parse(&["nowhere.toml".to_owned()]).is_err());
        assert!(LabelMap::parse(&["=x".to_owned()]).is_err());
    }

    #[test]
    fn the_harmless_class_is_the_first() {
        let names = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut classes = names(&["10", "2", "0"]);
        sort(&mut classes, None);
        assert_eq!(classes, ["0", "2", "10"]);
        let mut classes = names(&["Bot", "BENIGN", "0"]);
        sort(&mut classes, None);
        assert_eq!(classes, ["BENIGN", "0", "Bot"]);
        assert_eq!(benign(&classes, None), Some(0));
        assert_eq!(benign(&names(&["0", "a"]), None), None);
        assert_eq!(benign(&names(&["a", "b"]), Some("B")), Some(1));
    }
}

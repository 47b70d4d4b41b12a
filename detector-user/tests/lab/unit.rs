//! A unit of systemd, as far as its lines say how a program is started.

use std::collections::BTreeMap;

/// A unit's settings.
pub struct Unit(Vec<(String, String)>);

impl Unit {
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with(['#', '[']));
        let pairs = lines.filter_map(|line| line.split_once('='));
        Self(
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// The values of a setting.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let ours = self.0.iter().filter(|(one, _)| one == name);
        ours.map(|(_, value)| value.as_str()).collect()
    }

    /// The one value of a setting.
    pub fn one(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name}: {all:?}");
        all[0]
    }

    /// Words of a command line: `${NAME}` is one word, `$NAME` those that it has.
    pub fn words(line: &str, environment: &BTreeMap<String, String>) -> Vec<String> {
        let mut words = Vec::new();
        for word in line.split_whitespace() {
            let whole = word.strip_prefix("${").and_then(|w| w.strip_suffix('}'));
            match (whole, word.strip_prefix('$')) {
                (Some(name), _) => words.push(environment[name].clone()),
                (None, Some(name)) => {
                    words.extend(environment[name].split_whitespace().map(str::to_owned));
                }
                (None, None) => words.push(word.to_owned()),
            }
        }
        words
    }

    /// How a program is started with what the unit leaves it, in front of its words: a file mode mask, capabilities bounded, none
    /// gained.
    pub fn confined(&self) -> Vec<String> {
        let bounding: Vec<String> = self
            .one("CapabilityBoundingSet")
            .split_whitespace()
            .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase()))
            .collect();
        let mut words = vec![
            "sh".to_owned(),
            "-c".to_owned(),
            format!("umask {}; exec \"$@\"", self.one("UMask")),
            "sh".to_owned(),
            "setpriv".to_owned(),
            format!("--bounding-set=-all,{}", bounding.join(",")),
            "--inh-caps=-all".to_owned(),
            "--ambient-caps=-all".to_owned(),
        ];
        if self.one("NoNewPrivileges") == "yes" {
            words.push("--no-new-privs".to_owned());
        }
        words
    }
}

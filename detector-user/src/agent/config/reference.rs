//! docs/configuration.md: every key, what it may be, its default, and what it means, which is what stands above its field.

use super::{
    Config,
    keys::{KEYS, Key, Range, shown},
};

const HEAD: &str = "# Configuration\n\nThe file is `/etc/detector/detector.toml`, or that of `--config`; TOML. A file holds only what differs from the \
                    defaults. `detector config check FILE` checks one, `detector config show --origin` says what is in force and where it comes \
                    from. Each key has a variable of the environment that goes over the file: `DETECTOR_` and the key in capitals, dots as underscores. \
                    This file is generated: `DETECTOR_WRITE_REFERENCES=1 cargo test -p detector-user --lib stale`.\n\n\
                    A ladder is `{ alert, rate_limit, drop }`: how much it takes for each; 0 is never. Counts of the last moments fade with a time \
                    constant of 2 s, others with one of a minute.\n";

/// Sections, with the structure that each is and the source that it stands in.
const SECTIONS: [(&str, &str, &str); 13] = [
    ("", "Config", include_str!("../config.rs")),
    (
        "models",
        "ModelSettings",
        include_str!("../model_source.rs"),
    ),
    ("drift", "DriftSettings", include_str!("../../drift/mod.rs")),
    (
        "privileges",
        "PrivilegeSettings",
        include_str!("../../privilege/mod.rs"),
    ),
    (
        "archive",
        "ArchiveSettings",
        include_str!("../../output/archive/mod.rs"),
    ),
    (
        "nats",
        "NatsSettings",
        include_str!("../../output/nats/mod.rs"),
    ),
    (
        "kubernetes",
        "KubernetesSettings",
        include_str!("../../kubernetes/mod.rs"),
    ),
    (
        "api",
        "ApiSettings",
        include_str!("../../serve/settings.rs"),
    ),
    ("decide.model", "ModelPolicy", POLICY),
    ("decide.rules", "RulePolicy", POLICY),
    ("decide.victims", "VictimPolicy", POLICY),
    ("decide.verdicts", "VerdictPolicy", POLICY),
    ("decide.budget", "BudgetPolicy", POLICY),
];
const POLICY: &str = include_str!("../../decide/policy.rs");

/// What stands above a line in a source.
fn above(source: &str, line: &str) -> String {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let place = lines.iter().position(|one| one.starts_with(line));
    let place = place.unwrap_or_else(|| panic!("{line} is not in the source"));
    let mut said: Vec<&str> = lines[..place]
        .iter()
        .rev()
        .skip_while(|one| one.starts_with("#["))
        .map_while(|one| one.strip_prefix("/// "))
        .collect();
    said.reverse();
    assert!(!said.is_empty(), "nothing stands above {line}");
    said.join(" ")
}

fn allowed(range: Range) -> String {
    match range {
        Range::Switch => "`true`, `false`".to_owned(),
        Range::Text => "text".to_owned(),
        Range::Prefixes => "a list of prefixes".to_owned(),
        Range::Listen => "`ADDRESS:PORT`, `off`".to_owned(),
        Range::Socket => "a path, `off`".to_owned(),
        Range::Servers => "`nats://` or `tls://HOST:PORT`, several by commas".to_owned(),
        Range::Subject => "words with dots between".to_owned(),
        Range::Word => "a word".to_owned(),
        Range::Node => "a node's name".to_owned(),
        Range::Whole(min, max) => format!("whole, {min} to {max}"),
        Range::Number(min, max) if max > 1e9 => format!("number, {min} to {max:e}"),
        Range::Number(min, max) => format!("number, {min} to {max}"),
        Range::Ladder(_) => "ladder".to_owned(),
    }
}

fn default(key: &Key, defaults: &toml::Value) -> String {
    let value = key
        .path
        .split('.')
        .try_fold(defaults, |value, part| value.get(part));
    match value {
        Some(value) => format!("`{}`", shown(value)),
        None => {
            assert!(key.optional, "{} has no default", key.path);
            "none".to_owned()
        }
    }
}

fn reference() -> String {
    let defaults = toml::Value::try_from(Config::default()).unwrap();
    let (mut text, mut told) = (HEAD.to_owned(), 0);
    for (section, structure, source) in SECTIONS {
        let (_, body) = source
            .split_once(&format!("pub struct {structure} {{"))
            .unwrap();
        let (body, _) = body.split_once("\n}").unwrap();
        if !section.is_empty() {
            let meaning = above(source, &format!("pub struct {structure} {{"));
            text.push_str(&format!("\n## [{section}]\n\n{meaning}\n"));
        }
        text.push_str("\n| key | may be | default | meaning |\n|---|---|---|---|\n");
        for key in KEYS {
            let (place, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
            if place != section {
                continue;
            }
            told += 1;
            let meaning = above(body, &format!("pub {name}:"));
            text.push_str(&format!(
                "| `{name}` | {} | {} | {meaning} |\n",
                allowed(key.range),
                default(key, &defaults)
            ));
        }
    }
    assert_eq!(told, KEYS.len(), "a section is missing");
    text
}

#[test]
fn the_committed_configuration_is_not_stale() {
    crate::generated::is_current("configuration.md", &reference());
}

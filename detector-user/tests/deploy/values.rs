//! The chart's values: the file, the schema and the table speak of the same ones.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::{
    helm::{CHART, Helm, documents},
    options,
};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/kubernetes-values.md");
const HEAD: &str = "# Values of the Helm chart\n\n\
    What [install.md](install.md#kubernetes) sets with `--set` or a file. A value that is none is refused. This file is generated: \
    `DETECTOR_WRITE_REFERENCES=1 cargo test -p detector-user --test deploy stale`.\n\n\
    | value | default | what |\n|---|---|---|\n";

fn schema() -> Value {
    let text = fs::read_to_string(format!("{CHART}/values.schema.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What is said of each value, by its name. Not of `global`, which Helm gives each chart.
fn described(schema: &Value, name: &str, found: &mut BTreeMap<String, String>) {
    for (key, inner) in schema["properties"].as_object().unwrap() {
        let name = join(name, key);
        if let Some(description) = inner["description"].as_str() {
            found.insert(name, description.to_owned());
        } else {
            assert_eq!(inner["additionalProperties"], false, "{name}");
            described(inner, &name, found);
        }
    }
    if name.is_empty() {
        found.remove("global");
    }
}

fn join(name: &str, key: &str) -> String {
    if name.is_empty() {
        key.to_owned()
    } else {
        format!("{name}.{key}")
    }
}

/// Values by their names, as deep as the schema names them.
fn named(values: &Value, name: &str, known: &BTreeMap<String, String>) -> Vec<(String, Value)> {
    let inner = values.as_object().filter(|_| !known.contains_key(name));
    match inner {
        Some(inner) => inner
            .iter()
            .flat_map(|(key, value)| named(value, &join(name, key), known))
            .collect(),
        None => vec![(name.to_owned(), values.clone())],
    }
}

fn known() -> BTreeMap<String, String> {
    let mut known = BTreeMap::new();
    described(&schema(), "", &mut known);
    known
}

#[test]
fn file_and_schema_have_the_same_and_the_committed_table_is_not_stale() {
    let Some(_helm) = Helm::new() else {
        return;
    };
    let text = fs::read_to_string(format!("{CHART}/values.yaml")).unwrap();
    let comments: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("# "))
        .collect();
    let known = known();
    let values = named(&documents(&text, &[]).unwrap()[0], "", &known);
    let names: Vec<&String> = values.iter().map(|(name, _)| name).collect();
    assert_eq!(names, known.keys().collect::<Vec<_>>());
    let mut table = HEAD.to_owned();
    for (name, default) in &values {
        let description = &known[name];
        assert!(
            comments.contains(&description.as_str()),
            "values.yaml says something else of {name}"
        );
        table.push_str(&format!("| `{name}` | `{default}` | {description} |\n"));
    }
    if std::env::var_os("DETECTOR_WRITE_REFERENCES").is_some() {
        fs::write(TABLE, table).unwrap();
        return;
    }
    assert_eq!(
        table,
        fs::read_to_string(TABLE).unwrap(),
        "write it anew: DETECTOR_WRITE_REFERENCES=1 cargo test -p detector-user --test deploy stale"
    );
}

#[test]
fn every_value_is_tried() {
    let known = known();
    let sets = options::sets();
    let tried: Vec<String> = sets
        .iter()
        .flat_map(|values| named(values, "", &known))
        .map(|(name, _)| name)
        .collect();
    for name in known.keys() {
        assert!(tried.contains(name), "{name} is not tried");
    }
    for name in tried {
        assert!(known.contains_key(&name), "{name} is no value");
    }
}

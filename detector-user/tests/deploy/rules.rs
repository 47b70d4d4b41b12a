//! Rules and dashboard speak of metrics that there are, and rules fire when they should.

use std::{collections::BTreeSet, fs, process::Command};

use detector_user::{
    agent::config::{keys::KEYS, origin::variable},
    metrics::definitions::{DEFINITIONS, Kind},
};

use crate::{DEPLOY, lab::skip};

/// The metrics that a text speaks of.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("detector_")).collect()
}

#[test]
fn rules_and_dashboard_speak_of_metrics_that_there_are() {
    let mut known = BTreeSet::new();
    for one in DEFINITIONS {
        known.insert(one.name.to_owned());
        if one.kind == Kind::Histogram {
            for part in ["bucket", "sum", "count"] {
                known.insert(format!("{}_{part}", one.name));
            }
        }
    }
    for file in [
        "prometheus/rules.yaml",
        "prometheus/rules.test.yaml",
        "grafana/dashboard.json",
    ] {
        let text = fs::read_to_string(format!("{DEPLOY}/{file}")).unwrap();
        let named = metrics_in(&text);
        assert!(named.len() > 5, "{file}");
        for name in named {
            assert!(known.contains(name), "{file}: {name}");
        }
    }
    let dashboard = fs::read_to_string(format!("{DEPLOY}/grafana/dashboard.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&dashboard).unwrap();
}

#[test]
fn the_rules_fire_when_they_should_and_not_before() {
    let run = |arguments: &[&str]| {
        Command::new("promtool")
            .current_dir(DEPLOY)
            .args(arguments)
            .output()
    };
    let Ok(output) = run(&["check", "rules", "prometheus/rules.yaml"]) else {
        return skip("needs the program promtool");
    };
    assert!(output.status.success(), "{output:?}");
    let output = run(&["test", "rules", "prometheus/rules.test.yaml"]).unwrap();
    assert!(output.status.success(), "{output:?}");
    // Each rule is tried.
    let rules = fs::read_to_string(format!("{DEPLOY}/prometheus/rules.yaml")).unwrap();
    let tests = fs::read_to_string(format!("{DEPLOY}/prometheus/rules.test.yaml")).unwrap();
    for line in rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        assert!(
            tests.contains(&format!("alertname=\"{line}\"")),
            "{line} is not tried"
        );
    }
}

#[test]
fn pod_names_take_three_verbs_on_pods_and_what_the_agent_reads_from_its_environment() {
    let read = |file: &str| fs::read_to_string(format!("{DEPLOY}/{file}")).unwrap();
    let rights =
        "rules:\n  - apiGroups: [\"\"]\n    resources: [pods]\n    verbs: [get, list, watch]\n---";
    for file in [
        "helm/detector/templates/rbac.yaml",
        "kubernetes/pod-names.yaml",
    ] {
        let text = read(file);
        assert!(text.contains(rights), "{file}");
        assert_eq!(text.matches("verbs:").count(), 1, "{file}");
    }
    for file in [
        "helm/detector/templates/daemonset.yaml",
        "kubernetes/pod-names.patch.yaml",
    ] {
        let text = read(file);
        for key in ["kubernetes.pod_names", "kubernetes.node"] {
            assert!(KEYS.iter().any(|one| one.path == key));
            let name = format!("- name: {}\n", variable(key));
            assert!(text.contains(&name), "{file}: {name}");
        }
    }
}

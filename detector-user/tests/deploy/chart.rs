//! What the chart renders: sound by Kubernetes' schemas, taken by the program, and with no more rights than it needs.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::{
    helm::{self, CHART, Helm, of_kind},
    lab::skip,
    options,
    pod::Pod,
};

#[test]
fn helm_finds_no_fault_with_it_and_packs_all_of_it() {
    let Some(helm) = Helm::new() else {
        return;
    };
    let output = helm.run(&["lint", "--strict", CHART], "");
    assert!(output.status.success(), "{output:?}");
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    let output = helm.run(&["package", CHART, "-d", place], "");
    assert!(output.status.success(), "{output:?}");
    let packed = format!("{place}/detector-{}.tgz", env!("CARGO_PKG_VERSION"));
    // The rules and the dashboard are links in the source.
    let values = &options::sets()[1];
    assert_eq!(
        helm.try_render(&packed, values).unwrap(),
        helm.try_render(CHART, values).unwrap()
    );
}

#[test]
fn an_older_kubernetes_than_it_claims_is_refused() {
    let Some(helm) = Helm::new() else {
        return;
    };
    let refuses = |version: &str| {
        let arguments = ["template", "detector", CHART, "--kube-version", version];
        !helm.run(&arguments, "").status.success()
    };
    assert!(refuses("1.29.9") && !refuses("1.30.0"));
}

#[test]
fn all_options_render_to_what_kubernetes_and_the_program_take() {
    let Some(helm) = Helm::new() else {
        return;
    };
    for values in [json!({})].into_iter().chain(options::sets()) {
        let documents = helm.render(&values);
        let pod = Pod::of(&documents);
        pod.mounts_what_it_has();
        pod.is_taken_by_the_program();
    }
}

#[test]
fn what_no_api_server_takes_is_found() {
    let Some(helm) = Helm::new() else {
        return;
    };
    let text = helm.try_render(CHART, &options::sets()[1]).unwrap();
    for (sound, not) in [
        ("hostNetwork: true", "hostNetwork: 1"),
        ("timeoutSeconds:", "timeoutSecs:"),
        ("timeoutSeconds: 5", "periodSeconds: 5"),
        ("policyTypes:", "types:"),
        ("targetLabel:", "target:"),
        ("interval: 30s", "interval: 30x"),
        ("- alert: DetectorDown", "- alarm: DetectorDown"),
    ] {
        let wrong = text.replace(sound, not);
        assert!(
            text != wrong && helm::documents(&wrong, &["1.37"]).is_err(),
            "{not}"
        );
    }
}

#[test]
fn wrong_values_are_refused_by_name() {
    let Some(helm) = Helm::new() else {
        return;
    };
    for (values, said) in options::refused() {
        let Err(error) = helm.try_render(CHART, &values) else {
            panic!("taken: {values}");
        };
        assert!(error.contains(said), "{values}: {error}");
    }
}

#[test]
fn the_pod_is_on_every_node_and_holds_the_least() {
    let Some(helm) = Helm::new() else {
        return;
    };
    let documents = helm.rendered();
    let Pod {
        spec, container, ..
    } = Pod::of(&documents);
    assert_eq!(spec["hostNetwork"], true);
    for absent in ["hostPID", "hostIPC", "serviceAccountName"] {
        assert!(spec[absent].is_null(), "{absent}");
    }
    assert_eq!(spec["automountServiceAccountToken"], false);
    assert_eq!(spec["tolerations"], json!([{ "operator": "Exists" }]));
    let security = &container["securityContext"];
    assert_eq!(
        security["capabilities"],
        json!({ "drop": ["ALL"], "add": ["BPF", "NET_ADMIN", "PERFMON"] })
    );
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert!(security["privileged"].is_null());
    let mounts = container["volumeMounts"].as_array().unwrap();
    let bpffs = mounts.iter().find(|one| one["name"] == "bpffs").unwrap();
    assert_eq!(bpffs["mountPath"], "/sys/fs/bpf");
    assert_eq!(bpffs["mountPropagation"], "HostToContainer");
    // Of the node's files it sees that alone.
    let volumes = spec["volumes"].as_array().unwrap();
    let of_node: Vec<&Value> = volumes
        .iter()
        .filter(|one| !one["hostPath"].is_null())
        .collect();
    assert_eq!(
        of_node,
        [&json!({ "name": "bpffs", "hostPath": { "path": "/sys/fs/bpf", "type": "Directory" } })]
    );
    assert!(container["lifecycle"].is_null(), "what is in force stays");
}

#[test]
fn all_privileges_are_had_only_where_they_are_asked_for() {
    let Some(helm) = Helm::new() else {
        return;
    };
    let documents = helm.render(&json!({ "privileged": true }));
    assert_eq!(
        Pod::of(&documents).container["securityContext"],
        json!({ "privileged": true, "runAsUser": 0, "readOnlyRootFilesystem": true })
    );
}

#[test]
fn probes_and_scrapes_ask_where_it_listens() {
    let Some(helm) = Helm::new() else {
        return;
    };
    for (address, port, listen, host) in [
        ("127.0.0.1", 9190, "127.0.0.1:9190", json!("127.0.0.1")),
        ("0.0.0.0", 9999, "0.0.0.0:9999", Value::Null),
        ("::", 9190, "[::]:9190", Value::Null),
        ("fd00::7", 80, "[fd00::7]:80", json!("fd00::7")),
    ] {
        for (secret, scheme) in [("", "HTTP"), ("tls", "HTTPS")] {
            let api = json!({ "address": address, "port": port, "tlsSecret": secret });
            let documents = helm.render(&json!({ "api": api }));
            let pod = Pod::of(&documents);
            assert_eq!(pod.variable("DETECTOR_API_LISTEN"), Some(listen));
            let ports = &pod.container["ports"][0];
            assert_eq!(
                (&ports["containerPort"], &ports["hostPort"]),
                (&json!(port), &json!(port))
            );
            let service = of_kind(&documents, "Service").unwrap();
            assert_eq!(service["spec"]["ports"][0]["port"], port);
            for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
                let asked = &pod.container[probe]["httpGet"];
                assert_eq!(
                    (&asked["path"], &asked["port"]),
                    (&json!(path), &json!("http"))
                );
                assert_eq!((&asked["scheme"], &asked["host"]), (&json!(scheme), &host));
            }
        }
    }
}

#[test]
fn a_policy_without_anybody_lets_nobody_in() {
    let Some(helm) = Helm::new() else {
        return;
    };
    let ingress = |from: Value| {
        let documents = helm.render(&json!({ "networkPolicy": { "enabled": true, "from": from } }));
        of_kind(&documents, "NetworkPolicy").unwrap()["spec"]["ingress"].clone()
    };
    assert_eq!(ingress(json!([])), json!([]));
    let from = json!([{ "namespaceSelector": {} }]);
    let port = json!([{ "port": 9190, "protocol": "TCP" }]);
    assert_eq!(
        ingress(from.clone()),
        json!([{ "from": from, "ports": port }])
    );
}

#[test]
fn the_rules_and_the_dashboard_are_those_that_are_shipped() {
    let Some(helm) = Helm::new() else {
        return;
    };
    let documents = helm.render(&options::sets()[1]);
    let rule = of_kind(&documents, "PrometheusRule").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, rule["spec"].to_string()).unwrap();
    let Ok(output) = Command::new("promtool")
        .args(["check", "rules"])
        .arg(file.path())
        .output()
    else {
        return skip("needs the program promtool");
    };
    assert!(output.status.success(), "{output:?}");
    let shipped = fs::read_to_string(format!("{}/prometheus/rules.yaml", crate::DEPLOY)).unwrap();
    let shipped = helm::documents(&shipped, &[]).unwrap();
    assert_eq!(rule["spec"], shipped[0]);
    let dashboard = documents
        .iter()
        .find(|one| one["metadata"]["name"] == "detector-dashboard")
        .unwrap();
    let text = dashboard["data"]["detector.json"].as_str().unwrap();
    let shipped = fs::read_to_string(format!("{}/grafana/dashboard.json", crate::DEPLOY)).unwrap();
    assert_eq!(text.trim_end(), shipped.trim_end());
}

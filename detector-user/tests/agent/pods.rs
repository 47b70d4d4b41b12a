//! The names of the node's pods, from an API server.

mod faults;

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use super::archive::counted;
use crate::lab::{
    Lab,
    agent::{SECONDS, Stage, metric},
    kubernetes::{
        NODE, certify,
        cluster::{Cluster, running},
        kubeconfig, section, serve,
    },
    space::Space,
    wait_for,
};

/// What fails again and again is tried again ever later.
const PATIENCE: Duration = Duration::from_secs(60);

/// The agent, told where the API server is to be.
fn stage(lab: Lab, home: &Path, further: &str) -> Option<Stage> {
    let config = home.join("agent.toml");
    let kubernetes = section(&kubeconfig(home));
    fs::write(
        &config,
        format!("{kubernetes}{further}[api]\nsocket = \"off\"\n"),
    )
    .unwrap();
    let config = config.to_str().unwrap();
    let arguments = [
        "--enforce",
        "--no-model",
        "--flow-events",
        "--config",
        config,
    ];
    Stage::on(lab, &arguments, &[])
}

/// Waits until the agent has said this so often.
fn hear(stage: &Stage, text: &str, times: usize) {
    let heard = wait_for(PATIENCE, || stage.log().matches(text).count() >= times);
    assert!(heard, "never said {text:?} {times} times:\n{}", stage.log());
}

fn await_pods(stage: &Stage, pods: f64) {
    let known = || stage.metric("detector_kubernetes_pods") == Some(pods);
    assert!(wait_for(PATIENCE, known), "{}", stage.log());
}

/// The flows of an address that the API tells of.
fn flows(stage: &Stage, address: &str) -> Vec<Value> {
    let answer = stage.json(&format!("/api/v1/flows?address={address}"));
    answer["flows"].as_array().cloned().unwrap_or_default()
}

/// The names that the flow events of an address have, once there are so many of them.
fn told(stage: &Stage, address: &str, flows: usize) -> Vec<Value> {
    let names = || {
        let events = stage.events().into_iter();
        let own =
            events.filter(|event| event["event_type"] == "flow" && event["src_ip"] == address);
        own.map(|event| event["detector"]["src_pod"].clone())
            .collect::<Vec<_>>()
    };
    assert!(
        wait_for(SECONDS, || names().len() >= flows),
        "{}",
        stage.log()
    );
    names()
}

#[test]
fn pods_are_named_wherever_their_addresses_are_told() {
    let Some(lab) = Lab::new(&["openssl"]) else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    certify(home.path());
    let archive = home.path().join("flows");
    let archived = format!("[archive]\nfolder = {archive:?}\nflush_s = 1\n");
    let Some(stage) = stage(lab, home.path(), &archived) else {
        return;
    };
    // It is not there at the start.
    hear(
        &stage,
        "Kubernetes API at https://127.0.0.1:6443/: Connection refused",
        1,
    );
    let cluster = Cluster::default();
    let spec = json!({ "nodeName": NODE });
    cluster.run("u1", "shop/cart-0", "10.0.0.9");
    cluster.run("u2", "shop/db-0", "10.0.0.8");
    let shares = json!({ "nodeName": NODE, "hostNetwork": true });
    cluster.put("u3", "kube-system/proxy-x", shares, running("10.0.0.1"));
    let over = json!({ "phase": "Succeeded", "podIPs": [{ "ip": "10.0.0.7" }] });
    cluster.put("u4", "shop/job-0", spec, over);
    let elsewhere = json!({ "nodeName": "node-2" });
    cluster.put("u5", "shop/far-0", elsewhere, running("10.0.0.6"));
    let _server = serve(&stage.server, &cluster, Some(home.path()));
    hear(
        &stage,
        &format!("the pods of node {NODE} are named again"),
        1,
    );
    await_pods(&stage, 2.0);
    assert_eq!(stage.metric("detector_kubernetes_watching"), Some(1.0));

    stage.scan([10, 0, 0, 9]);
    let alert = stage.alert("scan", "drop");
    assert_eq!(alert["detector"]["src_pod"], "shop/cart-0", "{alert}");
    assert!(
        alert["detector"].get("dest_pod").is_none(),
        "it shares the node's address: {alert}"
    );
    let alerts = stage.json("/api/v1/alerts");
    assert_eq!(alerts[0]["detector"]["src_pod"], "shop/cart-0", "{alerts}");
    let verdicts = stage.json("/api/v1/verdicts");
    assert_eq!(verdicts["verdicts"][0]["pod"], "shop/cart-0", "{verdicts}");
    let named =
        |flow: &Value| flow["source_pod"] == "shop/cart-0" && flow.get("destination_pod").is_none();
    let all = flows(&stage, "10.0.0.9");
    assert!(!all.is_empty() && all.iter().all(named), "{all:?}");
    // The verdict's first hit.
    stage.scan([10, 0, 0, 9]);
    let drops = || {
        stage
            .events()
            .into_iter()
            .find(|event| event["event_type"] == "drop")
    };
    assert!(wait_for(SECONDS, || drops().is_some()));
    assert_eq!(drops().unwrap()["detector"]["src_pod"], "shop/cart-0");

    // Flows that end, one of a pod that has just gone; those of nobody's address have no name.
    stage.closed_flows([10, 0, 0, 8], 20_000..20_005);
    assert_eq!(told(&stage, "10.0.0.8", 5), vec!["shop/db-0"; 5]);
    cluster.delete("u2");
    await_pods(&stage, 1.0);
    stage.closed_flows([10, 0, 0, 8], 20_100..20_105);
    assert_eq!(told(&stage, "10.0.0.8", 10), vec!["shop/db-0"; 10]);
    for (last, address) in [(7, "10.0.0.7"), (6, "10.0.0.6")] {
        stage.closed_flows([10, 0, 0, last], 20_000..20_005);
        assert_eq!(told(&stage, address, 5), vec![Value::Null; 5], "{address}");
    }
    let some = |text: &str| Some(text.to_owned());
    let rows = || counted(&archive, "source_pod");
    let arrived = || rows().get(&some("shop/db-0")) == Some(&10) && rows().get(&None) >= Some(&10);
    assert!(wait_for(SECONDS, arrived), "{:?}", rows());
    assert_eq!(counted(&archive, "destination_pod").len(), 1, "none");

    // The address goes to another pod.
    cluster.run("u6", "shop/other-0", "10.0.0.8");
    await_pods(&stage, 2.0);
    cluster.run("u7", "shop/cart-0", "10.0.0.9");
    cluster.delete("u1");
    stage.closed_flows([10, 0, 0, 8], 20_200..20_205);
    let names = told(&stage, "10.0.0.8", 15);
    assert_eq!(names[10..], vec!["shop/other-0"; 5]);
    let known = cluster.known();
    assert_eq!(
        (known.lists, known.watches),
        (1, 1),
        "one list and one watch do"
    );
}

/// Gives a program what a pod finds in its place, on a file system that goes with the program.
const AS_A_POD: &str = "account=/run/secrets/kubernetes.io/serviceaccount\n\
    mount -t tmpfs none /run && mkdir -p $account && cp token $account && cp cert.pem $account/ca.crt &&\n\
    echo detector > $account/namespace && exec \"$@\"";

#[test]
fn a_pod_is_known_to_the_api_server_by_its_service_account() {
    let Some(lab) = Lab::new(&["openssl", "unshare"]) else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    certify(home.path());
    kubeconfig(home.path());
    let space = Space::new();
    let cluster = Cluster::default();
    cluster.run("u1", "shop/cart-0", "10.0.0.9");
    let _server = serve(&space, &cluster, Some(home.path()));
    let log = home.path().join("log");
    let mut command = Command::new("unshare");
    command
        .current_dir(home.path())
        .args([
            "--mount",
            "sh",
            "-c",
            AS_A_POD,
            "sh",
            env!("CARGO_BIN_EXE_detector"),
        ])
        .arg("--pin-dir")
        .arg(lab.pins().root())
        // It serves while it waits for its interface.
        .args(["run", "-i", "vb", "--no-model"])
        .env_remove("DETECTOR_CONFIG")
        .env("DETECTOR_API_SOCKET", "off")
        .env("DETECTOR_KUBERNETES_POD_NAMES", "true")
        .env("DETECTOR_KUBERNETES_NODE", NODE)
        .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        .env("KUBERNETES_SERVICE_PORT", "6443")
        .stderr(fs::File::create(&log).unwrap());
    let _running = space.start(command);
    let knows = || metric(&space, "detector_kubernetes_pods") == Some(1.0);
    assert!(
        wait_for(PATIENCE, knows),
        "{}",
        fs::read_to_string(&log).unwrap()
    );
}

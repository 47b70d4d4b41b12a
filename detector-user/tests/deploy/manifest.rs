//! The plain manifest is what the chart gives by default.

use std::fs;

use serde_json::json;

use crate::{
    DEPLOY,
    helm::{CHART, Helm, VERSIONS, documents},
};

const HEAD: &str = "\
# kubectl apply -f deploy/kubernetes/detector.yaml
# The agent on every node, which only watches: DETECTOR_ENFORCE below lets it act. Where the runtime knows no CAP_BPF, put
# `privileged: true` in the place of all from `allowPrivilegeEscalation` to `seLinuxOptions`.
# What the Helm chart gives by default; this file is generated: `DETECTOR_WRITE_REFERENCES=1 cargo test -p detector-user --test deploy stale`.
apiVersion: v1
kind: Namespace
metadata:
  name: detector
  labels:
    # It uses the node's network and BPF file system.
    pod-security.kubernetes.io/enforce: privileged
";

/// Without what is Helm's own: who manages it, and what restarts pods when an upgrade changes the configuration.
fn manifest(helm: &Helm) -> String {
    let rendered = helm.try_render(CHART, &json!({})).unwrap();
    let own = [
        "# Source: ",
        "app.kubernetes.io/managed-by: ",
        "annotations:",
        "checksum/config: ",
    ];
    let lines = rendered
        .lines()
        .filter(|line| !own.iter().any(|own| line.trim_start().starts_with(own)));
    lines.fold(HEAD.to_owned(), |text, line| text + line + "\n")
}

#[test]
fn the_committed_manifest_is_not_stale_and_sound() {
    let Some(helm) = Helm::new() else {
        return;
    };
    let file = format!("{DEPLOY}/kubernetes/detector.yaml");
    let made = manifest(&helm);
    if std::env::var_os("DETECTOR_WRITE_REFERENCES").is_some() {
        fs::write(file, made).unwrap();
        return;
    }
    assert_eq!(
        made,
        fs::read_to_string(file).unwrap(),
        "write it anew: DETECTOR_WRITE_REFERENCES=1 cargo test -p detector-user --test deploy stale"
    );
    let mut plain = documents(&made, &VERSIONS).unwrap();
    assert_eq!(plain.remove(0)["kind"], "Namespace");
    // The same in meaning as what Helm installs.
    let mut rendered = helm.rendered();
    for document in &mut rendered {
        let name = "app.kubernetes.io~1managed-by";
        for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
            if let Some(labels) = document.pointer_mut(labels) {
                let labels = labels.as_object_mut().unwrap();
                labels.remove(&name.replace("~1", "/"));
            }
        }
        if let Some(metadata) = document.pointer_mut("/spec/template/metadata") {
            metadata.as_object_mut().unwrap().remove("annotations");
        }
    }
    assert_eq!(plain, rendered);
}

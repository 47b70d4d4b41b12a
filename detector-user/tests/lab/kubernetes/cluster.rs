//! What a cluster holds, whoever serves it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::NODE;

/// What the cluster holds and how it behaves.
#[derive(Default)]
pub struct Known {
    pub(super) pods: BTreeMap<String, Value>,
    changes: Vec<(u64, &'static str, Value)>,
    pub(super) version: u64,
    /// Changes up to this one are forgotten.
    oldest: u64,
    pub forbids: bool,
    pub hangs: bool,
    pub accepts_nobody: bool,
    /// What it was asked, and how often.
    pub lists: usize,
    pub watches: usize,
}

/// What outlives a server.
#[derive(Clone, Default)]
pub struct Cluster {
    known: Arc<Mutex<Known>>,
    pub(super) changed: Arc<watch::Sender<()>>,
}

impl Cluster {
    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    /// A pod comes, or is another now.
    pub fn put(&self, uid: &str, name: &str, spec: Value, status: Value) {
        let (namespace, name) = name.split_once('/').unwrap();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "uid": uid, "namespace": namespace, "name": name, "annotations": { "some": "thing" } },
            "spec": spec,
            "status": status,
        });
        self.change(
            if self.known().pods.contains_key(uid) {
                "MODIFIED"
            } else {
                "ADDED"
            },
            uid,
            pod,
        );
    }

    /// A pod of the node that runs, with an address of its own.
    pub fn run(&self, uid: &str, name: &str, address: &str) {
        let spec = json!({ "nodeName": NODE, "containers": [] });
        self.put(uid, name, spec, running(address));
    }

    /// A pod goes.
    pub fn delete(&self, uid: &str) {
        let pod = self.known().pods[uid].clone();
        self.change("DELETED", uid, pod);
    }

    /// Who was told up to some change must list anew.
    pub fn forget_history(&self) {
        let mut known = self.known();
        known.oldest = known.version;
        known.changes.clear();
    }

    fn change(&self, kind: &'static str, uid: &str, mut pod: Value) {
        let mut known = self.known();
        known.version += 1;
        let version = known.version;
        pod["metadata"]["resourceVersion"] = version.to_string().into();
        if kind == "DELETED" {
            known.pods.remove(uid);
        } else {
            known.pods.insert(uid.to_owned(), pod.clone());
        }
        known.changes.push((version, kind, pod));
        self.changed.send_replace(());
    }

    /// What of the changes comes after one, as a line, and which it is.
    pub(super) fn after(&self, version: u64) -> Option<(String, u64)> {
        let known = self.known();
        if version < known.oldest {
            let gone = json!({ "type": "ERROR", "object": refusal(410, "Expired", "too old resource version") });
            return Some((format!("{gone}\n"), u64::MAX));
        }
        let of_the_node = |pod: &Value| pod["spec"]["nodeName"] == NODE;
        let mut changes = known.changes.iter();
        let (version, kind, pod) = changes.find(|(n, _, pod)| *n > version && of_the_node(pod))?;
        Some((
            format!("{}\n", json!({ "type": kind, "object": pod })),
            *version,
        ))
    }
}

pub fn running(address: &str) -> Value {
    json!({ "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }] })
}

pub(super) fn refusal(code: u16, reason: &str, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": message })
}

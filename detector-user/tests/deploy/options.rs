//! Values that together turn every option on.

use serde_json::{Value, json};

/// Sets of them, each of which makes sense.
pub fn sets() -> Vec<Value> {
    vec![
        json!({
            "image": { "repository": "registry.example.org/detector", "tag": "1", "pullPolicy": "Always" },
            "imagePullSecrets": [{ "name": "registry" }],
            "interfaces": ["ens5"],
            "enforce": true,
            "neverBlock": ["10.0.0.0/16", "2001:db8::1"],
            "config": "tick_ms = 200\n[api]\nconnections_max = 64\n[decide.budget]\nserved_min = 9",
            "extraArgs": ["--replace", "--flow-slots", "262144"],
            "extraEnv": [{ "name": "DETECTOR_MODEL", "value": "/models/model.bin" }],
            "extraVolumes": [{ "name": "models", "configMap": { "name": "models" } }],
            "extraVolumeMounts": [{ "name": "models", "mountPath": "/models" }],
            "podAnnotations": { "example.org/team": "net" },
            "priorityClassName": "",
        }),
        json!({
            "api": { "address": "0.0.0.0", "port": 9999, "tlsSecret": "tls", "socketDirectory": "/run/detector" },
            "events": { "directory": "/var/log/detector" },
            "archive": { "directory": "/var/lib/detector/flows" },
            "nats": { "url": "tls://nats.example.org:4222", "credentialsSecret": "nats" },
            "podNames": { "enabled": true },
            "detachOnStop": true,
            "dnsPolicy": "ClusterFirstWithHostNet",
            "networkPolicy": { "enabled": true, "from": [{ "ipBlock": { "cidr": "10.0.0.0/8" } }] },
            "serviceMonitor": {
                "enabled": true, "interval": "30s", "labels": { "release": "prometheus" },
                "tlsConfig": { "insecureSkipVerify": true },
            },
            "prometheusRule": { "enabled": true, "labels": { "release": "prometheus" } },
            "dashboard": { "enabled": true, "labels": { "dashboard": "yes" } },
        }),
        json!({
            "seccompProfile": { "type": "RuntimeDefault" },
            "appArmorProfile": { "type": "Localhost", "localhostProfile": "detector" },
            "seLinuxOptions": { "type": "detector_t" },
            "bpffs": "/run/bpf",
            "resources": { "limits": { "memory": "1Gi" } },
            "nodeSelector": { "kubernetes.io/arch": "amd64" },
            "tolerations": [{ "key": "dedicated", "operator": "Exists", "effect": "NoSchedule" }],
            "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
                { "matchExpressions": [{ "key": "edge", "operator": "Exists" }] },
            ] } } },
            "updateStrategy": { "type": "OnDelete" },
            "networkPolicy": { "enabled": true },
        }),
        json!({
            "privileged": true,
            "api": { "address": "::", "port": 9190 },
            "nats": { "url": "nats://a:4222,nats://b:4222" },
            "serviceMonitor": { "enabled": true },
        }),
    ]
}

/// Values that make none, and what is said of each.
pub fn refused() -> Vec<(Value, &'static str)> {
    vec![
        (json!({ "enforce": "yes" }), "enforce"),
        (json!({ "interface": ["eth0"] }), "interface"),
        (json!({ "interfaces": [] }), "interfaces"),
        (json!({ "interfaces": ["a b"] }), "interfaces"),
        (json!({ "api": { "port": 0 } }), "api.port"),
        (json!({ "api": { "listen": "0.0.0.0:9190" } }), "listen"),
        (json!({ "api": { "address": "localhost" } }), "api.address"),
        (
            json!({ "archive": { "directory": "flows" } }),
            "archive.directory",
        ),
        (json!({ "nats": { "url": "nats.example.org" } }), "nats.url"),
        (json!({ "extraArgs": "--replace" }), "extraArgs"),
        (json!({ "seccompProfile": "Unconfined" }), "seccompProfile"),
        (json!({ "podAnnotations": { "a": 1 } }), "podAnnotations"),
        (
            json!({ "serviceMonitor": { "interval": 15 } }),
            "serviceMonitor.interval",
        ),
        (
            json!({ "serviceMonitor": { "enabled": true } }),
            "cannot reach api.address",
        ),
    ]
}

//! What happens to the names of pods.

use std::path::Path;

use super::prometheus::{Down, Prometheus, Up};
use crate::{
    lab::kubernetes::{cluster::Cluster, kubeconfig, section, serve},
    stage::Stage,
};

/// More pods than are named.
const PODS: u32 = 4_100;

/// The configuration: where the API server is stands in a file that comes later.
pub fn sections() -> String {
    section(Path::new("FOLDER/kubeconfig"))
}

pub fn are_named(stage: &Stage, prometheus: &Prometheus<'_>) {
    let cluster = Cluster::default();
    for n in 0..PODS {
        let [_, b, c, d] = n.to_be_bytes();
        let address = format!("10.{}.{c}.{d}", 100 + b);
        cluster.run(&format!("u{n}"), &format!("shop/cart-{n}"), &address);
    }
    let mut server = None;
    prometheus.sees(
        "an API server comes that knows of many pods",
        &[
            Up("detector_kubernetes_watching"),
            Up("detector_kubernetes_pods"),
            Up("detector_kubernetes_pods_left_out_total"),
            Up("detector_kubernetes_last_success_timestamp_seconds"),
        ],
        || {
            server = Some(serve(&stage.server, &cluster, None));
            kubeconfig(&stage.folder);
        },
    );
    prometheus.sees(
        "it is gone",
        &[
            Up("detector_kubernetes_failures_total"),
            Down("detector_kubernetes_watching"),
        ],
        || server = None,
    );
}

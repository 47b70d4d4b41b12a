//! An API server that fails in all ways.

use serde_json::json;

use super::{PATIENCE, await_pods, flows, hear, stage};
use crate::lab::{
    Lab,
    agent::SECONDS,
    kubernetes::{cluster::Cluster, serve},
    wait_for,
};

#[test]
fn an_api_server_that_fails_costs_names_alone() {
    let Some(lab) = Lab::new(&[]) else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let cluster = Cluster::default();
    cluster.run("u1", "shop/cart-0", "10.0.0.9");
    cluster.known().forbids = true;
    let Some(mut stage) = stage(lab, home.path(), "") else {
        return;
    };
    let again = "are named again";
    let server = serve(&stage.server, &cluster, None);
    // No role lets it ask.
    hear(
        &stage,
        "pods is forbidden: User \"system:serviceaccount:detector:detector\"",
        1,
    );
    hear(&stage, "a ClusterRole with get, list and watch of pods", 1);
    let failures = || stage.metric("detector_kubernetes_failures_total");
    assert!(wait_for(PATIENCE, || failures() >= Some(3.0)));
    assert_eq!(
        stage.log().matches("pods is forbidden").count(),
        1,
        "told once"
    );
    let status = stage.json("/api/v1/status");
    assert!(
        status["complaints"]
            .to_string()
            .contains("pods is forbidden"),
        "{status}"
    );
    stage.scan([10, 0, 0, 9]);
    assert!(
        stage.alert("scan", "drop")["detector"]
            .get("src_pod")
            .is_none()
    );
    assert!(wait_for(SECONDS, || stage.verdicts().len() == 1), "it acts");
    cluster.known().forbids = false;
    hear(&stage, again, 1);
    await_pods(&stage, 1.0);
    assert_eq!(stage.json("/api/v1/status")["complaints"], json!([]));

    // It is killed and comes back: what was known stays known, and what came meanwhile is told.
    drop(server);
    hear(&stage, "see whether it runs", 1);
    assert_eq!(stage.metric("detector_kubernetes_watching"), Some(0.0));
    assert_eq!(flows(&stage, "10.0.0.9")[0]["source_pod"], "shop/cart-0");
    cluster.run("u2", "shop/db-0", "10.0.0.8");
    let lists = cluster.known().lists;
    let server = serve(&stage.server, &cluster, None);
    hear(&stage, again, 2);
    await_pods(&stage, 2.0);
    assert_eq!(
        cluster.known().lists,
        lists,
        "the watch went on where it was"
    );

    // It comes back without its memory: all is listed anew. It has forgotten the agent's token for a while, too.
    drop(server);
    hear(&stage, "see whether it runs", 2);
    cluster.delete("u1");
    cluster.forget_history();
    cluster.known().accepts_nobody = true;
    let server = serve(&stage.server, &cluster, None);
    hear(
        &stage,
        "Unauthorized; the token or certificate is not accepted",
        1,
    );
    cluster.known().accepts_nobody = false;
    hear(&stage, again, 3);
    await_pods(&stage, 1.0);
    assert_eq!(cluster.known().lists, lists + 1);

    // It takes connections and answers nobody. After a minute nobody can be sure of the names.
    drop(server);
    cluster.known().hangs = true;
    let _server = serve(&stage.server, &cluster, None);
    hear(&stage, "no answer within 10 s", 1);
    await_pods(&stage, 1.0);
    let forgotten = || stage.metric("detector_kubernetes_pods") == Some(0.0);
    assert!(wait_for(2 * PATIENCE, forgotten), "{}", stage.log());
    assert!(stage.is_running());
    stage.signal("-TERM");
    assert!(stage.agent.wait().unwrap().success(), "{}", stage.log());
}

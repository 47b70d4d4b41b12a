//! Names of this node's pods, from the Kubernetes API: for flows, events and verdicts.
//!
//! ```text
//! API server → list and watch (a task of the serving threads) → table → names, replaced whole → who tells of an address
//! ```
//!
//! Nobody waits for the server. A name is absent rather than wrong: pods that share the node's address have none, an address that is
//! handed on has the new pod's, and all are forgotten when it was long not heard which pods there are.

mod client;
mod contact;
mod error;
mod names;
mod pod;
mod table;
mod watch;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use contact::KubernetesCounts;
pub use names::PodNames;
pub use watch::watch;

/// The configuration's section `kubernetes`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesSettings {
    /// Name the pods of this node in flows, events and verdicts.
    pub pod_names: bool,
    /// This node's name, as the cluster has it; pod names need it.
    pub node: String,
    /// Where the API server is and who the agent is to it; none: as any pod, by its service account.
    pub kubeconfig: Option<PathBuf>,
}

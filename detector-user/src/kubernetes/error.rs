//! Why pods are not named, and what to do about it.

use std::error::Error;

use kube::{config::InClusterError, runtime::watcher};

use crate::output::printable;

/// Why pods are not named.
#[derive(Debug, thiserror::Error)]
pub(super) enum PodsError {
    /// The kubeconfig cannot be used.
    #[error(
        "kubernetes.kubeconfig {path}: {cause}; a kubeconfig names a server, its authority and a token or client certificate"
    )]
    Kubeconfig { path: String, cause: String },
    /// It names a program.
    #[error(
        "kubernetes.kubeconfig {path}: its credentials come of a program (exec), and the agent starts none; use a token, a token \
         file or a client certificate"
    )]
    Program { path: String },
    /// There is no service account.
    #[error(
        "no service account: {0}; run in a pod with automountServiceAccountToken: true, or name a file in kubernetes.kubeconfig"
    )]
    NoAccount(#[from] InClusterError),
    /// What it names cannot be used.
    #[error(
        "credentials for the Kubernetes API at {url}: {cause}; see the files that kubernetes.kubeconfig names, or the service account's \
         in /var/run/secrets/kubernetes.io/serviceaccount"
    )]
    Credentials { url: String, cause: String },
    /// The server does not know who asks.
    #[error(
        "Kubernetes API at {url}: {cause}; the token or certificate is not accepted: see that it is this cluster's and has not expired"
    )]
    Unknown { url: String, cause: String },
    /// The server knows, and does not let it.
    #[error(
        "Kubernetes API at {url}: {cause}; give the service account a ClusterRole with get, list and watch of pods (the chart's \
         podNames.enabled does)"
    )]
    Forbidden { url: String, cause: String },
    /// It takes connections, or does not even refuse them, and no more.
    #[error(
        "Kubernetes API at {url}: {cause}; see whether it is overloaded, or something in between (a firewall, a network policy) drops \
         packets to it"
    )]
    Silent { url: String, cause: String },
    /// Whatever else.
    #[error(
        "Kubernetes API at {url}: {cause}; see whether it runs, and can be reached from this node"
    )]
    Away { url: String, cause: String },
}

/// There was no answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0} s")]
pub(super) struct NoAnswer(pub(super) u64);

impl PodsError {
    /// What a request failed of.
    pub(super) fn of(url: &str, error: &kube::Error) -> Self {
        let (url, cause) = (url.to_owned(), first_cause(error));
        match error {
            kube::Error::Api(status) if status.code == 401 => Self::Unknown { url, cause },
            kube::Error::Api(status) if status.is_forbidden() => Self::Forbidden { url, cause },
            kube::Error::Service(error) if error.is::<NoAnswer>() => Self::Silent { url, cause },
            _ => Self::Away { url, cause },
        }
    }

    /// What the watch failed of; `None` where that is a part of watching: the list is too old, or the connection was ended. What
    /// comes of the next request tells.
    pub(super) fn of_watch(url: &str, error: &watcher::Error) -> Option<Self> {
        match error {
            watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
                Some(Self::of(url, error))
            }
            watcher::Error::WatchFailed(_) => None,
            watcher::Error::WatchError(status) if status.code == 410 => None,
            error => Some(Self::Away {
                url: url.to_owned(),
                cause: first_cause(error),
            }),
        }
    }
}

/// What it all came of; what stands above that only says so.
fn first_cause(error: &dyn Error) -> String {
    let mut first = error;
    while let Some(source) = first.source() {
        first = source;
    }
    printable(&first.to_string()).into_owned()
}

//! A client of the API server that gives up in time and knows when it was answered.

use std::{
    path::Path,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::http::{Request, Response};
use futures_util::{FutureExt as _, future::BoxFuture};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
    config::{KubeConfigOptions, Kubeconfig},
};
use tower::{BoxError, Service, layer::layer_fn};

use super::{
    KubernetesSettings,
    contact::Contact,
    error::{NoAnswer, PodsError},
};

/// A connection, and the head of an answer, comes within this or not at all.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A watch ends after so long, s, and is begun anew: a server that hangs is noticed then.
pub(super) const WATCH_S: u32 = 60;
/// A body that stands still longer than any watch does is given up.
const SILENCE_MAX: Duration = Duration::from_secs(WATCH_S as u64 + 10);

/// A client, and the address that it talks to.
pub(super) async fn client(
    settings: &KubernetesSettings,
    contact: Arc<Contact>,
) -> Result<(Client, String), PodsError> {
    let mut config = match &settings.kubeconfig {
        Some(path) => of_file(path).await?,
        None => Config::incluster()?,
    };
    config.connect_timeout = Some(ANSWER_MAX);
    config.read_timeout = Some(SILENCE_MAX);
    // It is tried again where it is told that it failed.
    config.default_retry = false;
    // Which library does the arithmetic of TLS is the process's choice; a second one changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = config.cluster_url.to_string();
    let builder = ClientBuilder::try_from(config).map_err(|error| PodsError::Credentials {
        url: url.clone(),
        cause: error.to_string(),
    })?;
    let guard = layer_fn(move |inner| Guarded {
        inner,
        contact: contact.clone(),
    });
    Ok((builder.with_layer(&guard).build(), url))
}

async fn of_file(path: &Path) -> Result<Config, PodsError> {
    let shown = || path.display().to_string();
    let unusable = |cause: kube::config::KubeconfigError| PodsError::Kubeconfig {
        path: shown(),
        cause: cause.to_string(),
    };
    let file = Kubeconfig::read_from(path).map_err(unusable)?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(file, &options).await;
    let config = config.map_err(unusable)?;
    if config.auth_info.exec.is_some() || config.auth_info.auth_provider.is_some() {
        return Err(PodsError::Program { path: shown() });
    }
    Ok(config)
}

/// Requests, each of which is answered in time or fails.
struct Guarded<S> {
    inner: S,
    contact: Arc<Contact>,
}

impl<S, B> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let query = request.uri().query().unwrap_or_default();
        let is_watch = query.split('&').any(|one| one == "watch=true");
        let answer = self.inner.call(request);
        let contact = self.contact.clone();
        async move {
            let answer = tokio::time::timeout(ANSWER_MAX, answer).await;
            let answer = answer.map_err(|_| NoAnswer(ANSWER_MAX.as_secs()))?;
            let answer = answer.map_err(Into::into)?;
            if answer.status().is_success() {
                contact.answered(is_watch);
            }
            Ok(answer)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::{KubernetesCounts, PodNames};

    fn refusal(kubeconfig: Option<&Path>) -> PodsError {
        let settings = KubernetesSettings {
            kubeconfig: kubeconfig.map(Path::to_owned),
            ..KubernetesSettings::default()
        };
        let names = Arc::<PodNames>::default();
        let contact = Contact::new("n", names, Arc::<KubernetesCounts>::default(), |_| {});
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let made = runtime.block_on(client(&settings, Arc::new(contact)));
        made.map(drop).expect_err("there is no client")
    }

    #[test]
    fn credentials_that_cannot_be_used_are_named_with_a_remedy() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("kubeconfig");
        let says = |error: PodsError, what: &str| {
            let text = error.to_string();
            assert!(text.contains(what), "{text}");
        };
        says(refusal(Some(&path)), "No such file");
        std::fs::write(&path, "clusters: 3").unwrap();
        says(refusal(Some(&path)), "a kubeconfig names a server");
        let user = |user: &str| {
            let text = format!(
                "current-context: c\nclusters: [{{name: c, cluster: {{server: 'https://10.0.0.1'}}}}]\n\
                 contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
            );
            std::fs::write(&path, text).unwrap();
            refusal(Some(&path))
        };
        let exec = "exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/false}";
        says(user(exec), "the agent starts none");
        says(user("tokenFile: /nowhere/token"), "/nowhere/token");
        // Where the test itself is no pod.
        if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
            says(refusal(None), "automountServiceAccountToken: true");
        }
    }
}

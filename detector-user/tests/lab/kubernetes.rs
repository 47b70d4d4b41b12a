//! An API server that knows pods alone, and lists and watches them as the real one does: by node, for who has the token.

pub mod cluster;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures_util::stream;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::{Builder, Runtime},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use super::space::Space;
use cluster::{Cluster, refusal};

pub const AUTHORITY: &str = "127.0.0.1:6443";
pub const NODE: &str = "node-1.example";
const TOKEN: &str = "a-token-of-the-cluster";

/// The server; it and all connections end with this.
pub struct Server(Option<Runtime>);

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

/// Serves a cluster in a namespace; over TLS with the certificate and key of a folder.
pub fn serve(space: &Space, cluster: &Cluster, tls: Option<&Path>) -> Server {
    let listener = space.within(|| TcpListener::bind(AUTHORITY)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let router = Router::new()
        .route("/api/v1/pods", get(pods))
        .with_state(cluster.clone());
    let acceptor = tls.map(acceptor);
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let (router, acceptor) = (router.clone(), acceptor.clone());
            tokio::spawn(async move {
                match acceptor {
                    None => answer(stream, router).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            answer(stream, router).await;
                        }
                    }
                }
            });
        }
    });
    Server(Some(runtime))
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = connection.await;
}

fn acceptor(folder: &Path) -> TlsAcceptor {
    let certificates = CertificateDer::pem_file_iter(folder.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates.map(Result::unwrap).collect(), key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

async fn pods(
    State(cluster): State<Cluster>,
    Query(query): Query<BTreeMap<String, String>>,
    head: HeaderMap,
) -> Response {
    let refused = |code: u16, reason: &str, message: &str| {
        let status = StatusCode::from_u16(code).unwrap();
        (status, axum::Json(refusal(code, reason, message))).into_response()
    };
    let of = |name: &str| query.get(name).map(String::as_str);
    let hangs = cluster.known().hangs;
    if hangs {
        return std::future::pending().await;
    }
    let version = {
        let mut known = cluster.known();
        let token = head
            .get(header::AUTHORIZATION)
            .map(|value| value.as_bytes());
        if known.accepts_nobody || token != Some(format!("Bearer {TOKEN}").as_bytes()) {
            return refused(401, "Unauthorized", "Unauthorized");
        }
        if known.forbids {
            let who =
                "User \"system:serviceaccount:detector:detector\" cannot list resource \"pods\"";
            return refused(403, "Forbidden", &format!("pods is forbidden: {who}"));
        }
        if of("fieldSelector") != Some(&format!("spec.nodeName={NODE}")) {
            return refused(
                400,
                "BadRequest",
                "this agent is to ask for its own node's pods only",
            );
        }
        if of("watch") != Some("true") {
            known.lists += 1;
            let pods = known.pods.values();
            let own: Vec<&Value> = pods.filter(|pod| pod["spec"]["nodeName"] == NODE).collect();
            let metadata = json!({ "resourceVersion": known.version.to_string() });
            let list = json!({ "kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": own });
            return axum::Json(list).into_response();
        }
        known.watches += 1;
        of("resourceVersion").unwrap().parse::<u64>().unwrap()
    };
    let bookmark = json!({ "type": "BOOKMARK", "object": { "kind": "Pod", "apiVersion": "v1",
        "metadata": { "resourceVersion": version.to_string() } } });
    let lines = stream::unfold(
        (cluster.changed.subscribe(), version),
        move |(mut changed, version)| {
            let cluster = cluster.clone();
            async move {
                loop {
                    // What says that the list is too old is the last.
                    if version == u64::MAX {
                        return None;
                    }
                    if let Some((line, version)) = cluster.after(version) {
                        return Some((line, (changed, version)));
                    }
                    changed.changed().await.ok()?;
                }
            }
        },
    );
    let first = stream::iter([format!("{bookmark}\n")]);
    let lines = futures_util::StreamExt::chain(first, lines);
    let lines = futures_util::StreamExt::map(lines, |line| Ok::<_, Infallible>(Bytes::from(line)));
    let body = Body::from_stream(lines);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Makes a certificate for the server, and its key.
pub fn certify(folder: &Path) {
    let made = Command::new("openssl")
        .current_dir(folder)
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
            "-subj",
            "/CN=kubernetes",
        ])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .output();
    assert!(made.unwrap().status.success());
}

/// Writes a kubeconfig with the token in a file of its own; over TLS where the folder has a certificate.
pub fn kubeconfig(folder: &Path) -> PathBuf {
    fs::write(folder.join("token"), TOKEN).unwrap();
    let (scheme, authority) = if folder.join("cert.pem").exists() {
        ("https", "certificate-authority: cert.pem, ")
    } else {
        ("http", "")
    };
    let path = folder.join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         clusters: [{{ name: here, cluster: {{ {authority}server: '{scheme}://{AUTHORITY}' }} }}]\n\
         users: [{{ name: agent, user: {{ tokenFile: {}/token }} }}]\n\
         contexts: [{{ name: here, context: {{ cluster: here, user: agent }} }}]\n",
        folder.display()
    );
    fs::write(&path, text).unwrap();
    path
}

/// The section of the agent's configuration.
pub fn section(kubeconfig: &Path) -> String {
    format!("[kubernetes]\npod_names = true\nnode = {NODE:?}\nkubeconfig = {kubeconfig:?}\n")
}

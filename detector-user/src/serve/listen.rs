//! The listeners: TCP, with TLS or without, and the Unix socket. Each has a bound on its connections, and none waits for a peer
//! without end: not for its handshake, its headers, its body, nor for it to read what it asked for.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener},
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use super::{
    access::{Access, TokenHash},
    patient::Patient,
    places::Places,
    settings::{ApiSettings, OFF},
};

/// A peer has so long for its TLS handshake, and for the head of each request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that a request's head may have.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Owner and group may open the socket.
const SOCKET_MODE: u32 = 0o660;

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The TCP address.
    #[error(
        "listening on {address} (api.listen): {cause}; choose another address and port, or \"off\""
    )]
    Tcp {
        /// Which.
        address: String,
        /// Why.
        cause: io::Error,
    },
    /// The Unix socket.
    #[error("listening on {} (api.socket): {cause}; choose another path, or \"off\"", path.display())]
    Unix {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Certificate, key or token.
    #[error("{key} {}: {cause}; nothing is served over TCP until this is mended", path.display())]
    Secret {
        /// The configuration's key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// Some of the three without the others.
    #[error("api.{0}; nothing is served over TCP until this is mended")]
    Together(&'static str),
}

/// What listens, bound. Nobody is served yet: binding a low port and reading a key may take what serving does not.
pub struct Listeners {
    pub(super) tcp: Option<Tcp>,
    pub(super) unix: Option<Unix>,
}

impl Listeners {
    /// Binds what is configured. A listener that cannot be had is left out, and told of.
    pub fn bind(
        settings: &ApiSettings,
        mut listening: impl FnMut(Result<String, ListenError>),
    ) -> Self {
        let mut told = |bound: Result<Option<String>, ListenError>| {
            if let Some(place) = bound.transpose() {
                listening(place);
            }
        };
        let mut tcp = None;
        told(Tcp::bind(settings).map(|bound| {
            tcp = bound;
            tcp.as_ref().map(Tcp::url)
        }));
        let mut unix = None;
        told(Unix::bind(settings).map(|bound| {
            unix = bound;
            unix.as_ref().map(|unix| unix.path().display().to_string())
        }));
        Self { tcp, unix }
    }
}

/// The TCP listener, bound.
pub struct Tcp {
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    access: Access,
}

impl Tcp {
    /// Binds; `None` where it is off.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn bind(settings: &ApiSettings) -> Result<Option<Self>, ListenError> {
        if settings.listen == OFF {
            return Ok(None);
        }
        let (tls, access) = security(settings)?;
        let failed = |cause| ListenError::Tcp {
            address: settings.listen.clone(),
            cause,
        };
        let listener = std::net::TcpListener::bind(&settings.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Some(Self {
            listener,
            tls,
            access,
        }))
    }

    /// Where it listens, as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let address = self.listener.local_addr();
        address.map_or_else(|_| String::new(), |address| format!("{scheme}://{address}"))
    }

    /// Serves without end.
    pub(super) async fn serve(self, router: Router, places: Places) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let router = router.layer(Extension(self.access));
        let tls = self.tls;
        places
            .serve(listener, move |stream: TcpStream| {
                // Events are small, and are to be seen at once.
                let _ = stream.set_nodelay(true);
                let (router, tls) = (router.clone(), tls.clone());
                async move {
                    let Some(tls) = tls else {
                        return connection(stream, router).await;
                    };
                    if let Ok(Ok(stream)) = timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
                        connection(stream, router).await;
                    }
                }
            })
            .await;
        Ok(())
    }
}

/// TLS and who may change things, by certificate, key and token.
fn security(settings: &ApiSettings) -> Result<(Option<TlsAcceptor>, Access), ListenError> {
    let (certificate, key) = match (&settings.tls_certificate, &settings.tls_key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) if settings.token_file.is_none() => return Ok((None, Access::Reads)),
        (None, None) => {
            return Err(ListenError::Together(
                "token_file needs tls_certificate and tls_key: a token is not sent in clear",
            ));
        }
        _ => {
            return Err(ListenError::Together(
                "tls_certificate and tls_key belong together",
            ));
        }
    };
    let secret = |key, path: &Path, cause: String| ListenError::Secret {
        key,
        path: path.to_owned(),
        cause,
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| secret("api.tls_certificate", certificate, error.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| secret("api.tls_key", key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(chain, private)
        })
        .map_err(|error| secret("api.tls_certificate", certificate, error.to_string()))?;
    let access = match &settings.token_file {
        None => Access::Reads,
        Some(file) => Access::Token(
            TokenHash::read(file)
                .map_err(|error| secret("api.token_file", file, error.to_string()))?,
        ),
    };
    Ok((Some(TlsAcceptor::from(Arc::new(config))), access))
}

/// The Unix socket, bound; removed with it.
pub struct Unix {
    listener: StdUnixListener,
    path: PathBuf,
}

impl Unix {
    /// Binds; `None` where it is off.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn bind(settings: &ApiSettings) -> Result<Option<Self>, ListenError> {
        if settings.socket == OFF {
            return Ok(None);
        }
        let path = PathBuf::from(&settings.socket);
        match bind_unix(&path) {
            Ok(listener) => Ok(Some(Self { listener, path })),
            Err(cause) => Err(ListenError::Unix { path, cause }),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves without end.
    pub(super) async fn serve(self, router: Router, places: Places) -> io::Result<()> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        let router = router.layer(Extension(Access::Socket));
        places
            .serve(listener, |stream| connection(stream, router.clone()))
            .await;
        Ok(())
    }
}

impl Drop for Unix {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Binds a socket that owner and group may open, in the place of one at which nobody listens any more.
fn bind_unix(path: &Path) -> io::Result<StdUnixListener> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    if let Ok(there) = fs::symlink_metadata(path) {
        if !there.file_type().is_socket() {
            return Err(io::Error::other("something that is no socket is there"));
        }
        if StdUnixStream::connect(path).is_ok() {
            return Err(io::Error::other("another agent listens there"));
        }
        fs::remove_file(path)?;
    }
    let listener = StdUnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn connection<S>(stream: S, router: Router)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(
            TokioIo::new(Patient::new(stream)),
            TowerToHyperService::new(router),
        )
        .with_upgrades();
    // A peer that breaks the protocol, is too slow or goes: nothing that anybody could do about.
    let _ = served.await;
}

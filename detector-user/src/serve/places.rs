//! The places for a listener's connections, and how they are taken.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
};

/// After a failure to accept (no descriptor left) it is tried again after this.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The places for a listener's connections. Who finds none waits in the kernel's queue.
#[derive(Clone)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    all: usize,
}

impl Places {
    pub(super) fn new(all: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(all)),
            all,
        }
    }

    /// Those that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }

    /// Serves who is accepted, without end, each as a task of its own.
    pub(super) async fn serve<L: Accepts, F>(self, listener: L, serve: impl Fn(L::Stream) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        loop {
            let Ok(accepted) = listener.next().await else {
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            };
            let Ok(place) = self.free.clone().acquire_owned().await else {
                return;
            };
            let served = serve(accepted);
            tokio::spawn(async move {
                served.await;
                drop(place);
            });
        }
    }
}

/// A listener of either kind.
pub(super) trait Accepts {
    type Stream;

    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accepts for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        Ok(self.accept().await?.0)
    }
}

impl Accepts for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}

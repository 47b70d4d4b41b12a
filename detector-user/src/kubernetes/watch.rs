//! Lists the pods of this node, and follows what becomes of them.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1;
use kube::{
    Api, Client,
    core::ApiResource,
    runtime::{
        utils::Backoff as _,
        watcher::{self, DefaultBackoff, Event, watcher},
    },
};
use tokio::time::sleep;

use super::{
    KubernetesCounts, KubernetesSettings, PodNames,
    client::{WATCH_S, client},
    contact::Contact,
    error::PodsError,
    pod::{Given, Pod},
    table::{PODS_MAX, Table},
};

/// Without word of the pods for so long, names are forgotten: addresses may have been handed on.
const UNSURE_MAX: Duration = Duration::from_secs(60);

struct Watch {
    names: Arc<PodNames>,
    contact: Arc<Contact>,
    table: Table,
    /// The list that is coming in, those that find no room left out.
    listing: Vec<Pod>,
    /// When the list was whole that the names are from.
    sure_at: Option<Instant>,
    backoff: DefaultBackoff,
}

/// Names this node's pods, without end. What is wrong is told through `complain`, once, and when it is over.
pub async fn watch(
    settings: KubernetesSettings,
    names: Arc<PodNames>,
    counts: Arc<KubernetesCounts>,
    complain: impl Fn(&str) + Send + Sync + 'static,
) {
    let contact = Contact::new(&settings.node, names.clone(), counts, complain);
    let mut watch = Watch {
        names,
        contact: Arc::new(contact),
        table: Table::default(),
        listing: Vec::new(),
        sure_at: None,
        backoff: DefaultBackoff::default(),
    };
    loop {
        match client(&settings, watch.contact.clone()).await {
            Ok((client, url)) => watch.follow(client, &url, &settings.node).await,
            Err(error) => {
                watch.contact.failed();
                watch.contact.lost(&error);
                watch.pause(None).await;
            }
        }
    }
}

impl Watch {
    /// Follows until nobody can be sure of the names any more.
    async fn follow(&mut self, client: Client, url: &str, node: &str) {
        let pods: Api<Given> = Api::all_with(client, &ApiResource::erase::<v1::Pod>(&()));
        let wanted = watcher::Config::default()
            .fields(&format!("spec.nodeName={node}"))
            // From the server's memory: what it lags behind, the watch tells.
            .any_semantic()
            .timeout(WATCH_S);
        let mut events = pin!(watcher(pods, wanted));
        while let Some(event) = events.next().await {
            let error = match event {
                Ok(event) => {
                    self.take(event);
                    continue;
                }
                Err(error) => error,
            };
            self.contact.failed();
            let lost = PodsError::of_watch(url, &error).map(|error| self.contact.lost(&error));
            let unsure = lost.zip(self.sure_at);
            let unsure = unsure.map(|(lost, sure_at)| lost.min(sure_at.elapsed()));
            if unsure.is_some_and(|unsure| unsure >= UNSURE_MAX) {
                self.forget();
                self.pause(None).await;
                return;
            }
            self.pause(unsure.map(|unsure| UNSURE_MAX - unsure)).await;
        }
    }

    fn take(&mut self, event: Event<Given>) {
        let now = Instant::now();
        let changed = match event {
            Event::Init => {
                self.listing.clear();
                false
            }
            Event::InitApply(given) => {
                // Those without addresses, too: what they had before is theirs no more.
                match Pod::of(&given) {
                    Some(pod) if self.listing.len() < 2 * PODS_MAX => self.listing.push(pod),
                    Some(_) => self.count_left_out(1),
                    None => {}
                }
                false
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listing);
                let left_out = self.table.replace(listed, now);
                self.count_left_out(left_out);
                self.sure_at = Some(now);
                self.backoff.reset();
                true
            }
            Event::Apply(given) => match Pod::of(&given).map(|pod| self.table.put(&pod, now)) {
                Some(Ok(changed)) => changed,
                Some(Err(_)) => {
                    self.count_left_out(1);
                    false
                }
                None => false,
            },
            Event::Delete(given) => {
                let uid = given.metadata.uid.as_deref();
                uid.is_some_and(|uid| self.table.remove(uid, now))
            }
        };
        if changed {
            self.publish(now);
        }
    }

    fn publish(&mut self, now: Instant) {
        self.names.replace(self.table.names(now));
        let counts = &self.contact.counts;
        counts.pods.store(self.table.pods() as u64, Relaxed);
    }

    fn forget(&mut self) {
        self.table = Table::default();
        self.sure_at = None;
        self.publish(Instant::now());
    }

    fn count_left_out(&self, pods: usize) {
        let counts = &self.contact.counts;
        counts.left_out.fetch_add(pods as u64, Relaxed);
    }

    /// Longer after each failure that follows another.
    async fn pause(&mut self, at_most: Option<Duration>) {
        let pause = self.backoff.next().unwrap_or(UNSURE_MAX);
        sleep(at_most.map_or(pause, |at_most| pause.min(at_most))).await;
    }
}

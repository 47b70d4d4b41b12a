//! Of a pod only what its name and addresses take is read; the rest is passed over.

use std::{net::IpAddr, sync::Arc};

use kube::core::Object;
use serde::Deserialize;

/// Addresses of a pod, at most: one of each family.
const ADDRESSES_MAX: usize = 2;

/// As the API has it.
pub(super) type Given = Object<Spec, Status>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec {
    host_network: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    phase: Option<String>,
    #[serde(rename = "podIPs")]
    addresses: Option<Vec<Address>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Address {
    ip: Option<String>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pod {
    /// Which it is: a later pod may have its name.
    pub(super) uid: Arc<str>,
    pub(super) name: Arc<str>,
    /// Its own; none where it has none (yet), has them no more, or shares the node's.
    pub(super) addresses: Vec<IpAddr>,
    /// It is being removed: another pod may have its address already.
    pub(super) ending: bool,
    /// When it was made, Unix s.
    pub(super) made: i64,
}

impl Pod {
    /// `None` for what is no pod: the API server gives each of these.
    pub(super) fn of(given: &Given) -> Option<Self> {
        let meta = &given.metadata;
        let (namespace, name) = (meta.namespace.as_ref()?, meta.name.as_ref()?);
        let status = given.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        let is_over = matches!(phase, Some("Succeeded" | "Failed"));
        let shares = given.spec.host_network == Some(true);
        let all = status.and_then(|status| status.addresses.as_deref());
        let own = all.unwrap_or_default().iter();
        let own = own.filter_map(|address| address.ip.as_ref()?.parse::<IpAddr>().ok());
        Some(Self {
            uid: meta.uid.as_deref()?.into(),
            name: format!("{namespace}/{name}").into(),
            addresses: if is_over || shares {
                Vec::new()
            } else {
                own.map(|ip| ip.to_canonical())
                    .take(ADDRESSES_MAX)
                    .collect()
            },
            ending: meta.deletion_timestamp.is_some(),
            made: meta
                .creation_timestamp
                .as_ref()
                .map_or(0, |time| time.0.as_second()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: &str, status: &str) -> Pod {
        let text = format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"cart-0","namespace":"shop","uid":"u1",
            "creationTimestamp":"2026-11-21T07:00:00Z","labels":{{"a":"b"}}}},"spec":{spec},"status":{status}}}"#
        );
        Pod::of(&serde_json::from_str(&text).unwrap()).unwrap()
    }

    #[test]
    fn both_families_are_taken_and_nothing_of_pods_that_share_or_are_over() {
        let both =
            r#""podIP":"10.1.0.5","podIPs":[{"ip":"10.1.0.5"},{"ip":"fd00::5"},{"ip":"10.1.0.6"}]"#;
        let one = pod(
            r#"{"containers":[]}"#,
            &format!(r#"{{"phase":"Running",{both}}}"#),
        );
        assert_eq!((&*one.name, one.made), ("shop/cart-0", 1_795_244_400));
        let wanted: [IpAddr; 2] = ["10.1.0.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        assert_eq!(one.addresses, wanted);
        let shares = pod(r#"{"hostNetwork":true}"#, &format!("{{{both}}}"));
        assert!(shares.addresses.is_empty());
        for over in ["Succeeded", "Failed"] {
            let over = pod("{}", &format!(r#"{{"phase":"{over}",{both}}}"#));
            assert!(over.addresses.is_empty());
        }
        assert!(
            pod("{}", r#"{"phase":"Pending","podIPs":null}"#)
                .addresses
                .is_empty()
        );
        assert!(pod("{}", "null").addresses.is_empty());
    }
}

//! What a column is, told by its name.
//!
//! CICFlowMeter's tables come in three dialects (the original, the corrected one, the short one of CSE-CIC-IDS2018 and the
//! Python rewrite); their columns get one set of names, that of the feature set `flow/1` where it has them. Spaces, case
//! and punctuation do not count, so that `Flow Byts/s` and `flow_byts_s` are one.

use std::{collections::HashMap, sync::LazyLock};

use crate::features;

/// Columns of a CICFlowMeter table, at the least, for its names to be taken for such.
const CICFLOWMETER_MIN: usize = 10;

/// CICFlowMeter's columns that the feature set `flow/1` does not have: a name, then the dialects'.
const FURTHER: &[(&str, &[&str])] = &[
    ("src_port", &["Src Port", "Source Port"]),
    ("dst_port", &["Dst Port", "Destination Port"]),
    (
        "fwd_bulk_bytes",
        &["Fwd Bytes/Bulk Avg", "Fwd Avg Bytes/Bulk", "Fwd Byts/b Avg"],
    ),
    (
        "fwd_bulk_packets",
        &[
            "Fwd Packet/Bulk Avg",
            "Fwd Avg Packets/Bulk",
            "Fwd Pkts/b Avg",
        ],
    ),
    (
        "fwd_bulk_rate",
        &["Fwd Bulk Rate Avg", "Fwd Avg Bulk Rate", "Fwd Blk Rate Avg"],
    ),
    (
        "bwd_bulk_bytes",
        &["Bwd Bytes/Bulk Avg", "Bwd Avg Bytes/Bulk", "Bwd Byts/b Avg"],
    ),
    (
        "bwd_bulk_packets",
        &[
            "Bwd Packet/Bulk Avg",
            "Bwd Avg Packets/Bulk",
            "Bwd Pkts/b Avg",
        ],
    ),
    (
        "bwd_bulk_rate",
        &["Bwd Bulk Rate Avg", "Bwd Avg Bulk Rate", "Bwd Blk Rate Avg"],
    ),
    (
        "fwd_subflow_packets",
        &["Subflow Fwd Packets", "Subflow Fwd Pkts"],
    ),
    (
        "fwd_subflow_bytes",
        &["Subflow Fwd Bytes", "Subflow Fwd Byts"],
    ),
    (
        "bwd_subflow_packets",
        &["Subflow Bwd Packets", "Subflow Bwd Pkts"],
    ),
    (
        "bwd_subflow_bytes",
        &["Subflow Bwd Bytes", "Subflow Bwd Byts"],
    ),
    ("icmp_code", &["ICMP Code"]),
    ("icmp_type", &["ICMP Type"]),
    ("tcp_flow_time", &["Total TCP Flow Time"]),
    ("cwr", &["CWE Flag Cnt"]),
    ("fwd_header", &["Fwd Header Length.1"]),
    (
        "fwd_header_min",
        &["Fwd Seg Size Min", "Min Seg Size Forward"],
    ),
    (
        "fwd_payload_mean",
        &["Fwd Segment Size Avg", "Avg Fwd Segment Size"],
    ),
];

/// Features that not every dialect of CICFlowMeter has: a model that knows them may judge a table that has not.
const OPTIONAL: &[&str] = &[
    "protocol",
    "src_port",
    "fwd_rst",
    "bwd_rst",
    "icmp_code",
    "icmp_type",
    "tcp_flow_time",
    "fwd_bulk_bytes",
    "fwd_bulk_packets",
    "fwd_bulk_rate",
    "bwd_bulk_bytes",
    "bwd_bulk_packets",
    "bwd_bulk_rate",
    "fwd_subflow_packets",
    "fwd_subflow_bytes",
    "bwd_subflow_packets",
    "bwd_subflow_bytes",
    "cwr",
    "ece",
];

/// What a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Something to learn from, if it turns out to hold numbers or few words.
    Feature,
    /// When the flow was: left out, and what a split by time goes by.
    Time,
    /// Which capture the flow is of: left out, and what a split by capture goes by.
    Capture,
    /// Who it was, or which row it is.
    Identity,
    /// The port of the side that began the flow, which that side's system chose by chance.
    ClientPort,
    /// Another column that says what the row is.
    Label,
    /// Something that the makers of the table derived from addresses or labels, or that a detector said.
    Derived,
}

impl Role {
    /// Why such a column is left out, or none where it is not.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Feature => None,
            Self::Time => Some("time"),
            Self::Capture => Some("capture"),
            Self::Identity => Some("identity"),
            Self::ClientPort => Some("client's port"),
            Self::Label => Some("another label"),
            Self::Derived => Some("derived from addresses or labels, or said by a detector"),
        }
    }
}

/// Letters and digits in lower case: what counts of a column's name.
#[must_use]
pub fn plain(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

static ALIASES: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let mut all = HashMap::new();
    for (name, columns) in FURTHER {
        for column in *columns {
            all.insert(plain(column), *name);
        }
        all.insert(plain(name), *name);
    }
    for feature in features::flow::FEATURES {
        for column in feature.columns {
            all.insert(plain(column), feature.name);
        }
    }
    for name in features::NAMES.iter() {
        all.insert(plain(name), *name);
    }
    all
});

/// The one name for a column of CICFlowMeter's, however the dialect spells it.
#[must_use]
pub fn cicflowmeter(column: &str) -> Option<&'static str> {
    ALIASES.get(&plain(column)).copied()
}

/// Whether a table with these columns is one of CICFlowMeter's.
#[must_use]
pub fn is_cicflowmeter<S: AsRef<str>>(columns: &[S]) -> bool {
    let known = columns
        .iter()
        .filter(|column| cicflowmeter(column.as_ref()).is_some());
    known.count() >= CICFLOWMETER_MIN
}

/// Whether a dialect of CICFlowMeter may lack this feature.
#[must_use]
pub fn is_optional(feature: &str) -> bool {
    OPTIONAL.contains(&feature)
}

/// Whether a feature of CICFlowMeter's is a count, a size or a time, of which none is negative: where a table has one, a
/// counter of its maker ran over.
#[must_use]
pub fn is_never_negative(feature: &str) -> bool {
    let signed = feature.ends_with("init_window") || feature.starts_with("icmp_");
    !signed && ALIASES.values().any(|name| *name == feature)
}

const TIMES: &[&str] = &[
    "timestamp",
    "ts",
    "firsttime",
    "starttime",
    "stime",
    "start",
    "startdate",
    "flowstart",
    "flowstartmilliseconds",
    "time",
    "datetime",
    "date",
    "day",
    // Other ends of the same.
    "lasttime",
    "endtime",
    "ltime",
    "end",
    "enddate",
    "flowend",
    "startoffset",
    "endoffset",
    "flowendmilliseconds",
];
const IDENTITIES: &[&str] = &[
    "",
    "id",
    "index",
    "row",
    "rowid",
    "unnamed0",
    "unnamed01",
    "flow",
    "flowid",
    "uid",
    "communityid",
    "txid",
    "pcapcnt",
    "srcip",
    "sourceip",
    "srcaddr",
    "srcaddress",
    "sourceaddress",
    "saddress",
    "saddr",
    "sips",
    "sip",
    "sipaddr",
    "idorigh",
    "origh",
    "ipsrc",
    "ipv4srcaddr",
    "ipv6srcaddr",
    "srcname",
    "sourcename",
    "srcpod",
    "sourcepod",
    "dstip",
    "destip",
    "destinationip",
    "dstaddr",
    "dstaddress",
    "destaddress",
    "destinationaddress",
    "raddress",
    "daddr",
    "rips",
    "dip",
    "idresph",
    "resph",
    "ipdst",
    "ipv4dstaddr",
    "ipv6dstaddr",
    "dstname",
    "destinationname",
    "destpod",
    "destinationpod",
    "srcmac",
    "sourcemac",
    "smacs",
    "smac",
    "dstmac",
    "destmac",
    "destinationmac",
    "rmacs",
    "dmac",
    "l2origaddr",
    "l2respaddr",
    "origl2addr",
    "respl2addr",
    "parentid",
    "tunnelparents",
    "zone",
    "host",
    "hostname",
    "iniface",
    "interface",
    "vlan",
    "simillarhttp",
    "fwddomain",
];
const CLIENT_PORTS: &[&str] = &[
    "srcport",
    "sourceport",
    "sport",
    "idorigp",
    "origp",
    "clientport",
    "l4srcport",
    "portsrc",
];
const LABELS: &[&str] = &[
    "class",
    "category",
    "family",
    "attack",
    "attackcat",
    "attackcategory",
    "attacktype",
    "attackname",
    "attemptedcategory",
    "subcategory",
    "target",
    "truth",
    "groundtruth",
    "malicious",
    "threat",
    "tactic",
    "technique",
    "traffictype",
    "tag",
];
const DERIVED: &[&str] = &[
    "inbound",
    // What the agent itself said of a flow in its archive, and why it was written then.
    "alertfamily",
    "modelfamily",
    "modelscore",
    "verdict",
    "endreason",
];
const CAPTURES: &[&str] = &["capture", "pcap", "pcapfile", "capturefile", "group"];

/// What a column is, told by its name.
#[must_use]
pub fn role(column: &str) -> Role {
    let name = plain(column);
    let is = |names: &[&str]| names.contains(&name.as_str());
    // What pandas makes of an index that it was not told to leave out.
    let index =
        name.starts_with("indexlevel") || name.starts_with("unnamed") || name.starts_with("leveln");
    if index {
        Role::Identity
    } else if name.contains("label") || is(LABELS) {
        Role::Label
    } else if is(TIMES) {
        Role::Time
    } else if is(CAPTURES) {
        Role::Capture
    } else if is(CLIENT_PORTS) {
        Role::ClientPort
    } else if is(DERIVED) {
        Role::Derived
    } else if is(IDENTITIES) {
        Role::Identity
    } else {
        Role::Feature
    }
}

/// Whether a feature is the port of the side that was called.
#[must_use]
pub fn is_port(feature: &str) -> bool {
    let name = plain(feature);
    name.ends_with("dstport")
        || name.ends_with("destport")
        || name.ends_with("destinationport")
        || name == "idrespp"
        || name == "dport"
}

/// Which of the columns says when a flow began, the likeliest first.
#[must_use]
pub fn time_column<S: AsRef<str>>(columns: &[S]) -> Option<usize> {
    TIMES.iter().find_map(|time| {
        columns
            .iter()
            .position(|column| plain(column.as_ref()) == *time)
    })
}

/// Which of the columns says what a row is, where none was named: the one called `label`.
#[must_use]
pub fn label_column<S: AsRef<str>>(columns: &[S]) -> Option<usize> {
    ["label", "class", "family"].iter().find_map(|label| {
        columns
            .iter()
            .position(|column| plain(column.as_ref()) == *label)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dialects_are_one() {
        for (original, corrected, short) in [
            ("Total Fwd Packets", "Total Fwd Packet", "tot_fwd_pkts"),
            (" Flow Bytes/s", "Flow Bytes/s", "flow_byts_s"),
            (
                "Init_Win_bytes_forward",
                "FWD Init Win Bytes",
                "init_fwd_win_byts",
            ),
            (
                "min_seg_size_forward",
                "Fwd Seg Size Min",
                "fwd_seg_size_min",
            ),
            ("CWE Flag Count", "CWR Flag Count", "cwr_flag_count"),
            ("Destination Port", "Dst Port", "dst_port"),
            ("Fwd Avg Bytes/Bulk", "Fwd Bytes/Bulk Avg", "fwd_byts_b_avg"),
            ("Min Packet Length", "Packet Length Min", "pkt_len_min"),
            ("act_data_pkt_fwd", "Fwd Act Data Pkts", "fwd_act_data_pkts"),
        ] {
            let name = cicflowmeter(original);
            assert!(name.is_some(), "{original}");
            assert_eq!(name, cicflowmeter(corrected), "{corrected}");
            assert_eq!(name, cicflowmeter(short), "{short}");
        }
    }

    #[test]
    fn a_port_of_the_client_and_an_address_are_no_features() {
        for (name, wanted) in [
            ("Src Port", Role::ClientPort),
            ("id.orig_p", Role::ClientPort),
            ("id.resp_p", Role::Feature),
            ("Dst Port", Role::Feature),
            ("sAddress", Role::Identity),
            ("Flow ID", Role::Identity),
            ("source_pod", Role::Identity),
            ("destination_pod", Role::Identity),
            ("__index_level_0__", Role::Identity),
            ("Unnamed: 0", Role::Identity),
            ("Timestamp", Role::Time),
            ("IT_B_Label", Role::Label),
            ("detailed-label", Role::Label),
            ("Attempted Category", Role::Label),
            ("Inbound", Role::Derived),
            ("alert_family", Role::Derived),
            ("model_score", Role::Derived),
            ("Flow Duration", Role::Feature),
            ("protocol", Role::Feature),
        ] {
            assert_eq!(role(name), wanted, "{name}");
        }
        assert_eq!(time_column(&["day", "Timestamp"]), Some(1));
    }
}

//! Every key of the configuration and what it may be.

/// What a key may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// `true` or `false`.
    Switch,
    /// Text.
    Text,
    /// A list of prefixes and addresses.
    Prefixes,
    /// `ADDRESS:PORT` or `off`.
    Listen,
    /// A path, or `off`.
    Socket,
    /// NATS servers, separated by commas.
    Servers,
    /// A NATS subject: words separated by dots.
    Subject,
    /// One word of a NATS subject.
    Word,
    /// The name of a Kubernetes node, or nothing.
    Node,
    /// A whole number from one to another.
    Whole(u64, u64),
    /// A number from one to another.
    Number(f64, f64),
    /// `{ alert, rate_limit, drop }`: each 0, which is never, or a number up to this, and none less than those before it.
    Ladder(f64),
}

/// A key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its path, parts separated by dots.
    pub path: &'static str,
    /// What it may be.
    pub range: Range,
    /// Whether it may be absent, and is so by default.
    pub optional: bool,
}

const fn key(path: &'static str, range: Range) -> Key {
    Key {
        path,
        range,
        optional: false,
    }
}

const fn optional(path: &'static str, range: Range) -> Key {
    Key {
        path,
        range,
        optional: true,
    }
}

use Range::{
    Ladder, Listen, Node, Number, Prefixes, Servers, Socket, Subject, Switch, Text, Whole, Word,
};

/// No count is larger.
const MANY: f64 = 1e12;
/// A day, a month and a year, in seconds.
const DAY_S: u64 = 86_400;
const MONTH_S: u64 = 30 * DAY_S;
const YEAR_S: u64 = 365 * DAY_S;
const SHARE: Range = Number(0.0, 1.0);
const COUNT: Range = Number(0.0, MANY);
const STEPS: Range = Ladder(MANY);

/// All of them, in the order of the file.
pub const KEYS: &[Key] = &[
    key("enforce", Switch),
    key("never_block", Prefixes),
    key("tick_ms", Whole(10, 10_000)),
    key("flow_events", Switch),
    key("stats_s", Whole(0, DAY_S)),
    optional("model", Text),
    optional("events", Text),
    key("privileges.drop", Switch),
    key("privileges.confine", Switch),
    optional("models.registry", Text),
    key("models.name", Text),
    key("models.watch_s", Whole(0, DAY_S)),
    optional("models.public_key", Text),
    optional("models.shadow", Text),
    key("models.probation_s", Whole(0, MONTH_S)),
    key("models.probation_alerts_min", Whole(0, 1_000_000_000)),
    key("models.probation_factor", COUNT),
    key("drift.window_rows", Whole(100, 1_000_000_000)),
    key("drift.window_s", Whole(0, DAY_S)),
    key("drift.shifting", Number(0.0, 100.0)),
    key("drift.drifted", Number(0.0, 100.0)),
    key("drift.moved_share", Number(0.01, 1.0)),
    optional("archive.folder", Text),
    key("archive.bytes_max", Whole(1 << 20, 1 << 50)),
    key("archive.age_max_s", Whole(0, 100 * YEAR_S)),
    key("archive.rows_max", Whole(1024, 1 << 24)),
    key("archive.flush_s", Whole(1, 3600)),
    optional("nats.url", Servers),
    optional("nats.credentials", Text),
    optional("nats.tls_ca", Text),
    key("nats.stream", Word),
    key("nats.subject", Subject),
    key("nats.stream_bytes_max", Whole(0, 1 << 50)),
    key("nats.queue_max", Whole(16, 1 << 20)),
    key("nats.flow_events", Switch),
    key("kubernetes.pod_names", Switch),
    key("kubernetes.node", Node),
    optional("kubernetes.kubeconfig", Text),
    key("api.listen", Listen),
    key("api.socket", Socket),
    optional("api.tls_certificate", Text),
    optional("api.tls_key", Text),
    optional("api.token_file", Text),
    key("api.body_bytes_max", Whole(1024, 1 << 30)),
    key("api.connections_max", Whole(1, 65_536)),
    key("api.timeout_s", Whole(1, 600)),
    key("api.followers_max", Whole(1, 1024)),
    key("decide.model.flows", STEPS),
    key("decide.model.flood_flows", STEPS),
    key("decide.model.app_dos_flows", STEPS),
    key("decide.model.few_flows", STEPS),
    key("decide.model.crowd_flows", COUNT),
    key("decide.model.share_min", SHARE),
    key("decide.rules.scan_misses", STEPS),
    key("decide.rules.scan_miss_share", SHARE),
    key("decide.rules.scan_targets", COUNT),
    key("decide.rules.scan_narrow_share", SHARE),
    key("decide.rules.scan_flows_max", COUNT),
    key("decide.rules.login_attempts", STEPS),
    key("decide.rules.login_packets_max", COUNT),
    key("decide.rules.flood_packets", STEPS),
    key("decide.rules.flood_bytes", STEPS),
    key("decide.rules.flood_flows", STEPS),
    key("decide.rules.waiting", STEPS),
    key("decide.rules.waiting_service", COUNT),
    key("decide.rules.requests", STEPS),
    key("decide.rules.requests_crowded", STEPS),
    key("decide.rules.requests_service", COUNT),
    key("decide.rules.requests_over_baseline", COUNT),
    key("decide.rules.connections", STEPS),
    key("decide.victims.flows", STEPS),
    key("decide.victims.packets", STEPS),
    key("decide.victims.reflected", STEPS),
    key("decide.victims.reflectors_min", COUNT),
    key("decide.victims.share_min", SHARE),
    key("decide.victims.sources_min", COUNT),
    key("decide.victims.over_baseline", COUNT),
    key("decide.victims.always", COUNT),
    key(
        "decide.victims.pass_packets_per_second",
        Whole(1, 1_000_000_000),
    ),
    key("decide.victims.quiet_packets_per_second", COUNT),
    key("decide.victims.quiet_s", Whole(1, DAY_S)),
    key("decide.victims.signatures_max", Whole(1, 64)),
    key("decide.verdicts.ttl_s", Whole(1, MONTH_S)),
    key("decide.verdicts.ttl_max_s", Whole(1, MONTH_S)),
    key("decide.verdicts.forgive_s", Whole(1, MONTH_S)),
    key(
        "decide.verdicts.rate_limit_packets_per_second",
        Whole(1, 1_000_000_000),
    ),
    key("decide.budget.served_share_max", SHARE),
    key("decide.budget.served_min", Whole(0, 1_000_000_000)),
    key(
        "decide.budget.verdicts_per_minute_max",
        Whole(0, 1_000_000_000),
    ),
];

impl Range {
    /// What is wrong with a value: the part of the key that it is in, what was found, and what is allowed.
    #[must_use]
    pub fn fault(self, value: &toml::Value) -> Option<Fault> {
        let fault = |allowed: String| Some(Fault::of("", value, allowed));
        match self {
            Self::Switch | Self::Text | Self::Prefixes => None,
            Self::Listen => {
                let text = value.as_str().unwrap_or_default();
                let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
                if text == "off" || matches!(port, Some(Ok(_))) {
                    return None;
                }
                fault("ADDRESS:PORT, such as \"127.0.0.1:9190\", or \"off\"".to_owned())
            }
            Self::Socket => {
                let text = value.as_str().unwrap_or_default();
                if text == "off" || text.starts_with('/') {
                    return None;
                }
                fault("a path that begins with /, or \"off\"".to_owned())
            }
            Self::Servers => {
                let text = value.as_str().unwrap_or_default();
                let is_server = |one: &str| {
                    let schemes = ["nats://", "tls://"];
                    let rest = schemes.iter().find_map(|scheme| one.strip_prefix(scheme));
                    // A password would stand in every log.
                    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('@'))
                };
                if text.split(',').all(|one| is_server(one.trim())) {
                    return None;
                }
                fault(
                    "nats://HOST[:PORT] or tls://HOST[:PORT], several separated by commas; who it is stands in nats.credentials"
                        .to_owned(),
                )
            }
            Self::Subject => {
                let text = value.as_str().unwrap_or_default();
                if text.split('.').all(is_word) {
                    return None;
                }
                fault("words without blanks, * and >, separated by dots".to_owned())
            }
            Self::Word => {
                if is_word(value.as_str().unwrap_or_default()) {
                    return None;
                }
                fault("one word, without dots, blanks, * and >".to_owned())
            }
            Self::Node => {
                let text = value.as_str().unwrap_or_default();
                if text.len() <= NODE_BYTES_MAX && text.bytes().all(is_of_a_node) {
                    return None;
                }
                fault("a node's name: lower-case letters, digits, - and ., at most 253".to_owned())
            }
            Self::Whole(min, max) => {
                let whole = value.as_integer().and_then(|n| u64::try_from(n).ok());
                if whole.is_some_and(|n| (min..=max).contains(&n)) {
                    return None;
                }
                fault(format!("{min} to {max}"))
            }
            Self::Number(min, max) => {
                if number(value).is_some_and(|n| (min..=max).contains(&n)) {
                    return None;
                }
                fault(format!("a number from {min} to {max}"))
            }
            Self::Ladder(max) => ladder(value, max),
        }
    }
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The part of the key, with its dot, or nothing.
    pub part: &'static str,
    /// What was found.
    pub found: String,
    /// What is allowed.
    pub allowed: String,
}

impl Fault {
    fn of(part: &'static str, value: &toml::Value, allowed: String) -> Self {
        Self {
            part,
            found: shown(value),
            allowed,
        }
    }
}

/// Names of nodes are those of hosts in DNS.
const NODE_BYTES_MAX: usize = 253;

fn is_of_a_node(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
}

/// Whether a text may be one word of a NATS subject.
fn is_word(text: &str) -> bool {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '.' | '*' | '>');
    !text.is_empty() && !text.contains(forbidden)
}

fn ladder(value: &toml::Value, max: f64) -> Option<Fault> {
    let mut least = 0.0;
    for part in [".alert", ".rate_limit", ".drop"] {
        let step = value.get(&part[1..])?;
        let Some(n) = number(step).filter(|n| (0.0..=max).contains(n)) else {
            let allowed = format!("0 (never), or a number up to {max}");
            return Some(Fault::of(part, step, allowed));
        };
        if n != 0.0 && n < least {
            let allowed = format!("0 (never), or at least the step before, which is {least}");
            return Some(Fault::of(part, step, allowed));
        }
        least = f64::max(least, n);
    }
    None
}

fn number(value: &toml::Value) -> Option<f64> {
    let number = value.as_float();
    number.or_else(|| value.as_integer().map(|n| n as f64))
}

/// A value as it stands in a file. Numbers of 32 bits are shown in as few digits as they were written in.
#[must_use]
pub fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::Float(n) if f64::from(*n as f32) == *n => format!("{:?}", *n as f32),
        toml::Value::Table(table) => {
            // A ladder, whose steps stand in their order.
            let order = ["alert", "rate_limit", "drop"];
            let steps = order
                .iter()
                .filter_map(|name| Some((name, table.get(*name)?)));
            let steps: Vec<String> = steps
                .map(|(name, step)| format!("{name} = {}", shown(step)))
                .collect();
            format!("{{ {} }}", steps.join(", "))
        }
        value => value.to_string(),
    }
}

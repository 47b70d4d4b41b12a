//! The feature set `flow/1`: what one flow looks like, from its record's integer counters.
//!
//! Definitions are those of the corrected CICFlowMeter (Engelen, Rimmer and Joosen, "Troubleshooting an intrusion detection
//! dataset", 2021): times are µs, a packet's length is its transport payload, its header the transport header, forward
//! is the side that began, every deviation is the sample's. `…_per_second` divide by the duration and are 0 where it is 0.

use detector_common::{
    periods::Periods,
    record::{Direction, FlowRecord, state},
};

use super::ports::PortClass;

/// One feature: its name, and the columns of published tables that hold it.
pub struct Feature {
    /// As models, CLI and API call it.
    pub name: &'static str,
    /// As the three dialects of CICFlowMeter's tables call it.
    pub columns: &'static [&'static str],
}

/// What the features of one flow are computed from.
struct Basis<'a> {
    record: &'a FlowRecord,
    forward: Side,
    backward: Side,
    both: Moments,
    gaps: Moments,
    gap_min: f64,
    gap_max: f64,
    active: Moments,
    idle: Moments,
    periods: Periods,
    duration: f64,
    source_class: PortClass,
    destination_class: PortClass,
}

/// One direction.
struct Side {
    counters: Direction,
    packets: f64,
    payload: Moments,
    gaps: Moments,
    gaps_total: f64,
    gap_min: f64,
    gap_max: f64,
}

/// Count, sum and sum of squares.
#[derive(Clone, Copy, Default)]
struct Moments {
    count: u64,
    sum: u64,
    squares: u64,
}

impl Moments {
    fn mean(self) -> f64 {
        ratio(self.sum as f64, self.count as f64)
    }

    /// The sample variance, (n·Σx² − (Σx)²) / (n·(n − 1)), whose numerator is exact.
    fn variance(self) -> f64 {
        if self.count < 2 {
            return 0.0;
        }
        let (n, sum) = (u128::from(self.count), u128::from(self.sum));
        let numerator = (n * u128::from(self.squares)).saturating_sub(sum * sum);
        numerator as f64 / (n as f64 * (n - 1) as f64)
    }

    fn deviation(self) -> f64 {
        self.variance().sqrt()
    }
}

fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

/// 0 where there was none.
fn least(n: u32) -> f64 {
    if n == u32::MAX { 0.0 } else { f64::from(n) }
}

impl Side {
    fn new(counters: Direction, seen: bool, first_us: u32) -> Self {
        let counters = if seen { counters } else { Direction::default() };
        let packets = u64::from(counters.packets);
        let total = u64::from(counters.last_us.saturating_sub(first_us));
        Self {
            packets: packets as f64,
            payload: Moments {
                count: packets,
                sum: counters.payload,
                squares: counters.payload_squares,
            },
            gaps: Moments {
                count: packets.saturating_sub(1),
                sum: total,
                squares: counters.gap_squares,
            },
            gaps_total: total as f64,
            gap_min: if packets > 1 {
                least(counters.gap_min_us)
            } else {
                0.0
            },
            gap_max: f64::from(counters.gap_max_us),
            counters,
        }
    }
}

impl<'a> Basis<'a> {
    fn new(record: &'a FlowRecord, periods: Option<&Periods>) -> Self {
        let began_backward = record.state & state::BEGAN_BACKWARD != 0;
        let other_first = record.other_first_us;
        let (forward_first, backward_first) = if began_backward {
            (other_first, 0)
        } else {
            (0, other_first)
        };
        let seen = |bit| record.state & bit != 0;
        let forward = Side::new(record.forward, seen(state::FORWARD_SEEN), forward_first);
        let backward = Side::new(record.backward, seen(state::BACKWARD_SEEN), backward_first);
        let both = Moments {
            count: forward.payload.count + backward.payload.count,
            sum: forward.payload.sum + backward.payload.sum,
            squares: forward
                .payload
                .squares
                .saturating_add(backward.payload.squares),
        };
        let gaps = Moments {
            count: both.count.saturating_sub(1),
            sum: u64::from(record.last_us),
            squares: record.gap_squares,
        };
        let periods = match periods {
            Some(periods) if record.idle_periods > 0 => *periods,
            _ => Periods::default(),
        };
        let key = &record.key;
        let (source, destination) = if record.state & state::FORWARD_IS_LOW != 0 {
            (key.low_port, key.high_port)
        } else {
            (key.high_port, key.low_port)
        };
        Self {
            record,
            gap_min: if both.count > 1 {
                least(record.gap_min_us)
            } else {
                0.0
            },
            gap_max: f64::from(record.gap_max_us),
            active: Moments {
                count: u64::from(periods.active_count),
                sum: u64::from(periods.active_total_us),
                squares: periods.active_squares,
            },
            idle: Moments {
                count: u64::from(if periods.idle_total_us > 0 {
                    record.idle_periods
                } else {
                    0
                }),
                sum: u64::from(periods.idle_total_us),
                squares: periods.idle_squares,
            },
            duration: f64::from(record.last_us),
            source_class: PortClass::of(key.protocol(), source),
            destination_class: PortClass::of(key.protocol(), destination),
            forward,
            backward,
            both,
            gaps,
            periods,
        }
    }

    fn per_second(&self, n: f64) -> f64 {
        ratio(n * 1e6, self.duration)
    }

    fn payload_min(&self) -> f64 {
        let of = |side: &Side| (side.packets > 0.0).then_some(side.counters.payload_min);
        let least = [of(&self.forward), of(&self.backward)];
        f64::from(least.into_iter().flatten().min().unwrap_or(0))
    }
}

/// Names and formulas together: the order of a row is the order here.
macro_rules! flow_features {
    ($basis:ident; $($name:literal $columns:tt => $value:expr;)*) => {
        /// The features, in the order of a row.
        pub const FEATURES: &[Feature] = &[$(Feature { name: $name, columns: &$columns }),*];

        /// The features of a flow, in the order of [`FEATURES`], each handed to `put`.
        pub fn compute(record: &FlowRecord, periods: Option<&Periods>, mut put: impl FnMut(f64)) {
            let $basis = &Basis::new(record, periods);
            $(put($value);)*
        }
    };
}

flow_features! { b;
    "protocol" ["Protocol"] => f64::from(b.record.key.protocol());
    "src_port_class" [] => f64::from(b.source_class as u8);
    "dst_port_class" [] => f64::from(b.destination_class as u8);
    "duration_us" ["Flow Duration"] => b.duration;
    "fwd_packets" ["Total Fwd Packet", "Total Fwd Packets", "Tot Fwd Pkts"] => b.forward.packets;
    "bwd_packets" ["Total Bwd packets", "Total Backward Packets", "Tot Bwd Pkts"] => b.backward.packets;
    "fwd_payload" ["Total Length of Fwd Packet", "Total Length of Fwd Packets", "Fwd Packets Length Total", "TotLen Fwd Pkts"]
        => b.forward.payload.sum as f64;
    "bwd_payload" ["Total Length of Bwd Packet", "Total Length of Bwd Packets", "Bwd Packets Length Total", "TotLen Bwd Pkts"]
        => b.backward.payload.sum as f64;
    "fwd_payload_max" ["Fwd Packet Length Max", "Fwd Pkt Len Max"] => f64::from(b.forward.counters.payload_max);
    "fwd_payload_min" ["Fwd Packet Length Min", "Fwd Pkt Len Min"] => f64::from(b.forward.counters.payload_min);
    "fwd_payload_mean" ["Fwd Packet Length Mean", "Fwd Pkt Len Mean", "Fwd Segment Size Avg", "Avg Fwd Segment Size", "Fwd Seg Size Avg"]
        => b.forward.payload.mean();
    "fwd_payload_std" ["Fwd Packet Length Std", "Fwd Pkt Len Std"] => b.forward.payload.deviation();
    "bwd_payload_max" ["Bwd Packet Length Max", "Bwd Pkt Len Max"] => f64::from(b.backward.counters.payload_max);
    "bwd_payload_min" ["Bwd Packet Length Min", "Bwd Pkt Len Min"] => f64::from(b.backward.counters.payload_min);
    "bwd_payload_mean" ["Bwd Packet Length Mean", "Bwd Pkt Len Mean", "Bwd Segment Size Avg", "Avg Bwd Segment Size", "Bwd Seg Size Avg"]
        => b.backward.payload.mean();
    "bwd_payload_std" ["Bwd Packet Length Std", "Bwd Pkt Len Std"] => b.backward.payload.deviation();
    "payload_per_second" ["Flow Bytes/s", "Flow Byts/s"] => b.per_second(b.both.sum as f64);
    "packets_per_second" ["Flow Packets/s", "Flow Pkts/s"] => b.per_second(b.both.count as f64);
    "iat_mean" ["Flow IAT Mean"] => b.gaps.mean();
    "iat_std" ["Flow IAT Std"] => b.gaps.deviation();
    "iat_max" ["Flow IAT Max"] => b.gap_max;
    "iat_min" ["Flow IAT Min"] => b.gap_min;
    "fwd_iat_total" ["Fwd IAT Total", "Fwd IAT Tot"] => b.forward.gaps_total;
    "fwd_iat_mean" ["Fwd IAT Mean"] => b.forward.gaps.mean();
    "fwd_iat_std" ["Fwd IAT Std"] => b.forward.gaps.deviation();
    "fwd_iat_max" ["Fwd IAT Max"] => b.forward.gap_max;
    "fwd_iat_min" ["Fwd IAT Min"] => b.forward.gap_min;
    "bwd_iat_total" ["Bwd IAT Total", "Bwd IAT Tot"] => b.backward.gaps_total;
    "bwd_iat_mean" ["Bwd IAT Mean"] => b.backward.gaps.mean();
    "bwd_iat_std" ["Bwd IAT Std"] => b.backward.gaps.deviation();
    "bwd_iat_max" ["Bwd IAT Max"] => b.backward.gap_max;
    "bwd_iat_min" ["Bwd IAT Min"] => b.backward.gap_min;
    "fwd_psh" ["Fwd PSH Flags"] => f64::from(b.forward.counters.pushes);
    "bwd_psh" ["Bwd PSH Flags"] => f64::from(b.backward.counters.pushes);
    "fwd_urg" ["Fwd URG Flags"] => f64::from(b.record.forward_flags.urg);
    "bwd_urg" ["Bwd URG Flags"] => f64::from(b.record.backward_flags.urg);
    "fwd_rst" ["Fwd RST Flags"] => f64::from(b.record.forward_flags.rst);
    "bwd_rst" ["Bwd RST Flags"] => f64::from(b.record.backward_flags.rst);
    "fwd_header" ["Fwd Header Length", "Fwd Header Len"] => f64::from(b.forward.counters.header_words) * 4.0;
    "bwd_header" ["Bwd Header Length", "Bwd Header Len"] => f64::from(b.backward.counters.header_words) * 4.0;
    "fwd_packets_per_second" ["Fwd Packets/s", "Fwd Pkts/s"] => b.per_second(b.forward.packets);
    "bwd_packets_per_second" ["Bwd Packets/s", "Bwd Pkts/s"] => b.per_second(b.backward.packets);
    "payload_min" ["Packet Length Min", "Min Packet Length", "Pkt Len Min"] => b.payload_min();
    "payload_max" ["Packet Length Max", "Max Packet Length", "Pkt Len Max"]
        => f64::from(b.forward.counters.payload_max.max(b.backward.counters.payload_max));
    "payload_mean" ["Packet Length Mean", "Average Packet Size", "Avg Packet Size", "Pkt Len Mean", "Pkt Size Avg"] => b.both.mean();
    "payload_std" ["Packet Length Std", "Pkt Len Std"] => b.both.deviation();
    "payload_variance" ["Packet Length Variance", "Pkt Len Var"] => b.both.variance();
    "fin" ["FIN Flag Count", "FIN Flag Cnt"] => f64::from(b.record.forward_flags.fin) + f64::from(b.record.backward_flags.fin);
    "syn" ["SYN Flag Count", "SYN Flag Cnt"] => f64::from(b.record.forward_flags.syn) + f64::from(b.record.backward_flags.syn);
    "rst" ["RST Flag Count", "RST Flag Cnt"] => f64::from(b.record.forward_flags.rst) + f64::from(b.record.backward_flags.rst);
    "psh" ["PSH Flag Count", "PSH Flag Cnt"] => f64::from(b.forward.counters.pushes) + f64::from(b.backward.counters.pushes);
    "ack" ["ACK Flag Count", "ACK Flag Cnt"] => f64::from(b.forward.counters.acks) + f64::from(b.backward.counters.acks);
    "urg" ["URG Flag Count", "URG Flag Cnt"] => f64::from(b.record.forward_flags.urg) + f64::from(b.record.backward_flags.urg);
    "cwr" ["CWR Flag Count", "CWE Flag Count", "CWR Flag Cnt"] => f64::from(b.record.cwr);
    "ece" ["ECE Flag Count", "ECE Flag Cnt"] => f64::from(b.record.ece);
    "down_up_ratio" ["Down/Up Ratio"] => ratio(b.backward.packets, b.forward.packets);
    "fwd_init_window" ["FWD Init Win Bytes", "Init_Win_bytes_forward", "Init Fwd Win Byts", "Init Fwd Win Bytes"] => f64::from(b.record.forward_window);
    "bwd_init_window" ["Bwd Init Win Bytes", "Init_Win_bytes_backward", "Init Bwd Win Byts", "Init Bwd Win Bytes"] => f64::from(b.record.backward_window);
    "fwd_data_packets" ["Fwd Act Data Pkts", "act_data_pkt_fwd", "Fwd Act Data Packets"] => f64::from(b.record.forward_data_packets);
    "fwd_header_min" ["Fwd Seg Size Min", "min_seg_size_forward"] => f64::from(b.record.forward_header_min);
    "active_mean" ["Active Mean"] => b.active.mean();
    "active_std" ["Active Std"] => b.active.deviation();
    "active_max" ["Active Max"] => f64::from(b.periods.active_max_us);
    "active_min" ["Active Min"] => f64::from(b.periods.active_min_us);
    "idle_mean" ["Idle Mean"] => b.idle.mean();
    "idle_std" ["Idle Std"] => b.idle.deviation();
    "idle_max" ["Idle Max"] => f64::from(b.periods.idle_max_us);
    "idle_min" ["Idle Min"] => f64::from(b.periods.idle_min_us);
    "bytes_per_packet" [] => ratio((b.forward.counters.bytes + b.backward.counters.bytes) as f64, b.both.count as f64);
    "iat_burstiness" [] => ratio(b.gaps.deviation(), b.gaps.mean());
}

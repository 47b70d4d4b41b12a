//! Published tables of finished flows, played as if they were running: each flow as the records that the agent would have
//! seen of it after 1, 2, 4, … packets and at its end, in the table's own time. The hosts' windows come of that by themselves.
//!
//! A table tells a flow's sums and moments only. In between packets, payload, header and flags grow evenly; moments are
//! those of the whole.

use std::{collections::HashMap, fs::File, path::Path};

use arrow::{
    array::{
        Array, ArrayRef, Float64Array, Int64Array, LargeStringArray, RecordBatch, StringArray,
    },
    datatypes::DataType,
};
use detector_common::{
    key::{Address, FlowKey},
    packet::protocol,
    periods::Periods,
    record::{Direction, FlowRecord, RareFlags, state},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::{
    drain::native::{Stages, TICK_US},
    features,
};

/// Bytes of Ethernet and IPv4 headers: a table counts payload and transport header only.
const LOWER_HEADERS: u64 = 34;

/// The table cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("reading flows from {place}: {cause}; a Parquet file with CICFlowMeter's columns is due")]
pub struct FlowsError {
    place: String,
    cause: String,
}

/// A finished flow.
struct Finished {
    key: FlowKey,
    from_low: bool,
    first_us: u64,
    label: String,
    /// By feature's number; 0 where the table has no such column.
    values: Vec<f64>,
}

/// A published table.
pub struct Flows {
    flows: Vec<Finished>,
}

/// The columns of a batch that are asked for.
struct Batch<'a> {
    batch: &'a RecordBatch,
}

impl Batch<'_> {
    fn column(&self, name: &str) -> Result<&ArrayRef, String> {
        self.batch
            .column_by_name(name)
            .ok_or_else(|| format!("there is no column {name:?}"))
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        let column = self.column(name)?;
        let any = column.as_any();
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        if let Some(column) = any.downcast_ref::<LargeStringArray>() {
            return Ok(column.iter().map(text).collect());
        }
        if let Some(column) = any.downcast_ref::<StringArray>() {
            return Ok(column.iter().map(text).collect());
        }
        let numbers = numbers(column).ok_or_else(|| wrong(name, column.data_type()))?;
        Ok(numbers.iter().map(ToString::to_string).collect())
    }

    fn numbers(&self, name: &str) -> Result<Vec<f64>, String> {
        let column = self.column(name)?;
        numbers(column).ok_or_else(|| wrong(name, column.data_type()))
    }
}

fn wrong(name: &str, found: &DataType) -> String {
    format!("column {name:?} holds {found}")
}

/// The numbers of a column; 0 where one is missing.
fn numbers(column: &ArrayRef) -> Option<Vec<f64>> {
    let any = column.as_any();
    if let Some(column) = any.downcast_ref::<Float64Array>() {
        return Some(column.iter().map(Option::unwrap_or_default).collect());
    }
    let column = any.downcast_ref::<Int64Array>()?;
    Some(
        column
            .iter()
            .map(|n| n.unwrap_or_default() as f64)
            .collect(),
    )
}

/// Microseconds of `2017-07-03 11:57:41.826651` since some day.
fn time_us(text: &str) -> Option<u64> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let mut date = date.split('-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.split(':');
    let (hours, minutes) = (
        time.next()?.parse::<u64>().ok()?,
        time.next()?.parse::<u64>().ok()?,
    );
    let seconds: f64 = time.next()?.parse().ok()?;
    // Months as if all were long: order and distance within one are what matters.
    let days = (year * 12 + month) * 31 + day;
    Some(((days * 24 + hours) * 60 + minutes) * 60_000_000 + (seconds * 1e6) as u64)
}

impl Flows {
    /// Reads a table.
    ///
    /// # Errors
    /// [`FlowsError`].
    pub fn read(path: &Path, label: &str) -> Result<Self, FlowsError> {
        let failed = |cause: String| FlowsError {
            place: path.display().to_string(),
            cause,
        };
        let mut flows = Vec::new();
        let file = File::open(path).map_err(|error| failed(error.to_string()))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .map_err(|error| failed(error.to_string()))?;
        for batch in reader {
            let batch = batch.map_err(|error| failed(error.to_string()))?;
            take(&batch, label, &mut flows).map_err(failed)?;
        }
        flows.sort_by_key(|flow: &Finished| flow.first_us);
        Ok(Self { flows })
    }

    /// Plays the flows that `wanted` takes by their label, tick by tick. A flow's way is its place in the table by time.
    pub fn play(&self, wanted: impl Fn(&str) -> bool, stages: &mut impl Stages) {
        let mut looks = Vec::new();
        for (way, flow) in self
            .flows
            .iter()
            .enumerate()
            .filter(|(_, flow)| wanted(&flow.label))
        {
            let packets = flow.packets();
            let mut seen = 1;
            loop {
                let at_us = flow.first_us + flow.time_of(seen);
                looks.push((at_us / TICK_US, way as u32, seen));
                if seen >= packets {
                    break;
                }
                seen = (seen * 2).min(packets);
            }
        }
        // What a tick sees of a flow is the last of it.
        looks.sort_unstable();
        looks.dedup_by(|next, last| {
            let same = (next.0, next.1) == (last.0, last.1);
            last.2 = if same { next.2 } else { last.2 };
            same
        });
        for tick in looks.chunk_by(|a, b| a.0 == b.0) {
            let now_us = (tick[0].0 + 1) * TICK_US;
            for &(_, way, seen) in tick {
                let flow = &self.flows[way as usize];
                let (record, periods) = flow.record(seen);
                stages.flow(way, &record, periods.as_ref(), now_us);
            }
            stages.tick(now_us);
        }
    }

    /// The label of a flow by its way.
    #[must_use]
    pub fn label(&self, way: u32) -> &str {
        self.flows.get(way as usize).map_or("", |flow| &flow.label)
    }
}

fn take(batch: &RecordBatch, label: &str, flows: &mut Vec<Finished>) -> Result<(), String> {
    let columns = Batch { batch };
    let labels = columns.texts(label)?;
    let times = columns.texts("Timestamp")?;
    let (sources, destinations) = (columns.texts("Src IP")?, columns.texts("Dst IP")?);
    let (from_ports, to_ports) = (columns.numbers("Src Port")?, columns.numbers("Dst Port")?);
    let mut values = vec![vec![0.0; features::COUNT]; batch.num_rows()];
    for field in batch.schema().fields() {
        let place = features::of_column(field.name())
            .and_then(|name| features::NAMES.iter().position(|other| *other == name));
        if let Some(place) = place {
            for (values, value) in values.iter_mut().zip(columns.numbers(field.name())?) {
                values[place] = value;
            }
        }
    }
    for (row, values) in values.into_iter().enumerate() {
        let address = |text: &String| -> Result<Address, String> {
            let ip: std::net::IpAddr = text
                .parse()
                .map_err(|_| format!("{text:?} is no address"))?;
            Ok(ip.into())
        };
        let protocol = values[place_of("protocol")] as u8;
        let source = (address(&sources[row])?, from_ports[row] as u16);
        let destination = (address(&destinations[row])?, to_ports[row] as u16);
        let (key, from_low) = FlowKey::new(source, destination, protocol, 0);
        flows.push(Finished {
            key,
            from_low,
            first_us: time_us(&times[row]).ok_or_else(|| format!("{:?} is no time", times[row]))?,
            label: labels[row].clone(),
            values,
        });
    }
    Ok(())
}

fn place_of(feature: &str) -> usize {
    static PLACES: std::sync::LazyLock<HashMap<&str, usize>> =
        std::sync::LazyLock::new(|| features::NAMES.iter().copied().zip(0..).collect());
    PLACES.get(feature).copied().unwrap_or(0)
}

impl Finished {
    fn get(&self, feature: &str) -> f64 {
        self.values[place_of(feature)]
    }

    fn packets(&self) -> u32 {
        ((self.get("fwd_packets") + self.get("bwd_packets")) as u32).max(1)
    }

    /// When so many packets were there, µs since the first.
    fn time_of(&self, seen: u32) -> u64 {
        let (gaps, all) = (f64::from(seen - 1), f64::from(self.packets() - 1));
        (self.get("duration_us") * gaps / all.max(1.0)) as u64
    }

    /// What the record said after so many packets.
    fn record(&self, seen: u32) -> (FlowRecord, Option<Periods>) {
        let whole = seen >= self.packets();
        let (fwd, bwd) = (self.get("fwd_packets"), self.get("bwd_packets"));
        let out = (f64::from(seen) * fwd / (fwd + bwd).max(1.0))
            .ceil()
            .min(fwd)
            .max(1.0);
        let back = (f64::from(seen) - out).max(0.0);
        let tcp = self.key.protocol() == protocol::TCP;
        // A handshake carries nothing.
        let idle = if tcp { 3.0 } else { 0.0 };
        let data = ((f64::from(seen) - idle) / (fwd + bwd - idle).max(1.0)).clamp(0.0, 1.0);
        let data = if whole { 1.0 } else { data };
        let last_us = self.time_of(seen);
        let once = |holds: bool| u16::from(holds);
        let at_end = |feature| if whole { self.get(feature) as u16 } else { 0 };
        let syns = self.get("syn") as u16;
        let fins = self.get("fin") as u16;
        let answered = back >= 1.0;
        let mut record = FlowRecord {
            key: self.key,
            first_us: self.first_us,
            last_us: last_us as u32,
            gap_squares: self.squares("iat", f64::from(seen) - 1.0),
            gap_min_us: self.get("iat_min") as u32,
            gap_max_us: self.get("iat_max") as u32,
            cwr: at_end("cwr"),
            ece: at_end("ece"),
            other_first_us: (self.get("duration_us") / (fwd + bwd - 1.0).max(1.0)) as u32,
            forward_data_packets: (self.get("fwd_data_packets") * data).round() as u32,
            forward_window: self.get("fwd_init_window") as u16,
            backward_window: if answered {
                self.get("bwd_init_window") as u16
            } else {
                0
            },
            forward_header_min: self.get("fwd_header_min") as u8,
            forward_flags: RareFlags {
                fin: if whole { fins.div_ceil(2) } else { 0 },
                syn: if whole {
                    syns.div_ceil(2)
                } else {
                    once(syns > 0)
                },
                rst: at_end("fwd_rst"),
                urg: at_end("fwd_urg"),
            },
            backward_flags: RareFlags {
                fin: if whole { fins / 2 } else { 0 },
                syn: if whole {
                    syns / 2
                } else {
                    once(syns > 1 && answered)
                },
                rst: at_end("bwd_rst"),
                urg: at_end("bwd_urg"),
            },
            forward: self.direction("fwd", out, data, whole),
            backward: self.direction("bwd", back, data, whole),
            ..FlowRecord::default()
        };
        record.state |= state::FORWARD_SEEN;
        let closed = whole && tcp && (self.get("rst") > 0.0 || fins >= 2);
        for (bit, holds) in [
            (state::FORWARD_IS_LOW, self.from_low),
            (state::BACKWARD_SEEN, answered),
            (
                state::TURNED,
                answered && out >= 2.0 && (record.forward_flags.rst as f64) < out - 1.0,
            ),
            (state::CLOSED, closed),
        ] {
            record.state |= if holds { bit } else { 0 };
        }
        let idle = self.get("idle_mean");
        if !whole || idle <= 0.0 {
            return (record, None);
        }
        // How many there were is not in the table: one, or two where they differ.
        let count = if self.get("idle_std") > 0.0 { 2 } else { 1 };
        record.idle_periods = count;
        let periods = Periods {
            active_squares: squares(
                self.get("active_mean"),
                self.get("active_std"),
                f64::from(count),
            ),
            idle_squares: squares(idle, self.get("idle_std"), f64::from(count)),
            active_total_us: (self.get("active_mean") * f64::from(count)) as u32,
            active_min_us: self.get("active_min") as u32,
            active_max_us: self.get("active_max") as u32,
            active_count: u32::from(count),
            idle_total_us: (idle * f64::from(count)) as u32,
            idle_min_us: self.get("idle_min") as u32,
            idle_max_us: self.get("idle_max") as u32,
            active_start_us: 0,
        };
        (record, Some(periods))
    }

    /// Σ x² of so many values whose mean and deviation the table has.
    fn squares(&self, of: &str, count: f64) -> u64 {
        let get = |what: &str| self.get(&format!("{of}_{what}"));
        squares(get("mean"), get("std"), count)
    }

    fn direction(&self, way: &str, packets: f64, data: f64, whole: bool) -> Direction {
        let get = |what: &str| self.get(&format!("{way}_{what}"));
        let all = get("packets");
        if packets < 1.0 || all < 1.0 {
            return Direction::default();
        }
        let share = if whole { 1.0 } else { packets / all };
        let payload = (get("payload") * data).round() as u64;
        let header = get("header") * share;
        let some = |value: f64| if payload > 0 { value as u16 } else { 0 };
        Direction {
            bytes: payload + header as u64 + LOWER_HEADERS * packets as u64,
            payload,
            payload_squares: (squares(get("payload_mean"), get("payload_std"), all) as f64 * data)
                as u64,
            gap_squares: squares(get("iat_mean"), get("iat_std"), packets - 1.0),
            packets: packets as u32,
            last_us: (get("iat_total") * share) as u32,
            gap_min_us: get("iat_min") as u32,
            gap_max_us: get("iat_max") as u32,
            payload_min: if whole { get("payload_min") as u16 } else { 0 },
            payload_max: some(get("payload_max")),
            header_words: (header / 4.0) as u32,
            acks: (self.get("ack") / (self.get("fwd_packets") + self.get("bwd_packets")) * packets)
                as u32,
            pushes: (get("psh") * data).round() as u32,
        }
    }
}

/// Σ x² from mean and sample deviation.
fn squares(mean: f64, deviation: f64, count: f64) -> u64 {
    ((count - 1.0).max(0.0) * deviation * deviation + count.max(0.0) * mean * mean) as u64
}

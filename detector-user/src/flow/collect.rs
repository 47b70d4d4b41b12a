//! All flows of a capture at once, for comparing one sink with another.

use detector_common::{periods::Periods, record::FlowRecord};

use super::{Account, FrameSink};

/// Keeps every flow that a sink hands out. Memory grows with the flows.
pub struct Collector<S> {
    sink: S,
    records: Vec<(FlowRecord, Option<Periods>)>,
}

impl<S: FrameSink> Collector<S> {
    /// Collects from `sink`.
    pub fn new(sink: S) -> Self {
        Self {
            sink,
            records: Vec::new(),
        }
    }

    /// Counts one frame; see [`FrameSink::frame`].
    ///
    /// # Errors
    /// The sink's.
    pub fn frame(&mut self, time_ns: u64, bytes: &[u8]) -> Result<(), S::Error> {
        let records = &mut self.records;
        self.sink.frame(time_ns, bytes, &mut |record, periods| {
            records.push((record.normalized(), periods.copied()));
        })
    }

    /// All flows, ended and alive: the record, normalized, and its periods where it counts idle ones. They are in the
    /// order of their beginning and key, so that two sinks' flows compare; and what became of all frames.
    ///
    /// # Errors
    /// The sink's.
    #[expect(clippy::type_complexity, reason = "a pair of what the sink has")]
    pub fn finish(mut self) -> Result<(Vec<(FlowRecord, Option<Periods>)>, Account), S::Error> {
        let mut records = std::mem::take(&mut self.records);
        self.sink.finish(&mut |record, periods| {
            records.push((record.normalized(), periods.copied()));
        })?;
        records.sort_by_key(|(record, _)| {
            let key = &record.key;
            let ports = (key.low_port, key.high_port, key.zone_protocol);
            // A flow that ended and the next of its key may begin in the same microsecond.
            (record.first_us, key.low, key.high, ports)
        });
        let account = self.sink.account()?;
        Ok((records, account))
    }
}

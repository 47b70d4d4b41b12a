//! Flows: what counts them outside the kernel, and how one is seen once it is counted.
//!
//! The native [`Table`] runs the kernel's own record and update over the frames of a capture. It is one [`FrameSink`];
//! the kernel programs, fed through `BPF_PROG_TEST_RUN`, can be another: whoever replays does not see the difference.

mod collect;
pub mod community_id;
mod filter;
mod index;
mod memory;
pub mod protocol;
mod records;
mod table;
mod view;

pub use collect::Collector;
pub use filter::{FilterError, FlowFilter, Ports, Prefix};
pub use table::{FLOWS_MAX_DEFAULT, Table};
pub use view::{Flow, State, flag_letters};

use detector_common::{
    counters::{Counters, Tally},
    periods::Periods,
    record::FlowRecord,
};

/// What is called with a flow that has ended: its record, normalized
/// ([`FlowRecord::normalized`]), and its periods where the record counts idle ones.
pub type Ended<'a> = dyn FnMut(&FlowRecord, Option<&Periods>) + 'a;

/// What frames are counted into: the native [`Table`], or the programs in the kernel.
pub trait FrameSink {
    /// Why a frame could not be counted.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Counts one Ethernet frame that was on the wire at `time_ns`. Flows that are over are handed to `ended`, not
    /// necessarily during the call whose frame ended them: a sink may work in batches.
    ///
    /// # Errors
    /// Where the frame could not be counted at all. What was merely refused is a counter.
    fn frame(
        &mut self,
        time_ns: u64,
        bytes: &[u8],
        ended: &mut Ended<'_>,
    ) -> Result<(), Self::Error>;

    /// Hands every flow that is still alive to `ended`, in any order. The sink holds none afterwards; its counters stay,
    /// and it can go on with another capture.
    ///
    /// # Errors
    /// Where the flows cannot be read.
    fn finish(&mut self, ended: &mut Ended<'_>) -> Result<(), Self::Error>;

    /// What became of the frames so far. It is whole only after [`FrameSink::finish`].
    ///
    /// # Errors
    /// Where the counters cannot be read.
    fn account(&self) -> Result<Account, Self::Error>;
}

impl<S: FrameSink> FrameSink for &mut S {
    type Error = S::Error;

    fn frame(&mut self, time_ns: u64, bytes: &[u8], ended: &mut Ended<'_>) -> Result<(), S::Error> {
        (**self).frame(time_ns, bytes, ended)
    }

    fn finish(&mut self, ended: &mut Ended<'_>) -> Result<(), S::Error> {
        (**self).finish(ended)
    }

    fn account(&self) -> Result<Account, S::Error> {
        (**self).account()
    }
}

/// What became of every frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// By fate, event and reason.
    pub counters: Counters,
    /// What the flows hold that [`FrameSink::finish`] handed out.
    pub in_records: Tally,
    /// Frames that are not IP, by EtherType, those that occurred, by number.
    pub ethertypes: Vec<(u16, Tally)>,
}

impl Account {
    /// Whether all that was seen is in a flow or has another fate.
    #[must_use]
    pub fn is_conserved(&self) -> bool {
        self.counters.accounted(self.in_records)
            == self.counters.tally(detector_common::counters::Fate::Seen)
    }
}

//! Packets of a burst share a reading of the clock, within bounds.
use std::cell::Cell;

use detector_common::burst::{BurstClock, READERS};
use proptest::prelude::*;

const JIFFY_NS: u64 = 4_000_000;

proptest! {
    /// Packets after so many ns each, some after the end of a burst.
    #[test]
    fn a_reading_is_shared_within_its_bounds(
        packets in proptest::collection::vec((0..2 * JIFFY_NS, any::<bool>(), any::<bool>()), 1..200)
    ) {
        let mut clock = BurstClock::UNREAD;
        let (mut now, mut taken, mut since, mut shared) = (JIFFY_NS, 0, 0, 0);
        for (gap, soon, ends) in packets {
            now += if soon { gap % 1_000 } else { gap };
            if ends {
                clock.end();
            }
            let read = Cell::new(false);
            let time = clock.now_ns(now / JIFFY_NS, || {
                read.set(true);
                now
            });
            prop_assert!(time >= taken && time <= now, "{time} after {taken}, at {now}");
            prop_assert_eq!(time / JIFFY_NS, now / JIFFY_NS, "another jiffy's");
            prop_assert!(!ends || read.get(), "a burst that ended");
            shared = if read.get() { 1 } else { shared + 1 };
            since = if read.get() { now } else { since };
            prop_assert!(shared <= READERS);
            prop_assert_eq!(time, since);
            taken = time;
        }
    }
}

#[test]
fn a_burst_reads_once_in_sixteen_packets() {
    let mut clock = BurstClock::UNREAD;
    let readings = Cell::new(0);
    for _ in 0..64 {
        clock.now_ns(7, || {
            readings.set(readings.get() + 1);
            1
        });
    }
    assert_eq!(readings.get(), 4);
}

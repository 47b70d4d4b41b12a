//! What an interface's time stamps count, and from when.
//!
//! pcap-parser 0.17 has functions for this, which are not used: they refuse all binary resolutions, and they take the
//! offset as little-endian in a big-endian section.

use pcap_parser::{OptionCode, PcapNGOption};

use crate::wire::capture::Fault;
use crate::wire::capture::record::ByteOrder;

/// The resolution of an interface that does not state one.
const MICROSECONDS: u8 = 6;

/// The finest decimal resolution: 10^38 is the largest power of ten that a u128 holds.
const DECIMAL_EXPONENT_MAX: u8 = 38;

const NS_PER_SECOND: u128 = 1_000_000_000;

/// How ticks become nanoseconds; usual captures need a multiplication only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ticks {
    /// Each is so many nanoseconds.
    Nanoseconds(u64),
    /// So many are a nanosecond.
    PerNanosecond(u128),
    /// Two to this power are a second.
    BinaryPerSecond(u32),
}

/// The clock of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    ticks: Ticks,
    offset_s: i64,
}

impl Clock {
    /// Reads `if_tsresol` and `if_tsoffset`; of an option given twice the first counts, and one of a wrong length does
    /// not count.
    pub(super) fn from_options(
        options: &[PcapNGOption<'_>],
        order: ByteOrder,
    ) -> Result<Self, Fault> {
        let option = |code| {
            options
                .iter()
                .take_while(|option| option.code != OptionCode::EndOfOpt)
                .find(|option| option.code == code)
                .and_then(|option| option.value().get(..usize::from(option.len)))
        };
        let resolution = match option(OptionCode::IfTsresol) {
            Some(&[resolution]) => resolution,
            _ => MICROSECONDS,
        };
        let offset_s = option(OptionCode::IfTsoffset)
            .and_then(|bytes| <[u8; 8]>::try_from(bytes).ok())
            .map_or(0, |bytes| match order {
                ByteOrder::Little => i64::from_le_bytes(bytes),
                ByteOrder::Big => i64::from_be_bytes(bytes),
            });
        let exponent = resolution & 0x7f;
        let ticks = if resolution & 0x80 != 0 {
            Ticks::BinaryPerSecond(u32::from(exponent))
        } else if exponent <= 9 {
            Ticks::Nanoseconds(10_u64.pow(u32::from(9 - exponent)))
        } else if exponent <= DECIMAL_EXPONENT_MAX {
            Ticks::PerNanosecond(10_u128.pow(u32::from(exponent - 9)))
        } else {
            return Err(Fault::TimeResolution { exponent });
        };
        Ok(Self { ticks, offset_s })
    }

    /// Nanoseconds since the Unix epoch; a time before it or beyond the year 2554 becomes the nearest one that fits.
    #[inline]
    pub(super) fn time_ns(self, ticks: u64) -> u64 {
        let ns = match self.ticks {
            Ticks::Nanoseconds(factor) => u128::from(ticks) * u128::from(factor),
            Ticks::PerNanosecond(divisor) => u128::from(ticks) / divisor,
            Ticks::BinaryPerSecond(shift) => (u128::from(ticks) * NS_PER_SECOND) >> shift,
        };
        if self.offset_s == 0 {
            return u64::try_from(ns).unwrap_or(u64::MAX);
        }
        // At most 2^94 and 2^93 in magnitude: the sum fits.
        let ns = ns as i128 + i128::from(self.offset_s) * NS_PER_SECOND as i128;
        ns.clamp(0, i128::from(u64::MAX)) as u64
    }
}

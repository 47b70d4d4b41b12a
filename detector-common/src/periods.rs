//! Active and idle periods of a flow, as CICFlowMeter defines them: a gap above
//! [`IDLE_GAP_US`] ends an active period and is itself an idle one.

/// A gap longer than this ends an active period, µs.
pub const IDLE_GAP_US: u32 = 5_000_000;

/// The periods of one flow, µs. Kept apart from its record, and valid only where
/// [`crate::record::FlowRecord::idle_periods`] is above 0: most flows have no such
/// gap and never touch this line. The number of idle periods is the record's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Periods {
    /// Σ d² over active periods.
    pub active_squares: u64,
    /// Σ d² over idle periods.
    pub idle_squares: u64,
    /// Σ d over active periods.
    pub active_total_us: u32,
    /// Shortest active period; 0 where there is none.
    pub active_min_us: u32,
    /// Longest active period.
    pub active_max_us: u32,
    /// Ended active periods longer than 0.
    pub active_count: u32,
    /// Σ d over idle periods.
    pub idle_total_us: u32,
    /// Shortest idle period.
    pub idle_min_us: u32,
    /// Longest idle period.
    pub idle_max_us: u32,
    /// When the current active period began, since the flow's first packet.
    pub active_start_us: u32,
}

/// A gap that ended an active period: what [`Periods::add`] needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// It is the flow's first: the periods hold nothing valid yet.
    pub first: bool,
    /// Last packet before it, since the flow's first packet.
    pub from_us: u32,
    /// First packet after it, since the flow's first packet.
    pub to_us: u32,
}

impl Periods {
    /// Notes a gap.
    #[inline(always)]
    pub fn add(&mut self, gap: Gap) {
        if gap.first {
            *self = Self::default();
        }
        let active_us = gap.from_us.saturating_sub(self.active_start_us);
        let idle_us = gap.to_us - gap.from_us;
        if active_us > 0 {
            if self.active_count == 0 || active_us < self.active_min_us {
                self.active_min_us = active_us;
            }
            self.active_max_us = self.active_max_us.max(active_us);
            self.active_total_us += active_us;
            self.active_squares += active_us as u64 * active_us as u64;
            self.active_count += 1;
        }
        if gap.first || idle_us < self.idle_min_us {
            self.idle_min_us = idle_us;
        }
        self.idle_max_us = self.idle_max_us.max(idle_us);
        self.idle_total_us += idle_us;
        self.idle_squares += idle_us as u64 * idle_us as u64;
        self.active_start_us = gap.to_us;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_gaps() {
        let mut periods = Periods {
            idle_max_us: 77,
            ..Periods::default()
        };
        periods.add(Gap {
            first: true,
            from_us: 3,
            to_us: 6_000_003,
        });
        periods.add(Gap {
            first: false,
            from_us: 6_000_003,
            to_us: 13_000_003,
        });
        assert_eq!(
            periods,
            Periods {
                active_squares: 9,
                active_total_us: 3,
                active_min_us: 3,
                active_max_us: 3,
                active_count: 1,
                idle_squares: 6_000_000 * 6_000_000 + 7_000_000 * 7_000_000,
                idle_total_us: 13_000_000,
                idle_min_us: 6_000_000,
                idle_max_us: 7_000_000,
                active_start_us: 13_000_003,
            }
        );
    }
}

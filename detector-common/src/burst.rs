//! One reading of the clock for the packets of a burst.
//!
//! Packets reach the kernel in bursts: a card's receive queue is polled (NAPI), and a poll takes
//! all that have arrived since the last. Reading the clock costs nearly as much as all else that is
//! done for a packet of a busy flow, so that one reading serves several packets of a poll, as it
//! does where packets are handled by vectors (VPP). It is older than the packet by the part of
//! the poll that lies between, tens of microseconds as a rule, and never by more than a jiffy.

/// Packets that need a time and are served by one reading, at most.
pub const READERS: u32 = 16;

/// One CPU's clock.
#[derive(Clone, Copy, Debug)]
pub struct BurstClock {
    now_ns: u64,
    jiffies: u32,
    /// Packets that the reading may still serve.
    left: u32,
}

impl BurstClock {
    /// One that was never read.
    pub const UNREAD: Self = Self {
        now_ns: 0,
        jiffies: 0,
        left: 0,
    };

    /// The time for one packet, ns: that of the last reading, or of a new one.
    #[inline(always)]
    pub fn now_ns(&mut self, jiffies: u64, read: impl FnOnce() -> u64) -> u64 {
        let jiffies = jiffies as u32;
        if self.left != 0 && self.jiffies == jiffies {
            self.left -= 1;
        } else {
            self.now_ns = read();
            self.jiffies = jiffies;
            self.left = READERS - 1;
        }
        self.now_ns
    }

    /// The burst is over: the next packet reads the clock.
    #[inline(always)]
    pub fn end(&mut self) {
        self.left = 0;
    }
}

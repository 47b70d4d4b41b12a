//! Flow counters as they are commonly built: a hash map of the kernel's, keyed by the
//! flow, with the detector's parser in front and a value of half the detector's record.

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    helpers::bpf_ktime_get_ns,
    macros::map,
    maps::{HashMap, LruHashMap, LruPerCpuHashMap, PerCpuArray},
};
use detector_common::{frame::Parser, key::FlowKey, packet::Packet};

use crate::frame::Xdp;

/// 128 bytes of what such programs count.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Flow {
    pub first_ns: u64,
    pub last_ns: u64,
    pub packets: [u64; 2],
    pub bytes: [u64; 2],
    pub payload: [u64; 2],
    pub gap_sum_ns: u64,
    pub gap_max_ns: u64,
    pub flags: u64,
    pub reserved: [u64; 5],
}
const _: () = assert!(size_of::<Flow>() == 128 && size_of::<FlowKey>() == 40);

const ENTRIES: u32 = 1 << 20;

#[map]
pub static LRU: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(ENTRIES, 0);
#[map]
pub static LRU_PERCPU: LruPerCpuHashMap<FlowKey, Flow> =
    LruPerCpuHashMap::with_max_entries(ENTRIES, 0);
#[map]
pub static HASH: HashMap<FlowKey, Flow> = HashMap::with_max_entries(ENTRIES, 0);
/// Packets seen, and packets that the map refused.
#[map]
pub static SEEN: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(1, 0);

impl Flow {
    #[inline(always)]
    fn begin(packet: &Packet, from_low: bool, now_ns: u64) -> Self {
        let mut flow = Self {
            first_ns: now_ns,
            last_ns: now_ns,
            packets: [0; 2],
            bytes: [0; 2],
            payload: [0; 2],
            gap_sum_ns: 0,
            gap_max_ns: 0,
            flags: 0,
            reserved: [0; 5],
        };
        flow.add(packet, from_low);
        flow
    }

    #[inline(always)]
    fn add(&mut self, packet: &Packet, from_low: bool) {
        let side = from_low as usize;
        self.packets[side] += 1;
        self.bytes[side] += packet.wire_bytes as u64;
        self.payload[side] += packet.payload_bytes as u64;
        self.flags |= packet.tcp_flags as u64;
    }

    #[inline(always)]
    fn update(&mut self, packet: &Packet, from_low: bool, now_ns: u64) {
        let gap_ns = now_ns.wrapping_sub(self.last_ns);
        self.last_ns = now_ns;
        self.gap_sum_ns += gap_ns;
        if gap_ns > self.gap_max_ns {
            self.gap_max_ns = gap_ns;
        }
        self.add(packet, from_low);
    }
}

macro_rules! peer {
    ($name:ident, $map:ident) => {
        /// Parses, counts the flow, drops.
        #[unsafe(no_mangle)]
        #[unsafe(link_section = "xdp.frags")]
        pub extern "C" fn $name(context: *mut xdp_md) -> u32 {
            let Ok(packet) = Parser::FULL.parse(&Xdp::new(context)) else {
                return xdp_action::XDP_PASS;
            };
            let (key, from_low) = FlowKey::new(
                (packet.source, packet.source_port),
                (packet.destination, packet.destination_port),
                packet.protocol,
                0,
            );
            // SAFETY: a helper without arguments.
            let now_ns = unsafe { bpf_ktime_get_ns() };
            let Some(seen) = SEEN.get_ptr_mut(0) else {
                return xdp_action::XDP_PASS;
            };
            // SAFETY: this CPU's entry.
            unsafe { (*seen)[0] += 1 };
            match $map.get_ptr_mut(&key) {
                // SAFETY: the map's entry; as everywhere, unlocked.
                Some(flow) => unsafe { (*flow).update(&packet, from_low, now_ns) },
                None => {
                    let flow = Flow::begin(&packet, from_low, now_ns);
                    if $map.insert(&key, &flow, 0).is_err() {
                        // SAFETY: this CPU's entry.
                        unsafe { (*seen)[1] += 1 };
                    }
                }
            }
            xdp_action::XDP_PASS
        }
    };
}

peer!(peer_lru, LRU);
peer!(peer_lru_percpu, LRU_PERCPU);
peer!(peer_hash, HASH);

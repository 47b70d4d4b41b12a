//! Gives every packet of a test run another source, then calls the program under test.
//! Works on Ethernet, IPv4 without options, and ports behind it.

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_UNSPEC, xdp_action, xdp_md},
    macros::map,
    maps::{Array, ProgramArray},
    programs::{TcContext, XdpContext},
};

/// How the source is chosen: values of `Plan::mode`.
pub mod mode {
    /// One of `flows` sources, each in turn, in an order without locality.
    pub const FLOWS: u32 = 0;
    /// Any address, any port.
    pub const RANDOM: u32 = 1;
    // Anything else: one packet of the next of `flows` flows, then `spoofed` packets
    // from any of `sources` others.
}

/// What the host asks for, and where the sequence stands. Must match the host's.
#[repr(C)]
pub struct Plan {
    /// Number of the next packet.
    pub counter: u64,
    /// State of xorshift64; not 0.
    pub random: u64,
    /// One of `mode`.
    pub mode: u32,
    /// Flows, less one; in `mode::FLOWS` a power of two, less one.
    pub flows: u32,
    /// Spoofed packets for each legitimate one.
    pub spoofed: u32,
    /// Spoofed sources, less one; a power of two, less one.
    pub sources: u32,
    /// 1: packets of a flow come from either end in turn.
    pub two_way: u32,
    /// Where the counter of the flows stands within one round.
    pub step: u32,
    /// Number of the next legitimate packet.
    pub legitimate: u32,
    pub reserved: u32,
}

#[map]
pub static PLAN: Array<Plan> = Array::with_max_entries(1, 0);
#[map]
pub static NEXT: ProgramArray = ProgramArray::with_max_entries(1, 0);
#[map]
pub static NEXT_PLAIN: ProgramArray = ProgramArray::with_max_entries(1, 0);
#[map]
pub static NEXT_TC: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Any odd number makes `n ↦ n · ODD mod 2^k` a permutation.
const ODD: u32 = 0x9e37_79b1;

#[inline(always)]
fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Writes the endpoints: addresses at 26 and 30, ports at 34 and 36.
///
/// # Safety
/// The packet has 38 bytes at `data`.
#[inline(always)]
unsafe fn write(data: usize, source: u32, port: u16, backward: bool) {
    let server = u32::from_ne_bytes([198, 18, 0, 1]);
    let server_port = 443u16.to_be();
    let (from, to) = if backward { (30, 26) } else { (26, 30) };
    let (from_port, to_port) = if backward { (36, 34) } else { (34, 36) };
    // SAFETY: the caller compared 38 bytes with the packet's end.
    unsafe {
        ((data + from) as *mut u32).write_unaligned(source);
        ((data + to) as *mut u32).write_unaligned(server);
        ((data + from_port) as *mut u16).write_unaligned(port);
        ((data + to_port) as *mut u16).write_unaligned(server_port);
    }
}

/// Makes the frame the next one of the plan.
///
/// # Safety
/// `data` and `data_end` are the packet's.
#[inline(always)]
unsafe fn mutate(data: usize, data_end: usize) {
    let Some(plan) = PLAN.get_ptr_mut(0) else {
        return;
    };
    if data + 38 > data_end {
        return;
    }
    // SAFETY: the map's entry; test runs that share it run one after another.
    let plan = unsafe { &mut *plan };
    let counter = plan.counter;
    plan.counter = counter.wrapping_add(1);
    let (source, port, backward) = match plan.mode {
        mode::FLOWS => {
            let n = (counter as u32).wrapping_mul(ODD) & plan.flows;
            // 10.0.0.0/8 and one port for each source.
            ((0x0a00_0000 | n).to_be(), 40_000u16.to_be(), false)
        }
        mode::RANDOM => {
            let random = xorshift(&mut plan.random);
            ((random >> 32) as u32, random as u16, false)
        }
        _ => {
            if plan.step >= plan.spoofed {
                plan.step = 0;
                let turn = plan.legitimate;
                let last = plan.flows.wrapping_mul(2).wrapping_add(1);
                plan.legitimate = if turn >= last { 0 } else { turn + 1 };
                let (n, second) = if turn > plan.flows {
                    (turn - plan.flows - 1, true)
                } else {
                    (turn, false)
                };
                let port = (1024 + (n & 0x3fff) as u16).to_be();
                ((0x0a00_0000 | n).to_be(), port, second && plan.two_way != 0)
            } else {
                plan.step += 1;
                let n = xorshift(&mut plan.random) as u32 & plan.sources;
                ((0x6000_0000 | n).to_be(), 50_000u16.to_be(), false)
            }
        }
    };
    // SAFETY: compared above.
    unsafe { write(data, source, port, backward) };
}

/// Mutates, then calls `NEXT`.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp.frags")]
pub extern "C" fn mutate_frags(context: *mut xdp_md) -> u32 {
    // SAFETY: the kernel's context.
    unsafe {
        mutate((*context).data as usize, (*context).data_end as usize);
        let _ = NEXT.tail_call(&XdpContext::new(context), 0);
    }
    xdp_action::XDP_ABORTED
}

/// Mutates, then calls `NEXT_PLAIN`.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub extern "C" fn mutate_plain(context: *mut xdp_md) -> u32 {
    // SAFETY: the kernel's context.
    unsafe {
        mutate((*context).data as usize, (*context).data_end as usize);
        let _ = NEXT_PLAIN.tail_call(&XdpContext::new(context), 0);
    }
    xdp_action::XDP_ABORTED
}

/// Mutates, then calls `NEXT_TC`.
#[unsafe(no_mangle)]
#[unsafe(link_section = "classifier")]
pub extern "C" fn mutate_tc(context: *mut __sk_buff) -> i32 {
    // SAFETY: the kernel's context.
    unsafe {
        mutate((*context).data as usize, (*context).data_end as usize);
        let _ = NEXT_TC.tail_call(&TcContext::new(context), 0);
    }
    TC_ACT_UNSPEC
}

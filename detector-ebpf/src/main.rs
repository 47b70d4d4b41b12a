//! The BPF programs. What they do is `detector_common::engine`; here are the maps
//! and the bytes.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![allow(internal_features)]

mod atomic;
mod frame;
mod kernel;
mod maps;

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_UNSPEC, xdp_action, xdp_md},
    helpers::{bpf_jiffies64, bpf_ktime_get_ns},
};
use detector_common::engine::{self, Disposition, Segmentation};

use crate::{
    frame::{Skb, Xdp},
    kernel::Kernel,
    maps::BURSTS,
};

/// Counts what arrives and enforces verdicts.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp.frags")]
pub extern "C" fn detector_ingress(context: *mut xdp_md) -> u32 {
    let Some(kernel) = Kernel::new(true) else {
        return xdp_action::XDP_PASS;
    };
    match engine::ingress(&kernel, &Xdp::new(context)) {
        Disposition::Pass => xdp_action::XDP_PASS,
        Disposition::Drop => xdp_action::XDP_DROP,
    }
}

/// Counts what leaves. The chain goes on with the next program.
#[unsafe(no_mangle)]
#[unsafe(link_section = "classifier")]
pub extern "C" fn detector_egress(context: *mut __sk_buff) -> i32 {
    let Some(kernel) = Kernel::new(false) else {
        return TC_ACT_UNSPEC;
    };
    let frame = Skb::new(context);
    let (segments, segment_bytes) = frame.segmentation();
    engine::egress(
        &kernel,
        &frame,
        Segmentation {
            segments,
            segment_bytes,
        },
    );
    TC_ACT_UNSPEC
}

/// Writes jiffies and monotonic nanoseconds over the first 16 bytes of its frame, for
/// `BPF_PROG_TEST_RUN`: the agent's way to know in what time verdicts expire.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub extern "C" fn detector_clock(context: *mut xdp_md) -> u32 {
    // SAFETY: the write is within data .. data_end, as compared just before.
    unsafe {
        let data = (*context).data as usize;
        if data + 16 <= (*context).data_end as usize {
            *(data as *mut [u64; 2]) = [bpf_jiffies64(), bpf_ktime_get_ns()];
        }
    }
    xdp_action::XDP_PASS
}

/// A poll of a receive queue is over: see `detector_common::burst`.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp/napi_poll")]
pub extern "C" fn detector_burst(_context: *mut c_void) -> i32 {
    if let Some(clock) = BURSTS.get_ptr_mut(0) {
        // SAFETY: this CPU's entry.
        unsafe { (*clock).end() };
    }
    0
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Some helpers are for programs under the GPL only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

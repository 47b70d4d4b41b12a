//! What the detector is measured beside: a bare drop, a program that gives every
//! packet another flow before it hands it on, and flow counters on the kernel's own hash maps.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod frame;
mod mutate;
mod peers;

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_UNSPEC, xdp_action, xdp_md},
    helpers::bpf_ktime_get_ns,
};

/// The least that an XDP program can do.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp.frags")]
pub extern "C" fn bare(_context: *mut xdp_md) -> u32 {
    xdp_action::XDP_DROP
}

/// The same, without the fragments flag.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub extern "C" fn bare_plain(_context: *mut xdp_md) -> u32 {
    xdp_action::XDP_DROP
}

/// What any program that knows the time pays at least.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp.frags")]
pub extern "C" fn bare_clock(_context: *mut xdp_md) -> u32 {
    // SAFETY: a helper without arguments. Its result is looked at, lest it be left out.
    if unsafe { bpf_ktime_get_ns() } == 0 {
        return xdp_action::XDP_PASS;
    }
    xdp_action::XDP_DROP
}

/// The least that a TC program can do.
#[unsafe(no_mangle)]
#[unsafe(link_section = "classifier")]
pub extern "C" fn bare_tc(_context: *mut __sk_buff) -> i32 {
    TC_ACT_UNSPEC
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

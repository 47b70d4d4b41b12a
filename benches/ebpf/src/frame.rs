//! A frame at the XDP hook, as the detector's parser loads from it: what
//! `detector-ebpf` has, less the TC hook, so that the peers stand on the same ground.

use aya_ebpf::{bindings::xdp_md, helpers::bpf_xdp_get_buff_len};
use detector_common::bytes::Bytes;

/// No header that the parser reads begins beyond this; the verifier wants a bound.
const OFFSET_MAX: u32 = 0x7fff;

/// The same number, of which the compiler knows nothing: it would else compare the
/// lower halves of two packet pointers, which the verifier does not follow.
#[inline(always)]
fn opaque(mut n: usize) -> usize {
    // SAFETY: no instruction at all.
    unsafe { core::arch::asm!("/* {0} */", inout(reg) n) };
    n
}

/// A frame.
pub struct Xdp {
    context: *mut xdp_md,
    data: usize,
    data_end: usize,
}

impl Xdp {
    #[inline(always)]
    pub fn new(context: *mut xdp_md) -> Self {
        // SAFETY: the kernel's context.
        unsafe {
            Self {
                context,
                data: opaque((*context).data as usize),
                data_end: opaque((*context).data_end as usize),
            }
        }
    }
}

impl Bytes for Xdp {
    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the kernel's context.
        unsafe { bpf_xdp_get_buff_len(self.context) as u32 }
    }

    #[inline(always)]
    fn at_hand(&self) -> u32 {
        (self.data_end - self.data) as u32
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        if offset > OFFSET_MAX {
            return None;
        }
        let start = self.data + offset as usize;
        if start + N > self.data_end {
            return None;
        }
        // SAFETY: start .. start + N lies within the packet, as just compared.
        Some(unsafe { *(start as *const [u8; N]) })
    }
}

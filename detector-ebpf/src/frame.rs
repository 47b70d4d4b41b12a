//! The two kinds of context, as frames that the common parser can load from.

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    helpers::{bpf_skb_pull_data, bpf_xdp_get_buff_len},
};
use detector_common::bytes::Bytes;

/// No header that the parser reads begins beyond this; the verifier wants a bound.
const OFFSET_MAX: u32 = 0x7fff;

/// Bytes that the egress program asks to be in the linear part: every header that is
/// not a hostile chain of extensions.
const HEADERS_MAX: u32 = 192;

/// The same number, of which the compiler knows nothing. It would else compare the
/// lower halves of two packet pointers, which the verifier does not follow.
#[inline(always)]
fn opaque(mut n: usize) -> usize {
    // SAFETY: no instruction at all.
    unsafe { core::arch::asm!("/* {0} */", inout(reg) n) };
    n
}

/// `N` bytes of the packet, if it has them.
///
/// # Safety
/// `data` and `data_end` are the packet's.
#[inline(always)]
unsafe fn load<const N: usize>(data: usize, data_end: usize, offset: u32) -> Option<[u8; N]> {
    if offset > OFFSET_MAX {
        return None;
    }
    let start = data + offset as usize;
    if start + N > data_end {
        return None;
    }
    // SAFETY: start .. start + N lies within the packet, as just compared.
    Some(unsafe { *(start as *const [u8; N]) })
}

/// A frame at the XDP hook.
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
        // SAFETY: the kernel's context; a frame may have several buffers.
        unsafe { bpf_xdp_get_buff_len(self.context) as u32 }
    }

    #[inline(always)]
    fn at_hand(&self) -> u32 {
        (self.data_end - self.data) as u32
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        // SAFETY: both pointers are the context's.
        unsafe { load(self.data, self.data_end, offset) }
    }
}

/// A frame at the TC hook.
pub struct Skb {
    context: *mut __sk_buff,
    data: usize,
    data_end: usize,
}

impl Skb {
    #[inline(always)]
    pub fn new(context: *mut __sk_buff) -> Self {
        // SAFETY: the kernel's context. Pulling invalidates the pointers, so they are
        // read after it.
        unsafe {
            let linear = (*context).data_end.wrapping_sub((*context).data);
            let len = (*context).len;
            let wanted = if len < HEADERS_MAX { len } else { HEADERS_MAX };
            if linear < wanted {
                bpf_skb_pull_data(context, wanted);
            }
            Self {
                context,
                data: opaque((*context).data as usize),
                data_end: opaque((*context).data_end as usize),
            }
        }
    }

    /// Wire packets that the frame will be cut into, and the payload of each.
    #[inline(always)]
    pub fn segmentation(&self) -> (u32, u32) {
        // SAFETY: the kernel's context.
        unsafe { ((*self.context).gso_segs, (*self.context).gso_size) }
    }
}

impl Bytes for Skb {
    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the kernel's context.
        unsafe { (*self.context).len }
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        // SAFETY: both pointers are the context's.
        unsafe { load(self.data, self.data_end, offset) }
    }
}

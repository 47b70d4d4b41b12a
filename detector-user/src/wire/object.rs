//! The BPF object, as checked in beside its source.

/// Bytes aligned as an ELF reader wants them.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(
    "../../../detector-ebpf/object/detector.bpf.o"
));

/// The object file.
#[must_use]
pub fn bytes() -> &'static [u8] {
    &OBJECT.0
}

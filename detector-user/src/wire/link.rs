//! A pinned BPF link: what it still hangs on, and taking it off.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_link_info, bpf_link_type};

/// What a link hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hang {
    /// Index of the interface, in whichever network namespace it is; 0: the interface is
    /// gone, or the link was detached by force.
    pub interface: u32,
    /// Id of the program.
    pub program: u32,
}

/// What the link that is pinned at `path` hangs on; `None` where nothing is pinned.
///
/// # Errors
/// What the kernel says, and where the pin is no XDP or tcx link.
pub fn read(path: &Path) -> io::Result<Option<Hang>> {
    let Some(link) = open(path)? else {
        return Ok(None);
    };
    // SAFETY: plain old data, for which zeros are valid.
    let mut info: bpf_link_info = unsafe { std::mem::zeroed() };
    let mut attr = zeroed_attr();
    attr.info.bpf_fd = link.as_raw_fd().cast_unsigned();
    attr.info.info_len = size_of::<bpf_link_info>() as u32;
    attr.info.info = (&raw mut info).expose_provenance() as u64;
    // SAFETY: `info` lives until after the call and has the length that is told.
    unsafe { bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    const XDP: u32 = bpf_link_type::BPF_LINK_TYPE_XDP as u32;
    const TCX: u32 = bpf_link_type::BPF_LINK_TYPE_TCX as u32;
    // SAFETY: the member that the type names; plain integers.
    let interface = unsafe {
        match info.type_ {
            XDP => info.__bindgen_anon_1.xdp.ifindex,
            TCX => info.__bindgen_anon_1.tcx.ifindex,
            _ => return Err(io::Error::other("neither an XDP nor a tcx link")),
        }
    };
    Ok(Some(Hang {
        interface,
        program: info.prog_id,
    }))
}

/// Takes the link that is pinned at `path` off its interface, at once: where merely its
/// last pin goes, the kernel lets go of it some time after. Whether one was pinned.
///
/// # Errors
/// What the kernel says.
pub fn tear_off(path: &Path) -> io::Result<bool> {
    let Some(link) = open(path)? else {
        return Ok(false);
    };
    let mut attr = zeroed_attr();
    attr.link_detach.link_fd = link.as_raw_fd().cast_unsigned();
    // SAFETY: the attribute points to nothing.
    unsafe { bpf(bpf_cmd::BPF_LINK_DETACH, &mut attr) }?;
    Ok(true)
}

fn open(path: &Path) -> io::Result<Option<OwnedFd>> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = zeroed_attr();
    attr.__bindgen_anon_4.pathname = name.as_ptr().expose_provenance() as u64;
    // SAFETY: the path lives until after the call.
    match unsafe { bpf(bpf_cmd::BPF_OBJ_GET, &mut attr) } {
        // SAFETY: a descriptor that the kernel just made for us alone.
        Ok(fd) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn zeroed_attr() -> bpf_attr {
    // SAFETY: plain old data, for which zeros are valid; the kernel wants the rest zero.
    unsafe { std::mem::zeroed() }
}

/// # Safety
/// Whatever the attribute points to must be valid for the command.
unsafe fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    // SAFETY: the caller's promise; the attribute is as long as told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as u32,
            &raw mut *attr,
            size_of::<bpf_attr>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as i32)
    }
}

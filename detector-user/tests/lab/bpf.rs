//! BPF programs of somebody else, and what the kernel holds of anybody's.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
    process::Command,
};

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_prog_type};
use serde_json::Value;

/// Name of the programs made here.
pub const SOMEBODY: &str = "somebody";

/// # Safety
/// Whatever the attribute points to must be valid for the command.
unsafe fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise; each command used here returns a descriptor of ours.
    unsafe {
        let fd = libc::syscall(
            libc::SYS_bpf,
            command as u32,
            &raw mut *attr,
            size_of::<bpf_attr>(),
        );
        if fd < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(OwnedFd::from_raw_fd(fd as i32))
        }
    }
}

fn zeroed() -> bpf_attr {
    // SAFETY: plain old data, for which zeros are valid.
    unsafe { std::mem::zeroed() }
}

/// A program that returns always the same: `r0 = value; exit`.
pub fn program(kind: bpf_prog_type, value: i32) -> OwnedFd {
    let instructions: [u64; 2] = [0xb7 | u64::from(value.cast_unsigned()) << 32, 0x95];
    let license = c"GPL";
    let mut attr = zeroed();
    let load = {
        // SAFETY: a union of plain old data.
        unsafe { &mut attr.__bindgen_anon_3 }
    };
    load.prog_type = kind as u32;
    load.insn_cnt = 2;
    load.insns = instructions.as_ptr().expose_provenance() as u64;
    load.license = license.as_ptr().expose_provenance() as u64;
    for (to, from) in load.prog_name.iter_mut().zip(SOMEBODY.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: instructions and license outlive the call.
    unsafe { bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr) }.unwrap()
}

/// Hangs a program on an interface of this thread's namespace, by a link that lives as
/// long as the descriptor.
pub fn link(
    program: &OwnedFd,
    index: u32,
    kind: bpf_attach_type,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    let create = {
        // SAFETY: a union of plain old data.
        unsafe { &mut attr.link_create }
    };
    create.__bindgen_anon_1.prog_fd = program.as_raw_fd().cast_unsigned();
    create.__bindgen_anon_2.target_ifindex = index;
    create.attach_type = kind as u32;
    create.flags = flags;
    // SAFETY: no pointers.
    unsafe { bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr) }
}

/// Pins a program.
pub fn pin(program: &OwnedFd, path: &Path) {
    use std::os::unix::ffi::OsStrExt as _;
    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut attr = zeroed();
    let pin = {
        // SAFETY: a union of plain old data.
        unsafe { &mut attr.__bindgen_anon_4 }
    };
    pin.bpf_fd = program.as_raw_fd().cast_unsigned();
    pin.pathname = name.as_ptr().expose_provenance() as u64;
    // SAFETY: the path outlives the call, which returns 0 and so no descriptor to own.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            bpf_cmd::BPF_OBJ_PIN as u32,
            &raw mut attr,
            size_of::<bpf_attr>(),
        )
    };
    assert_eq!(result, 0, "pinning: {}", io::Error::last_os_error());
}

/// What bpftool tells, as JSON. It is run in this thread's namespace.
pub fn bpftool(words: &str) -> Value {
    let output = Command::new("bpftool")
        .arg("-j")
        .args(words.split_whitespace())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "bpftool {words}: {error}: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

/// Ids of all programs or maps that the kernel holds.
pub fn ids(what: &str) -> Vec<u64> {
    let listed = bpftool(&format!("{what} list"));
    listed
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["id"].as_u64())
        .collect()
}

/// Names of the programs at tcx egress of an interface of this thread's namespace, in
/// their order.
pub fn tcx_egress(name: &str) -> Vec<String> {
    tcx_egress_ids(name).into_iter().map(program_name).collect()
}

/// Their ids.
pub fn tcx_egress_ids(name: &str) -> Vec<u32> {
    let interface = detector_user::wire::interface::Interface::find(name).unwrap();
    let mut ids = [0u32; 16];
    let mut attr = zeroed();
    let query = {
        // SAFETY: a union of plain old data.
        unsafe { &mut attr.query }
    };
    query.__bindgen_anon_1.target_ifindex = interface.index;
    query.attach_type = bpf_attach_type::BPF_TCX_EGRESS as u32;
    query.prog_ids = ids.as_mut_ptr().expose_provenance() as u64;
    query.__bindgen_anon_2.prog_cnt = ids.len() as u32;
    // SAFETY: the array outlives the call, which returns 0 and so no descriptor to own.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            bpf_cmd::BPF_PROG_QUERY as u32,
            &raw mut attr,
            size_of::<bpf_attr>(),
        )
    };
    assert_eq!(
        result,
        0,
        "asking for tcx programs: {}",
        io::Error::last_os_error()
    );
    // SAFETY: as above.
    let count = unsafe { attr.query.__bindgen_anon_2.prog_cnt } as usize;
    ids[..count].to_vec()
}

fn program_name(id: u32) -> String {
    let programs = aya::programs::loaded_programs().filter_map(Result::ok);
    let program = programs.into_iter().find(|program| program.id() == id);
    program
        .and_then(|program| program.name_as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// The XDP programs on an interface of this thread's namespace, from `ip -j link`: mode
/// and id.
pub fn xdp(name: &str) -> Option<u64> {
    let output = Command::new("ip")
        .args(["-j", "-d", "link", "show", "dev", name])
        .output()
        .unwrap();
    let links: Value = serde_json::from_slice(&output.stdout).unwrap();
    links[0]["xdp"]["prog"]["id"].as_u64()
}

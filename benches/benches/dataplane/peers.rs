//! xdp-filter, from Debian's xdp-tools: its objects, loaded as they are.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use aya::{EbpfLoader, maps::PerCpuHashMap, util::nr_cpus};

use super::subject::Subject;

const FOLDERS: [&str; 2] = ["/usr/lib/x86_64-linux-gnu/bpf", "/usr/lib/bpf"];
/// A BPF file system of this process' own: the objects pin their maps.
struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// `object`'s program, with 10.0.0.1 on its list if `listed`.
pub fn xdp_filter(name: &str, object: &str, program: &str, listed: bool) -> Result<Subject> {
    let path = FOLDERS
        .iter()
        .map(|folder| Path::new(folder).join(object))
        .find(|path| path.exists())
        .with_context(|| format!("{object} is not there: apt-get install xdp-tools"))?;
    let folder = std::env::temp_dir().join(format!("detector-benches-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    rustix::mount::mount("bpf", &folder, "bpf", rustix::mount::MountFlags::empty(), None)
        .context("mounting a BPF file system")?;
    let _mount = Mount(folder.clone());
    let mut ebpf = EbpfLoader::new()
        .default_map_pin_directory(&folder)
        .allow_unsupported_maps()
        .load_file(&path)?;
    if listed {
        let map = ebpf.take_map("filter_ipv4").context("no map filter_ipv4")?;
        let mut map: PerCpuHashMap<_, u32, u64> = map.try_into()?;
        // Source addresses, and to be denied: 1 << 0 and 1 << 6 are its flags.
        let cpus = nr_cpus().map_err(|(_, error)| error)?;
        let values = aya::maps::PerCpuValues::try_from(vec![1u64; cpus])?;
        map.insert(u32::from_ne_bytes([10, 0, 0, 1]), values, 0)?;
    }
    Subject::from(name, program, false, ebpf)
}

//! xdp-filter, from Debian's xdp-tools: its objects, loaded as they are.

use std::path::Path;

use anyhow::{Context as _, Result};
use aya::{
    EbpfLoader,
    maps::{PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};

use super::{
    scratch::Scratch,
    subject::{Hook, Subject},
};

const FOLDERS: [&str; 2] = ["/usr/lib/x86_64-linux-gnu/bpf", "/usr/lib/bpf"];
/// xdp-filter's flag for an address that is a source (`MAP_FLAG_SRC`).
const SOURCE: u64 = 1;

/// An object's program, with 10.0.0.1 on its list if `listed`.
pub fn xdp_filter(name: &str, program: &str, listed: bool) -> Result<Subject> {
    let object = format!("{program}.o");
    let path = FOLDERS
        .iter()
        .map(|folder| Path::new(folder).join(&object))
        .find(|path| path.exists())
        .with_context(|| format!("{object} is not there: apt-get install xdp-tools"))?;
    // The object pins its maps.
    let scratch = Scratch::new()?;
    let mut ebpf = EbpfLoader::new()
        .default_map_pin_directory(scratch.path())
        .allow_unsupported_maps()
        .load_file(&path)?;
    if listed {
        let map = ebpf.map_mut("filter_ipv4").context("no map filter_ipv4")?;
        let mut map: PerCpuHashMap<_, u32, u64> = map.try_into()?;
        let cpus = nr_cpus().map_err(|(_, error)| error)?;
        map.insert(
            u32::from_ne_bytes([10, 0, 0, 1]),
            PerCpuValues::try_from(vec![SOURCE; cpus])?,
            0,
        )?;
    }
    Subject::from(name, program, Hook::Xdp, ebpf)
}

//! Which of a kernel's modules to insert, in which order.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::package::Kernel;
use crate::tool;

/// What the commands may use and a kernel may have as a module: virtual links, the classifier's hook, and netfilter.
/// The guest has no `modprobe` that would load them when they are first asked for.
const WANTED: [&str; 6] = [
    "veth",
    "sch_ingress",
    "cls_bpf",
    "act_bpf",
    "nf_conntrack",
    "nf_tables",
];

/// How modules are compressed, and what undoes it.
const COMPRESSIONS: [(&str, &str); 3] = [("xz", "xz"), ("zst", "zstd"), ("gz", "gzip")];

/// How deep a module's folder may be below its kernel's.
const FOLDER_DEPTH_MAX: usize = 12;

/// A module to insert.
#[derive(Debug)]
pub struct Module {
    /// With underscores, as the kernel names it.
    pub name: String,
    /// The object, not compressed.
    pub object: Vec<u8>,
}

/// The modules to insert, each after those it depends on; those built in are left out.
pub fn to_insert(kernel: &Kernel) -> Result<Vec<Module>> {
    let Some(folder) = &kernel.modules else {
        eprintln!(
            "kernels: {} has no modules beside its image: what it lacks is missing in the guest",
            kernel.image.display()
        );
        return Ok(Vec::new());
    };
    let mut files = HashMap::new();
    find_modules(folder, FOLDER_DEPTH_MAX, &mut files)?;
    let list = folder.join("modules.builtin");
    let builtin = fs::read_to_string(&list).with_context(|| {
        format!(
            "cannot read the list of built-in modules {}",
            list.display()
        )
    })?;
    let builtin: Vec<String> = builtin
        .lines()
        .filter_map(|line| module_name(Path::new(line)))
        .collect();

    let mut modules = Vec::new();
    for name in WANTED {
        add(name, &files, &builtin, &mut modules)
            .with_context(|| format!("kernel {} lacks {name}", kernel.release))?;
    }
    Ok(modules)
}

/// Adds a module after what it depends on, unless it is there or built in.
fn add(
    name: &str,
    files: &HashMap<String, PathBuf>,
    builtin: &[String],
    modules: &mut Vec<Module>,
) -> Result<()> {
    if modules.iter().any(|module| module.name == name) || builtin.iter().any(|b| b == name) {
        return Ok(());
    }
    let Some(file) = files.get(name) else {
        bail!("module {name} is neither in its package nor built in");
    };
    let object = read_object(file)?;
    for dependency in dependencies(&object) {
        add(&dependency, files, builtin, modules)?;
    }
    modules.push(Module {
        name: name.to_owned(),
        object,
    });
    Ok(())
}

/// Every module file below a folder, by the module's name.
fn find_modules(
    folder: &Path,
    depth_left: usize,
    files: &mut HashMap<String, PathBuf>,
) -> Result<()> {
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let entry = entry?;
        let path = entry.path();
        // Not through links: an installed kernel's folder links to its headers.
        if entry.file_type()?.is_dir() {
            if depth_left > 0 {
                find_modules(&path, depth_left - 1, files)?;
            }
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// The name of the module in a file, or none where it is no module: `x-y.ko.xz` holds `x_y`.
fn module_name(file: &Path) -> Option<String> {
    let file = file.file_name()?.to_str()?;
    let (name, compression) = file.split_once(".ko")?;
    let known = compression.is_empty()
        || COMPRESSIONS
            .iter()
            .any(|(extension, _)| compression.strip_prefix('.') == Some(extension));
    known.then(|| name.replace('-', "_"))
}

/// A module's object, decompressed: not every kernel and `insmod` does it themselves.
fn read_object(file: &Path) -> Result<Vec<u8>> {
    let compression = COMPRESSIONS
        .iter()
        .find(|(extension, _)| file.extension().is_some_and(|e| e == *extension));
    match compression {
        Some((_, program)) => tool::output_of(Command::new(program).args(["-d", "-c"]).arg(file)),
        None => fs::read(file).map_err(Into::into),
    }
    .with_context(|| format!("cannot read module {}", file.display()))
}

/// The modules an object depends on, from its `depends=a,b` string: unpacked packages have no `modules.dep`.
fn dependencies(object: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    object
        .windows(KEY.len())
        .position(|window| window == KEY)
        .and_then(|at| object[at + KEY.len()..].split(|&byte| byte == 0).next())
        .map(String::from_utf8_lossy)
        .unwrap_or_default()
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_hyphens_and_endings() {
        let name = |file| module_name(Path::new(file));
        assert_eq!(name("kernel/net/a-b.ko").as_deref(), Some("a_b"));
        assert_eq!(name("a.ko.xz").as_deref(), Some("a"));
        assert_eq!(name("a.ko.sig"), None);
        assert_eq!(name("modules.order"), None);
    }

    #[test]
    fn dependencies_come_from_the_object() {
        assert_eq!(
            dependencies(b"license=GPL\0depends=llc,s-tp\0name=x\0"),
            ["llc", "s_tp"]
        );
        assert!(dependencies(b"\0depends=\0name=x\0").is_empty());
        assert!(dependencies(b"no such string").is_empty());
    }

    #[test]
    fn what_is_built_in_is_not_inserted() -> Result<()> {
        let mut modules = Vec::new();
        add("veth", &HashMap::new(), &["veth".to_owned()], &mut modules)?;
        assert!(modules.is_empty());
        assert!(add("veth", &HashMap::new(), &[], &mut modules).is_err());
        Ok(())
    }
}

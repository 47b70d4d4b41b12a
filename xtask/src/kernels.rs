//! The kernel matrix: the same commands on Debian's cloud kernels, in a virtual machine, or on the running kernel.
//!
//! A kernel goes one way through it, and the module names are the stations of that way:
//!
//! `package` (fetched, unpacked) → `modules` (which to insert, in which order) → `initramfs` (what the guest holds) →
//! `guest` (booted by qemu, without KVM) → `transcript` (what it said, and the exit codes).

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::package::Kernel;
use self::transcript::Output;
use crate::tool;

mod guest;
mod initramfs;
mod modules;
mod package;

mod transcript;

/// The kernels of the matrix where none is asked for: the oldest supported, and the newest long-term one.
const DEFAULT_KERNELS: [&str; 2] = ["6.1", "6.12"];

/// How long one kernel may take, boot included, in seconds.
const TIME_LIMIT_S: u64 = 1_500;

/// Run commands on each kernel of the matrix.
#[derive(clap::Args)]
pub struct Args {
    /// A Debian cloud kernel's series, or a package, an unpacked package, or an image [default: 6.1 and 6.12]
    #[arg(long = "kernel", value_name = "6.1|6.12|PATH")]
    kernels: Vec<String>,

    /// Run on the running kernel, directly; with --kernel, on those as well
    #[arg(long)]
    host: bool,

    /// Keep each guest's initramfs and console log until its next run, as after a failure
    #[arg(long)]
    keep: bool,

    /// A program to have in the guest, on its PATH, with the shared libraries it needs
    #[arg(long = "program", value_name = "PATH")]
    programs: Vec<PathBuf>,

    /// A file or folder to have in the guest, named relative to the commands' working folder
    #[arg(long = "data", value_name = "PATH=NAME", value_parser = parse_data)]
    data: Vec<(PathBuf, String)>,

    /// How long one kernel may take, boot included, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = TIME_LIMIT_S)]
    time_limit_s: u64,

    /// The command to run: one word is a shell line, several are a program and its arguments
    #[arg(last = true)]
    command: Vec<String>,
}

/// What to run, and what it needs.
///
/// Commands are shell lines. They run in order, with the programs on their `PATH`, in a folder that holds the data under
/// the names given (also in `KERNELS_DATA`), and end at the first that fails.
#[derive(Debug, Clone, Default)]
pub struct Workload {
    /// Programs, by their path on the host; in the guest they keep their file name.
    pub programs: Vec<PathBuf>,
    /// Files and folders: the path on the host, and the name relative to the commands' working folder.
    pub data: Vec<(PathBuf, String)>,
    /// Shell lines.
    pub commands: Vec<String>,
}

/// How to run it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where kernels are cached and guests are built.
    pub folder: PathBuf,
    /// How long one kernel may take, boot included.
    pub time_limit: Duration,
    /// Whether to leave the guest's files for inspection.
    pub keep: bool,
}

/// Tests that run where no command is given: every program in every specialisation,
/// and the shared captures through kernel and native code.
const TESTS: [&str; 2] = ["kernel_load", "kernel_parity"];
/// The shared captures, beside the project and in the guest.
const CAPTURES: &str = "../shared/data/pcap";
const GUEST_CAPTURES: &str = "pcap";

/// What runs where no command is given.
fn tests() -> Result<Workload> {
    let captures = tool::root().join(CAPTURES);
    if !captures.is_dir() {
        bail!(
            "{}: the shared captures are not there; the kernel matrix replays them",
            captures.display()
        );
    }
    let mut workload = Workload {
        data: vec![(captures, GUEST_CAPTURES.to_owned())],
        commands: vec!["uname -r".to_owned()],
        ..Workload::default()
    };
    for name in TESTS {
        let program = crate::test::build(name)?;
        let file = program
            .file_name()
            .and_then(|f| f.to_str())
            .unwrap_or(name)
            .to_owned();
        workload.commands.push(format!(
            "{}=1 DETECTOR_TEST_CAPTURES=\"$KERNELS_DATA/{GUEST_CAPTURES}\" {file} --nocapture",
            crate::test::NO_SKIP
        ));
        workload.programs.push(program);
    }
    Ok(workload)
}

/// Runs the matrix: every kernel, even after one fails.
pub fn run(args: Args) -> Result<()> {
    let options = Options {
        folder: cache_folder(),
        time_limit: Duration::from_secs(args.time_limit_s),
        keep: args.keep,
    };
    let mut workload = if args.command.is_empty() {
        tests()?
    } else {
        Workload {
            commands: vec![command_line(&args.command)],
            ..Workload::default()
        }
    };
    workload.programs.extend(args.programs);
    workload.data.extend(args.data);

    let _lock = lock(&options.folder)?;
    let mut results = Vec::new();
    if args.host {
        results.push(("running".to_owned(), run_on_host(&workload, &options)));
    }
    let kernels = match (args.kernels.is_empty(), args.host) {
        (true, true) => Vec::new(),
        (true, false) => DEFAULT_KERNELS.map(str::to_owned).to_vec(),
        (false, _) => args.kernels,
    };
    for name in kernels {
        let result = Kernel::find(&name, &options.folder)
            .and_then(|kernel| run_in_kernel(&kernel, &workload, &options));
        results.push((name, result));
    }
    report(&results)
}

/// Boots `kernel` with the workload's programs and data, and runs its commands there.
///
/// # Errors
/// Names the kernel and the command whose exit code was not 0, or never came.
pub fn run_in_kernel(kernel: &Kernel, workload: &Workload, options: &Options) -> Result<Output> {
    guest::boot(kernel, workload, options)
        .with_context(|| format!("kernel {} failed", kernel.release))
}

/// Runs the workload's commands on the running kernel.
///
/// # Errors
/// Names the command whose exit code was not 0, or never came.
pub fn run_on_host(workload: &Workload, options: &Options) -> Result<Output> {
    guest::host(workload, options).context("the running kernel failed")
}

/// One line for each kernel, and an error if any failed.
fn report(results: &[(String, Result<Output>)]) -> Result<()> {
    eprintln!();
    let mut failed = Vec::new();
    for (name, result) in results {
        match result {
            Ok(output) => {
                eprintln!(
                    "{name:>8}  passed  {} commands on {}: {:.1} s to the first, {:.1} s in all",
                    output.commands.len(),
                    output.kernel,
                    output.boot.as_secs_f64(),
                    output.elapsed.as_secs_f64()
                );
                if output.lost_bytes > 0 {
                    eprintln!(
                        "{:>8}  {} bytes of output were shown but not kept",
                        "", output.lost_bytes
                    );
                }
            }
            Err(error) => {
                eprintln!("{name:>8}  failed  {error:#}");
                failed.push(name.as_str());
            }
        }
    }
    if !failed.is_empty() {
        bail!(
            "{} of {} kernels failed: {}",
            failed.len(),
            results.len(),
            failed.join(", ")
        );
    }
    Ok(())
}

/// `kernels` in the build's target folder.
fn cache_folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || {
            let package = Path::new(env!("CARGO_MANIFEST_DIR"));
            package.parent().unwrap_or(package).join("target")
        },
        PathBuf::from,
    );
    // A relative folder would change its meaning with the working folder of the tools that are started in it.
    std::path::absolute(target.join("kernels")).unwrap_or_else(|_| target.join("kernels"))
}

/// Held while the cache is in use: two runs would unpack into, and boot from, the same folders.
fn lock(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join("lock");
    let file =
        File::create(&path).with_context(|| format!("cannot open lock {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another run of the kernel matrix holds {}: wait for it to end",
            path.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// One shell line: a single word is one already; several are quoted each.
fn command_line(words: &[String]) -> String {
    match words {
        [line] => line.clone(),
        words => words
            .iter()
            .map(|word| shell_quoted(word))
            .collect::<Vec<_>>()
            .join(" "),
    }
}

/// The word as the shell reads it back.
fn shell_quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// `PATH=NAME`; the name is what follows the last `=`.
fn parse_data(argument: &str) -> Result<(PathBuf, String), String> {
    match argument.rsplit_once('=') {
        Some((path, name)) if !path.is_empty() && !name.is_empty() => {
            Ok((PathBuf::from(path), name.to_owned()))
        }
        _ => Err("expected PATH=NAME, as in captures=pcap".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_is_a_line_and_several_are_quoted() {
        let words = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>();
        assert_eq!(command_line(&words(&["a | b"])), "a | b");
        assert_eq!(
            command_line(&words(&["a", "b c", "it's", ""])),
            r"a 'b c' 'it'\''s' ''"
        );
    }

    #[test]
    fn data_is_named_after_the_last_equals_sign() {
        assert_eq!(
            parse_data("a=b=c"),
            Ok((PathBuf::from("a=b"), "c".to_owned()))
        );
        assert!(parse_data("a").is_err());
        assert!(parse_data("a=").is_err());
    }
}

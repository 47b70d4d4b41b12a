//! Runs a workload: in a guest that qemu boots, or on the running kernel. The commands, their working folder and the way
//! their output is read are the same.

use std::fs;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::initramfs::{self, data_name, program_name};
use super::modules::{self, Module};
use super::package::{Kernel, make_empty};
use super::transcript::{Output, Step, Transcript, next_line, script};
use super::{Options, Workload};
use crate::tool;

/// The guest's memory: its files, and the maps of every specialisation of the programs.
const MEMORY: &str = "4G";

/// The guest's processors.
const PROCESSORS: &str = "2";

/// `-cpu max` has what a kernel may ask for. The console is the kernel's, and an oops ends the guest, so that it can't
/// pass for a success. Nothing turns mitigations off: the verifier asks more of a program where they are on.
const KERNEL_PARAMETERS: &str = "console=ttyS0 loglevel=5 panic=-1 oops=panic";

/// How many lines of output wait to be shown; past that, the commands wait.
const LINES_WAITING_MAX: usize = 1024;

/// How long the machine may take to end once the commands have.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

/// How often the machine is asked whether it has ended.
const POLL: Duration = Duration::from_millis(10);

/// How much of the end of the kernel's console an error shows.
const CONSOLE_LINES_SHOWN: usize = 30;

/// Boots a kernel, and runs the workload there.
pub fn boot(kernel: &Kernel, workload: &Workload, options: &Options) -> Result<Output> {
    let qemu = tool::find_or_install("qemu-system-x86_64", "qemu-system-x86")?;
    let busybox = tool::find_or_install("busybox", "busybox-static")?;
    let folder = options.folder.join(format!("run-{}", kernel.release));
    make_empty(&folder)?;

    let mark = new_mark();
    let archive = folder.join("initramfs.cpio.gz");
    build(&archive, kernel, workload, &busybox, &mark)?;

    let console = folder.join("console.log");
    let mut command = dying_with_us("KILL");
    command
        .arg(&qemu)
        .args([
            "-accel", "tcg", "-cpu", "max", "-m", MEMORY, "-smp", PROCESSORS,
        ])
        .args(["-nographic", "-no-reboot", "-nodefaults", "-nic", "none"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&archive)
        .args(["-append", KERNEL_PARAMETERS])
        // Two ports: what the kernel says at any moment must not break up what the commands write.
        .args(["-serial", &format!("file:{}", tool::text(&console)?)])
        .args(["-serial", "stdio", "-monitor", "none"]);
    let result = watch(
        &mut command,
        &kernel.release,
        &mark,
        &workload.commands,
        options.time_limit,
        Signal::KILL,
    );
    if result.is_err() {
        show_console(&console);
    }
    // A failure that doesn't come again leaves nothing else to look at.
    if options.keep || result.is_err() {
        eprintln!("kernels: kept {} until the next run", folder.display());
    } else {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    result
}

/// Runs the workload on the running kernel, with links in place of the guest's files.
pub fn host(workload: &Workload, options: &Options) -> Result<Output> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("cannot read the running kernel's release")?;
    let folder = options.folder.join("run-host");
    make_empty(&folder)?;
    let (programs, data) = (folder.join("programs"), folder.join("data"));
    fs::create_dir(&programs)?;
    fs::create_dir(&data)?;
    for program in &workload.programs {
        link(program, &programs.join(program_name(program)?))?;
    }
    for (path, name) in &workload.data {
        link(path, &data.join(data_name(name)?))?;
    }
    let mark = new_mark();
    let commands = folder.join("commands.sh");
    fs::write(&commands, script(&mark, &workload.commands))?;

    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&path)))?;
    // `timeout`, without a limit of its own, passes TERM on to all that the commands have started.
    let mut command = dying_with_us("TERM");
    command
        .args(["timeout", "--kill-after=5", "0", "sh"])
        .arg(&commands)
        .env("PATH", path)
        .env("KERNELS_DATA", &data);
    let result = watch(
        &mut command,
        release.trim(),
        &mark,
        &workload.commands,
        options.time_limit,
        Signal::TERM,
    );
    if !options.keep {
        fs::remove_dir_all(&folder)?;
    }
    result
}

/// Writes the guest's file system.
fn build(
    archive: &Path,
    kernel: &Kernel,
    workload: &Workload,
    busybox: &Path,
    mark: &str,
) -> Result<()> {
    let modules = modules::to_insert(kernel)?;
    initramfs::write(archive, |root| {
        for folder in [
            "proc", "sys", "dev", "tmp", "run", "root", "programs", "data",
        ] {
            root.folder(Path::new(folder))?;
        }
        root.program(Path::new("bin/busybox"), busybox)?;
        // The host's shell, not busybox's: that one prefers its own `ip` to a program of that name.
        root.program(Path::new("bin/sh"), Path::new("/bin/sh"))?;
        root.link(Path::new("var/run"), "/run")?;
        root.script(Path::new("init"), &init(&modules))?;
        root.script(Path::new("commands.sh"), &script(mark, &workload.commands))?;
        for module in &modules {
            root.file(Path::new(&module_file(module)), &module.object)?;
        }
        for program in &workload.programs {
            let path = Path::new("programs").join(program_name(program)?);
            root.program(&path, program)?;
        }
        for (host, name) in &workload.data {
            root.data(&Path::new("data").join(data_name(name)?), host)?;
        }
        Ok(())
    })
    .context("cannot build the guest's file system")
}

fn module_file(module: &Module) -> String {
    format!("modules/{}.ko", module.name)
}

/// The guest's first process. Where a step of it fails it ends, the kernel panics for want of it, and the console says why.
fn init(modules: &[Module]) -> String {
    let insert: String = modules
        .iter()
        .map(|module| format!("insmod /{}\n", module_file(module)))
        .collect();
    format!(
        "#!/bin/busybox sh\n\
         set -e\n\
         /bin/busybox --install -s /bin\n\
         export PATH=/programs:/bin HOME=/root KERNELS_DATA=/data\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sysfs /sys\n\
         mount -t devtmpfs devtmpfs /dev\n\
         mkdir -p /dev/pts /dev/shm\n\
         mount -t devpts devpts /dev/pts\n\
         ln -sf /proc/self/fd /dev/fd\n\
         for folder in /dev/shm /tmp /run; do mount -t tmpfs tmpfs $folder; done\n\
         mkdir -p /run/netns\n\
         mount -t bpf bpf /sys/fs/bpf\n\
         mount -t cgroup2 cgroup2 /sys/fs/cgroup\n\
         mount -t tracefs tracefs /sys/kernel/tracing\n\
         {insert}\
         ip link set lo up\n\
         stty -F /dev/ttyS1 raw -echo\n\
         /bin/sh /commands.sh >/dev/ttyS1 2>&1 || true\n\
         # Setting the port waits for what it has yet to send.\n\
         stty -F /dev/ttyS1 raw\n\
         poweroff -f\n\
         # Not done at once; and without its first process the kernel would panic.\n\
         sleep 60\n"
    )
}

/// Starts the command, and follows its output to the last exit code. Whatever comes of it, it has ended on return.
fn watch(
    command: &mut Command,
    kernel: &str,
    mark: &str,
    commands: &[String],
    limit: Duration,
    ending: Signal,
) -> Result<Output> {
    ensure!(!commands.is_empty(), "there is no command to run");
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    let mut transcript = Transcript::new(mark.to_owned(), commands.to_vec(), io::stdout());
    let followed = match child.stdout.take() {
        Some(stdout) => follow(&lines_of(stdout), &mut transcript, kernel, start, limit),
        None => Err(anyhow::anyhow!("the machine has no standard output")),
    };
    transcript.end_line();
    let ended = end(&mut child, followed.is_ok(), ending);
    let (boot, elapsed) = followed?;
    ended?;
    Ok(transcript.into_output(kernel.to_owned(), boot, elapsed))
}

/// How long it took to the first command, and to the end of the last.
fn follow(
    lines: &Receiver<Vec<u8>>,
    transcript: &mut Transcript<impl io::Write>,
    kernel: &str,
    start: Instant,
    limit: Duration,
) -> Result<(Duration, Duration)> {
    let mut boot = None;
    loop {
        let left = limit.saturating_sub(start.elapsed());
        let line = match lines.recv_timeout(left) {
            Ok(line) => line,
            Err(reason) => {
                let what = transcript.current().map_or_else(
                    || "before a command began".to_owned(),
                    |command| format!("while `{command}` ran, whose exit code never came"),
                );
                match reason {
                    RecvTimeoutError::Timeout => {
                        bail!("the time limit of {} s passed {what}", limit.as_secs())
                    }
                    RecvTimeoutError::Disconnected => bail!("the machine ended {what}"),
                }
            }
        };
        match transcript.take(&line) {
            Step::Going => {}
            Step::Began(index) => {
                boot.get_or_insert_with(|| start.elapsed());
                let title = format!("== {kernel}: {}", transcript.command(index));
                transcript.announce(&title);
            }
            Step::Passed => return Ok((boot.unwrap_or_default(), start.elapsed())),
            Step::Failed(index, code) => {
                bail!(
                    "`{}` ended with exit code {code}",
                    transcript.command(index)
                )
            }
        }
    }
}

/// The lines of a stream, read in a thread of their own, so that waiting for one can end at the time limit.
fn lines_of(stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (send, receive) = mpsc::sync_channel(LINES_WAITING_MAX);
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        while let Ok(line) = next_line(&mut stream) {
            if line.is_empty() || send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

/// Sees the child to its end: in its own time where all went well, and by force otherwise.
fn end(child: &mut Child, went_well: bool, ending: Signal) -> Result<()> {
    let limit = Instant::now() + SHUTDOWN_LIMIT;
    while went_well && Instant::now() < limit {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        thread::sleep(POLL);
    }
    stop(child, ending)
}

/// Ends the child, this one only: by `ending`, and then by force.
fn stop(child: &mut Child, ending: Signal) -> Result<()> {
    let limit = Instant::now() + SHUTDOWN_LIMIT;
    if child.try_wait()?.is_none() {
        // A child that has not been waited for keeps its number: no other process can have it.
        let _ = kill_process(Pid::from_child(child), ending);
    }
    while child.try_wait()?.is_none() {
        if Instant::now() >= limit {
            child.kill().context("cannot end the machine")?;
            child.wait()?;
            break;
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// The start of a command line whose process gets `signal` when this one ends, however it does: on Ctrl-C as on a kill.
fn dying_with_us(signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal, "--"]);
    command
}

/// What no command writes by chance.
fn new_mark() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("@kernels-{}-{:x}@", std::process::id(), now.as_nanos())
}

/// A link to a file of the host, by its absolute path.
fn link(path: &Path, at: &Path) -> Result<()> {
    let path = fs::canonicalize(path).with_context(|| format!("cannot find {}", path.display()))?;
    if let Some(folder) = at.parent() {
        fs::create_dir_all(folder)?;
    }
    symlink(&path, at).with_context(|| format!("cannot link {}", at.display()))
}

/// Shows the end of what the kernel said, if it said anything.
fn show_console(console: &Path) {
    let text = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    // The firmware speaks first, in escape sequences.
    let lines: Vec<String> = text
        .lines()
        .skip_while(|line| !line.starts_with('['))
        .map(|line| line.chars().filter(|c| !c.is_control()).collect())
        .collect();
    if !lines.is_empty() {
        eprintln!("kernels: the end of the kernel's console:");
    }
    for line in &lines[lines.len().saturating_sub(CONSOLE_LINES_SHOWN)..] {
        eprintln!("  {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs shell lines on this kernel.
    fn run(name: &str, commands: &[&str], limit: Duration) -> Result<Output> {
        let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        let options = Options {
            folder: folder.clone(),
            time_limit: limit,
            keep: false,
        };
        let workload = Workload {
            programs: vec!["/bin/true".into()],
            data: vec![("/etc/hostname".into(), "a/name".to_owned())],
            commands: commands.iter().map(|&line| line.to_owned()).collect(),
        };
        let result = host(&workload, &options);
        fs::remove_dir_all(folder)?;
        result
    }

    #[test]
    fn the_running_kernel_runs_commands_as_a_guest_does() -> Result<()> {
        let commands = [
            "test -e a/name",
            "command -v true; test -e $KERNELS_DATA/a/name",
        ];
        let output = run("kernels-pass", &commands, Duration::from_secs(30))?;
        assert_eq!(output.commands.len(), 2);
        assert_eq!(output.lost_bytes, 0);
        Ok(())
    }

    #[test]
    fn a_failure_names_its_command() -> Result<()> {
        let result = run("kernels-fail", &["true", "exit 4"], Duration::from_secs(30));
        let error = result.err().context("it passed")?;
        assert_eq!(error.to_string(), "`exit 4` ended with exit code 4");
        Ok(())
    }

    #[test]
    fn the_time_limit_ends_a_command_and_names_it() -> Result<()> {
        let start = Instant::now();
        let result = run("kernels-late", &["sleep 60; true"], Duration::from_secs(1));
        let error = result.err().context("it passed")?;
        assert!(
            error.to_string().contains("`sleep 60; true` ran"),
            "{error}"
        );
        assert!(start.elapsed() < Duration::from_secs(20));
        Ok(())
    }

    #[test]
    fn init_inserts_modules_in_order_before_the_commands() {
        let module = |name: &str| Module {
            name: name.to_owned(),
            object: Vec::new(),
        };
        let init = init(&[module("a"), module("b")]);
        let place = |line: &str| init.lines().position(|other| other == line);
        assert!(place("insmod /modules/a.ko").is_some());
        assert!(place("insmod /modules/a.ko") < place("insmod /modules/b.ko"));
        assert!(
            place("insmod /modules/b.ko") < place("/bin/sh /commands.sh >/dev/ttyS1 2>&1 || true")
        );
    }
}

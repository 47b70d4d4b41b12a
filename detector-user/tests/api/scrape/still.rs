//! Single threads of a process, held still.

use std::{fs, io};

/// The agent's threads of a name stand still until this is dropped, on the thread that made it.
pub struct Still(Vec<libc::pid_t>);

impl Still {
    /// Holds those threads of a process that have this name.
    pub fn threads(process: u32, name: &str) -> Self {
        let mut still = Self(Vec::new());
        for task in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
            let task = task.unwrap();
            let called = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            if called.trim() == name {
                still.hold(task.file_name().to_str().unwrap().parse().unwrap());
            }
        }
        assert!(!still.0.is_empty(), "no thread is called {name}");
        still
    }

    fn hold(&mut self, thread: libc::pid_t) {
        for request in [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT] {
            assert_eq!(trace(request, thread), 0, "{}", io::Error::last_os_error());
        }
        self.0.push(thread);
        // SAFETY: no status is asked for.
        let stopped = unsafe { libc::waitpid(thread, std::ptr::null_mut(), libc::__WALL) };
        assert_eq!(stopped, thread, "{}", io::Error::last_os_error());
    }
}

fn trace(request: libc::c_uint, thread: libc::pid_t) -> libc::c_long {
    // SAFETY: these requests take no address and no data.
    unsafe { libc::ptrace(request, thread, 0, 0) }
}

impl Drop for Still {
    fn drop(&mut self) {
        for thread in &self.0 {
            trace(libc::PTRACE_DETACH, *thread);
        }
    }
}

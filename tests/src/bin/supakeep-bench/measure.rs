//! Time and memory of one process.

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::profile::Profile;

/// The median of `values`.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs `command` and returns the seconds it took.
///
/// # Panics
///
/// If it fails.
pub(crate) fn seconds(command: &mut Command) -> f64 {
    let began = Instant::now();
    let ended = command.output().expect("the program can be started");
    let seconds = began.elapsed().as_secs_f64();
    assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
    seconds
}

/// The most memory that a running process has had so far, in bytes: `VmHWM` of proc_pid_status(5).
pub(crate) fn peak_rss_bytes(pid: u32) -> Option<u64> {
    status_bytes(pid, "VmHWM:")
}

/// The memory that a process has now, in bytes.
pub(crate) fn rss_bytes(pid: u32) -> Option<u64> {
    status_bytes(pid, "VmRSS:")
}

fn status_bytes(pid: u32, key: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// What was seen of a process while it ran.
pub(crate) struct Watched {
    /// The most memory it had.
    pub(crate) peak_rss_bytes: u64,
    /// Where the time went.
    pub(crate) profile: Profile,
}

/// Watches a process to its end.
///
/// # Panics
///
/// If it fails.
pub(crate) fn watch(mut child: Child) -> Watched {
    let mut peak = 0;
    let mut profile = Profile::default();
    loop {
        peak = peak.max(peak_rss_bytes(child.id()).unwrap_or(0));
        profile.sample(child.id());
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            assert!(status.success(), "it ended with {status}");
            return Watched { peak_rss_bytes: peak, profile };
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

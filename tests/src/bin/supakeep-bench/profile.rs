//! Where the time goes: the processor time of everybody who takes part, seen from outside.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Ticks of the processor clock in a second (`USER_HZ`, proc_pid_stat(5)): 100 on every Linux that Docker
/// runs on.
const TICKS: f64 = 100.0;
/// The processes that take part, by their names.
const OTHERS: [&str; 5] = ["postgres", "pg_dump", "dockerd", "containerd-shim", "docker-proxy"];

/// Adds up processor time while a process runs.
#[derive(Default)]
pub(crate) struct Profile {
    /// First and last reading, in ticks, of every process and of every thread of the one that is watched.
    readings: BTreeMap<(u32, String), (u64, u64)>,
}

impl Profile {
    /// Reads once.
    pub(crate) fn sample(&mut self, watched: u32) {
        for thread in folder(&format!("/proc/{watched}/task")) {
            self.read(&format!("/proc/{watched}/task/{thread}/stat"), thread, |name| Some(thread_name(name)));
        }
        for process in folder("/proc").filter(|process| *process != watched) {
            self.read(&format!("/proc/{process}/stat"), process, |name| {
                OTHERS
                    .iter()
                    .find(|other| name.starts_with(&other[..other.len().min(15)]))
                    .map(|name| (*name).to_owned())
            });
        }
    }

    fn read(&mut self, path: &str, id: u32, wanted: impl Fn(&str) -> Option<String>) {
        let Some((name, ticks)) = fs::read_to_string(Path::new(path)).ok().as_deref().and_then(parse) else {
            return;
        };
        if let Some(name) = wanted(&name) {
            self.readings.entry((id, name)).or_insert((ticks, ticks)).1 = ticks;
        }
    }

    /// Seconds of each, by name. What began after the watched process counts from its own beginning.
    pub(crate) fn seconds(&self) -> BTreeMap<String, f64> {
        let mut out = BTreeMap::new();
        for ((_, name), (first, last)) in &self.readings {
            *out.entry(name.clone()).or_insert(0.0) += (last - first) as f64 / TICKS;
        }
        out
    }
}

fn folder(path: &str) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Threads of one kind count together.
fn thread_name(name: &str) -> String {
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    format!("supakeep: {kind}")
}

/// The name and the ticks in user and kernel mode, of a line as proc_pid_stat(5) describes it.
fn parse(stat: &str) -> Option<(String, u64)> {
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    let mut fields = after.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    Some((name, user + kernel))
}

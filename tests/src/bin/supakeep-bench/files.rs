//! The storage service's files: very many small ones, and few large ones.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use supakeep_tests::{Keeper, Pg, Stack, docker};

use crate::measure::{peak_rss_bytes, seconds};

/// What is measured: a name, how the files are made, and how one in a hundred is changed.
const SETS: [(&str, &str, &str); 2] = [
    (
        "100,000 files of 4 KiB",
        "mkdir -p stub/stub/many && cd stub/stub/many && head -c 409600000 /dev/urandom | split -a 6 -d -b 4096 - f && \
         for d in $(seq -w 0 99); do mkdir $d; find . -maxdepth 1 -name \"f0?$d*\" -exec mv -t $d {} +; done; \
         find . -type f -print0 | xargs -0 setfattr -n user.supabase.content-type -v image/png",
        "find stub/stub/many -type f -name '*07' | xargs -I{} sh -c 'echo changed >>\"$1\"' _ {}",
    ),
    (
        "50 files of 100 MiB",
        "mkdir -p stub/stub/large && for n in $(seq 50); do head -c 104857600 /dev/urandom >stub/stub/large/$n; done",
        "head -c 52428800 /dev/urandom >stub/stub/large/new",
    ),
];

/// What was measured of one set.
pub(crate) struct Files {
    /// Which.
    pub(crate) name: &'static str,
    /// By tar and zstd: seconds, and bytes.
    pub(crate) tar: (f64, u64),
    /// The first backup: seconds without verification, bytes of the archive and its index.
    pub(crate) first: (f64, u64),
    /// A second one, when one in a hundred had changed.
    pub(crate) second: (f64, u64),
    /// The most memory of supakeep, and of its porter.
    pub(crate) peak_rss_bytes: (u64, u64),
}

/// Measures each set once.
pub(crate) fn measure() -> Vec<Files> {
    SETS.iter().map(|(name, make, change)| one(name, make, change)).collect()
}

fn one(name: &'static str, make: &str, change: &str) -> Files {
    let stack = Stack::private_with(Pg::V17, &["db", "storage"], &[("STACK_WRITE_INTERVAL_MS", "3600000")]);
    let container = format!("{}-storage-1", stack.project);
    let sh = |script: &str| {
        docker(&["exec", "-u", "0:0", "-w", "/var/lib/storage", &container, "sh", "-c", script]).ok()
    };
    sh(make);
    let tar = by_tar(&stack);
    eprintln!("bench: {name}: tar: {:.1} s", tar.0);
    // Without large tables: what is measured is the files.
    let keeper = Keeper::new(&stack).with("SUPAKEEP_PARTS", "database,storage");
    let (first, first_peaks) = backup(&keeper);
    sh(change);
    let (second, second_peaks) = backup(&keeper);
    let most = |a: u64, b: u64| a.max(b);
    let peak_rss_bytes = (most(first_peaks.0, second_peaks.0), most(first_peaks.1, second_peaks.1));
    eprintln!("bench: {name}: supakeep: {:.1} s, then {:.1} s", first.0, second.0);
    Files { name, tar, first, second, peak_rss_bytes }
}

fn by_tar(stack: &Stack) -> (f64, u64) {
    let out = tempfile::tempdir().expect("a temporary folder");
    let file = out.path().join("a.tar.zst");
    let script = format!(
        "set -o pipefail; docker run --rm --network none -v {}_storage:/s:ro {} tar -c --xattrs -C /s . | zstd -1 -q -o {}",
        stack.project,
        stack.pg.image(),
        file.display()
    );
    let seconds = seconds(Command::new("bash").args(["-c", &script]));
    (seconds, fs::metadata(&file).map_or(0, |about| about.len()))
}

/// Seconds and bytes, and the peaks of memory.
fn backup(keeper: &Keeper) -> ((f64, u64), (u64, u64)) {
    let mut command = keeper.command(&["backup"]);
    let began = Instant::now();
    let child =
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary can be started");
    let peaks = watch(child);
    let seconds = began.elapsed().as_secs_f64();
    let id = keeper.ids().remove(0);
    let manifest = keeper.manifest(&id);
    let verify = manifest.head.verified.as_ref().map_or(0.0, |proof| proof.duration_seconds);
    let files = manifest.artifacts.iter().filter(|artifact| artifact.part.is_files());
    ((seconds - verify, files.map(|artifact| artifact.bytes).sum()), peaks)
}

fn watch(mut child: Child) -> (u64, u64) {
    let mut peaks = (0, 0);
    loop {
        peaks.0 = peaks.0.max(peak_rss_bytes(child.id()).unwrap_or(0));
        peaks.1 = peaks.1.max(porter().and_then(peak_rss_bytes).unwrap_or(0));
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            assert!(status.success(), "it ended with {status}");
            return peaks;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The porter, which the host sees as a process like any other.
fn porter() -> Option<u32> {
    let numbers =
        fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_porter = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.ends_with(b"/supakeep/supakeep\0porter\0") && !line.starts_with(b"sh"))
    };
    numbers.into_iter().find(is_porter)
}

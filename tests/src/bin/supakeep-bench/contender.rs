//! Who is measured, and how each of them dumps.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use supakeep_tests::{Keeper, Pg, Stack, docker};
use tempfile::TempDir;

use crate::measure::{median, seconds, watch};

/// The arguments of `pg_dump` where the server is the container's own.
pub(crate) const HERE: &str = "-h 127.0.0.1 -U supabase_admin -d postgres";

/// How a dump is made.
enum How {
    /// By a shell on the host; `{db}` is the database's container, `{out}` a folder.
    Shell(&'static str),
    /// By a shell in the container of a client on the stack's network.
    Client(&'static str),
    /// By supakeep, with this compression.
    Supakeep(&'static str),
}

/// What is measured, by the name it has in `results.json`.
const CONTENDERS: [(&str, How); 8] = [
    ("limit", How::Shell("docker exec {db} sh -c 'pg_dump {here} > /dev/null'")),
    (
        "docker exec pg_dump | gzip -6",
        How::Shell("set -o pipefail; docker exec {db} pg_dump {here} | gzip -6 > {out}/a.gz"),
    ),
    (
        "docker exec pg_dump | gzip -9",
        How::Shell("set -o pipefail; docker exec {db} pg_dump {here} | gzip -9 > {out}/a.gz"),
    ),
    (
        "docker exec pg_dump | zstd -3",
        How::Shell("set -o pipefail; docker exec {db} pg_dump {here} | zstd -3 -q -f -o {out}/a.zst"),
    ),
    (
        "client pg_dump -Z zstd:3",
        How::Client("pg_dump -h db -U supabase_admin -d postgres -Z zstd:3 -f /tmp/a"),
    ),
    (
        "client pg_dump -Fd -j2 -Z zstd:3",
        How::Client(
            "rm -rf /tmp/d && pg_dump -h db -U supabase_admin -d postgres -Fd -j2 -Z zstd:3 -f /tmp/d",
        ),
    ),
    ("supakeep gzip:6", How::Supakeep("gzip:6")),
    ("supakeep zstd:3", How::Supakeep("zstd:3")),
];

/// What was measured of one contender.
pub(crate) struct Measured {
    /// Its name.
    pub(crate) name: &'static str,
    /// Until the dump is on the disk.
    pub(crate) median_seconds: f64,
    /// What supakeep's verification took after that.
    pub(crate) verify_seconds: Option<f64>,
    /// The most memory that supakeep had.
    pub(crate) peak_rss_bytes: Option<u64>,
    /// The size of what was written.
    pub(crate) stored_bytes: u64,
    /// Processor seconds by who used them, of the first round.
    pub(crate) profile: BTreeMap<String, f64>,
}

struct Round {
    seconds: f64,
    verify_seconds: Option<f64>,
    peak_rss_bytes: Option<u64>,
    stored_bytes: u64,
    profile: BTreeMap<String, f64>,
}

impl Round {
    fn of(seconds: f64, stored_bytes: u64) -> Round {
        Round { seconds, verify_seconds: None, peak_rss_bytes: None, stored_bytes, profile: BTreeMap::new() }
    }
}

/// Lets every contender dump the stack's database `rounds` times.
pub(crate) fn race(stack: &Stack, rounds: usize, transport: &str) -> Vec<Measured> {
    let client = Client::start(stack);
    let mut all: Vec<Vec<Round>> = CONTENDERS.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for ((name, how), rounds) in CONTENDERS.iter().zip(&mut all) {
            let measured = match how {
                How::Shell(script) => shell(stack, script),
                How::Client(script) => client.dump(script),
                How::Supakeep(compression) => supakeep(stack, compression, transport),
            };
            eprintln!("bench: {} round {round}: {name}: {:.1} s", stack.pg.major(), measured.seconds);
            rounds.push(measured);
        }
    }
    CONTENDERS.iter().zip(all).map(|((name, _), rounds)| sum_up(name, &rounds)).collect()
}

fn sum_up(name: &'static str, rounds: &[Round]) -> Measured {
    let verify: Vec<_> = rounds.iter().filter_map(|round| round.verify_seconds).collect();
    Measured {
        name,
        median_seconds: median(rounds.iter().map(|round| round.seconds).collect()),
        verify_seconds: (!verify.is_empty()).then(|| median(verify)),
        peak_rss_bytes: rounds.iter().filter_map(|round| round.peak_rss_bytes).max(),
        stored_bytes: rounds.first().map_or(0, |round| round.stored_bytes),
        profile: rounds.first().map(|round| round.profile.clone()).unwrap_or_default(),
    }
}

fn shell(stack: &Stack, script: &str) -> Round {
    let out = folder();
    let path = out.path().display().to_string();
    let script = script.replace("{db}", &stack.db()).replace("{here}", HERE).replace("{out}", &path);
    let seconds = seconds(Command::new("bash").args(["-c", &script]));
    Round::of(seconds, size(out.path()))
}

/// The process is watched from its start to its end; what it says itself of the verification is taken
/// off, for the others do not verify.
fn supakeep(stack: &Stack, compression: &str, transport: &str) -> Round {
    let keeper = Keeper::new(stack)
        .with("SUPAKEEP_STACK__DATABASES", "postgres")
        .with("SUPAKEEP_DUMP__TRANSPORT", transport)
        .with("SUPAKEEP_DUMP__COMPRESSION", compression);
    let mut command = keeper.command(&["backup"]);
    let began = std::time::Instant::now();
    let child =
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary can be started");
    let watched = watch(child);
    let seconds = began.elapsed().as_secs_f64();
    let id = keeper.ids().pop().expect("a backup");
    let head = keeper.manifest(&id).head;
    let verify = head.verified.expect("every backup is verified").duration_seconds;
    Round {
        seconds: seconds - verify,
        verify_seconds: Some(verify),
        peak_rss_bytes: Some(watched.peak_rss_bytes),
        stored_bytes: head.totals.stored_bytes,
        profile: watched.profile.seconds(),
    }
}

/// A container with the client programs of 17 on the stack's network.
struct Client(String);

impl Client {
    fn start(stack: &Stack) -> Client {
        let name = format!("{}-client", stack.project);
        let network = format!("{}_default", stack.project);
        let image = Pg::V17.image();
        let password = ["-e", "PGPASSWORD=your-super-secret-and-long-postgres-password"];
        let options =
            ["run", "-d", "--init", "--label", "supakeep.test=bench", "--name", &name, "--network", &network];
        let program = ["--entrypoint", "sleep", &image, "infinity"];
        docker(&[options.as_slice(), &password, &program].concat()).ok();
        Client(name)
    }

    fn dump(&self, script: &str) -> Round {
        let seconds = seconds(Command::new("docker").args(["exec", &self.0, "sh", "-c", script]));
        let written = docker(&[
            "exec",
            &self.0,
            "sh",
            "-c",
            "du -scb /tmp/a /tmp/d 2>/dev/null | tail -1; rm -rf /tmp/a /tmp/d",
        ]);
        let bytes = written.text().split_whitespace().next().and_then(|bytes| bytes.parse().ok());
        Round::of(seconds, bytes.unwrap_or(0))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = docker(&["rm", "-f", &self.0]);
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn size(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

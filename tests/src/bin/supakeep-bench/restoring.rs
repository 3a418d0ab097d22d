//! Who fills a database from a backup, and how long each of them takes.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use supakeep_tests::{Keeper, Stack, docker};
use tempfile::TempDir;

use crate::contender::HERE;
use crate::measure::{median, peak_rss_bytes, seconds};

/// How a database is filled.
enum How {
    /// By a shell on the host; `{db}` is the database's container, `{in}` a folder with what it reads. The database
    /// has been made, and is empty.
    Shell(&'static str),
    /// By supakeep from its backup in this format, which drops and makes the database too.
    Supakeep(&'static str),
}

/// What is measured, by the name it has in `results.json`.
const CONTENDERS: [(&str, How); 4] = [
    (
        "gunzip | docker exec psql",
        How::Shell(
            "set -o pipefail; gunzip -c {in}/a.sql.gz | \
             docker exec -i {db} psql -X -q -v ON_ERROR_STOP=1 -o /dev/null {here}",
        ),
    ),
    ("supakeep restore, plain", How::Supakeep("plain")),
    (
        "docker cp, pg_restore -j2",
        How::Shell(
            "set -e; docker cp -q {in}/a.dump {db}:/tmp/a.dump; \
             docker exec {db} pg_restore -j2 --exit-on-error {here} /tmp/a.dump",
        ),
    ),
    ("supakeep restore, custom", How::Supakeep("custom")),
];

/// What the shells read, made as people make it, and what makes an empty database: supakeep's own file.
const DUMPS: &str = "set -eo pipefail; docker exec {db} pg_dump {here} | gzip -6 > {in}/a.sql.gz; \
                     docker exec {db} pg_dump -Fc {here} > {in}/a.dump; cp {create} {in}/create.sql.gz";

/// Empties the place, as docs/restore.md has it for people.
const EMPTY: &str = r#"set -eo pipefail
sql() { docker exec -i {db} psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -U supabase_admin "$@"; }
sql -d postgres -c 'ALTER SUBSCRIPTION from_elsewhere DISABLE' \
    -c 'ALTER SUBSCRIPTION from_elsewhere SET (slot_name = NONE)' -c 'DROP SUBSCRIPTION from_elsewhere'
sql -d template1 -c 'ALTER ROLE postgres SUPERUSER' -c 'DROP DATABASE postgres WITH (FORCE)'
gunzip -c {in}/create.sql.gz | sql -d template1
"#;

/// What was measured of one contender.
pub(crate) struct Restored {
    /// Its name.
    pub(crate) name: &'static str,
    /// Until the database is filled.
    pub(crate) fill_seconds: f64,
    /// What supakeep took beside that: verifying, statistics and comparison, restart.
    pub(crate) beside: Option<Beside>,
}

/// Seconds of what supakeep does and the others do not; medians.
pub(crate) struct Beside {
    /// Verifying the backup's files first.
    pub(crate) verify_seconds: f64,
    /// Collecting statistics and comparing every table.
    pub(crate) compare_seconds: f64,
    /// Everything else: finding the stack, the plan, restarting the server.
    pub(crate) rest_seconds: f64,
    /// The most memory it had.
    pub(crate) peak_rss_bytes: u64,
}

struct Round {
    fill_seconds: f64,
    beside: Option<Beside>,
}

/// Lets every contender fill the stack's database `rounds` times.
pub(crate) fn race(stack: &Stack, rounds: usize) -> Vec<Restored> {
    let keepers = Keepers::saved(stack);
    let dumps = Dumps::made(stack, &keepers);
    let mut all: Vec<Vec<Round>> = CONTENDERS.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for ((name, how), rounds) in CONTENDERS.iter().zip(&mut all) {
            let measured = match how {
                How::Shell(script) => dumps.filled(script),
                How::Supakeep(format) => keepers.restored(format),
            };
            eprintln!("bench: {} round {round}: {name}: {:.1} s", stack.pg.major(), measured.fill_seconds);
            rounds.push(measured);
        }
    }
    CONTENDERS.iter().zip(all).map(|((name, _), rounds)| sum_up(name, &rounds)).collect()
}

fn sum_up(name: &'static str, rounds: &[Round]) -> Restored {
    let beside: Vec<_> = rounds.iter().filter_map(|round| round.beside.as_ref()).collect();
    let middle = |of: fn(&Beside) -> f64| median(beside.iter().map(|beside| of(beside)).collect());
    Restored {
        name,
        fill_seconds: median(rounds.iter().map(|round| round.fill_seconds).collect()),
        beside: (!beside.is_empty()).then(|| Beside {
            verify_seconds: middle(|beside| beside.verify_seconds),
            compare_seconds: middle(|beside| beside.compare_seconds),
            rest_seconds: middle(|beside| beside.rest_seconds),
            peak_rss_bytes: beside.iter().map(|beside| beside.peak_rss_bytes).max().unwrap_or(0),
        }),
    }
}

/// A backup in each format.
struct Keepers {
    plain: (Keeper, String),
    custom: (Keeper, String),
}

impl Keepers {
    fn saved(stack: &Stack) -> Keepers {
        let of = |format: &str| {
            let keeper = Keeper::new(stack)
                .with("SUPAKEEP_STACK__DATABASES", "postgres")
                .with("SUPAKEEP_DUMP__FORMAT", format);
            let id = keeper.backup(&[]);
            (keeper, id)
        };
        Keepers { plain: of("plain"), custom: of("custom") }
    }

    /// What supakeep says it does on standard error tells when each step begins.
    fn restored(&self, format: &str) -> Round {
        let (keeper, id) = if format == "plain" { &self.plain } else { &self.custom };
        let arguments = ["restore", id, "--only-database", "postgres", "--no-safety-backup", "--yes"];
        let mut command = keeper.command(&arguments);
        let began = Instant::now();
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary can be started");
        let mut steps = vec![("rest", began)];
        let mut peak = 0;
        for line in BufReader::new(child.stderr.take().expect("it is piped")).lines().map_while(Result::ok) {
            let step = match line.split_whitespace().next() {
                Some("verifying") => "verify",
                Some("restoring") => "fill",
                Some("analyzing" | "comparing") => "compare",
                Some("restarting" | "restore" | "starting") => "rest",
                _ => continue,
            };
            steps.push((step, Instant::now()));
            peak = peak.max(peak_rss_bytes(child.id()).unwrap_or(0));
        }
        assert!(child.wait().expect("a child can be waited for").success(), "the restore failed");
        steps.push(("end", Instant::now()));
        let seconds = |wanted: &str| {
            let took = |pair: &[(&str, Instant)]| (pair[1].1 - pair[0].1).as_secs_f64();
            steps.windows(2).filter(|pair| pair[0].0 == wanted).map(took).sum()
        };
        Round {
            fill_seconds: seconds("fill"),
            beside: Some(Beside {
                verify_seconds: seconds("verify"),
                compare_seconds: seconds("compare"),
                rest_seconds: seconds("rest"),
                peak_rss_bytes: peak,
            }),
        }
    }
}

/// What the shells read.
struct Dumps {
    folder: TempDir,
    db: String,
}

impl Dumps {
    fn made(stack: &Stack, keepers: &Keepers) -> Dumps {
        let dumps = Dumps { folder: tempfile::tempdir().expect("a temporary folder"), db: stack.db() };
        let (keeper, id) = &keepers.plain;
        let create = keeper.folder().join(id).join("postgres.create.sql.gz");
        dumps.run(&DUMPS.replace("{create}", &create.display().to_string()));
        dumps
    }

    fn filled(&self, script: &str) -> Round {
        self.run(EMPTY);
        let fill_seconds = self.run(script);
        docker(&["exec", &self.db, "rm", "-f", "/tmp/a.dump"]).ok();
        Round { fill_seconds, beside: None }
    }

    fn run(&self, script: &str) -> f64 {
        let folder: &Path = self.folder.path();
        let script = script
            .replace("{db}", &self.db)
            .replace("{here}", HERE)
            .replace("{in}", &folder.display().to_string());
        seconds(Command::new("bash").args(["-c", &script]))
    }
}

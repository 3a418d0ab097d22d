//! The look-alike stack, as a compose project of its own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::command::{Ended, docker, run};
use crate::resident::{Answer, Resident};

/// A major version of PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pg {
    /// 15, of Debian bookworm.
    V15,
    /// 17, of Debian trixie.
    V17,
}

impl Pg {
    /// Both.
    pub const ALL: [Pg; 2] = [Pg::V15, Pg::V17];

    /// The number.
    pub fn major(self) -> &'static str {
        match self {
            Pg::V15 => "15",
            Pg::V17 => "17",
        }
    }

    /// The image.
    pub fn image(self) -> String {
        format!("supakeep-test-db:{}", self.major())
    }
}

/// A running stack.
pub struct Stack {
    /// The version of its database.
    pub pg: Pg,
    /// Its compose project.
    pub project: String,
    private: bool,
    /// What the compose file is given.
    environment: Vec<(String, String)>,
    /// The compose files, by their names in `tests/stack`.
    files: &'static [&'static str],
    /// What SQL is run by, once some was.
    resident: Mutex<Option<Resident>>,
}

/// The stack as it is.
const FILES: &[&str] = &["docker-compose.yml"];
/// The same, with a small disk for the database.
const WITH_SMALL_DISK: &[&str] = &["docker-compose.yml", "small-disk.yml"];

static NEXT: AtomicU32 = AtomicU32::new(0);
/// The shared stacks that this process knows to be up.
static UP: Mutex<Vec<&str>> = Mutex::new(Vec::new());

impl Stack {
    /// The stack that tests share which only read: database only, no writers. It stays up.
    pub fn shared(pg: Pg) -> Stack {
        let mut up = UP.lock().unwrap_or_else(PoisonError::into_inner);
        let stack = Stack {
            pg,
            project: format!("supakeep-it-{}", pg.major()),
            private: false,
            environment: Vec::new(),
            files: FILES,
            resident: Mutex::default(),
        };
        if !up.contains(&pg.major()) {
            stack.compose(&["up", "-d", "--wait", "db"]).ok();
            up.push(pg.major());
        }
        stack
    }

    /// A stack of one's own: the services named, or all of them. It goes away when it is dropped.
    pub fn private(pg: Pg, services: &[&str]) -> Stack {
        Stack::private_with(pg, services, &[])
    }

    /// The same, with variables for the compose file.
    pub fn private_with(pg: Pg, services: &[&str], environment: &[(&str, &str)]) -> Stack {
        Stack::start(pg, services, environment, FILES)
    }

    /// One whose database has a disk of its own, of 800 MiB, and a container `holder` that can fill it.
    pub fn private_on_a_small_disk(pg: Pg, services: &[&str]) -> Stack {
        Stack::start(pg, services, &[], WITH_SMALL_DISK)
    }

    fn start(
        pg: Pg,
        services: &[&str],
        environment: &[(&str, &str)],
        files: &'static [&'static str],
    ) -> Stack {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let project = format!("supakeep-it-{}-{}-{number}", pg.major(), std::process::id());
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let stack = Stack { pg, project, private: true, environment, files, resident: Mutex::default() };
        stack.compose(&[&["up", "-d", "--wait"], services].concat()).ok();
        stack
    }

    /// Runs `docker compose` on this project.
    #[track_caller]
    pub fn compose(&self, arguments: &[&str]) -> Ended {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("stack");
        let mut command = Command::new("docker");
        command.arg("compose").arg("-p").arg(&self.project);
        self.files.iter().for_each(|file| {
            command.arg("-f").arg(folder.join(file));
        });
        command.args(arguments);
        command.envs(self.environment.iter().cloned());
        command.env("STACK_PG", self.pg.major()).env("COMPOSE_PROGRESS", "quiet");
        run(&mut command, b"")
    }

    /// The database's container.
    pub fn db(&self) -> String {
        format!("{}-db-1", self.project)
    }

    /// Runs a program in the database's container.
    #[track_caller]
    pub fn exec(&self, arguments: &[&str]) -> Ended {
        let db = self.db();
        docker(&[&["exec", &db], arguments].concat())
    }

    /// Runs SQL in `database`, and returns what psql prints, without headers.
    #[track_caller]
    pub fn sql_in(&self, database: &str, sql: &str) -> String {
        let mut resident = self.resident.lock().unwrap_or_else(PoisonError::into_inner);
        // The second time with a new shell: the container may have been started again since the last question.
        for _ in 0..2 {
            match resident.get_or_insert_with(|| Resident::start(&self.db())).ask(database, sql) {
                Answer::Printed(text) => return text.trim_end().to_owned(),
                Answer::Failed(text) => panic!("{sql}\nfailed in {database}:\n{text}"),
                Answer::NotHeard => *resident = None,
            }
        }
        panic!("{} takes no SQL", self.db());
    }

    /// Runs SQL in the database `postgres`.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("postgres", sql)
    }

    /// How many sessions of supakeep the server has.
    pub fn supakeep_sessions(&self) -> u32 {
        self.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'supakeep-%'")
            .parse()
            .expect("a count")
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        *self.resident.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        if self.private && !self.compose(&["down", "-v", "-t", "2"]).status.success() {
            // Paused containers cannot be stopped.
            let _ = self.compose(&["unpause"]);
            let _ = self.compose(&["down", "-v", "-t", "2"]);
        }
    }
}

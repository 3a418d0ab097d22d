//! What the engine knows, and how it answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use supakeep_testkit::{ArchiveCodec, Database, GLOBALS};

use super::CONTAINER;
use super::program::{Act, Called, Exec, exits};
use crate::discover::{PROJECT_LABEL, WORKING_DIR_LABEL};

/// An answer to a request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// A status and a body.
    Json(u16, String),
    /// These bytes, whatever they are, and the connection is closed.
    Bytes(Vec<u8>),
    /// None, ever.
    Hang,
    /// The stream of an exec.
    Exec(Exec),
}

impl Answer {
    pub(crate) fn of(body: &Value) -> Answer {
        Answer::Json(200, body.to_string())
    }

    pub(crate) fn error(status: u16, message: &str) -> Answer {
        Answer::Json(status, json!({ "message": message }).to_string())
    }
}

type Program = Arc<dyn Fn(&Called) -> Option<Vec<Act>> + Send + Sync>;

#[derive(Default)]
struct State {
    /// Instead of what the engine would answer, to requests that begin so; the newest first.
    answers: Vec<(String, Answer)>,
    programs: Vec<Program>,
    requests: Vec<String>,
    execs: Vec<Exec>,
}

/// The engine behind the socket.
pub(crate) struct Engine {
    databases: Vec<Database>,
    state: Mutex<State>,
}

impl Engine {
    pub(super) fn new(databases: Vec<Database>) -> Engine {
        Engine { databases, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers requests that begin with `request` so from now on.
    pub(crate) fn on(&self, request: &str, answer: Answer) {
        self.state().answers.insert(0, (request.to_owned(), answer));
    }

    /// Nothing is answered in a special way any more.
    pub(crate) fn heal(&self) {
        let mut state = self.state();
        state.answers.clear();
        state.programs.clear();
    }

    /// Programs for which `program` gives something do that from now on.
    pub(crate) fn run(&self, program: impl Fn(&Called) -> Option<Vec<Act>> + Send + Sync + 'static) {
        self.state().programs.insert(0, Arc::new(program));
    }

    /// A program called `name` does this from now on.
    pub(crate) fn program(&self, name: &'static str, acts: Vec<Act>) {
        self.run(move |called| (called.program() == name).then(|| acts.clone()));
    }

    /// Changes what the engine tells about the database's container.
    pub(crate) fn container(&self, change: impl FnOnce(&mut Value)) {
        let mut container = container();
        change(&mut container);
        self.on(&format!("GET /containers/{CONTAINER}/json"), Answer::of(&container));
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// Every program that was run so far.
    pub(crate) fn called(&self) -> Vec<Called> {
        self.state().execs.iter().map(|exec| exec.called.clone()).collect()
    }

    /// What the programs read from standard input, in the order in which they were created.
    pub(crate) fn inputs(&self) -> Vec<String> {
        let input = |exec: &Exec| {
            let input = exec.input.lock().unwrap_or_else(PoisonError::into_inner);
            String::from_utf8_lossy(&input).into_owned()
        };
        self.state().execs.iter().map(input).collect()
    }

    pub(super) fn answer(&self, request: &str, body: &[u8]) -> Answer {
        let mut state = self.state();
        state.requests.push(request.to_owned());
        let special = state.answers.iter().find(|(begin, _)| request.starts_with(begin));
        if let Some((_, answer)) = special {
            return answer.clone();
        }
        let (method, path) = request.split_once(' ').unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let steps: Vec<_> = path.trim_start_matches('/').split('/').collect();
        match (method, steps.as_slice()) {
            ("GET", ["version"]) => Answer::of(&json!({ "Version": "28.5.1" })),
            ("GET", ["containers", "json"]) => Answer::of(&json!([listed("supabase", "db", CONTAINER)])),
            ("GET", ["containers", CONTAINER, "json"]) => Answer::of(&container()),
            ("POST", ["containers", CONTAINER, "exec"]) => self.create_exec(&mut state, body),
            ("POST", ["exec", id, "start"]) => Answer::Exec(find(&state, id)),
            ("GET", ["exec", id, "json"]) => {
                let exec = find(&state, id);
                let code = *exec.exit_code.lock().unwrap_or_else(PoisonError::into_inner);
                Answer::of(&json!({ "ID": id, "Running": code.is_none(), "ExitCode": code }))
            }
            _ => Answer::error(404, &format!("no such thing: {request}")),
        }
    }

    fn create_exec(&self, state: &mut State, body: &[u8]) -> Answer {
        let config: Value = serde_json::from_slice(body).expect("the client writes JSON");
        let called = called(&config);
        let acts = state.programs.iter().find_map(|program| program(&called));
        let acts = acts.unwrap_or_else(|| usual(&called, &self.databases));
        state.execs.push(Exec { called, acts, exit_code: Arc::default(), input: Arc::default() });
        Answer::Json(201, json!({ "Id": format!("exec-{}", state.execs.len() - 1) }).to_string())
    }
}

fn find(state: &State, id: &str) -> Exec {
    let number: usize =
        id.strip_prefix("exec-").and_then(|number| number.parse().ok()).expect("an exec's id");
    state.execs[number].clone()
}

/// A container as a list shows it.
pub(crate) fn listed(project: &str, service: &str, id: &str) -> Value {
    json!({
        "Id": id,
        "Names": [format!("/{project}-{service}")],
        "Image": "supabase/postgres:15.8.1.060",
        "State": "running",
        "Labels": { PROJECT_LABEL: project, "com.docker.compose.service": service },
    })
}

fn container() -> Value {
    json!({
        "Id": CONTAINER,
        "Name": "/supabase-db",
        "Image": "sha256:0123",
        "State": { "Status": "running", "Running": true, "Paused": false, "Restarting": false,
            "Health": { "Status": "healthy" } },
        "Config": {
            "Image": "supabase/postgres:15.8.1.060",
            "Labels": { PROJECT_LABEL: "supabase", WORKING_DIR_LABEL: "/opt/supabase/docker" },
        },
    })
}

/// Takes the script around the program off.
fn called(config: &Value) -> Called {
    let list = |key: &str| {
        let list = config[key].as_array().cloned().unwrap_or_default();
        list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let command = list("Cmd");
    let script = command.get(2).cloned().unwrap_or_default();
    let has_nonce = script.contains("nonce=$1");
    Called {
        nonce: if has_nonce { command[4].clone() } else { String::new() },
        arguments: command[if has_nonce { 5 } else { 4 }..].to_vec(),
        environment: list("Env"),
        user: config["User"].as_str().map(str::to_owned),
        with_password: script.contains("read -r PGPASSWORD"),
    }
}

/// What PostgreSQL's programs do on a good day.
fn usual(called: &Called, databases: &[Database]) -> Vec<Act> {
    match called.program() {
        "psql" if called.nonce.is_empty() => vec![Act::Session(snapshot), Act::Exit(0)],
        "psql" if called.has("pg_terminate_backend") => exits("0\n", 0),
        "psql" => exits(format!("{}\n", server(databases)), 0),
        tool @ ("pg_dump" | "pg_dumpall") if called.has("--version") => {
            exits(format!("{tool} (PostgreSQL) 15.8\n"), 0)
        }
        "pg_dumpall" => exits(GLOBALS, 0),
        "pg_dump" => {
            let wanted = databases.iter().find(|database| called.has(&format!("dbname='{}'", database.name)));
            let database = wanted.expect("a database of this server");
            match () {
                () if called.has("--create") => exits(database.create_statements(), 0),
                () if called.has("--format=custom") => exits(database.archive(ArchiveCodec::None), 0),
                () => exits(database.plain(), 0),
            }
        }
        "sh" => exits("0123456789abcdef".repeat(4), 0),
        other => panic!("{other} is run, and nobody has said what it does"),
    }
}

fn server(databases: &[Database]) -> Value {
    let names: Vec<_> = databases.iter().map(|database| &database.name).collect();
    json!({
        "version": "15.8 (Debian 15.8-0+deb12u1)",
        "version_num": 150_008,
        "is_superuser": true,
        "configure": "'--with-zstd'",
        "system_identifier": "7400000000000000001",
        "databases": names,
        "settings": [{ "name": "wal_level", "value": "logical" }],
    })
}

fn snapshot(statements: &str) -> Option<String> {
    if statements.contains("FROM vault.secrets") {
        return Some("2\n".to_owned());
    }
    statements.contains("pg_export_snapshot").then(|| {
        let answer = json!({
            "snapshot": "00000003-0000001B-1",
            "at": "2026-01-10T01:50:00Z",
            "owner": "postgres",
            "encoding": "UTF8",
            "collate": "C.UTF-8",
            "ctype": "C.UTF-8",
            "size_bytes": 8_000_000,
            "extensions": [],
            "partitions": [["public", "m_1", "public.m"]],
            "has_vault": true, "has_objects": false,
        });
        format!("{answer}\n")
    })
}

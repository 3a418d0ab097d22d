//! From an engine to a backup, on good days and on bad ones.

use std::sync::Arc;

use serde_json::json;
use supakeep_flow::backup::{Ports, backup};
use supakeep_flow::ports::Repository as _;
use supakeep_testkit::{MemoryRepository, Recorder, START, ScriptedPorters, TestClock, profile, recipe};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::check::check;
use crate::fake::{Act, Answer, CONTAINER, Engine, FakeDocker, exits, hurry, listed, spec};

async fn refused(fake: &FakeDocker) -> StackError {
    fake.stack().connect("run").await.map(drop).expect_err("it does not answer")
}

#[tokio::test]
async fn finds_the_server_and_what_it_is() {
    let fake = FakeDocker::start();
    let server = fake.stack().connect("run").await.expect("it answers");
    let facts = server.facts();
    assert_eq!(facts.databases, ["postgres", "_supabase"]);
    assert_eq!((facts.record.server_version.as_str(), facts.record.server_version_num), ("15.8", 150_008));
    assert_eq!((facts.record.project.as_str(), facts.record.container.as_str()), ("supabase", "supabase-db"));
    assert_eq!(facts.record.working_dir.as_deref(), Some("/opt/supabase/docker"));
    assert!(facts.is_superuser && !facts.dumps_zstd, "15 has no zstd, whatever it was built with");
    let called = &fake.engine.called()[0];
    assert_eq!(&called.arguments[..6], ["psql", "-h", "127.0.0.1", "-U", "supabase_admin", "-w"]);
    assert!(called.environment.contains(&"PGAPPNAME=supakeep-cafe-run".to_owned()));
}

#[tokio::test]
async fn our_own_queries_see_no_schema_but_postgresql_s() {
    let fake = FakeDocker::start();
    let server = fake.stack().connect("run").await.expect("it answers");
    drop(server.snapshot("postgres").await);
    drop(server.globals().await);
    let options = |program: &str| {
        let called = fake.engine.called();
        let of_program = called.iter().filter(|call| call.arguments[0] == program);
        let set = of_program.map(|call| {
            let options = call.environment.iter().filter(|text| text.starts_with("PGOPTIONS="));
            options.cloned().collect::<Vec<_>>()
        });
        set.collect::<Vec<_>>()
    };
    assert_eq!(options("psql"), vec![["PGOPTIONS=-c search_path=pg_catalog"]; 2]);
    assert_eq!(options("pg_dumpall"), [["PGOPTIONS="]], "dumps set their own");
}

/// Changes what the engine tells.
type Change = fn(&Engine);

#[tokio::test]
async fn a_container_that_is_not_ready_says_how() {
    let cases: [(&str, Change, Code); 8] = [
        ("is paused", |e| e.container(|c| c["State"]["Paused"] = json!(true)), Code::DatabasePaused),
        (
            "is restarting",
            |e| {
                e.container(|c| {
                    c["State"] = json!({ "Status": "restarting", "Running": true, "Restarting": true })
                })
            },
            Code::DatabaseNotRunning,
        ),
        (
            "is exited",
            |e| e.container(|c| c["State"] = json!({ "Status": "exited", "Running": false })),
            Code::DatabaseNotRunning,
        ),
        (
            "is created",
            |e| e.container(|c| c["State"] = json!({ "Status": "created", "Running": false })),
            Code::DatabaseNotRunning,
        ),
        (
            "is unhealthy",
            |e| e.container(|c| c["State"]["Health"]["Status"] = json!("unhealthy")),
            Code::DatabaseUnhealthy,
        ),
        (
            "is still starting",
            |e| e.container(|c| c["State"]["Health"]["Status"] = json!("starting")),
            Code::DatabaseUnhealthy,
        ),
        ("is not running", |e| e.container(|c| c["State"] = json!({})), Code::DatabaseNotRunning),
        (
            "starting up",
            |e| {
                let mut acts = vec![Act::Err(b"FATAL:  the database system is starting up\n".to_vec())];
                acts.extend(exits("", 2));
                e.program("psql", acts);
            },
            Code::DatabaseRefused,
        ),
    ];
    for (words, change, code) in cases {
        let fake = FakeDocker::start();
        change(&fake.engine);
        let error = refused(&fake).await;
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(words), "{error}");
    }
    // Where there is no health check, running is enough.
    let fake = FakeDocker::start();
    fake.engine.container(|container| container["State"]["Health"] = json!(null));
    fake.stack().connect("run").await.map(drop).expect("it answers");
}

#[tokio::test]
async fn no_stack_and_two_stacks() {
    let fake = FakeDocker::start();
    fake.engine.on("GET /containers/json", Answer::of(&json!([listed("shop", "web", "x")])));
    let error = refused(&fake).await;
    assert_eq!(error.code, Code::StackNotFound);
    assert!(error.message.contains("shop"), "{error}");
    fake.engine.on("GET /containers/json", Answer::of(&json!([])));
    assert_eq!(refused(&fake).await.code, Code::StackNotFound);
    let two = json!([listed("supabase", "db", "one"), listed("supabase", "db", "two")]);
    fake.engine.on("GET /containers/json", Answer::of(&two));
    assert_eq!(refused(&fake).await.code, Code::StackAmbiguous);
    // It went away between the list and the look at it.
    fake.engine.on("GET /containers/json", Answer::of(&json!([listed("supabase", "db", "gone")])));
    assert_eq!(refused(&fake).await.code, Code::StackNotFound);
}

#[tokio::test]
async fn an_engine_that_answers_garbage() {
    for body in ["", "nonsense", "{\"Id\": 1}", "[{\"Id\": 1}]", "[{\"State\": [}]"] {
        let fake = FakeDocker::start();
        fake.engine.on("GET /containers/json", Answer::Json(200, body.into()));
        assert_eq!(refused(&fake).await.code, Code::DockerRefused, "{body}");
    }
    for (status, code) in
        [(403, Code::DockerRefused), (500, Code::DockerRefused), (503, Code::DockerUnreachable)]
    {
        let fake = FakeDocker::start();
        fake.engine.on("GET /containers/json", Answer::error(status, "no"));
        assert_eq!(refused(&fake).await.code, code, "{status}");
    }
}

#[tokio::test]
async fn a_server_that_answers_garbage() {
    for answer in ["", "42\n", "{}\n", "psql: warning\n{}"] {
        let fake = FakeDocker::start();
        fake.engine.program("psql", exits(answer, 0));
        assert_eq!(refused(&fake).await.code, Code::DatabaseRefused, "{answer:?}");
    }
}

#[tokio::test]
async fn waits_for_a_database_that_is_coming_up() {
    let fake = FakeDocker::start();
    fake.engine.container(|container| container["State"]["Health"]["Status"] = json!("starting"));
    let patient = StackSpec { wait: Duration::from_secs(60), ..spec() };
    let stack = DockerStack::new(fake.docker(), patient, "cafe");
    let engine = Arc::clone(&fake.engine);
    let up = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(20)).await;
        engine.heal();
    });
    hurry(async {
        let began = Instant::now();
        stack.connect("run").await.map(drop).expect("it comes up");
        assert!(began.elapsed() >= Duration::from_secs(20), "{:?}", began.elapsed());
    })
    .await;
    up.await.expect("no panic");
    let looks =
        fake.engine.requests().iter().filter(|request| request.starts_with("GET /containers/json")).count();
    assert!((3..12).contains(&looks), "{looks} looks in 20 seconds: the pauses do not grow");
}

#[tokio::test]
async fn does_not_wait_for_what_does_not_pass_by_itself() {
    let fake = FakeDocker::start();
    fake.engine.container(|container| container["State"]["Paused"] = json!(true));
    let patient = StackSpec { wait: Duration::from_secs(600), ..spec() };
    let stack = DockerStack::new(fake.docker(), patient.clone(), "cafe");
    let error = tokio::time::timeout(Duration::from_secs(10), stack.connect("run")).await.expect("at once");
    assert_eq!(error.map(drop).expect_err("paused").code, Code::DatabasePaused);
    fake.engine.heal();
    fake.engine.container(|container| container["State"] = json!({ "Status": "exited", "Running": false }));
    let waited = hurry(async {
        let began = Instant::now();
        let error = stack.connect("run").await.map(drop).expect_err("it never starts");
        (error.code, began.elapsed())
    })
    .await;
    assert_eq!(waited.0, Code::DatabaseNotRunning);
    assert!(waited.1 <= Duration::from_secs(630) && waited.1 > Duration::from_secs(580), "{waited:?}");
}

#[tokio::test]
async fn names_on_the_server_fit() {
    let fake = FakeDocker::start();
    fake.stack().connect(&"r".repeat(100)).await.map(drop).expect("it answers");
    let environment = &fake.engine.called()[0].environment;
    let name = environment.iter().find_map(|text| text.strip_prefix("PGAPPNAME=")).expect("it is set");
    assert_eq!(name.len(), MAX_APPLICATION_NAME);
}

/// A backup through everything but a real engine and a real server.
async fn back_up(fake: &FakeDocker) -> (supakeep_model::manifest_head::ManifestHead, MemoryRepository) {
    let repository = MemoryRepository::default();
    let ports = Ports {
        stack: Arc::new(fake.stack()),
        porters: Arc::new(ScriptedPorters::default()),
        containers: Arc::new(supakeep_testkit::ScriptedContainers::default()),
        repository: Arc::new(repository.clone()),
        clock: Arc::new(TestClock::at(START)),
        observer: Arc::new(Recorder::default()),
    };
    let trigger = supakeep_model::manifest_head::Trigger::Manual;
    let spec = recipe().asked_for(&profile("daily", "0 2 * * *"), trigger);
    let lock = repository.lock().expect("nobody has it");
    let head = backup(&spec, &ports, &*lock, &CancellationToken::new()).await.expect("it can begin");
    (head, repository)
}

#[tokio::test]
async fn a_whole_backup() {
    let fake = FakeDocker::start();
    let (head, repository) = back_up(&fake).await;
    assert!(head.is_good(), "{:?}", head.error);
    assert_eq!((head.totals.databases, head.totals.rows), (2, 30));
    let files = repository.files(head.id.as_str());
    assert_eq!(files["pgsodium_root.key"], b"0123456789abcdef".repeat(4));
    let programs: Vec<_> = fake.engine.called().iter().map(|called| called.program().to_owned()).collect();
    let database = ["psql", "pg_dump", "pg_dump"];
    assert_eq!(programs, [&["psql", "psql", "pg_dumpall"][..], &database, &database, &["sh"]].concat());
    let dumps = fake.engine.called();
    for dump in dumps.iter().filter(|called| called.program() == "pg_dump") {
        assert!(dump.has("--snapshot=00000003-0000001B-1"), "{dump:?}");
    }
    let sessions = fake.engine.inputs();
    assert_eq!(sessions.iter().filter(|input| input.contains("ISOLATION LEVEL REPEATABLE READ")).count(), 2);
}

#[tokio::test]
async fn a_dump_that_is_cut_ends_the_session_of_its_snapshot_and_the_runs_on_the_server() {
    let fake = FakeDocker::start();
    fake.engine.run(|called| {
        let content = called.program() == "pg_dump" && called.has("--format=plain");
        content.then(|| vec![Act::Out(b"--\n-- PostgreSQL database dump\n--\n".to_vec())])
    });
    let (head, repository) = back_up(&fake).await;
    assert_eq!(head.error.expect("why").code, Code::StreamTruncated);
    assert_eq!(repository.ids(), Vec::<String>::new());
    let last = fake.engine.called().pop().expect("something was run");
    assert!(last.has("pg_terminate_backend") && last.has("supakeep-cafe-"), "{last:?}");
}

#[tokio::test]
async fn a_root_key_is_read_as_its_owner_where_it_must_be() {
    let denied = || {
        let mut acts = vec![Act::Err(b"cat: pgsodium_root.key: Permission denied\n".to_vec())];
        acts.extend(exits("", 1));
        acts
    };
    let fake = FakeDocker::start();
    fake.engine.run(move |called| (called.program() == "sh" && called.user.is_none()).then(denied));
    let server = fake.stack().connect("run").await.expect("it answers");
    let key = server.root_key().await.expect("its owner may read it").expect("it is there");
    assert_eq!(key.expose().len(), 64);
    assert_eq!(fake.engine.called().pop().expect("it was run").user.as_deref(), Some("postgres"));

    let fake = FakeDocker::start();
    fake.engine.program("sh", denied());
    let server = fake.stack().connect("run").await.expect("it answers");
    assert_eq!(server.root_key().await.expect_err("nobody may").code, Code::RootKeyUnreadable);

    for (acts, code) in [
        (exits("", 0), Some(Code::RootKeyUnreadable)),
        (exits("x".repeat(5_000), 0), Some(Code::RootKeyUnreadable)),
        (exits("", 66), None),
    ] {
        let fake = FakeDocker::start();
        fake.engine.program("sh", acts);
        let server = fake.stack().connect("run").await.expect("it answers");
        match (server.root_key().await, code) {
            (Ok(None), None) => {}
            (Err(error), Some(code)) => assert_eq!(error.code, code),
            (other, code) => panic!("{other:?} and not {code:?}"),
        }
    }
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_had_says_why() {
    for (acts, code) in [
        (
            vec![Act::Err(b"FATAL:  sorry, too many clients already\n".to_vec()), Act::Exit(2)],
            Code::DatabaseRefused,
        ),
        (vec![Act::Out(b"not JSON\n".to_vec()), Act::AwaitEnd], Code::DatabaseRefused),
        (vec![Act::Raw(b"garbage".to_vec())], Code::StreamCorrupt),
        (vec![Act::Hang], Code::DumpStalled),
    ] {
        let fake = FakeDocker::start();
        let server = fake.stack().connect("run").await.expect("it answers");
        fake.engine.program("psql", acts);
        let error = hurry(server.snapshot("postgres")).await.map(drop).expect_err("no snapshot");
        assert_eq!(error.code, code, "{error}");
    }
}

#[tokio::test]
async fn a_session_that_does_not_end_is_not_waited_for_for_ever() {
    let fake = FakeDocker::start();
    let server = fake.stack().connect("run").await.expect("it answers");
    let mut acts = vec![];
    let answer = json!({ "snapshot": "1", "at": "2026-01-10T01:50:00Z", "owner": "postgres", "encoding": "UTF8",
        "collate": "C", "ctype": "C", "size_bytes": 1, "extensions": [], "partitions": [], "has_vault": false, "has_objects": false, "has_objects": false });
    acts.extend([Act::Out(format!("{answer}\n").into_bytes()), Act::Hang]);
    fake.engine.program("psql", acts);
    let snapshot = server.snapshot("postgres").await.expect("it answers");
    assert_eq!(hurry(snapshot.close()).await.expect_err("it hangs").code, Code::DumpStalled);
}

#[tokio::test]
async fn check_says_how_far_it_gets() {
    let subjects = |findings: &[crate::check::Finding]| {
        let shown = findings.iter().map(|finding| {
            let code = finding.result.as_ref().err().map(|error| error.code);
            (finding.subject, code)
        });
        shown.collect::<Vec<_>>()
    };
    let fake = FakeDocker::start();
    let found = check(&fake.docker(), &spec()).await.findings;
    let name = "PGAPPNAME=supakeep-look-check".to_owned();
    let called = fake.engine.called();
    let named = called.iter().all(|call| call.environment.contains(&name));
    assert!(named, "a run that begins meanwhile would end it: {called:?}");
    let names = ["docker", "stack", "database", "privileges", "tools", "root key"];
    assert_eq!(subjects(&found), names.map(|name| (name, None)));

    fake.engine.program("pg_dumpall", exits("", 127));
    let found = check(&fake.docker(), &spec()).await.findings;
    assert!(subjects(&found).contains(&("tools", Some(Code::DumpToolMissing))), "{found:?}");

    fake.engine.on("GET /containers/json", Answer::error(403, "forbidden"));
    let found = check(&fake.docker(), &spec()).await.findings;
    assert_eq!(subjects(&found), [("docker", None), ("stack", Some(Code::DockerRefused))]);

    let found = check(&FakeDocker::stopped().docker(), &spec()).await.findings;
    assert_eq!(subjects(&found), [("docker", Some(Code::DockerUnreachable))]);

    let fake = FakeDocker::start();
    let patient = StackSpec { wait: Duration::from_secs(3_600), ..spec() };
    fake.engine.container(|container| container["State"]["Health"]["Status"] = json!("starting"));
    let found = tokio::time::timeout(Duration::from_secs(10), check(&fake.docker(), &patient)).await;
    assert_eq!(found.expect("it does not wait").findings.len(), 2);
    assert_eq!(fake.engine.requests().iter().filter(|request| request.contains(CONTAINER)).count(), 1);
}

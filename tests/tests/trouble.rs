//! Bad days: each ends with a code that says what happened, and loses nothing.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use supakeep_tests::{Keeper, Pg, Stack, docker, run, wait_for};

/// Asserts that a backup fails so, leaves nothing half-made, and that the record of it is kept.
#[track_caller]
fn fails(keeper: &Keeper, codes: &[&str]) -> String {
    let before = keeper.ids();
    let (exit, code) = keeper.refused(&["backup", "--profile", "daily"]);
    assert!(codes.contains(&code.as_str()), "{code} is none of {codes:?}");
    assert_eq!(exit, 1);
    assert_eq!(keeper.ids(), before, "backups came or went");
    assert_eq!(keeper.incoming(), Vec::<String>::new());
    let listed = keeper.run(&["--json", "list"]).ok().json();
    assert_eq!(
        (&listed[0]["outcome"], &listed[0]["error_code"]),
        (&"failed".into(), &code.clone().into()),
        "{listed}"
    );
    code
}

fn mount(arguments: &[&str]) {
    run(Command::new("mount").args(arguments), b"").ok();
}

/// A mount that goes away with the value.
struct Mounted(String);

impl Mounted {
    fn tmpfs(path: &Path, size: &str) -> Mounted {
        let path = path.display().to_string();
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", &path]);
        Mounted(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn without_docker_backups_fail_and_the_rest_works() {
    let stack = Stack::shared(Pg::V17);
    let mut keeper = Keeper::new(&stack).with("SUPAKEEP_STACK__WAIT", "1s");
    let good = keeper.backup(&["kept"]);
    keeper.set("DOCKER_HOST", "unix:///nowhere/docker.sock");
    fails(&keeper, &["docker-unreachable"]);
    assert_eq!(keeper.ids(), [good.as_str()]);
    keeper.run(&["verify", &good]).ok();
    let checked = keeper.run(&["check"]);
    assert_eq!(checked.code(), 1);
    assert!(checked.text().contains("FAIL docker"), "{}", checked.text());
    keeper.set("DOCKER_HOST", "ftp://x");
    assert_eq!(keeper.refused(&["backup"]).1, "docker-unreachable");
}

#[test]
fn without_permission_on_the_socket_it_says_whom_to_ask() {
    let stack = Stack::shared(Pg::V17);
    let keeper = Keeper::new(&stack).with("SUPAKEEP_STACK__WAIT", "1s");
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(keeper.repository(), open).expect("our own folder");
    // A copy that anybody may run, wherever the work tree is.
    let copy = keeper.repository().join("supakeep");
    fs::copy(keeper.command(&[]).get_program(), &copy).expect("room for the binary");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65532", "--regid=65532", "--clear-groups"]).arg(&copy).args(["--json", "backup"]);
    let own = keeper.command(&[]);
    for (name, value) in own.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let ended = run(&mut command, b"");
    assert_eq!(ended.json()["error"]["code"], "docker-permission", "{}", ended.stderr);
    assert!(ended.stderr.contains("group_add"), "{}", ended.stderr);
}

#[test]
fn a_stack_that_is_not_there_or_there_twice_is_named() {
    let keeper = Keeper::for_project("no-such-project").with("SUPAKEEP_STACK__WAIT", "1s");
    fails(&keeper, &["stack-not-found"]);
    let project = format!("supakeep-it-twice-{}", std::process::id());
    let labels =
        [format!("com.docker.compose.project={project}"), "com.docker.compose.service=db".to_owned()];
    let names = [format!("{project}-a"), format!("{project}-b")];
    for name in &names {
        let label = ["--label", &labels[0], "--label", &labels[1], "--label", "supakeep.test=it"];
        let image = Pg::V17.image();
        docker(&[&["run", "-d", "--name", name], label.as_slice(), &[&image, "sleep", "60"]].concat()).ok();
    }
    let keeper = Keeper::for_project(&project).with("SUPAKEEP_STACK__WAIT", "1s");
    fails(&keeper, &["stack-ambiguous"]);
    for name in &names {
        docker(&["rm", "-f", "-v", name]).ok();
    }
}

#[test]
fn a_database_that_is_stopped_paused_or_coming_up() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let mut keeper = Keeper::new(&stack).with("SUPAKEEP_STACK__WAIT", "2s");
    let good = keeper.backup(&["kept"]);
    stack.compose(&["pause", "db"]).ok();
    fails(&keeper, &["database-paused"]);
    stack.compose(&["unpause", "db"]).ok();
    stack.compose(&["stop", "db"]).ok();
    fails(&keeper, &["database-not-running"]);
    keeper.set("SUPAKEEP_STACK__WAIT", "30s");
    let mut waiting = keeper.spawn(&["backup"]);
    std::thread::sleep(Duration::from_secs(1));
    stack.compose(&["start", "db"]).ok();
    assert!(
        waiting.wait().expect("a child can be waited for").success(),
        "it waits for a server that comes up"
    );
    stack.compose(&["restart", "-t", "2", "db"]).ok();
    keeper.backup(&[]);
    assert!(keeper.ids().contains(&good));
}

/// Replaces pg_dump in the database's container by a script, which finds the real one as `pg_dump.real`. It
/// tells its version as the real one does: pg_dumpall takes no other.
fn replace_pg_dump(stack: &Stack, script: &str) {
    let bin = format!("/usr/lib/postgresql/{}/bin", stack.pg.major());
    let install = format!(
        "cd {bin} && {{ [ -e pg_dump.real ] || mv pg_dump pg_dump.real; }} && rm -f pg_dump /usr/bin/pg_dump && {}",
        if script.is_empty() {
            "true".to_owned()
        } else {
            let version = "#!/bin/sh\n[ \"$1\" = -V ] && exec pg_dump.real -V\n";
            format!("printf '%s' '{version}{script}' > pg_dump && chmod 755 pg_dump")
        }
    );
    stack.exec(&["sh", "-c", &install]).ok();
}

#[test]
fn a_dump_program_that_is_missing_fails_hangs_or_dies() {
    let stack = Stack::private(Pg::V15, &["db"]);
    let mut keeper = Keeper::new(&stack);
    let good = keeper.backup(&["kept"]);
    replace_pg_dump(&stack, "");
    fails(&keeper, &["dump-tool-missing"]);
    replace_pg_dump(&stack, "echo \"pg_dump: error: boom\" >&2\nexit 1\n");
    fails(&keeper, &["dump-failed"]);
    let said =
        keeper.run(&["info", keeper.run(&["--json", "list"]).json()[0]["id"].as_str().expect("an id")]);
    assert!(said.text().contains("boom"), "{}", said.text());
    // 100 MB of what looks like a dump, and then the end.
    replace_pg_dump(
        &stack,
        "case \"$*\" in *--create*) exec pg_dump.real \"$@\";; esac\nprintf -- \"-- PostgreSQL database dump\\nCOPY a.b (c) FROM stdin;\\n\"\nyes 0123456789 | head -c 100000000\necho \"pg_dump: error: server closed the connection unexpectedly\" >&2\nexit 1\n",
    );
    fails(&keeper, &["database-lost"]);
    // The same, but it claims that all went well.
    replace_pg_dump(
        &stack,
        "case \"$*\" in *--create*) exec pg_dump.real \"$@\";; esac\nprintf -- \"-- PostgreSQL database dump\\nCOPY a.b (c) FROM stdin;\\n\"\nyes 0123456789 | head -c 1000000\n",
    );
    fails(&keeper, &["dump-incomplete"]);
    replace_pg_dump(&stack, "kill -KILL $$\n");
    fails(&keeper, &["dump-failed"]);
    keeper.set("SUPAKEEP_DUMP__STALL_TIMEOUT", "2s");
    replace_pg_dump(&stack, "exec sleep 60\n");
    fails(&keeper, &["dump-stalled"]);
    keeper.set("SUPAKEEP_PROFILES__DAILY__DEADLINE", "1s");
    fails(&keeper, &["deadline-exceeded"]);
    assert_eq!(keeper.ids(), [good]);
}

#[test]
fn a_locked_table_does_not_hang_the_dump_for_ever() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let keeper = Keeper::new(&stack).with("SUPAKEEP_DUMP__LOCK_WAIT", "1s");
    let lock = "BEGIN; LOCK TABLE public.wide IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60);";
    let db = stack.db();
    let psql = ["exec", &db, "psql", "-h", "127.0.0.1", "-U", "supabase_admin", "-c", lock];
    let mut holder = Command::new("docker").args(psql).spawn().expect("docker runs");
    let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'public.wide'::regclass";
    wait_for("the lock is held", Duration::from_secs(10), || stack.sql(held) == "1");
    fails(&keeper, &["dump-failed"]);
    let listed = keeper.run(&["--json", "list"]).ok().json();
    let info = keeper.run(&["info", listed[0]["id"].as_str().expect("an id")]).text();
    assert!(info.contains("canceling statement due to"), "{info}");
    let _ = holder.kill();
    let _ = holder.wait();
}

#[test]
fn a_database_that_is_killed_in_mid_dump() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let keeper = Keeper::new(&stack);
    let good = keeper.backup(&["kept"]);
    // Slow enough to be caught in the middle.
    replace_pg_dump(
        &stack,
        "#!/bin/sh\ncase \"$*\" in *--create*) exec pg_dump.real \"$@\";; esac\npg_dump.real \"$@\" | while IFS= read -r l; do echo \"$l\"; sleep 0.01; done\n",
    );
    let mut child = keeper.spawn(&["backup", "--profile", "daily"]);
    wait_for("the dump runs", Duration::from_secs(20), || stack.supakeep_sessions() >= 2);
    std::thread::sleep(Duration::from_millis(500));
    docker(&["kill", &stack.db()]).ok();
    assert_eq!(child.wait().expect("a child can be waited for").code(), Some(1));
    let listed = keeper.run(&["--json", "list"]).ok().json();
    let code = listed[0]["error_code"].as_str().expect("a code").to_owned();
    assert!(["stream-truncated", "database-lost", "stream-corrupt"].contains(&code.as_str()), "{code}");
    assert_eq!((keeper.ids(), keeper.incoming().len()), (vec![good], 0));
}

#[test]
fn a_database_whose_disk_is_full() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let keeper = Keeper::new(&stack);
    let data = "/var/lib/postgresql/data";
    // The container's own file system is the engine's disk; a small one of its own is filled instead.
    let pid = docker(&["inspect", "-f", "{{.State.Pid}}", &stack.db()]).ok().text().trim().to_owned();
    let inside = |script: &str| {
        run(Command::new("nsenter").args(["-t", &pid, "-m", "-p", "sh", "-c", script]), b"").ok();
    };
    inside(&format!(
        "mount -t tmpfs -o size=64k,mode=0700,uid=101,gid=101 tmpfs {data}/pg_snapshots && dd if=/dev/zero of={data}/pg_snapshots/x bs=64k count=1 status=none; chown 101:101 {data}/pg_snapshots"
    ));
    fails(&keeper, &["database-disk-full"]);
    inside(&format!("umount {data}/pg_snapshots"));
    keeper.backup(&[]);
}

#[test]
fn a_repository_that_is_missing_or_no_folder() {
    let stack = Stack::shared(Pg::V17);
    let mut keeper = Keeper::new(&stack);
    keeper.set("SUPAKEEP_REPOSITORY__PATH", "/nowhere/backups");
    assert_eq!(keeper.refused(&["backup"]), (1, "repository-missing".into()));
    let file = keeper.repository().join("file");
    fs::write(&file, "x").expect("room for a file");
    keeper.set("SUPAKEEP_REPOSITORY__PATH", &file.display().to_string());
    assert_eq!(keeper.refused(&["backup"]), (1, "repository-missing".into()));
}

#[test]
fn a_repository_that_is_read_only() {
    let stack = Stack::shared(Pg::V17);
    let keeper = Keeper::new(&stack);
    let good = keeper.backup(&[]);
    let path = keeper.repository().display().to_string();
    mount(&["--bind", &path, &path]);
    let _mounted = Mounted(path.clone());
    mount(&["-o", "remount,bind,ro", &path]);
    assert_eq!(keeper.refused(&["backup"]), (1, "repository-read-only".into()));
    assert_eq!(keeper.ids(), [good.as_str()]);
}

#[test]
fn a_repository_that_is_full_at_any_byte() {
    let stack = Stack::shared(Pg::V15);
    let keeper = Keeper::new(&stack).with("SUPAKEEP_REPOSITORY__MIN_FREE", "0");
    let path = keeper.repository().to_owned();
    let _mounted = Mounted::tmpfs(&path, "12m");
    let good = keeper.backup(&["kept"]);
    let taken = keeper.manifest(&good).head.totals.stored_bytes;
    let filler = path.join("filler");
    // A block is 4 KiB; from no room at all to nearly enough, in steps that hit every file.
    let mut refused = 0;
    for room in (0..taken + 60_000).step_by(61_440) {
        let _ = fs::remove_file(&filler);
        let free = run(Command::new("stat").args(["-f", "-c", "%a %S"]).arg(&path), b"").ok().text();
        let (blocks, size) = free.trim().split_once(' ').expect("two numbers");
        let free: u64 = blocks.parse::<u64>().expect("a number") * size.parse::<u64>().expect("a number");
        fs::write(&filler, vec![0; usize::try_from(free - room).expect("a small number")])
            .expect("that much is free");
        // Twice the last backup is asked for by default; here the disk is to run full on the way.
        let ended = keeper.run(&["--json", "backup"]);
        assert_eq!(keeper.incoming(), Vec::<String>::new(), "with room for {room}");
        if ended.status.success() {
            break;
        }
        refused += 1;
        let code = ended.json()["error"]["code"].clone();
        assert!(
            ["repository-full", "space-low"].contains(&code.as_str().unwrap_or_default()),
            "with room for {room}: {code}"
        );
        assert_eq!(keeper.ids(), [good.as_str()], "with room for {room}");
        keeper.run(&["verify", &good]).ok();
    }
    assert!(refused > 5, "the disk was full only {refused} times");
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let stack = Stack::shared(Pg::V17);
    let keeper = Keeper::new(&stack).with("SUPAKEEP_PROFILES__DAILY__KEEP__LAST", "1");
    let first = keeper.backup(&["--profile", "daily"]);
    let folder = keeper.folder();
    let outside = keeper.repository().join("outside");
    fs::create_dir(&outside).expect("room for a folder");
    fs::write(outside.join("precious"), "x").expect("room for a file");
    fs::write(folder.join("notes.txt"), "x").expect("room for a file");
    fs::create_dir(folder.join("supabase_backup_20200101_000000")).expect("room for a folder");
    fs::write(folder.join("supabase_backup_20200101_000000/postgres.sql.gz"), "x").expect("room for a file");
    symlink(&outside, folder.join("supabase_backup_20200102_000000")).expect("room for a link");
    let newer = folder.join("supabase_backup_20200103_000000");
    fs::create_dir(&newer).expect("room for a folder");
    fs::write(newer.join("manifest.json"), "{\"format\": 99, \"id\": 7}").expect("room for a file");
    fs::create_dir(folder.join("latest-mine")).expect("room for a folder");
    std::thread::sleep(Duration::from_secs(1));
    let second = keeper.backup(&["--profile", "daily"]);
    assert_ne!(first, second);
    keeper.run(&["cleanup"]).ok();
    keeper.run(&["cleanup", "--older-than", "1s"]).ok();
    assert_eq!(keeper.ids(), [second.as_str()]);
    for kept in [
        "notes.txt",
        "supabase_backup_20200101_000000/postgres.sql.gz",
        "supabase_backup_20200103_000000/manifest.json",
        "latest-mine",
    ] {
        assert!(folder.join(kept).exists(), "{kept} is gone");
    }
    assert!(outside.join("precious").exists() && folder.join("supabase_backup_20200102_000000").is_symlink());
    let listed = keeper.run(&["list"]).ok();
    assert!(
        listed.stderr.contains("manifest-newer") && listed.stderr.contains("format 99"),
        "{}",
        listed.stderr
    );
    assert_eq!(keeper.refused(&["info", "supabase_backup_20200103"]), (3, "backup-not-found".into()));
}

#[test]
fn the_lock_is_exclusive_and_its_holder_is_named() {
    let stack = Stack::private(Pg::V15, &["db"]);
    let keeper = Keeper::new(&stack).with("SUPAKEEP_DUMP__STALL_TIMEOUT", "20s");
    replace_pg_dump(&stack, "#!/bin/sh\nsleep 4\nexec pg_dump.real \"$@\"\n");
    let mut running = keeper.spawn(&["backup"]);
    wait_for("the first one runs", Duration::from_secs(10), || !keeper.incoming().is_empty());
    let ended = keeper.run(&["--json", "backup"]);
    assert_eq!((ended.code(), &ended.json()["error"]["code"]), (4, &"busy".into()));
    assert!(ended.stderr.contains(&format!("process {}", running.id())), "{}", ended.stderr);
    assert_eq!(keeper.refused(&["cleanup"]), (4, "busy".into()));
    keeper.run(&["list"]).ok();
    keeper.run(&["cleanup", "--dry-run"]).ok();
    assert!(running.wait().expect("a child can be waited for").success());
}

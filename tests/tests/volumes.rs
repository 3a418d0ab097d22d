//! Volumes, cold and hot, with a real engine: every byte of them, and everybody running again.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use supakeep_model::volume::VolumeMode;
use supakeep_tests::{Daemon, Keeper, Pg, Stack, docker, wait_for};

/// Where the look-alike's storage service has its volume.
const ROOT: &str = "/var/lib/storage";

/// What people and programs put into a volume, and what has broken other tools.
const ODD_FILES: &str = r#"
mkdir -p odd/deep
cd odd
printf dash >./-rf
printf line >"$(printf 'line\nend')"
printf bytes >"$(printf 'bytes\377')"
printf long >"$(printf 'n%.0s' $(seq 255))"
: >empty
head -c 3000000 /dev/urandom >large
setfattr -n user.kind -v "$(printf 'text/\377odd\nvalue')" large
ln large deep/same-as-large
ln -s /etc/passwd link
mkdir -m 0700 private; printf x >private/x; chmod 0000 private/x; chown 1234:5678 private/x private
touch -d '1999-12-31 23:59:59.123456789' empty
"#;

fn stack() -> Stack {
    Stack::private_with(Pg::V17, &["db", "storage"], &[("STACK_WRITE_INTERVAL_MS", "3600000")])
}

fn storage(stack: &Stack) -> String {
    format!("{}-storage-1", stack.project)
}

fn is_running(container: &str) -> bool {
    docker(&["inspect", "-f", "{{.State.Running}}", container]).ok().text().trim() == "true"
}

fn started_at(container: &str) -> String {
    docker(&["inspect", "-f", "{{.State.StartedAt}}", container]).ok().text()
}

/// Runs a script as root where the files are.
fn sh(stack: &Stack, script: &str) -> String {
    docker(&["exec", "-u", "0:0", "-w", ROOT, &storage(stack), "sh", "-euc", script]).ok().text()
}

/// Everything that is known of every file, by the tools of the system: content, attributes, mode, owner, time.
fn listing(stack: &Stack) -> String {
    sh(
        stack,
        "find . -mindepth 1 -printf '%P|%y|%m|%U:%G|%T@|%n|%l\\0' | LC_ALL=C sort -z | tr '\\0' '\\n'
         find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum -z | tr '\\0' '\\n'
         find . -print0 | LC_ALL=C sort -z | xargs -0 getfattr -h -d -m - 2>/dev/null",
    )
}

fn stopped(keeper: &Keeper) -> bool {
    keeper.folder().join(".stopped.json").exists()
}

#[test]
fn a_volume_comes_back_with_all_that_was_in_it() {
    let stack = stack();
    let keeper = Keeper::new(&stack);
    sh(&stack, ODD_FILES);
    let wanted = listing(&stack);
    let since = started_at(&storage(&stack));
    let name = format!("{}_storage", stack.project);

    let hot = keeper.backup(&["hot", "--volume", "storage:hot"]);
    assert_eq!(started_at(&storage(&stack)), since, "nobody is stopped for a hot one");
    let cold = keeper.backup(&["cold", "--volume", &name]);
    assert_ne!(started_at(&storage(&stack)), since, "its user was stopped");
    assert!(is_running(&storage(&stack)) && !stopped(&keeper));
    for (id, mode) in [(&hot, VolumeMode::Hot), (&cold, VolumeMode::Cold)] {
        let head = keeper.manifest(id).head;
        assert_eq!((head.volumes[0].name.as_str(), head.volumes[0].mode), (name.as_str(), mode));
        assert_eq!(head.warnings, [""; 0], "{id}");
        keeper.run(&["verify", id]).ok();
        sh(&stack, "rm -rf odd/large odd/private; printf newer >newer");
        let plan = keeper.run(&["restore", id, "--volume", "storage", "--dry-run"]).ok();
        assert!(
            plan.stderr.contains("what is in it is REMOVED first; storage stopped meanwhile"),
            "{}",
            plan.stderr
        );
        keeper.run(&["restore", id, "--volume", "storage", "--yes"]).ok();
        assert_eq!(listing(&stack), wanted, "{id}");
        assert!(is_running(&storage(&stack)) && !stopped(&keeper));
    }

    stack.compose(&["rm", "-s", "-f", "storage"]).ok();
    docker(&["volume", "rm", &name]).ok();
    let plan = keeper.run(&["restore", &cold, "--parts", "volumes", "--dry-run"]).ok();
    assert!(plan.stderr.contains("it is made anew"), "{}", plan.stderr);
    assert!(!docker(&["volume", "inspect", &name]).status.success(), "a dry run makes nothing");
    keeper.run(&["restore", &cold, "--parts", "volumes", "--yes"]).ok();
    let up = stack.compose(&["up", "-d", "--wait", "storage"]).ok();
    assert!(!up.stderr.contains("not created by Docker Compose"), "{}", up.stderr);
    assert_eq!(listing(&stack), wanted);
}

#[test]
fn whoever_was_stopped_is_started_after_a_crash() {
    let stack = stack();
    let mut keeper = Keeper::new(&stack);
    let id = keeper.backup(&["good", "--volume", "storage"]);
    let backup = ["backup", "--volume", "storage"];
    let restore = ["restore", &id, "--volume", "storage", "--yes"];
    let crash = |keeper: &mut Keeper, point: &str, arguments: &[&str]| {
        keeper.set("SUPAKEEP_KILL_AT", point);
        let ended = keeper.run(arguments);
        assert_eq!(ended.status.signal(), Some(9), "{point}: {}", ended.stderr);
        keeper.set("SUPAKEEP_KILL_AT", "");
        assert!(!is_running(&storage(&stack)) && stopped(keeper), "{point}");
    };
    for (point, arguments) in [("backup-volumes-stopped", &backup[..]), ("restore-volumes-stopped", &restore)]
    {
        crash(&mut keeper, point, arguments);
        keeper.run(&["status"]);
        assert!(!is_running(&storage(&stack)), "who only looks changes nothing");
        keeper.run(&["cleanup"]).ok();
        assert!(is_running(&storage(&stack)) && !stopped(&keeper), "{point}");
    }
    crash(&mut keeper, "backup-volumes-stopped", &backup);
    let daemon = Daemon::start(&mut keeper);
    wait_for("the daemon starts it", Duration::from_secs(20), || {
        is_running(&storage(&stack)) && !stopped(&keeper)
    });
    drop(daemon);
    // SIGTERM in the middle is no crash.
    sh(&stack, "head -c 300000000 /dev/zero >large");
    let mut child = keeper.spawn(&backup);
    wait_for("it is stopped", Duration::from_secs(60), || stopped(&keeper));
    let _ = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert_eq!(child.wait().expect("a child can be waited for").code(), Some(130));
    assert!(is_running(&storage(&stack)) && !stopped(&keeper));
}

/// A container of the project that is in no compose file, removed with its volume.
struct Extra(String, String);

impl Extra {
    fn start(stack: &Stack) -> Extra {
        let (name, volume) = (format!("{}-extra", stack.project), format!("{}_extra", stack.project));
        let labels = [
            format!("com.docker.compose.project={}", stack.project),
            "com.docker.compose.service=extra".to_owned(),
            "supakeep.volume=extra".to_owned(),
            "supakeep.exec-before=printf 'flushed\\n' >/v/before".to_owned(),
        ];
        let mut arguments = vec!["run", "-d", "--name", &name, "--init", "--entrypoint", "sleep"];
        labels.iter().for_each(|label| arguments.extend(["--label", label]));
        let mount = format!("{volume}:/v");
        let image = stack.pg.image();
        arguments.extend(["-u", "0:0", "-v", &mount, &image, "infinity"]);
        docker(&[
            "volume",
            "create",
            "--label",
            &labels[0],
            "--label",
            "com.docker.compose.volume=extra",
            &volume,
        ])
        .ok();
        docker(&arguments).ok();
        Extra(name, volume)
    }
}

impl Drop for Extra {
    fn drop(&mut self) {
        docker(&["rm", "-f", "-v", &self.0]);
        docker(&["volume", "rm", "-f", &self.1]);
    }
}

#[test]
fn labels_say_what_is_kept_and_a_servers_own_data_is_refused() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let extra = Extra::start(&stack);
    let keeper = Keeper::new(&stack).with("SUPAKEEP_PARTS", "database,volumes");
    let shown = keeper.run(&["backup", "--dry-run"]).ok().text();
    assert!(
        shown.contains(&format!("{} (cold)", extra.1)) && shown.contains("stopped         extra"),
        "{shown}"
    );
    let id = keeper.backup(&["labelled"]);
    let manifest = keeper.manifest(&id);
    assert_eq!(
        (manifest.head.volumes[0].name.as_str(), manifest.head.volumes[0].bytes),
        (extra.1.as_str(), 8)
    );
    assert!(is_running(&extra.0));
    let file = &manifest.artifacts.last().expect("there are some").path;
    let tar = keeper.folder().join(&id).join(file);
    let listed =
        std::process::Command::new("tar").arg("--zstd").arg("-tf").arg(&tar).output().expect("tar runs");
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "before\n");

    let data = format!("{}_db-data", stack.project);
    for wish in ["db-data", "db-data:hot", &data] {
        let refused = keeper.refused(&["backup", "--volume", wish]);
        assert_eq!(refused, (1, "volume-unfit".to_owned()), "{wish}");
    }
    let unstoppable = keeper.run(&["backup", "--volume", "db-config"]);
    assert!(
        unstoppable.stderr.contains(&format!("write {}_db-config:hot", stack.project)),
        "{}",
        unstoppable.stderr
    );
    keeper.backup(&["config", "--volume", "db-config:hot"]);
    assert_eq!(keeper.refused(&["backup", "--volume", "gone"]).1, "volume-unfit");
}

//! Redis servers in a backup, with a real one: equal keys after a restore.

use std::path::Path;
use std::process::Command;

use std::os::unix::process::ExitStatusExt as _;
use supakeep_model::artifact::Part;
use supakeep_tests::{Keeper, Pg, Stack, docker, run};

const IMAGE: &str = "supakeep-test-redis";

/// A Redis server that belongs to the stack's project, removed with its volume.
struct Server {
    name: String,
    volume: String,
}

impl Server {
    fn start(stack: &Stack, service: &str, extra: &[&str], arguments: &[&str]) -> Server {
        let context = Path::new(env!("CARGO_MANIFEST_DIR")).join("redis");
        let mut build = Command::new("docker");
        build.args(["build", "--quiet", "--label", "supakeep.test=redis", "--tag", IMAGE]).arg(context);
        run(&mut build, b"").ok();
        let name = format!("{}-{service}", stack.project);
        let server = Server { volume: format!("{name}-data"), name };
        let mount = format!("{}:/data", server.volume);
        let project = format!("com.docker.compose.project={}", stack.project);
        let service = format!("com.docker.compose.service={service}");
        let fixed =
            ["run", "-d", "--name", &server.name, "--label", &project, "--label", &service, "-v", &mount];
        docker(&[&fixed, extra, &[IMAGE], arguments].concat()).ok();
        server.answers();
        server
    }

    /// A container that has just been started is not yet a server that answers.
    fn answers(&self) {
        supakeep_tests::wait_for("Redis answers", std::time::Duration::from_secs(20), || {
            let said = docker(&["exec", &self.name, "redis-cli", "--raw", "PING"]).text();
            said.starts_with("PONG") || said.starts_with("NOAUTH")
        });
    }

    #[track_caller]
    fn cli(&self, words: &[&str]) -> String {
        docker(&[&["exec", &self.name, "redis-cli", "--raw"], words].concat()).ok().text()
    }

    /// Keys of every kind, in two databases.
    fn fill(&self) {
        self.cli(&[
            "EVAL",
            "for i = 1, 5000 do redis.call('SET', 'k' .. i, string.rep('v', i % 97)) end return 1",
            "0",
        ]);
        self.cli(&["HSET", "hash", "a", "1", "b", "2"]);
        self.cli(&["ZADD", "sorted", "1.5", "one", "2.5", "two"]);
        self.cli(&["RPUSH", "odd\nname ü", "x", "y"]);
        self.cli(&["XADD", "stream", "1-1", "field", "value"]);
        self.cli(&["SET", "goes", "soon", "EX", "86400"]);
        self.cli(&["-n", "3", "SET", "other", "database"]);
    }

    /// A hash over all that is in it.
    fn digest(&self) -> String {
        ["0", "3"].map(|database| self.cli(&["-n", database, "DEBUG", "DIGEST"])).concat()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        docker(&["rm", "-f", &self.name]);
        docker(&["volume", "rm", "-f", &self.volume]);
    }
}

const DEBUG: [&str; 2] = ["--enable-debug-command", "yes"];

fn stack_and_keeper() -> (Stack, Keeper) {
    let stack = Stack::private(Pg::V17, &["db"]);
    let keeper = Keeper::new(&stack).with("SUPAKEEP_PARTS", "database,redis");
    (stack, keeper)
}

#[test]
fn its_keys_are_equal_after_a_restore() {
    let (stack, mut keeper) = stack_and_keeper();
    let server = Server::start(
        &stack,
        "cache",
        &["--label", "supakeep.redis=true", "-e", "REDISCLI_AUTH=a secret"],
        &[&DEBUG[..], &["--requirepass", "a secret"]].concat(),
    );
    server.fill();
    let wanted = server.digest();
    let shown = keeper.run(&["backup", "--dry-run"]).ok().text();
    assert!(shown.contains("redis           cache"), "{shown}");
    let id = keeper.backup(&["kept"]);
    let manifest = keeper.manifest(&id);
    let [record] = manifest.head.redis.as_slice() else { panic!("{:?}", manifest.head.redis) };
    assert_eq!((record.service.as_str(), record.keys, record.expires), ("cache", 5006, 1));
    keeper.run(&["verify", &id]).ok();
    // What is changed since goes; what Redis itself saves when it is stopped is not what it starts with.
    server.cli(&["FLUSHALL"]);
    server.cli(&["SET", "newer", "x"]);
    let plan = keeper.run(&["restore", &id, "--parts", "redis", "--dry-run"]).ok();
    assert!(plan.stderr.contains("gets 5006 keys in place of its 1"), "{}", plan.stderr);
    let owner = || docker(&["exec", &server.name, "stat", "-c", "%a %U:%G", "/data/dump.rdb"]).ok().text();
    let before = owner();
    let restored = keeper.run(&["restore", &id, "--parts", "redis", "--yes"]).ok().text();
    assert!(restored.contains("cache: 5006 keys"), "{restored}");
    assert_eq!(server.digest(), wanted);
    assert_eq!(owner(), before);
    server.cli(&["BGSAVE"]);

    // A crash in the middle: it runs again, with the one or the other.
    keeper.set("SUPAKEEP_KILL_AT", "restore-redis-stopped");
    let ended = keeper.run(&["restore", &id, "--parts", "redis", "--yes"]);
    assert_eq!(ended.status.signal(), Some(9), "{}", ended.stderr);
    keeper.set("SUPAKEEP_KILL_AT", "");
    keeper.run(&["cleanup"]).ok();
    server.answers();

    // A byte of its file: found.
    let artifact = manifest.artifacts.iter().find(|one| one.part == Part::Redis).expect("it is there");
    let path = keeper.folder().join(&id).join(&artifact.path);
    let mut bytes = std::fs::read(&path).expect("it is ours");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("it is ours");
    assert_eq!(keeper.run(&["verify", &id]).code(), 5);
    assert!(!keeper.run(&["restore", &id, "--parts", "redis", "--yes"]).status.success());
    assert_eq!(server.digest(), wanted, "nothing was touched");
}

#[test]
fn what_cannot_be_kept_or_restored_is_refused() {
    let (stack, mut keeper) = stack_and_keeper();
    assert_eq!(keeper.refused(&["backup"]).1, "redis-failed", "no server is named");
    let server = Server::start(&stack, "queue", &[], &["--requirepass", "another"]);
    keeper.set("SUPAKEEP_REDIS__SERVICES", "queue");
    let refused = keeper.run(&["backup"]);
    assert!(refused.stderr.contains("NOAUTH"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("another"));
    keeper.set("SUPAKEEP_REDIS__PASSWORD", "another");
    let id = keeper.backup(&["kept"]);
    docker(&[
        "exec",
        "-e",
        "REDISCLI_AUTH=another",
        &server.name,
        "redis-cli",
        "CONFIG",
        "SET",
        "appendonly",
        "yes",
    ])
    .ok();
    let refused = keeper.run(&["restore", &id, "--parts", "redis", "--yes"]);
    assert!(refused.stderr.contains("appendonly is yes"), "{}", refused.stderr);
    docker(&["stop", &server.name]).ok();
    let down = keeper.run(&["backup"]);
    assert!(down.stderr.contains("queue does not run"), "{}", down.stderr);
}

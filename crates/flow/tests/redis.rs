//! A Redis server in a backup: what is waited for, and what is believed.

use supakeep_flow::backup::BackupSpec;
use supakeep_flow::redis::RedisSpec;
use supakeep_model::code::Code;
use supakeep_model::manifest_head::Outcome;
use supakeep_model::parts::{PartName, Parts};
use supakeep_testkit::{ScriptedContainers, Trial};

const CHECKED: &str = "[offset 0] Checking RDB file\n[offset 70] \\o/ RDB looks OK! \\o/\n[info] 1 keys read\n[info] 0 expires\n";
const IDLE: &str = "# Persistence\r\nloading:0\r\nrdb_bgsave_in_progress:0\r\n";
const SAVING: &str = "# Persistence\r\nloading:0\r\nrdb_bgsave_in_progress:1\r\n";

/// The smallest file there is, without a checksum.
fn rdb() -> Vec<u8> {
    let mut out = b"REDIS0011\xfe\x00\x00\x01a\x01b\xff".to_vec();
    out.extend([0; 8]);
    out
}

fn server() -> ScriptedContainers {
    ScriptedContainers::default()
        .with("cache", &["data"])
        .saying("CONFIG GET dir", &["dir\n/data\n"])
        .saying("CONFIG GET dbfilename", &["dbfilename\ndump.rdb\n"])
        .saying("TIME", &["110\n1\n"])
        .saying("BGSAVE", &["Background saving started\n"])
        .saying("redis-check-rdb", &[CHECKED])
        .printing(rdb())
}

async fn taken(containers: ScriptedContainers) -> (Trial, supakeep_model::manifest_head::ManifestHead) {
    let trial = Trial { containers, ..Trial::default() };
    let parts = Parts::Named(vec![PartName::Database, PartName::Redis]);
    let redis = RedisSpec {
        services: vec!["cache".to_owned()],
        patience: std::time::Duration::from_secs(3),
        ..RedisSpec::default()
    };
    let head = trial.run(&BackupSpec { parts, redis, ..trial.spec() }).await;
    (trial, head)
}

#[tokio::test]
async fn its_file_is_read_when_it_is_newer() {
    let containers = server()
        .saying("LASTSAVE", &["100\n", "100\n"])
        .saying("INFO persistence", &[IDLE, SAVING, SAVING, IDLE]);
    let (trial, head) = taken(containers).await;
    // The second answer of LASTSAVE is one of a server that has saved nothing: no longer in progress, and not newer.
    assert_eq!(head.outcome, Outcome::Failed, "{:?}", head.error);
    assert!(!trial.containers.calls().iter().any(|call| call.starts_with("read")));

    let containers = server()
        .saying("LASTSAVE", &["100\n", "120\n"])
        .saying("INFO persistence", &[SAVING, IDLE, SAVING, IDLE]);
    let (trial, head) = taken(containers).await;
    assert!(head.is_good(), "{:?}", head.error);
    assert!(trial.containers.calls().contains(&"read cache cat /data/dump.rdb".to_owned()));
    let record = &head.redis[0];
    assert_eq!((record.service.as_str(), record.keys, record.bytes), ("cache", 1, rdb().len() as u64));
    assert_eq!(head.parts, [PartName::Database, PartName::Redis]);
    assert!(trial.memory.files(head.id.as_str()).contains_key("redis-cache.rdb.zst"));
}

/// Between the reading and the looking another file came: both are done again.
#[tokio::test]
async fn what_was_read_is_what_was_looked_at() {
    let containers = server()
        .saying("LASTSAVE", &["100\n", "120\n", "120\n", "121\n", "121\n"])
        .saying("INFO persistence", &[IDLE]);
    let (trial, head) = taken(containers).await;
    assert!(head.is_good(), "{:?}", head.error);
    let reads = trial.containers.calls().iter().filter(|call| call.starts_with("read")).count();
    assert_eq!((reads, head.redis.len()), (2, 1));
}

#[tokio::test]
async fn what_is_not_right_is_no_backup() {
    let saves = |server: ScriptedContainers| {
        server.saying("LASTSAVE", &["100\n", "120\n"]).saying("INFO persistence", &[IDLE])
    };
    let refused = async |server: ScriptedContainers| {
        let (_, head) = taken(server).await;
        let error = head.error.expect("it has failed");
        assert_eq!(head.outcome, Outcome::Failed);
        (error.code, error.message)
    };
    let (code, message) = refused(saves(
        ScriptedContainers::default()
            .with("cache", &[])
            .saying("CONFIG", &["NOAUTH Authentication required.\n"])
            .saying("TIME", &["110\n"])
            .saying("BGSAVE", &["Background saving started\n"]),
    ))
    .await;
    assert_eq!((code, message.contains("NOAUTH")), (Code::RedisFailed, true), "{message}");
    let mut cut = rdb();
    cut.pop();
    assert_eq!(refused(saves(server().printing(cut))).await.0, Code::DumpIncomplete);
    let broken = ScriptedContainers::default()
        .with("cache", &["data"])
        .saying("CONFIG GET dir", &["dir\n/data\n"])
        .saying("CONFIG GET dbfilename", &["dbfilename\ndump.rdb\n"])
        .saying("TIME", &["110\n1\n"])
        .saying("BGSAVE", &["Background saving scheduled\n"])
        .saying("redis-check-rdb", &["[offset 9] Unexpected EOF reading RDB file\n"])
        .printing(rdb());
    assert_eq!(refused(saves(broken)).await.0, Code::RedisFailed);
    // Never newer: an end is put to it.
    let stuck = server().saying("LASTSAVE", &["100\n"]).saying("INFO persistence", &[IDLE, SAVING]);
    let (code, message) = refused(stuck).await;
    assert_eq!((code, message.contains("does not end saving")), (Code::RedisFailed, true), "{message}");
    let down = server().changed(|cache| cache.service.is_running = false);
    assert!(refused(down).await.1.contains("does not run"));
}

//! Edge functions and configuration in a backup.

use std::io::Read as _;

use supakeep_flow::backup::BackupSpec;
use supakeep_flow::ports::StackError;
use supakeep_model::artifact::Part;
use supakeep_model::code::Code;
use supakeep_model::dump::Compression;
use supakeep_model::event::RunEvent;
use supakeep_model::manifest_head::{ManifestHead, Outcome};
use supakeep_model::parts::{PartName, Parts};
use supakeep_testkit::{Call, Fault, Operation, ScriptedFolder, ScriptedPorters, Trial};

/// Stands in `.env`, and nowhere else.
const PASSWORD: &str = "correct-horse-battery";

fn stack() -> ScriptedFolder {
    ScriptedFolder::default()
        .with(".env", format!("# mine\nPOSTGRES_PASSWORD={PASSWORD}\nPOSTGRES_PORT=5432\n"))
        .with("docker-compose.yml", "services: {}\n")
        .with("docker-compose.override.yml", format!("x: {PASSWORD}\ny: {PASSWORD}\n"))
        .with("binary", b"\0\x01")
        .with("id", "-----BEGIN OPENSSH PRIVATE KEY-----\n")
        .with("volumes/api/kong.yml", "a: b\n")
        .with("volumes/db/data/PG_VERSION", "17\n")
        .with("volumes/functions/main/index.ts", "serve()\n")
        .with("volumes/functions/.env", format!("TOKEN={PASSWORD}\n"))
        .with("volumes/storage/x", "data")
        .linking("volumes/functions/shared", "../../../shared")
}

fn trial(folder: ScriptedFolder, parts: &[PartName]) -> (Trial, BackupSpec) {
    let trial = Trial { porters: ScriptedPorters::default().with_folder(folder), ..Trial::default() };
    let parts = if parts.is_empty() { Parts::Found } else { Parts::Named(parts.to_vec()) };
    let spec = BackupSpec { parts, ..trial.spec() };
    (trial, spec)
}

const ALL: [PartName; 3] = [PartName::Database, PartName::Functions, PartName::Config];

fn entries(trial: &Trial, head: &ManifestHead, file: &str) -> Vec<(String, String)> {
    let files = trial.memory.files(head.id.as_str());
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(files[file].as_slice()).read_to_end(&mut bytes).expect("gzip members");
    let mut archive = tar::Archive::new(bytes.as_slice());
    let entries = archive.entries().expect("it is an archive");
    entries
        .map(|entry| {
            let mut entry = entry.expect("it is whole");
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("it was text");
            (String::from_utf8_lossy(&entry.path_bytes()).into_owned(), text)
        })
        .collect()
}

fn names(entries: &[(String, String)]) -> Vec<&str> {
    entries.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn each_part_is_one_archive_and_verified_like_any_file() {
    for wanted in [&[][..], &ALL] {
        let (trial, spec) = trial(stack(), wanted);
        let head = trial.run(&spec).await;
        assert!(head.is_good(), "{:?}", head.error);
        assert_eq!(head.parts, ALL);
        let functions = entries(&trial, &head, "functions.tar.gz");
        assert_eq!(
            names(&functions),
            [
                "volumes/",
                "volumes/functions/",
                "volumes/functions/.env.redacted",
                "volumes/functions/main/",
                "volumes/functions/main/index.ts",
                "volumes/functions/shared"
            ]
        );
        let config = entries(&trial, &head, "config.tar.gz");
        assert_eq!(
            names(&config),
            [
                ".env.redacted",
                "docker-compose.override.yml.redacted",
                "docker-compose.yml",
                "volumes/",
                "volumes/api/",
                "volumes/api/kong.yml"
            ]
        );
        let manifest = trial.manifest(&head);
        let of_folder: Vec<_> = manifest.artifacts.iter().filter(|one| one.part.is_files()).collect();
        assert_eq!(of_folder.iter().map(|one| one.part).collect::<Vec<_>>(), [Part::Functions, Part::Config]);
    }
}

/// A secret's value is in no file of the backup but the dumps, in no event, in no log line.
#[tokio::test]
async fn a_secret_of_env_is_nowhere() {
    let (trial, mut spec) = trial(stack(), &ALL);
    spec.dump.compression = Compression::None;
    let head = trial.run(&spec).await;
    assert!(head.is_good(), "{:?}", head.error);
    for (path, bytes) in trial.memory.files(head.id.as_str()) {
        assert!(memchr::memmem::find(&bytes, PASSWORD.as_bytes()).is_none(), "{path}");
    }
    assert!(!trial.memory.shown().contains(PASSWORD));
    let events = trial.recorder.events();
    assert!(events.iter().any(|event| matches!(event, RunEvent::Ended { .. })));
    assert!(!format!("{events:?}").contains(PASSWORD));
    let config = String::from_utf8(trial.memory.files(head.id.as_str())["config.tar"].clone()).expect("text");
    assert!(config.contains("# mine\nPOSTGRES_PASSWORD=[redacted sha256:"), "{config}");
    assert!(config.contains("POSTGRES_PORT=5432\n"));
    assert_eq!(config.matches(": [redacted sha256:").count(), 2, "taken out of the override too");
    let warnings = head.warnings.join("\n");
    assert_eq!(
        warnings,
        "volumes/functions/.env: kept without its 1 secrets, as volumes/functions/.env.redacted: backups are not encrypted. KEEP A COPY OF IT ELSEWHERE\n\
         .env: kept without its 1 secrets, as .env.redacted: backups are not encrypted. KEEP A COPY OF IT ELSEWHERE\n\
         docker-compose.override.yml: secrets of .env stood in it at 2 places, and were taken out; it is kept as docker-compose.override.yml.redacted\n\
         id: it is not in this backup: there is a private key in it"
    );
}

#[tokio::test]
async fn without_the_folder_only_a_backup_that_asks_for_it_fails() {
    let trial = Trial::default();
    let mut spec = BackupSpec { parts: Parts::Found, ..trial.spec() };
    let head = trial.run(&spec).await;
    assert_eq!((head.outcome, head.parts.as_slice()), (Outcome::Complete, &[PartName::Database][..]));
    let why = "the stack does not tell where its folder is";
    assert_eq!(
        head.warnings,
        ["functions", "config"].map(|part| format!("{part} is not in this backup: {why}"))
    );
    spec.parts = Parts::Named(vec![PartName::Database, PartName::Config]);
    let opened = trial.stack.count(&Call::Open("globals".to_owned()));
    let head = trial.run(&spec).await;
    let error = head.error.expect("it failed");
    assert_eq!((error.code, &*error.message), (Code::FilesMissing, why));
    assert_eq!(trial.stack.count(&Call::Open("globals".to_owned())), opened, "before anything is dumped");
    spec.parts = Parts::database();
    let head = trial.run(&spec).await;
    assert!(head.is_good() && head.warnings.is_empty(), "who wants nothing of it is told nothing");
}

#[tokio::test]
async fn a_folder_without_functions_is_a_failure_only_where_they_are_asked_for() {
    let folder = || ScriptedFolder::default().with("docker-compose.yml", "");
    let (first, spec) = trial(folder(), &[]);
    let head = first.run(&spec).await;
    assert_eq!((head.parts, head.warnings), (vec![PartName::Database, PartName::Config], vec![]));
    let (second, spec) = trial(folder(), &ALL);
    let error = second.run(&spec).await.error.expect("it failed");
    assert_eq!(
        (error.code, &*error.message),
        (Code::FilesMissing, "there is no volumes/functions in /opt/supabase/docker on the host")
    );
    second.porters.refuse(StackError::new(Code::FilesMissing, "it cannot be opened"));
    let head = second.run(&BackupSpec { parts: Parts::Found, ..spec }).await;
    assert!(head.is_good());
    assert_eq!(head.warnings, ["storage, functions, config are not in this backup: it cannot be opened"]);
}

#[tokio::test]
async fn files_that_change_or_cannot_be_read_are_told_and_break_nothing() {
    let folder = ScriptedFolder::default()
        .announcing("volumes/functions/grew.ts", "longer than it was", 6)
        .announcing("volumes/functions/shrank.ts", "short", 900)
        .missing("volumes/functions/gone.ts", "it vanished while the folder was read")
        .with(b"volumes/functions/name\xff\n", "odd");
    let (trial, spec) = trial(folder, &[PartName::Database, PartName::Functions]);
    let head = trial.run(&spec).await;
    assert!(head.is_good(), "{:?}", head.error);
    assert_eq!(
        head.warnings,
        [
            "volumes/functions/gone.ts: it is not in this backup: it vanished while the folder was read",
            "volumes/functions/grew.ts: it became longer while it was read; the rest is left out",
            "volumes/functions/shrank.ts: it became shorter while it was read; the rest is zeros",
        ]
    );
    let packed = entries(&trial, &head, "functions.tar.gz");
    assert_eq!(packed[2], ("volumes/functions/grew.ts".to_owned(), "longer".to_owned()));
    assert_eq!((packed[4].0.as_str(), packed[4].1.len()), ("volumes/functions/shrank.ts", 900));
}

#[tokio::test]
async fn very_many_notes_do_not_fill_the_manifest() {
    let folder = (0..500).fold(ScriptedFolder::default(), |folder, number| {
        folder.missing(format!("volumes/functions/{number:03}"), "supakeep's user may not read it")
    });
    let (trial, spec) = trial(folder, &[]);
    let head = trial.run(&spec).await;
    assert_eq!(head.warnings.len(), 11);
    assert_eq!(head.warnings[10], "and 490 more like these");
}

/// More than all queues between the disk and the repository hold.
#[tokio::test]
async fn a_full_disk_or_a_missing_key_ends_the_run_and_its_thread() {
    let noise: Vec<u8> =
        (0..8_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let (full, spec) = trial(stack().with("volumes/functions/large", noise), &ALL);
    full.memory.fill_after(1_000_000);
    let head = full.run(&spec).await;
    assert_eq!(head.error.map(|error| error.code), Some(Code::RepositoryFull));
    assert_eq!(full.porters.open_ones(), 0, "whatever comes of it");
    let (keyless, spec) = trial(stack(), &ALL);
    let keyless = keyless.failing(Operation::RedactionKey, 1, Fault::Code(Code::RepositoryIo));
    let head = keyless.run(&spec).await;
    assert_eq!(head.error.map(|error| error.code), Some(Code::RepositoryIo));
}

#[tokio::test]
async fn deleted_functions_are_no_lost_rows() {
    let large = vec![b'x'; 3_000_000];
    let (first, spec) = trial(stack().with("volumes/functions/large", large), &[]);
    assert!(first.run(&spec).await.is_good());
    let second = Trial { porters: ScriptedPorters::default().with_folder(stack()), ..first };
    let head = second.run(&spec).await;
    assert!(head.is_good(), "{:?}", head.suspicion);
}

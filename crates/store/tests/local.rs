//! What a repository in a folder does beyond what every repository has to do: other processes, other
//! people's files, damage, and what a crash leaves.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use supakeep_flow::ports::{FailedFiles, Repository as _, Staging};
use supakeep_model::Duration;
use supakeep_model::code::Code;
use supakeep_model::id::BackupId;
use supakeep_model::journal;
use supakeep_model::manifest::{FILE, Manifest};
use supakeep_model::manifest_head::Outcome;
use supakeep_store::LocalRepository;
use supakeep_testkit::{START, TestClock, failed_head, head, manifest, unfinished};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

/// A folder, and repositories on it as several processes have them.
struct Disk(TempDir);

impl Disk {
    fn new() -> Disk {
        Disk(tempfile::tempdir().expect("a temporary folder"))
    }

    fn open_as(&self, holder: &str) -> LocalRepository {
        LocalRepository::new(self.0.path(), "supabase", holder, Arc::new(TestClock::at(START)))
    }

    fn open(&self) -> LocalRepository {
        let repository = self.open_as("a test");
        repository.prepare().expect("it can be used");
        repository
    }

    /// A path below the stack's folder.
    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join("supabase").join(below)
    }

    /// Everything below the stack's folder, sorted, the repository's own files not counted.
    fn entries(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).expect("it is there").flatten();
        let names = entries.map(|entry| entry.file_name().into_string().expect("a plain name"));
        let own = [".lock", ".supakeep.json", ".incoming", ".failed"];
        let mut names: Vec<_> = names.filter(|name| !own.contains(&name.as_str())).collect();
        names.sort();
        names
    }
}

fn id(text: &str) -> BackupId {
    text.parse().expect("a valid id")
}

fn record(name: &str) -> Manifest {
    manifest(head(name, Some("daily"), START))
}

fn staged(repository: &LocalRepository, name: &str) -> Box<dyn Staging> {
    let staging = repository.stage(&id(name)).expect("it can be staged");
    let mut file = staging.files().create("postgres.sql.gz").expect("a new file");
    file.write_all(b"content").expect("room");
    file.sync().expect("a disk");
    staging
}

fn backup(repository: &LocalRepository, name: &str) {
    staged(repository, name).commit(&record(name)).expect("it can be committed");
}

fn listed(repository: &LocalRepository) -> Vec<String> {
    let catalog = repository.catalog().expect("it can be read");
    catalog.entries().map(|head| head.id.to_string()).collect()
}

#[test]
fn another_process_is_told_who_holds_the_lock() {
    let disk = Disk::new();
    let (first, second) = (disk.open_as("process 7 on alpha"), disk.open_as("process 9 on beta"));
    let lock = first.lock().expect("nobody has it");
    let refused = second.lock().map(drop).expect_err("the first one has it");
    assert_eq!(refused.code, Code::Busy);
    assert!(refused.message.contains("process 7 on alpha"), "{refused}");
    drop(lock);
    let _lock = second.lock().expect("it is free");
    let refused = first.lock().map(drop).expect_err("the second one has it");
    assert!(refused.message.ends_with("process 9 on beta"), "a longer name is left over: {refused}");
}

#[test]
fn what_a_crash_left_is_swept_by_whoever_gets_the_lock_and_by_nobody_else() {
    let disk = Disk::new();
    let (running, looking) = (disk.open_as("running"), disk.open_as("looking"));
    let lock = running.lock().expect("nobody has it");
    std::mem::forget(staged(&running, "b_1"));
    fs::write(disk.path(".incoming/latest.link"), b"").expect("room");
    looking.prepare().expect("it can be used");
    assert!(looking.lock().is_err());
    assert!(disk.path(".incoming/b_1/postgres.sql.gz").exists(), "the run that goes on has lost its file");
    drop(lock);
    let _lock = looking.lock().expect("the process has died");
    assert_eq!(fs::read_dir(disk.path(".incoming")).expect("it is there").count(), 0);
}

#[test]
fn sweeping_follows_no_link() {
    let disk = Disk::new();
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    fs::write(elsewhere.path().join("precious"), b"x").expect("room");
    let repository = disk.open();
    symlink(elsewhere.path(), disk.path(".incoming/b_1")).expect("a link");
    let _lock = repository.lock().expect("nobody has it");
    assert!(elsewhere.path().join("precious").exists());
    assert!(!disk.path(".incoming/b_1").exists());
}

#[test]
fn what_is_not_ours_is_neither_listed_nor_touched() {
    let disk = Disk::new();
    let repository = disk.open();
    let lock = repository.lock().expect("nobody has it");
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    fs::write(elsewhere.path().join(FILE), record("linked_1").to_json()).expect("room");
    fs::write(disk.path("notes.txt"), b"mine").expect("room");
    fs::create_dir(disk.path("old_pg_dumps")).expect("a new folder");
    fs::write(disk.path("old_pg_dumps/a.sql"), b"mine").expect("room");
    fs::create_dir(disk.path("with space")).expect("a new folder");
    fs::write(disk.path("with space").join(FILE), record("x").to_json()).expect("room");
    symlink(elsewhere.path(), disk.path("linked_1")).expect("a link");
    let foreign = disk.entries();
    backup(&repository, "b_1");
    backup(&repository, "b_2");
    repository.link("latest", Some(&id("b_2"))).expect("a link");
    assert_eq!(listed(&repository), ["b_2", "b_1"]);
    for name in ["old_pg_dumps", "linked_1", "notes.txt"] {
        let found = repository.manifest(&id(name)).expect_err("it is no backup");
        assert!([Code::BackupNotFound, Code::RepositoryMissing].contains(&found.code), "{found}");
    }
    assert_eq!(repository.remove(&id("linked_1")).expect_err("a link").code, Code::BackupNotFound);
    repository.remove(&id("b_1")).expect("it is ours");
    drop(lock);
    drop(repository.lock().expect("nobody has it"));
    let mut expected = [foreign, vec!["b_2".to_owned(), "latest".to_owned()]].concat();
    expected.sort();
    assert_eq!(disk.entries(), expected);
    assert!(elsewhere.path().join(FILE).exists());
    assert_eq!(fs::read(disk.path("old_pg_dumps/a.sql")).expect("untouched"), b"mine");
}

#[test]
fn clearing_the_files_of_failed_runs_touches_nothing_else() {
    let disk = Disk::new();
    let repository = disk.open();
    let _lock = repository.lock().expect("nobody has it");
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    fs::write(elsewhere.path().join("precious"), b"x").expect("room");
    fs::write(elsewhere.path().join(FILE), record("b_0").to_json()).expect("room");
    fs::create_dir(disk.path(".failed")).expect("a new folder");
    symlink(elsewhere.path(), disk.path(".failed/b_0")).expect("a link");
    fs::write(disk.path(".failed/README"), b"mine").expect("room");
    for name in ["b_1", "b_2"] {
        let failed = manifest(failed_head(name, Some("daily"), START, Code::VerifyFailed));
        staged(&repository, name).fail(&failed, FailedFiles::Keep).expect("it is recorded");
    }
    assert!(elsewhere.path().join("precious").exists(), "a link was followed");
    assert!(disk.path(".failed/README").exists());
    assert_eq!(listed(&repository), ["b_2", "b_1"]);
    assert!(disk.path(".failed/b_2/postgres.sql.gz").exists());
    assert!(!disk.path(".failed/b_1/postgres.sql.gz").exists());
}

#[test]
fn a_folder_without_a_manifest_is_no_backup() {
    let disk = Disk::new();
    let repository = disk.open();
    let lock = repository.lock().expect("nobody has it");
    // Killed before the manifest, between manifest and rename, and with the manifest half-written.
    fs::create_dir(disk.path("b_1")).expect("a new folder");
    fs::write(disk.path("b_1/postgres.sql.gz"), b"content").expect("room");
    fs::create_dir(disk.path(".incoming/b_2")).expect("a new folder");
    fs::write(disk.path(".incoming/b_2").join(FILE), record("b_2").to_json()).expect("room");
    backup(&repository, "b_3");
    assert_eq!(listed(&repository), ["b_3"]);
    assert!(repository.catalog().expect("it can be read").unreadable().is_empty());
    drop(lock);
    drop(repository.lock().expect("nobody has it"));
    assert!(!disk.path(".incoming/b_2").exists());
    assert!(disk.path("b_1/postgres.sql.gz").exists(), "it may be a person's own folder");
    assert_eq!(listed(&repository), ["b_3"]);
}

#[test]
fn a_manifest_that_cannot_be_read_is_shown_and_hides_no_other() {
    let disk = Disk::new();
    let repository = disk.open();
    let _lock = repository.lock().expect("nobody has it");
    ["good", "newer", "cut", "empty", "copy", "binary"].iter().for_each(|name| backup(&repository, name));
    let mut newer = record("newer");
    newer.head.format = 2;
    let cut = record("cut").to_json();
    fs::write(disk.path("newer").join(FILE), newer.to_json()).expect("room");
    fs::write(disk.path("cut").join(FILE), &cut[..cut.len() / 3]).expect("room");
    fs::write(disk.path("empty").join(FILE), b"").expect("room");
    fs::write(disk.path("binary").join(FILE), [0xff; 20_000]).expect("room");
    fs::write(disk.path("copy").join(FILE), record("good").to_json()).expect("room");
    assert_eq!(listed(&repository), ["good"]);
    let catalog = repository.catalog().expect("it can be read");
    let codes: Vec<_> =
        catalog.unreadable().iter().map(|other| (other.folder.as_str(), other.error.code())).collect();
    let damaged = Code::ManifestDamaged;
    let expected = [
        ("binary", damaged),
        ("copy", damaged),
        ("cut", damaged),
        ("empty", damaged),
        ("newer", Code::ManifestNewer),
    ];
    assert_eq!(codes, expected);
    assert_eq!(repository.manifest(&id("newer")).expect_err("newer").code, Code::ManifestNewer);
    let error = repository.manifest(&id("cut")).expect_err("damaged");
    assert!(error.code == damaged && error.message.contains("cut/manifest.json"), "{error}");
    for (name, _) in expected {
        assert!(catalog.contains(&id(name)), "the name of {name} is taken");
    }
}

#[test]
fn a_manifest_that_is_repaired_is_read_again() {
    let disk = Disk::new();
    let repository = disk.open();
    let _lock = repository.lock().expect("nobody has it");
    backup(&repository, "b_1");
    assert_eq!(listed(&repository), ["b_1"]);
    let good = fs::read(disk.path("b_1").join(FILE)).expect("it is there");
    fs::write(disk.path("b_1").join(FILE), b"{}").expect("room");
    assert_eq!(listed(&repository), Vec::<String>::new());
    fs::write(disk.path("b_1").join(FILE), good).expect("room");
    assert_eq!(listed(&repository), ["b_1"]);
    fs::remove_dir_all(disk.path("b_1")).expect("it is there");
    assert_eq!(listed(&repository), Vec::<String>::new());
}

#[tokio::test]
async fn a_file_that_is_a_link_is_not_read() {
    let disk = Disk::new();
    let repository = disk.open();
    let _lock = repository.lock().expect("nobody has it");
    backup(&repository, "b_1");
    fs::remove_file(disk.path("b_1/postgres.sql.gz")).expect("it is there");
    symlink("/etc/hostname", disk.path("b_1/postgres.sql.gz")).expect("a link");
    assert!(repository.open(&id("b_1"), "postgres.sql.gz").is_err());
    let mut manifest = String::new();
    let mut file = repository.open(&id("b_1"), FILE).expect("a file");
    file.read_to_string(&mut manifest).await.expect("it can be read");
    assert!(manifest.contains("b_1"));
}

#[test]
fn a_repository_that_is_missing_or_no_folder_or_read_only_says_so() {
    let disk = Disk::new();
    let at = |path: &Path| LocalRepository::new(path, "supabase", "a test", Arc::new(TestClock::at(START)));
    let code = |repository: LocalRepository| {
        let prepared = repository.prepare().expect_err("it cannot be used");
        assert_eq!(repository.lock().map(drop).expect_err("it cannot be used").code, prepared.code);
        prepared.code
    };
    assert_eq!(code(at(&disk.0.path().join("nowhere"))), Code::RepositoryMissing);
    let file = disk.0.path().join("file");
    fs::write(&file, b"").expect("room");
    assert_eq!(code(at(&file)), Code::RepositoryMissing);
    // Nobody, not even root, makes folders there.
    assert_eq!(code(at(Path::new("/sys"))), Code::RepositoryReadOnly);
    symlink("/tmp", disk.0.path().join("supabase")).expect("a link where the stack's folder would be");
    assert_eq!(code(disk.open_as("a test")), Code::RepositoryIo);
}

#[test]
fn nothing_is_readable_for_others() {
    let disk = Disk::new();
    let repository = disk.open();
    let _lock = repository.lock().expect("nobody has it");
    backup(&repository, "b_1");
    let failed = manifest(failed_head("b_2", Some("daily"), START, Code::DumpFailed));
    staged(&repository, "b_2").fail(&failed, FailedFiles::Remove).expect("it is recorded");
    let journal = unfinished(id("b_1"), journal::Step::Databases);
    repository.set_journal(Some(&journal)).expect("it can be written");
    let mode = |below: &str| {
        let metadata = fs::symlink_metadata(disk.path(below)).expect("it is there");
        metadata.permissions().mode() & 0o777
    };
    for folder in ["", "b_1", ".incoming", ".failed", ".failed/b_2"] {
        assert_eq!(mode(folder), 0o700, "{folder}");
    }
    let files =
        ["b_1/manifest.json", "b_1/postgres.sql.gz", ".lock", ".supakeep.json", ".failed/b_2/manifest.json"];
    // The stack's own secrets are in the last.
    for file in files.into_iter().chain([".restore.json"]) {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    repository.set_journal(None).expect("it can be removed");
    assert_eq!(disk.entries(), ["b_1"], "nothing is left of a probe or a temporary file");
}

#[test]
fn links_point_at_a_name_beside_them() {
    let disk = Disk::new();
    let repository = disk.open();
    let _lock = repository.lock().expect("nobody has it");
    backup(&repository, "b_1");
    backup(&repository, "b_2");
    let latest = || fs::read_link(disk.path("latest")).ok();
    repository.link("latest", Some(&id("b_1"))).expect("a link");
    assert_eq!(latest(), Some("b_1".into()));
    assert!(disk.path("latest/postgres.sql.gz").exists());
    repository.link("latest", Some(&id("b_2"))).expect("a link");
    assert_eq!(latest(), Some("b_2".into()));
    repository.link("latest", None).expect("it is removed");
    assert_eq!(latest(), None);
    assert_eq!(fs::read_dir(disk.path(".incoming")).expect("it is there").count(), 0);
}

#[test]
fn a_name_that_something_else_has_is_left_alone() {
    let disk = Disk::new();
    let repository = disk.open();
    let _lock = repository.lock().expect("nobody has it");
    backup(&repository, "b_1");
    fs::write(disk.path("latest"), b"mine").expect("room");
    fs::create_dir(disk.path("latest-daily")).expect("a new folder");
    for name in ["latest", "latest-daily"] {
        for target in [Some(id("b_1")), None] {
            let refused = repository.link(name, target.as_ref()).expect_err("it is no link");
            assert_eq!(refused.code, Code::RepositoryIo);
        }
    }
    assert_eq!(fs::read(disk.path("latest")).expect("untouched"), b"mine");
    assert!(disk.path("latest-daily").is_dir());
}

#[test]
fn a_backup_never_takes_the_place_of_a_folder_that_is_there() {
    let disk = Disk::new();
    let repository = disk.open();
    let _lock = repository.lock().expect("nobody has it");
    for (name, content) in [("b_1", Some("a.sql")), ("b_2", None)] {
        fs::create_dir(disk.path(name)).expect("a new folder");
        content.into_iter().for_each(|file| fs::write(disk.path(name).join(file), b"mine").expect("room"));
        assert!(staged(&repository, name).commit(&record(name)).is_err(), "{name} was taken");
        assert!(!disk.path(name).join(FILE).exists(), "{name}");
        assert!(!disk.path(".incoming").join(name).exists(), "what is half-made is thrown away");
    }
    assert_eq!(fs::read(disk.path("b_1/a.sql")).expect("untouched"), b"mine");
}

/// A key that can be guessed would tell what was redacted.
#[test]
fn its_redaction_key_is_its_own_and_a_damaged_one_is_refused() {
    let (disk, other) = (Disk::new(), Disk::new());
    let key = disk.open().redaction_key().expect("it makes one");
    assert!(disk.open().redaction_key().expect("it has one") == key);
    assert!(other.open().redaction_key().expect("it makes one") != key);
    let file = disk.path(".redaction.key");
    let mode = fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for damaged in [&b""[..], b"00", &[b'x'; 64]] {
        fs::write(&file, damaged).expect("room");
        assert!(disk.open().redaction_key().is_err(), "{damaged:?}");
    }
}

#[test]
fn it_remembers_its_first_start_and_refuses_a_damaged_marker() {
    let disk = Disk::new();
    let looking = disk.open_as("somebody who looks");
    assert_eq!(looking.identity().expect_err("it has none").code, Code::RepositoryMissing);
    looking.writable().expect("it can be written");
    assert_eq!(fs::read_dir(disk.0.path()).expect("a folder").count(), 0, "whoever looks makes nothing");
    let identity = disk.open().identity().expect("it has one");
    let clock = Arc::new(TestClock::at(START + Duration::days(30)));
    let later = LocalRepository::new(disk.0.path(), "supabase", "a test", clock);
    later.prepare().expect("it can be used");
    assert_eq!(later.first_start().expect("it is written down"), START);
    assert_eq!(later.identity().expect("it is written down"), identity);
    let other = Disk::new();
    assert_ne!(other.open().identity().expect("it has one"), identity);
    fs::write(disk.path(".supakeep.json"), b"{\"format\": 1").expect("room");
    assert_eq!(later.prepare().expect_err("it is damaged").code, Code::ManifestDamaged);
    assert_eq!(fs::read(disk.path(".supakeep.json")).expect("untouched"), b"{\"format\": 1");
}

#[test]
fn stacks_have_folders_of_their_own() {
    let disk = Disk::new();
    let stack = |name: &str| {
        let repository = LocalRepository::new(disk.0.path(), name, "a test", Arc::new(TestClock::at(START)));
        let _lock = repository.lock().expect("every stack has its own lock");
        backup(&repository, "b_1");
        assert_eq!(listed(&repository), ["b_1"]);
        repository.folder().to_owned()
    };
    let (one, other, odd) = (stack("supabase"), stack("shop"), stack("../../etc"));
    assert_ne!(one, other);
    assert_eq!(odd.parent(), Some(disk.0.path()));
    fs::create_dir(disk.0.path().join("unrelated")).expect("a new folder");
    assert_eq!(LocalRepository::stacks(disk.0.path()), ["%%2E%2E%2F%2E%2E%2Fetc", "shop", "supabase"]);
    assert!(LocalRepository::stacks(Path::new("/nowhere")).is_empty());
}

#[test]
fn reads_many_backups_side_by_side() {
    let disk = Disk::new();
    let repository = disk.open();
    for number in 0..600_i64 {
        let name = format!("b_{number}");
        fs::create_dir(disk.path(&name)).expect("a new folder");
        let mut record = manifest(head(&name, Some("daily"), START + Duration::minutes(number)));
        // Longer than what is read at first.
        record.head.warnings = vec!["w".repeat(usize::try_from(number).expect("positive") * 40)];
        fs::write(disk.path(&name).join(FILE), record.to_json()).expect("room");
    }
    let ids = listed(&repository);
    assert_eq!((ids.len(), ids[0].as_str(), ids[599].as_str()), (600, "b_599", "b_0"));
    assert_eq!(listed(&repository), ids, "read a second time");
}

#[test]
fn the_record_of_a_failed_run_survives() {
    let disk = Disk::new();
    let repository = disk.open();
    let lock = repository.lock().expect("nobody has it");
    let failed = manifest(failed_head("b_1", Some("daily"), START, Code::DatabaseLost));
    staged(&repository, "b_1").fail(&failed, FailedFiles::Remove).expect("it is recorded");
    drop(lock);
    drop(repository.lock().expect("nobody has it"));
    let catalog = disk.open().catalog().expect("it can be read");
    let entry = catalog.entries().next().expect("the record");
    assert_eq!((entry.id.as_str(), entry.outcome), ("b_1", Outcome::Failed));
    assert_eq!(entry.error.as_ref().map(|error| error.code), Some(Code::DatabaseLost));
    assert_eq!(disk.entries(), Vec::<String>::new());
}

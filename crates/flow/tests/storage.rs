//! The files of the storage service: each stored once, all of them restored.

use supakeep_flow::backup::{BackupSpec, StorageSpec};
use supakeep_flow::ports::StorageLayout;
use supakeep_flow::restore::{plan_files_alone, restore_files};
use supakeep_model::artifact::Part;
use supakeep_model::code::Code;
use supakeep_model::manifest_head::{ManifestHead, ObjectsRecord, Outcome};
use supakeep_model::parts::{PartName, Parts};
use supakeep_testkit::{Database, Script, ScriptedFolder, ScriptedPorters, ScriptedStack, Trial};

const TYPE: &str = "user.supabase.content-type";

fn files() -> ScriptedFolder {
    ScriptedFolder::default()
        .with("stub/stub/avatars/a.png/v1", "the first picture")
        .attributed("stub/stub/avatars/a.png/v1", TYPE, "image/png")
        .with("stub/stub/avatars/b.png/v1", "the second")
        .with(b"stub/stub/odd/bytes\xff/v1", "odd")
        .with("multiparts/upload-1/part-1", "half")
}

/// A trial with these files, and rows of `storage.objects` that tell of them.
fn trial(files: &ScriptedFolder) -> (Trial, BackupSpec) {
    let rows = vec![("avatars/a.png/v1".to_owned(), 17), ("avatars/b.png/v1".to_owned(), 10)];
    let postgres = Database { objects: Some(rows), ..Database::new("postgres").with("users", 30) };
    let trial = Trial {
        stack: ScriptedStack::new(&[postgres, Database::new("_supabase")]),
        porters: ScriptedPorters::default().with_storage(files.clone()),
        ..Trial::default()
    };
    let spec = with_files(&trial, 30);
    (trial, spec)
}

fn with_files(trial: &Trial, full_every: u32) -> BackupSpec {
    let storage = StorageSpec { full_every, ..StorageSpec::default() };
    BackupSpec { parts: Parts::Named(vec![PartName::Database, PartName::Storage]), storage, ..trial.spec() }
}

fn storage(head: &ManifestHead) -> (u64, u64, u32, usize) {
    let record = head.storage.as_ref().expect("it holds files");
    (record.files, record.new_files, record.increments, head.parents.len())
}

/// What a restore of a backup puts into an empty folder.
async fn restored(trial: &Trial, head: &ManifestHead) -> Result<ScriptedFolder, Code> {
    let empty = ScriptedFolder::default();
    let site = Trial { porters: ScriptedPorters::default().with_storage(empty.clone()), ..Trial::default() };
    let ports = supakeep_flow::backup::Ports { porters: site.ports().porters, ..trial.ports() };
    let manifest = trial.manifest(head);
    let code = |failure: supakeep_flow::failure::Failure| failure.code;
    let planned = plan_files_alone(&[PartName::Storage], &manifest, &ports).await.map_err(code)?;
    let reports = restore_files(&manifest, &planned, &ports).await.map_err(code)?;
    assert_eq!((&reports[0].differences, reports[0].others), (&vec![], 0));
    assert_eq!(site.porters.open_ones(), 0);
    Ok(empty)
}

fn flip(trial: &Trial, head: &ManifestHead, file: &str) {
    trial.memory.tamper(head.id.as_str(), file, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
}

/// The files of a folder that are no unfinished uploads.
fn finished(files: &ScriptedFolder) -> Vec<(String, String)> {
    files.files().into_iter().filter(|(path, _)| !path.starts_with("multiparts")).collect()
}

#[tokio::test]
async fn a_file_is_stored_once_and_every_backup_restores_all_of_its_files() {
    let files = files();
    let (trial, spec) = trial(&files);
    let first = trial.run(&spec).await;
    assert!(first.is_good(), "{:?}", first.error);
    assert_eq!(storage(&first), (3, 3, 0, 0));
    let at_first = finished(&files);
    assert_eq!(files.reads(), 3, "each file once, unfinished uploads not at all");

    files.write("stub/stub/avatars/a.png/v2", "another picture");
    files.remove("stub/stub/avatars/a.png/v1");
    let second = trial.run(&spec).await;
    assert_eq!(storage(&second), (3, 1, 1, 1));
    assert_eq!(files.reads(), 1, "what is unchanged is not even read");

    let unchanged = trial.run(&spec).await;
    assert_eq!(storage(&unchanged), (3, 0, 2, 2), "one file each is held by the first and the second");
    for (head, wanted) in [(&first, at_first), (&second, finished(&files)), (&unchanged, finished(&files))] {
        let found = restored(&trial, head).await.expect("all is there");
        assert_eq!(found.files().into_iter().collect::<Vec<_>>(), wanted);
    }
    let found = restored(&trial, &first).await.expect("all is there");
    assert_eq!(found.attributes("stub/stub/avatars/a.png/v1")[&TYPE.as_bytes().to_vec()], b"image/png");
    assert_eq!(trial.porters.swept(), 3, "what others left is removed first");
}

#[tokio::test]
async fn all_files_are_stored_again_now_and_then_and_whenever_there_is_doubt() {
    let files = files();
    let (trial, _) = trial(&files);
    let spec = with_files(&trial, 3);
    let mut counts = Vec::new();
    for _ in 0..4 {
        counts.push(storage(&trial.run(&spec).await).1);
    }
    assert_eq!(counts, [3, 0, 0, 3], "every third time");
    let damaged = trial.run(&spec).await;
    flip(&trial, &damaged, "storage.index.jsonl.zst");
    let head = trial.run(&spec).await;
    assert_eq!(storage(&head), (3, 3, 0, 0));
    let said = head.warnings.join("\n");
    assert!(
        said.contains("all files of storage are stored again") && said.contains(damaged.id.as_str()),
        "{said}"
    );
    let spec = with_files(&trial, 1);
    assert_eq!(storage(&trial.run(&spec).await).1, 3, "each time");
}

#[tokio::test]
async fn nothing_is_restored_from_a_damaged_holder() {
    let files = files();
    let (trial, spec) = trial(&files);
    let first = trial.run(&spec).await;
    let second = trial.run(&spec).await;
    flip(&trial, &first, "storage.tar.zst");
    assert_eq!(restored(&trial, &second).await.map(|_| ()), Err(Code::VerifyFailed));
}

#[tokio::test]
async fn rows_and_files_are_compared() {
    let files = files();
    let (trial, spec) = trial(&files);
    let head = trial.run(&spec).await;
    let objects = head.storage.and_then(|storage| storage.objects).expect("both were there");
    let odd = "stub/stub/odd/bytes\u{fffd}/v1".to_owned();
    let orphans =
        ObjectsRecord { rows: 2, orphaned: 1, orphaned_list: vec![odd], ..ObjectsRecord::default() };
    assert_eq!(objects, orphans);
    files.remove("stub/stub/avatars/a.png/v1");
    let head = trial.run(&spec).await;
    assert!(head.is_good(), "the dump is whole");
    assert_eq!(
        head.warnings,
        [
            "1 of 2 rows of storage.objects have no file, and 0 have one of another length: `supakeep info` lists them"
        ]
    );
    let objects = head.storage.and_then(|storage| storage.objects).expect("both were there");
    assert_eq!((objects.missing, objects.missing_list), (1, vec!["avatars/a.png/v1".to_owned()]));
    trial.stack.set_rows("postgres", Script::of("").failing(Code::DumpFailed, "no permission"));
    let head = trial.run(&spec).await;
    assert!(head.is_good());
    assert_eq!(head.warnings, ["storage.objects could not be compared with the files: no permission"]);
    let left: Vec<_> = trial.memory.files(head.id.as_str()).into_keys().collect();
    assert!(left.iter().all(|path| !path.contains("objects")), "{left:?}");
}

#[tokio::test]
async fn the_stack_tells_why_there_are_no_files() {
    let bucket = || StorageLayout::S3 { bucket: "objects".to_owned() };
    let unmounted = || StorageLayout::Unmounted { path: "/var/lib/storage".to_owned() };
    for (layout, words) in [(bucket(), "in the bucket objects"), (unmounted(), "GONE WITH THE CONTAINER")] {
        let (trial, spec) = trial(&files());
        let trial = Trial { porters: ScriptedPorters::default().telling(layout), ..trial };
        let head = trial.run(&spec).await;
        let error = head.error.expect("it is asked for");
        assert!(error.code == Code::FilesMissing && error.message.contains(words), "{error:?}");
        let head = trial.run(&BackupSpec { parts: Parts::Found, ..spec }).await;
        assert!(head.is_good() && head.warnings[0].contains(words), "{:?}", head.warnings);
    }
    let (trial, spec) = trial(&files());
    let trial = Trial { porters: ScriptedPorters::default().telling(StorageLayout::Absent), ..trial };
    let head = trial.run(&BackupSpec { parts: Parts::Found, ..spec }).await;
    assert!(
        !head.warnings.iter().any(|warning| warning.contains("storage")),
        "a stack without one misses none"
    );
}

#[tokio::test]
async fn lost_files_are_no_lost_rows_and_are_seen() {
    let many =
        (0..200).fold(files(), |files, number| files.with(format!("stub/stub/many/{number:03}/v1"), "x"));
    let (trial, spec) = trial(&many);
    assert!(trial.run(&spec).await.is_good());
    (0..200).for_each(|number| many.remove(format!("stub/stub/many/{number:03}/v1")));
    let head = trial.run(&spec).await;
    assert_eq!(head.outcome, Outcome::Suspect);
    let reasons = head.suspicion.expect("it is suspect").reasons;
    assert_eq!(reasons, ["files of storage: 203 files before, 3 now (99 % less)"]);
}

#[tokio::test]
async fn the_index_is_verified_like_any_file() {
    let (trial, spec) = trial(&files());
    let head = trial.run(&spec).await;
    let manifest = trial.manifest(&head);
    let parts: Vec<_> =
        manifest.artifacts.iter().map(|artifact| artifact.part).filter(|part| part.is_files()).collect();
    assert_eq!(parts, [Part::Storage, Part::StorageIndex]);
    let mut other = manifest.clone();
    other.head.storage.as_mut().expect("it holds files").files = 4;
    let open = |artifact: &supakeep_model::artifact::Artifact| {
        supakeep_flow::ports::Repository::open(&trial.memory, &head.id, &artifact.path)
    };
    let proof =
        supakeep_flow::verify::verify(&other, open, &*trial.clock, |_| {}).await.expect("it can be read");
    assert_eq!(
        proof.differences,
        ["storage.index.jsonl.zst: the index of files is not the one that was recorded"]
    );
}

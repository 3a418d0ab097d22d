//! Exports in a folder: there with one rename, gone with one rename, and apart from the backups.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Arc;

use supakeep_flow::ports::{Exports as _, Repository as _};
use supakeep_model::code::Code;
use supakeep_model::id::BackupId;
use supakeep_model::sample::export;
use supakeep_store::{LocalExports, LocalRepository};
use supakeep_testkit::{START, TestClock};
use tokio::io::AsyncReadExt as _;

struct Both {
    folder: tempfile::TempDir,
    backups: LocalRepository,
    exports: LocalExports,
}

fn both() -> Both {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Arc::new(TestClock::at(START));
    let backups = LocalRepository::new(folder.path(), "supabase", "a test", clock);
    backups.prepare().expect("a folder of ours");
    let exports = LocalExports::new(folder.path(), "supabase");
    Both { folder, backups, exports }
}

fn id(text: &str) -> BackupId {
    text.parse().expect("an id")
}

impl Both {
    fn make(&self, name: &str) {
        let staging = self.exports.stage(&id(name)).expect("it can be begun");
        let mut file = staging.files().create("public.t.jsonl").expect("room for a file");
        file.write_all(b"{}\n").expect("room");
        file.sync().expect("a disk");
        staging.commit(&export(name, Some("configs"), START)).expect("it can be committed");
    }

    fn ids(&self) -> Vec<String> {
        self.exports.catalog().expect("it can be read").entries().map(|entry| entry.id.to_string()).collect()
    }
}

#[tokio::test]
async fn an_export_is_there_when_it_is_committed_and_no_backup_is() {
    let both = both();
    assert!(both.ids().is_empty());
    let staging = both.exports.stage(&id("configs_1")).expect("it can be begun");
    staging.files().create("public.t.jsonl").expect("room").sync().expect("a disk");
    assert!(both.ids().is_empty());
    drop(staging);
    both.make("configs_2");
    assert_eq!(both.ids(), ["configs_2"]);
    let catalog = both.backups.catalog().expect("it can be read");
    assert_eq!((catalog.entries().len(), catalog.unreadable().len()), (0, 0));
    let mut text = String::new();
    let mut file = both.exports.open(&id("configs_2"), "public.t.jsonl").expect("it is there");
    file.read_to_string(&mut text).await.expect("text");
    assert_eq!(text, "{}\n");
    for wrong in ["../../.lock", "/etc/passwd", ""] {
        let refused = both.exports.open(&id("configs_2"), wrong).err().map(|error| error.code);
        assert_eq!(refused, Some(Code::ManifestDamaged), "{wrong}");
    }
    let mode = |path: &str| {
        fs::metadata(both.exports.folder().join(path)).expect("it is there").permissions().mode() & 0o777
    };
    assert_eq!((mode(""), mode("configs_2"), mode("configs_2/public.t.jsonl")), (0o700, 0o700, 0o600));
}

#[test]
fn what_is_half_made_is_swept_by_whoever_takes_the_lock() {
    let both = both();
    let staging = both.exports.stage(&id("configs_1")).expect("it can be begun");
    staging.files().create("public.t.jsonl").expect("room").sync().expect("a disk");
    std::mem::forget(staging);
    let incoming = both.folder.path().join("supabase/.incoming");
    assert!(incoming.join("configs_1").is_dir());
    drop(both.backups.lock().expect("nobody has it"));
    assert_eq!(fs::read_dir(&incoming).expect("it is there").count(), 0);
    assert!(both.ids().is_empty());
}

#[test]
fn what_cannot_be_named_is_neither_listed_nor_removed() {
    let both = both();
    both.make("configs_1");
    let folder = both.exports.folder();
    fs::create_dir(folder.join("not ours")).expect("room");
    fs::create_dir(folder.join("no-manifest")).expect("room");
    fs::write(folder.join("a-file"), "x").expect("room");
    symlink(folder.join("configs_1"), folder.join("a-link")).expect("room");
    fs::create_dir(folder.join("damaged")).expect("room");
    fs::write(folder.join("damaged/manifest.json"), "{\"format\": 1").expect("room");
    fs::create_dir(folder.join("copied")).expect("room");
    fs::copy(folder.join("configs_1/manifest.json"), folder.join("copied/manifest.json")).expect("room");
    let catalog = both.exports.catalog().expect("it can be read");
    let unreadable: Vec<_> = catalog.unreadable().iter().map(|other| other.folder.as_str()).collect();
    assert_eq!((both.ids(), unreadable), (vec!["configs_1".to_owned()], vec!["copied", "damaged"]));
    assert!(catalog.contains(&id("damaged")), "its name is taken");
    for wrong in ["a-link", "a-file", "nothing"] {
        let refused = both.exports.remove(&id(wrong)).err().map(|error| error.code);
        assert_eq!(refused, Some(Code::ExportNotFound), "{wrong}");
    }
    both.exports.remove(&id("configs_1")).expect("it is ours");
    assert!(both.ids().is_empty() && folder.join("copied/manifest.json").is_file());
    assert_eq!(
        both.exports.remove(&id("configs_1")).err().map(|error| error.code),
        Some(Code::ExportNotFound)
    );
}

#[test]
fn a_name_is_never_taken_twice() {
    let both = both();
    both.make("configs_1");
    let staging = both.exports.stage(&id("configs_1")).expect("it can be begun");
    assert!(staging.commit(&export("configs_1", Some("configs"), START)).is_err());
    assert_eq!(both.ids(), ["configs_1"]);
}

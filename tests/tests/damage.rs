//! Damage to a stored backup is found, whatever it is and wherever.

use std::fs;
use std::path::Path;

use supakeep_tests::{Keeper, Pg, Stack};

/// What can happen to a file.
const ACTIONS: [&str; 4] = ["delete", "truncate", "flip", "append"];

fn damage(path: &Path, action: &str) {
    let mut bytes = fs::read(path).expect("the file is there");
    match action {
        "delete" => return fs::remove_file(path).expect("our own file"),
        "truncate" => bytes.truncate(bytes.len() - 1),
        "flip" => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x01;
        }
        _ => bytes.push(b'x'),
    }
    fs::write(path, bytes).expect("room for a file");
}

fn is_found(settings: &[(&str, &str)]) {
    let stack = Stack::shared(Pg::V17);
    let mut keeper = Keeper::new(&stack);
    settings.iter().for_each(|(name, value)| keeper.set(name, value));
    let id = keeper.backup(&[]);
    let folder = keeper.folder().join(&id);
    let files: Vec<_> = keeper.manifest(&id).artifacts.into_iter().map(|artifact| artifact.path).collect();
    for file in files {
        let path = folder.join(&file);
        let original = fs::read(&path).expect("the file is there");
        for action in ACTIONS {
            damage(&path, action);
            let ended = keeper.run(&["--json", "verify", &id]);
            assert_eq!(ended.code(), 5, "{action} {file}: {}", ended.text());
            assert!(ended.stderr.contains(&file), "{action} {file}: {}", ended.stderr);
            assert!(keeper.run(&["info", &id]).text().contains("FAILED"), "{action} {file}");
            fs::write(&path, &original).expect("room for a file");
        }
        keeper.run(&["verify", &id]).ok();
    }
}

#[test]
fn damage_to_a_plain_backup_is_found() {
    is_found(&[]);
}

#[test]
fn damage_to_a_zstd_backup_is_found() {
    is_found(&[("SUPAKEEP_DUMP__COMPRESSION", "zstd:3")]);
}

#[test]
fn damage_to_a_custom_archive_is_found() {
    is_found(&[("SUPAKEEP_DUMP__FORMAT", "custom")]);
}

#[test]
fn damage_to_an_uncompressed_backup_is_found() {
    is_found(&[("SUPAKEEP_DUMP__COMPRESSION", "none")]);
}

#[test]
fn a_damaged_backup_does_not_count() {
    let stack = Stack::shared(Pg::V15);
    let keeper = Keeper::new(&stack).with("SUPAKEEP_PROFILES__DAILY__KEEP__LAST", "1");
    let first = keeper.backup(&["--profile", "daily"]);
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let second = keeper.backup(&["keep-me", "--profile", "daily"]);
    damage(&keeper.folder().join(&second).join("postgres.sql.gz"), "flip");
    assert_eq!(keeper.run(&["verify", &second]).code(), 5);
    assert_eq!(fs::read_link(keeper.folder().join("latest")).expect("a link"), Path::new(&first));
    assert_eq!(fs::read_link(keeper.folder().join("latest-daily")).expect("a link"), Path::new(&first));
    let status = keeper.run(&["status"]);
    assert_eq!(status.code(), 1, "{}", status.text());
    keeper.run(&["cleanup"]).ok();
    assert_eq!(keeper.ids(), [second, first]);
}

#[test]
fn a_damaged_manifest_is_reported_and_hides_no_other_backup() {
    let stack = Stack::shared(Pg::V15);
    let keeper = Keeper::new(&stack);
    let ids = [keeper.backup(&["one"]), keeper.backup(&["two"])];
    for action in ["truncate-half", "flip", "empty"] {
        let path = keeper.folder().join(&ids[0]).join("manifest.json");
        let original = fs::read(&path).expect("a manifest");
        match action {
            "truncate-half" => fs::write(&path, &original[..original.len() / 100]),
            "flip" => fs::write(&path, [b"\xff", &original[1..]].concat()),
            _ => fs::write(&path, b""),
        }
        .expect("room for a file");
        assert_eq!(keeper.ids(), [ids[1].as_str()], "{action}");
        let listed = keeper.run(&["list"]).ok();
        assert!(
            listed.stderr.contains("manifest-damaged") && listed.stderr.contains(&ids[0]),
            "{action}: {}",
            listed.stderr
        );
        assert_eq!(keeper.run(&["check"]).code(), 1, "{action}");
        fs::write(&path, original).expect("room for a file");
    }
    keeper.run(&["verify", "--all"]).ok();
}

#[test]
fn a_backup_that_lost_most_of_its_data_is_suspect_until_it_is_accepted() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let keeper = Keeper::new(&stack).with("SUPAKEEP_PROFILES__DAILY__KEEP__LAST", "1");
    let good = keeper.backup(&["--profile", "daily"]);
    stack.sql("SET session_replication_role = replica; DELETE FROM auth.users WHERE id NOT IN (SELECT id FROM auth.users LIMIT 100); DROP TABLE public.duplicates;");
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let ended = keeper.run(&["--json", "backup", "--profile", "daily"]);
    assert_eq!((ended.code(), ended.stderr.contains("error[suspect]")), (1, true), "{}", ended.stderr);
    for part in ["auth.users: 500 rows before, 100 now", "public.duplicates is missing"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    let ids = keeper.ids();
    assert_eq!(ids.len(), 2, "retention ran after a suspect backup");
    assert_eq!(fs::read_link(keeper.folder().join("latest")).expect("a link"), Path::new(&good));
    keeper.run(&["verify", &ids[0], "--accept"]).ok();
    assert_eq!(fs::read_link(keeper.folder().join("latest")).expect("a link"), Path::new(&ids[0]));
    keeper.run(&["cleanup"]).ok();
    assert_eq!(keeper.ids(), [ids[0].as_str()]);
}

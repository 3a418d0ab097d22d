//! The storage service's files: every byte, attribute, mode and owner, out of a volume and back into it.

use std::process::Command;

use supakeep_tests::storage_files::{ODD_FILES, StorageFiles, difference};
use supakeep_tests::{Keeper, Pg, Stack, docker, run};

/// A stack with a storage service, and a supakeep that keeps its files.
fn stack(pg: Pg) -> (Stack, Keeper) {
    let stack = Stack::private_with(pg, &["db", "storage"], &[("STACK_WRITE_INTERVAL_MS", "60000")]);
    let keeper = Keeper::new(&stack).with("SUPAKEEP_PARTS", "database,storage");
    (stack, keeper)
}

fn files(stack: &Stack) -> StorageFiles {
    StorageFiles::of(&stack.project)
}

fn restored_is_equal(stack: &Stack, keeper: &Keeper, arguments: &[&str], wanted: &str) {
    files(stack).sh("find . -mindepth 1 -delete");
    keeper.run(arguments).ok();
    let found = files(stack).listing();
    assert!(found == *wanted, "{}", difference(wanted, &found));
}

#[test]
fn every_file_comes_back_with_all_that_belongs_to_it() {
    for pg in Pg::ALL {
        let (stack, keeper) = stack(pg);
        files(&stack).sh(ODD_FILES);
        let checked = keeper.run(&["check"]).ok().text();
        assert!(checked.contains("files") && checked.contains("storage can be packed"), "{checked}");
        let first = keeper.backup(&[]);
        let head = keeper.manifest(&first).head;
        let record = head.storage.expect("it holds files");
        assert_eq!(
            (record.prefix.as_str(), record.increments, record.new_files),
            ("stub/stub/", 0, record.files)
        );
        let objects = record.objects.expect("there are rows");
        assert!(
            objects.rows > 3 && objects.missing >= objects.rows - 3,
            "the look-alike has more rows than files"
        );
        let at_first = files(&stack).listing();

        // A second one holds what is new, and nothing else.
        files(&stack)
            .sh("printf new >stub/stub/odd/new; rm stub/stub/odd/-rf; chmod 0600 stub/stub/odd/empty");
        let second = keeper.backup(&[]);
        let head = keeper.manifest(&second).head;
        let record = head.storage.expect("it holds files");
        assert_eq!(
            (record.new_files, head.parents.len()),
            (2, 1),
            "the new one, and the one whose mode changed"
        );
        let at_second = files(&stack).listing();

        keeper.run(&["verify", &first]).ok();
        keeper.run(&["verify", &second]).ok();
        for (id, wanted) in [(&second, &at_second), (&first, &at_first)] {
            restored_is_equal(&stack, &keeper, &["restore", id, "--parts", "storage", "--yes"], wanted);
        }
        // A file that is there and not in the backup stays.
        files(&stack).sh("printf later >later");
        let said = keeper.run(&["restore", &second, "--parts", "storage", "--yes"]).ok();
        assert!(said.stderr.contains("entries that the backup does not have stay there"), "{}", said.stderr);
        assert_eq!(files(&stack).sh("cat later"), "later");
        // And with the databases, as it is without a word.
        let whole = keeper.run(&["restore", &second, "--no-safety-backup", "--yes"]).ok().text();
        assert!(whole.contains("storage") && whole.contains("equal"), "{whole}");
        // The parent of a backup is kept for it.
        let kept = keeper.run(&["delete", &first, "--yes"]);
        assert_ne!(kept.code(), 0, "{}", kept.text());
        nothing_is_left(&stack, &keeper);
    }
}

/// No container of ours, and no half-written file.
fn nothing_is_left(stack: &Stack, keeper: &Keeper) {
    let identity = std::fs::read_to_string(keeper.folder().join(".repository.json")).unwrap_or_default();
    let listed =
        docker(&["ps", "-a", "--filter", "label=org.supakeep.porter", "--format", "{{.Labels}}"]).ok().text();
    let ours = listed
        .lines()
        .filter(|labels| labels.split(['=', ',']).any(|word| word.len() > 8 && identity.contains(word)));
    assert_eq!(ours.count(), 0, "{listed}");
    assert_eq!(files(stack).sh("find . -name '.supakeep-being-written-*'"), "");
}

#[test]
fn a_person_can_restore_them_with_tar() {
    let (stack, keeper) = stack(Pg::V17);
    files(&stack).sh(ODD_FILES);
    let id = keeper.backup(&[]);
    let wanted = files(&stack).listing();
    files(&stack).sh("find . -mindepth 1 -delete");
    let archive = keeper.folder().join(&id).join("storage.tar.zst");
    let command = format!(
        "unzstd -c '{}' | docker run --rm -i --network none -v {}_storage:/restore -u 0:0 {} \
         tar -x -p --numeric-owner --xattrs --xattrs-include='user.*' -C /restore -f - 2>&1",
        archive.display(),
        stack.project,
        stack.pg.image()
    );
    let said = run(Command::new("sh").args(["-c", &command]), b"").ok().text();
    let odd = |line: &&str| !line.contains("hdrcharset");
    assert_eq!(said.lines().filter(odd).collect::<Vec<_>>(), Vec::<&str>::new());
    let found = files(&stack).listing();
    assert!(found == wanted, "{}", difference(&wanted, &found));
}

/// An archive that somebody else made: nothing of it is written outside of the folder.
#[test]
fn a_crafted_archive_is_refused() {
    let (stack, keeper) = stack(Pg::V17);
    let id = keeper.backup(&["--parts", "database"]);
    let outside = tempfile::tempdir().expect("a temporary folder");
    let evil = |path: &str, target: Option<&str>| {
        let mut tar = tar_of(path, target);
        // What follows goes through the link, if it was a link.
        if target.is_some() {
            tar.extend(tar_of(&format!("{path}/owned"), None));
        }
        tar.extend([0; 1024]);
        tar
    };
    let target = outside.path().display().to_string();
    for archive in
        [evil("../owned", None), evil("/owned", None), evil("a/../../owned", None), evil("l", Some(&target))]
    {
        let place = tempfile::tempdir().expect("a temporary folder");
        let job = format!("{{\"root\":\"{}\",\"task\":\"unpack\"}}\n", place.path().display());
        let said = run(&mut keeper.command(&["porter"]), &[job.as_bytes(), &archive].concat()).ok().text();
        assert!(said.contains("verify-failed") && said.contains("is not put into"), "{said}");
    }
    assert_eq!(std::fs::read_dir(outside.path()).expect("it is there").count(), 0);
    assert!(!std::path::Path::new("/owned").exists());
    drop((stack, id));
}

/// A tar entry, without the archive's end.
fn tar_of(path: &str, target: Option<&str>) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, path.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, if target.is_some() { b"00000000000\0" } else { b"00000000004\0" });
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, if target.is_some() { b"2" } else { b"0" });
    put(157, target.unwrap_or_default().as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut out = header.to_vec();
    if target.is_none() {
        let mut block = [0; 512];
        block[..4].copy_from_slice(b"evil");
        out.extend(block);
    }
    out
}

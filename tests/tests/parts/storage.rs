//! The storage service's files: every byte, attribute, mode and owner, out of a volume and back into it.

use std::process::Command;

use supakeep_model::manifest::Manifest;
use supakeep_tests::{Keeper, Pg, Stack, docker, run};

/// Where the look-alike's storage service keeps its files.
const ROOT: &str = "/var/lib/storage";

/// A stack with a storage service, and a supakeep that keeps its files.
fn stack(pg: Pg) -> (Stack, Keeper) {
    let stack = Stack::private_with(pg, &["db", "storage"], &[("STACK_WRITE_INTERVAL_MS", "60000")]);
    let keeper = Keeper::new(&stack).with("SUPAKEEP_PARTS", "database,storage");
    (stack, keeper)
}

fn storage(stack: &Stack) -> String {
    format!("{}-storage-1", stack.project)
}

/// Runs a script as root where the files are.
fn sh(stack: &Stack, script: &str) -> String {
    let ended = docker(&["exec", "-u", "0:0", "-w", ROOT, &storage(stack), "sh", "-euc", script]);
    ended.ok().text()
}

/// Everything that is known of every file, by the tools of the system: content, attributes, mode, owner, time.
fn listing(stack: &Stack) -> String {
    sh(
        stack,
        "find . -mindepth 1 -path ./multiparts -prune -o -mindepth 1 -printf '%P|%y|%m|%U:%G|%T@|%l\\0' | LC_ALL=C sort -z | tr '\\0' '\\n'
         find . -path ./multiparts -prune -o -type f -printf '%P|%n\\0' | LC_ALL=C sort -z | tr '\\0' '\\n'
         find . -path ./multiparts -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum -z | tr '\\0' '\\n'
         find . -path ./multiparts -prune -o -print0 | LC_ALL=C sort -z | xargs -0 getfattr -h -d -m - 2>/dev/null",
    )
}

/// What people and programs put there, and what has broken other tools.
const ODD_FILES: &str = r#"
mkdir -p stub/stub/odd multiparts/upload
cd stub/stub/odd
printf dash >./-rf
printf line >"$(printf 'line\nend')"
printf bytes >"$(printf 'bytes\377')"
printf long >"$(printf 'n%.0s' $(seq 255))"
printf empty >/dev/null; : >empty
head -c 3000000 /dev/urandom >large
setfattr -n user.supabase.content-type -v "$(printf 'text/\377odd\nvalue')" large
setfattr -n user.empty large
ln large same-as-large
ln -s /etc/passwd link
mkdir -m 0700 private; printf x >private/x; chmod 0000 private/x; chown 1234:5678 private/x private
touch -d '1999-12-31 23:59:59.123456789' empty
printf half >/var/lib/storage/multiparts/upload/part
"#;

fn restored_is_equal(stack: &Stack, keeper: &Keeper, arguments: &[&str], wanted: &str) {
    sh(stack, "find . -mindepth 1 -delete");
    keeper.run(arguments).ok();
    let found = listing(stack);
    assert!(found == *wanted, "{}", difference(wanted, &found));
}

/// The first lines that differ.
fn difference(wanted: &str, found: &str) -> String {
    let lines = wanted.lines().zip(found.lines()).filter(|(wanted, found)| wanted != found).take(5);
    let shown: Vec<_> = lines.map(|(wanted, found)| format!("wanted {wanted}\nfound  {found}")).collect();
    format!("{} lines wanted, {} found\n{}", wanted.lines().count(), found.lines().count(), shown.join("\n"))
}

fn manifest(keeper: &Keeper, id: &str) -> Manifest {
    keeper.manifest(id)
}

#[test]
fn every_file_comes_back_with_all_that_belongs_to_it() {
    for pg in Pg::ALL {
        let (stack, keeper) = stack(pg);
        sh(&stack, ODD_FILES);
        let checked = keeper.run(&["check"]).ok().text();
        assert!(checked.contains("files") && checked.contains("storage can be packed"), "{checked}");
        let first = keeper.backup(&[]);
        let head = manifest(&keeper, &first).head;
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
        let at_first = listing(&stack);

        // A second one holds what is new, and nothing else.
        sh(&stack, "printf new >stub/stub/odd/new; rm stub/stub/odd/-rf; chmod 0600 stub/stub/odd/empty");
        let second = keeper.backup(&[]);
        let head = manifest(&keeper, &second).head;
        let record = head.storage.expect("it holds files");
        assert_eq!(
            (record.new_files, head.parents.len()),
            (2, 1),
            "the new one, and the one whose mode changed"
        );
        let at_second = listing(&stack);

        keeper.run(&["verify", &first]).ok();
        keeper.run(&["verify", &second]).ok();
        for (id, wanted) in [(&second, &at_second), (&first, &at_first)] {
            restored_is_equal(&stack, &keeper, &["restore", id, "--parts", "storage", "--yes"], wanted);
        }
        // A file that is there and not in the backup stays.
        sh(&stack, "printf later >later");
        let said = keeper.run(&["restore", &second, "--parts", "storage", "--yes"]).ok();
        assert!(said.stderr.contains("entries that the backup does not have stay there"), "{}", said.stderr);
        assert_eq!(sh(&stack, "cat later"), "later");
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
    assert_eq!(sh(stack, "find . -name '.supakeep-being-written-*'"), "");
}

#[test]
fn a_person_can_restore_them_with_tar() {
    let (stack, keeper) = stack(Pg::V17);
    sh(&stack, ODD_FILES);
    let id = keeper.backup(&[]);
    let wanted = listing(&stack);
    sh(&stack, "find . -mindepth 1 -delete");
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
    let found = listing(&stack);
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

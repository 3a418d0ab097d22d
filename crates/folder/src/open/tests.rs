use super::*;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

/// What was met, in words.
fn walked(path: &Path, wants: &dyn Fn(&Seen<'_>) -> bool) -> Vec<String> {
    let mut out = Vec::new();
    OpenFolder::open(path).expect("it is there").walk(Names::Once, wants, &mut |found| {
        let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        out.push(match found {
            Found::Missed { path, reason } => format!("{}: {reason}", show(path)),
            Found::Entry(Entry { path, content: Content::Folder, .. }) => format!("{}/", show(path)),
            Found::Entry(Entry { path, content: Content::Link(target), .. }) => {
                format!("{} -> {}", show(path), show(target))
            }
            Found::Entry(Entry { path, content: Content::Same(first), .. }) => {
                format!("{} = {}", show(path), show(first))
            }
            Found::Entry(Entry { path, content: Content::File { bytes, read }, .. }) => {
                let mut text = String::new();
                read.read_to_string(&mut text).expect("it can be read");
                format!("{} ({bytes}) {text}", show(path))
            }
        });
        true
    });
    out
}

fn all(_: &Seen<'_>) -> bool {
    true
}

#[test]
fn meets_everything_in_order_and_follows_no_link() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let outside = tempfile::tempdir().expect("a temporary folder");
    fs::write(outside.path().join("secret"), "not yours").expect("room for a file");
    let at = |name: &str| root.path().join(name);
    fs::create_dir_all(at("b/c")).expect("room for a folder");
    for (name, text) in [("-x", "dash"), ("b/c/d", "deep"), ("a", "")] {
        fs::write(at(name), text).expect("room for a file");
    }
    fs::write(root.path().join(OsStr::from_bytes(b"z\xff")), "bytes").expect("room for a file");
    symlink(outside.path(), at("out")).expect("room for a link");
    symlink("../../nowhere", at("b/broken")).expect("room for a link");
    assert_eq!(
        walked(root.path(), &all),
        [
            "-x (4) dash".to_owned(),
            "a (0) ".to_owned(),
            "b/".to_owned(),
            "b/broken -> ../../nowhere".to_owned(),
            "b/c/".to_owned(),
            "b/c/d (4) deep".to_owned(),
            format!("out -> {}", outside.path().display()),
            "z\u{fffd} (5) bytes".to_owned(),
        ]
    );
    let folder = OpenFolder::open(root.path()).expect("it is there");
    assert!(folder.has(b"b/c/d") && folder.has(b"out") && !folder.has(b"b/x"));
    assert!(!folder.has(b"out/secret"), "no link is followed");
}

#[test]
fn what_is_not_wanted_is_not_opened() {
    let root = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir_all(root.path().join("db/data")).expect("room for a folder");
    fs::write(root.path().join("kept"), "").expect("room for a file");
    assert_eq!(walked(root.path(), &|seen| seen.path != b"db"), ["kept (0) "]);
}

#[test]
fn a_pipe_is_told_and_nobody_waits_for_it() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let pipe = std::process::Command::new("mkfifo").arg(root.path().join("pipe")).status();
    assert!(pipe.expect("mkfifo is there").success());
    assert_eq!(walked(root.path(), &all), ["pipe: it is neither a file nor a folder nor a link"]);
}

#[test]
fn what_vanishes_or_is_replaced_in_the_middle_is_told_and_the_rest_is_kept() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| root.path().join(name);
    for name in ["gone", "kept", "swapped"] {
        fs::write(at(name), name).expect("room for a file");
    }
    fs::create_dir(at("folder")).expect("room for a folder");
    // Between the look at an entry and its opening.
    let meddling = |seen: &Seen<'_>| {
        match seen.path {
            b"gone" => fs::remove_file(at("gone")).expect("it was there"),
            b"folder" => {
                fs::remove_dir(at("folder")).expect("it was there");
                symlink("/etc", at("folder")).expect("room for a link");
            }
            b"swapped" => {
                fs::remove_file(at("swapped")).expect("it was there");
                symlink("/etc/passwd", at("swapped")).expect("room for a link");
            }
            _ => {}
        }
        true
    };
    assert_eq!(
        walked(root.path(), &meddling),
        [
            "folder: something else has taken its place",
            "gone: it vanished while the folder was read",
            "kept (4) kept",
            "swapped: something else has taken its place",
        ]
    );
}

#[test]
fn permissions_owners_and_times_are_told() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let path = root.path().join("tool");
    fs::write(&path, "").expect("room for a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4750)).expect("it is ours");
    let at = std::time::UNIX_EPOCH + std::time::Duration::new(1_700_000_000, 5);
    File::open(&path).and_then(|file| file.set_modified(at)).expect("it is ours");
    let mut seen = None;
    OpenFolder::open(root.path()).expect("it is there").walk(Names::Each, &all, &mut |found| {
        if let Found::Entry(entry) = found {
            seen = Some((entry.owner, entry.modified));
        }
        true
    });
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let owner = Owner { mode: 0o4750, user, group };
    assert_eq!(seen, Some((owner, (1_700_000_000, 5))));
}

use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use supakeep_flow::ports::Attributes;

fn entry<'a>(path: &'a [u8], attributes: &'a Attributes, content: Content<'a>) -> Entry<'a> {
    let about = fs::metadata("/proc/self").expect("it is always there");
    let owner = Owner { mode: 0o640, user: about.uid(), group: about.gid() };
    Entry { path, owner, modified: (1_600_000_000, 123_456_789), changed: (0, 0), attributes, content }
}

fn put(folder: &mut FillFolder, path: &[u8], content: &[u8]) -> Result<Vec<String>, Code> {
    let attributes = Attributes::from([(b"user.supakeep.test".to_vec(), path.to_vec())]);
    let content = Content::File { bytes: content.len() as u64, read: &mut &*content };
    folder.add(entry(path, &attributes, content)).map_err(|error| error.code)
}

fn put_like<'a>(folder: &mut FillFolder, path: &'a [u8], content: Content<'a>) -> Result<Vec<String>, Code> {
    const NONE: &Attributes = &Attributes::new();
    folder.add(entry(path, NONE, content)).map_err(|error| error.code)
}

#[test]
fn what_is_put_there_is_there_with_all_that_belongs_to_it() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut folder = FillFolder::open(root.path()).expect("it is there");
    fs::write(root.path().join("old"), "what was there before, which is longer").expect("room for a file");
    let long = b"n".repeat(255);
    for name in [&b"a/b/c"[..], b"old", b"-rf", b"line\nend", b"a/bytes\xff", &long] {
        assert_eq!(put(&mut folder, name, name), Ok(vec![]));
    }
    assert_eq!(put_like(&mut folder, b"a", Content::Folder), Ok(vec![]));
    assert_eq!(put_like(&mut folder, b"link", Content::Link(b"/etc/passwd")), Ok(vec![]));
    assert_eq!(put_like(&mut folder, b"a/same", Content::Same(b"old")), Ok(vec![]));
    assert_eq!(put_like(&mut folder, b"a/same", Content::Same(b"old")), Ok(vec![]), "again");
    Box::new(folder).finish().expect("it is there");
    let at = |name: &[u8]| root.path().join(OsStr::from_bytes(name));
    for name in [&b"a/b/c"[..], b"old", b"-rf", b"line\nend", b"a/bytes\xff", &long] {
        let about = fs::metadata(at(name)).expect("it is there");
        assert_eq!(fs::read(at(name)).expect("it can be read"), name);
        assert_eq!((about.mtime(), about.mtime_nsec()), (1_600_000_000, 123_456_789));
        assert_eq!(about.permissions().mode() & 0o7777, 0o640);
        let opened = File::open(at(name)).expect("it can be read");
        let wanted = Attributes::from([(b"user.supakeep.test".to_vec(), name.to_vec())]);
        assert_eq!(attributes::of(opened.as_fd()).expect("it has some"), wanted);
    }
    assert_eq!(fs::metadata(at(b"a")).expect("it is there").mtime(), 1_600_000_000, "the folder's own time");
    assert_eq!(fs::read_link(at(b"link")).expect("a link"), Path::new("/etc/passwd"));
    assert_eq!(fs::metadata(at(b"a/same")).expect("it is there").nlink(), 2);
    let left = fs::read_dir(root.path()).expect("it is there").flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().as_bytes().starts_with(BEING_WRITTEN)));
}

#[test]
fn no_path_leads_out_and_nothing_is_written_through_a_link() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let outside = tempfile::tempdir().expect("a temporary folder");
    symlink(outside.path(), root.path().join("out")).expect("room for a link");
    fs::write(root.path().join("file"), "").expect("room for a file");
    fs::write(outside.path().join("there"), "not yours").expect("room for a file");
    let mut folder = FillFolder::open(root.path()).expect("it is there");
    for path in
        [&b"../x"[..], b"a/../../x", b"/etc/x", b"out/x", b"file/x", b"", b".", b"a//b", b"a/.", b"x\0y"]
    {
        assert_eq!(put(&mut folder, path, b"evil"), Err(Code::VerifyFailed), "{path:?}");
    }
    for path in [&b"../there"[..], b"out/there", b"/etc/passwd"] {
        let linked = put_like(&mut folder, b"x", Content::Same(path));
        assert_eq!(linked, Err(Code::VerifyFailed), "{path:?}");
    }
    let left: Vec<_> = fs::read_dir(outside.path()).expect("it is there").flatten().collect();
    assert_eq!(left.len(), 1, "nothing was written outside");
    // A link in the very place of a file is replaced, and what it points at stays.
    symlink(outside.path().join("there"), root.path().join("taken")).expect("room for a link");
    assert_eq!(put(&mut folder, b"taken", b"ours"), Ok(vec![]));
    assert_eq!(fs::read(outside.path().join("there")).expect("it is there"), b"not yours");
    assert_eq!(fs::read(root.path().join("taken")).expect("it is there"), b"ours");
    // And so is one in the place of a folder.
    assert_eq!(put_like(&mut folder, b"out", Content::Folder), Ok(vec![]));
    assert_eq!(put(&mut folder, b"out/x", b"inside"), Ok(vec![]));
    assert!(!outside.path().join("x").exists());
}

#[test]
fn a_folder_in_the_place_of_a_file_is_not_removed() {
    let root = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir_all(root.path().join("a/b")).expect("room for a folder");
    let mut folder = FillFolder::open(root.path()).expect("it is there");
    assert_eq!(put(&mut folder, b"a", b""), Err(Code::VerifyFailed));
    assert!(root.path().join("a/b").is_dir());
    assert_eq!(fs::read_dir(root.path()).expect("it is there").count(), 1, "and nothing is left beside it");
}

use super::*;
use crate::inspect::Inspect as _;
use crate::inspect::tarball::Tarball;
use crate::ports::{Attributes, Owner};
use std::process::{Command, Stdio};

/// What is packed: path, link's target, mode, owner, time, and content.
struct Given<'a> {
    path: &'a [u8],
    target: Option<&'a [u8]>,
    owner: Owner,
    modified: (i64, u32),
    attributes: Attributes,
    content: Option<&'a [u8]>,
}

fn given<'a>(path: &'a [u8], content: &'a [u8]) -> Given<'a> {
    let owner = Owner { mode: 0o640, user: 1_000, group: 100 };
    let attributes = Attributes::new();
    Given { path, target: None, owner, modified: (1_700_000_000, 0), attributes, content: Some(content) }
}

fn packed(all: &[Given<'_>]) -> Vec<u8> {
    let mut pack = Pack::into(Vec::new());
    for one in all {
        let mut read = one.content.unwrap_or_default();
        let bytes = read.len() as u64;
        let content = match (one.target, one.content) {
            (Some(target), _) => Content::Link(target),
            (None, Some(_)) => Content::File { bytes, read: &mut read },
            (None, None) => Content::Folder,
        };
        let entry = Entry {
            path: one.path,
            owner: one.owner,
            modified: one.modified,
            changed: (0, 0),
            attributes: &one.attributes,
            content,
        };
        assert_eq!(pack.add(entry).expect("memory").changed, Changed::No);
    }
    let bytes = pack.finish().expect("memory");
    let mut tarball = Box::new(Tarball::default());
    tarball.push(&bytes).expect("it is whole");
    tarball.finish().expect("it is whole");
    bytes
}

/// Names that people and programs give, and that have broken archives.
fn names() -> Vec<Vec<u8>> {
    let long = |length: usize| b"n".repeat(length);
    let mut names = vec![
        b"-rf".to_vec(),
        b"--checkpoint-action=exec=id".to_vec(),
        b" blank ".to_vec(),
        b"line\nend".to_vec(),
        b"bytes\xff\xfe".to_vec(),
        "für.ts".as_bytes().to_vec(),
        long(99),
        long(100),
        long(101),
        [&long(120)[..], b"/", &long(200), b"/x"].concat(),
        [&long(150)[..], b"\xff"].concat(),
    ];
    names.extend([b"a/b/c".to_vec(), "f/ü".repeat(60).into_bytes()]);
    names
}

#[test]
fn every_name_comes_back_with_owner_mode_time_and_content() {
    let names = names();
    let files: Vec<_> = names.iter().map(|name| given(name, name)).collect();
    let bytes = packed(&files);
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut found = Vec::new();
    for entry in archive.entries().expect("it is an archive") {
        let mut entry = entry.expect("it is whole");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("it is whole");
        assert_eq!(content, entry.path_bytes().as_ref(), "the content of each is its name");
        let header = entry.header();
        assert_eq!(
            (header.mode().ok(), header.uid().ok(), header.gid().ok()),
            (Some(0o640), Some(1_000), Some(100))
        );
        assert_eq!(header.mtime().ok(), Some(1_700_000_000));
        found.push(content);
    }
    assert_eq!(found, names);
}

/// Unpacks with a program, into a folder of its own; returns the names that it lists. `None` where there is no
/// such program.
fn unpacked(program: &str, bytes: &[u8], folder: &std::path::Path) -> Option<Vec<u8>> {
    let archive = folder.join("x.tar");
    std::fs::write(&archive, bytes).expect("room for a file");
    let run = |options: &[&str]| {
        let mut command = Command::new(program);
        command
            .args(options)
            .arg(&archive)
            .current_dir(folder)
            .env("LC_ALL", "C.UTF-8")
            .stderr(Stdio::piped());
        command.output()
    };
    let listed = run(&["-tf"]).ok()?;
    assert!(listed.status.success(), "{program}: {}", String::from_utf8_lossy(&listed.stderr));
    let said = String::from_utf8_lossy(&listed.stderr);
    let remark = "Ignoring unknown extended header keyword 'hdrcharset'";
    assert!(
        said.lines().all(|line| line.ends_with(remark)) && said.lines().count() <= 1,
        "{program}: {said}"
    );
    let done = run(&["-xf"]).ok()?;
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    Some(listed.stdout)
}

#[test]
fn gnu_tar_and_bsdtar_list_and_unpack_it() {
    use std::os::unix::ffi::OsStrExt as _;
    let names = names();
    let mut files: Vec<_> = names.iter().map(|name| given(name, name)).collect();
    let long_target = b"../".repeat(50);
    files.push(Given { target: Some(b"/etc/passwd"), content: None, ..given(b"link", b"") });
    files.push(Given { target: Some(&long_target), content: None, ..given(b"long link", b"") });
    files.push(Given { modified: (1_600_000_000, 123_456_789), ..given(b"time", b"") });
    files.push(Given { modified: (-2, 500_000_000), ..given(b"old", b"") });
    let owner = Owner { mode: 0o755, user: 1_000, group: 1_000 };
    files.push(Given { owner, content: None, ..given(b"folder", b"") });
    let bytes = packed(&files);
    for program in ["tar", "bsdtar"] {
        let folder = folder_of(program);
        let Some(listed) = unpacked(program, &bytes, &folder) else { continue };
        let at = |name: &[u8]| folder.join(std::ffi::OsStr::from_bytes(name));
        for name in &names {
            let content = std::fs::read(at(name)).unwrap_or_else(|error| {
                panic!(
                    "{program}: {}: {error}\n{}",
                    String::from_utf8_lossy(name),
                    String::from_utf8_lossy(&listed)
                )
            });
            assert_eq!(&content, name, "{program}");
        }
        let target = |name: &[u8]| std::fs::read_link(at(name)).expect("a link");
        assert_eq!(target(b"link"), std::path::Path::new("/etc/passwd"), "{program}");
        assert_eq!(target(b"long link").as_os_str().as_bytes(), long_target, "{program}");
        use std::os::unix::fs::MetadataExt as _;
        let time = |name: &[u8]| {
            let about = std::fs::metadata(at(name)).expect("it is there");
            (about.mtime(), about.mtime_nsec())
        };
        assert_eq!(time(b"time"), (1_600_000_000, 123_456_789), "{program}");
        // bsdtar takes the fraction of a time before 1970 for one after it.
        if program == "tar" {
            assert_eq!(time(b"old"), (-2, 500_000_000));
        }
        assert!(at(b"folder").is_dir(), "{program}");
        std::fs::remove_dir_all(&folder).expect("it is ours");
    }
}

fn folder_of(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("supakeep-pack-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("room for a folder");
    folder
}

/// Fails after its last byte.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(io::Error::other("the disk is gone")) } else { self.0.read(buffer) }
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_does_not_break_the_archive() {
    let mut pack = Pack::into(Vec::new());
    let mut add = |bytes, read: &mut dyn Read| {
        let owner = Owner::default();
        let content = Content::File { bytes, read };
        let attributes = &Attributes::new();
        pack.add(Entry { path: b"x", owner, modified: (0, 0), changed: (0, 0), attributes, content })
            .expect("memory")
            .changed
    };
    assert_eq!(add(1_000, &mut &b"short"[..]), Changed::Shorter);
    assert_eq!(add(3, &mut &b"longer"[..]), Changed::Longer);
    assert_eq!(add(1_000, &mut Broken(b"some")), Changed::Unreadable);
    assert_eq!(add(4, &mut &b"same"[..]), Changed::No);
    assert_eq!(add(0, &mut &b""[..]), Changed::No);
    let bytes = pack.finish().expect("memory");
    let contents: Vec<_> = tar::Archive::new(bytes.as_slice())
        .entries()
        .expect("it is an archive")
        .map(|entry| {
            let mut content = Vec::new();
            entry.and_then(|mut entry| entry.read_to_end(&mut content)).expect("it is whole");
            (content.len(), content.trim_ascii_end().iter().take_while(|byte| **byte != 0).count())
        })
        .collect();
    assert_eq!(contents, [(1_000, 5), (3, 3), (1_000, 4), (4, 4), (0, 0)]);
}

#[test]
fn what_no_header_holds_is_in_the_extended_one() {
    let large = u64::from(u32::MAX) * 4;
    let found = extensions(b"x", b"", (u32::MAX, 5), (0, 0), large);
    let number = large.to_string().into_bytes();
    assert_eq!(found, [("uid".into(), u32::MAX.to_string().into_bytes()), ("size".into(), number)]);
    assert_eq!(extensions(b"x", b"", (1, 1), (1, 0), 1), []);
    for (time, text) in
        [((-2, 500_000_000), "-1.500000000"), ((-1, 0), "-1.000000000"), ((-1, 1), "-0.999999999")]
    {
        assert_eq!(decimal(time.0, time.1), text);
    }
}

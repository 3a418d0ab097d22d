//! Changing what a backup holds so that its manifest does not tell.

use std::fs;
use std::process::Command;

use crate::command::run;
use crate::keeper::Keeper;

/// Changes the content of a file of a backup, and what the manifest says of the file's bytes with it.
/// What the manifest says of tables and rows stays.
///
/// # Panics
///
/// If there is no such file, or it is compressed otherwise than with gzip.
#[track_caller]
pub fn tamper(keeper: &Keeper, id: &str, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let file = keeper.folder().join(id).join(path);
    let is_packed = path.ends_with(".gz");
    let stored = fs::read(&file).expect("the file is there");
    let mut content = if is_packed { through("gunzip", &stored) } else { stored };
    let before = content.clone();
    change(&mut content);
    assert_ne!(content, before, "nothing was changed");
    let stored = if is_packed { through("gzip", &content) } else { content.clone() };
    let mut manifest = keeper.manifest(id);
    let artifact = manifest.artifacts.iter_mut().find(|artifact| artifact.path == path);
    let artifact = artifact.expect("a file of the backup");
    (artifact.bytes, artifact.sha256) = (stored.len() as u64, sha256(&stored));
    (artifact.source_bytes, artifact.source_sha256) = (content.len() as u64, sha256(&content));
    fs::write(&file, stored).expect("room for a file");
    fs::write(keeper.folder().join(id).join("manifest.json"), manifest.to_json()).expect("room for a file");
}

/// The same for text: replaces the first occurrence.
///
/// # Panics
///
/// If `from` is not in it.
#[track_caller]
pub fn tamper_text(keeper: &Keeper, id: &str, path: &str, from: &str, to: &str) {
    tamper(keeper, id, path, |content| {
        let text = String::from_utf8(content.clone()).expect("a plain dump of UTF-8");
        assert!(text.contains(from), "{from:?} is not in {path}");
        *content = text.replacen(from, to, 1).into_bytes();
    });
}

fn through(program: &str, bytes: &[u8]) -> Vec<u8> {
    run(Command::new(program).arg("-c"), bytes).ok().stdout
}

fn sha256(bytes: &[u8]) -> String {
    let said = run(&mut Command::new("sha256sum"), bytes).ok().text();
    said.split(' ').next().unwrap_or_default().to_owned()
}

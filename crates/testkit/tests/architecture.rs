//! The shape of the workspace: which crate may use which, what the pure one must not reach, how long a
//! file may be. `cargo metadata` is asked, so what the manifests say is what is tested.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Every crate and the crates of this workspace that it may use. What is not here may not exist.
const ARROWS: [(&str, &[&str]); 9] = [
    ("supakeep-model", &[]),
    ("supakeep-flow", &["supakeep-model"]),
    ("supakeep-docker", &["supakeep-flow", "supakeep-model"]),
    ("supakeep-folder", &["supakeep-flow", "supakeep-model"]),
    ("supakeep-store", &["supakeep-flow", "supakeep-model"]),
    ("supakeep-daemon", &["supakeep-flow", "supakeep-model"]),
    (
        "supakeep",
        &[
            "supakeep-daemon",
            "supakeep-docker",
            "supakeep-flow",
            "supakeep-folder",
            "supakeep-model",
            "supakeep-store",
        ],
    ),
    ("supakeep-testkit", &["supakeep-flow", "supakeep-model"]),
    ("supakeep-tests", &["supakeep-docker", "supakeep-flow", "supakeep-model", "supakeep-store"]),
];

/// What tests may use on top of that.
const TEST_ARROWS: &[&str] = &["supakeep-testkit"];

/// Everything that the model may use, tests apart: data, calendars and errors. What is not listed
/// could read a clock, a file, the environment or a random number.
const MODEL_MAY_USE: &[&str] =
    &["bytesize", "croner", "hex", "jiff", "serde", "serde_json", "thiserror", "time"];

/// Libraries that belong to one crate: whoever needs what they do asks through a port.
const OWNERS: [(&str, &[&str]); 7] = [
    ("bollard", &["supakeep-docker", "supakeep"]),
    ("rustix", &["supakeep-folder", "supakeep-store", "supakeep", "supakeep-tests"]),
    ("tar", &["supakeep-flow"]),
    ("axum", &["supakeep-daemon"]),
    ("prometheus", &["supakeep-daemon"]),
    ("clap", &["supakeep", "supakeep-tests"]),
    ("figment", &["supakeep"]),
];

/// Paths of the standard library that reach outside, and that the model's sources must not name.
const OUTSIDE: [&str; 10] = [
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "now_utc",
    "now_local",
    "Timestamp::now",
];

/// Lines of a source file, its tests not counted.
const MAX_LINES: usize = 600;

struct Package {
    /// Of any kind but dev.
    uses: BTreeSet<String>,
    tests_use: BTreeSet<String>,
    folder: PathBuf,
}

fn packages() -> BTreeMap<String, Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages = list(&metadata["packages"]);
    packages
        .iter()
        .map(|package| {
            let dependencies = list(&package["dependencies"]);
            let (tests, rest): (Vec<_>, Vec<_>) =
                dependencies.iter().partition(|dependency| dependency["kind"] == "dev");
            let names = |list: Vec<&Value>| list.iter().map(|one| text(&one["name"])).collect();
            let manifest = PathBuf::from(text(&package["manifest_path"]));
            let folder = manifest.parent().expect("a manifest lies in a folder").to_owned();
            (text(&package["name"]), Package { uses: names(rest), tests_use: names(tests), folder })
        })
        .collect()
}

#[test]
fn every_arrow_between_crates_points_the_right_way() {
    let packages = packages();
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into();
    for (name, package) in &packages {
        let allowed = arrows.get(name.as_str());
        let allowed = allowed.unwrap_or_else(|| panic!("{name} is in no table of this test"));
        for used in package.uses.iter().filter(|used| packages.contains_key(*used)) {
            assert!(allowed.contains(&used.as_str()), "{name} must not use {used}");
        }
        for used in package.tests_use.iter().filter(|used| packages.contains_key(*used)) {
            let is_allowed = allowed.contains(&used.as_str()) || TEST_ARROWS.contains(&used.as_str());
            assert!(is_allowed, "the tests of {name} must not use {used}");
        }
    }
    assert_eq!(packages.len(), ARROWS.len(), "a crate in the table is gone: {:?}", packages.keys());
}

#[test]
fn the_model_reaches_nothing_outside() {
    let packages = packages();
    let model = &packages["supakeep-model"];
    for used in &model.uses {
        assert!(MODEL_MAY_USE.contains(&used.as_str()), "the model must not use {used}");
    }
    for file in sources(&model.folder.join("src")) {
        let text = fs::read_to_string(&file).expect("a source file");
        for path in OUTSIDE {
            assert!(!text.contains(path), "{} names {path}", file.display());
        }
    }
}

#[test]
fn a_library_that_reaches_outside_has_one_owner() {
    for (name, package) in &packages() {
        for (library, owners) in OWNERS {
            let is_used = package.uses.contains(library);
            assert!(!is_used || owners.contains(&name.as_str()), "{name} must not use {library}");
        }
    }
}

#[test]
fn no_file_is_too_long_to_read() {
    let mut seen = 0;
    for package in packages().values() {
        for file in sources(&package.folder.join("src")) {
            let text = fs::read_to_string(&file).expect("a source file");
            let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
            assert!(lines <= MAX_LINES, "{} has {lines} lines, tests not counted", file.display());
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} files were looked at");
}

/// All Rust files below `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

//! Files in backups: real folders, a real stack, and the programs that a person would use.

#[path = "parts/storage.rs"]
mod storage;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use supakeep_model::code::Code;
use supakeep_model::manifest_head::Outcome;
use supakeep_model::parts::PartName;
use supakeep_tests::{Keeper, Pg, Stack, run};

const PASSWORD: &str = "a-password-of-some-length";

const WITH_FOLDER: [PartName; 3] = [PartName::Database, PartName::Functions, PartName::Config];

/// A stack's folder as people have them.
fn make(folder: &Path) {
    let at = |path: &str| folder.join(path);
    for path in
        ["volumes/functions/main", "volumes/api", "volumes/pooler", "volumes/db/data", "volumes/storage"]
    {
        fs::create_dir_all(at(path)).expect("room for a folder");
    }
    for (path, text) in [
        (".env", format!("POSTGRES_PASSWORD={PASSWORD}\nPOSTGRES_PORT=5432\n")),
        ("docker-compose.yml", "services: {}\n".to_owned()),
        ("docker-compose.override.yml", format!("# {PASSWORD}\n")),
        ("volumes/functions/main/index.ts", "Deno.serve(() => new Response())\n".to_owned()),
        ("volumes/functions/-rf", "a name\n".to_owned()),
        ("volumes/api/kong.yml", "_format_version: '2.1'\n".to_owned()),
        ("volumes/pooler/pooler.exs", "{:ok, _} = :pooler\n".to_owned()),
        ("volumes/db/data/PG_VERSION", "17\n".to_owned()),
        ("volumes/storage/object", "stored\n".to_owned()),
    ] {
        fs::write(at(path), text).expect("room for a file");
    }
    fs::write(at("volumes/functions").join(OsStr::from_bytes(b"bytes\xff")), "odd\n")
        .expect("room for a file");
    fs::write(at("volumes/functions/large.bin"), vec![7; 5_000_000]).expect("room for a file");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(at("volumes/functions/main/index.ts"), mode).expect("it is ours");
    symlink("/etc", at("volumes/functions/outside")).expect("room for a link");
}

fn unpack(keeper: &Keeper, id: &str, file: &str, program: &str, into: &Path) {
    fs::create_dir_all(into).expect("room for a folder");
    let archive = keeper.folder().join(id).join(file);
    let listed = run(Command::new(program).arg("-tvf").arg(&archive), b"").ok();
    assert_eq!(listed.stderr, "", "{program} has nothing to remark");
    run(Command::new(program).arg("-xpf").arg(&archive).arg("-C").arg(into), b"").ok();
}

#[test]
fn a_stacks_folder_is_in_the_backup_and_comes_out_of_it_with_tar() {
    let stack = Stack::shared(Pg::V17);
    let folder = tempfile::tempdir().expect("a temporary folder");
    make(folder.path());
    let keeper = Keeper::new(&stack)
        .with("SUPAKEEP_STACK__FOLDER", &folder.path().display().to_string())
        .with("SUPAKEEP_PARTS", "database,functions,config");
    let checked = keeper.run(&["check"]).ok().text();
    assert!(checked.contains("functions, config can be packed"), "{checked}");
    let taken = keeper.run(&["backup", "before-parts"]).ok();
    assert!(taken.stderr.contains(".env: kept without its 1 secrets, as .env.redacted"), "{}", taken.stderr);
    let id = keeper.ids().remove(0);
    let manifest = keeper.manifest(&id);
    assert_eq!((manifest.head.outcome, &manifest.head.parts[..]), (Outcome::Complete, &WITH_FOLDER[..]));
    keeper.run(&["verify", &id]).ok();
    let info = keeper.run(&["info", &id]).ok().text();
    assert!(info.contains("functions.tar.gz") && info.contains("database, functions, config"), "{info}");

    let has_bsdtar = Command::new("bsdtar").arg("--version").output().is_ok();
    for program in ["tar"].into_iter().chain(has_bsdtar.then_some("bsdtar")) {
        let out = tempfile::tempdir().expect("a temporary folder");
        for file in ["functions.tar.gz", "config.tar.gz"] {
            unpack(&keeper, &id, file, program, out.path());
        }
        let same = run(
            Command::new("diff").arg("-r").arg("--no-dereference").args([folder.path(), out.path()]),
            b"",
        );
        let mut differs: Vec<_> =
            same.stdout.split(|byte| *byte == b'\n').map(String::from_utf8_lossy).collect();
        differs.retain(|line| line.starts_with("Only in") || line.starts_with("Binary"));
        let only =
            |folder: &Path, below: &str, name: &str| format!("Only in {}{below}: {name}", folder.display());
        let mut expected = vec![
            only(folder.path(), "", ".env"),
            only(out.path(), "", ".env.redacted"),
            only(folder.path(), "", "docker-compose.override.yml"),
            only(out.path(), "", "docker-compose.override.yml.redacted"),
            only(folder.path(), "/volumes", "db"),
            only(folder.path(), "/volumes", "storage"),
        ];
        differs.sort();
        expected.sort();
        assert_eq!(differs, expected, "{program}");
        let mode = fs::metadata(out.path().join("volumes/functions/main/index.ts")).expect("it is there");
        assert_eq!(mode.permissions().mode() & 0o777, 0o755, "{program}");
        let link = fs::read_link(out.path().join("volumes/functions/outside")).expect("a link");
        assert_eq!(link, Path::new("/etc"), "{program}");
    }
    no_secret_in(&keeper, &id, &taken.stderr);
}

/// The value of a secret is in no file that is no dump, not in the manifest, and not in what is said.
fn no_secret_in(keeper: &Keeper, id: &str, said: &str) {
    let folder = keeper.folder().join(id);
    let out = tempfile::tempdir().expect("a temporary folder");
    for file in ["functions.tar.gz", "config.tar.gz"] {
        unpack(keeper, id, file, "tar", out.path());
    }
    let grep = |folder: &Path| {
        let found = run(Command::new("grep").args(["-rlF", "--", PASSWORD]).arg(folder), b"");
        assert_eq!((found.code(), found.text()), (1, String::new()));
    };
    grep(out.path());
    grep(&folder);
    assert!(!said.contains(PASSWORD));
    let kept = fs::read_to_string(out.path().join(".env.redacted")).expect("it is there");
    assert!(kept.ends_with("]\nPOSTGRES_PORT=5432\n"), "{kept}");
    assert!(kept.starts_with("POSTGRES_PASSWORD=[redacted sha256:"), "{kept}");
    assert!(!folder.join(".redaction.key").exists(), "the key is in no backup");
    assert!(keeper.folder().join(".redaction.key").exists());
}

#[test]
fn a_part_that_is_named_and_not_there_is_a_failure_and_else_a_warning() {
    let stack = Stack::shared(Pg::V17);
    let empty = tempfile::tempdir().expect("a temporary folder");
    fs::write(empty.path().join("docker-compose.yml"), "").expect("room for a file");
    let keeper = Keeper::new(&stack)
        .with("SUPAKEEP_STACK__FOLDER", &empty.path().display().to_string())
        .with("SUPAKEEP_PROFILES__DAILY__PARTS", "database,functions");
    let (exit, code) = keeper.refused(&["backup", "--profile", "daily"]);
    assert_eq!((exit, code.as_str()), (1, Code::FilesMissing.as_str()));
    let checked = keeper.run(&["check"]);
    assert_eq!(checked.code(), 1);
    assert!(checked.text().contains("there is no volumes/functions"), "{}", checked.text());

    let keeper =
        keeper.with("SUPAKEEP_STACK__FOLDER", "/nowhere").with("SUPAKEEP_PROFILES__DAILY__PARTS", "database");
    let id = keeper.backup(&["--profile", "daily"]);
    assert_eq!(keeper.manifest(&id).head.warnings, Vec::<String>::new());
    let id = keeper.backup(&["--parts", "database"]);
    assert_eq!(keeper.manifest(&id).head.warnings, Vec::<String>::new());
    let keeper = keeper.without("SUPAKEEP_PARTS");
    let id = keeper.backup(&[]);
    let warnings = keeper.manifest(&id).head.warnings;
    assert!(warnings.iter().any(|warning| warning.contains("/nowhere cannot be opened")), "{warnings:?}");

    let keeper = keeper.with("SUPAKEEP_PROFILES__DAILY__PARTS", "database,mail");
    let said = keeper.run(&["config"]);
    assert_eq!(said.code(), 2);
    assert!(said.stderr.contains("there are database, storage, functions, config"), "{}", said.stderr);
}

//! What is printed where.

use std::process::{Command, Stdio};

use supakeep_tests::{run, spawn};

use crate::shelf::Shelf;

const COMMANDS: [&str; 12] = [
    "daemon",
    "backup",
    "list",
    "info",
    "verify",
    "delete",
    "cleanup",
    "status",
    "check",
    "config",
    "completions",
    "man",
];
const ESCAPE: char = '\u{1b}';

#[test]
fn the_help_names_every_command_and_each_has_its_own() {
    let shelf = Shelf::new();
    let help = shelf.keeper.run(&["--help"]).ok().text();
    for command in COMMANDS {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {help}");
        let own = shelf.keeper.run(&[command, "--help"]).ok().text();
        assert!(own.contains(&format!("supakeep {command}")) && own.contains("--json"), "{own}");
    }
    for option in ["--config", "--json", "--quiet", "--color"] {
        assert!(help.contains(option), "{option}");
    }
    let version = shelf.keeper.run(&["--version"]).ok().text();
    assert!(version.starts_with(concat!("supakeep ", env!("CARGO_PKG_VERSION"))), "{version}");
}

#[test]
fn wrong_usage_ends_with_two_and_says_what_is_right() {
    let shelf = Shelf::new();
    for (arguments, part) in [
        (&[][..], "Usage: supakeep"),
        (&["bakcup"], "a similar subcommand exists: 'backup'"),
        (&["list", "--profil", "x"], "a similar argument exists: '--profile'"),
        (&["info"], "<ID>"),
        (&["verify"], "<ID|--latest|--all>"),
        (&["verify", "x", "--all"], "cannot be used with"),
        (&["verify", "--all", "--accept"], "cannot be used with"),
        (&["delete"], "<IDS>..."),
        (&["backup", "--format", "tar"], "`tar` is none of plain, custom, directory"),
        (&["list", "--color", "sometimes"], "[possible values: auto, always, never]"),
        (&["completions", "cmd"], "[possible values: bash"),
    ] {
        let ended = shelf.keeper.run(arguments);
        assert_eq!((ended.code(), ended.text()), (2, String::new()), "{arguments:?}");
        assert!(ended.stderr.contains(part), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn completions_and_manual_page_name_every_command() {
    let shelf = Shelf::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = shelf.keeper.run(&["completions", shell]).ok();
        for command in COMMANDS {
            assert!(script.text().contains(command), "{command} is not in the completions for {shell}");
        }
        if shell == "bash" {
            run(Command::new("bash").arg("-n"), &script.stdout).ok();
        }
    }
    let page = shelf.keeper.run(&["man"]).ok().text();
    assert!(page.contains(".TH supakeep 1"), "{page}");
    for command in COMMANDS {
        assert!(page.contains(&format!("supakeep\\-{command}")), "{command} is not in the manual page");
    }
    // Neither needs a configuration that is right.
    let broken = Shelf::new().with("SUPAKEEP_TIMEZONE", "Mars");
    broken.keeper.run(&["completions", "bash"]).ok();
    broken.keeper.run(&["man"]).ok();
}

#[test]
fn colours_come_when_they_are_asked_for() {
    let shelf = Shelf::new();
    shelf.of_profile("daily", 5);
    for (arguments, coloured) in [
        (&["--color", "always", "list"][..], true),
        (&["list", "--color=always"], true),
        (&["--color", "never", "list"], false),
        (&["list"], false),
        (&["--color", "always", "--json", "list"], false),
    ] {
        let text = shelf.keeper.run(arguments).ok().text();
        assert_eq!(text.contains(ESCAPE), coloured, "{arguments:?}: {text}");
    }
    let shelf = shelf.with("NO_COLOR", "1");
    assert!(!shelf.keeper.run(&["list"]).ok().text().contains(ESCAPE));
}

#[test]
fn quiet_leaves_only_errors_on_standard_error() {
    let shelf = Shelf::new();
    assert!(!shelf.keeper.run(&["list"]).ok().stderr.is_empty());
    assert_eq!(shelf.keeper.run(&["--quiet", "list"]).ok().stderr, "");
    shelf.of_profile("daily", 5);
    let broken = shelf.keeper.folder().join("broken_1");
    std::fs::create_dir(&broken).expect("room for a folder");
    std::fs::write(broken.join("manifest.json"), "{").expect("room for a file");
    let ended = shelf.keeper.run(&["list", "-q"]).ok();
    assert!(ended.stderr.is_empty() && ended.text().contains("daily"), "{}", ended.stderr);
    let failed = shelf.keeper.run(&["-q", "info", "nothing"]);
    assert!(
        failed.stderr.starts_with("error[backup-not-found]: there is no backup nothing\n  hint: "),
        "{}",
        failed.stderr
    );
    let failed = shelf.keeper.run(&["-q", "backup"]);
    assert!(failed.stderr.starts_with("error[docker-unreachable]"), "{}", failed.stderr);
}

#[test]
fn with_json_there_is_one_document_on_standard_output_and_nothing_else() {
    let shelf = Shelf::new();
    shelf.of_profile("daily", 30);
    let id = shelf.of_profile("daily", 5);
    shelf.suspect(3);
    for (arguments, exit) in [
        (&["list"][..], 0),
        (&["info", "latest"], 0),
        (&["verify", "--latest"], 0),
        (&["cleanup", "--dry-run"], 0),
        (&["cleanup"], 0),
        (&["config"], 0),
        (&["status"], 0),
        (&["status", "--live"], 1),
        (&["check"], 1),
        (&["backup"], 1),
        (&["backup", "--dry-run"], 1),
        (&["backup", "a/b"], 2),
        (&["info", "nothing"], 3),
        (&["delete", "latest"], 2),
        (&["delete", "latest", "--yes"], 0),
    ] {
        let ended = shelf.keeper.run(&[arguments, &["--json"]].concat());
        assert_eq!(ended.code(), exit, "{arguments:?}: {}", ended.stderr);
        let json = ended.json();
        let is_error = json.get("error").is_some();
        // `check` and `status --live` say in their result what is wrong.
        assert_eq!(
            is_error,
            exit != 0 && !["check", "status"].contains(&arguments[0]),
            "{arguments:?}: {json}"
        );
        assert!(!is_error || json["error"]["hint"].is_string(), "{json}");
    }
    assert!(!shelf.keeper.ids().contains(&id));
    let shelf = Shelf::new().with("SUPAKEEP_TIMEZONE", "Mars");
    let ended = shelf.keeper.run(&["--json", "config"]);
    assert_eq!((ended.code(), &ended.json()["error"]["code"]), (2, &"config-invalid".into()));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let shelf = Shelf::new();
    shelf.of_profile("daily", 5);
    let mut command = shelf.keeper.command(&["info", "latest"]);
    let mut child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("a child can be waited for");
    assert!(ended.status.success() && ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
}

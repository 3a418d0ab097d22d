//! A configuration is checked as a whole before anything starts, and shows no secret.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use supakeep_tests::{Ended, Keeper, run};

use crate::shelf::Shelf;

const SECRET: &str = "hunter2-and-more";
const EXAMPLE: &str = include_str!("../../../config/supakeep.example.toml");

/// Runs a command with this configuration file. Its path is told as `FILE`.
fn with_file(shelf: &Shelf, toml: &str, arguments: &[&str]) -> Ended {
    let path = shelf.keeper.repository().join("supakeep.toml");
    fs::write(&path, toml).expect("room for a file");
    let path = path.display().to_string();
    let mut ended = shelf.keeper.run(&[&["--config", &path], arguments].concat());
    ended.stderr = ended.stderr.replace(&path, "FILE");
    ended
}

/// What is said of a configuration that is refused.
#[track_caller]
fn refused(shelf: &Shelf, toml: &str) -> String {
    let ended = with_file(shelf, toml, &["list"]);
    assert_eq!((ended.code(), ended.text()), (2, String::new()), "{toml}: {}", ended.stderr);
    assert!(ended.stderr.starts_with("error[config-invalid]: "), "{}", ended.stderr);
    ended.stderr
}

/// The values that are in force: key, value, origin.
#[track_caller]
fn in_force(ended: Ended) -> Vec<(String, String, String)> {
    let json = ended.ok().json();
    let values = json["values"].as_array().expect("a list of values").clone();
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    values.iter().map(|one| (text(&one["key"]), text(&one["value"]), text(&one["origin"]))).collect()
}

fn value_of(values: &[(String, String, String)], key: &str) -> (String, String) {
    let found = values.iter().find(|(name, ..)| name == key);
    let (_, value, origin) = found.unwrap_or_else(|| panic!("{key} is not in {values:#?}"));
    (value.clone(), origin.clone())
}

#[test]
fn an_unknown_key_is_named_with_its_origin_and_what_is_meant() {
    let shelf = Shelf::new();
    let said = refused(&shelf, "[repository]\nmin_fre = '1GiB'\n");
    assert!(
        said.contains("repository.min_fre (from FILE): unknown key; did you mean repository.min_free?"),
        "{said}"
    );
    let said = refused(&shelf, "[zoo]\nlion = 1\n");
    assert!(said.contains("zoo (from FILE): unknown key; known here: "), "{said}");
    let shelf = shelf.with("SUPAKEEP_PROFILES__DAILY__SHEDULE", "0 3 * * *");
    let ended = shelf.keeper.run(&["list"]);
    assert_eq!(ended.code(), 2);
    let fault = "profiles.daily.shedule (from environment variable SUPAKEEP_PROFILES__DAILY__SHEDULE): \
                 unknown key; did you mean profiles.daily.schedule?";
    assert!(ended.stderr.contains(fault), "{}", ended.stderr);
}

#[test]
fn every_fault_is_told_at_once() {
    let shelf = Shelf::new().with("SUPAKEEP_HTTP__LISTEN", "nowhere");
    let said =
        refused(&shelf, "timezone = 'Mars/Olympus'\n[dump]\ncompression = 'lz4'\n[daemon]\ngrace = '5'\n");
    assert!(said.contains("4 faults in the configuration"), "{said}");
    for part in [
        "timezone (from FILE)",
        "dump.compression (from FILE)",
        "daemon.grace (from FILE)",
        "http.listen (from env",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let ended = shelf.keeper.run(&["--json", "list"]);
    let error = &ended.json()["error"];
    assert_eq!((ended.code(), &error["code"]), (2, &"config-invalid".into()));
    assert!(error["message"].as_str().is_some_and(|message| message.contains("http.listen")), "{error}");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("supakeep config")), "{error}");
}

#[test]
fn what_is_impossible_is_refused_and_what_would_be_right_is_said() {
    let shelf = Shelf::new();
    for (toml, part) in [
        (
            "[profiles.daily]\nschedule = '0 0 31 2 *'\n",
            "profiles.daily.schedule (from FILE): `0 0 31 2 *` never fires",
        ),
        ("[profiles.daily]\nschedule = '61 * * * *'\n", "`61 * * * *` is not a cron expression"),
        (
            "timezone = 'Europe/Zuerich'\n",
            "`Europe/Zuerich` is not an IANA time zone; write for example Europe/Zurich",
        ),
        ("[dump]\ncompression = 'gzip:10'\n", "write gzip:1 to gzip:9, zstd:1 to zstd:19 or none"),
        ("[dump]\ncompression = 'zstd:20'\n", "`zstd:20` is not a compression"),
        ("[dump]\nformat = 'tar'\n", "dump.format (from FILE): `tar` is none of"),
        ("[dump]\nformat = 'custom'\nrows = 'inserts'\n", "needs format = \"plain\""),
        ("[stack]\nport = 70000\n", "`70000` is not a port"),
        ("[stack]\nroot_key = 'key'\n", "is neither an absolute path"),
        ("[profiles.daily]\nmax_age = '1h'\n", "every backup would be overdue"),
        (
            "[profiles.daily]\nkeep = { days = -1 }\n",
            "profiles.daily.keep.days (from FILE): `-1` is not a whole number",
        ),
        ("[profiles.daily.gate]\nmax_shrink = 2\n", "is not a number between 0 and 1"),
        ("[profiles.'$(id)']\nschedule = '@daily'\n", "cannot be a name"),
        ("[profiles.'../up']\nschedule = '@daily'\n", "cannot be a name"),
        ("[profiles.daily]\nlabels = [\"a\\nb\"]\n", "cannot be a name"),
        ("[profiles.mine]\nkeep = { last = 1 }\n", "a profile of your own needs one"),
        ("enable = ['dayly']\n", "there is no profile \"dayly\"; built in are hourly, daily"),
        ("[docker]\nhost = 'ftp://x'\n", "is not an engine's address"),
        ("[log]\nformat = 'xml'\n", "`xml` is neither text nor json"),
        ("[daemon]\ngrace = '0s'\n", "it must be more than nothing"),
        ("profiles = 'daily'\n", "a table with keys of its own is wanted here"),
        ("[stack\n", "FILE: line 1 is not TOML"),
    ] {
        let said = refused(&shelf, toml);
        assert!(said.contains(part), "{toml}: {said}");
    }
    for (name, value, part) in [
        ("SUPAKEEP_REPOSITORY__PATH", "backups", "`backups` is not an absolute path"),
        ("SUPAKEEP_REPOSITORY__MIN_FREE", "much", "`much` is not a size; write for example 500MB"),
        ("SUPAKEEP_STACK__WAIT", "5", "`5` is not a duration; write for example 90s"),
        ("SUPAKEEP_PROFILES__DAILY__CATCH_UP", "perhaps", "true or false is wanted here"),
        ("SUPAKEEP_LOG", "debug", "a table with keys of its own is wanted here"),
    ] {
        let said = refused(&Shelf::new().with(name, value), "");
        assert!(
            said.contains(part) && said.contains(&format!("(from environment variable {name})")),
            "{said}"
        );
    }
}

#[test]
fn a_file_that_is_asked_for_must_be_there() {
    let shelf = Shelf::new();
    for arguments in [["--config", "/nowhere/supakeep.toml", "list"], ["--config", "/", "list"]] {
        let ended = shelf.keeper.run(&arguments);
        assert!(ended.code() == 2 && ended.stderr.contains("cannot be read"), "{}", ended.stderr);
    }
    let shelf = shelf.with("SUPAKEEP_CONFIG", "/nowhere/else.toml");
    let ended = shelf.keeper.run(&["list"]);
    assert!(ended.code() == 2 && ended.stderr.contains("/nowhere/else.toml"), "{}", ended.stderr);
}

/// Everything a command said, wherever.
fn all_of(ended: &Ended) -> String {
    format!("{}{}", ended.text(), ended.stderr)
}

#[test]
fn secrets_are_never_printed() {
    let secrets =
        ["SUPAKEEP_STACK__PASSWORD", "SUPAKEEP_HTTP__TOKEN", "POSTGRES_PASSWORD", "SUPABASE_DB_PASSWORD"];
    let shelf = secrets.iter().fold(Shelf::new(), |shelf, name| shelf.with(name, SECRET));
    for arguments in [
        &["config"][..],
        &["--json", "config"],
        &["list"],
        &["check"],
        &["status"],
        &["backup"],
        &["daemon", "--help"],
    ] {
        let said = all_of(&shelf.keeper.run(arguments));
        assert!(!said.contains(SECRET), "{arguments:?}: {said}");
    }
    assert_eq!(shelf.keeper.run(&["config"]).text().matches("[redacted]").count(), 2);
    let shelf = shelf.with("RUST_LOG", "trace");
    let said = all_of(&shelf.keeper.run(&["check"]));
    assert!(!said.contains(SECRET), "{said}");
}

#[test]
fn an_error_beside_a_secret_does_not_show_it() {
    let shelf = Shelf::new();
    for toml in [
        format!("[stack]\npassword = '{SECRET}'\npasword = '{SECRET}'\n"),
        format!("[stack]\npassword = ['{SECRET}']\n"),
        format!("[stack]\npassword = {{ value = '{SECRET}' }}\n"),
        format!("[http]\ntoken = '{SECRET}\n"),
        format!("[http]\ntoken = {SECRET}\n"),
        format!("[http]\ntoken = '{SECRET}'\ntoken = '{SECRET}'\n"),
        format!("daemon = '{SECRET}'\n"),
    ] {
        let said = refused(&shelf, &toml);
        assert!(!said.contains(SECRET), "{said}");
    }
}

#[test]
fn a_secret_may_be_in_a_file() {
    let shelf = Shelf::new();
    let path = shelf.keeper.repository().join("secret");
    let file = path.display().to_string();
    let shelf = shelf.with("SUPAKEEP_STACK__PASSWORD_FILE", &file).with("SUPAKEEP_HTTP__TOKEN_FILE", &file);
    let missing = shelf.keeper.run(&["config"]);
    assert_eq!(missing.code(), 2);
    for key in ["stack.password_file", "http.token_file"] {
        assert!(
            missing.stderr.contains(&format!("{key} (from environment variable SUPAKEEP_")),
            "{}",
            missing.stderr
        );
    }
    fs::write(&path, "\n").expect("room for a file");
    assert!(shelf.keeper.run(&["config"]).stderr.contains("it is empty"), "an empty secret is taken");
    fs::write(&path, format!("{SECRET}\n")).expect("room for a file");
    let values = in_force(shelf.keeper.run(&["--json", "config"]));
    let origin = |name: &str| ("[redacted]".to_owned(), format!("environment variable {name}"));
    assert_eq!(value_of(&values, "stack.password"), origin("SUPAKEEP_STACK__PASSWORD_FILE"));
    assert_eq!(value_of(&values, "http.token"), origin("SUPAKEEP_HTTP__TOKEN_FILE"));
}

#[test]
fn later_layers_win_and_each_value_knows_its_own() {
    let shelf = Shelf::new().with("SUPAKEEP_REPOSITORY__MIN_FREE", "2GiB").with("TZ", "Asia/Kolkata");
    let toml = "[repository]\nmin_free = '3GiB'\n[profiles.weekly]\nretries = 7\n";
    let ended = with_file(&shelf, toml, &["--json", "config"]);
    let file = shelf.keeper.repository().join("supakeep.toml").display().to_string();
    let values = in_force(ended);
    let variable = |name: &str| format!("environment variable {name}");
    let is = |key: &str, value: &str, origin: &str| {
        assert_eq!(value_of(&values, key), (value.to_owned(), origin.to_owned()), "{key}");
    };
    is("repository.min_free", "\"2GiB\"", &variable("SUPAKEEP_REPOSITORY__MIN_FREE"));
    is("timezone", "\"Asia/Kolkata\"", &variable("TZ"));
    is("profiles.weekly.retries", "\"7\"", &file);
    is("profiles.weekly.schedule", "[\"0 2 * * 0\"]", "default");
    is("docker.host", "\"tcp://127.0.0.1:9\"", &variable("DOCKER_HOST"));
    assert!(!values.iter().any(|(key, ..)| key.starts_with("profiles.daily")), "daily was not asked for");
}

#[test]
fn variables_that_are_no_text_are_nobody_s_or_refused() {
    let keeper = Keeper::for_project("supabase");
    let mut command = keeper.command(&["config"]);
    command.env("FOREIGN", OsStr::from_bytes(b"\xff\xfe"));
    run(&mut command, b"").ok();
    command.env("SUPAKEEP_STACK__PASSWORD", OsStr::from_bytes(b"hunter2\xff"));
    let ended = run(&mut command, b"");
    assert_eq!(ended.code(), 2, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("SUPAKEEP_STACK__PASSWORD") && !ended.stderr.contains("hunter2"),
        "{}",
        ended.stderr
    );
}

/// The example with one of its commented keys in force; none where the line is no such key.
fn with_key(line: usize) -> Option<(String, String)> {
    let lines: Vec<_> = EXAMPLE.lines().collect();
    let key = lines[line].strip_prefix("# ")?;
    // A key of a table that is commented out itself means nothing alone.
    let paragraph = lines[..line].iter().rev().take_while(|text| !text.is_empty());
    if paragraph.take_while(|text| text.starts_with('#')).any(|text| text.starts_with("# [[")) {
        return None;
    }
    let (name, _) = key.split_once(" = ")?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let text = lines.iter().enumerate().map(|(at, text)| if at == line { key } else { *text });
    is_name.then(|| (name.to_owned(), text.collect::<Vec<_>>().join("\n")))
}

#[test]
fn the_example_is_valid_as_it_is_and_with_each_key_in_force() {
    let shelf = Shelf::new();
    let secret = shelf.keeper.repository().join("secret");
    fs::write(&secret, SECRET).expect("room for a file");
    let secret = secret.display().to_string();
    with_file(&shelf, EXAMPLE, &["config"]).ok();
    let keys: Vec<_> = (0..EXAMPLE.lines().count()).filter_map(with_key).collect();
    assert!(keys.len() > 35, "only {} keys were found", keys.len());
    for (name, toml) in keys {
        let toml = ["db_password", "redis_password", "supakeep_token"]
            .iter()
            .fold(toml, |toml, name| toml.replace(&format!("/run/secrets/{name}"), &secret));
        let values = in_force(with_file(&shelf, &toml, &["--json", "config"]));
        let shown = name.trim_end_matches("_file");
        // What a variable of this test decides is shown with that origin.
        let found = values.iter().any(|(key, _, origin)| {
            key.rsplit('.').next() == Some(shown)
                && (origin.ends_with("supakeep.toml") || origin.starts_with("environment"))
        });
        assert!(found, "{name} is not in force: {values:#?}");
    }
}

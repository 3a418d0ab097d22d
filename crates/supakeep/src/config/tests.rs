use super::*;
use std::io::Write as _;
use supakeep_flow::backup::TransportChoice;
use supakeep_model::dump::{Compression, Format};
use supakeep_model::parts::{PartName, Parts};
use supakeep_model::volume::VolumeMode;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-01-01 0:00 UTC);

fn sources(toml: &str, environment: &[(&str, &str)]) -> (tempfile::NamedTempFile, Sources) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(toml.as_bytes()).expect("room for a file");
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let sources = Sources { file: Some(file.path().to_owned()), environment, ..Sources::default() };
    (file, sources)
}

fn read(toml: &str, environment: &[(&str, &str)]) -> Settings {
    let (_file, sources) = sources(toml, environment);
    load(&sources, NOW).unwrap_or_else(|faults| panic!("{faults}")).settings
}

fn faults(toml: &str, environment: &[(&str, &str)]) -> Vec<Fault> {
    let (file, sources) = sources(toml, environment);
    let path = file.path().display().to_string();
    let Err(Faults(mut faults)) = load(&sources, NOW) else { panic!("{toml} is accepted") };
    for fault in &mut faults {
        fault.key = fault.key.replace(&path, "FILE");
        fault.origin = fault.origin.take().map(|origin| origin.replace(&path, "FILE"));
    }
    faults
}

fn names(settings: &Settings) -> Vec<&str> {
    settings.profiles.iter().map(|profile| profile.name.as_str()).collect()
}

#[test]
fn with_nothing_at_all_there_is_the_daily_profile() {
    let settings = load(&Sources::default(), NOW).unwrap_or_else(|faults| panic!("{faults}")).settings;
    assert_eq!(names(&settings), ["daily"]);
    assert_eq!(settings.profiles[0].keep.days, Some(7));
    assert_eq!(settings.dump.compression, Compression::Gzip(6));
    assert_eq!(settings.http.listen.to_string(), "0.0.0.0:9177");
    assert_eq!(settings.repository.min_free_bytes, 1 << 30);
    assert_eq!(settings.zone.name(), "UTC");
}

#[test]
fn reads_the_example_of_the_documentation() {
    let example = include_str!("../../../../config/supakeep.example.toml");
    let settings = read(example, &[]);
    assert_eq!(settings.zone.name(), "Europe/Zurich");
    assert!(names(&settings).contains(&"daily"));
}

#[test]
fn a_variable_means_the_profile_of_the_file_however_its_name_is_written() {
    for name in ["my_profile", "my-profile", "My_Profile"] {
        let toml = format!("[profiles.{name}]\nschedule = \"0 1 * * *\"\nkeep = {{ days = 3 }}\n");
        let settings = read(&toml, &[("SUPAKEEP_PROFILES__MY_PROFILE__KEEP__DAYS", "9")]);
        assert_eq!((names(&settings), settings.profiles[0].keep.days), (vec![name], Some(9)));
    }
    let alone = [
        ("SUPAKEEP_PROFILES__MY_PROFILE__SCHEDULE", "0 1 * * *"),
        ("SUPAKEEP_ENABLE", "my_profile,four_times_daily"),
    ];
    assert_eq!(names(&read("", &alone)), ["my-profile", "four-times-daily"]);
    let twins =
        "[profiles.my_profile]\nschedule = \"0 1 * * *\"\n[profiles.my-profile]\nschedule = \"0 2 * * *\"\n";
    let found = faults(twins, &[]);
    assert!(found.iter().any(|fault| fault.message.contains("is the same name to a variable")), "{found:?}");
}

#[test]
fn no_fault_hides_another() {
    let toml = "unknown = 1\n[stack]\nuser = \"\"\nroot_key = \"key\"\nwait = \"soon\"\n\
                [dump]\ntransport = \"pigeon\"\n[http]\nlisten = \"here\"\n[drill]\nschedule = \"never\"\n";
    let found = faults(toml, &[]);
    let keys: Vec<_> = found.iter().map(|fault| fault.key.as_str()).collect();
    for key in [
        "stack.user",
        "stack.root_key",
        "stack.wait",
        "dump.transport",
        "http.listen",
        "drill.schedule",
        "unknown",
    ] {
        assert!(keys.contains(&key), "{key}: {keys:?}");
    }
}

#[test]
fn of_a_secret_and_its_file_the_later_layer_counts() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    writeln!(file, "from the file ").expect("room for a file");
    let path = file.path().display().to_string();
    let toml = format!("[stack]\npassword_file = \"{path}\"\n");
    let password = |toml: &str, environment: &[(&str, &str)]| {
        let password = read(toml, environment).stack.password;
        password.map(|password| password.expose().clone())
    };
    assert_eq!(password(&toml, &[]).as_deref(), Some("from the file "));
    assert_eq!(password(&toml, &[("POSTGRES_PASSWORD", "old")]).as_deref(), Some("from the file "));
    assert_eq!(password(&toml, &[("SUPAKEEP_STACK__PASSWORD", " new ")]).as_deref(), Some(" new "));
    let both = [("SUPAKEEP_STACK__PASSWORD", "a"), ("SUPAKEEP_STACK__PASSWORD_FILE", path.as_str())];
    let found = faults("", &both);
    assert_eq!(found.len(), 1);
    assert!(found[0].message.contains("stack.password_file is set too"), "{}", found[0]);
}

#[test]
fn the_readme_s_configuration_is_one() {
    let readme = include_str!("../../../../README.md");
    let toml = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let settings = read(toml.expect("there is one"), &[]);
    assert_eq!(names(&settings), ["daily", "monthly"]);
    assert_eq!(settings.profiles[0].dump.compression, Compression::Zstd(3));
    assert_eq!((settings.profiles[0].keep.daily, settings.profiles[0].keep.days), (Some(7), None));
}

#[test]
fn every_key_of_the_example_that_is_commented_out_is_valid_too() {
    let example = include_str!("../../../../config/supakeep.example.toml");
    let uncommented: String = example
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key) if is_key(key) => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .filter(|line| !line.contains("_file = "))
        .collect();
    read(&uncommented, &[]);
}

fn is_key(line: &str) -> bool {
    let name = line.split(" = ").next().unwrap_or_default();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    (is_name && name != line) || (line.starts_with('[') && line.ends_with(']'))
}

#[test]
fn presets_are_enabled_by_name_and_changed_key_by_key() {
    let settings = read("enable = ['weekly', 'daily']\n[profiles.daily]\nkeep = { last = 3 }\n", &[]);
    assert_eq!(names(&settings), ["weekly", "daily"]);
    let daily = &settings.profiles[1];
    assert_eq!((daily.keep.last, daily.keep.days), (Some(3), None));
    assert_eq!(daily.schedule.expressions()[0].to_string(), "0 2 * * *");
}

#[test]
fn the_environment_wins_over_the_file_and_old_names_lose() {
    let settings = read(
        "timezone = 'Europe/Zurich'\n[stack]\nproject = 'file'\n",
        &[
            ("SUPAKEEP_STACK__PROJECT", "mine"),
            ("TZ", "America/New_York"),
            ("SUPABASE_DB_USER", "someone"),
            ("SUPABASE_DB_PORT", "5433"),
            ("UNRELATED", "x"),
        ],
    );
    assert_eq!((settings.stack.project.as_str(), settings.zone.name()), ("mine", "Europe/Zurich"));
    assert_eq!((settings.stack.user.as_str(), settings.stack.port), ("someone", Some(5433)));
}

#[test]
fn a_profile_can_be_written_in_the_environment_alone() {
    let settings = read(
        "",
        &[
            ("SUPAKEEP_ENABLE", "four-times-daily, nightly"),
            ("SUPAKEEP_PROFILES__FOUR_TIMES_DAILY__KEEP__DAYS", "3"),
            ("SUPAKEEP_PROFILES__NIGHTLY__SCHEDULE", "0 1 * * 1,2; 30 4 * * 0"),
            ("SUPAKEEP_PROFILES__NIGHTLY__DUMP__FORMAT", "custom"),
            ("SUPAKEEP_PROFILES__NIGHTLY__CATCH_UP", "false"),
        ],
    );
    assert_eq!(settings.profiles[0].keep.days, Some(3));
    assert_eq!(settings.profiles[0].labels, ["morning", "noon", "evening", "nightly"]);
    let nightly = &settings.profiles[1];
    assert_eq!(nightly.schedule.expressions().len(), 2);
    assert_eq!((nightly.dump.format, nightly.catch_up), (Format::Custom, false));
}

#[test]
fn secrets_are_texts_and_may_be_in_a_file() {
    let settings = read("", &[("SUPAKEEP_STACK__PASSWORD", "12345"), ("SUPAKEEP_HTTP__TOKEN", "true")]);
    assert_eq!(settings.stack.password.map(|secret| secret.expose().clone()), Some("12345".to_owned()));
    assert_eq!(settings.http.token.map(|secret| secret.expose().clone()), Some("true".to_owned()));
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(b"from a file\n").expect("room for a file");
    let path = file.path().display().to_string();
    let settings = read("", &[("SUPAKEEP_HTTP__TOKEN_FILE", &path)]);
    assert_eq!(settings.http.token.map(|secret| secret.expose().clone()), Some("from a file".to_owned()));
}

#[test]
fn shows_every_value_with_its_origin_and_no_secret() {
    let (_file, sources) =
        sources("timezone = 'Europe/Zurich'\n", &[("SUPAKEEP_STACK__PASSWORD", "hunter2")]);
    let loaded = load(&sources, NOW).unwrap_or_else(|faults| panic!("{faults}"));
    let find = |key: &str| loaded.shown.iter().find(|shown| shown.key == key).expect("it is shown");
    assert_eq!(find("stack.password").value, "[redacted]");
    assert_eq!(find("stack.password").origin, "environment variable SUPAKEEP_STACK__PASSWORD");
    assert_eq!(find("profiles.daily.schedule").value, "[\"0 2 * * *\"]");
    assert_eq!(find("profiles.daily.schedule").origin, "default");
    assert!(find("timezone").origin.starts_with('/'));
    assert!(!format!("{:?}{:?}", loaded.shown, loaded.settings).contains("hunter2"));
}

#[test]
fn reports_every_fault_at_once_with_key_origin_and_advice() {
    let found = faults(
        "timezone = 'Mars/Olympus'\n[repository]\nmin_fre = '1GiB'\npath = 'relative'\n[profiles.daily]\nschedule = '61 * * * *'\nmax_age = '2h'\n",
        &[("SUPAKEEP_HTTP__LISTEN", "nowhere"), ("SUPAKEEP_STCK__PROJECT", "x")],
    );
    let shown: Vec<_> = found.iter().map(Fault::to_string).collect();
    let has =
        |part: &str| assert!(shown.iter().any(|fault| fault.contains(part)), "{part} is not in {shown:#?}");
    has("timezone (from FILE): `Mars/Olympus` is not an IANA time zone");
    has("repository.min_fre (from FILE): unknown key; did you mean repository.min_free?");
    has("repository.path (from FILE): `relative` is not an absolute path");
    has("profiles.daily.schedule (from FILE): `61 * * * *` is not a cron expression");
    has("http.listen (from environment variable SUPAKEEP_HTTP__LISTEN): `nowhere` is not an address");
    has("stck (from environment variable SUPAKEEP_STCK__PROJECT): unknown key; did you mean stack?");
}

#[test]
fn says_what_is_contradictory_or_impossible() {
    let one = |toml: &str, part: &str| {
        let found = faults(toml, &[]);
        assert!(found.iter().any(|fault| fault.to_string().contains(part)), "{part} is not in {found:#?}");
    };
    one("[profiles.mine]\nkeep = { days = 1 }\n", "profiles.mine.schedule: a profile of your own needs one");
    one("[profiles.daily]\nschedule = '0 0 31 2 *'\n", "never fires");
    one("[profiles.daily]\nschedule = []\n", "no backup would ever be made");
    one("[profiles.daily]\nlabels = ['a', 'b']\n", "2 labels for 1 expressions");
    one("[profiles.daily]\nmax_age = '24h'\n", "every backup would be overdue");
    one("[profiles.daily]\nmax_age = '25h'\njitter = '1h'\n", "every backup would be overdue");
    one("[profiles.daily]\njitter = '24h'\n", "slots 1d apart");
    one("[profiles.four-times-daily]\njitter = '6h'\n", "slots 5h 59m apart");
    one("[profiles.daily]\nretry_delay = '99999999h'\n", "longer than 36500 days");
    one("[profiles.daily.dump]\nformat = 'custom'\nrows = 'inserts'\n", "needs format = \"plain\"");
    one("[profiles.daily.dump]\ncompression = 'gzip:10'\n", "is not a compression");
    one("[profiles.\"a/b\"]\nschedule = '@daily'\n", "cannot be a name");
    one("enable = ['dayly']\n", "there is no profile \"dayly\"");
    one("[profiles.daily.keep]\nfortnights = 2\n", "unknown key");
    one("[profiles.daily]\nkeep = 7\n", "a table with keys of its own");
    one("stack = 'x'\n", "a table with keys of its own");
    one("timezone = [\n", "FILE");
    one("[http]\ntoken = ''\n", "it is empty");
    one("[http]\ntoken_file = '/nowhere'\n", "cannot be read");
}

#[test]
fn drills_are_made_on_schedule_only_where_there_is_one() {
    let drill = read("", &[]).drill;
    assert!(drill.schedule.is_none() && drill.checks.is_empty());
    assert_eq!((drill.scratch.memory_bytes, drill.scratch.cpus), (2 << 30, 1.0));
    let environment = [("SUPAKEEP_DRILL__SCHEDULE", "0 3 * * 0; 0 3 1 * *"), ("SUPAKEEP_DRILL__CPUS", "0.5")];
    let drill = read("[drill]\nmemory = '512MiB'\n", &environment).drill;
    assert_eq!(drill.schedule.map(|schedule| schedule.expressions().len()), Some(2));
    assert_eq!((drill.scratch.memory_bytes, drill.scratch.cpus), (512 << 20, 0.5));
}

#[test]
fn samples_are_drilled_on_a_schedule_of_their_own() {
    let drill = read("", &[]).drill;
    assert_eq!((drill.sample_schedule.is_none(), drill.sample.to_string()), (true, "10%".to_owned()));
    let drill = read("[drill]\nsample = 5\nsample_schedule = '0 3 * * 6'\n", &[]).drill;
    assert_eq!((drill.schedule.is_none(), drill.sample.to_string()), (true, "5 tables".to_owned()));
    let written = |drill: &super::drill::DrillSettings| {
        drill.sample_schedule.as_ref().map(|schedule| schedule.expressions().len())
    };
    assert_eq!(written(&drill), Some(1));
    let environment = [("SUPAKEEP_PROOFS", "standard"), ("SUPAKEEP_DRILL__SAMPLE", "25%")];
    let drill = read("", &environment).drill;
    assert_eq!(
        (written(&drill), drill.schedule.is_some(), drill.sample.to_string()),
        (Some(1), true, "25%".to_owned())
    );
    let off = read("proofs = 'standard'\n[drill]\nsample_schedule = []\n", &[]).drill;
    assert!(off.sample_schedule.is_none() && off.schedule.is_some());
    let faults = faults("[drill]\nsample = '0%'\nsample_schedule = 'weekly'\n", &[]);
    for wanted in ["drill.sample (from FILE): `0%`", "drill.sample_schedule (from FILE)"] {
        assert!(faults.iter().any(|fault| fault.to_string().contains(wanted)), "{wanted}: {faults:#?}");
    }
}

#[test]
fn checks_of_a_drill_are_read_whole_or_not_at_all() {
    let checks = read(
        "[[drill.checks]]\nname = 'a'\nsql = 'SELECT 1'\nexpect = 1\n[[drill.checks]]\nname = 'b'\ndatabase = '_supabase'\nsql = 'SELECT'\nexpect = ''\n",
        &[],
    )
    .drill
    .checks;
    let found: Vec<_> = checks
        .iter()
        .map(|check| (check.name.as_str(), check.database.as_str(), check.expect.as_str()))
        .collect();
    assert_eq!(found, [("a", "postgres", "1"), ("b", "_supabase", "")]);
    let one = |toml: &str, part: &str| {
        let found = faults(toml, &[]);
        assert!(found.iter().any(|fault| fault.to_string().contains(part)), "{part} is not in {found:#?}");
    };
    one(
        "[[drill.checks]]\nname = 'a'\nsql = 'SELECT 1'\n",
        "drill.checks[0].expect: a check needs name, sql and expect",
    );
    one(
        "[[drill.checks]]\nname = 'a'\nsql = 'x'\nexpects = '1'\nexpect = '1'\n",
        "drill.checks[0].expects (from FILE): unknown key",
    );
    one("[drill]\nchecks = 'x'\n", "a list of tables is wanted here: [[drill.checks]]");
    one("[drill]\nmemory = '1MiB'\n", "a server needs more than 1MiB");
    one("[drill]\ncpus = 0\n", "is not a number of cores");
    one("[drill]\nschedule = 'sundays'\n", "drill.schedule (from FILE)");
}

#[test]
fn a_file_that_is_asked_for_must_exist() {
    let sources = Sources { file: Some("/nowhere/supakeep.toml".into()), ..Sources::default() };
    let Err(Faults(found)) = load(&sources, NOW) else { panic!("it does not exist") };
    assert!(found[0].to_string().contains("cannot be read"), "{found:?}");
}

#[test]
fn transport_can_be_forced() {
    assert_eq!(read("", &[]).transport, TransportChoice::Auto);
    assert_eq!(
        read("[dump]\ntransport = 'none'\n", &[]).transport,
        TransportChoice::Always(Compression::None)
    );
}

#[test]
fn a_profile_that_is_enabled_twice_runs_once() {
    assert_eq!(names(&read("", &[("SUPAKEEP_ENABLE", "daily,weekly,daily")])), ["daily", "weekly"]);
}

#[test]
fn a_file_that_is_no_toml_is_told_by_its_line_alone() {
    for toml in
        ["[stack]\npassword = \"hunter2\n", "[stack]\npassword = hunter2\n", "\n[http]\ntoken = 'hunter2"]
    {
        let shown = faults(toml, &[])[0].to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
        let line = toml.lines().position(|line| line.contains("hunter2")).expect("it is there") + 1;
        assert!(shown.starts_with(&format!("FILE: line {line} is not TOML")), "{shown}");
    }
}

#[test]
fn a_secret_that_is_no_text_is_refused_without_showing_it() {
    let shown = faults("[stack]\npassword = ['hunter2']\n", &[])[0].to_string();
    assert_eq!(shown, "stack.password (from FILE): text is wanted here");
}

#[test]
fn shows_where_the_engine_is_looked_for() {
    let (_file, sources) = sources("", &[("DOCKER_HOST", "tcp://proxy:2375")]);
    let loaded = load(&sources, NOW).unwrap_or_else(|faults| panic!("{faults}"));
    let shown = loaded.shown.iter().find(|shown| shown.key == "docker.host").expect("it is shown");
    assert_eq!(
        (shown.value.as_str(), shown.origin.as_str()),
        ("\"tcp://proxy:2375\"", "environment variable DOCKER_HOST")
    );
}

#[test]
fn parts_are_all_that_is_found_unless_they_are_named() {
    let of = |toml: &str, variables: &[(&str, &str)]| read(toml, variables).profiles[0].parts.clone();
    assert_eq!(of("", &[]), Parts::Found);
    let named = Parts::Named(vec![PartName::Database, PartName::Config]);
    assert_eq!(of("[profiles.daily]\nparts = [\"config\", \"database\"]\n", &[]), named);
    assert_eq!(of("", &[("SUPAKEEP_PROFILES__DAILY__PARTS", "database, config")]), named);
    assert_eq!(of("parts = [\"database\"]\n", &[]), Parts::database(), "for every profile that says nothing");
    assert_eq!(
        of("parts = [\"database\"]\n[profiles.daily]\nparts = [\"config\", \"database\"]\n", &[]),
        named
    );
    let found = faults("[profiles.daily]\nparts = [\"database\", \"mail\"]\npart = 1\n", &[]);
    let found: Vec<_> = found.iter().map(|fault| (fault.key.as_str(), fault.message.as_str())).collect();
    assert_eq!(
        found,
        [
            (
                "profiles.daily.parts",
                "`mail` is no part of a backup; there are database, storage, functions, config, volumes, redis"
            ),
            ("profiles.daily.part", "unknown key; did you mean profiles.daily.parts?"),
        ]
    );
}

#[test]
fn volumes_are_named_and_may_say_how_and_redis_has_a_secret() {
    let toml = "[volumes]\nnames = [\"uploads\", \"cache:hot\", \"/opt/app\"]\nmode = \"hot\"\n\
                [redis]\nservices = [\"cache\"]\npassword = \"hunter2\"\n";
    let settings = read(toml, &[("SUPAKEEP_REDIS__DEADLINE", "5m")]);
    let names: Vec<_> = settings.volumes.wishes.iter().map(|wish| wish.name.as_str()).collect();
    assert_eq!(names, ["uploads", "cache", "/opt/app"]);
    assert_eq!((settings.volumes.mode, settings.volumes.is_asked), (VolumeMode::Hot, false));
    assert_eq!(settings.redis.patience.as_secs(), 300);
    assert!(!format!("{settings:?}").contains("hunter2"));
    let found = faults("[volumes]\nnames = [\"a b\", \"x:warm\"]\nmode = \"warm\"\n", &[]);
    let keys: Vec<_> = found.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["volumes.names", "volumes.names", "volumes.mode"]);
}

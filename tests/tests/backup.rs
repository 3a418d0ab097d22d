//! What a backup holds, and that stock tools alone bring it back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use supakeep_model::artifact::Part;
use supakeep_model::manifest::Manifest;
use supakeep_tests::{EmptyCluster, Keeper, Pg, Stack, run};

/// Decompresses a file with the program that a person would use.
fn decompressed(keeper: &Keeper, id: &str, path: &str) -> Vec<u8> {
    let file = keeper.folder().join(id).join(path);
    let program = match file.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => "gunzip",
        Some("zst") => "unzstd",
        _ => "cat",
    };
    let mut command = Command::new(program);
    if program != "cat" {
        command.arg("-c");
    }
    run(command.arg(file), b"").ok().stdout
}

fn path(manifest: &Manifest, part: Part, database: Option<&str>) -> String {
    let found =
        manifest.artifacts.iter().find(|file| file.part == part && file.database.as_deref() == database);
    found.expect("the backup has such a file").path.clone()
}

/// Brings a backup back as the documentation tells a person to: roles, root key, databases, content.
fn restore_with_stock_tools(keeper: &Keeper, id: &str, cluster: &EmptyCluster) {
    let manifest = keeper.manifest(id);
    let globals = decompressed(keeper, id, &path(&manifest, Part::Globals, None));
    let said = cluster
        .feed(&["psql", "-Xq", "-h", "127.0.0.1", "-U", "supabase_admin", "-d", "template1"], &globals);
    for line in said.stderr.lines().filter(|line| line.contains("ERROR")) {
        assert!(line.ends_with("already exists"), "{line}");
    }
    cluster.set_root_key(&decompressed(keeper, id, &path(&manifest, Part::RootKey, None)));
    cluster.script("template1", b"DROP DATABASE postgres WITH (FORCE); ALTER ROLE postgres SUPERUSER;").ok();
    for database in &manifest.databases {
        let name = database.name.as_str();
        let create = decompressed(keeper, id, &path(&manifest, Part::Create, Some(name)));
        cluster.script("template1", &create).ok();
        let dump = path(&manifest, Part::Database, Some(name));
        if let Some((folder, _file)) = dump.split_once('/') {
            cluster.restore_folder(name, &keeper.folder().join(id).join(folder));
            continue;
        }
        let content = decompressed(keeper, id, &dump);
        if dump.contains(".dump") {
            let pg_restore =
                ["pg_restore", "-h", "127.0.0.1", "-U", "supabase_admin", "--exit-on-error", "-d", name];
            cluster.feed(&pg_restore, &content).ok();
        } else {
            cluster.script(name, &content).ok();
        }
    }
    cluster.script("template1", b"ALTER ROLE postgres NOSUPERUSER;").ok();
}

/// A backup of what was restored holds what the backup held.
fn assert_same(original: &Manifest, restored: &Manifest) {
    assert_eq!(original.databases.len(), restored.databases.len());
    for database in &original.databases {
        let other = restored.database(&database.name).expect("the database is there");
        let (recorded, found) = (database.fingerprint.as_ref(), other.fingerprint.as_ref());
        let (recorded, found) = (recorded.expect("a fingerprint"), found.expect("a fingerprint"));
        assert_eq!(recorded.differences(found), Vec::<String>::new(), "{}", database.name);
        let identity = |record: &supakeep_model::manifest::DatabaseRecord| {
            (record.owner.clone(), record.encoding.clone(), record.collate.clone(), record.ctype.clone())
        };
        assert_eq!(identity(database), identity(other));
    }
}

fn restores(pg: Pg, name: &str, settings: &[(&str, &str)]) {
    let stack = Stack::shared(pg);
    let mut keeper = Keeper::new(&stack);
    settings.iter().for_each(|(key, value)| keeper.set(key, value));
    let id = keeper.backup(&[]);
    let cluster = EmptyCluster::start(pg, name);
    assert!(cluster.is_like(&stack));
    restore_with_stock_tools(&keeper, &id, &cluster);
    let again = Keeper::for_project("restored").with("SUPAKEEP_STACK__CONTAINER", cluster.container());
    let again = settings.iter().fold(again, |again, (key, value)| again.with(key, value));
    let second = again.backup(&[]);
    assert_same(&keeper.manifest(&id), &again.manifest(&second));
    let secret = "SELECT decrypted_secret FROM vault.decrypted_secrets WHERE name = 'test_secret'";
    assert_eq!(cluster.script("postgres", secret.as_bytes()).ok().text().trim(), "open sesame äöü 🔑");
    let superusers = b"SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolsuper";
    assert_eq!(cluster.script("postgres", superusers).ok().text().trim(), "supabase_admin");
    let passwords = "SELECT string_agg(rolname || coalesce(rolpassword, ''), ',' ORDER BY rolname) FROM pg_authid WHERE rolcanlogin";
    assert_eq!(cluster.script("postgres", passwords.as_bytes()).ok().text().trim(), stack.sql(passwords));
    let setting = "SELECT current_setting('app.settings.jwt_secret')";
    assert_eq!(cluster.script("postgres", setting.as_bytes()).ok().text().trim(), stack.sql(setting));
}

#[test]
fn plain_dumps_restore_with_gunzip_and_psql() {
    for pg in Pg::ALL {
        restores(pg, "plain", &[]);
    }
}

#[test]
fn plain_dumps_of_zstd_restore_with_unzstd_and_psql() {
    for pg in Pg::ALL {
        restores(pg, "zstd", &[("SUPAKEEP_DUMP__COMPRESSION", "zstd:3")]);
    }
}

#[test]
fn custom_archives_restore_with_pg_restore() {
    for pg in Pg::ALL {
        restores(pg, "custom", &[("SUPAKEEP_DUMP__FORMAT", "custom")]);
    }
}

#[test]
fn directory_archives_restore_with_pg_restore_in_parallel() {
    for pg in Pg::ALL {
        restores(pg, "directory", &[("SUPAKEEP_DUMP__FORMAT", "directory")]);
    }
    let settings =
        |compression| [("SUPAKEEP_DUMP__FORMAT", "directory"), ("SUPAKEEP_DUMP__COMPRESSION", compression)];
    restores(Pg::V17, "directory-zstd", &settings("zstd:3"));
    restores(Pg::V15, "directory-none", &settings("none"));
    // What its pg_restore could not open is not made.
    let mut keeper = Keeper::new(&Stack::shared(Pg::V15));
    settings("zstd:3").iter().for_each(|(key, value)| keeper.set(key, value));
    assert_eq!(keeper.refused(&["backup"]), (2, "dump-unsupported".into()));
    assert_eq!(keeper.ids(), Vec::<String>::new());
}

#[test]
fn insert_statements_restore_with_psql() {
    restores(
        Pg::V17,
        "inserts",
        &[("SUPAKEEP_DUMP__ROWS", "column-inserts"), ("SUPAKEEP_DUMP__COMPRESSION", "none")],
    );
}

#[test]
fn a_backup_holds_everything_with_tight_permissions() {
    for pg in Pg::ALL {
        let stack = Stack::shared(pg);
        let keeper = Keeper::new(&stack);
        let id = keeper.backup(&["before-migration"]);
        assert!(id.starts_with("before-migration_"), "{id}");
        let folder = keeper.folder().join(&id);
        let mode = |path: &std::path::Path| {
            fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o7777
        };
        assert_eq!((mode(&keeper.folder()), mode(&folder)), (0o700, 0o700));
        let mut names: Vec<_> = fs::read_dir(&folder).expect("a folder").flatten().collect();
        names.sort_by_key(std::fs::DirEntry::file_name);
        for entry in &names {
            assert_eq!(mode(&entry.path()), 0o600, "{:?}", entry.path());
        }
        let names: Vec<_> =
            names.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        assert_eq!(
            names,
            [
                "_supabase.create.sql.gz",
                "_supabase.sql.gz",
                "globals.sql.gz",
                "manifest.json",
                "pgsodium_root.key",
                "postgres.create.sql.gz",
                "postgres.sql.gz"
            ]
        );
        assert_eq!(fs::read_link(keeper.folder().join("latest")).expect("a link"), std::path::Path::new(&id));
        let manifest = keeper.manifest(&id);
        assert!(manifest.head.verified.as_ref().is_some_and(|proof| proof.ok));
        assert!(manifest.head.stack.server_version.starts_with(pg.major()));
        assert!(!manifest.head.stack.system_identifier.is_empty() && manifest.head.stack.image == pg.image());
        let postgres = manifest.database("postgres").expect("the database");
        let extensions: Vec<_> =
            postgres.extensions.iter().map(|extension| extension.name.as_str()).collect();
        assert!(extensions.contains(&"pg_cron") && extensions.contains(&"supabase_vault"), "{extensions:?}");
        let settings: Vec<_> = manifest.server_settings.iter().map(|setting| setting.name.as_str()).collect();
        assert!(
            settings.contains(&"shared_preload_libraries") && settings.contains(&"wal_level"),
            "{settings:?}"
        );
        let users = postgres.fingerprint.as_ref().and_then(|print| {
            print
                .tables
                .iter()
                .find(|table| (table.schema.as_str(), table.name.as_str()) == ("auth", "users"))
        });
        assert_eq!(users.map(|table| table.rows), Some(500));
        let json = fs::read_to_string(folder.join("manifest.json")).expect("a manifest");
        assert!(
            !json.contains("no-real-secret") && !json.contains("your-super-secret"),
            "a secret is in the manifest"
        );
    }
}

#[test]
fn fingerprints_do_not_depend_on_how_the_dump_was_made() {
    let stack = Stack::shared(Pg::V17);
    let tables = |settings: &[(&str, &str)]| {
        let mut keeper = Keeper::new(&stack);
        settings.iter().for_each(|(key, value)| keeper.set(key, value));
        let manifest = keeper.manifest(&keeper.backup(&[]));
        manifest
            .database("postgres")
            .and_then(|database| database.fingerprint.clone())
            .expect("a fingerprint")
            .tables
    };
    let plain = tables(&[]);
    assert_eq!(plain, tables(&[("SUPAKEEP_DUMP__FORMAT", "custom")]));
    assert_eq!(plain, tables(&[("SUPAKEEP_DUMP__FORMAT", "directory")]));
    assert_eq!(
        plain,
        tables(&[("SUPAKEEP_DUMP__FORMAT", "custom"), ("SUPAKEEP_DUMP__COMPRESSION", "zstd:1")])
    );
    assert_eq!(
        plain,
        tables(&[("SUPAKEEP_DUMP__TRANSPORT", "none"), ("SUPAKEEP_DUMP__COMPRESSION", "zstd:19")])
    );
    assert_eq!(plain, tables(&[("SUPAKEEP_DUMP__TRANSPORT", "gzip:1"), ("SUPAKEEP_DUMP__SCOPE", "data")]));
}

#[test]
fn databases_and_scopes_can_be_chosen() {
    let stack = Stack::shared(Pg::V15);
    let keeper = Keeper::new(&stack)
        .with("SUPAKEEP_STACK__DATABASES", "postgres")
        .with("SUPAKEEP_DUMP__SCOPE", "schema");
    let id = keeper.backup(&[]);
    let manifest = keeper.manifest(&id);
    let names: Vec<_> = manifest.databases.iter().map(|database| database.name.as_str()).collect();
    assert_eq!(names, ["postgres"]);
    assert_eq!(manifest.head.totals.rows, 0);
    assert!(
        manifest.head.warnings.iter().any(|warning| warning.contains("_supabase")),
        "{:?}",
        manifest.head.warnings
    );
    let keeper = Keeper::new(&stack).with("SUPAKEEP_STACK__DATABASES", "postgres,nowhere");
    assert_eq!(keeper.refused(&["backup"]), (1, "database-missing".into()));
}

#[test]
fn databases_with_any_name_are_backed_up_under_safe_file_names() {
    let stack = Stack::private(Pg::V17, &["db"]);
    let names = [
        "..",
        "../up",
        "a b",
        "it's",
        "qu\"ote",
        "$(touch x)",
        "new\nline",
        "globals",
        "a=b",
        "postgres://x",
        "größe",
        "back\\slash",
    ];
    for name in names {
        let quoted = name.replace('"', "\"\"");
        stack.sql(&format!("CREATE DATABASE \"{quoted}\";"));
    }
    let keeper = Keeper::new(&stack);
    let manifest = keeper.manifest(&keeper.backup(&[]));
    for name in names {
        assert!(manifest.database(name).is_some(), "{name:?}");
    }
    for artifact in &manifest.artifacts {
        assert!(
            artifact.path.chars().all(|c| c.is_ascii_alphanumeric() || "._-%".contains(c)),
            "{}",
            artifact.path
        );
    }
    // Roles, root key; the one with a line end has no statement that creates it, and says so.
    assert_eq!(manifest.artifacts.len(), 2 + 2 * (names.len() + 2) - 1);
    assert!(manifest.head.warnings.iter().any(|warning| warning.contains("line end")));
}

#[test]
fn a_backup_is_of_one_moment_while_services_write() {
    let stack = Stack::private(Pg::V17, &["db", "auth", "rest", "realtime", "storage", "analytics"]);
    let keeper = Keeper::new(&stack);
    let id = keeper.backup(&[]);
    let cluster = EmptyCluster::start(Pg::V17, "moment");
    restore_with_stock_tools(&keeper, &id, &cluster);
    let orphans = "SELECT count(*) FROM auth.sessions s WHERE NOT EXISTS \
                   (SELECT 1 FROM auth.refresh_tokens t WHERE t.session_id = s.id)";
    assert_eq!(cluster.script("postgres", orphans.as_bytes()).ok().text().trim(), "0");
    assert_eq!(stack.supakeep_sessions(), 0);
}

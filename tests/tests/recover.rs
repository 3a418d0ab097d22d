//! A stack that is gone, made again from a backup and its `.env`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use supakeep_flow::kill_point::RECOVER_POINTS;
use supakeep_model::code::Code;
use supakeep_tests::storage_files::{ODD_FILES, StorageFiles, difference};
use supakeep_tests::{Keeper, Pg, docker, run};
use tempfile::TempDir;

const PASSWORD: &str = "a-password-of-some-length";

/// A stack in a folder of its own, as people have it.
struct Home {
    root: TempDir,
    project: String,
}

impl Home {
    fn start(pg: Pg, name: &str) -> Home {
        let root = tempfile::tempdir().expect("a temporary folder");
        let home =
            Home { root, project: format!("supakeep-it-{name}-{}-{}", pg.major(), std::process::id()) };
        let folder = home.folder();
        for path in ["volumes/functions/main", "volumes/api", "volumes/pooler"] {
            fs::create_dir_all(folder.join(path)).expect("room for a folder");
        }
        let compose = Path::new(env!("CARGO_MANIFEST_DIR")).join("stack/docker-compose.yml");
        fs::copy(compose, folder.join("docker-compose.yml")).expect("room for a file");
        let env = format!(
            "COMPOSE_PROJECT_NAME={}\nSTACK_PG={}\nSTACK_WRITE_INTERVAL_MS=60000\nPOSTGRES_PASSWORD={PASSWORD}\n",
            home.project,
            pg.major()
        );
        for (path, text) in [
            (".env", env.as_str()),
            ("volumes/functions/main/index.ts", "Deno.serve(() => new Response())\n"),
            ("volumes/api/kong.yml", "_format_version: '2.1'\n"),
            ("volumes/pooler/pooler.exs", "{:ok, _} = :pooler\n"),
        ] {
            fs::write(folder.join(path), text).expect("room for a file");
        }
        fs::copy(folder.join(".env"), home.env()).expect("room for a file");
        home.compose(&["up", "-d", "--wait"]);
        home
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("supabase")
    }

    /// The copy of `.env` that somebody has kept elsewhere.
    fn env(&self) -> PathBuf {
        self.root.path().join("kept.env")
    }

    #[track_caller]
    fn compose(&self, arguments: &[&str]) {
        let mut command = Command::new("docker");
        command.arg("compose").args(arguments).current_dir(self.folder()).env("COMPOSE_PROGRESS", "quiet");
        run(&mut command, b"").ok();
    }

    fn sql(&self, sql: &str) -> String {
        let db = format!("{}-db-1", self.project);
        let ended = docker(&[
            "exec",
            &db,
            "psql",
            "-XAtq",
            "-h",
            "127.0.0.1",
            "-U",
            "supabase_admin",
            "-d",
            "postgres",
            "-c",
            sql,
        ]);
        ended.ok().text().trim_end().to_owned()
    }

    fn files(&self) -> StorageFiles {
        StorageFiles::of(&self.project)
    }

    /// Containers, volumes, folder: all of it.
    fn destroy(&self) {
        self.compose(&["down", "--volumes", "--timeout", "1"]);
        fs::remove_dir_all(self.folder()).expect("it is ours");
    }

    fn keeper(&self) -> Keeper {
        Keeper::for_project(&self.project).without("SUPAKEEP_PARTS")
    }

    /// What a person types.
    fn recover(&self, id: &str, more: &[&str]) -> Vec<String> {
        let (folder, env) = (self.folder().display().to_string(), self.env().display().to_string());
        let words = ["recover", id, "--into", &folder, "--env-file", &env, "--yes"];
        words.iter().chain(more).map(|word| (*word).to_owned()).collect()
    }

    fn is_as_it_was(&self, before: &Before) {
        let found = self.files().listing();
        assert!(found == before.files, "{}", difference(&before.files, &found));
        assert_eq!(self.sql(COUNTS), before.counts);
        let text = |path: &str| fs::read_to_string(self.folder().join(path)).expect("it is there");
        assert_eq!(text("volumes/functions/main/index.ts"), "Deno.serve(() => new Response())\n");
        assert_eq!(text("volumes/pooler/pooler.exs"), "{:ok, _} = :pooler\n");
        assert_eq!(text(".env"), fs::read_to_string(self.env()).expect("it is there"));
        let not_well = docker(&[
            "ps",
            "-a",
            "--filter",
            &format!("label=com.docker.compose.project={}", self.project),
            "--format",
            "{{.Status}}",
        ]);
        let not_well = not_well.ok().text();
        let is_well =
            |line: &&str| line.starts_with("Up") && !line.contains("unhealthy") && !line.contains("starting");
        assert!(not_well.lines().count() > 8 && not_well.lines().all(|line| is_well(&line)), "{not_well}");
        // The service finds its file by the row, and its type by the attribute.
        assert_eq!(
            self.files().served("avatars", "folder 2/Übersicht-2.png"),
            "image/png not really a picture, number 2"
        );
        assert!(!self.folder().join(".supakeep-recover.json").exists(), "it is over");
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let label = format!("label=com.docker.compose.project={}", self.project);
        for (list, remove) in [
            (&["ps", "-aq", "--filter", &label][..], &["rm", "-f", "-v"][..]),
            (&["volume", "ls", "-q", "--filter", &label], &["volume", "rm", "-f"]),
            (&["network", "ls", "-q", "--filter", &label], &["network", "rm"]),
        ] {
            let listed = docker(list).text();
            let names: Vec<_> = listed.split_whitespace().collect();
            if !names.is_empty() {
                let _ = docker(&[remove, &names].concat());
            }
        }
    }
}

/// Rows of some tables, a secret of the vault, a setting of the stack's own.
const COUNTS: &str = "SELECT (SELECT count(*) FROM auth.users), (SELECT count(*) FROM public.notes), \
    (SELECT decrypted_secret FROM vault.decrypted_secrets WHERE name = 'test_secret'), \
    (SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolsuper)";

struct Before {
    files: String,
    counts: String,
}

/// A stack, what it holds, and a backup of it; then nothing but the backup.
fn lost(pg: Pg, name: &str) -> (Home, Keeper, String, Before) {
    let home = Home::start(pg, name);
    home.files().sh(ODD_FILES);
    home.files().sh("rm -r multiparts");
    let keeper = home.keeper();
    let id = keeper.backup(&["--parts", "database,storage,functions,config"]);
    let before = Before { files: home.files().listing(), counts: home.sql(COUNTS) };
    home.destroy();
    (home, keeper, id, before)
}

#[test]
fn a_stack_is_made_again_from_nothing() {
    for pg in Pg::ALL {
        let (home, keeper, id, before) = lost(pg, "recover");
        let words = home.recover(&id, &[]);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let planned = keeper.run(&[&words[..], &["--dry-run"]].concat()).ok();
        assert!(planned.stderr.contains("storage, functions, config"), "{}", planned.stderr);
        assert!(!home.folder().join("docker-compose.yml").exists(), "a dry run makes nothing");
        let made = keeper.run(&words).ok().text();
        assert!(made.contains("runs again, made of") && !made.contains("DIFFERENT"), "{made}");
        println!("{made}");
        home.is_as_it_was(&before);
        // What is there is not written over.
        let (exit, code) = keeper.refused(&words);
        assert_eq!((exit, code.as_str()), (1, Code::RecoverUnfit.as_str()));
        home.is_as_it_was(&before);
    }
}

#[test]
fn a_recovery_that_is_killed_at_every_point_is_finished() {
    for pg in Pg::ALL {
        let (home, mut keeper, id, before) = lost(pg, "killed");
        for (number, point) in RECOVER_POINTS.into_iter().enumerate() {
            let words = home.recover(&id, if number == 0 { &[] } else { &["--resume"] });
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            keeper.set("SUPAKEEP_KILL_AT", point);
            let mut command = keeper.command(&words);
            let ended = command.stdin(Stdio::null()).output().expect("it can be started");
            assert!(!ended.status.success(), "{point}: it was not killed");
            assert!(home.folder().join(".supakeep-recover.json").exists(), "{point}");
        }
        let keeper = keeper.without("SUPAKEEP_KILL_AT");
        let words = home.recover(&id, &["--resume"]);
        keeper.run(&words.iter().map(String::as_str).collect::<Vec<_>>()).ok();
        home.is_as_it_was(&before);
    }
}

#[test]
fn what_is_missing_is_said_before_anything_is_made() {
    let (home, keeper, id, _) = lost(Pg::V17, "unfit");
    let folder = home.folder().display().to_string();
    let refused = |keeper: &Keeper, words: &[&str], why: &str| {
        let ended = keeper.run(words);
        assert!(ended.code() == 1 && ended.stderr.contains(why), "{}: {}", ended.code(), ended.stderr);
        assert!(!home.folder().join("docker-compose.yml").exists());
    };
    refused(&keeper, &["recover", &id, "--into", &folder, "--yes"], "--env-file");
    let words = home.recover(&id, &["--resume"]);
    refused(&keeper, &words.iter().map(String::as_str).collect::<Vec<_>>(), "leave --resume away");
    fs::write(home.folder().join("mine"), "").expect("room for a file");
    let words = home.recover(&id, &[]);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    refused(&keeper, &words, "is not empty: mine is there");
    fs::remove_file(home.folder().join("mine")).expect("it is ours");
    let volume = format!("{}_db-data", home.project);
    let label = format!("com.docker.compose.project={}", home.project);
    docker(&["volume", "create", "--label", &label, &volume]).ok();
    refused(&keeper, &words, &volume);
    let nowhere = tempfile::tempdir().expect("a temporary folder");
    let keeper = keeper.with("PATH", &nowhere.path().display().to_string());
    refused(&keeper, &words, "compose-missing");
}

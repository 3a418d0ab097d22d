//! The binary, with a repository of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use supakeep_model::manifest::Manifest;
use tempfile::TempDir;

use crate::command::{Ended, run, spawn};
use crate::stack::Stack;

/// Runs `supakeep` with a temporary repository and nothing of the environment but what is set here.
pub struct Keeper {
    folder: TempDir,
    stack: String,
    environment: Vec<(String, String)>,
}

impl Keeper {
    /// For `stack`.
    pub fn new(stack: &Stack) -> Keeper {
        Keeper::for_project(&stack.project)
    }

    /// For a compose project that may or may not be there.
    pub fn for_project(project: &str) -> Keeper {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let keeper = Keeper { folder, stack: project.to_owned(), environment: Vec::new() };
        let path = keeper.folder.path().display().to_string();
        keeper
            .with("SUPAKEEP_REPOSITORY__PATH", &path)
            .with("SUPAKEEP_REPOSITORY__MIN_FREE", "1MiB")
            .with("SUPAKEEP_STACK__PROJECT", project)
            .with("SUPAKEEP_STACK__WAIT", "10s")
            // The look-alike's folder is one of this repository. Tests of files say so.
            .with("SUPAKEEP_PARTS", "database")
    }

    /// With a variable set.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Keeper {
        self.set(name, value);
        self
    }

    /// Without a variable.
    #[must_use]
    pub fn without(mut self, name: &str) -> Keeper {
        self.environment.retain(|(other, _)| other != name);
        self
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(other, _)| other != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The command with these arguments, ready to be run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).env_clear();
        // Docker's plugins are looked for below the home.
        for name in ["PATH", "HOME"] {
            command.env(name, std::env::var_os(name).unwrap_or_default());
        }
        command.env("RUST_BACKTRACE", "1").envs(self.environment.iter().cloned());
        command
    }

    /// Runs it.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        run(&mut self.command(arguments), b"")
    }

    /// Starts it, with its output thrown away.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        spawn(&mut command)
    }

    /// Takes a backup and returns its id.
    #[track_caller]
    pub fn backup(&self, arguments: &[&str]) -> String {
        let ended = self.run(&[&["--json", "backup"], arguments].concat()).ok();
        ended.json()["id"].as_str().expect("an id").to_owned()
    }

    /// The repository's path, above the stack's folder.
    pub fn repository(&self) -> &Path {
        self.folder.path()
    }

    /// The stack's folder.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join(&self.stack)
    }

    /// The manifest of a backup.
    pub fn manifest(&self, id: &str) -> Manifest {
        let json = fs::read(self.folder().join(id).join("manifest.json")).expect("a manifest");
        Manifest::parse(&json).expect("a manifest that can be read")
    }

    /// The ids of all backups, newest first; failed runs are not among them.
    pub fn ids(&self) -> Vec<String> {
        let listed = self.run(&["--json", "list"]).ok().json();
        let views = listed.as_array().expect("a list").clone();
        let kept = views.iter().filter(|view| view["outcome"] != "failed");
        kept.map(|view| view["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// What is under `.incoming`.
    pub fn incoming(&self) -> Vec<String> {
        names(&self.folder().join(".incoming"))
    }

    /// The error code that a failed command printed.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let ended = self.run(&[&["--json"], arguments].concat());
        assert!(!ended.status.success(), "it went well: {}", ended.text());
        (ended.code(), ended.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
    }
}

/// The names in a folder, sorted; none where there is no folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// The binary that was built with this workspace.
///
/// # Panics
///
/// If there is none.
pub(crate) fn binary() -> PathBuf {
    let here = std::env::current_exe().expect("a test knows its own path");
    let folder = here.parent().expect("a program is in a folder");
    // Tests are one level deeper than the programs of the workspace.
    let folder = folder.parent().filter(|_| folder.ends_with("deps")).unwrap_or(folder);
    let binary = folder.join("supakeep");
    assert!(binary.exists(), "{} is missing: run `cargo build --workspace` first", binary.display());
    binary
}

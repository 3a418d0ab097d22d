//! An empty PostgreSQL cluster in a container, to restore into with stock tools alone.

use std::fs;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::command::{Ended, docker, run};
use crate::stack::{Pg, Stack};
use crate::wait::wait_for;

/// A server of the look-alike's image that knows nothing of Supabase but its superuser.
pub struct EmptyCluster {
    container: String,
    _init: TempDir,
}

impl EmptyCluster {
    /// Starts one.
    pub fn start(pg: Pg, name: &str) -> EmptyCluster {
        let init = tempfile::tempdir().expect("a temporary folder");
        fs::write(init.path().join("00-nothing.sql"), "SELECT 1;\n").expect("room for a file");
        let container = format!("supakeep-it-empty-{}-{}-{name}", pg.major(), std::process::id());
        let mount = format!("{}:/usr/local/share/stack/init:ro", init.path().display());
        // The server's own user must be able to look into the folder.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(init.path(), open).expect("our own folder");
        let image = pg.image();
        let label =
            ["--label", "supakeep.test=cluster", "--name", &container, "-e", "POSTGRES_PASSWORD=other"];
        docker(&[&["run", "-d"], label.as_slice(), &["-v", &mount, &image]].concat()).ok();
        let cluster = EmptyCluster { container, _init: init };
        wait_for("the empty cluster answers", Duration::from_secs(60), || cluster.answers());
        cluster
    }

    fn answers(&self) -> bool {
        let arguments = ["exec", &self.container, "pg_isready", "-q", "-h", "127.0.0.1"];
        docker(&arguments).status.success()
    }

    /// The container's name.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// Runs a program in the container with `input`.
    #[track_caller]
    pub fn feed(&self, arguments: &[&str], input: &[u8]) -> Ended {
        let mut command = Command::new("docker");
        command.args(["exec", "-i", &self.container]).args(arguments);
        run(&mut command, input)
    }

    /// Runs an SQL script in `database`, where any error ends it.
    #[track_caller]
    pub fn script(&self, database: &str, sql: &[u8]) -> Ended {
        let psql = ["psql", "-XAtq", "-h", "127.0.0.1", "-U", "supabase_admin", "-v", "ON_ERROR_STOP=1"];
        self.feed(&[psql.as_slice(), &["-d", database]].concat(), sql)
    }

    /// Restores a directory archive with two jobs of `pg_restore`.
    #[track_caller]
    pub fn restore_folder(&self, database: &str, folder: &std::path::Path) {
        const THERE: &str = "/tmp/archive";
        docker(&["exec", &self.container, "rm", "-rf", THERE]).ok();
        docker(&["cp", "-q", &folder.display().to_string(), &format!("{}:{THERE}", self.container)]).ok();
        let pg_restore =
            ["pg_restore", "-h", "127.0.0.1", "-U", "supabase_admin", "-j", "2", "--exit-on-error"];
        self.feed(&[pg_restore.as_slice(), &["-d", database, THERE]].concat(), b"").ok();
    }

    /// Puts the root key in place and restarts the server, which reads it only at its start.
    pub fn set_root_key(&self, key: &[u8]) {
        let path = "/etc/postgresql-custom/pgsodium_root.key";
        let write = format!("umask 077; cat > {path}; chown postgres {path}");
        self.feed(&["sh", "-c", &write], key).ok();
        docker(&["restart", "-t", "5", &self.container]).ok();
        wait_for("the cluster answers again", Duration::from_secs(60), || self.answers());
    }

    /// As a stack, for a [`crate::Keeper`] that is told the container's name.
    pub fn is_like(&self, stack: &Stack) -> bool {
        stack.pg.image() == docker(&["inspect", "-f", "{{.Config.Image}}", &self.container]).text().trim()
    }
}

impl Drop for EmptyCluster {
    fn drop(&mut self) {
        let _ = docker(&["rm", "-f", "-v", &self.container]);
    }
}

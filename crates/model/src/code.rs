//! The stable error codes: one table that every failure, metric, page and exit code is drawn from.
//!
//! A code is a promise. Alert rules and scripts hold on to it, so a code is never renamed and never
//! changes its meaning; `docs/errors.md` lists all of them and a test compares the two.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a process ends, as documented in `docs/errors.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The thing itself failed.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// What was named does not exist.
    NotFound = 3,
    /// Another run holds the lock.
    Busy = 4,
    /// A verification or a drill found a difference.
    Difference = 5,
    /// Cancelled by a signal.
    Cancelled = 130,
}

macro_rules! codes {
    ($($variant:ident $name:literal $exit:ident $retry:literal $hint:literal;)*) => {
        /// What went wrong, as a name that stays the same for ever.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Code {
            $(#[doc = $hint] #[serde(rename = $name)] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The name used in logs, metrics, manifests and the documentation.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// What a person can do about it.
            pub fn hint(self) -> &'static str {
                match self { $(Code::$variant => $hint,)* }
            }

            /// How a command ends that met it.
            pub fn exit(self) -> Exit {
                match self { $(Code::$variant => Exit::$exit,)* }
            }

            /// Whether trying again a little later, with nothing changed, can succeed.
            pub fn is_retryable(self) -> bool {
                match self { $(Code::$variant => $retry,)* }
            }
        }
    };
}

codes! {
    ConfigInvalid "config-invalid" Usage false
        "correct the keys named above; `supakeep config` shows where each value came from";
    UsageInvalid "usage-invalid" Usage false
        "`supakeep COMMAND --help` shows what the command takes";
    DockerUnreachable "docker-unreachable" Failed true
        "is the Docker socket mounted (/var/run/docker.sock) or DOCKER_HOST right, and is the engine running?";
    DockerPermission "docker-permission" Failed false
        "let supakeep's user read the socket: set `group_add` (or SUPAKEEP_DOCKER_GID) to the group that owns /var/run/docker.sock";
    DockerRefused "docker-refused" Failed true
        "the engine, or a proxy before it, refused the call; the README lists the endpoints a socket proxy has to allow";
    DockerNoAttach "docker-no-attach" Failed false
        "the proxy before Docker does not pass `Upgrade: tcp`, which exec needs; use the nginx configuration in deploy/socket-proxy";
    StackNotFound "stack-not-found" Failed true
        "set stack.project to the compose project (`docker compose ls`), or stack.container to the database's container name";
    StackAmbiguous "stack-ambiguous" Failed false
        "set stack.project (and stack.service) or stack.container so that exactly one container is meant";
    DatabaseNotRunning "database-not-running" Failed true
        "start it (`docker compose up -d db`) and look at `docker compose logs db`";
    DatabasePaused "database-paused" Failed true
        "unpause it: `docker compose unpause db`";
    DatabaseUnhealthy "database-unhealthy" Failed true
        "the container runs but its health check does not pass; `docker compose logs db` says why";
    DatabaseRefused "database-refused" Failed true
        "the server does not take the connection; stack.user and pg_hba.conf (127.0.0.1, trust or stack.password) are the places to look";
    DatabaseEmpty "database-empty" Failed false
        "the list of databases to dump is empty; correct stack.databases or the permissions of stack.user";
    DatabaseMissing "database-missing" Failed false
        "stack.databases names a database that the server does not have";
    PrivilegesMissing "privileges-missing" Failed false
        "a complete dump needs a superuser (supabase_admin on Supabase); set stack.user";
    DumpToolMissing "dump-tool-missing" Failed false
        "the database container has no such program in its PATH; supakeep uses the container's own PostgreSQL tools and `sh`";
    DumpFailed "dump-failed" Failed true
        "the message above is PostgreSQL's own; the backup was thrown away and the last good one is untouched";
    DumpStalled "dump-stalled" Failed true
        "no byte arrived for longer than dump.stall_timeout; look for a lock: `select * from pg_stat_activity where wait_event_type = 'Lock'`";
    DatabaseLost "database-lost" Failed true
        "the database went away in the middle of the dump; `docker compose logs db` says why";
    DatabaseDiskFull "database-disk-full" Failed true
        "the database's own disk is full: free space there first";
    StreamTruncated "stream-truncated" Failed true
        "the stream ended before the dump had said how it ended; the backup was thrown away. Look at the Docker daemon's log";
    StreamCorrupt "stream-corrupt" Failed true
        "the Docker stream had a broken frame; the backup was thrown away. Look at the Docker daemon's log";
    ExitMismatch "exit-mismatch" Failed true
        "the exit code inside the stream and the engine's differ; the backup was thrown away";
    DumpIncomplete "dump-incomplete" Failed true
        "the dump has no end marker: it was cut short, and thrown away";
    DumpUnsupported "dump-unsupported" Usage false
        "this server's pg_dump cannot do what the profile asks for";
    RootKeyUnreadable "root-key-unreadable" Failed true
        "the vault's root key exists but cannot be read; without it vault secrets cannot be restored. stack.root_key says where it is";
    FilesMissing "files-missing" Failed false
        "say in stack.folder where the stack's folder is, or in stack.storage_folder where the storage service's files are, or take the part out of `parts`";
    VolumeUnfit "volume-unfit" Failed false
        "`docker volume ls` shows the names, `docker inspect CONTAINER` what it has mounted; volumes.names and the labels supakeep.volume say which are kept";
    RedisFailed "redis-failed" Failed true
        "the message above says what the Redis server, or its container, lacks; redis.services and the labels supakeep.redis say which are kept, redis.password_file what they ask for";
    RecoverUnfit "recover-unfit" Failed false
        "nothing was touched; recover makes a stack where there is none: name an empty folder, and remove what is left of the old stack's containers and volumes";
    ComposeMissing "compose-missing" Failed false
        "recover starts the stack with `docker compose`: install Docker Compose v2 where supakeep runs";
    RepositoryMissing "repository-missing" Failed false
        "the folder does not exist: mount it, or correct repository.path";
    RepositoryReadOnly "repository-read-only" Failed false
        "make it writable for supakeep's user, for example: chown 65532:65532 on the host's folder";
    RepositoryFull "repository-full" Failed true
        "free space, or lower `keep`; the backup in progress was thrown away, nothing else was touched";
    SpaceLow "space-low" Failed true
        "the next backup would not fit: free space, or lower repository.min_free if that is really wanted";
    RepositoryIo "repository-io" Failed true
        "the file system reported an error; look at the kernel log and the disk's health";
    RepositoryUnavailable "repository-unavailable" Failed true
        "the file system did not answer, or the process has too many files open: nothing is said about the files; try again";
    Busy "busy" Busy true
        "another supakeep run holds the lock of this stack; wait for it, or see `supakeep status`";
    BackupNotFound "backup-not-found" NotFound false
        "`supakeep list` shows what there is";
    BackupAmbiguous "backup-ambiguous" Usage false
        "type more of the id";
    ProfileNotFound "profile-not-found" NotFound false
        "`supakeep config` lists the profiles";
    NameInvalid "name-invalid" Usage false
        "use letters, digits, `-` and `_`, at most 64, beginning with a letter or digit";
    ManifestNewer "manifest-newer" Failed false
        "the backup was made by a newer supakeep; use that version or a later one";
    ManifestDamaged "manifest-damaged" Failed false
        "the manifest cannot be read; the files beside it may still be good, open them with stock tools";
    VerifyFailed "verify-failed" Difference false
        "the stored files are not what was written; look at the disk, and take a new backup now";
    Suspect "suspect" Failed false
        "compare with the last good backup; if the change is right: `supakeep verify ID --accept`";
    TargetUnfit "target-unfit" Failed false
        "nothing was touched; the message names what the stack lacks. `supakeep info ID` shows what the backup was made of";
    RestoreFailed "restore-failed" Failed false
        "the message says what state the stack is in, and the command that goes back";
    RestoreUnfinished "restore-unfinished" Failed false
        "a restore was interrupted: `supakeep restore --resume` finishes it; until then nothing is backed up";
    RestoreDiffers "restore-differs" Difference false
        "the restore went through, and what is there now is not what the backup recorded; the message names the tables";
    ServiceUnhealthy "service-unhealthy" Failed true
        "look at its log: `docker compose logs SERVICE`";
    DrillFailed "drill-failed" Difference false
        "the backup does not restore to what it recorded; `supakeep info ID` shows what differs. Take a new backup now";
    ExportUnfit "export-unfit" Failed false
        "correct the export's tables, columns or filter; `supakeep export NAME --dry-run` shows what would be exported";
    ExportNotFound "export-not-found" NotFound false
        "`supakeep exports` shows what there is, `supakeep config` what is configured";
    ImportUnfit "import-unfit" Failed false
        "nothing was touched; the message says what does not fit together, and which option goes on all the same";
    ImportFailed "import-failed" Failed false
        "the transaction was rolled back: the table is as it was. The message names the row and the column";
    DeadlineExceeded "deadline-exceeded" Failed true
        "the run took longer than its deadline; raise the profile's `deadline`, or find out what is slow";
    Cancelled "cancelled" Cancelled false
        "a signal or your own answer stopped it; nothing half-made is left";
    Internal "internal" Failed true
        "this is a fault in supakeep: please report it with the log";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_kebab_case() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        for name in &names {
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }

    #[test]
    fn serialises_as_its_name() {
        for code in Code::ALL {
            let json = serde_json::to_string(code).expect("a unit variant serialises");
            assert_eq!(json, format!("\"{code}\""));
        }
    }
}

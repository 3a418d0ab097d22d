//! Named points at which a test can have the process killed, to see what a crash there leaves.
//!
//! Without the feature `kill-points` they are nothing at all.

/// The variable that names the point, where this build has them.
pub const VARIABLE: Option<&str> =
    if cfg!(feature = "kill-points") { Some("SUPAKEEP_KILL_AT") } else { None };

/// Kills the process with SIGKILL here if the environment's `SUPAKEEP_KILL_AT` says so.
#[cfg(feature = "kill-points")]
pub fn kill_point(name: &str) {
    if std::env::var("SUPAKEEP_KILL_AT").is_ok_and(|wanted| wanted == name) {
        // `kill` rather than `abort`: nothing of ours, not even a signal handler, may run after it.
        let _ = std::process::Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status();
        loop {
            std::thread::park();
        }
    }
}

/// Does nothing.
#[cfg(not(feature = "kill-points"))]
pub fn kill_point(_name: &str) {}

/// Every point of a restore, in the order in which it passes them.
pub const RESTORE_POINTS: [&str; 9] = [
    "restore-saved",
    "restore-stopped",
    "restore-globals",
    "restore-root-key",
    "restore-dropped",
    "restore-created",
    "restore-database",
    "restore-compared",
    "restore-started",
];

/// Between the sections of a large custom archive, which are restored one after the other.
pub const SECTION_POINTS: [&str; 2] = ["restore-definitions", "restore-rows"];

/// While the users of cold volumes are stopped, and when they have been started again; and in a restore of volumes, or of Redis.
pub const VOLUME_POINTS: [&str; 4] =
    ["backup-volumes-stopped", "backup-volumes-started", "restore-volumes-stopped", "restore-redis-stopped"];

/// Every point of a recovery's own, in the order in which it passes them.
pub const RECOVER_POINTS: [&str; 6] = [
    "recover-folder",
    "recover-containers",
    "recover-files",
    "recover-database",
    "recover-restored",
    "recover-services",
];

/// Every point of a drill's own.
pub const DRILL_POINTS: [&str; 2] = ["drill-made", "drill-restored"];

/// Every point, in the order in which a backup passes them.
pub const POINTS: [&str; 9] = [
    "backup-started",
    "backup-connected",
    "backup-file-created",
    "backup-file-written",
    "backup-dumped",
    "backup-verified",
    "backup-manifest-written",
    "backup-committed",
    "backup-pruned",
];

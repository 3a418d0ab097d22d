//! A repository with very many backups, a daemon that does nothing, and the image.

use std::fs;
use std::time::{Duration, Instant};

use supakeep_model::id::BackupId;
use supakeep_model::manifest::Manifest;
use supakeep_model::naming::Kind;
use supakeep_tests::{Daemon, Keeper, Pg, Stack, docker};

use crate::measure::{median, peak_rss_bytes, rss_bytes, seconds};

/// What was measured.
pub(crate) struct Facts {
    /// Backups in the repository.
    pub(crate) backups: u32,
    /// Bytes of one manifest.
    pub(crate) manifest_bytes: usize,
    /// Seconds of `supakeep list`.
    pub(crate) list_seconds: f64,
    /// Seconds of `supakeep cleanup --dry-run`.
    pub(crate) cleanup_seconds: f64,
    /// Seconds of a scrape.
    pub(crate) metrics_seconds: f64,
    /// Memory of a daemon that waits, with an empty repository.
    pub(crate) idle_rss_bytes: u64,
    /// Memory of a daemon that waits, with the large repository, and the most it had.
    pub(crate) many_rss_bytes: (u64, u64),
    /// Size of the image, if it was built.
    pub(crate) image_bytes: Option<u64>,
}

/// Measures them, `runs` times each.
pub(crate) fn measure(backups: u32, runs: usize) -> Facts {
    let stack = Stack::shared(Pg::V17);
    let mut idle = Keeper::new(&stack);
    let (idle_rss_bytes, _) = waiting(&mut idle);
    let mut keeper = Keeper::new(&stack).with("SUPAKEEP_PROFILES__DAILY__KEEP__LAST", "5000");
    let id = keeper.backup(&["--profile", "daily"]);
    eprintln!("bench: writing {backups} backups");
    let manifest_bytes = multiply(&keeper, &keeper.manifest(&id), backups);
    let many_rss_bytes = waiting(&mut keeper);
    let time =
        |arguments: &[&str]| median((0..runs).map(|_| seconds(&mut keeper.command(arguments))).collect());
    let (list_seconds, cleanup_seconds) = (time(&["list"]), time(&["cleanup", "--dry-run"]));
    let daemon = Daemon::start(&mut keeper);
    let scrape = || {
        let began = Instant::now();
        let (status, _) = daemon.get("/metrics").expect("the daemon answers");
        assert_eq!(status, 200);
        began.elapsed().as_secs_f64()
    };
    let metrics_seconds = median((0..runs).map(|_| scrape()).collect());
    let image = docker(&["image", "inspect", "-f", "{{.Size}}", "supakeep:dev"]);
    let image_bytes = image.text().trim().parse().ok().filter(|_| image.status.success());
    Facts {
        backups,
        manifest_bytes,
        list_seconds,
        cleanup_seconds,
        metrics_seconds,
        idle_rss_bytes,
        many_rss_bytes,
        image_bytes,
    }
}

/// Memory of a daemon that waits: now, and the most it had.
fn waiting(keeper: &mut Keeper) -> (u64, u64) {
    let daemon = Daemon::start(keeper);
    std::thread::sleep(Duration::from_secs(10));
    (rss_bytes(daemon.pid()).unwrap_or(0), peak_rss_bytes(daemon.pid()).unwrap_or(0))
}

/// Puts copies of a backup's manifest beside it, an hour apart into the past. The files are not copied:
/// nothing that is measured here reads them.
fn multiply(keeper: &Keeper, original: &Manifest, count: u32) -> usize {
    let mut bytes = 0;
    for number in 1..count {
        let mut copy = original.clone();
        let earlier = time::Duration::hours(i64::from(number));
        copy.head.started -= earlier;
        copy.head.finished -= earlier;
        copy.head.kind = Kind::Profile;
        let at = copy.head.started;
        let name = format!(
            "supabase_backup_{:04}{:02}{:02}_{:02}{:02}{:02}",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        );
        copy.head.id = name.parse::<BackupId>().expect("a name of ours");
        let folder = keeper.folder().join(&name);
        fs::create_dir(&folder).expect("a new folder");
        let json = copy.to_json();
        bytes = json.len();
        fs::write(folder.join("manifest.json"), json).expect("room for a manifest");
    }
    bytes
}

//! A repository in a folder does what every repository has to do.

use std::sync::Arc;

use supakeep_store::LocalRepository;
use supakeep_testkit::{START, TestClock};
use tempfile::TempDir;

fn empty() -> (LocalRepository, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Arc::new(TestClock::at(START));
    (LocalRepository::new(folder.path(), "supabase", "a test", clock), folder)
}

supakeep_testkit::conformance_suite!(empty());

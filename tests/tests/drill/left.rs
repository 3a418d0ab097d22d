//! What drills must not leave behind.

use std::fs;

use serde_json::Value;
use supakeep_tests::{Keeper, docker};

/// What of scratch servers there is of a repository: containers and volumes.
pub(crate) fn left(keeper: &Keeper) -> Vec<String> {
    let marker = fs::read(keeper.folder().join(".supakeep.json")).expect("the repository's own record");
    let marker: Value = serde_json::from_slice(&marker).expect("it is JSON");
    let filter = format!("label=org.supakeep.drill={}", marker["identity"].as_str().expect("an identity"));
    let containers = docker(&["ps", "-aq", "--filter", &filter]).ok().text();
    let volumes = docker(&["volume", "ls", "-q", "--filter", &filter]).ok().text();
    containers.lines().chain(volumes.lines()).map(str::to_owned).collect()
}

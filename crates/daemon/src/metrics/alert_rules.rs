//! The alert rules in `deploy/prometheus` ask for nothing that is not exported: an alert on a name that
//! does not exist never fires, and nobody notices.

use std::collections::BTreeSet;

use super::PREFIX;
use super::page::exported;

const RULES: &str = include_str!("../../../../deploy/prometheus/supakeep.rules.yml");

/// Every word of the rules' expressions that is a name of ours.
fn asked_for() -> BTreeSet<&'static str> {
    let expressions = RULES.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    expressions
        .flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .filter(|word| word.starts_with(PREFIX))
        .collect()
}

#[test]
fn ask_only_for_what_is_exported() {
    let (asked_for, exported) = (asked_for(), exported());
    assert!(asked_for.len() >= 11, "the rules are not read right: {asked_for:?}");
    let unknown: Vec<_> = asked_for.iter().filter(|name| !exported.contains_key(**name)).collect();
    assert!(unknown.is_empty(), "no such metric: {unknown:?}; there are {exported:?}");
}

//! `docs/errors.md` lists every error code, with the exit code and the retries that the program has.

use supakeep_model::code::{Code, Exit};

const PAGE: &str = include_str!("../../../docs/errors.md");

/// The cells of every row whose first cell is `` `code` ``.
fn rows() -> Vec<Vec<&'static str>> {
    PAGE.lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"))
        .map(|row| row.split(" | ").collect())
        .collect()
}

fn row_of(code: Code) -> (String, String, bool) {
    let retried = if code.is_retryable() { "yes" } else { "no" };
    (code.to_string(), (code.exit() as u8).to_string(), retried == "yes")
}

#[test]
fn the_page_has_a_row_for_every_code_and_none_besides() {
    let mut documented = Vec::new();
    for row in rows() {
        let [code, exit, retried, means, advice] = row.as_slice() else { panic!("not five cells: {row:?}") };
        let code = code.trim_end_matches('`');
        assert!(["yes", "no"].contains(retried), "{code}: retried is {retried:?}");
        assert!(!means.is_empty() && !advice.is_empty(), "{code} is not explained");
        documented.push((code.to_owned(), (*exit).to_owned(), *retried == "yes"));
    }
    documented.sort();
    let mut known: Vec<_> = Code::ALL.iter().copied().map(row_of).collect();
    known.sort();
    assert_eq!(documented, known);
}

#[test]
fn the_page_has_a_row_for_every_exit_code() {
    let exits = [Exit::Failed, Exit::Usage, Exit::NotFound, Exit::Busy, Exit::Difference, Exit::Cancelled];
    for exit in exits.map(|exit| exit as u8).into_iter().chain([0]) {
        let row = format!("| {exit} | ");
        assert!(PAGE.lines().any(|line| line.starts_with(&row)), "exit {exit} is not on the page");
    }
    for code in Code::ALL {
        assert!(exits.contains(&code.exit()), "the exit code of {code} is not in this test");
    }
}

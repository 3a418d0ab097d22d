//! What a restore that failed has left, and what to type.

use supakeep_flow::restore::{Left, RestoreFailure, RestoreSpec, State, is_foreign};
use supakeep_model::id::BackupId;

use crate::failure::CommandError;

/// What happened, what state the stack is in, and the way out.
pub(super) fn explain(spec: &RestoreSpec, failure: RestoreFailure) -> CommandError {
    let RestoreFailure { failure, left } = failure;
    let mut lines = vec![failure.message];
    // A file is no backup: it cannot be restored by its id, and is there for as long as it is to be finished.
    let restored = Some(&spec.manifest.head.id).filter(|_| !is_foreign(&spec.manifest));
    lines.extend(says(&left, restored));
    CommandError::new(failure.code, lines.join("\n  "))
}

fn says(left: &Left, restored: Option<&BackupId>) -> Vec<String> {
    let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let mut out = match left.state {
        State::Untouched => return vec!["nothing was touched".to_owned()],
        State::AsItWas => vec![format!("nothing was changed in the databases; {}", services(left))],
        State::OtherRootKey => vec![format!(
            "nothing was changed in the databases, but the vault's root key is the backup's, so these services stay stopped: {}",
            list(&left.not_up)
        )],
        State::HalfRestored => vec![format!(
            "databases are missing or half filled ({}), and these services stay stopped: {}",
            list(&left.databases),
            list(&left.not_up)
        )],
        State::RestoredNotCompared => {
            vec![format!(
                "the data is restored, and was not compared with the backup's record; {}",
                services(left)
            )]
        }
        State::Restored => vec![format!("the data is restored; {}", services(left))],
    };
    if left.state != State::HalfRestored && !left.databases.is_empty() {
        out.push(format!("these databases take no connections yet: {}", left.databases.join(", ")));
    }
    if left.elevated {
        out.push(
            "postgres may still be a superuser; if so, as supabase_admin: ALTER ROLE postgres NOSUPERUSER LOGIN".to_owned(),
        );
    }
    if left.unfinished {
        let kept = if restored.is_none() { " (supakeep has kept the file for it)" } else { "" };
        out.push(format!("to finish: supakeep restore --resume --yes{kept}"));
    }
    out.extend(way_back(left, restored));
    out
}

fn services(left: &Left) -> String {
    if left.not_up.is_empty() {
        return "the services run as before".to_owned();
    }
    let names = &left.not_up;
    format!(
        "these services are not well: {}; look at their logs, and start them: docker compose up -d {}",
        names.join(", "),
        names.join(" ")
    )
}

fn way_back(left: &Left, restored: Option<&BackupId>) -> Option<String> {
    match (&left.safety, left.state, restored) {
        (_, State::Untouched | State::AsItWas | State::OtherRootKey, _) => None,
        (Some(id), ..) => Some(format!("to go back: supakeep restore {id} --no-safety-backup --yes")),
        (None, State::HalfRestored, Some(restored)) => {
            Some(format!("to try again: supakeep restore {restored} --no-safety-backup --yes"))
        }
        (None, State::HalfRestored, None) => Some(
            "if it is the file that is at fault: restore another one, or a backup that holds the database"
                .to_owned(),
        ),
        (None, ..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(state: State) -> Left {
        Left {
            state,
            databases: Vec::new(),
            not_up: Vec::new(),
            safety: Some("pre-restore_1".parse().expect("a valid id")),
            elevated: false,
            unfinished: false,
        }
    }

    fn said(left: &Left) -> String {
        says(left, Some(&"b_1".parse().expect("a valid id"))).join("\n")
    }

    #[test]
    fn says_that_services_run_only_where_they_do() {
        assert_eq!(
            said(&left(State::AsItWas)),
            "nothing was changed in the databases; the services run as before"
        );
        let not_up = vec!["auth".to_owned(), "rest".to_owned()];
        let said = said(&Left { not_up, ..left(State::AsItWas) });
        assert!(!said.contains("as before") && said.contains("docker compose up -d auth rest"), "{said}");
    }

    #[test]
    fn names_the_way_back_wherever_data_was_replaced() {
        for state in [State::HalfRestored, State::RestoredNotCompared, State::Restored] {
            let said = said(&left(state));
            assert!(said.contains("supakeep restore pre-restore_1 --no-safety-backup --yes"), "{said}");
        }
        let none = Left { safety: None, ..left(State::HalfRestored) };
        assert!(said(&none).contains("to try again: supakeep restore b_1"), "{}", said(&none));
        assert!(!said(&left(State::AsItWas)).contains("go back"));
    }

    #[test]
    fn a_file_has_no_name_to_restore_it_by() {
        let half = Left { safety: None, unfinished: true, ..left(State::HalfRestored) };
        let said = says(&half, None).join("\n");
        assert!(!said.contains("to try again") && said.contains("has kept the file for it"), "{said}");
        assert!(said.contains("restore another one"), "{said}");
        let saved = Left { unfinished: true, ..left(State::HalfRestored) };
        assert!(says(&saved, None).join("\n").contains("to go back: supakeep restore pre-restore_1"));
    }

    #[test]
    fn names_what_is_half_closed_or_a_superuser() {
        let half =
            Left { databases: vec!["_supabase".into()], unfinished: true, ..left(State::HalfRestored) };
        let words = said(&half);
        assert!(words.contains("half filled (_supabase)") && words.contains("--resume"), "{words}");
        let closed = Left { databases: vec!["app".into()], elevated: true, ..left(State::Restored) };
        let words = said(&closed);
        assert!(words.contains("no connections yet: app") && words.contains("NOSUPERUSER LOGIN"), "{words}");
    }
}

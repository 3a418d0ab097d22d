//! Finding the database's container: by the labels that compose puts there, since names are changed by
//! platforms and people.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;
use supakeep_flow::ports::StackError;
use supakeep_model::code::Code;

use crate::error::call;

pub(crate) const PROJECT_LABEL: &str = "com.docker.compose.project";
pub(crate) const WORKING_DIR_LABEL: &str = "com.docker.compose.project.working_dir";
pub(crate) const CONFIG_FILES_LABEL: &str = "com.docker.compose.project.config_files";
pub(crate) const ENVIRONMENT_FILE_LABEL: &str = "com.docker.compose.project.environment_file";
pub(crate) const SERVICE_LABEL: &str = "com.docker.compose.service";
pub(crate) const ONEOFF_LABEL: &str = "com.docker.compose.oneoff";
/// The Supabase CLI's local stack has this label, and no service label.
const CLI_LABEL: &str = "com.supabase.cli.project";

/// How a person says which database is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A service of a compose project.
    Service {
        /// The project.
        project: String,
        /// The service.
        service: String,
    },
    /// A container by its name or id.
    Container(String),
}

/// What discovery looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    id: String,
    name: String,
    image: String,
    is_running: bool,
    labels: HashMap<String, String>,
}

impl Candidate {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    fn belongs_to(&self, project: &str) -> bool {
        self.label(PROJECT_LABEL) == Some(project) && self.label(ONEOFF_LABEL) != Some("True")
    }

    fn from_summary(summary: ContainerSummary) -> Candidate {
        let name = summary.names.unwrap_or_default().into_iter().next().unwrap_or_default();
        Candidate {
            id: summary.id.unwrap_or_default(),
            name: name.trim_start_matches('/').to_owned(),
            image: summary.image.unwrap_or_default(),
            is_running: summary.state.is_some_and(|state| state.to_string() == "running"),
            labels: summary.labels.unwrap_or_default(),
        }
    }
}

/// Finds the id of the database's container, running or not.
pub(crate) async fn discover(docker: &Docker, target: &Target) -> Result<String, StackError> {
    let options = ListContainersOptionsBuilder::default().all(true).build();
    let listed = call("listing containers", docker.list_containers(Some(options))).await?;
    let candidates: Vec<_> = listed.into_iter().map(Candidate::from_summary).collect();
    select(&candidates, target)
}

fn select(candidates: &[Candidate], target: &Target) -> Result<String, StackError> {
    let found: Vec<&Candidate> = match target {
        Target::Container(wanted) => by_name(candidates, wanted),
        Target::Service { project, service } => by_service(candidates, project, service),
    };
    match narrow(found).as_slice() {
        [] => Err(not_found(candidates, target)),
        [one] => Ok(one.id.clone()),
        several => {
            let names: Vec<_> = several.iter().map(|candidate| candidate.name.as_str()).collect();
            let message = format!("{} match {}: {}", several.len(), describe(target), names.join(", "));
            Err(StackError::new(Code::StackAmbiguous, message))
        }
    }
}

/// A container that compose has replaced may still be there, stopped.
fn narrow(found: Vec<&Candidate>) -> Vec<&Candidate> {
    let running: Vec<_> = found.iter().copied().filter(|candidate| candidate.is_running).collect();
    if running.is_empty() { found } else { running }
}

fn by_name<'a>(candidates: &'a [Candidate], wanted: &str) -> Vec<&'a Candidate> {
    let exact: Vec<_> = candidates.iter().filter(|candidate| candidate.name == wanted).collect();
    if exact.is_empty() && wanted.len() >= 12 {
        return candidates.iter().filter(|candidate| candidate.id.starts_with(wanted)).collect();
    }
    exact
}

fn by_service<'a>(candidates: &'a [Candidate], project: &str, service: &str) -> Vec<&'a Candidate> {
    let in_project = || candidates.iter().filter(|candidate| candidate.belongs_to(project));
    let labelled: Vec<_> =
        in_project().filter(|candidate| candidate.label(SERVICE_LABEL) == Some(service)).collect();
    if !labelled.is_empty() {
        return labelled;
    }
    // `SUPABASE_DB_HOST=supabase-db` names the container.
    let named: Vec<_> = in_project().filter(|candidate| candidate.name == service).collect();
    if !named.is_empty() {
        return named;
    }
    let by_cli = candidates.iter().filter(|candidate| {
        candidate.label(CLI_LABEL) == Some(project) && candidate.name.starts_with("supabase_db_")
    });
    let by_cli: Vec<_> = by_cli.collect();
    if !by_cli.is_empty() {
        return by_cli;
    }
    in_project().filter(|candidate| is_supabase_image(&candidate.image)).collect()
}

/// `supabase/postgres:15.8.1.060`, also behind a registry's name.
fn is_supabase_image(image: &str) -> bool {
    let path = image.rsplit_once(':').map_or(image, |(path, _)| path);
    path == "supabase/postgres" || path.ends_with("/supabase/postgres")
}

fn describe(target: &Target) -> String {
    match target {
        Target::Service { project, service } => format!("service {service} of project {project}"),
        Target::Container(name) => format!("container {name}"),
    }
}

fn not_found(candidates: &[Candidate], target: &Target) -> StackError {
    let mut projects: Vec<_> =
        candidates.iter().filter_map(|candidate| candidate.label(PROJECT_LABEL)).collect();
    projects.sort_unstable();
    projects.dedup();
    let there = if projects.is_empty() { "none".to_owned() } else { projects.join(", ") };
    let message = format!("there is no {}; compose projects here: {there}", describe(target));
    StackError::new(Code::StackNotFound, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, image: &str, labels: &[(&str, &str)]) -> Candidate {
        Candidate {
            id: format!("{name}-0123456789abcdef"),
            name: name.to_owned(),
            image: image.to_owned(),
            is_running: true,
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        }
    }

    fn compose<'a>(project: &'a str, service: &'a str) -> [(&'a str, &'a str); 2] {
        [(PROJECT_LABEL, project), (SERVICE_LABEL, service)]
    }

    fn service(project: &str) -> Target {
        Target::Service { project: project.to_owned(), service: "db".to_owned() }
    }

    #[test]
    fn finds_the_service_by_its_labels_whatever_its_name() {
        let all = [
            candidate("odd-name-7f3", "registry/x/postgres:15", &compose("supabase", "db")),
            candidate("auth", "gotrue", &compose("supabase", "auth")),
            candidate("supabase-db", "supabase/postgres:15", &compose("other", "db")),
        ];
        assert_eq!(select(&all, &service("supabase")).expect("found"), all[0].id);
    }

    #[test]
    fn finds_the_local_stack_of_the_supabase_cli() {
        let all = [
            candidate(
                "supabase_db_app",
                "public.ecr.aws/supabase/postgres:17",
                &[(PROJECT_LABEL, "app"), (CLI_LABEL, "app")],
            ),
            candidate("supabase_auth_app", "gotrue", &[(PROJECT_LABEL, "app"), (CLI_LABEL, "app")]),
        ];
        assert_eq!(select(&all, &service("app")).expect("found"), all[0].id);
    }

    #[test]
    fn falls_back_to_the_image_within_the_project() {
        let all = [
            candidate("x-1", "coolify/supabase/postgres:15.8", &compose("p", "supabase-database")),
            candidate("x-2", "supabase/postgres-meta:0.1", &compose("p", "meta")),
        ];
        assert_eq!(select(&all, &service("p")).expect("found"), all[0].id);
    }

    #[test]
    fn says_what_there_is_when_there_is_nothing() {
        let all = [candidate("a", "x", &compose("shop", "web"))];
        let error = select(&all, &service("supabase")).expect_err("there is none");
        assert_eq!(error.code, Code::StackNotFound);
        assert!(error.message.contains("shop"), "{error}");
    }

    #[test]
    fn refuses_to_guess_between_two() {
        let mut all =
            vec![candidate("a", "x", &compose("p", "db")), candidate("b", "x", &compose("p", "db"))];
        assert_eq!(select(&all, &service("p")).expect_err("two").code, Code::StackAmbiguous);
        all[0].is_running = false;
        assert_eq!(select(&all, &service("p")).expect("one runs"), all[1].id);
    }

    #[test]
    fn passes_over_one_off_containers() {
        let mut labels = compose("p", "db").to_vec();
        labels.push((ONEOFF_LABEL, "True"));
        let all = [candidate("run", "x", &labels), candidate("db", "x", &compose("p", "db"))];
        assert_eq!(select(&all, &service("p")).expect("found"), all[1].id);
    }

    #[test]
    fn takes_a_container_by_name_or_id() {
        let all = [candidate("my-db", "x", &[]), candidate("my-db-2", "x", &[])];
        let target = |name: &str| Target::Container(name.to_owned());
        assert_eq!(select(&all, &target("my-db")).expect("found"), all[0].id);
        assert_eq!(select(&all, &target("my-db-2-0123")).expect("found"), all[1].id);
        assert!(select(&all, &target("my")).is_err());
    }
}

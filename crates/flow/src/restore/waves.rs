//! Which services can be started together.

use std::collections::BTreeSet;

use crate::ports::Service;

/// Waves, each of which waits for nothing but what is in those before it. Within one they are in the order of
/// their names. What waits for itself in a circle comes one by one.
pub(crate) fn waves(mut services: Vec<Service>) -> Vec<Vec<Service>> {
    services.sort_unstable_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
    let mut waves = Vec::new();
    while !services.is_empty() {
        let names: BTreeSet<String> = services.iter().map(|service| service.name.clone()).collect();
        let waits = |service: &Service| {
            service.depends_on.iter().any(|name| *name != service.name && names.contains(name))
        };
        let (mut wave, mut rest): (Vec<_>, Vec<_>) =
            services.into_iter().partition(|service| !waits(service));
        if wave.is_empty() {
            wave.push(rest.remove(0));
        }
        waves.push(wave);
        services = rest;
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, depends_on: &[&str]) -> Service {
        Service {
            id: format!("{name}-id"),
            name: name.to_owned(),
            is_running: true,
            depends_on: depends_on.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn names(services: Vec<Service>) -> Vec<String> {
        let wave =
            |wave: Vec<Service>| wave.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(" ");
        waves(services).into_iter().map(wave).collect()
    }

    #[test]
    fn what_others_wait_for_comes_first_and_the_rest_together() {
        let stack = vec![
            one("studio", &["analytics"]),
            one("storage", &["db", "rest", "imgproxy"]),
            one("rest", &["db"]),
            one("imgproxy", &[]),
            one("functions", &["kong"]),
            one("kong", &["analytics"]),
            one("analytics", &["db"]),
        ];
        assert_eq!(names(stack), ["analytics imgproxy rest", "kong storage studio", "functions"]);
    }

    #[test]
    fn a_circle_ends_too() {
        assert_eq!(names(vec![one("a", &["b"]), one("b", &["a"]), one("c", &["c"])]), ["c", "a", "b"]);
    }

    #[test]
    fn where_there_are_two_of_a_name_both_are_waited_for() {
        let second = Service { id: "another".to_owned(), ..one("rest", &[]) };
        assert_eq!(
            names(vec![one("storage", &["rest"]), one("rest", &[]), second]),
            ["rest rest", "storage"]
        );
    }
}

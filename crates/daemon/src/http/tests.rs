//! What the interface answers, good and bad.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::Value;
use supakeep_model::manifest_head::{Proof, Suspicion};
use supakeep_model::{Duration, OffsetDateTime};
use supakeep_testkit::{
    Fault, FaultyRepository, MemoryRepository, Operation, START, TestClock, failed_head, head, manifest,
    profile, recipe,
};
use tower::ServiceExt as _;

use super::*;
use crate::status::{RepositoryView, StatusSpec};

const TOKEN: &str = "a token of some length";

/// An interface, and somebody who takes its requests.
struct Page {
    router: Router,
    repository: FaultyRepository,
    status: Arc<Status>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json", "{}", self.body);
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// An error in the shape that all of them have.
    #[track_caller]
    fn refused(&self, status: StatusCode, code: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        let error = &self.json()["error"];
        assert_eq!(error["code"], code, "{error}");
        for key in ["message", "hint"] {
            assert!(error[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {error}");
        }
    }
}

impl Page {
    fn of(memory: MemoryRepository, token: Option<&str>) -> Page {
        let repository = FaultyRepository::around(memory);
        let shared: Arc<dyn Repository> = Arc::new(repository.clone());
        let profiles = vec![profile("daily", "0 2 * * *"), profile("weekly", "0 2 * * 0")];
        let spec = StatusSpec {
            version: "0.1.0".into(),
            stack: "supabase".into(),
            profiles: profiles.clone(),
            min_free_bytes: 1_000,
            exports: vec![],
        };
        let catalog = shared.catalog();
        let status = Arc::new(Status::new(spec, catalog, RepositoryView::of(&*shared, START)));
        status.set_next_run("daily", Some(START + Duration::minutes(10)));
        let (requests, mut incoming) = mpsc::channel::<RunRequest>(8);
        tokio::spawn(async move {
            while let Some(request) = incoming.recv().await {
                let answer = match request.profile.as_str() {
                    "daily" => Ok(()),
                    "weekly" => Err(Code::Busy),
                    "silent" => continue,
                    _ => Err(Code::ProfileNotFound),
                };
                let _ = request.reply.send(answer);
            }
        });
        let interface = Interface {
            status: Arc::clone(&status),
            metrics: Arc::new(Metrics::new(&recipe().build, &profiles, &[])),
            repository: shared,
            clock: Arc::new(TestClock::at(START)),
            token: token.map(|token| Arc::new(Secret::new(token.to_owned()))),
            requests,
            reading: Arc::default(),
        };
        Page { router: router(interface), repository, status }
    }

    async fn ask(&self, method: &str, path: &str, authorization: Option<&str>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Body::empty()).expect("a valid request");
        let response = self.router.clone().oneshot(request).await.expect("it answers");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("it is whole").to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("text");
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None).await
    }
}

fn hours_ago(hours: i64) -> OffsetDateTime {
    START - Duration::hours(hours)
}

/// A good one of yesterday, one that failed before it, one of the other profile, one by hand.
fn healthy() -> MemoryRepository {
    MemoryRepository::with(
        [
            head("supabase_backup_20260109_020000", Some("daily"), hours_ago(24)),
            failed_head("supabase_backup_20260108_020000", Some("daily"), hours_ago(48), Code::DatabaseLost),
            head("supabase_backup_20260104_020000", Some("weekly"), hours_ago(144)),
            head("before-migration_20260109_120000", None, hours_ago(14)),
        ]
        .map(manifest),
    )
}

#[tokio::test]
async fn health_tells_how_every_profile_is_doing() {
    let page = Page::of(healthy(), None);
    let answer = page.get("/health").await;
    assert_eq!(answer.status, StatusCode::OK);
    let health = answer.json();
    assert_eq!((&health["status"], &health["stack"]), (&"ok".into(), &"supabase".into()));
    let daily = &health["profiles"][0];
    assert_eq!(daily["profile"], "daily");
    assert_eq!(daily["last_success"], "2026-01-09T01:50:00Z");
    assert_eq!((&daily["age_seconds"], &daily["max_age_seconds"]), (&86_400.into(), &90_060.into()));
    assert_eq!(daily["next_run"], "2026-01-10T02:00:00Z");
    assert_eq!((&daily["last_error_code"], &daily["overdue"]), (&Value::Null, &false.into()));
    assert_eq!((&daily["backups"], &daily["latest"]), (&1.into(), &"supabase_backup_20260109_020000".into()));
    assert_eq!(health["profiles"][1]["profile"], "weekly");
    assert_eq!(health["reasons"], serde_json::json!([]));
}

#[tokio::test]
async fn health_is_503_only_when_it_is_failing() {
    let suspect = {
        let mut suspect = head("b_2", Some("daily"), hours_ago(1));
        suspect.outcome = supakeep_model::manifest_head::Outcome::Suspect;
        let compared_with = "supabase_backup_20260109_020000".parse().expect("a valid id");
        suspect.suspicion =
            Some(Suspicion { compared_with, reasons: vec!["less".into()], accepted_at: None });
        suspect
    };
    let damaged = {
        let mut damaged = head("b_2", Some("daily"), hours_ago(1));
        let differences = vec!["postgres.sql.gz: it is gone".to_owned()];
        damaged.verified = Some(Proof { at: START, ok: false, duration_seconds: 1.0, differences });
        damaged
    };
    let cases = [
        (head("b_2", Some("daily"), hours_ago(1)), "ok", 200),
        (suspect, "degraded", 200),
        (failed_head("b_2", Some("daily"), hours_ago(1), Code::DumpFailed), "failing", 503),
        (damaged, "failing", 503),
    ];
    for (last, level, status) in cases {
        let good = head("supabase_backup_20260109_020000", Some("daily"), hours_ago(20));
        let page = Page::of(MemoryRepository::with([good, last].map(manifest)), None);
        let answer = page.get("/health").await;
        assert_eq!((answer.json()["status"].as_str(), answer.status.as_u16()), (Some(level), status));
        assert_eq!(answer.json()["reasons"].as_array().map(Vec::is_empty), Some(level == "ok"));
    }
    let old = head("b_1", Some("daily"), hours_ago(26));
    let answer = Page::of(MemoryRepository::with([manifest(old)]), None).get("/health").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["profiles"][0]["overdue"]), (503, &true.into()));
}

#[tokio::test]
async fn health_tells_of_the_repository() {
    let memory = healthy();
    memory.set_free_bytes(999);
    let answer = Page::of(memory, None).get("/health").await;
    assert_eq!((answer.status.as_u16(), answer.json()["status"].as_str()), (200, Some("degraded")));
    assert_eq!(answer.json()["repository"]["free_bytes"], 999);
    let page = Page::of(healthy(), None);
    page.repository.break_down(Operation::Prepare, Fault::Code(Code::RepositoryReadOnly));
    page.status.set_repository(RepositoryView::of(&page.repository, START));
    let answer = page.get("/health").await;
    assert_eq!((answer.status.as_u16(), answer.json()["status"].as_str()), (503, Some("failing")));
    assert!(answer.json()["repository"]["error"].is_string());
}

#[tokio::test]
async fn a_catalog_that_cannot_be_read_does_not_make_everything_forgotten() {
    let page = Page::of(healthy(), None);
    page.repository.break_down(Operation::Catalog, Fault::Code(Code::RepositoryIo));
    let answer = page.get("/api/v1/backups").await;
    assert_eq!((answer.status, answer.json().as_array().map(Vec::len)), (StatusCode::OK, Some(4)));
    let health = page.get("/health").await;
    assert_eq!(health.json()["profiles"][0]["backups"], 1);
    assert_eq!(
        (health.status, health.json()["status"].as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("failing"))
    );
    assert!(health.json()["repository"]["error"].is_string(), "{}", health.body);
    page.repository.heal();
    assert_eq!(page.get("/health").await.status, StatusCode::OK);
}

/// Commands beside the daemon make and delete backups; no answer is older than its question.
#[tokio::test]
async fn every_page_shows_what_other_processes_have_just_made() {
    for path in ["/health", "/metrics", "/api/v1/backups", "/api/v1/backups/b_1", "/api/v1/profiles"] {
        let memory = MemoryRepository::default();
        let page = Page::of(memory.clone(), None);
        let before = page.get(path).await.body;
        let lock = memory.lock().expect("nobody has it");
        let made = manifest(head("b_1", Some("daily"), hours_ago(1)));
        let staging = memory.stage(&made.head.id).expect("it can be staged");
        staging.commit(&made).expect("it can be committed");
        drop(lock);
        assert_ne!(page.get(path).await.body, before, "{path}");
    }
}

#[tokio::test]
async fn live_and_the_index_answer_whatever_is_wrong() {
    let page = Page::of(MemoryRepository::default(), None);
    page.repository.break_down(Operation::Catalog, Fault::Code(Code::RepositoryIo));
    assert_eq!(page.get("/health/live").await.status, StatusCode::OK);
    let index = page.get("/").await;
    assert!(index.status == StatusCode::OK && index.body.contains("/metrics"));
}

/// Prometheus asks again and again; threads that wait for a file server come to an end some day.
#[tokio::test]
async fn a_disk_that_does_not_answer_has_one_reader() {
    let page = Page::of(healthy(), None);
    let before = page.repository.calls(Operation::Catalog);
    page.repository.break_down(Operation::Catalog, Fault::Hang);
    let mut scrapes = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let router = page.router.clone();
        let request = Request::builder().uri("/metrics").body(Body::empty()).expect("a valid request");
        scrapes.spawn(async move { router.oneshot(request).await.expect("it answers").status() });
    }
    while page.repository.calls(Operation::Catalog) == before {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let (readers, live) =
        (page.repository.calls(Operation::Catalog) - before, page.get("/health/live").await);
    page.repository.heal();
    assert_eq!((readers, live.status), (1, StatusCode::OK));
    assert_eq!(scrapes.join_all().await, [StatusCode::OK; 3]);
}

/// A restart loses nothing: what the numbers say comes from the manifests.
#[tokio::test]
async fn metrics_know_what_was_before_the_start() {
    let page = Page::of(healthy(), None);
    let answer = page.get("/metrics").await;
    assert_eq!(answer.headers[header::CONTENT_TYPE], "text/plain; version=0.0.4");
    let at = hours_ago(24).unix_timestamp();
    for line in [
        &format!("last_success_timestamp_seconds{{profile=\"daily\"}} {at}"),
        &format!("last_attempt_timestamp_seconds{{profile=\"daily\"}} {at}"),
        "last_run_success{profile=\"daily\"} 1",
        "size_bytes{profile=\"daily\"} 100",
        "source_bytes{profile=\"daily\"} 400",
        "backups{profile=\"weekly\"} 1",
        "last_verify_success{profile=\"daily\"} 1",
        "max_age_seconds{profile=\"daily\"} 90060",
        "overdue{profile=\"daily\"} 0",
        "runs_total{profile=\"daily\",result=\"failed\"} 0",
        "repository_bytes 300",
        "repository_needed_bytes 1000",
        "build_info{revision=\"abc\",version=\"0.1.0\"} 1",
    ] {
        let line = format!("supabase_backup_{line}");
        assert!(answer.body.lines().any(|other| other == line), "no line {line} in\n{}", answer.body);
    }
    assert!(!answer.body.contains("20260109"), "there is an id in a label");
    assert!(answer.body.contains("process_resident_memory_bytes"));
}

#[tokio::test]
async fn backups_are_listed_newest_first_and_by_profile() {
    let page = Page::of(healthy(), None);
    let ids = |answer: &Answer| {
        let list = answer.json();
        let list = list.as_array().expect("a list").clone();
        list.iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    let all = page.get("/api/v1/backups").await;
    assert_eq!(
        ids(&all),
        [
            "before-migration_20260109_120000",
            "supabase_backup_20260109_020000",
            "supabase_backup_20260108_020000",
            "supabase_backup_20260104_020000"
        ]
    );
    assert_eq!(all.json()[2]["error_code"], "database-lost");
    assert_eq!((&all.json()[1]["good"], &all.json()[1]["age_seconds"]), (&true.into(), &86_400.into()));
    let weekly = page.get("/api/v1/backups?profile=weekly").await;
    assert_eq!(ids(&weekly), ["supabase_backup_20260104_020000"]);
    assert!(ids(&page.get("/api/v1/backups?profile=none").await).is_empty());
}

#[tokio::test]
async fn one_backup_is_found_by_what_a_person_would_type() {
    let page = Page::of(healthy(), None);
    for (query, id) in [
        ("before", "before-migration_20260109_120000"),
        ("latest:weekly", "supabase_backup_20260104_020000"),
        ("latest", "before-migration_20260109_120000"),
        ("supabase_backup_20260108", "supabase_backup_20260108_020000"),
    ] {
        let answer = page.get(&format!("/api/v1/backups/{query}")).await;
        assert_eq!((answer.status, answer.json()["id"].as_str()), (StatusCode::OK, Some(id)), "{query}");
        assert!(answer.json()["artifacts"].is_array(), "the whole manifest");
    }
    page.get("/api/v1/backups/nothing").await.refused(StatusCode::NOT_FOUND, "backup-not-found");
    page.get("/api/v1/backups/supabase_").await.refused(StatusCode::BAD_REQUEST, "backup-ambiguous");
    page.repository.break_down(Operation::Manifest, Fault::Code(Code::ManifestDamaged));
    let damaged = page.get("/api/v1/backups/before").await;
    damaged.refused(StatusCode::INTERNAL_SERVER_ERROR, "manifest-damaged");
}

#[tokio::test]
async fn profiles_are_those_of_health() {
    let page = Page::of(healthy(), None);
    let profiles = page.get("/api/v1/profiles").await.json();
    assert_eq!(profiles, page.get("/health").await.json()["profiles"]);
}

#[tokio::test]
async fn without_a_token_nothing_can_be_started() {
    let page = Page::of(healthy(), None);
    let bearer = format!("Bearer {TOKEN}");
    for authorization in [None, Some("Bearer "), Some(bearer.as_str())] {
        let answer = page.ask("POST", "/api/v1/profiles/daily/run", authorization).await;
        answer.refused(StatusCode::NOT_FOUND, "usage-invalid");
    }
}

#[tokio::test]
async fn with_a_token_only_who_has_it_starts_a_run() {
    let page = Page::of(healthy(), Some(TOKEN));
    let post = async |profile: &str, authorization: Option<&str>| {
        page.ask("POST", &format!("/api/v1/profiles/{profile}/run"), authorization).await
    };
    let (longer, shorter) = (format!("Bearer {TOKEN}x"), format!("Bearer {}", &TOKEN[1..]));
    let (other_case, other_scheme) = (format!("bearer {TOKEN}"), format!("Basic {TOKEN}"));
    let wrong =
        [None, Some(""), Some("Bearer "), Some(TOKEN), Some(&other_scheme), Some(&longer), Some(&shorter)];
    for authorization in wrong {
        let answer = post("daily", authorization).await;
        answer.refused(StatusCode::UNAUTHORIZED, "usage-invalid");
        assert!(!answer.body.contains(TOKEN));
    }
    // Whether a profile exists is nobody's business either.
    post("nothing", None).await.refused(StatusCode::UNAUTHORIZED, "usage-invalid");
    let right = format!("Bearer {TOKEN}");
    let answer = post("daily", Some(&right)).await;
    assert_eq!((answer.status, &answer.json()["started"]), (StatusCode::ACCEPTED, &true.into()));
    post("weekly", Some(&right)).await.refused(StatusCode::CONFLICT, "busy");
    post("nothing", Some(&right)).await.refused(StatusCode::NOT_FOUND, "profile-not-found");
    post("silent", Some(&right)).await.refused(StatusCode::SERVICE_UNAVAILABLE, "cancelled");
    assert_eq!(post("daily", Some(&other_case)).await.status, StatusCode::ACCEPTED, "the scheme has no case");
    let get = page.ask("GET", "/api/v1/profiles/daily/run", Some(&right)).await;
    get.refused(StatusCode::METHOD_NOT_ALLOWED, "usage-invalid");
    assert_eq!(get.headers[header::ALLOW], "POST");
}

#[tokio::test]
async fn whatever_is_refused_is_refused_in_json() {
    let page = Page::of(healthy(), None);
    page.get("/nothing").await.refused(StatusCode::NOT_FOUND, "usage-invalid");
    page.get("/api/v1/backups?profile=a&profile=b").await.refused(StatusCode::BAD_REQUEST, "usage-invalid");
    page.get("/api/v1/backups/%ff").await.refused(StatusCode::BAD_REQUEST, "usage-invalid");
    page.ask("DELETE", "/health", None).await.refused(StatusCode::METHOD_NOT_ALLOWED, "usage-invalid");
    let long = Request::builder()
        .uri("/health")
        .header(header::CONTENT_LENGTH, "100000")
        .body(Body::empty())
        .expect("a valid request");
    let response = page.router.clone().oneshot(long).await.expect("it answers");
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
}

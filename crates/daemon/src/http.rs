//! The HTTP interface.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use supakeep_flow::ports::{Clock, Repository};
use supakeep_model::catalog;
use supakeep_model::code::Code;
use supakeep_model::health::Level;
use supakeep_model::secret::Secret;
use supakeep_model::view::BackupView;
use tokio::sync::{Mutex, mpsc, oneshot};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::metrics::Metrics;
use crate::status::Status;
use crate::supervisor::RunRequest;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// No call needs a body.
const MOST_BODY: usize = 16 * 1024;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Interface {
    pub(crate) status: Arc<Status>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) repository: Arc<dyn Repository>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) token: Option<Arc<Secret<String>>>,
    pub(crate) requests: mpsc::Sender<RunRequest>,
    /// Held by whoever reads the repository: a disk that does not answer has one thread, not one more
    /// for every scrape.
    pub(crate) reading: Arc<Mutex<()>>,
}

/// All routes; the one that starts a run only where a token is configured.
pub(crate) fn router(interface: Interface) -> Router {
    let mut router = Router::new()
        .route("/", get(index))
        .route("/health", get(health))
        .route("/health/live", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics))
        .route("/api/v1/backups", get(backups))
        .route("/api/v1/backups/{id}", get(backup))
        .route("/api/v1/profiles", get(profiles));
    if interface.token.is_some() {
        router = router.route("/api/v1/profiles/{name}/run", post(start));
    }
    router
        .with_state(interface)
        .layer(RequestBodyLimitLayer::new(MOST_BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, ANSWER))
        .layer(map_response(in_json))
}

/// Whatever refuses a call before a handler sees it, refuses it in the same shape as the handlers do.
async fn in_json(response: Response) -> Response {
    let status = response.status();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let code = if status.is_client_error() { Code::UsageInvalid } else { Code::Internal };
    let mut refused = refuse(status, code, &format!("{status}; GET / lists what there is"));
    if let Some(methods) = response.headers().get(header::ALLOW) {
        refused.headers_mut().insert(header::ALLOW, methods.clone());
    }
    refused
}

/// An error as JSON, with the same code and hint as everywhere else.
fn refuse(status: StatusCode, code: Code, message: &str) -> Response {
    let body = serde_json::json!({ "error": { "code": code, "message": message, "hint": code.hint() } });
    (status, Json(body)).into_response()
}

async fn index() -> &'static str {
    "supakeep\n\n/health\n/health/live\n/metrics\n/api/v1/backups\n/api/v1/backups/{id}\n/api/v1/profiles\n"
}

impl Interface {
    /// Reads the manifests that have changed: commands beside the daemon make and delete backups too.
    async fn refresh(&self) {
        let (repository, status) = (Arc::clone(&self.repository), Arc::clone(&self.status));
        let turn = Arc::clone(&self.reading).lock_owned().await;
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            status.set_catalog(repository.catalog());
        });
        if read.await.is_err() {
            tracing::error!(code = %Code::Internal, "reading the repository has died");
        }
    }
}

async fn health(State(interface): State<Interface>) -> Response {
    interface.refresh().await;
    let health = interface.status.health(interface.clock.now());
    let status =
        if health.status == Level::Failing { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, Json(health)).into_response()
}

async fn metrics(State(interface): State<Interface>) -> Response {
    interface.refresh().await;
    let now = interface.clock.now();
    let text = interface.metrics.render(&interface.status.catalog(), &interface.status.health(now), now);
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response()
}

#[derive(Deserialize)]
struct Filter {
    profile: Option<String>,
}

async fn backups(State(interface): State<Interface>, Query(filter): Query<Filter>) -> Response {
    interface.refresh().await;
    let now = interface.clock.now();
    let catalog = interface.status.catalog();
    let wanted = |profile: &Option<String>| filter.profile.is_none() || *profile == filter.profile;
    let views: Vec<_> = catalog
        .entries()
        .filter(|head| wanted(&head.profile))
        .map(|head| BackupView::of(head, now))
        .collect();
    Json(views).into_response()
}

async fn backup(State(interface): State<Interface>, Path(id): Path<String>) -> Response {
    interface.refresh().await;
    let query: catalog::Query = id.parse().unwrap_or_else(|never| match never {});
    let catalog = interface.status.catalog();
    let head = match catalog.find(&query, interface.clock.now()) {
        Ok(head) => head.clone(),
        Err(error @ catalog::QueryError::NotFound(_)) => {
            return refuse(StatusCode::NOT_FOUND, error.code(), &error.to_string());
        }
        Err(error) => return refuse(StatusCode::BAD_REQUEST, error.code(), &error.to_string()),
    };
    let repository = Arc::clone(&interface.repository);
    let read = tokio::task::spawn_blocking(move || repository.manifest(&head.id));
    match read.await {
        Ok(Ok(manifest)) => Json(manifest).into_response(),
        Ok(Err(error)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, error.code, &error.message),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, "reading the manifest failed"),
    }
}

async fn profiles(State(interface): State<Interface>) -> Response {
    interface.refresh().await;
    Json(interface.status.profile_health(interface.clock.now())).into_response()
}

async fn start(
    State(interface): State<Interface>,
    Path(profile): Path<String>,
    headers: HeaderMap,
) -> Response {
    if !is_authorized(&headers, interface.token.as_deref()) {
        let message = "the header `Authorization: Bearer …` with the configured token is wanted";
        return refuse(StatusCode::UNAUTHORIZED, Code::UsageInvalid, message);
    }
    let (reply, answer) = oneshot::channel();
    let sent = interface.requests.send(RunRequest { profile: profile.clone(), reply }).await;
    match (sent, answer.await) {
        (Ok(()), Ok(Ok(()))) => {
            (StatusCode::ACCEPTED, Json(serde_json::json!({ "profile": profile, "started": true })))
                .into_response()
        }
        (Ok(()), Ok(Err(Code::ProfileNotFound))) => {
            refuse(StatusCode::NOT_FOUND, Code::ProfileNotFound, &format!("there is no profile {profile:?}"))
        }
        (Ok(()), Ok(Err(code))) => refuse(
            StatusCode::CONFLICT,
            code,
            &format!("a run of profile {profile} is in progress or waiting"),
        ),
        _ => refuse(StatusCode::SERVICE_UNAVAILABLE, Code::Cancelled, "supakeep is shutting down"),
    }
}

/// Compared in constant time: how long a refusal takes tells nothing of the token.
fn is_authorized(headers: &HeaderMap, token: Option<&Secret<String>>) -> bool {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match (shown.and_then(|value| value.split_once(' ')), token) {
        (Some((scheme, shown)), Some(token)) if scheme.eq_ignore_ascii_case("bearer") => {
            shown.as_bytes().ct_eq(token.expose().as_bytes()).into()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;

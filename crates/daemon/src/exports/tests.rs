//! An exporter at work, with a clock and a stack that do as they are told.

use supakeep_flow::export::ExportPorts;
use supakeep_flow::ports::StackError;
use supakeep_model::export::{ExportHealth, RowsSpec};
use supakeep_model::health::Level;
use supakeep_model::keep::KeepPolicy;
use supakeep_model::manifest_head::{Build, Trigger};
use supakeep_model::schedule::Schedule;
use supakeep_model::zone::Zone;
use supakeep_testkit::{MemoryExports, START, Trial, with_configs};
use time::Duration;
use time::macros::datetime;
use tokio::task::JoinHandle;

use super::*;
use crate::daemon::Everybody;
use crate::metrics::Metrics;
use crate::status::{RepositoryView, StatusSpec};

const TWO: OffsetDateTime = datetime!(2026-01-10 02:00 UTC);

struct Watch {
    trial: Trial,
    exports: MemoryExports,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    _task: JoinHandle<()>,
}

fn configs() -> ExportProfile {
    let schedule = Schedule::new(vec!["0 2 * * *".parse().expect("valid")], Zone::utc());
    ExportProfile {
        name: "configs".into(),
        rows: RowsSpec::of(vec!["public.configs".parse().expect("a table")]),
        keep: KeepPolicy { last: Some(1), ..KeepPolicy::default() },
        schedule: Some(schedule),
        max_age: None,
        catch_up: true,
        retries: 1,
        retry_delay: Duration::minutes(5),
        deadline: ExportProfile::DEADLINE,
    }
}

fn start(exports: MemoryExports) -> Watch {
    let trial = Trial::default();
    with_configs(&trial.stack);
    trial.clock.set(TWO - Duration::MINUTE);
    let repository: Arc<dyn Repository> = Arc::new(trial.repository.clone());
    let shelf: Arc<dyn Shelf> = Arc::new(exports.clone());
    let spec = StatusSpec {
        version: "0.1.0".into(),
        stack: "supabase".into(),
        profiles: vec![],
        min_free_bytes: 0,
        exports: vec![configs()],
    };
    let view = RepositoryView::of(&*repository, START);
    let status = Arc::new(Status::new(spec, repository.catalog(), view));
    let build = Build { version: "0.1.0".into(), revision: "abc".into() };
    let metrics = Arc::new(Metrics::new(&build, &[], &[configs()]));
    let all: Vec<Arc<dyn Observer>> = vec![status.clone(), metrics.clone(), trial.recorder.clone()];
    let observer: Arc<dyn Observer> = Arc::new(Everybody(all));
    let ports = ExportPorts {
        stack: Arc::new(trial.stack.clone()),
        repository: Arc::clone(&repository),
        exports: Arc::clone(&shelf),
        clock: trial.clock.clone(),
        observer: Arc::clone(&observer),
    };
    let specify: SpecifyExport = Arc::new(move |export, plan| ExportSpec {
        export: Some(export.name.clone()),
        prefix: export.name.clone(),
        trigger: plan.trigger,
        slot: Some(plan.slot.at),
        rows: export.rows.clone(),
        zone: Zone::utc(),
        encoders: 1,
        min_free_bytes: 0,
        deadline: export.deadline,
        build: build.clone(),
    });
    let exporter = Exporter {
        spec: ExportsSpec {
            exports: vec![configs()],
            shelf,
            specify,
            make_ports: Arc::new(move || Ok(ports.clone())),
        },
        repository,
        clock: trial.clock.clone(),
        observer,
        status: Arc::clone(&status),
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(exporter.run(stop.clone(), Real::from_secs(1)));
    Watch { trial, exports, status, metrics, stop, _task: task }
}

impl Watch {
    fn health(&self) -> ExportHealth {
        self.status.health(self.trial.now()).exports.remove(0)
    }

    async fn until(&self, what: &str, is: impl Fn(&Watch) -> bool) {
        for _ in 0..200 {
            if is(self) {
                return;
            }
            tokio::time::sleep(Real::from_millis(50)).await;
        }
        panic!("{what}: {:#?}", self.trial.recorder.events());
    }

    fn scrape(&self) -> String {
        let now = self.trial.now();
        self.metrics.render(&self.status.catalog(), &self.status.health(now), now)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn makes_each_slot_once_and_keeps_what_the_policy_says() {
    let before = supakeep_model::sample::export("configs_before", Some("configs"), TWO - Duration::DAY);
    let watch = start(MemoryExports::with([before]));
    watch.until("the next run is known", |watch| watch.health().next_run == Some(TWO)).await;
    watch.trial.clock.set(TWO);
    watch.until("an export is made", |watch| watch.exports.ids() == ["configs_20260110_020000"]).await;
    watch.until("it is told", |watch| watch.health().rows == Some(3)).await;
    watch.trial.clock.set(TWO + Duration::minutes(2));
    tokio::time::sleep(Real::from_millis(2_500)).await;
    assert_eq!(watch.exports.ids(), ["configs_20260110_020000"]);
    let health = watch.health();
    assert_eq!((health.status, health.last_run_ok), (Level::Ok, Some(true)));
    assert_eq!(health.next_run, Some(TWO + Duration::DAY));
    let scrape = watch.scrape();
    for line in [
        "supabase_backup_export_runs_total{export=\"configs\",result=\"complete\"} 1",
        "supabase_backup_export_overdue{export=\"configs\"} 0",
        "supabase_backup_export_rows{export=\"configs\"} 3",
        "supabase_backup_exports{export=\"configs\"} 1",
    ] {
        assert!(scrape.lines().any(|other| other == line), "no {line} in\n{scrape}");
    }
    watch.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_again_what_may_pass_and_says_so_meanwhile() {
    let watch = start(MemoryExports::default());
    watch.trial.stack.refuse([StackError::new(Code::DatabaseLost, "it went away")]);
    watch.trial.clock.set(TWO);
    watch.until("the failure is told", |watch| watch.health().last_run_ok == Some(false)).await;
    let health = watch.health();
    assert_eq!((health.status, health.last_error_code), (Level::Degraded, Some(Code::DatabaseLost)));
    assert!(watch.status.health(TWO).reasons.iter().any(|reason| reason.starts_with("export configs: ")));
    assert!(watch.scrape().contains("supabase_backup_errors_total{code=\"database-lost\"} 1"));
    assert_eq!((watch.exports.ids().len(), watch.exports.half_made()), (0, 0));
    watch.trial.clock.set(TWO + Duration::minutes(6));
    watch.until("it is made", |watch| watch.exports.ids() == ["configs_20260110_020600"]).await;
    watch.until("all is well", |watch| watch.health().status == Level::Ok).await;
    let found = watch.exports.catalog().expect("memory");
    let made = found.newest("configs", TWO + Duration::HOUR).expect("it is there");
    assert_eq!((made.slot, made.trigger), (Some(TWO), Trigger::Schedule));
    watch.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_whoever_holds_the_lock_until_its_next_slot() {
    let watch = start(MemoryExports::default());
    let held = watch.trial.repository.lock().expect("nobody has it");
    watch.trial.clock.set(TWO);
    tokio::time::sleep(Real::from_millis(2_500)).await;
    assert!(watch.exports.ids().is_empty());
    watch.trial.clock.set(TWO + Duration::DAY);
    let skipped = |event: &RunEvent| matches!(event, RunEvent::Export(ExportEvent::Skipped { .. }));
    watch.until("it is skipped", |watch| watch.trial.recorder.events().iter().any(skipped)).await;
    drop(held);
    watch.until("the next is made", |watch| watch.exports.ids() == ["configs_20260111_020000"]).await;
    watch.stop.cancel();
}

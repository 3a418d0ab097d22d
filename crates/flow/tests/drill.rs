//! What becomes of a drill's result: noted, kept for people, told; that of a sample apart from that of a whole one.

use std::collections::BTreeMap;
use std::sync::Arc;

use supakeep_flow::drill::{DrillPorts, DrillReport, DrillSpec, drill};
use supakeep_flow::failure::Failure;
use supakeep_flow::ports::{Repository as _, ScratchSpec};
use supakeep_model::drill_sample::{SampleSize, SampleSpec};
use supakeep_model::event::RunEvent;
use supakeep_model::id::BackupId;
use supakeep_model::manifest_head::ManifestHead;
use supakeep_model::{Duration, OffsetDateTime};
use supakeep_testkit::{START, ScriptedSite, SiteOperation, Trial};
use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;

struct Bench {
    trial: Trial,
    site: ScriptedSite,
    id: BackupId,
}

impl Bench {
    async fn new() -> Bench {
        let trial = Trial::default();
        let id = trial.backup().await.id;
        let site = ScriptedSite::new(&trial.stack, &["postgres", "_supabase"], &[]);
        Bench { trial, site, id }
    }

    async fn drill(&self, sample: Option<SampleSpec>) -> Result<DrillReport, Failure> {
        let spec = DrillSpec {
            backup: self.id.clone(),
            sample,
            scratch: ScratchSpec { memory_bytes: 1 << 30, cpus: 1.0 },
            jobs: 1,
            checks: vec![],
            deadline: Duration::HOUR,
        };
        let ports = DrillPorts {
            repository: Arc::new(self.trial.memory.clone()),
            sites: Arc::new(self.site.clone()),
            clock: Arc::clone(&self.trial.clock) as _,
            observer: Arc::clone(&self.trial.recorder) as _,
        };
        drill(&spec, &ports, &CancellationToken::new()).await
    }

    async fn sample(&self, size: SampleSize, at: OffsetDateTime) -> DrillReport {
        let drilled = self.drill(Some(SampleSpec { size, at })).await;
        drilled.unwrap_or_else(|failure| panic!("it cannot be tried: {failure:?}"))
    }

    fn head(&self) -> ManifestHead {
        self.trial.memory.manifest(&self.id).expect("it is there").head
    }

    async fn kept(&self, name: &str) -> Option<String> {
        let mut stored = self.trial.memory.open(&self.id, name).ok()?;
        let mut text = String::new();
        stored.read_to_string(&mut text).await.expect("memory can be read");
        Some(text)
    }

    /// How often each kind of result was told.
    fn told(&self) -> (usize, usize) {
        let events = self.trial.recorder.events();
        let drilled = events.iter().filter(|event| matches!(event, RunEvent::Drilled { .. })).count();
        (drilled, events.iter().filter(|event| matches!(event, RunEvent::Sampled { .. })).count())
    }
}

#[tokio::test]
async fn a_whole_drill_is_noted_and_its_page_is_kept() {
    let bench = Bench::new().await;
    let report = bench.drill(None).await.expect("it can be tried");
    assert!(report.ok && report.sample.is_none(), "{report:?}");
    let head = bench.head();
    assert!(head.drilled.is_some_and(|proof| proof.ok) && head.sampled.is_none());
    let page = bench.kept("drill.txt").await.expect("a page is kept");
    assert!(page.contains("result        restores to what was recorded\n"), "{page}");
    assert!(bench.kept("drill.json").await.is_some() && bench.kept("sample.txt").await.is_none());
    assert_eq!(bench.told(), (1, 0));
}

#[tokio::test]
async fn a_sample_is_noted_kept_and_told_apart_from_a_drill() {
    let bench = Bench::new().await;
    let report = bench.sample(SampleSize::Tables(1), START).await;
    assert!(report.ok, "{report:?}");
    let head = bench.head();
    let sampled = head.sampled.expect("it is noted");
    assert!(sampled.proof.ok && sampled.tables == 1 && sampled.of_tables > 1 && head.drilled.is_none());
    let page = bench.kept("sample.txt").await.expect("a page is kept");
    assert!(page.contains("the sample restores to what was recorded"), "{page}");
    assert!(bench.kept("sample.json").await.is_some() && bench.kept("drill.txt").await.is_none());
    assert_eq!(bench.told(), (0, 1));
    assert_eq!(bench.site.count(SiteOperation::RemoveScratch), 1);
}

#[tokio::test]
async fn only_the_rows_of_the_sample_are_loaded_and_each_table_has_its_turn() {
    let bench = Bench::new().await;
    let tables = bench.head().totals.tables;
    let mut taken = BTreeMap::new();
    for week in 0..tables {
        let at = START + Duration::weeks(week as i64);
        let report = bench.sample(SampleSize::Tables(1), at).await;
        let sample = report.sample.expect("it was a sample");
        let table = &sample.tables[0].table;
        let calls = bench.site.calls();
        let loaded = calls.iter().rfind(|(operation, _)| *operation == SiteOperation::Rows);
        let (_, loaded) = loaded.expect("rows were loaded");
        let wanted = format!("{}: COPY {}.{} ", table.database, table.schema, table.name);
        assert!(loaded.starts_with(&wanted) && loaded.matches("COPY ").count() == 1, "{wanted} {loaded}");
        *taken.entry(table.clone()).or_insert(0) += 1;
    }
    assert!(taken.len() as u64 == tables && taken.values().all(|times| *times == 1), "{taken:?}");
}

#[tokio::test]
async fn a_damaged_dump_is_found_before_anything_is_made() {
    let bench = Bench::new().await;
    bench.trial.memory.tamper(bench.id.as_str(), "postgres.sql.gz", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let report = bench.sample(SampleSize::Percent(10.0), START).await;
    assert!(!report.ok && report.differences[0].contains("postgres.sql.gz"), "{report:?}");
    assert_eq!(bench.site.count(SiteOperation::MakeScratch), 0);
    assert!(bench.head().sampled.is_some_and(|sampled| !sampled.proof.ok));
}

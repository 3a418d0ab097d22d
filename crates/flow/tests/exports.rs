//! Whole exports, on a stack that does as it is told and a shelf in memory.

use std::sync::Arc;

use supakeep_flow::export::{ExportPorts, ExportSpec, differs, export, export_and_prune};
use supakeep_flow::failure::Failure;
use supakeep_flow::ports::{Exports as _, Repository as _, StackError};
use supakeep_model::code::Code;
use supakeep_model::dump::Compression;
use supakeep_model::event::RunEvent;
use supakeep_model::export::{ExportEvent, ExportManifest, ExportProfile, RowFormat, RowsSpec, Treatment};
use supakeep_model::journal;
use supakeep_model::keep::KeepPolicy;
use supakeep_model::manifest_head::{Build, Trigger};
use supakeep_model::zone::Zone;
use supakeep_model::{Duration, sample};
use supakeep_testkit::{Call, MemoryExports, START, Script, Step, Trial, unfinished, with_configs};
use tokio_util::sync::CancellationToken;

struct Shelf {
    trial: Trial,
    exports: MemoryExports,
    cancel: CancellationToken,
}

impl Default for Shelf {
    fn default() -> Shelf {
        Shelf::with(MemoryExports::default())
    }
}

fn rows() -> RowsSpec {
    RowsSpec {
        compression: Compression::None,
        ..RowsSpec::of(vec!["public.configs".parse().expect("a table")])
    }
}

fn spec(rows: RowsSpec) -> ExportSpec {
    ExportSpec {
        export: Some("configs".into()),
        prefix: "configs".into(),
        trigger: Trigger::Manual,
        slot: None,
        rows,
        zone: Zone::utc(),
        encoders: 2,
        min_free_bytes: 1,
        deadline: Duration::HOUR,
        build: Build { version: "1".into(), revision: "1".into() },
    }
}

impl Shelf {
    fn with(exports: MemoryExports) -> Shelf {
        let trial = Trial::default();
        with_configs(&trial.stack);
        Shelf { trial, exports, cancel: CancellationToken::new() }
    }

    fn ports(&self) -> ExportPorts {
        ExportPorts {
            stack: Arc::new(self.trial.stack.clone()),
            repository: Arc::new(self.trial.repository.clone()),
            exports: Arc::new(self.exports.clone()),
            clock: self.trial.clock.clone(),
            observer: self.trial.recorder.clone(),
        }
    }

    async fn export(&self, spec: &ExportSpec) -> Result<ExportManifest, Failure> {
        let lock = self.trial.repository.lock().expect("nobody has it");
        export(spec, &self.ports(), &*lock, &self.cancel).await
    }

    /// An export that fails; nothing is left of it, and everybody is told.
    async fn fails(&self, spec: &ExportSpec) -> Code {
        let failure = self.export(spec).await.expect_err("it fails");
        assert_eq!((self.exports.ids().len(), self.exports.half_made()), (0, 0));
        assert_eq!(self.told(), vec![Some(failure.code)]);
        failure.code
    }

    /// How the runs ended that were told of.
    fn told(&self) -> Vec<Option<Code>> {
        let ended = |event: RunEvent| match event {
            RunEvent::Export(ExportEvent::Ended(run)) => Some(run.error.map(|error| error.code)),
            _ => None,
        };
        self.trial.recorder.events().into_iter().filter_map(ended).collect()
    }
}

const PRINT: &str = "print:COPY (SELECT";

#[tokio::test]
async fn rows_are_written_read_again_and_recorded() {
    let shelf = Shelf::default();
    let made = shelf.export(&spec(rows())).await.expect("it is made");
    assert_eq!(shelf.exports.ids(), [made.id.as_str()]);
    let table = made.table("public", "configs").expect("a table");
    let stored = shelf.exports.file(made.id.as_str(), &table.path);
    let text = String::from_utf8(stored.clone()).expect("text");
    assert_eq!(
        text,
        concat!(
            "{\"id\":1,\"email\":\"secret@example.org\",\"body\":{\"a\": 1}}\n",
            "{\"id\":2,\"email\":\"secret@example.org\",\"body\":null}\n",
            "{\"id\":3,\"email\":null}\n",
        )
    );
    assert_eq!(
        (table.path.as_str(), table.rows, table.bytes),
        ("public.configs.jsonl", 3, text.len() as u64)
    );
    assert_eq!((made.totals.rows, made.hash.clone(), table.primary_key[0].as_str()), (3, None, "id"));
    let stack = &shelf.trial.stack;
    for call in [Call::Finish(PRINT.into()), Call::SnapshotClosed("postgres".into())] {
        assert_eq!(stack.count(&call), 1, "{call:?}");
    }
    let snapshots = stack.calls().iter().filter(|call| matches!(call, Call::Snapshot(_))).count();
    assert_eq!(snapshots, 1, "all tables are of one moment");
    assert_eq!(shelf.told(), [None]);
    assert_eq!(ExportManifest::parse(&made.to_json()), Ok(made.clone()));
    let opened = shelf.exports.open(&made.id, &table.path).expect("it is there");
    assert_eq!(differs(table, opened).await.expect("memory"), None);
    for at in [0, stored.len() - 1] {
        shelf.exports.tamper(made.id.as_str(), &table.path, |bytes| bytes[at] ^= 1);
        let opened = shelf.exports.open(&made.id, &table.path).expect("it is there");
        assert!(differs(table, opened).await.expect("memory").is_some(), "byte {at}");
        shelf.exports.tamper(made.id.as_str(), &table.path, |bytes| bytes[at] ^= 1);
    }
}

#[tokio::test]
async fn what_is_hidden_is_in_no_byte_of_file_or_manifest() {
    for format in [RowFormat::Jsonl, RowFormat::Csv] {
        let shelf = Shelf::default();
        let mut hidden = RowsSpec { format, ..rows() };
        hidden.hash = vec!["public.configs.email".parse().expect("a column")];
        let made = shelf.export(&spec(hidden)).await.expect("it is made");
        let table = &made.tables[0];
        let mut all = shelf.exports.file(made.id.as_str(), &table.path);
        all.extend(made.to_json());
        assert!(!String::from_utf8_lossy(&all).contains("example.org"), "{format}");
        assert_eq!(table.treated(Treatment::Hashed).collect::<Vec<_>>(), ["email"]);
        assert!(made.hash.is_some());
    }
}

#[tokio::test]
async fn a_stream_that_is_not_whole_makes_no_export() {
    let lost = || StackError::new(Code::StreamTruncated, "it is gone");
    let cut = Script::of("1\ta\t{}\n2\tb");
    let mut refused = Script::of("1\ta\t{}\n");
    refused.verdict = Err(StackError::new(Code::DatabaseLost, "terminating connection"));
    let mut broken = Script::of("1\ta\t{}\n");
    broken.steps.push(Step::Fail(lost()));
    let fields = Script::of("1\ta\n");
    for (script, code) in [
        (cut, Code::DumpIncomplete),
        (refused, Code::DatabaseLost),
        (broken, Code::StreamTruncated),
        (fields, Code::DumpIncomplete),
    ] {
        let shelf = Shelf::default();
        shelf.trial.stack.set_print("COPY (SELECT", script);
        assert_eq!(shelf.fails(&spec(rows())).await, code);
        assert!(shelf.trial.stack.count(&Call::Terminate) >= 2, "its sessions are ended");
    }
}

#[tokio::test]
async fn what_cannot_be_exported_is_refused() {
    let with = |change: fn(&mut RowsSpec)| {
        let mut rows = rows();
        change(&mut rows);
        spec(rows)
    };
    for (spec, code) in [
        (with(|rows| rows.tables = vec!["public.nowhere".parse().expect("a table")]), Code::ExportUnfit),
        (with(|rows| rows.tables = vec!["public.seen".parse().expect("a table")]), Code::ExportUnfit),
        (with(|rows| rows.hash = vec!["public.configs.mail".parse().expect("a column")]), Code::ExportUnfit),
        (with(|rows| rows.database = "shop".into()), Code::DatabaseMissing),
    ] {
        assert_eq!(Shelf::default().fails(&spec).await, code);
    }
    let shelf = Shelf::default();
    shelf.trial.stack.set_facts(|facts| facts.is_superuser = false);
    assert_eq!(shelf.fails(&spec(rows())).await, Code::PrivilegesMissing);
    let shelf = Shelf::default();
    let journal = unfinished("b_1".parse().expect("an id"), journal::Step::Globals);
    shelf.trial.memory.set_journal(Some(&journal)).expect("memory");
    assert_eq!(shelf.fails(&spec(rows())).await, Code::RestoreUnfinished);
    let shelf = Shelf::default();
    shelf.trial.memory.set_free_bytes(0);
    assert_eq!(shelf.fails(&spec(rows())).await, Code::SpaceLow);
}

#[tokio::test]
async fn a_run_that_is_cancelled_or_takes_too_long_leaves_nothing() {
    let shelf = Shelf::default();
    let mut hangs = Script::of("1\ta\t{}\n");
    hangs.steps.push(Step::Hang);
    shelf.trial.stack.set_print("COPY (SELECT", hangs);
    let short = ExportSpec { deadline: Duration::milliseconds(200), ..spec(rows()) };
    assert_eq!(shelf.fails(&short).await, Code::DeadlineExceeded);
    let shelf = Shelf::default();
    shelf.cancel.cancel();
    assert_eq!(shelf.fails(&spec(rows())).await, Code::Cancelled);
}

#[tokio::test]
async fn retention_follows_an_export_that_was_made_and_its_trouble_is_told() {
    let configured = [ExportProfile {
        name: "configs".into(),
        rows: rows(),
        keep: KeepPolicy { last: Some(1), ..KeepPolicy::default() },
        schedule: None,
        max_age: None,
        catch_up: true,
        retries: 0,
        retry_delay: Duration::MINUTE,
        deadline: Duration::HOUR,
    }];
    let before = || {
        let day = |days: i64| START - Duration::days(days);
        MemoryExports::with([
            sample::export("configs_1", Some("configs"), day(1)),
            sample::export("people_1", Some("people"), day(1)),
            sample::export("export_1", None, day(1)),
        ])
    };
    for sticks in [false, true] {
        let shelf = Shelf::with(before());
        if sticks {
            shelf.exports.stick();
        }
        let lock = shelf.trial.repository.lock().expect("nobody has it");
        let made = export_and_prune(&spec(rows()), &configured, &shelf.ports(), &*lock, &shelf.cancel).await;
        let id = made.expect("it is made").id.to_string();
        let mut wanted = vec![id, "export_1".to_owned(), "people_1".to_owned()];
        if sticks {
            wanted.insert(0, "configs_1".to_owned());
            assert_eq!(shelf.trial.recorder.faults(), [Code::RepositoryReadOnly]);
        }
        wanted.sort();
        assert_eq!(shelf.exports.ids(), wanted);
    }
    let shelf = Shelf::with(before());
    shelf.trial.stack.set_print("COPY (SELECT", Script::of("half"));
    let lock = shelf.trial.repository.lock().expect("nobody has it");
    let failed = export_and_prune(&spec(rows()), &configured, &shelf.ports(), &*lock, &shelf.cancel).await;
    assert!(failed.is_err());
    assert_eq!(shelf.exports.ids(), ["configs_1", "export_1", "people_1"], "a failure removes nothing");
}

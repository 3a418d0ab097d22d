//! Backups that succeed: what is in them, in which order it is made, and what they are compared with.

use std::io::Read as _;
use std::sync::Mutex;

use supakeep_flow::backup::{CommitOf, TransportChoice};
use supakeep_flow::ports::Repository as _;
use supakeep_flow::verify::verify;
use supakeep_model::artifact::Part;
use supakeep_model::code::Code;
use supakeep_model::dump::{Compression, DumpSpec, Format, Scope};
use supakeep_model::event::{Phase, RunEvent};
use supakeep_model::fingerprint::Dialect;
use supakeep_model::manifest::Manifest;
use supakeep_model::manifest_head::{ManifestHead, Outcome};
use supakeep_model::naming::Kind;
use supakeep_testkit::{Call, Database, FaultyRepository, GLOBALS, Operation, START, Script, Trial};

fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text).expect("gzip members of text");
    text
}

fn code(head: &ManifestHead) -> Option<Code> {
    head.error.as_ref().map(|error| error.code)
}

#[tokio::test]
async fn a_backup_holds_everything_and_opens_with_stock_tools() {
    let trial = Trial::default();
    let head = trial.backup().await;
    assert_eq!((head.outcome, code(&head)), (Outcome::Complete, None));
    assert!(head.is_good());
    assert_eq!(head.id.as_str(), "supabase_backup_20260110_015000");
    assert_eq!(trial.memory.ids(), [head.id.as_str()]);
    let files = trial.memory.files(head.id.as_str());
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "_supabase.create.sql.gz",
            "_supabase.sql.gz",
            "globals.sql.gz",
            "pgsodium_root.key",
            "postgres.create.sql.gz",
            "postgres.sql.gz"
        ]
    );
    assert_eq!(gunzip(&files["globals.sql.gz"]), GLOBALS);
    assert_eq!(gunzip(&files["postgres.sql.gz"]).into_bytes(), trial.content().bytes());
    let create = gunzip(&files["postgres.create.sql.gz"]);
    assert!(create.contains("CREATE DATABASE \"postgres\"") && !create.contains("\\connect"), "{create}");
    assert_eq!(files["pgsodium_root.key"], b"0123456789abcdef".repeat(4));
    assert_eq!(trial.memory.links()["latest"], head.id.as_str());
    assert_eq!(trial.memory.links()["latest-daily"], head.id.as_str());
}

#[tokio::test]
async fn the_manifest_tells_what_is_in_it() {
    let trial = Trial::default();
    trial.stack.set_content("postgres", trial.content().saying("pg_dump: warning: there are circular keys"));
    let head = trial.backup().await;
    let manifest = trial.manifest(&head);
    assert_eq!(manifest.head, head);
    let parts: Vec<_> = manifest.artifacts.iter().map(|artifact| (artifact.part, &*artifact.path)).collect();
    assert_eq!(
        parts,
        [
            (Part::Globals, "globals.sql.gz"),
            (Part::Create, "postgres.create.sql.gz"),
            (Part::Database, "postgres.sql.gz"),
            (Part::Create, "_supabase.create.sql.gz"),
            (Part::Database, "_supabase.sql.gz"),
            (Part::RootKey, "pgsodium_root.key"),
        ]
    );
    let totals = head.totals;
    assert_eq!((totals.databases, totals.tables, totals.rows), (2, 2, 307));
    assert_eq!(totals.stored_bytes, manifest.artifacts.iter().map(|artifact| artifact.bytes).sum::<u64>());
    assert!(totals.source_bytes > totals.stored_bytes);
    let print = manifest.databases[0].fingerprint.as_ref().expect("it has one");
    let tables: Vec<_> = print.tables.iter().map(|table| (&*table.name, table.rows)).collect();
    assert_eq!((print.dialect, tables), (Dialect::Copy, vec![("posts", 7), ("users", 300)]));
    assert_eq!(manifest.databases[0].extensions[0].name, "pgcrypto");
    assert_eq!(manifest.server_settings[0].value, "logical");
    assert_eq!(manifest.messages.len(), 1);
    assert_eq!(manifest.messages[0].path, "postgres.sql.gz");
    assert_eq!(head.stack.system_identifier, "7400000000000000001");
    assert_eq!((head.started, head.profile.as_deref()), (START, Some("daily")));
    assert!(head.verified.expect("it was verified").ok);
}

#[tokio::test]
async fn the_commit_of_the_stacks_folder_is_read_for_each_backup() {
    let mut trial = Trial::default();
    let commits = Mutex::new(vec!["second", "first"]);
    trial.recipe.commit =
        CommitOf::new(move || commits.lock().expect("nobody panicked").pop().map(str::to_owned));
    let commits = [trial.backup().await, trial.backup().await].map(|head| head.stack.git_commit);
    assert_eq!(commits, [Some("first".to_owned()), Some("second".to_owned())]);
}

#[tokio::test]
async fn everybody_is_told_in_order() {
    let trial = Trial::default();
    let head = trial.backup().await;
    use Phase::{Commit, Connect, Database, Globals, RootKey, Verify};
    assert_eq!(trial.recorder.phases(), [Connect, Globals, Database, Database, RootKey, Verify, Commit]);
    let events = trial.recorder.events();
    assert!(matches!(&events[0], RunEvent::Started { run, at } if run.id == head.id && *at == START));
    assert!(matches!(events.last(), Some(RunEvent::Ended { head: told }) if **told == head));
    assert!(events.iter().any(|event| matches!(event, RunEvent::Progressed { source_bytes: 1.., .. })));
}

#[tokio::test]
async fn every_stream_is_asked_for_its_verdict_and_every_snapshot_is_closed() {
    let trial = Trial::default();
    trial.backup().await;
    let text = |text: &str| text.to_owned();
    assert_eq!(
        trial.stack.calls(),
        [
            Call::Connect(text("supabase_backup_20260110_015000")),
            Call::Terminate,
            Call::Open(text("globals")),
            Call::Finish(text("globals")),
            Call::Snapshot(text("postgres")),
            Call::Open(text("create:postgres")),
            Call::Finish(text("create:postgres")),
            Call::Open(text("content:postgres")),
            Call::Finish(text("content:postgres")),
            Call::SnapshotClosed(text("postgres")),
            Call::SnapshotDropped(text("postgres")),
            Call::Snapshot(text("_supabase")),
            Call::Open(text("create:_supabase")),
            Call::Finish(text("create:_supabase")),
            Call::Open(text("content:_supabase")),
            Call::Finish(text("content:_supabase")),
            Call::SnapshotClosed(text("_supabase")),
            Call::SnapshotDropped(text("_supabase")),
            Call::RootKey,
        ]
    );
}

#[tokio::test]
async fn the_same_data_gives_the_same_fingerprint_however_it_is_stored_and_sent() {
    let mut prints = Vec::new();
    for (compression, zstd, choice) in [
        (Compression::Gzip(6), false, TransportChoice::Auto),
        (Compression::Gzip(9), true, TransportChoice::Auto),
        (Compression::Zstd(3), true, TransportChoice::Auto),
        (Compression::Zstd(3), false, TransportChoice::Auto),
        (Compression::None, true, TransportChoice::Auto),
        (Compression::None, false, TransportChoice::Always(Compression::Gzip(1))),
    ] {
        let mut trial = Trial::default();
        trial.profile.dump.compression = compression;
        trial.recipe.transport = choice;
        trial.stack.set_facts(|facts| facts.dumps_zstd = zstd);
        let head = trial.backup().await;
        assert!(head.is_good(), "{compression}: {:?}", head.error);
        let manifest = trial.manifest(&head);
        let artifact = &manifest.artifacts[2];
        assert!(artifact.path.ends_with(&format!(".sql{}", compression.suffix())), "{}", artifact.path);
        prints.push((manifest.databases[0].fingerprint.clone(), artifact.source_sha256.clone()));
    }
    assert!(prints.iter().all(|print| *print == prints[0]), "{prints:#?}");
}

#[tokio::test]
async fn a_custom_archive_is_stored_as_it_is() {
    for zstd in [false, true] {
        let mut trial = Trial::default();
        trial.profile.dump =
            DumpSpec { format: Format::Custom, compression: Compression::Zstd(3), ..DumpSpec::default() };
        trial.stack.set_facts(|facts| facts.dumps_zstd = zstd);
        let head = trial.backup().await;
        assert!(head.is_good(), "{:?}", head.error);
        let print = trial.manifest(&head).databases[0].fingerprint.clone().expect("it has one");
        let rows: Vec<_> = print.tables.iter().map(|table| (table.name.clone(), table.rows)).collect();
        assert_eq!(rows, [("posts".to_owned(), 7), ("users".to_owned(), 300)]);
        assert_eq!(print.dialect, Dialect::Archive);
        let path = if zstd { "postgres.dump" } else { "postgres.dump.zst" };
        assert!(trial.memory.files(head.id.as_str()).contains_key(path), "{path}");
    }
}

#[tokio::test]
async fn rows_alone_need_no_statements_that_make_the_database() {
    let mut trial = Trial::default();
    trial.profile.dump.scope = Scope::Data;
    let head = trial.backup().await;
    assert!(head.is_good());
    assert!(!trial.memory.files(head.id.as_str()).contains_key("postgres.create.sql.gz"));
}

#[tokio::test]
async fn a_database_that_takes_no_connections_is_named_and_stops_nothing() {
    let trial = Trial::default();
    trial.stack.set_facts(|facts| facts.closed_databases = vec!["old\nshop".into()]);
    let head = trial.backup().await;
    assert!(head.is_good());
    assert_eq!(head.warnings, ["database old\\nshop is not in this backup: it takes no connections"]);
}

#[tokio::test]
async fn a_database_that_is_left_out_is_named() {
    let mut trial = Trial::default();
    trial.recipe.databases = vec!["postgres".into()];
    trial.stack.leave_sessions(2);
    let head = trial.backup().await;
    assert!(head.is_good());
    assert_eq!(head.totals.databases, 1);
    assert_eq!(
        head.warnings,
        [
            "ended 2 sessions that an earlier, unfinished run had left on the server",
            "database _supabase is not in this backup: stack.databases leaves it out"
        ]
    );
}

#[tokio::test]
async fn a_name_with_a_line_end_has_no_statements_and_says_so() {
    let trial =
        Trial { stack: supakeep_testkit::ScriptedStack::new(&[Database::new("a\nb")]), ..Trial::default() };
    let head = trial.backup().await;
    assert!(head.is_good(), "{:?}", head.error);
    assert_eq!(head.warnings, ["database a\\nb: no CREATE DATABASE statement, its name has a line end"]);
    let files = trial.memory.files(head.id.as_str());
    assert!(files.contains_key("a%0Ab.sql.gz"), "{:?}", files.keys());
}

#[tokio::test]
async fn vault_secrets_without_their_key_are_a_failure_or_a_warning_as_configured() {
    let vault = Database { vault_secrets: 3, ..Database::new("postgres").with("users", 3) };
    let mut trial = Trial { stack: supakeep_testkit::ScriptedStack::new(&[vault]), ..Trial::default() };
    trial.stack.set_root_key(Ok(None));
    let head = trial.backup().await;
    assert_eq!(code(&head), Some(Code::RootKeyUnreadable));
    assert!(head.error.expect("why").message.contains("3 secrets"));
    trial.recipe.root_key_required = false;
    let head = trial.backup().await;
    assert!(head.is_good());
    assert_eq!(head.warnings, ["the vault's 3 secrets are in this backup, their root key is not"]);
    // Where nothing is encrypted, no key is missed.
    let trial = Trial::default();
    trial.stack.set_root_key(Ok(None));
    assert!(trial.backup().await.is_good());
}

#[tokio::test]
async fn partitions_are_noted_with_their_table_and_verify_all_the_same() {
    let mut database = Database::new("postgres").with("m_2026_01", 5).with("m_2026_02", 5);
    for table in ["m_2026_01", "m_2026_02"] {
        database.partitions.insert(("public".into(), table.into()), "public.m".into());
    }
    let trial = Trial { stack: supakeep_testkit::ScriptedStack::new(&[database]), ..Trial::default() };
    let head = trial.backup().await;
    assert!(head.is_good(), "{:?}", head.verified);
    let print = trial.manifest(&head).databases[0].fingerprint.clone().expect("it has one");
    assert!(print.tables.iter().all(|table| table.partition_of.as_deref() == Some("public.m")));
}

#[tokio::test]
async fn much_less_than_before_is_suspect_and_does_not_count() {
    let trial = Trial::default();
    let good = trial.backup().await;
    trial.stack.replace(Database::new("postgres").with("users", 100));
    let suspect = trial.backup().await;
    assert_eq!((suspect.outcome, suspect.is_good()), (Outcome::Suspect, false));
    let suspicion = suspect.suspicion.clone().expect("why");
    assert_eq!(suspicion.compared_with, good.id);
    assert!(
        suspicion.reasons.contains(&"table postgres: public.posts is missing (7 rows before)".to_owned())
    );
    assert!(suspicion.reasons.iter().any(|reason| reason.contains("public.users: 300 rows before, 100 now")));
    assert_eq!(trial.memory.links()["latest"], good.id.as_str());
    // It is compared with the last good one again, not with the suspect one.
    assert_eq!(trial.backup().await.outcome, Outcome::Suspect);
    let accept = |manifest: &mut Manifest| {
        manifest.head.suspicion.as_mut().expect("why").accepted_at = Some(trial.now());
    };
    trial.memory.update(&suspect.id, &mut { accept }).expect("it is there");
    assert_eq!(trial.backup().await.outcome, Outcome::Complete);
}

#[tokio::test]
async fn a_backup_by_hand_is_compared_with_nothing() {
    let trial = Trial::default();
    trial.backup().await;
    trial.stack.replace(Database::new("postgres"));
    let head = trial.run(&trial.recipe.by_hand(Some("before-migration"))).await;
    assert_eq!((head.outcome, head.kind), (Outcome::Complete, Kind::Named));
    assert_eq!(head.id.as_str(), "before-migration_20260110_025000");
    let other = trial.run(&trial.recipe.by_hand(None)).await;
    assert_eq!((other.kind, other.profile), (Kind::Manual, None));
}

#[tokio::test]
async fn two_backups_in_one_second_have_two_names() {
    let trial = Trial::default();
    let first = trial.backup().await;
    trial.clock.set(START);
    let second = trial.backup().await;
    assert_eq!(second.id.as_str(), format!("{}_2", first.id));
    assert_eq!(trial.memory.ids().len(), 2);
}

#[tokio::test]
async fn an_empty_database_is_backed_up_like_any_other() {
    let trial = Trial {
        stack: supakeep_testkit::ScriptedStack::new(&[Database::new("postgres")]),
        ..Trial::default()
    };
    let head = trial.backup().await;
    assert!(head.is_good());
    assert_eq!((head.totals.tables, head.totals.rows), (0, 0));
}

#[tokio::test]
async fn verify_finds_a_flipped_byte_a_cut_and_a_missing_file_in_every_file() {
    let trial = Trial::default();
    let head = trial.backup().await;
    let manifest = trial.manifest(&head);
    let id = head.id.as_str();
    let check = async || {
        let open =
            |artifact: &supakeep_model::artifact::Artifact| trial.memory.open(&head.id, &artifact.path);
        verify(&manifest, open, &*trial.clock, |_| {}).await.expect("everything can be read")
    };
    assert!(check().await.ok);
    for artifact in &manifest.artifacts {
        let path = artifact.path.as_str();
        let whole = trial.memory.files(id)[path].clone();
        for place in [0, whole.len() / 2, whole.len() - 1] {
            trial.memory.tamper(id, path, |bytes| bytes[place] ^= 1);
            let proof = check().await;
            assert!(!proof.ok, "{path}: byte {place}");
            assert!(proof.differences[0].starts_with(path), "{:?}", proof.differences);
            trial.memory.tamper(id, path, |bytes| bytes[place] ^= 1);
        }
        for keep in [0, whole.len() - 1] {
            trial.memory.tamper(id, path, |bytes| bytes.truncate(keep));
            assert!(!check().await.ok, "{path}: cut to {keep}");
            trial.memory.tamper(id, path, |bytes| bytes.clone_from(&whole));
        }
        trial.memory.tamper(id, path, |bytes| bytes.push(0));
        assert!(!check().await.ok, "{path}: a byte more");
        trial.memory.tamper(id, path, |bytes| bytes.clone_from(&whole));
    }
    assert!(check().await.ok, "everything is as it was");
}

/// A file with another dump in it, whose sums somebody has made right: the fingerprint tells.
#[tokio::test]
async fn verify_compares_what_the_files_hold() {
    let trial = Trial::default();
    let head = trial.backup().await;
    let mut manifest = trial.manifest(&head);
    let print = manifest.databases[0].fingerprint.as_mut().expect("it has one");
    print.tables[1].rows += 1;
    let open = |artifact: &supakeep_model::artifact::Artifact| trial.memory.open(&head.id, &artifact.path);
    let proof = verify(&manifest, open, &*trial.clock, |_| {}).await.expect("everything can be read");
    assert_eq!(proof.differences, ["postgres: table public.users: 301 rows recorded, 300 found"]);
    manifest.databases[0].fingerprint.as_mut().expect("it has one").tables[1].rows -= 1;
    manifest.artifacts.retain(|artifact| artifact.path != "postgres.sql.gz");
    let open = |artifact: &supakeep_model::artifact::Artifact| trial.memory.open(&head.id, &artifact.path);
    let proof = verify(&manifest, open, &*trial.clock, |_| {}).await.expect("everything can be read");
    assert_eq!(proof.differences, ["postgres: no file holds its dump"]);
    manifest.artifacts.clear();
    manifest.databases.clear();
    let open = |artifact: &supakeep_model::artifact::Artifact| trial.memory.open(&head.id, &artifact.path);
    assert!(
        !verify(&manifest, open, &*trial.clock, |_| {}).await.expect("everything can be read").ok,
        "nothing to look at proves nothing"
    );
}

#[tokio::test]
async fn the_space_that_the_last_one_took_is_wanted_twice() {
    let trial = Trial::default();
    let first = trial.backup().await;
    let wanted = first.totals.stored_bytes * 2;
    trial.memory.set_free_bytes(wanted - 1);
    let refused = trial.backup().await;
    assert_eq!(code(&refused), Some(Code::SpaceLow));
    assert_eq!(trial.stack.calls().iter().filter(|call| matches!(call, Call::Connect(_))).count(), 1);
    trial.memory.set_free_bytes(wanted);
    assert!(trial.backup().await.is_good());
    let mut trial = Trial::default();
    trial.recipe.min_free_bytes = 1_000;
    trial.memory.set_free_bytes(999);
    assert_eq!(code(&trial.backup().await), Some(Code::SpaceLow));
    assert_eq!(trial.memory.failed_ids().len(), 1, "the refusal is on record");
}

#[tokio::test]
async fn looks_at_each_stored_file_once() {
    let trial = Trial::default();
    let head = trial.backup().await;
    let files = trial.manifest(&head).artifacts.len();
    let calls = |operation| FaultyRepository::calls(&trial.repository, operation);
    assert_eq!((calls(Operation::OpenStaged), calls(Operation::Sync)), (files, files));
    assert_eq!((calls(Operation::Commit), calls(Operation::Fail)), (1, 0));
}

#[tokio::test]
async fn a_dump_of_many_megabytes_comes_back() {
    let trial = Trial::default();
    trial.stack.set_content("postgres", Script::of(trial.large_content(200_000).bytes()).in_chunks_of(7_919));
    let head = trial.backup().await;
    assert!(head.is_good(), "{:?}", head.error);
    assert_eq!(head.totals.rows, 200_000);
}

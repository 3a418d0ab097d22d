//! `docs/manifest.md` explains every key that a manifest can have, and its example is one.

use std::collections::BTreeSet;

use serde_json::Value;
use supakeep_model::artifact::{Artifact, Encoding, Member, Part};
use supakeep_model::code::Code;
use supakeep_model::dump::DumpSpec;
use supakeep_model::fingerprint::{Dialect, Fingerprint, MultisetHash, SequencePrint, TablePrint, Tally};
use supakeep_model::id::BackupId;
use supakeep_model::manifest::{DatabaseRecord, Extension, FORMAT, Manifest, Setting, ToolMessage};
use supakeep_model::manifest_head::{
    Build, CopyRecord, ManifestHead, ObjectsRecord, Outcome, Proof, RunError, SampleProof, StackRecord,
    StorageRecord, Suspicion, Totals, Trigger,
};
use supakeep_model::naming::Kind;
use supakeep_model::parts::PartName;
use supakeep_model::volume::{RedisRecord, VolumeMode, VolumeRecord};
use time::OffsetDateTime;

const PAGE: &str = include_str!("../../../docs/manifest.md");
const AT: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn text() -> String {
    "x".to_owned()
}

fn id() -> BackupId {
    text().parse().expect("a valid id")
}

/// A manifest in which nothing is left out.
fn complete(member: Member) -> Manifest {
    let proof = Proof { at: AT, ok: false, duration_seconds: 1.0, differences: vec![text()] };
    let head = ManifestHead {
        format: FORMAT,
        id: id(),
        profile: Some(text()),
        kind: Kind::Profile,
        trigger: Trigger::Schedule,
        label: Some(text()),
        slot: Some(AT),
        outcome: Outcome::Complete,
        error: Some(RunError { code: Code::Internal, message: text(), hint: text() }),
        suspicion: Some(Suspicion { compared_with: id(), reasons: vec![text()], accepted_at: Some(AT) }),
        started: AT,
        finished: AT,
        duration_seconds: 1.0,
        totals: Totals::default(),
        verified: Some(proof.clone()),
        drilled: Some(proof.clone()),
        sampled: Some(SampleProof { proof, tables: 1, of_tables: 2 }),
        copies: vec![CopyRecord { remote: text(), at: AT }],
        parents: vec![id()],
        storage: Some(StorageRecord {
            prefix: text(),
            objects: Some(ObjectsRecord {
                missing_list: vec![text()],
                orphaned_list: vec![text()],
                ..ObjectsRecord::default()
            }),
            ..StorageRecord::default()
        }),
        volumes: vec![VolumeRecord { name: text(), mode: VolumeMode::Cold, files: 1, bytes: 1 }],
        redis: vec![RedisRecord { service: text(), keys: 1, expires: 1, bytes: 1 }],
        parts: vec![PartName::Database],
        dump: DumpSpec { exclude_table_data: vec![text()], ..DumpSpec::default() },
        stack: StackRecord {
            working_dir: Some(text()),
            compose_files: vec![text()],
            git_commit: Some(text()),
            ..StackRecord::default()
        },
        supakeep: Build { version: text(), revision: text() },
        warnings: vec![text()],
    };
    Manifest {
        head,
        databases: vec![database()],
        artifacts: vec![Artifact {
            path: text(),
            part: Part::Database,
            database: Some(text()),
            of: Some(text()),
            member: Some(member),
            bytes: 1,
            sha256: text(),
            source_bytes: 1,
            source_sha256: text(),
            encoding: Encoding::Gzip,
        }],
        server_settings: vec![Setting { name: text(), value: text() }],
        messages: vec![ToolMessage { path: text(), stderr: text() }],
    }
}

fn database() -> DatabaseRecord {
    let table = TablePrint {
        schema: text(),
        name: text(),
        rows: 1,
        bytes: 1,
        hash: MultisetHash::default(),
        partition_of: Some(text()),
    };
    let fingerprint = Fingerprint {
        dialect: Dialect::Copy,
        schema: Tally::default(),
        large_objects: Tally::default(),
        sequences: vec![SequencePrint { name: text(), value: 1, is_called: true }],
        tables: vec![table],
    };
    DatabaseRecord {
        name: text(),
        owner: text(),
        encoding: text(),
        collate: text(),
        ctype: text(),
        size_bytes: 1,
        snapshot_at: AT,
        extensions: vec![Extension { name: text(), version: text(), schema: text() }],
        fingerprint: Some(fingerprint),
    }
}

fn keys(value: &Value, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                out.insert(key.clone());
                keys(inner, out);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, out)),
        _ => {}
    }
}

#[test]
fn the_page_explains_every_key() {
    let mut known = BTreeSet::new();
    for member in [Member::Rows { schema: text(), name: text() }, Member::LargeObject { oid: 1 }] {
        let json = serde_json::from_slice(&complete(member).to_json()).expect("a manifest is JSON");
        keys(&json, &mut known);
    }
    assert!(known.len() > 70, "{known:?}");
    // Everything in backquotes outside of the example, `databases[].name` as its words.
    let words: BTreeSet<_> = PAGE
        .split("```")
        .step_by(2)
        .flat_map(|prose| prose.split('`').skip(1).step_by(2))
        .flat_map(|code| code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')))
        .collect();
    let missing: Vec<_> = known.iter().filter(|key| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "not on the page: {missing:?}");
}

#[test]
fn the_example_is_a_manifest() {
    let example = PAGE.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
    let example = Manifest::parse(example.expect("there is one").as_bytes()).expect("it can be read");
    assert!(example.head.is_good());
    let mut shown = BTreeSet::new();
    keys(&serde_json::to_value(&example).expect("a manifest is JSON"), &mut shown);
    assert!(shown.contains("partition_of") && shown.contains("source_sha256"));
}

/// Written by the first version that had this format, and never edited: what is on people's disks is read for
/// ever, and says the same.
#[test]
fn a_manifest_of_format_1_is_read_as_it_was_written() {
    let frozen = include_str!("fixtures/manifest-1.json");
    let manifest = Manifest::parse(frozen.as_bytes()).expect("it can be read");
    assert_eq!(manifest.head.format, 1);
    let written: Value = serde_json::from_slice(&manifest.to_json()).expect("a manifest is JSON");
    let frozen: Value = serde_json::from_str(frozen).expect("the fixture is JSON");
    assert_eq!(written, frozen);
}

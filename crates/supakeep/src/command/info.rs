//! `supakeep info`

use std::process::ExitCode;

use comfy_table::Cell;
use supakeep_flow::ports::Repository as _;
use supakeep_model::manifest::{DatabaseRecord, Manifest};
use supakeep_model::manifest_head::{ManifestHead, Proof, SampleProof, StorageRecord};
use supakeep_model::quantity::{show_bytes, show_duration, show_time};
use supakeep_model::{Duration, OffsetDateTime};

use super::{Context, Outcome};
use crate::output::{Output, right};

pub(crate) fn run(context: &Context, id: &str) -> Outcome {
    let head = context.find(&context.catalog()?, id)?;
    let manifest = context.wire.repository.manifest(&head.id)?;
    if context.output.json {
        context.output.json(&manifest);
    } else {
        print(context.output, &manifest, context.wire.clock.now());
    }
    Ok(ExitCode::SUCCESS)
}

fn print(output: Output, manifest: &Manifest, now: OffsetDateTime) {
    let head = &manifest.head;
    let field = |name: &str, value: String| output.line(format!("{name:<14}{value}"));
    field("id", head.id.to_string());
    field("outcome", head.outcome.as_str().to_owned());
    field("profile", head.profile.clone().unwrap_or_else(|| "none: kept until it is deleted".to_owned()));
    field("kind", format!("{}, by {}", head.kind.as_str(), json_word(&head.trigger)));
    if let Some(label) = &head.label {
        field("label", label.clone());
    }
    if let Some(slot) = head.slot {
        field("slot", show_time(slot));
    }
    field("started", format!("{} ({} ago)", show_time(head.started), show_duration(head.age(now))));
    field("took", show_duration(Duration::seconds_f64(head.duration_seconds.ceil())));
    let totals = head.totals;
    field("size", format!("{} from {}", show_bytes(totals.stored_bytes), show_bytes(totals.source_bytes)));
    let parts: Vec<_> = head.parts.iter().map(ToString::to_string).collect();
    field("parts", if parts.is_empty() { "database".to_owned() } else { parts.join(", ") });
    if let Some(storage) = &head.storage {
        show_storage(head, storage, &field);
    }
    for volume in &head.volumes {
        let (name, mode, bytes) = (&volume.name, volume.mode, show_bytes(volume.bytes));
        field("volume", format!("{name}: {mode}, {} files ({bytes})", volume.files));
    }
    for redis in &head.redis {
        field("redis", format!("{}: {} keys ({})", redis.service, redis.keys, show_bytes(redis.bytes)));
    }
    let dump = &head.dump;
    field("dump", format!("{}, {}, {}, rows as {}", dump.format, dump.scope, dump.compression, dump.rows));
    if !dump.exclude_table_data.is_empty() {
        field("without", format!("the rows of {}", dump.exclude_table_data.join(", ")));
    }
    field("verified", head.verified.as_ref().map_or("no".to_owned(), show_proof));
    field("drilled", head.drilled.as_ref().map_or("no".to_owned(), show_proof));
    if let Some(SampleProof { proof, tables, of_tables }) = &head.sampled {
        field("sampled", format!("{tables} of {of_tables} tables: {}", show_proof(proof)));
    }
    if head.drilled.is_some() || head.sampled.is_some() {
        field("", format!("supakeep info {} --drill shows the whole report", head.id));
    }
    let copies: Vec<_> =
        head.copies.iter().map(|copy| format!("{} ({})", copy.remote, show_time(copy.at))).collect();
    field("off-site", if copies.is_empty() { "no".to_owned() } else { copies.join(", ") });
    let stack = &head.stack;
    field("stack", format!("{} (container {}, image {})", stack.project, stack.container, stack.image));
    field(
        "server",
        format!("PostgreSQL {}, system identifier {}", stack.server_version, stack.system_identifier),
    );
    if let Some(folder) = &stack.working_dir {
        field("folder", folder.clone());
    }
    if let Some(commit) = &stack.git_commit {
        field("git commit", commit.clone());
    }
    field("made by", format!("supakeep {} ({})", head.supakeep.version, head.supakeep.revision));
    if let Some(error) = &head.error {
        field("error", format!("{}: {}", error.code, error.message));
        field("hint", error.hint.clone());
    }
    if let Some(suspicion) = &head.suspicion {
        let state = if suspicion.accepted_at.is_some() { "accepted" } else { "not accepted" };
        field(
            "suspicion",
            format!("against {}, {state}: {}", suspicion.compared_with, suspicion.reasons.join("; ")),
        );
    }
    head.warnings.iter().for_each(|warning| field("warning", warning.clone()));
    files(output, manifest);
    manifest.databases.iter().for_each(|database| tables(output, database));
    for message in &manifest.messages {
        output.line(format!("\n{} said:\n  {}", message.path, message.stderr.trim().replace('\n', "\n  ")));
    }
}

/// The files of the storage service, and how the rows of `storage.objects` go with them.
fn show_storage(head: &ManifestHead, storage: &StorageRecord, field: &impl Fn(&str, String)) {
    let (bytes, new_bytes) = (show_bytes(storage.bytes), show_bytes(storage.new_bytes));
    field(
        "storage",
        format!("{} files ({bytes}), {} of them new ({new_bytes})", storage.files, storage.new_files),
    );
    if !head.parents.is_empty() {
        let parents: Vec<_> = head.parents.iter().map(ToString::to_string).collect();
        field("", format!("the others are held by {}", parents.join(", ")));
    }
    let Some(objects) = &storage.objects else { return };
    field(
        "objects",
        format!(
            "{} rows; {} without a file, {} with one of another length; {} files without a row, {} newer than the dump",
            objects.rows, objects.missing, objects.other_length, objects.orphaned, objects.newer
        ),
    );
    objects.missing_list.iter().for_each(|path| field("", format!("no file: {path}")));
    objects.orphaned_list.iter().for_each(|path| field("", format!("no row: {path}")));
}

fn files(output: Output, manifest: &Manifest) {
    if manifest.artifacts.is_empty() {
        return;
    }
    let mut table = output.table(&["FILE", "STORED", "CONTENT", "SHA-256 AS STORED"]);
    for artifact in &manifest.artifacts {
        table.add_row(vec![
            Cell::new(&artifact.path),
            right(show_bytes(artifact.bytes)),
            right(show_bytes(artifact.source_bytes)),
            Cell::new(&artifact.sha256),
        ]);
    }
    output.line("");
    output.print(&table);
}

fn tables(output: Output, database: &DatabaseRecord) {
    let extensions: Vec<_> = database
        .extensions
        .iter()
        .map(|extension| format!("{} {}", extension.name, extension.version))
        .collect();
    output.line(format!(
        "\ndatabase {} ({} on disk, owner {}, {} {}, as of {}): {}",
        database.name,
        show_bytes(database.size_bytes),
        database.owner,
        database.encoding,
        database.collate,
        show_time(database.snapshot_at),
        if extensions.is_empty() { "no extensions".to_owned() } else { extensions.join(", ") },
    ));
    let Some(print) = &database.fingerprint else { return };
    let mut table = output.table(&["TABLE", "ROWS", "SIZE", "FINGERPRINT"]);
    for row in &print.tables {
        table.add_row(vec![
            // Names can hold line ends and control characters.
            Cell::new(format!("{}.{}", row.schema, row.name).escape_debug()),
            right(row.rows),
            right(show_bytes(row.bytes)),
            Cell::new(row.hash),
        ]);
    }
    output.print(&table);
    output.line(format!(
        "{} definitions, {} sequences, {} large objects ({})",
        print.schema.count,
        print.sequences.len(),
        print.large_objects.count,
        show_bytes(print.large_objects.bytes),
    ));
}

fn show_proof(proof: &Proof) -> String {
    if proof.ok {
        return format!("{}, in {:.1} s", show_time(proof.at), proof.duration_seconds);
    }
    format!("FAILED {}: {}", show_time(proof.at), proof.differences.join("; "))
}

/// The word that JSON has for a value of a closed set.
fn json_word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

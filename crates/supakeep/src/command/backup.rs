//! `supakeep backup`

use std::process::ExitCode;

use supakeep_flow::backup::{BackupSpec, VolumesPlan, plan_redis, plan_volumes, possible, possible_files};
use supakeep_flow::cycle::backup_and_prune;
use supakeep_flow::ports::{Repository as _, Stack as _};
use supakeep_model::code::Code;
use supakeep_model::dump::Format;
use supakeep_model::health::needed_bytes;
use supakeep_model::manifest_head::{ManifestHead, Outcome as RunOutcome, Trigger};
use supakeep_model::naming::{Kind, check_name};
use supakeep_model::parts::{self, PartName, Parts};
use supakeep_model::quantity::{show_bytes, show_duration};
use supakeep_model::view::BackupView;
use supakeep_model::volume::VolumeWish;

use super::{Context, Outcome, progress};
use crate::failure::CommandError;

/// What the command line asks for.
pub(crate) struct Wish {
    /// A name of its own.
    pub(crate) name: Option<String>,
    /// The profile it belongs to.
    pub(crate) profile: Option<String>,
    /// Another format.
    pub(crate) format: Option<Format>,
    /// Other parts.
    pub(crate) parts: Vec<String>,
    /// Other volumes.
    pub(crate) volumes: Vec<VolumeWish>,
    /// Whether to only show what would be done.
    pub(crate) dry_run: bool,
}

pub(crate) async fn run(context: &Context, wish: Wish) -> Outcome {
    let spec = specify(context, &wish)?;
    if wish.dry_run {
        return dry_run(context, &spec).await;
    }
    let head = {
        let ports = context.wire.ports(progress(context.output))?;
        let lock = ports.repository.lock()?;
        backup_and_prune(&spec, &context.wire.retention(), &ports, &*lock, &context.cancel).await?
    };
    report(context, &head)
}

fn specify(context: &Context, wish: &Wish) -> Result<BackupSpec, CommandError> {
    let recipe = context.wire.recipe();
    if let Some(name) = &wish.name {
        check_name(name).map_err(|message| CommandError::new(Code::NameInvalid, message))?;
    }
    let mut spec = match &wish.profile {
        None => recipe.by_hand(wish.name.as_deref()),
        Some(profile) => {
            let found = context.wire.settings.profiles.iter().find(|other| other.name == *profile);
            let found = found.ok_or_else(|| {
                CommandError::new(Code::ProfileNotFound, format!("there is no profile {profile:?}"))
            })?;
            let mut spec = recipe.asked_for(found, Trigger::Manual);
            if let Some(name) = &wish.name {
                spec.kind = Kind::of_name(name);
                spec.prefix.clone_from(name);
            }
            spec
        }
    };
    if !wish.parts.is_empty() {
        spec.parts =
            Parts::parse(&wish.parts).map_err(|message| CommandError::new(Code::UsageInvalid, message))?;
    }
    if !wish.volumes.is_empty() {
        spec.volumes.wishes.clone_from(&wish.volumes);
        spec.volumes.is_asked = true;
    }
    if let Some(format) = wish.format {
        spec.dump.format = format;
        if let Some(message) = spec.dump.contradiction() {
            return Err(CommandError::new(Code::UsageInvalid, message));
        }
    }
    Ok(spec)
}

async fn dry_run(context: &Context, spec: &BackupSpec) -> Outcome {
    let repository = &context.wire.repository;
    repository.writable()?;
    let server = context.wire.looking()?.connect("dry-run").await?;
    let facts = server.facts();
    let catalog = repository.catalog()?;
    let now = context.wire.clock.now();
    let space = repository.space()?;
    let needed = needed_bytes(&catalog, spec.profile.as_deref(), spec.min_free_bytes, now);
    let databases = possible(&spec.databases, [&spec.dump], spec.transport, facts)?;
    let (files, notes) = possible_files(&spec.parts, &context.wire.porters()?).await?;
    let mut parts: Vec<_> = [PartName::Database].into_iter().chain(files).collect();
    let mut notes = notes;
    let mut volumes = VolumesPlan::default();
    if spec.volumes.is_wanted(&spec.parts) {
        volumes = plan_volumes(&spec.volumes, &context.wire.containers()?).await?;
        notes.append(&mut volumes.notes);
        parts.push(PartName::Volumes);
    }
    let mut servers = Vec::new();
    if spec.parts.wish(PartName::Redis) != parts::Wish::No {
        servers = plan_redis(&spec.redis, &context.wire.containers()?).await?;
        parts.push(PartName::Redis);
    }
    let output = context.output;
    if output.json {
        output.json(&serde_json::json!({
            "dry_run": true, "parts": parts, "notes": notes, "profile": spec.profile, "kind": spec.kind, "prefix": spec.prefix, "dump": spec.dump,
            "databases": databases, "container": facts.record.container, "server_version": facts.record.server_version,
            "free_bytes": space.free_bytes, "needed_bytes": needed,
        }));
        return Ok(ExitCode::SUCCESS);
    }
    output.line(format!("would write     {}/{}_…", context.wire.repository.folder().display(), spec.prefix));
    output.line(format!(
        "of              {} (PostgreSQL {})",
        facts.record.container, facts.record.server_version
    ));
    output.line(format!("databases       {}", databases.join(", ")));
    let parts: Vec<_> = parts.iter().map(ToString::to_string).collect();
    output.line(format!("parts           {}", parts.join(", ")));
    for server in &servers {
        output.line(format!("redis           {}", server.name));
    }
    for volume in &volumes.volumes {
        output.line(format!("volume          {} ({})", volume.name, volume.mode));
    }
    let stops: Vec<_> = volumes.stops.iter().map(|service| service.name.as_str()).collect();
    if !stops.is_empty() {
        output.line(format!("stopped         {} while cold volumes are packed", stops.join(", ")));
    }
    notes.iter().for_each(|note| output.line(format!("note            {note}")));
    output.line(format!(
        "as              {}, {}, {}",
        spec.dump.format, spec.dump.scope, spec.dump.compression
    ));
    output.line(format!("free            {} ({} wanted)", show_bytes(space.free_bytes), show_bytes(needed)));
    let kept = match (spec.kind, &spec.profile) {
        (Kind::Profile, Some(profile)) => format!("by the retention of profile {profile}"),
        _ => "until it is deleted".to_owned(),
    };
    output.line(format!("kept            {kept}"));
    Ok(ExitCode::SUCCESS)
}

fn report(context: &Context, head: &ManifestHead) -> Outcome {
    let output = context.output;
    if let Some(error) = &head.error {
        return Err(CommandError::new(error.code, error.message.clone()));
    }
    if output.json {
        output.json(&BackupView::of(head, context.wire.clock.now()));
    } else {
        let took = show_duration(time::Duration::seconds_f64(head.duration_seconds.ceil()));
        let totals = head.totals;
        let files = head.storage.as_ref().map_or_else(String::new, |storage| {
            format!(", {} files ({} of them new)", storage.files, storage.new_files)
        });
        output.line(format!(
            "{} {}: {} databases, {} tables, {} rows{files}; {} from {} in {took}, verified",
            head.id,
            head.outcome.as_str(),
            totals.databases,
            totals.tables,
            totals.rows,
            show_bytes(totals.stored_bytes),
            show_bytes(totals.source_bytes),
        ));
    }
    for warning in &head.warnings {
        output.note(format!("warning: {warning}"));
    }
    if head.outcome != RunOutcome::Suspect {
        return Ok(ExitCode::SUCCESS);
    }
    let reasons = head.suspicion.as_ref().map(|suspicion| suspicion.reasons.join("\n  ")).unwrap_or_default();
    let message = format!("{} is complete, and suspect:\n  {reasons}", head.id);
    Err(CommandError::new(Code::Suspect, message).after_result())
}

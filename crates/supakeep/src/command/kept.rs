//! `supakeep info ID --drill`: the pages that drills have left, those on schedule too.

use std::process::ExitCode;

use serde_json::Value;
use supakeep_flow::drill::{KeptAs, SAMPLE, WHOLE};
use supakeep_flow::ports::Repository as _;
use supakeep_model::code::Code;
use supakeep_model::id::BackupId;
use supakeep_model::manifest_head::ManifestHead;
use tokio::io::AsyncReadExt as _;

use super::{Context, Outcome};
use crate::failure::CommandError;

/// The longest report that is read into memory.
const MOST_BYTES: u64 = 64 << 20;

pub(crate) async fn run(context: &Context, id: &str) -> Outcome {
    let head = context.find(&context.catalog()?, id)?;
    let noted = noted(&head);
    if noted.is_empty() {
        let message = format!("{} was not drilled, nor a sample of it", head.id);
        return Err(CommandError::new(Code::BackupNotFound, message));
    }
    if context.output.json {
        context.output.json(&reports(context, &head.id, &noted).await?);
        return Ok(ExitCode::SUCCESS);
    }
    for (n, (_, kept)) in noted.iter().enumerate() {
        if n > 0 {
            context.output.line("");
        }
        context.output.line(read(context, &head.id, kept.page).await?.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

/// What the manifest says that there is.
fn noted(head: &ManifestHead) -> Vec<(&'static str, KeptAs)> {
    let whole = head.drilled.as_ref().map(|_| ("drill", WHOLE));
    let sample = head.sampled.as_ref().map(|_| ("sample", SAMPLE));
    whole.into_iter().chain(sample).collect()
}

async fn reports(
    context: &Context,
    id: &BackupId,
    noted: &[(&str, KeptAs)],
) -> Result<serde_json::Map<String, Value>, CommandError> {
    let mut out = serde_json::Map::new();
    for (name, kept) in noted {
        let report = serde_json::from_str(&read(context, id, kept.json).await?);
        let damaged = |error| CommandError::new(Code::RepositoryIo, format!("{}: {error}", kept.json));
        out.insert((*name).to_owned(), report.map_err(damaged)?);
    }
    Ok(out)
}

async fn read(context: &Context, id: &BackupId, name: &str) -> Result<String, CommandError> {
    let mut text = String::new();
    let stored = context.wire.repository.open(id, name)?;
    let read = stored.take(MOST_BYTES).read_to_string(&mut text).await;
    read.map_err(|error| CommandError::new(Code::RepositoryIo, format!("reading {name}: {error}")))?;
    Ok(text)
}

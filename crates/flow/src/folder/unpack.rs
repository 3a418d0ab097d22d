//! An archive into a folder.

use std::io::{self, Read};

use supakeep_model::code::Code;

use super::entries;
use super::notes::Notes;
use super::order::UnpackReport;
use crate::failure::io_code;
use crate::ports::{Content, FolderError, NewFolder};

/// Puts every entry of a tar archive into `folder`. What it finds wrong with an entry ends it: half a restore is
/// known as one that failed.
pub(super) fn unpack(
    mut folder: Box<dyn NewFolder>,
    archive: &mut dyn Read,
) -> Result<UnpackReport, FolderError> {
    let mut report = UnpackReport::default();
    let mut notes = Notes::default();
    let mut refused = None;
    let read = entries::each(archive, &mut |entry| {
        match entry.content {
            Content::File { bytes, .. } => {
                report.files += 1;
                report.bytes += bytes;
            }
            Content::Same(_) => report.files += 1,
            Content::Folder | Content::Link(_) => {}
        }
        let path = entry.path.to_owned();
        match folder.add(entry) {
            Ok(told) => told.iter().for_each(|told| notes.add(&path, told)),
            Err(error) => {
                refused = Some(error);
                return Err(io::ErrorKind::Other.into());
            }
        }
        Ok(())
    });
    if let Some(refused) = refused {
        return Err(refused);
    }
    read.map_err(|error| {
        let code =
            if error.kind() == io::ErrorKind::InvalidData { Code::VerifyFailed } else { io_code(&error) };
        FolderError::new(code, format!("cannot read the archive: {error}"))
    })?;
    folder.finish()?;
    report.notes = notes.finish();
    Ok(report)
}

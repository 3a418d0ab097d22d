//! Paths inside a backup, and errors that name the path they happened to.

use std::path::{Component, Path, PathBuf};

use supakeep_flow::failure::io_code;
use supakeep_flow::ports::StoreError;
use supakeep_model::code::Code;

/// `path` below `folder`, if it stays there: a manifest is data, and may have been tampered with.
pub(crate) fn below(folder: &Path, path: &str) -> Result<PathBuf, StoreError> {
    let inside = |component| matches!(component, Component::Normal(_));
    if path.is_empty() || !Path::new(path).components().all(inside) {
        return Err(StoreError::new(
            Code::ManifestDamaged,
            format!("{path:?} leads out of the backup's folder"),
        ));
    }
    Ok(folder.join(path))
}

/// Turns an error of the file system into one that says what was done to which path.
pub(crate) fn failed<'a>(doing: &'a str, path: &'a Path) -> impl Fn(std::io::Error) -> StoreError + 'a {
    move |error| StoreError::new(io_code(&error), format!("cannot {doing} {}: {error}", path.display()))
}

/// The same for calls through rustix.
pub(crate) fn refused<'a>(doing: &'a str, path: &'a Path) -> impl Fn(rustix::io::Errno) -> StoreError + 'a {
    move |errno| failed(doing, path)(errno.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_paths_that_leave_the_folder() {
        let folder = Path::new("/backups/x");
        for wrong in ["", "..", "../y", "/etc/passwd", "a/../../b", "./a", "a/.."] {
            assert!(below(folder, wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(below(folder, "a/b.gz").ok(), Some(folder.join("a/b.gz")));
    }
}

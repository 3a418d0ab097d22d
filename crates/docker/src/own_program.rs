//! This very program, to be run in another container.
//!
//! A porter runs in a container of the database's image, since that one is there and no other need be. What that
//! image has of libraries is not what we were built with; so those that this process has loaded are brought along,
//! and the loader that loads them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use supakeep_flow::ports::{Placed, StackError};
use supakeep_model::code::Code;

/// Where it is put in the container.
const FOLDER: &str = "supakeep";
const PROGRAM: &str = "supakeep/supakeep";
const SELF: &str = "/proc/self/exe";
const MAPS: &str = "/proc/self/maps";

/// A program, and all that it needs to run.
pub(crate) struct OwnProgram {
    /// Loader and libraries; none where the program is linked statically.
    libraries: Vec<PathBuf>,
}

impl OwnProgram {
    /// As this process was started and has loaded it.
    pub(crate) fn find() -> Result<OwnProgram, StackError> {
        let maps = std::fs::read_to_string(MAPS)
            .map_err(|error| StackError::new(Code::Internal, format!("cannot read {MAPS}: {error}")))?;
        Ok(OwnProgram { libraries: libraries(&maps) })
    }

    /// Its files, to be put into the root of a container.
    pub(crate) fn files(&self) -> Result<Vec<Placed<'static>>, StackError> {
        let mut files = vec![placed(PROGRAM.to_owned(), Path::new(SELF))?];
        for library in &self.libraries {
            files.push(placed(format!("{FOLDER}/{}", name(library)), library)?);
        }
        Ok(files)
    }

    /// How it is started there.
    pub(crate) fn command(&self, arguments: &[&str]) -> Vec<String> {
        let loader = self.libraries.iter().find(|library| is_loader(library));
        let loaded = loader.map(|loader| {
            let loader = format!("/{FOLDER}/{}", name(loader));
            [loader, "--library-path".to_owned(), format!("/{FOLDER}")]
        });
        let program = format!("/{PROGRAM}");
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        loaded.into_iter().flatten().chain([program]).chain(arguments).collect()
    }
}

/// The shared objects among the mappings of a process.
fn libraries(maps: &str) -> Vec<PathBuf> {
    // After an update of the system the old ones are gone; the new ones fit together too.
    let paths =
        maps.lines().filter_map(|line| line.find('/').map(|at| line[at..].trim_end_matches(" (deleted)")));
    let libraries: BTreeSet<_> = paths.map(PathBuf::from).filter(|path| is_library(path)).collect();
    libraries.into_iter().collect()
}

/// `libc.so.6`, `ld-linux-x86-64.so.2`, `ld-musl-x86_64.so.1`
fn is_library(path: &Path) -> bool {
    let name = name(path);
    name.ends_with(".so") || name.contains(".so.")
}

fn is_loader(path: &Path) -> bool {
    name(path).starts_with("ld-")
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn placed(name: String, path: &Path) -> Result<Placed<'static>, StackError> {
    let cannot = |error: std::io::Error| {
        StackError::new(Code::Internal, format!("cannot read {}: {error}", path.display()))
    };
    // It may be replaced by an update while it is read: what is open stays what it was.
    let file = std::fs::File::open(path).map_err(cannot)?;
    let bytes = file.metadata().map_err(cannot)?.len();
    let open =
        Box::new(move || Ok(Box::new(tokio::fs::File::from_std(file)) as supakeep_flow::ports::Stored));
    Ok(Placed { name, bytes, open })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d0c8e00000-55d0c8e10000 r-xp 00000000 08:01 42 /usr/local/bin/supakeep
7f1c00000000-7f1c00010000 rw-p 00000000 00:00 0
7f1c10000000-7f1c10010000 r-xp 00000000 08:01 43 /usr/lib/x86_64-linux-gnu/libc.so.6
7f1c10010000-7f1c10020000 rw-p 00000000 08:01 43 /usr/lib/x86_64-linux-gnu/libc.so.6 (deleted)
7f1c20000000-7f1c20010000 r-xp 00000000 08:01 44 /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
7ffc00000000-7ffc00010000 rw-p 00000000 00:00 0 [stack]
";

    #[test]
    fn libraries_are_brought_along_and_the_loader_starts_the_program() {
        let program = OwnProgram { libraries: libraries(MAPS) };
        assert_eq!(program.libraries.len(), 2);
        assert_eq!(
            program.command(&["porter"]),
            ["/supakeep/ld-linux-x86-64.so.2", "--library-path", "/supakeep", "/supakeep/supakeep", "porter"]
        );
        let fixed = OwnProgram { libraries: Vec::new() };
        assert_eq!(fixed.command(&["porter"]), ["/supakeep/supakeep", "porter"]);
    }
}

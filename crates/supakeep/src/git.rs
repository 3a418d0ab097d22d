//! The commit that the stack's folder is at, read from the repository's own files: the container has no
//! git, and two small files tell.

use std::fs;
use std::path::Path;

/// The commit of `folder`, if it is a git work tree whose files can be read.
pub(crate) fn commit(folder: &Path) -> Option<String> {
    let git = git_folder(folder)?;
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    let Some(reference) = head.trim().strip_prefix("ref: ") else { return object_id(&head) };
    if reference.contains("..") || reference.starts_with('/') {
        return None;
    }
    let loose = fs::read_to_string(git.join(reference)).ok().and_then(|text| object_id(&text));
    loose.or_else(|| packed(&fs::read_to_string(git.join("packed-refs")).ok()?, reference))
}

/// `.git` itself, in the folder or above it: Supabase's compose files are in the folder `docker` of
/// its repository.
fn git_folder(folder: &Path) -> Option<std::path::PathBuf> {
    folder.ancestors().map(|above| above.join(".git")).find(|git| git.join("HEAD").is_file())
}

fn packed(refs: &str, reference: &str) -> Option<String> {
    refs.lines().find_map(|line| {
        let (id, name) = line.split_once(' ')?;
        (name == reference).then(|| object_id(id))?
    })
}

fn object_id(text: &str) -> Option<String> {
    let text = text.trim();
    let is_id = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_loose_packed_and_detached_heads() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let git = folder.path().join(".git");
        let write = |name: &str, text: &str| fs::write(git.join(name), text).expect("room for a file");
        fs::create_dir_all(git.join("refs/heads")).expect("room for a folder");
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        write("HEAD", "ref: refs/heads/main\n");
        assert_eq!(commit(folder.path()), None);
        write("packed-refs", &format!("# pack-refs\n{b} refs/heads/main\n"));
        assert_eq!(commit(folder.path()), Some(b));
        write("refs/heads/main", &format!("{a}\n"));
        assert_eq!(commit(folder.path()), Some(a.clone()));
        let below = folder.path().join("docker");
        fs::create_dir(&below).expect("room for a folder");
        assert_eq!(commit(&below), Some(a.clone()));
        write("HEAD", &a);
        assert_eq!(commit(folder.path()), Some(a));
        write("HEAD", "ref: ../../etc/passwd\n");
        assert_eq!(commit(folder.path()), None);
    }
}

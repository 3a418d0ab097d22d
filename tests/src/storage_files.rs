//! The files of the look-alike's storage service, as the tools of the system see them.

use crate::command::docker;

/// Where the service keeps them.
const ROOT: &str = "/var/lib/storage";

/// The files of one stack.
pub struct StorageFiles {
    container: String,
}

impl StorageFiles {
    /// Of a compose project.
    pub fn of(project: &str) -> StorageFiles {
        StorageFiles { container: format!("{project}-storage-1") }
    }

    /// Runs a script as root where the files are.
    pub fn sh(&self, script: &str) -> String {
        let ended = docker(&["exec", "-u", "0:0", "-w", ROOT, &self.container, "sh", "-euc", script]);
        ended.ok().text()
    }

    /// What the service answers for an object: it finds the file by the row, and its type by the attribute.
    pub fn served(&self, bucket: &str, name: &str) -> String {
        let script = format!(
            r#"version=$(psql -XAtq -c "SELECT version FROM storage.objects WHERE bucket_id = '{bucket}' AND name = '{name}'")
            file="stub/stub/{bucket}/{name}/$version"
            printf '%s ' "$(getfattr --only-values -n user.supabase.content-type "$file")"
            cat "$file""#
        );
        self.sh(&script).trim_end().to_owned()
    }

    /// Everything that is known of every file, by the tools of the system: content, attributes, mode, owner, time.
    pub fn listing(&self) -> String {
        self.sh(
            "find . -mindepth 1 -path ./multiparts -prune -o -mindepth 1 -printf '%P|%y|%m|%U:%G|%T@|%l\\0' | LC_ALL=C sort -z | tr '\\0' '\\n'
             find . -path ./multiparts -prune -o -type f -printf '%P|%n\\0' | LC_ALL=C sort -z | tr '\\0' '\\n'
             find . -path ./multiparts -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum -z | tr '\\0' '\\n'
             find . -path ./multiparts -prune -o -print0 | LC_ALL=C sort -z | xargs -0 getfattr -h -d -m - 2>/dev/null",
        )
    }
}

/// What people and programs put there, and what has broken other tools.
pub const ODD_FILES: &str = r#"
mkdir -p stub/stub/odd multiparts/upload
cd stub/stub/odd
printf dash >./-rf
printf line >"$(printf 'line\nend')"
printf bytes >"$(printf 'bytes\377')"
printf long >"$(printf 'n%.0s' $(seq 255))"
printf empty >/dev/null; : >empty
head -c 3000000 /dev/urandom >large
setfattr -n user.supabase.content-type -v "$(printf 'text/\377odd\nvalue')" large
setfattr -n user.empty large
ln large same-as-large
ln -s /etc/passwd link
mkdir -m 0700 private; printf x >private/x; chmod 0000 private/x; chown 1234:5678 private/x private
touch -d '1999-12-31 23:59:59.123456789' empty
printf half >/var/lib/storage/multiparts/upload/part
"#;

/// The first lines that differ.
pub fn difference(wanted: &str, found: &str) -> String {
    let lines = wanted.lines().zip(found.lines()).filter(|(wanted, found)| wanted != found).take(5);
    let shown: Vec<_> = lines.map(|(wanted, found)| format!("wanted {wanted}\nfound  {found}")).collect();
    format!("{} lines wanted, {} found\n{}", wanted.lines().count(), found.lines().count(), shown.join("\n"))
}

//! A walk through a folder, with what must not be kept taken out.

use std::io::{self, Read as _, Write};

use super::choose::{Choice, FUNCTIONS, LARGEST_TEXT};
use super::notes::Notes;
use super::pack::{Changed, Pack};
use crate::ports::{Content, Entry, EntryKind, Folder, Found, Owner};
use crate::redact::{FoundSecret, RedactionKey, redact, scrub};

/// What is put behind the name of a file whose secrets were taken out: unpacked over a stack's folder, it must
/// not take the place of the real one.
const REDACTED: &[u8] = b".redacted";
/// In every kind of private key that is text.
const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";

/// Packs what `choice` takes into `out`. Returns how it went, and what a person should know.
pub(super) fn pack(
    folder: &dyn Folder,
    choice: &Choice,
    key: &RedactionKey,
    out: &mut impl Write,
) -> (io::Result<()>, Vec<String>) {
    let mut notes = Notes::default();
    for path in &choice.elsewhere {
        notes.add(
            path.as_bytes(),
            "compose uses it, and it is not in this backup: it lies outside the stack's folder",
        );
    }
    let secrets = if choice.is_scrubbed() { secrets(folder, choice, key) } else { Vec::new() };
    let mut packer = Packer { pack: Pack::into(out), choice, key, secrets, notes };
    let mut ended = Ok(());
    folder.walk(&|seen| choice.wants(seen), &mut |found| {
        ended = packer.found(found);
        ended.is_ok()
    });
    let Packer { pack, notes, .. } = packer;
    (ended.and_then(|()| pack.finish().map(|_| ())), notes.finish())
}

/// All that the files with variables keep secret: it may stand in a compose file too.
fn secrets(folder: &dyn Folder, choice: &Choice, key: &RedactionKey) -> Vec<FoundSecret> {
    let mut secrets = Vec::new();
    let wants = |seen: &crate::ports::Seen<'_>| {
        choice.wants(seen) && (seen.kind == EntryKind::Folder || choice.is_environment(seen.path))
    };
    folder.walk(&wants, &mut |found| {
        if let Found::Entry(Entry { content: Content::File { read, .. }, .. }) = found
            && let Ok(Some(text)) = whole(read)
        {
            secrets.extend(redact(&text, key).found);
        }
        true
    });
    secrets
}

/// A file that is small enough to be looked at as a whole.
fn whole(read: &mut dyn io::Read) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    read.take(LARGEST_TEXT + 1).read_to_end(&mut text)?;
    Ok((text.len() as u64 <= LARGEST_TEXT).then_some(text))
}

fn is_text(bytes: &[u8]) -> bool {
    !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok()
}

struct Packer<'a, W: Write> {
    pack: Pack<W>,
    choice: &'a Choice,
    key: &'a RedactionKey,
    secrets: Vec<FoundSecret>,
    notes: Notes,
}

impl<W: Write> Packer<'_, W> {
    fn found(&mut self, found: Found<'_>) -> io::Result<()> {
        match found {
            Found::Missed { path, reason } => {
                self.notes.add(path, &format!("it is not in this backup: {reason}"));
                Ok(())
            }
            Found::Entry(entry) => self.entry(entry),
        }
    }

    fn entry(&mut self, entry: Entry<'_>) -> io::Result<()> {
        let Entry { path, owner, modified, content } = entry;
        match content {
            Content::File { read, .. } if self.choice.is_environment(path) => {
                self.environment((path, owner, modified), read)
            }
            Content::File { bytes, read } if self.choice.is_scrubbed() && bytes <= LARGEST_TEXT => {
                self.small((path, owner, modified), read)
            }
            content => {
                if let (FUNCTIONS, Content::Link(_)) = (path, &content) {
                    self.notes.add(path, "it is a link; what it points at is not in this backup");
                }
                self.add(Entry { path, owner, modified, content })
            }
        }
    }

    fn add(&mut self, entry: Entry<'_>) -> io::Result<()> {
        let path = entry.path.to_owned();
        let what = match self.pack.add(entry)? {
            Changed::No => return Ok(()),
            Changed::Shorter => "it became shorter while it was read; the rest is zeros",
            Changed::Longer => "it became longer while it was read; the rest is left out",
            Changed::Unreadable => "it could not be read to its end; the rest is zeros",
        };
        self.notes.add(&path, what);
        Ok(())
    }

    fn bytes(&mut self, (path, owner, modified): About<'_>, bytes: &[u8]) -> io::Result<()> {
        let content = Content::File { bytes: bytes.len() as u64, read: &mut &*bytes };
        self.add(Entry { path, owner, modified, content })
    }

    fn environment(&mut self, about: About<'_>, read: &mut dyn io::Read) -> io::Result<()> {
        let (path, owner, modified) = about;
        let Some(text) = self.read(path, read) else { return Ok(()) };
        let redacted = redact(&text, self.key);
        let name = [path, REDACTED].concat();
        let count = redacted.found.len();
        self.notes.add(
            path,
            &format!(
                "kept without its {count} secrets, as {}: backups are not encrypted. KEEP A COPY OF IT ELSEWHERE",
                String::from_utf8_lossy(&name).escape_debug()
            ),
        );
        self.bytes((&name, owner, modified), &redacted.text)
    }

    /// A file in which a secret of `.env` may stand.
    fn small(&mut self, about: About<'_>, read: &mut dyn io::Read) -> io::Result<()> {
        let path = about.0;
        let Some(text) = self.read(path, read) else { return Ok(()) };
        if !is_text(&text) && self.choice.only_as_text(path) {
            return Ok(());
        }
        if memchr::memmem::find(&text, PRIVATE_KEY).is_some() {
            self.notes.add(path, "it is not in this backup: there is a private key in it");
            return Ok(());
        }
        let (text, places) = scrub(text, &self.secrets);
        if places > 0 {
            self.notes
                .add(path, &format!("secrets of .env stood in it at {places} places, and were taken out"));
        }
        self.bytes(about, &text)
    }

    fn read(&mut self, path: &[u8], read: &mut dyn io::Read) -> Option<Vec<u8>> {
        let reason = match whole(read) {
            Ok(Some(text)) => return Some(text),
            Ok(None) => "it is longer than 1 MiB".to_owned(),
            Err(error) => error.to_string(),
        };
        self.notes.add(path, &format!("it is not in this backup: {reason}"));
        None
    }
}

/// Path, owner, and time of an entry.
type About<'a> = (&'a [u8], Owner, (i64, u32));

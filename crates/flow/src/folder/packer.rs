//! A walk through a folder, with what must not be kept taken out.

use std::cell::RefCell;
use std::io::{self, Read, Write};

use supakeep_model::code::Code;
use supakeep_model::file_index::{FileRecord, RawPath, RecordKind};

use super::attributes::attributes_sha256;
use super::choose::{Choice, FUNCTIONS, LARGEST_TEXT};
use super::frames::{Framed, Kind, Out, frame};
use super::indexing::Indexing;
use super::notes::Notes;
use super::order::{PackOrder, Selection};
use super::pack::{Changed, Pack};
use crate::failure::io_code;
use crate::ports::{Attributes, Content, Entry, EntryKind, Folder, FolderError, Found, Names, Owner};
use crate::redact::{FoundSecret, RedactionKey, redact, scrub};

/// What is put behind the name of a file whose secrets were taken out: unpacked over a stack's folder, it must
/// not take the place of the real one.
const REDACTED: &[u8] = b".redacted";
/// In every kind of private key that is text: PEM's, and age's.
const PRIVATE_KEYS: [&[u8]; 2] = [b"PRIVATE KEY-----", b"AGE-SECRET-KEY-1"];

/// Packs what `order` says, as frames without the last. `known` is the index that the new one may refer to.
pub(super) fn pack(
    folder: &dyn Folder,
    order: &PackOrder,
    key: Option<&RedactionKey>,
    known: Option<&mut dyn Read>,
    out: &mut dyn Write,
) -> Result<(), FolderError> {
    let out = RefCell::new(out);
    let packed = walk(folder, order, key, known, &out);
    let notes = packed.map_err(|error| {
        let code =
            if error.kind() == io::ErrorKind::InvalidData { Code::VerifyFailed } else { io_code(&error) };
        FolderError::new(code, format!("cannot pack {}: {error}", folder.path().display()))
    })?;
    let told = notes.iter().try_for_each(|note| frame(&mut **out.borrow_mut(), Kind::Note, note.as_bytes()));
    told.map_err(|error| FolderError::new(Code::StreamTruncated, error.to_string()))
}

fn walk(
    folder: &dyn Folder,
    order: &PackOrder,
    key: Option<&RedactionKey>,
    known: Option<&mut dyn Read>,
    out: &Out<'_>,
) -> io::Result<Vec<String>> {
    let choice = Choice::of(&order.selection);
    let mut notes = Notes::default();
    for path in &choice.elsewhere {
        notes.add(
            path.as_bytes(),
            "compose uses it, and it is not in this backup: it lies outside the stack's folder",
        );
    }
    let secrets = match key.filter(|_| choice.is_scrubbed()) {
        Some(key) => secrets(folder, &choice, key),
        None => Vec::new(),
    };
    let index = match &order.index_of {
        Some(of) => Some(Indexing::begin(of, known, Framed::new(out, Kind::Index))?),
        None => None,
    };
    let archive: Box<dyn Write + '_> =
        if order.only_index { Box::new(io::sink()) } else { Box::new(Framed::new(out, Kind::Archive)) };
    let mut packer = Packer { pack: Pack::into(archive), index, choice: &choice, key, secrets, notes };
    let mut ended = Ok(());
    // What is scrubbed is looked at under each of its names.
    // A volume is put back as it was, with one file for all its names.
    let is_whole = order.selection == Selection::Everything;
    let names = if packer.index.is_some() || is_whole { Names::Once } else { Names::Each };
    folder.walk(names, &|seen| choice.wants(seen), &mut |found| {
        ended = packer.found(found);
        ended.is_ok()
    });
    ended?;
    let Packer { pack, index, notes, .. } = packer;
    pack.finish()?.flush()?;
    index.map_or(Ok(()), Indexing::finish)?;
    Ok(notes.finish())
}

/// All that the files with variables keep secret: it may stand in a compose file too.
fn secrets(folder: &dyn Folder, choice: &Choice, key: &RedactionKey) -> Vec<FoundSecret> {
    let mut secrets = Vec::new();
    let wants = |seen: &crate::ports::Seen<'_>| {
        choice.wants(seen) && (seen.kind == EntryKind::Folder || choice.is_environment(seen.path))
    };
    folder.walk(Names::Each, &wants, &mut |found| {
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

struct Packer<'a, 'k, 'w> {
    pack: Pack<Box<dyn Write + 'a>>,
    index: Option<Indexing<&'k mut dyn Read, Framed<'a, 'w>>>,
    choice: &'a Choice,
    key: Option<&'a RedactionKey>,
    secrets: Vec<FoundSecret>,
    notes: Notes,
}

impl Packer<'_, '_, '_> {
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
        match (self.key, &entry.content) {
            (Some(key), Content::File { .. })
                if self.choice.is_redacted() && self.choice.is_environment(entry.path) =>
            {
                self.environment(entry, key)
            }
            (_, Content::File { bytes, .. }) if self.choice.is_scrubbed() && *bytes <= LARGEST_TEXT => {
                self.small(entry)
            }
            _ => {
                if let (FUNCTIONS, Content::Link(_)) = (entry.path, &entry.content) {
                    self.notes.add(entry.path, "it is a link; what it points at is not in this backup");
                }
                self.add(entry)
            }
        }
    }

    fn add(&mut self, entry: Entry<'_>) -> io::Result<()> {
        let mut record = record(&entry);
        if let Some(index) = &mut self.index
            && index.is_held(&record)?
        {
            return Ok(());
        }
        let added = self.pack.add(entry)?;
        let what = match added.changed {
            Changed::No => None,
            Changed::Shorter => Some("it became shorter while it was read; the rest is zeros"),
            Changed::Longer => Some("it became longer while it was read; the rest is left out"),
            Changed::Unreadable => Some("it could not be read to its end; the rest is zeros"),
        };
        if let Some(what) = what {
            self.notes.add(&record.path.0, what);
        }
        if let Some(index) = &mut self.index {
            (record.sha256, record.is_torn) = (added.sha256, what.is_some());
            index.add(&record)?;
        }
        Ok(())
    }

    fn environment(&mut self, entry: Entry<'_>, key: &RedactionKey) -> io::Result<()> {
        let (about, content) = About::of(entry);
        let Some(text) = self.whole(&about, content) else { return Ok(()) };
        let redacted = redact(&text, key);
        let name = [about.path, REDACTED].concat();
        let count = redacted.found.len();
        self.notes.add(
            about.path,
            &format!(
                "kept without its {count} secrets, as {}: backups are not encrypted. KEEP A COPY OF IT ELSEWHERE",
                String::from_utf8_lossy(&name).escape_debug()
            ),
        );
        self.bytes(About { path: &name, ..about }, &redacted.text)
    }

    /// A file in which a secret of `.env` may stand.
    fn small(&mut self, entry: Entry<'_>) -> io::Result<()> {
        let (about, content) = About::of(entry);
        let Some(text) = self.whole(&about, content) else { return Ok(()) };
        if !is_text(&text) && self.choice.only_as_text(about.path) {
            return Ok(());
        }
        if PRIVATE_KEYS.iter().any(|key| memchr::memmem::find(&text, key).is_some()) {
            self.notes.add(about.path, "it is not in this backup: there is a private key in it");
            return Ok(());
        }
        let (text, places) = scrub(text, &self.secrets);
        if places == 0 {
            return self.bytes(about, &text);
        }
        let name = [about.path, REDACTED].concat();
        self.notes.add(
            about.path,
            &format!(
                "secrets of .env stood in it at {places} places, and were taken out; it is kept as {}",
                String::from_utf8_lossy(&name).escape_debug()
            ),
        );
        self.bytes(About { path: &name, ..about }, &text)
    }

    fn bytes(&mut self, about: About<'_>, bytes: &[u8]) -> io::Result<()> {
        let content = Content::File { bytes: bytes.len() as u64, read: &mut &*bytes };
        let About { path, owner, modified, changed, attributes } = about;
        self.add(Entry { path, owner, modified, changed, attributes, content })
    }

    fn whole(&mut self, about: &About<'_>, content: Content<'_>) -> Option<Vec<u8>> {
        let Content::File { read, .. } = content else { return None };
        let reason = match whole(read) {
            Ok(Some(text)) => return Some(text),
            Ok(None) => "it is longer than 1 MiB".to_owned(),
            Err(error) => error.to_string(),
        };
        self.notes.add(about.path, &format!("it is not in this backup: {reason}"));
        None
    }
}

/// An entry without what it holds.
struct About<'a> {
    path: &'a [u8],
    owner: Owner,
    modified: (i64, u32),
    changed: (i64, u32),
    attributes: &'a Attributes,
}

impl<'a> About<'a> {
    fn of(entry: Entry<'a>) -> (About<'a>, Content<'a>) {
        let Entry { path, owner, modified, changed, attributes, content } = entry;
        (About { path, owner, modified, changed, attributes }, content)
    }
}

/// What is known of an entry without reading it.
fn record(entry: &Entry<'_>) -> FileRecord {
    let (kind, bytes, target) = match &entry.content {
        Content::Folder => (RecordKind::Folder, 0, RawPath::default()),
        Content::Link(target) => (RecordKind::Link, 0, RawPath::from(*target)),
        Content::Same(target) => (RecordKind::HardLink, 0, RawPath::from(*target)),
        Content::File { bytes, .. } => (RecordKind::File, *bytes, RawPath::default()),
    };
    let is_same = kind == RecordKind::HardLink;
    FileRecord {
        path: entry.path.into(),
        kind,
        bytes,
        mode: entry.owner.mode,
        user: entry.owner.user,
        group: entry.owner.group,
        modified: entry.modified,
        changed: entry.changed,
        sha256: String::new(),
        attributes_sha256: if is_same { String::new() } else { attributes_sha256(entry.attributes) },
        target,
        held_by: 0,
        is_torn: false,
    }
}

//! The archive's header and table of contents.

use supakeep_model::dump::Compression;

use crate::inspect::InspectError;
use crate::inspect::split::Closed;
use crate::stage::decode::Codec;

/// Where the reader is in bytes that may not all have come yet.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    int_bytes: usize,
    offset_bytes: usize,
}

/// Why something could not be read.
pub(super) enum Stop {
    /// More bytes are needed.
    More,
    /// It is not an archive, or damaged.
    Damaged(InspectError),
    /// Nobody takes what is read.
    Closed,
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Stop {
        Stop::Closed
    }
}

pub(super) fn damaged(what: impl Into<String>) -> Stop {
    Stop::Damaged(InspectError::Damaged(what.into()))
}

/// Longest string that is believed: a definition is never near a gigabyte, a damaged length is.
const MAX_STRING: i64 = 1 << 28;

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], sizes: Sizes) -> Cursor<'a> {
        Cursor { bytes, at: 0, int_bytes: sizes.int_bytes, offset_bytes: sizes.offset_bytes }
    }

    pub(super) fn taken(&self) -> usize {
        self.at
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let end = self.at.checked_add(count).ok_or(Stop::More)?;
        let taken = self.bytes.get(self.at..end).ok_or(Stop::More)?;
        self.at = end;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Stop> {
        Ok(self.take(1)?[0])
    }

    /// A sign byte, then the magnitude with its lowest byte first.
    pub(super) fn int(&mut self) -> Result<i64, Stop> {
        let sign = self.byte()?;
        let magnitude =
            self.take(self.int_bytes)?.iter().rev().fold(0_i64, |sum, &byte| (sum << 8) | i64::from(byte));
        match sign {
            0 => Ok(magnitude),
            1 => Ok(-magnitude),
            _ => Err(damaged("a number has no sign")),
        }
    }

    /// A length and so many bytes; a negative length is no string at all.
    pub(super) fn string(&mut self) -> Result<Option<String>, Stop> {
        let length = self.int()?;
        if length < 0 {
            return Ok(None);
        }
        if length > MAX_STRING {
            return Err(damaged("a string is too long"));
        }
        let bytes = self.take(usize::try_from(length).map_err(|_| damaged("a string is too long"))?)?;
        Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
    }

    fn text(&mut self) -> Result<String, Stop> {
        Ok(self.string()?.unwrap_or_default())
    }
}

/// How wide numbers and offsets are in this archive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    int_bytes: usize,
    offset_bytes: usize,
}

impl Sizes {
    /// Before the header has said.
    pub(super) const UNKNOWN: Sizes = Sizes { int_bytes: 4, offset_bytes: 8 };

    /// Bytes of a number without its sign, and of an offset.
    pub(super) fn widths(self) -> (usize, usize) {
        (self.int_bytes, self.offset_bytes)
    }
}

/// Which archive a table of contents belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// A file: each entry ends with where its data is.
    Custom,
    /// A folder: each entry ends with the name of its data's file.
    Directory,
}

impl Layout {
    /// `archCustom`, and `archTar` (`pg_backup.h`), as which a directory archive writes its contents.
    fn number(self) -> u8 {
        match self {
            Layout::Custom => 1,
            Layout::Directory => 3,
        }
    }
}

/// The archive's header.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) sizes: Sizes,
    /// `(1, 16)` for version 1.16.
    pub(super) version: (u8, u8),
    /// How the data of each table is compressed.
    pub(super) codec: Codec,
    /// The version of the `pg_dump` that made it.
    pub(super) dumped_by: String,
    /// How many entries the table of contents has.
    pub(super) entries: i64,
}

/// Where in a header the layout's number is; the compression follows.
const LAYOUT_AT: usize = 10;
/// From this version on the header has the method of compression, before it only the level of gzip.
const METHODS_FROM: (u8, u8) = (1, 15);

impl Header {
    pub(super) fn read(cursor: &mut Cursor<'_>, layout: Layout) -> Result<Header, Stop> {
        if cursor.take(5)? != b"PGDMP" {
            return Err(damaged("it does not begin as an archive does"));
        }
        let version = (cursor.byte()?, cursor.byte()?);
        let _revision = cursor.byte()?;
        if version.0 != 1 || !(12..=16).contains(&version.1) {
            return Err(damaged(format!("archive version {}.{} is not known", version.0, version.1)));
        }
        let sizes =
            Sizes { int_bytes: usize::from(cursor.byte()?), offset_bytes: usize::from(cursor.byte()?) };
        if !(2..=7).contains(&sizes.int_bytes) || sizes.offset_bytes > 16 {
            return Err(damaged("its number sizes make no sense"));
        }
        (cursor.int_bytes, cursor.offset_bytes) = (sizes.int_bytes, sizes.offset_bytes);
        if cursor.byte()? != layout.number() {
            return Err(damaged("it is an archive, but of another format"));
        }
        let codec = codec(cursor, version)?;
        for _second_to_dst in 0..7 {
            cursor.int()?;
        }
        for _database_and_server in 0..2 {
            cursor.string()?;
        }
        let dumped_by = cursor.text()?;
        let entries = cursor.int()?;
        Ok(Header { sizes, version, codec, dumped_by, entries })
    }
}

fn codec(cursor: &mut Cursor<'_>, version: (u8, u8)) -> Result<Codec, Stop> {
    if version < METHODS_FROM {
        return Ok(if cursor.int()? == 0 { Codec::Identity } else { Codec::Zlib });
    }
    match cursor.byte()? {
        0 => Ok(Codec::Identity),
        1 => Ok(Codec::Zlib),
        3 => Ok(Codec::Zstd),
        2 => Err(damaged("it is compressed with LZ4, which supakeep never asks for")),
        other => Err(damaged(format!("compression method {other} is not known"))),
    }
}

/// Numbers of sections (`teSection` of `pg_backup.h`). What is in none belongs where it stands: comments and grants.
pub(super) const SECTION_NONE: i64 = 1;
pub(super) const SECTION_DATA: i64 = 3;

/// An entry of the table of contents.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) dump_id: i64,
    /// Whether data follows for it.
    pub(super) has_data: bool,
    pub(super) tag: String,
    pub(super) description: String,
    /// Which section it is in.
    pub(super) section: i64,
    pub(super) definition: String,
    /// The `COPY … FROM stdin` of a table's rows.
    pub(super) copy: String,
    pub(super) namespace: String,
    pub(super) owner: String,
}

impl Entry {
    pub(super) fn read(cursor: &mut Cursor<'_>, version: (u8, u8), layout: Layout) -> Result<Entry, Stop> {
        let dump_id = cursor.int()?;
        let has_data = cursor.int()? != 0;
        let _table_oid = cursor.string()?;
        let _oid = cursor.string()?;
        let tag = cursor.text()?;
        let description = cursor.text()?;
        let section = cursor.int()?;
        let definition = cursor.text()?;
        let _drop = cursor.string()?;
        let copy = cursor.text()?;
        let namespace = cursor.text()?;
        let _tablespace = cursor.string()?;
        if version >= (1, 14) {
            let _access_method = cursor.string()?;
        }
        if version >= (1, 16) {
            let _relation_kind = cursor.int()?;
        }
        let owner = cursor.text()?;
        let _with_oids = cursor.string()?;
        while cursor.string()?.is_some() {}
        match layout {
            Layout::Custom => {
                let _state = cursor.byte()?;
                let _offset = cursor.take(cursor.offset_bytes)?;
            }
            Layout::Directory => {
                let _file = cursor.string()?;
            }
        }
        Ok(Entry { dump_id, has_data, tag, description, section, definition, copy, namespace, owner })
    }
}

/// The header of a custom archive as that of an archive in this layout whose data is compressed so.
pub(super) fn changed_header(
    raw: &[u8],
    header: &Header,
    layout: Layout,
    compression: Compression,
) -> Vec<u8> {
    let int_bytes = header.sizes.int_bytes;
    let (method, level) = match compression {
        Compression::None => (0, 0),
        Compression::Gzip(level) => (1, level),
        Compression::Zstd(level) => (3, level),
    };
    let (written, replaced) = if header.version < METHODS_FROM {
        (write_int(usize::from(level), int_bytes), 1 + int_bytes)
    } else {
        (vec![method], 1)
    };
    let rest = &raw[LAYOUT_AT + 1 + replaced..];
    [&raw[..LAYOUT_AT], &[layout.number()], &written, rest].concat()
}

/// A string as [`Cursor::string`] reads it.
pub(super) fn write_string(text: &str, int_bytes: usize) -> Vec<u8> {
    let mut out = write_int(text.len(), int_bytes);
    out.extend_from_slice(text.as_bytes());
    out
}

/// A number as [`Cursor::int`] reads it.
pub(super) fn write_int(value: usize, int_bytes: usize) -> Vec<u8> {
    let magnitude = (value as u64).to_le_bytes();
    [&[0], &magnitude[..int_bytes]].concat()
}

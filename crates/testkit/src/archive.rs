//! A custom archive, written by hand from the format's description in `pg_backup_archiver.c` and
//! `pg_backup_custom.c`.

use supakeep_flow::stage::encode::BlockEncoder;
use supakeep_model::dump::Compression;

use crate::dump::Table;

/// How the rows of each table are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveCodec {
    /// Not at all.
    None,
    /// Zstandard.
    Zstd,
}

/// Archive version 1.16, as PostgreSQL 17 writes it.
const VERSION: [u8; 3] = [1, 16, 0];
/// Bytes of a number and of an offset.
const SIZES: [u8; 2] = [4, 8];
const FORMAT_CUSTOM: u8 = 1;
const BLOCK_DATA: u8 = 1;
const BLOCK_LARGE_OBJECTS: u8 = 3;
/// The entry that all large objects belong to.
const LARGE_OBJECTS: i32 = 900;
/// `K_OFFSET_POS_NOT_SET`, and a place of eight bytes.
const NO_OFFSET: [u8; 9] = [1, 0, 0, 0, 0, 0, 0, 0, 0];
const NO_STRING: i32 = -1;
const SECTION_PRE_DATA: i32 = 2;
const SECTION_DATA: i32 = 3;
const SECTION_POST_DATA: i32 = 4;

/// An archive with a definition, the rows and an index of every table, and these large objects.
pub fn archive(tables: &[Table], large_objects: &[(i32, Vec<u8>)], codec: ArchiveCodec) -> Vec<u8> {
    let mut out = b"PGDMP".to_vec();
    out.extend(VERSION);
    out.extend(SIZES);
    out.push(FORMAT_CUSTOM);
    out.push(match codec {
        ArchiveCodec::None => 0,
        ArchiveCodec::Zstd => 3,
    });
    (0..7).for_each(|_| int(&mut out, 0));
    ["postgres", "16.4", "17.2"].iter().for_each(|text| string(&mut out, text));
    let entries = 3 * tables.len() + usize::from(!large_objects.is_empty());
    int(&mut out, i32::try_from(entries).expect("few tables"));
    for (number, table) in (1..).zip(tables) {
        let definition = format!("CREATE TABLE {}.{} (id bigint);\n", table.schema, table.name);
        let [schema, name] = [&table.schema, &table.name].map(String::as_str);
        entry(&mut out, 1_000 + number, (schema, name), "TABLE", &definition, SECTION_PRE_DATA);
        entry(&mut out, number, (schema, name), "TABLE DATA", "", SECTION_DATA);
    }
    if !large_objects.is_empty() {
        entry(&mut out, LARGE_OBJECTS, ("", "BLOBS"), "BLOBS", "", SECTION_DATA);
    }
    for (number, Table { schema, name, .. }) in (1..).zip(tables) {
        let definition = format!("CREATE INDEX {name}_idx ON {schema}.{name} (id);\n");
        entry(
            &mut out,
            2_000 + number,
            (schema, &format!("{name}_idx")),
            "INDEX",
            &definition,
            SECTION_POST_DATA,
        );
    }
    for (number, table) in (1..).zip(tables) {
        out.push(BLOCK_DATA);
        int(&mut out, number);
        let mut rows = table.rows.join("\n");
        rows.push_str(if rows.is_empty() { "\\.\n\n\n" } else { "\n\\.\n\n\n" });
        data(&mut out, rows.into_bytes(), codec);
    }
    if !large_objects.is_empty() {
        out.push(BLOCK_LARGE_OBJECTS);
        int(&mut out, LARGE_OBJECTS);
        for (oid, bytes) in large_objects {
            int(&mut out, *oid);
            data(&mut out, bytes.clone(), codec);
        }
        int(&mut out, 0);
    }
    out
}

fn data(out: &mut Vec<u8>, bytes: Vec<u8>, codec: ArchiveCodec) {
    for chunk in pack(bytes, codec).chunks(4_096) {
        int(out, i32::try_from(chunk.len()).expect("a chunk is small"));
        out.extend_from_slice(chunk);
    }
    int(out, 0);
}

fn pack(rows: Vec<u8>, codec: ArchiveCodec) -> Vec<u8> {
    let compression = match codec {
        ArchiveCodec::None => Compression::None,
        ArchiveCodec::Zstd => Compression::Zstd(3),
    };
    let encoded = BlockEncoder::new(compression).and_then(|mut encoder| encoder.encode(rows));
    encoded.expect("memory, and a valid level")
}

fn entry(
    out: &mut Vec<u8>,
    id: i32,
    (schema, tag): (&str, &str),
    kind: &str,
    definition: &str,
    section: i32,
) {
    let has_data = section == SECTION_DATA;
    int(out, id);
    int(out, i32::from(has_data));
    string(out, "1259");
    string(out, "16384");
    string(out, tag);
    string(out, kind);
    int(out, section);
    string(out, definition);
    string(out, "");
    let copy = format!("COPY {schema}.{tag} (id) FROM stdin;\n");
    string(out, if kind == "TABLE DATA" { &copy } else { "" });
    string(out, schema);
    int(out, NO_STRING); // tablespace
    string(out, "heap");
    int(out, i32::from(b'r'));
    string(out, "postgres");
    string(out, "false");
    int(out, NO_STRING); // no dependencies
    out.extend(NO_OFFSET);
}

fn int(out: &mut Vec<u8>, value: i32) {
    out.push(u8::from(value < 0));
    out.extend(value.unsigned_abs().to_le_bytes());
}

fn string(out: &mut Vec<u8>, text: &str) {
    int(out, i32::try_from(text.len()).expect("a short string"));
    out.extend_from_slice(text.as_bytes());
}

//! What is dumped, and how it travels.

use supakeep_model::code::Code;
use supakeep_model::dump::{Compression, DumpSpec, Format};

use crate::failure::Failure;
use crate::pipeline::Store;
use crate::ports::ServerFacts;
use crate::stage::decode::Codec;

/// How plain dumps travel from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransportChoice {
    /// Compressed with Zstandard where the server's pg_dump can, else as they are.
    #[default]
    Auto,
    /// Always so.
    Always(Compression),
}

/// How a dump gets from pg_dump into its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    /// What pg_dump compresses with.
    pub(super) source: Compression,
    /// How the stream as a whole is compressed on its way.
    pub(super) codec: Codec,
    /// How the file is made of it.
    pub(super) store: Store,
    /// How the file as a whole is compressed, for its name.
    pub(super) file: Compression,
}

/// Compression at the source makes the stream through Docker a third as long, and that stream is the
/// slowest part of the way. Where the server can already write what is to be stored, nothing is
/// compressed twice.
pub(super) fn route(spec: &DumpSpec, choice: TransportChoice, facts: &ServerFacts) -> Result<Route, Failure> {
    let wanted = spec.compression;
    let server_can = match wanted {
        Compression::Zstd(_) => facts.dumps_zstd,
        Compression::Gzip(_) | Compression::None => true,
    };
    if spec.format == Format::Directory {
        if !server_can {
            return Err(Failure::new(
                Code::DumpUnsupported,
                "the pg_restore of this server (before PostgreSQL 16) reads no zstd in a directory archive; set dump.compression to gzip:1-9 or none",
            ));
        }
        // Each table becomes a file of its own here, and is compressed here, on several cores.
        let source = if facts.dumps_zstd { Compression::Zstd(1) } else { Compression::None };
        let store = Store::Encode(wanted);
        return Ok(Route { source, codec: Codec::Identity, store, file: wanted });
    }
    if spec.format == Format::Custom {
        // Inside an archive each table is compressed by itself, so that pg_restore can open it as it is.
        return Ok(if server_can {
            Route {
                source: wanted,
                codec: Codec::Identity,
                store: Store::PassThrough,
                file: Compression::None,
            }
        } else {
            Route {
                source: Compression::None,
                codec: Codec::Identity,
                store: Store::Encode(wanted),
                file: wanted,
            }
        });
    }
    let source = match choice {
        TransportChoice::Always(compression) => compression,
        TransportChoice::Auto if !facts.dumps_zstd => Compression::None,
        TransportChoice::Auto => match wanted {
            Compression::Zstd(_) => wanted,
            // The fastest level: this is only for the way.
            Compression::Gzip(_) | Compression::None => Compression::Zstd(1),
        },
    };
    let codec = match source {
        Compression::None => Codec::Identity,
        Compression::Gzip(_) => Codec::Gzip,
        Compression::Zstd(_) => Codec::Zstd,
    };
    let store = if source == wanted && wanted != Compression::None {
        Store::PassThrough
    } else {
        Store::Encode(wanted)
    };
    Ok(Route { source, codec, store, file: wanted })
}

/// Whether a backup as it is configured can be made of this server: the databases are there, and its
/// programs can write what is asked for.
pub fn possible<'a>(
    wanted: &[String],
    dumps: impl IntoIterator<Item = &'a DumpSpec>,
    choice: TransportChoice,
    facts: &ServerFacts,
) -> Result<Vec<String>, Failure> {
    for dump in dumps {
        route(dump, choice, facts)?;
    }
    databases(wanted, facts)
}

/// The databases to dump: those that were asked for, all of which must exist, or all there are.
pub(super) fn databases(wanted: &[String], facts: &ServerFacts) -> Result<Vec<String>, Failure> {
    let missing: Vec<_> = wanted.iter().filter(|name| !facts.databases.contains(name)).cloned().collect();
    if !missing.is_empty() {
        let (missing, there) = (missing.join(", "), facts.databases.join(", "));
        return Err(Failure::new(
            Code::DatabaseMissing,
            format!("the server has no database {missing}; it has {there}"),
        ));
    }
    let databases = if wanted.is_empty() { facts.databases.clone() } else { wanted.to_vec() };
    if databases.is_empty() {
        return Err(Failure::new(Code::DatabaseEmpty, "the server names no database that could be dumped"));
    }
    Ok(databases)
}

/// Without a superuser a dump fails half-way or, worse, silently lacks what it may not read.
pub(super) fn check_privileges(facts: &ServerFacts) -> Result<(), Failure> {
    if facts.is_superuser {
        return Ok(());
    }
    Err(Failure::new(
        Code::PrivilegesMissing,
        "the user that dumps is not a superuser: what it may not read would be missing",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(dumps_zstd: bool) -> ServerFacts {
        ServerFacts {
            databases: vec!["postgres".into(), "_supabase".into()],
            dumps_zstd,
            ..ServerFacts::default()
        }
    }

    fn of(format: Format, compression: &str, dumps_zstd: bool) -> (String, Codec, Store) {
        let compression = compression.parse().expect("valid");
        let spec = DumpSpec { format, compression, ..DumpSpec::default() };
        let route = route(&spec, TransportChoice::Auto, &facts(dumps_zstd)).expect("the server can");
        (route.source.to_string(), route.codec, route.store)
    }

    #[test]
    fn compresses_at_the_source_where_that_is_faster() {
        let encode = |level| Store::Encode(Compression::Gzip(level));
        assert_eq!(of(Format::Plain, "gzip:6", true), ("zstd:1".into(), Codec::Zstd, encode(6)));
        assert_eq!(of(Format::Plain, "gzip:6", false), ("none".into(), Codec::Identity, encode(6)));
        assert_eq!(of(Format::Plain, "zstd:3", true), ("zstd:3".into(), Codec::Zstd, Store::PassThrough));
        assert_eq!(
            of(Format::Plain, "none", true),
            ("zstd:1".into(), Codec::Zstd, Store::Encode(Compression::None))
        );
    }

    #[test]
    fn archives_are_compressed_inside_where_the_server_can() {
        assert_eq!(
            of(Format::Custom, "gzip:6", false),
            ("gzip:6".into(), Codec::Identity, Store::PassThrough)
        );
        assert_eq!(
            of(Format::Custom, "zstd:3", true),
            ("zstd:3".into(), Codec::Identity, Store::PassThrough)
        );
        assert_eq!(
            of(Format::Custom, "zstd:3", false),
            ("none".into(), Codec::Identity, Store::Encode(Compression::Zstd(3)))
        );
    }

    #[test]
    fn what_a_server_cannot_do_is_known_before_a_backup() {
        let mut dump = DumpSpec { format: Format::Directory, ..DumpSpec::default() };
        dump.compression = "zstd:3".parse().expect("valid");
        let ask = |wanted: &str, zstd| {
            possible(&[wanted.to_owned()], [&dump], TransportChoice::Auto, &facts(zstd)).map_err(|no| no.code)
        };
        assert_eq!(ask("postgres", true), Ok(vec!["postgres".to_owned()]));
        assert_eq!(ask("shop", true), Err(Code::DatabaseMissing));
        assert_eq!(ask("postgres", false), Err(Code::DumpUnsupported));
    }

    #[test]
    fn refuses_a_list_of_databases_that_is_empty_or_names_what_is_not_there() {
        let code = |wanted: &[&str], facts: &ServerFacts| {
            let wanted: Vec<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
            databases(&wanted, facts).map_err(|failure| failure.code)
        };
        assert_eq!(code(&[], &facts(true)), Ok(vec!["postgres".into(), "_supabase".into()]));
        assert_eq!(code(&["postgres"], &facts(true)), Ok(vec!["postgres".into()]));
        assert_eq!(code(&["postgers"], &facts(true)), Err(Code::DatabaseMissing));
        assert_eq!(code(&[], &ServerFacts::default()), Err(Code::DatabaseEmpty));
    }
}

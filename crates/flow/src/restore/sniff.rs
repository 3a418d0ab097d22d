//! What kind of dump a file is, by its first bytes.

use supakeep_model::artifact::Encoding;
use supakeep_model::code::Code;
use supakeep_model::dump::Format;
use tokio::io::AsyncReadExt as _;

use crate::failure::Failure;
use crate::ports::Stored;
use crate::read_back::decoded;

/// Enough to know an archive, and a tar archive.
const HEAD_BYTES: u64 = 512;
/// Where in a tar archive its mark is; `pg_dump -Ft` makes one.
const TAR_MARK: std::ops::Range<usize> = 257..262;

/// The format of the dump that `open` opens from its beginning, and how it is compressed. `path` is what people
/// call it.
pub async fn sniff(
    path: &str,
    open: impl Fn() -> Result<Stored, Failure>,
) -> Result<(Format, Encoding), Failure> {
    let head = async |mut stored: Stored| {
        let mut bytes = Vec::new();
        let read = (&mut stored).take(HEAD_BYTES).read_to_end(&mut bytes).await;
        read.map_err(|error| Failure::new(Code::UsageInvalid, format!("{path} cannot be read: {error}")))?;
        Ok::<_, Failure>(bytes)
    };
    let encoding = match head(open()?).await?.as_slice() {
        [0x1f, 0x8b, ..] => Encoding::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Encoding::Zstd,
        _ => Encoding::Identity,
    };
    match head(decoded(open()?, encoding)).await?.as_slice() {
        [b'P', b'G', b'D', b'M', b'P', ..] => Ok((Format::Custom, encoding)),
        bytes if bytes.get(TAR_MARK) == Some(b"ustar") => {
            let message =
                format!("{path} is a tar archive: pg_restore makes a plain dump of it, or a custom one");
            Err(Failure::new(Code::UsageInvalid, message))
        }
        _ => Ok((Format::Plain, encoding)),
    }
}

//! Compression of independent blocks.
//!
//! A gzip file of many members and a zstd file of many frames are each read as one stream by every
//! stock tool. So blocks are compressed apart from each other, on as many cores as there are, and
//! joined in order. A block that is compressed in one call is also faster than a stream: libdeflate
//! does gzip 6 at 1.6 times the speed of zlib-rs, and smaller (docs/benchmarks.md).

use std::io;

use libdeflater::{CompressionLvl, Compressor};
use supakeep_model::artifact::Encoding;
use supakeep_model::dump::Compression;
use zstd::bulk::Compressor as ZstdCompressor;
use zstd::stream::raw::CParameter;

/// Bytes of one block before compression.
pub const BLOCK: usize = 1 << 20;

/// How a file compressed so is encoded.
pub fn encoding(compression: Compression) -> Encoding {
    match compression {
        Compression::None => Encoding::Identity,
        Compression::Gzip(_) => Encoding::Gzip,
        Compression::Zstd(_) => Encoding::Zstd,
    }
}

enum Inner {
    Identity,
    Gzip(Compressor),
    Zstd(ZstdCompressor<'static>),
}

/// Compresses blocks, each into a whole member or frame with a checksum of its own.
pub struct BlockEncoder(Inner);

impl BlockEncoder {
    /// An encoder; it holds the memory that its level needs.
    pub fn new(compression: Compression) -> io::Result<BlockEncoder> {
        let inner = match compression {
            Compression::None => Inner::Identity,
            Compression::Gzip(level) => {
                let level = CompressionLvl::new(i32::from(level))
                    .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "no such gzip level"))?;
                Inner::Gzip(Compressor::new(level))
            }
            Compression::Zstd(level) => {
                let mut encoder = ZstdCompressor::new(i32::from(level))?;
                encoder.set_parameter(CParameter::ChecksumFlag(true))?;
                Inner::Zstd(encoder)
            }
        };
        Ok(BlockEncoder(inner))
    }

    /// Compresses `block`.
    pub fn encode(&mut self, block: Vec<u8>) -> io::Result<Vec<u8>> {
        match &mut self.0 {
            Inner::Identity => Ok(block),
            Inner::Gzip(encoder) => {
                let mut out = vec![0; encoder.gzip_compress_bound(block.len())];
                let length = encoder.gzip_compress(&block, &mut out).map_err(io::Error::other)?;
                out.truncate(length);
                Ok(out)
            }
            Inner::Zstd(encoder) => encoder.compress(&block),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn pack(compression: Compression, text: &[u8], block: usize) -> Vec<u8> {
        let mut encoder = BlockEncoder::new(compression).expect("a valid level");
        text.chunks(block).flat_map(|part| encoder.encode(part.to_vec()).expect("memory")).collect()
    }

    #[test]
    fn stock_readers_see_one_stream_at_every_level() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 3).to_le_bytes()).collect();
        for level in 1..=9 {
            let packed = pack(Compression::Gzip(level), &text, 70_000);
            let mut out = Vec::new();
            flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut out).expect("gzip members");
            assert!(out == text, "gzip:{level}");
        }
        for level in 1..=19 {
            let packed = pack(Compression::Zstd(level), &text, 70_000);
            assert!(zstd::decode_all(&packed[..]).expect("zstd frames") == text, "zstd:{level}");
        }
        assert!(pack(Compression::None, &text, 70_000) == text);
    }

    #[test]
    fn an_empty_block_is_a_valid_member() {
        for compression in [Compression::Gzip(6), Compression::Zstd(3)] {
            let packed = BlockEncoder::new(compression)
                .and_then(|mut encoder| encoder.encode(vec![]))
                .expect("memory");
            assert!(!packed.is_empty());
        }
    }
}

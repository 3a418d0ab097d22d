//! Decompression of bytes that are pushed in.
//!
//! Used where a dump is looked at while it passes in a compressed form: archives, which compress each
//! table by itself, and dumps that are compressed at the source. Output is handed on in pieces of
//! bounded size, however much a few bytes of input expand to.

use std::io;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

/// Size of a piece of output.
const PIECE: usize = 128 * 1024;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    Identity,
    /// A zlib stream (RFC 1950).
    Zlib,
    /// One gzip member (RFC 1952).
    Gzip,
    /// Zstandard frames (RFC 8878).
    Zstd,
}

enum Inner {
    Identity,
    Deflate(Decompress),
    Zstd(ZstdDecoder<'static>),
}

/// Decompresses one stream.
pub struct PushDecoder {
    inner: Inner,
    /// Whether the stream's own end has been seen.
    ended: bool,
    piece: Vec<u8>,
}

impl PushDecoder {
    /// A decoder at the beginning of a stream.
    pub fn new(codec: Codec) -> io::Result<PushDecoder> {
        let inner = match codec {
            Codec::Identity => Inner::Identity,
            Codec::Zlib => Inner::Deflate(Decompress::new(true)),
            // The largest window there is.
            Codec::Gzip => Inner::Deflate(Decompress::new_gzip(15)),
            Codec::Zstd => Inner::Zstd(ZstdDecoder::new()?),
        };
        let piece = if codec == Codec::Identity { Vec::new() } else { vec![0; PIECE] };
        Ok(PushDecoder { inner, ended: codec == Codec::Identity, piece })
    }

    /// Takes the next bytes and hands on what they decompress to.
    pub fn push<E: From<io::Error>>(
        &mut self,
        input: &[u8],
        mut output: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match &mut self.inner {
            Inner::Identity => output(input),
            Inner::Deflate(inflate) => {
                Self::inflate(inflate, input, &mut self.ended, &mut self.piece, &mut output)
            }
            Inner::Zstd(zstd) => Self::unzstd(zstd, input, &mut self.ended, &mut self.piece, &mut output),
        }
    }

    fn inflate<E: From<io::Error>>(
        inflate: &mut Decompress,
        mut input: &[u8],
        ended: &mut bool,
        piece: &mut [u8],
        output: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            if *ended {
                return if input.is_empty() {
                    Ok(())
                } else {
                    Err(damaged("bytes after the end of the deflate stream").into())
                };
            }
            let (in_before, out_before) = (inflate.total_in(), inflate.total_out());
            let status = inflate.decompress(input, piece, FlushDecompress::None).map_err(io::Error::from)?;
            let taken = delta(inflate.total_in(), in_before);
            let made = delta(inflate.total_out(), out_before);
            input = &input[taken..];
            if made > 0 {
                output(&piece[..made])?;
            }
            *ended = status == Status::StreamEnd;
            // Full output may hide more; anything less than full means that the input is used up.
            if !*ended && input.is_empty() && made < piece.len() {
                return Ok(());
            }
            if !*ended && taken == 0 && made == 0 {
                return Err(damaged("the deflate stream makes no progress").into());
            }
        }
    }

    fn unzstd<E: From<io::Error>>(
        zstd: &mut ZstdDecoder<'static>,
        input: &[u8],
        ended: &mut bool,
        piece: &mut [u8],
        output: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut input = InBuffer::around(input);
        loop {
            let mut buffer = OutBuffer::around(&mut *piece);
            if *ended && input.pos() < input.src.len() {
                zstd.reinit()?;
            }
            let hint = zstd.run(&mut input, &mut buffer)?;
            let made = buffer.pos();
            *ended = hint == 0;
            if made > 0 {
                output(&piece[..made])?;
            }
            if input.pos() == input.src.len() && made < piece.len() {
                return Ok(());
            }
        }
    }

    /// Whether the stream was whole: its own end, checksum included, has been seen.
    pub fn finish(self) -> io::Result<()> {
        if self.ended { Ok(()) } else { Err(damaged("the compressed stream is cut short")) }
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What a call added to a total; less than a buffer's length, so it fits.
fn delta(now: u64, before: u64) -> usize {
    usize::try_from(now - before).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn compress(codec: Codec, data: &[u8]) -> Vec<u8> {
        match codec {
            Codec::Identity => data.to_vec(),
            Codec::Zlib => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
                encoder.write_all(data).and_then(|()| encoder.finish()).expect("writing to memory")
            }
            Codec::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
                encoder.write_all(data).and_then(|()| encoder.finish()).expect("writing to memory")
            }
            Codec::Zstd => zstd::encode_all(data, 3).expect("writing to memory"),
        }
    }

    fn decode(codec: Codec, data: &[u8], chunk: usize) -> io::Result<Vec<u8>> {
        let mut decoder = PushDecoder::new(codec)?;
        let mut out = Vec::new();
        for part in data.chunks(chunk) {
            decoder.push(part, |piece| {
                out.extend_from_slice(piece);
                io::Result::Ok(())
            })?;
        }
        decoder.finish().map(|()| out)
    }

    const CODECS: [Codec; 4] = [Codec::Identity, Codec::Zlib, Codec::Gzip, Codec::Zstd];

    #[test]
    fn gives_back_what_was_compressed_in_chunks_of_any_size() {
        let text: Vec<u8> = (0..300_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for codec in CODECS {
            let packed = compress(codec, &text);
            for chunk in [997, 65_536, packed.len()] {
                assert!(
                    decode(codec, &packed, chunk).expect("it is whole") == text,
                    "{codec:?} in chunks of {chunk}"
                );
            }
        }
    }

    #[test]
    fn hands_on_pieces_of_bounded_size() {
        let zeros = vec![0; 50_000_000];
        for codec in [Codec::Zlib, Codec::Gzip, Codec::Zstd] {
            let mut total = 0;
            let mut decoder = PushDecoder::new(codec).expect("memory for a decoder");
            let result: io::Result<()> = decoder.push(&compress(codec, &zeros), |piece| {
                assert!(piece.len() <= PIECE);
                total += piece.len();
                Ok(())
            });
            result.and_then(|()| decoder.finish()).expect("it is whole");
            assert_eq!(total, zeros.len());
        }
    }

    #[test]
    fn notices_every_cut_and_bytes_after_the_end() {
        for codec in [Codec::Zlib, Codec::Gzip, Codec::Zstd] {
            let packed = compress(codec, b"some text that is long enough to be worth a test");
            for cut in 0..packed.len() {
                assert!(decode(codec, &packed[..cut], 1_000).is_err(), "{codec:?} cut at {cut}");
            }
            let longer = [packed.as_slice(), b"x"].concat();
            assert!(decode(codec, &longer, 1_000).is_err(), "{codec:?}");
        }
    }

    #[test]
    fn reads_several_zstd_frames_as_one_stream() {
        let two = [compress(Codec::Zstd, b"one "), compress(Codec::Zstd, b"two")].concat();
        for chunk in [1, 5, 1_000] {
            assert_eq!(decode(Codec::Zstd, &two, chunk).expect("it is whole"), b"one two");
        }
    }
}

//! What a Redis server writes, as it passes: is it whole?
//!
//! A file begins with `REDIS` and a version of four digits, and ends with a byte of 255 and the CRC-64 of all that is
//! before it, or zeros where the server is told to make none (`rdbchecksum no`). The polynomial is that of Jones:
//! <https://rdb.fnordig.de/file_format.html>, `src/crc64.c` of Redis.

use super::{Inspect, InspectError, Inspection};

const MAGIC: &[u8] = b"REDIS";
/// Magic and version.
const HEAD: usize = 9;
const CHECKSUM: usize = 8;
const END: u8 = 0xff;
/// The polynomial, its bits in reverse.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

const TABLE: [u64; 256] = table();

const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut value = at as u64;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
}

fn crc64(mut crc: u64, bytes: &[u8]) -> u64 {
    for byte in bytes {
        crc = TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8);
    }
    crc
}

/// Looks at the beginning and at the end, and sums up what is between.
#[derive(Default)]
pub struct Rdb {
    head: Vec<u8>,
    /// The last bytes, which are the checksum if nothing follows.
    held: Vec<u8>,
    crc: u64,
    /// The last byte that was summed up.
    last: u8,
}

impl Inspect for Rdb {
    fn push(&mut self, bytes: &[u8]) -> Result<(), InspectError> {
        if self.head.len() < HEAD {
            let missing = bytes.len().min(HEAD - self.head.len());
            self.head.extend_from_slice(&bytes[..missing]);
            let magic = self.head.len().min(MAGIC.len());
            let is_one =
                self.head[..magic] == MAGIC[..magic] && self.head[magic..].iter().all(u8::is_ascii_digit);
            if !is_one {
                return Err(InspectError::Damaged("this is no file of a Redis server".to_owned()));
            }
        }
        let all = self.held.len() + bytes.len();
        let summed = all.saturating_sub(CHECKSUM);
        let of_held = summed.min(self.held.len());
        for piece in [&self.held[..of_held], &bytes[..summed - of_held]] {
            self.crc = crc64(self.crc, piece);
            self.last = piece.last().copied().unwrap_or(self.last);
        }
        self.held.drain(..of_held);
        self.held.extend_from_slice(&bytes[summed - of_held..]);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Inspection, InspectError> {
        let recorded = self.held.as_slice().try_into().map(u64::from_le_bytes);
        match recorded {
            _ if self.head.len() < HEAD || self.last != END => {
                Err(InspectError::Incomplete("the Redis server's file has no end".to_owned()))
            }
            Ok(recorded) if recorded == 0 || recorded == self.crc => Ok(Inspection::default()),
            _ => Err(InspectError::Damaged("the checksum in the Redis server's file is another".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(checksum: impl Fn(u64) -> u64) -> Vec<u8> {
        let mut out = b"REDIS0011\xfa\x09redis-ver\x057.0.0\xfe\x00\x00\x01a\x01b\xff".to_vec();
        let crc = checksum(crc64(0, &out));
        out.extend(crc.to_le_bytes());
        out
    }

    fn look(bytes: &[u8], chunk: usize) -> Result<Inspection, InspectError> {
        let mut rdb = Box::new(Rdb::default());
        for piece in bytes.chunks(chunk) {
            rdb.push(piece)?;
        }
        rdb.finish()
    }

    #[test]
    fn sums_up_as_redis_does() {
        assert_eq!(crc64(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca, "the example in src/crc64.c");
    }

    #[test]
    fn a_whole_file_is_one_in_chunks_of_any_size() {
        let whole = file(|crc| crc);
        for chunk in 1..=whole.len() {
            assert_eq!(look(&whole, chunk), Ok(Inspection::default()), "{chunk}");
        }
        assert_eq!(look(&file(|_| 0), 7), Ok(Inspection::default()), "it was told to make no checksum");
        assert!(look(&file(|crc| crc ^ 1), 7).is_err());
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_seen() {
        let whole = file(|crc| crc);
        for cut in 0..whole.len() {
            assert!(look(&whole[..cut], 5).is_err(), "{cut}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(look(&changed, 5).is_err(), "{at}");
        }
    }
}

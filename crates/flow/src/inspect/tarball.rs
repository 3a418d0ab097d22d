//! A tar archive as it passes: is it whole?

use tar::{EntryType, Header};

use super::{EntriesTally, Inspect, InspectError, Inspection};
use crate::pax;

const BLOCK: usize = 512;
/// What ends an archive.
const END_BLOCKS: usize = 2;
/// An extended header holds a name or two; the longest path is 4 KiB.
const LARGEST_EXTENSION: u64 = 1 << 20;

/// Follows headers and lengths to the archive's own end. Content is not looked at.
#[derive(Default)]
pub struct Tarball {
    block: Vec<u8>,
    /// Bytes of an entry's content, with its padding, that are to come.
    content: u64,
    extension: Option<Vec<u8>>,
    /// The length that an extended header gives for the next entry.
    announced: Option<u64>,
    zero_blocks: usize,
    /// What was seen, where that is wanted.
    entries: Option<EntriesTally>,
}

impl Tarball {
    /// One that counts files.
    pub fn counting() -> Tarball {
        Tarball { entries: Some(EntriesTally::default()), ..Tarball::default() }
    }

    fn count(&mut self, kind: EntryType, length: u64) {
        let Some(entries) = &mut self.entries else { return };
        if kind.is_file() {
            entries.bytes += length;
        }
        entries.files += u64::from(kind.is_file() || kind.is_hard_link());
    }

    fn full_block(&mut self, block: &[u8]) -> Result<(), InspectError> {
        if block.iter().all(|byte| *byte == 0) {
            self.zero_blocks += 1;
            return Ok(());
        }
        if self.zero_blocks > 0 {
            return Err(damaged("an entry after its end"));
        }
        let header = Header::from_byte_slice(block);
        let is_right = header.cksum().is_ok_and(|sum| sum == checksum(block));
        if !is_right {
            return Err(damaged("a header with a wrong checksum"));
        }
        let is_extension = header.entry_type() == EntryType::XHeader;
        let own = header.entry_size().map_err(|_| damaged("a header without a length"))?;
        let length = if is_extension { own } else { self.announced.take().unwrap_or(own) };
        if is_extension {
            if length > LARGEST_EXTENSION {
                return Err(damaged("an extended header that is too long"));
            }
            self.extension = Some(Vec::new());
        }
        self.count(header.entry_type(), length);
        self.content = length.next_multiple_of(BLOCK as u64);
        Ok(())
    }

    fn end_of_content(&mut self) {
        if let Some(extension) = self.extension.take() {
            self.announced = announced_size(&extension);
        }
    }
}

impl Inspect for Tarball {
    fn push(&mut self, mut bytes: &[u8]) -> Result<(), InspectError> {
        while !bytes.is_empty() {
            if self.content > 0 {
                let length = usize::try_from(self.content).unwrap_or(usize::MAX).min(bytes.len());
                let (now, later) = bytes.split_at(length);
                if let Some(extension) = &mut self.extension {
                    extension.extend_from_slice(now);
                }
                self.content -= length as u64;
                bytes = later;
                if self.content == 0 {
                    self.end_of_content();
                }
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK {
                let block = std::mem::take(&mut self.block);
                self.full_block(&block)?;
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Inspection, InspectError> {
        if self.content > 0 || !self.block.is_empty() || self.zero_blocks < END_BLOCKS {
            return Err(InspectError::Incomplete("the tar archive has no end".to_owned()));
        }
        Ok(Inspection { entries: self.entries, ..Inspection::default() })
    }
}

fn damaged(what: &str) -> InspectError {
    InspectError::Damaged(format!("the tar archive has {what}"))
}

/// The sum of a header's bytes, those of the checksum itself taken for blanks.
fn checksum(block: &[u8]) -> u32 {
    let byte = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) };
    block.iter().enumerate().map(byte).sum()
}

/// The value of `size` among the records of an extended header.
fn announced_size(records: &[u8]) -> Option<u64> {
    let mut records = pax::records(records).flatten();
    let (_, size) = records.find(|(key, _)| *key == b"size")?;
    std::str::from_utf8(size).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in [("a", &b"some text"[..]), ("b", b""), ("c", &[b'x'; 1_024])] {
            let mut header = Header::new_ustar();
            header.set_path(name).expect("it is short");
            header.set_size(content.len() as u64);
            header.set_cksum();
            tar.append_pax_extensions([("mtime", &b"1.5"[..])]).expect("memory");
            tar.append(&header, content).expect("memory");
        }
        tar.into_inner().expect("memory")
    }

    fn look(bytes: &[u8], chunk: usize) -> Result<Inspection, InspectError> {
        let mut tarball = Box::new(Tarball::default());
        for piece in bytes.chunks(chunk) {
            tarball.push(piece)?;
        }
        tarball.finish()
    }

    #[test]
    fn reads_a_whole_archive_in_chunks_of_any_size() {
        let whole = archive();
        for chunk in [1, 7, 512, 513, whole.len()] {
            assert_eq!(look(&whole, chunk), Ok(Inspection::default()), "{chunk}");
        }
        let padded = [whole.as_slice(), &[0; 10 * BLOCK]].concat();
        assert_eq!(look(&padded, 100), Ok(Inspection::default()), "programs fill up to a record");
    }

    #[test]
    fn notices_every_cut_and_every_damaged_header() {
        let whole = archive();
        for cut in (0..whole.len()).step_by(61).chain([whole.len() - 1]) {
            assert!(look(&whole[..cut], 1_000).is_err(), "cut at {cut}");
        }
        for at in 0..BLOCK {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            assert!(look(&flipped, 1_000).is_err(), "flipped at {at}");
        }
        let two = [whole.as_slice(), whole.as_slice()].concat();
        assert!(look(&two, 1_000).is_err(), "an archive after another is read by nobody");
    }

    #[test]
    fn a_length_that_does_not_fit_is_in_the_extended_header() {
        assert_eq!(announced_size(b"11 mtime=1\n20 size=10000000000\n\0\0"), Some(10_000_000_000));
        assert_eq!(announced_size(b"11 mtime=1\n"), None);
        assert_eq!(announced_size(b"999 size=1\n"), None);
    }
}

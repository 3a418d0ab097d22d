//! Cutting a stream into blocks of one size.

use crate::stage::encode::BLOCK;

/// Collects bytes until a block is full.
#[derive(Default)]
pub(super) struct Blocks {
    block: Vec<u8>,
}

impl Blocks {
    /// Takes bytes; hands on every block that they fill.
    pub(super) fn push<E>(
        &mut self,
        mut bytes: &[u8],
        mut full: impl FnMut(Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            if self.block.capacity() == 0 {
                self.block.reserve_exact(BLOCK);
            }
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK {
                full(std::mem::take(&mut self.block))?;
            }
        }
        Ok(())
    }

    /// The last block of a file, which may be short or empty.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.block)
    }
}

//! Counting and SHA-256.

use sha2::{Digest as _, Sha256};

/// The length of a stream and its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digested {
    /// Bytes seen.
    pub bytes: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
}

/// Sums up the bytes of one stream.
#[derive(Debug, Clone, Default)]
pub struct Digest {
    bytes: u64,
    sha256: Sha256,
}

impl Digest {
    /// The sum of bytes that are all there.
    pub fn of(bytes: &[u8]) -> Digested {
        let mut digest = Digest::default();
        digest.push(bytes);
        digest.finish()
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.sha256.update(bytes);
    }

    /// Bytes seen so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The sum of all bytes.
    pub fn finish(self) -> Digested {
        Digested { bytes: self.bytes, sha256: hex::encode(self.sha256.finalize()) }
    }
}

//! Folders of files as tar archives, and back.
//!
//! Whoever sees a folder walks through it and packs what it meets ([`work`]); that may be this process
//! ([`NearPorter`]), or another one, in a container that has the folder mounted. Nothing that is wrong with one
//! file ends a walk: it is told, and the others are kept. Putting files back ends at the first that cannot be.

mod answer;
mod attributes;
mod choose;
mod entries;
pub mod frames;
mod indexing;
mod lines;
mod near;
mod notes;
pub mod order;
mod pack;
mod packer;
mod select;
mod stream;
mod unpack;
mod work;

pub(crate) use answer::index_of;
pub use answer::{answer, look};
pub use attributes::attributes_sha256;
pub use choose::{BEING_WRITTEN, FUNCTIONS};
pub(crate) use lines::{IndexCheck, IndexLines, LONGEST_LINE};
pub use near::NearPorter;
pub(crate) use select::{Open, Source, select_from};
pub use work::serve;

#[cfg(test)]
pub(crate) use lines::tests::index_for_tests;

use crate::failure::Failure;
use crate::ports::FolderError;

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Failure {
        Failure::new(error.code, error.message)
    }
}

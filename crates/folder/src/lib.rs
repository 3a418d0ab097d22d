//! Folders of this machine, to be read and to be filled.
//!
//! A folder is somebody else's: its files change while they are read, its links lead anywhere, its names are
//! bytes. Everything is opened from the folder above it by its name, never by a path, and never through a link.
//! So whatever is renamed or put in place of something meanwhile, nothing outside of the folder is read, and
//! nothing is written there.

mod attributes;
mod fill;
mod home;
mod local;
mod open;

pub use home::LocalHome;
pub use local::LocalFolders;

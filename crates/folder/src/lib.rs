//! The port to the stack's folder.
//!
//! The folder is somebody else's: its files change while they are read, its links lead anywhere, its names are
//! bytes. Everything is opened from the folder above it by its name, never by a path, and never through a link.
//! So whatever is renamed or put in place of something meanwhile, nothing outside of the folder is read.

mod local;
mod open;

pub use local::LocalStackFolder;

//! Where backups are: folders on a local or mounted file system.

mod exports;
mod folder;
mod heads;
mod key;
mod local;
mod lock;
mod marker;
mod path;
mod staging;
mod stopped;

pub use exports::LocalExports;
pub use local::LocalRepository;

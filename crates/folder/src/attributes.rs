//! Extended attributes.

use std::os::fd::BorrowedFd;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;
use supakeep_flow::ports::Attributes;

/// Those that programs make for their own ends. The others are the system's: access lists and labels, which
/// belong to the machine that they were made on.
const OF_USERS: &[u8] = b"user.";

/// Those of a file or folder; none on a file system that has none.
pub(crate) fn of(file: BorrowedFd<'_>) -> Result<Attributes, Errno> {
    let mut out = Attributes::new();
    for name in names(file)? {
        match value(file, &name) {
            Ok(value) => {
                out.insert(name, value);
            }
            // It was taken away meanwhile.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(out)
}

/// Gives a file or folder these, and no others.
pub(crate) fn set(file: BorrowedFd<'_>, wanted: &Attributes) -> Result<(), Errno> {
    for name in names(file)?.iter().filter(|name| !wanted.contains_key(*name)) {
        fremovexattr(file, &**name)?;
    }
    for (name, value) in wanted {
        fsetxattr(file, &**name, value, XattrFlags::empty())?;
    }
    Ok(())
}

fn names(file: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let list = match grown(|buffer| flistxattr(file, buffer)) {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        list => list?,
    };
    let names = list.split(|byte| *byte == 0).filter(|name| name.starts_with(OF_USERS));
    Ok(names.map(<[u8]>::to_vec).collect())
}

fn value(file: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>, Errno> {
    grown(|buffer| fgetxattr(file, name, buffer))
}

/// Calls with a buffer that is long enough.
fn grown(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match call(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) => buffer.resize(buffer.len() * 4, 0),
            Err(error) => return Err(error),
        }
    }
}

//! Links in the place of directories. In what pgsvc manages none is followed: it would take what is written, and what is
//! restored, to a place that somebody else chose.

use std::path::Path;

use super::journal::{failed, place};
use crate::error::Error;
use crate::host::{Kind, System};

/// A directory is one itself, or is not there yet.
///
/// # Errors
/// A link, or anything else, in its place.
pub fn real_directory(sys: &dyn System, dir: &Path) -> Result<(), Error> {
    match sys.stat(dir).map_err(|e| failed("look at", dir, &e))?.map(|s| s.kind) {
        None | Some(Kind::Directory) => Ok(()),
        Some(Kind::Symlink) => Err(Error::new(place(dir), "is a symbolic link").hint(
            "pgsvc writes into real directories only: replace the link by a directory (or mount --bind)",
        )),
        Some(_) => Err(Error::new(place(dir), "is no directory").hint("make it a directory of root's")),
    }
}

/// A file's directory and the one above it, which is its package's: `/etc/haproxy/conf.d` and `/etc/haproxy`.
pub(super) fn real_place(sys: &dyn System, file: &Path) -> Result<(), Error> {
    file.ancestors().skip(1).take(2).try_for_each(|dir| real_directory(sys, dir))
}

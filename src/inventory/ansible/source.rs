//! Where files come from. The only door of the reader; it reads and lists, and can do nothing else.

use std::io;
use std::path::Path;

use crate::host::{Kind, System};

/// Files to read: the node, another root, or a test's table.
pub trait Source {
    /// A file's bytes, links followed.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The names in a directory, or `None` where the path is something else; links followed.
    ///
    /// # Errors
    /// `ErrorKind::NotFound` where nothing is there, else why it cannot be listed.
    fn list(&self, path: &Path) -> io::Result<Option<Vec<String>>>;
    /// Whether it is a device, a pipe or a socket, which may never end.
    fn endless(&self, _: &Path) -> bool {
        false
    }
}

/// The node's files.
impl Source for &dyn System {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        System::read(*self, path)
    }

    fn list(&self, path: &Path) -> io::Result<Option<Vec<String>>> {
        // `stat` does not follow a link at the last component; with a dot behind it, the link is not the last.
        let behind = path.join(".");
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no such file or directory");
        match self.stat(path)?.ok_or_else(missing)?.kind {
            Kind::Directory => System::list(*self, path).map(Some),
            Kind::Symlink => match self.stat(&behind) {
                Ok(Some(stat)) if stat.kind == Kind::Directory => System::list(*self, &behind).map(Some),
                _ => Ok(None),
            },
            Kind::File | Kind::Other => Ok(None),
        }
    }

    fn endless(&self, path: &Path) -> bool {
        self.stat(path).is_ok_and(|s| s.is_some_and(|s| s.kind == Kind::Other))
    }
}

/// No files at all: stdin has no neighbours.
pub struct Nothing;

impl Source for Nothing {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &Path) -> io::Result<Option<Vec<String>>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

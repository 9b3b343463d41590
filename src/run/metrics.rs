//! Writes metrics where the node exporter's textfile collector reads them, and looks for what they say beside the ports.
//! What they say is `metrics`' matter.

use std::io;
use std::path::Path;

use super::{Node, kept, read, vip};
use crate::error::{Error, Errors};
use crate::host::{Kind, System};
use crate::request::Model;

/// How our files begin.
const MARK: &[u8] = b"# HELP pgsvc_";

/// Puts a text in the place of a file, whole or not at all: the collector reads at any time, and as another user. A link
/// in its place is replaced, never followed.
///
/// # Errors
/// When it cannot be written.
pub fn write(node: &Node<'_>, path: &Path, text: &str) -> Result<(), Error> {
    let place = path.display().to_string();
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Of a directory that is a link, which is the operator's matter, the trailing dot shows the end.
    let kind = node.sys.stat(&dir.join(".")).ok().flatten().map(|s| s.kind);
    if kind != Some(Kind::Directory) {
        let what = format!("{} is no directory", dir.display());
        return Err(
            Error::new(place, what).hint("--collector.textfile.directory of the node exporter names it")
        );
    }
    if node.sys.stat(path).ok().flatten().is_some_and(|s| s.kind == Kind::Directory) {
        return Err(Error::new(place, "is a directory").hint("name a file in it that ends in .prom"));
    }
    kept::replace(node, path, text.as_bytes(), 0o644)
}

/// Takes a file of ours away; somebody else's stays.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(sys: &dyn System, path: &Path) -> io::Result<()> {
    let is_ours = sys.stat(path)?.is_some_and(|s| s.kind == Kind::File) && sys.read(path)?.starts_with(MARK);
    if is_ours { sys.remove_file(path) } else { Ok(()) }
}

/// Whether an apply of a model would change anything.
///
/// # Errors
/// What an apply would be refused for: then nobody can tell.
pub fn drift(node: &Node<'_>, model: &Model) -> Result<bool, Errors> {
    let mut model = model.clone();
    model.options.allow_restart = true;
    let templates = node.templates(&model)?;
    let installed = read::installed(node)?;
    let haproxy = super::plan(node, &model, &templates, &installed)?;
    Ok(!haproxy.is_empty() || vip::would_change(node, &model, &templates)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::daemon::Paths;
    use crate::host::fake::{Fail, FakeSystem};
    use crate::host::real::RealSystem;

    #[test]
    fn the_file_is_readable_for_all_and_a_link_in_its_place_is_not_followed() {
        let dir = tempfile::TempDir::new().unwrap();
        let (file, other) = (dir.path().join("pgsvc.prom"), dir.path().join("other"));
        std::fs::write(&other, "mine").unwrap();
        std::os::unix::fs::symlink(&other, &file).unwrap();
        let sys = RealSystem::new(None);
        let node = Node { sys: &sys, paths: Paths::default(), rooted: false };
        for text in ["# HELP pgsvc_a b\n", "# HELP pgsvc_c d\n"] {
            write(&node, &file, text).unwrap();
            let meta = std::fs::symlink_metadata(&file).unwrap();
            assert!(meta.is_file() && meta.permissions().mode() & 0o777 == 0o644, "{meta:?}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
        remove(&sys, &file).unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn a_file_that_cannot_be_written_whole_stays_as_it_was() {
        let path = Path::new("/c/pgsvc.prom");
        for n in 1..4 {
            let sys = FakeSystem::default();
            sys.put(
                "/c/pgsvc.prom",
                crate::host::fake::FakeFile { bytes: b"old".to_vec(), ..Default::default() },
            );
            sys.state().fail = Fail::At(n);
            let node = Node { sys: &sys, paths: Paths::default(), rooted: false };
            let done = write(&node, path, "new").is_ok();
            let bytes = sys.read(path).unwrap();
            assert_eq!(bytes, if done { b"new" } else { b"old" }, "{n}");
            assert_eq!(done, n > 2, "it takes two effects");
        }
    }

    #[test]
    fn a_directory_that_is_missing_is_named() {
        let dir = tempfile::TempDir::new().unwrap();
        let sys = RealSystem::new(None);
        let node = Node { sys: &sys, paths: Paths::default(), rooted: false };
        let says = |path: &Path| write(&node, path, "x").unwrap_err().to_string();
        assert!(says(&dir.path().join("no/pgsvc.prom")).contains("no is no directory"));
        assert!(says(dir.path()).contains("is a directory"));
    }
}

//! What a node keeps of a run: the request (so that nobody needs an inventory there at three in the morning), what was
//! rendered, the binary itself at a stable path, a line in the journal. No decision is made from any of it here.
//!
//! A request is a file for each cluster, its members, and one for all of them, the node's settings and the options,
//! which the newest run says.

mod load;
mod rendered;
mod traces;

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Node;
use crate::error::Error;
use crate::request::{Model, State};
use crate::transaction::{Beside, real_directory};

pub use load::{load, load_previous};
pub use rendered::{known, remember};
pub use traces::{binary, journal, original, originals};

/// Beside the clusters' files; no cluster can have this name.
const NODE: &str = "@node.json";

fn beside(node: &Node<'_>) -> Beside {
    Beside::new(&node.paths.state_dir)
}

fn dir(node: &Node<'_>) -> PathBuf {
    beside(node).now
}

/// The requests of the set that a rollback goes back to.
fn previous(node: &Node<'_>) -> PathBuf {
    beside(node).previous
}

/// The requests of a set that is being installed: they take their place with it.
fn next(node: &Node<'_>) -> PathBuf {
    beside(node).next
}

/// Writes down what is to be kept once the model's set is.
///
/// # Errors
/// When it cannot be written.
pub fn prepare(node: &Node<'_>, model: &Model) -> Result<(), Error> {
    let requests = read_all(node, &dir(node))?;
    write_all(node, &next(node), &requests)?;
    request_in(node, model, &next(node))
}

/// The same for a rollback: the earlier requests are to be the node's, and the others those to go back to.
///
/// # Errors
/// When they cannot be written.
pub fn prepare_back(node: &Node<'_>) -> Result<(), Error> {
    write_all(node, &next(node), &read_all(node, &previous(node))?)
}

/// Forgets what was prepared.
///
/// # Errors
/// When it cannot be removed.
pub fn discard(node: &Node<'_>) -> Result<(), Error> {
    beside(node).discard(node.sys)
}

fn read_all(node: &Node<'_>, dir: &Path) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let names = node.sys.list(dir).map_err(|e| failed("list", dir, &e))?;
    let names = names.into_iter().filter(|n| n.ends_with(".json"));
    let read = |name: String| {
        let path = dir.join(&name);
        Ok((name, node.sys.read(&path).map_err(|e| failed("read", &path, &e))?))
    };
    names.map(read).collect()
}

fn write_all(node: &Node<'_>, dir: &Path, requests: &[(String, Vec<u8>)]) -> Result<(), Error> {
    make_dir(node, dir)?;
    for (name, text) in requests {
        put(node, &dir.join(name), text, 0o600)?;
    }
    for (name, _) in read_all(node, dir)?.iter().filter(|(n, _)| requests.iter().all(|(r, _)| r != n)) {
        let path = dir.join(name);
        node.sys.remove_file(&path).map_err(|e| failed("remove", &path, &e))?;
    }
    sync(node, dir)
}

/// Keeps each cluster's request as module arguments, 0600: it may hold the password that verification logs in with.
/// A cluster that was refused keeps the request of what is still installed.
///
/// # Errors
/// When it cannot be written.
pub fn request(node: &Node<'_>, model: &Model) -> Result<(), Error> {
    request_in(node, model, &dir(node))
}

fn request_in(node: &Node<'_>, model: &Model, dir: &Path) -> Result<(), Error> {
    make_dir(node, dir)?;
    let present = model.state == State::Present;
    let mut changed = false;
    for (name, args) in model.kept.clusters.iter().filter(|(n, _)| model.clusters.contains_key(n)) {
        let path = dir.join(format!("{name}.json"));
        changed |= if present { put_json(node, &path, args)? } else { remove(node, &path)? };
    }
    let own = dir.join(NODE);
    // haproxy.cfg is that of the last run that installed something, and so is this.
    if present {
        changed |= put_json(node, &own, &model.kept.node)?;
    } else {
        let names = node.sys.list(dir).map_err(|e| failed("list", dir, &e))?;
        let last = !names.iter().any(|n| n != NODE && n.ends_with(".json"));
        changed |= last && remove(node, &own)?;
    }
    if changed { sync(node, dir) } else { Ok(()) }
}

/// Whether that changed anything.
fn put_json(node: &Node<'_>, path: &Path, v: &Value) -> Result<bool, Error> {
    let text = serde_json::to_vec_pretty(v);
    let mut text =
        text.map_err(|e| Error::new(path.display().to_string(), format!("cannot be written: {e}")))?;
    text.push(b'\n');
    put(node, path, &text, 0o600)
}

/// Whether there was anything.
fn remove(node: &Node<'_>, path: &Path) -> Result<bool, Error> {
    if node.sys.stat(path).map_err(|e| failed("look at", path, &e))?.is_none() {
        return Ok(false);
    }
    node.sys.remove_file(path).map_err(|e| failed("remove", path, &e))?;
    Ok(true)
}

/// Names in a directory outlive a power cut only once it is synced.
fn sync(node: &Node<'_>, dir: &Path) -> Result<(), Error> {
    node.sys.sync_dir(dir).map_err(|e| failed("sync", dir, &e))
}

fn make_dir(node: &Node<'_>, dir: &Path) -> Result<(), Error> {
    real_directory(node.sys, dir)?;
    node.sys.create_dir(dir, 0o700).map_err(|e| failed("make", dir, &e))
}

/// Writes a file that is pgsvc's own by a rename, when it differs; whether it did.
fn put(node: &Node<'_>, path: &Path, bytes: &[u8], mode: u32) -> Result<bool, Error> {
    let stat = node.sys.stat(path).map_err(|e| failed("look at", path, &e))?;
    let same_size =
        stat.as_ref().is_some_and(|s| s.mode == mode && s.size == u64::try_from(bytes.len()).unwrap_or(0));
    if same_size && node.sys.read(path).is_ok_and(|now| now == bytes) {
        return Ok(false);
    }
    replace(node, path, bytes, mode)?;
    Ok(true)
}

/// A file of pgsvc's own, whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub fn replace(node: &Node<'_>, path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let new = path.with_extension("new");
    if node.sys.stat(&new).ok().flatten().is_some() {
        node.sys.remove_file(&new).map_err(|e| failed("remove", &new, &e))?;
    }
    node.sys.create(&new, bytes, mode, node.sys.whoami()).map_err(|e| failed("write", &new, &e))?;
    node.sys.rename(&new, path).map_err(|e| failed("replace", path, &e))
}

fn failed(verb: &str, path: &Path, e: &std::io::Error) -> Error {
    Error::new(path.display().to_string(), format!("cannot {verb} it: {e}"))
}

#[cfg(test)]
mod tests;

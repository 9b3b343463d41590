//! What was rendered to the node's files, in a file of its own beside the requests. Without it, or where it says
//! something else than the files, all is rendered: nothing depends on it but time.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::failed;
use crate::error::Error;
use crate::plan::managed;
use crate::render::Templates;
use crate::render::haproxy::known::{Known, file_of};
use crate::render::haproxy::others;
use crate::run::Node;
use crate::run::ready::Ready;
use crate::transaction::real_directory;

fn path(node: &Node<'_>) -> PathBuf {
    node.paths.state_dir.join("rendered")
}

/// What earlier runs noted; nothing where that cannot be read.
pub fn known(node: &Node<'_>) -> Known {
    let bytes = node.sys.read(&path(node)).unwrap_or_default();
    Known::parse(&String::from_utf8_lossy(&bytes))
}

/// Notes what the files hold that are installed now.
///
/// # Errors
/// When it cannot be written.
pub fn remember(node: &Node<'_>, templates: &Templates, ready: &Ready) -> Result<(), Error> {
    let Ready { model, plan, installed } = ready;
    let layout = node.layout();
    let mut known = installed.known.clone();
    for s in model.clusters.values().filter(|c| c.proxy).flat_map(|c| &c.services) {
        if let Some(content) = plan.candidate.get(&file_of(&layout, s)) {
            known.note(templates, s, content);
        }
    }
    let there: BTreeSet<&str> = plan.candidate.keys().filter_map(|p| p.file_name()?.to_str()).collect();
    known.retain(|name| there.contains(name));
    known.note_whole(plan.whole.as_ref(), &others(&layout, &managed(&plan.candidate)));
    if known == installed.known {
        return Ok(());
    }
    let (dir, path) = (&node.paths.state_dir, path(node));
    real_directory(node.sys, dir)?;
    node.sys.create_dir(dir, 0o700).map_err(|e| failed("make", dir, &e))?;
    // In its place: a run that dies here leaves no second file, and half of this one says half as much.
    match node.sys.remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed("replace", &path, &e)),
        _ => {}
    }
    let written = node.sys.create(&path, known.text().as_bytes(), 0o600, node.sys.whoami());
    written.map_err(|e| failed("write", &path, &e))
}

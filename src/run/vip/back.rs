//! The way back for keepalived's files: an earlier set, installed and proven like any other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::put;
use crate::daemon::keepalived::{Keepalived, Paths, units};
use crate::error::Errors;
use crate::plan::{Action, FileChange, Plan};
use crate::report::Report;
use crate::run::{Node, read};
use crate::transaction::Transaction;

/// Whether a path is keepalived's matter, for a rollback.
pub fn is_ours(path: &std::path::Path) -> bool {
    let paths = Paths::default();
    paths.loads(path) || path == paths.dropin || units::cluster_of(&paths, path).is_some()
}

/// Puts an earlier set of keepalived's files back.
///
/// # Errors
/// What failed.
pub fn back(
    node: &Node<'_>,
    changes: Vec<FileChange>,
    tx: &Transaction<'_>,
    report: &mut Report,
) -> Result<(), Errors> {
    if changes.is_empty() {
        return Ok(());
    }
    let paths = Paths::default();
    let daemon = Keepalived::detect(node.sys, paths.clone());
    let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    for path in paths.list(node.sys).into_iter().filter(|p| paths.loads(p)) {
        if let Some(file) = read::file(node, &path)? {
            files.insert(path, file.content);
        }
    }
    for c in changes.iter().filter(|c| paths.loads(&c.path)) {
        match &c.after {
            Some(file) => drop(files.insert(c.path.clone(), file.content.clone().into_bytes())),
            None => drop(files.remove(&c.path)),
        }
    }
    let stays = files.contains_key(&paths.config);
    let action = match (stays, daemon.running()?.is_some_and(|r| r.reads_ours)) {
        (true, true) => Action::Reload,
        (true, false) => Action::Start,
        (false, _) if files.contains_key(&paths.own) => Action::Restart,
        (false, _) => Action::Stop,
    };
    let name = files.get(&paths.name()).map(|f| String::from_utf8_lossy(f).into_owned()).unwrap_or_default();
    let router = name.lines().find_map(|l| l.trim().strip_prefix("router_id "));
    let hash = router.map(|r| r.trim().to_owned()).unwrap_or_default();
    let plan = Plan {
        daemon_reload: changes.iter().any(|c| !paths.loads(&c.path)),
        changes,
        action,
        reason: "rollback was asked for".into(),
        commands: Vec::new(),
        hands: Vec::new(),
        hash,
        candidate: if stays { files } else { BTreeMap::new() },
        new_binds: Vec::new(),
        nonlocal_binds: false,
    };
    put(node, &daemon, &plan, tx, report)
}

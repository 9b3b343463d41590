//! The way back for keepalived's files: an earlier set, installed and proven like any other.

use crate::daemon::keepalived::{Keepalived, Paths, units};
use crate::error::Error;
use crate::plan::{Action, FileChange, Files, Plan};
use crate::run::{Node, read};

/// Whether a path is keepalived's matter, for a rollback.
pub fn is_ours(path: &std::path::Path) -> bool {
    let paths = Paths::default();
    paths.loads(path) || path == paths.dropin || units::cluster_of(&paths, path).is_some()
}

/// The way back to an earlier set of keepalived's files.
///
/// # Errors
/// What is installed cannot be read; systemd does not say what runs.
pub fn back<'a>(node: &Node<'a>, changes: Vec<FileChange>) -> Result<(Keepalived<'a>, Plan), Error> {
    let paths = Paths::default();
    let daemon = Keepalived::detect(node.sys, paths.clone());
    let mut files: Files = Files::new();
    for path in paths.list(node.sys)?.into_iter().filter(|p| paths.loads(p)) {
        if let Some(file) = read::file(node, &path)? {
            files.insert(path, file.content);
        }
    }
    for c in changes.iter().filter(|c| paths.loads(&c.path)) {
        match &c.after {
            Some(file) => drop(files.insert(c.path.clone(), file.bytes())),
            None => drop(files.remove(&c.path)),
        }
    }
    let stays = files.contains_key(&paths.config);
    let action = match (stays, daemon.running()?.is_some_and(|r| r.reads_ours)) {
        // Only a unit, of a node that has an address but does not carry it.
        _ if !changes.iter().any(|c| paths.loads(&c.path)) => Action::Nothing,
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
        whole: None,
        candidate: if stays { files } else { Files::new() },
        new_binds: Vec::new(),
        nonlocal_binds: false,
    };
    Ok((daemon, plan))
}

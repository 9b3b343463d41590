//! What else a run leaves on a node: the binary at a stable path, a line in the journal, what was there before.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{failed, make_dir, put};
use crate::daemon::systemd::STABLE_BINARY;
use crate::error::Error;
use crate::host::{Command, Kind};
use crate::plan::{FileChange, Plan};
use crate::render::haproxy::{MARK, owner};
use crate::request::Model;
use crate::run::Node;
use crate::transaction::real_directory;

/// The binary at its stable path, where units and people find it.
///
/// # Errors
/// When it cannot be written.
pub fn binary(node: &Node<'_>) -> Result<(), Error> {
    if node.rooted {
        return Ok(());
    }
    let (own, path) = (Path::new("/proc/self/exe"), PathBuf::from(STABLE_BINARY));
    let stat = node.sys.stat(&path).map_err(|e| failed("look at", &path, &e))?;
    let is_file = stat.is_some_and(|s| s.kind == Kind::File && s.mode == 0o755);
    if is_file && node.sys.same(own, &path).is_ok_and(|same| same) {
        return Ok(());
    }
    let own = node.sys.read(own).map_err(|e| failed("read", own, &e))?;
    if let Some(parent) = path.parent() {
        real_directory(node.sys, parent)?;
        node.sys.create_dir(parent, 0o755).map_err(|e| failed("make", parent, &e))?;
    }
    put(node, &path, &own, 0o755)?;
    path.parent().map_or(Ok(()), |dir| node.sys.sync_dir(dir).map_err(|e| failed("sync", dir, &e)))
}

/// A line in the system's journal: who, what, outcome. Its absence fails nothing.
pub fn journal(node: &Node<'_>, model: &Model, outcome: &str) {
    if node.rooted {
        return;
    }
    let clusters: Vec<&str> = model.clusters.keys().map(String::as_str).collect();
    let who = std::env::var("SUDO_USER").unwrap_or_else(|_| "root".into());
    let who: String = who.chars().filter(char::is_ascii_graphic).take(32).collect();
    let text = format!("apply by {who}: {}: {outcome}", clusters.join(", "));
    let argv = ["logger", "-t", "pgsvc", "--", &text].map(str::to_owned).to_vec();
    // Without a journal the report is what there is.
    drop(node.sys.run(&Command { argv, timeout: Duration::from_secs(5), ..Command::default() }));
}

/// Files that were not pgsvc's before it replaced them, as they were: `<state>/original/etc/haproxy/haproxy.cfg`.
///
/// # Errors
/// When a copy cannot be made: then nothing may be replaced.
pub fn originals(node: &Node<'_>, plan: &Plan) -> Result<(), Error> {
    let foreign = |c: &&FileChange| {
        let before = c.before.as_ref().is_some_and(|b| owner(&b.content).is_none());
        let ours = c.before.as_ref().is_some_and(|b| b.content.starts_with(MARK.as_bytes()));
        before && !ours && c.path != node.paths.dropin
    };
    for change in plan.changes.iter().filter(foreign) {
        let to =
            node.paths.state_dir.join("original").join(change.path.strip_prefix("/").unwrap_or(&change.path));
        if node.sys.stat(&to).map_err(|e| failed("look at", &to, &e))?.is_some() {
            continue;
        }
        if let Some(parent) = to.parent() {
            let below = parent.ancestors().take_while(|dir| *dir != node.paths.state_dir);
            below.into_iter().try_for_each(|dir| real_directory(node.sys, dir))?;
            make_dir(node, parent)?;
        }
        node.sys.copy(&change.path, &to).map_err(|e| failed("write", &to, &e))?;
        if let Some(parent) = to.parent() {
            node.sys.sync_dir(parent).map_err(|e| failed("sync", parent, &e))?;
        }
    }
    Ok(())
}

/// Where a file that was not pgsvc's is kept.
pub fn original(node: &Node<'_>, path: &Path) -> PathBuf {
    node.paths.state_dir.join("original").join(path.strip_prefix("/").unwrap_or(path))
}

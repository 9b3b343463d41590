//! `seed`: what HAProxy's unit runs before a start and before a reload, whoever asked for it. Makes every server's own
//! health check once and writes down the states to begin with. What a state is made of is `daemon::haproxy::seed`'s
//! matter. Never takes longer than the unit gives it, and never keeps HAProxy from starting: without the file HAProxy
//! does as it does without pgsvc.

pub(super) mod names;
pub(super) mod probe;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Node, kept};
use crate::daemon::haproxy::config::{Backend, backends};
use crate::daemon::haproxy::seed::{Known, compose};
use crate::daemon::haproxy::state::{self, Op, ServerState};
use crate::daemon::haproxy::{Hook, Info};
use crate::error::Error;
use crate::transaction;
use crate::verify::deadline::Deadline;

/// For all probes together; the unit gives two seconds for everything.
const PROBES: Duration = Duration::from_millis(1300);
const ASK: Duration = Duration::from_millis(300);
/// Below what a process may open by default.
const AT_ONCE: usize = 128;
/// How long a new worker is waited for before the file goes.
const LOADED: Duration = Duration::from_millis(1600);
const POLL: Duration = Duration::from_millis(20);
/// Which process the states were taken from: as a comment, which HAProxy skips.
const BEFORE: &str = "# before: ";

/// What a file holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seeded {
    pub servers: usize,
    pub up: usize,
    /// Taken over from a running process, so far as members did not say otherwise.
    pub running: bool,
}

/// Writes the states that the next process begins with. The old file goes first: a stale one is worse than none.
///
/// # Errors
/// When it cannot be written.
pub fn seed(node: &Node<'_>) -> Result<Seeded, Error> {
    let path = &node.paths.server_state;
    remove(node, path)?;
    let backends: Vec<Backend> = loaded(node).into_iter().filter(|b| b.stateful).collect();
    if backends.is_empty() {
        return Ok(Seeded::default());
    }
    let (before, running) = running(node);
    let end = Deadline::after(node.sys, PROBES);
    let addresses = names::addresses(node, &backends, end);
    let seen = probe::ask_all(node, &backends, &addresses, |_| end);
    let applied = applied(node, &backends);
    let mut known = Vec::new();
    for backend in &backends {
        for server in &backend.servers {
            let address = addresses.get(server.host.as_str()).copied();
            let seen = probe::result(&backends, backend, server, address, &seen);
            let applied = applied.get(&(backend.name.clone(), server.name.clone())).copied();
            known.push(Known { backend, server, applied, address, seen });
        }
    }
    let states = compose(&known, &running);
    let up = states.iter().filter(|s| s.op == Op::Running).count();
    write(node, path, &states, before)?;
    Ok(Seeded { servers: states.len(), up, running: before.is_some() })
}

/// Removes the file once the process that it is for has read it.
///
/// # Errors
/// When it cannot be removed.
pub fn forget(node: &Node<'_>) -> Result<(), Error> {
    let path = &node.paths.server_state;
    let Ok(text) = node.sys.read(path) else { return Ok(()) };
    let text = String::from_utf8_lossy(&text);
    let before: Option<u32> = text.lines().find_map(|l| l.strip_prefix(BEFORE)?.trim().parse().ok());
    let start = node.sys.now();
    while before.is_some() && node.sys.now().saturating_sub(start) < LOADED {
        if info(node).is_some_and(|i| Some(i.pid) != before && !i.stopping) {
            break;
        }
        node.sys.sleep(POLL);
    }
    remove(node, path)
}

/// For a HAProxy that no unit starts or reloads. What fails here is HAProxy's own way without the file.
pub fn hooks<'a>(node: &'a Node<'_>) -> (Hook<'a>, Hook<'a>) {
    (Box::new(move || drop(seed(node))), Box::new(move || drop(forget(node))))
}

fn failed(verb: &str, path: &Path, e: &std::io::Error) -> Error {
    Error::new(path.display().to_string(), format!("cannot {verb} it: {e}"))
}

fn remove(node: &Node<'_>, path: &Path) -> Result<(), Error> {
    path.parent().map_or(Ok(()), |dir| transaction::real_directory(node.sys, dir))?;
    match node.sys.remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", path, &e)),
        _ => Ok(()),
    }
}

fn write(node: &Node<'_>, path: &Path, states: &[ServerState], before: Option<u32>) -> Result<(), Error> {
    let mut text = state::file(states);
    if let Some(pid) = before {
        text.push_str(&format!("{BEFORE}{pid}\n"));
    }
    if let Some(dir) = path.parent() {
        node.sys.create_dir(dir, 0o755).map_err(|e| failed("make", dir, &e))?;
    }
    kept::replace(node, path, text.as_bytes(), 0o644)
}

/// All backends of the files that HAProxy is about to load.
pub(super) fn loaded(node: &Node<'_>) -> Vec<Backend> {
    let read = |p: &PathBuf| node.sys.read(p).ok();
    node.config_files()
        .unwrap_or_default()
        .iter()
        .filter_map(read)
        .flat_map(|bytes| backends(&String::from_utf8_lossy(&bytes)))
        .collect()
}

/// The weights that were applied last: within an apply, those of the files that it has replaced.
fn applied(node: &Node<'_>, now: &[Backend]) -> BTreeMap<(String, String), u32> {
    let old = transaction::replaced(node.sys, &node.paths.state_dir);
    let old: Vec<Backend> =
        old.values().flat_map(|bytes| backends(&String::from_utf8_lossy(bytes))).collect();
    let weights = |b: &Backend| {
        b.servers.iter().map(|s| ((b.name.clone(), s.name.clone()), s.weight)).collect::<Vec<_>>()
    };
    let replaced = |b: &&Backend| old.iter().any(|o| o.name == b.name);
    now.iter().filter(|b| !replaced(b)).chain(&old).flat_map(weights).collect()
}

fn info(node: &Node<'_>) -> Option<Info> {
    let answer = node.sys.ask_unix(&node.paths.stats_socket, b"show info\n", ASK).ok()?;
    Info::parse(&String::from_utf8_lossy(&answer))
}

/// The worker that serves now and its servers' states; nothing at a cold start.
fn running(node: &Node<'_>) -> (Option<u32>, Vec<ServerState>) {
    let Some(info) = info(node).filter(|i| !i.stopping) else { return (None, Vec::new()) };
    let answer = node.sys.ask_unix(&node.paths.stats_socket, b"show servers state\n", ASK);
    let states = answer.ok().and_then(|a| state::parse(&String::from_utf8_lossy(&a)).ok());
    (Some(info.pid), states.unwrap_or_default())
}

#[cfg(test)]
mod tests;

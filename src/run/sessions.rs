//! Sessions that sit where they should not, found and cut: HAProxy's sockets, Patroni and the kernel are asked here.
//! Which session goes, and when, is decided in `verify::stray`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::Node;
use crate::error::Error;
use crate::host::Command;
use crate::request::Model;
use crate::resolve::ResolvedService;
use crate::transaction;
use crate::verify::deadline::Deadline;
use crate::verify::observe::{Look, roles};
use crate::verify::stats::{self, Ends, Process, ProxyRow, Via};
use crate::verify::stray::{
    self, Group, Held, OldWorker, Place, Stray, Talk, Waiting, Worker, groups, old_worker, strays, suspects,
};

/// HAProxy answers within milliseconds, or is being reloaded.
const ASK: Duration = Duration::from_secs(2);
/// Sessions cut by one line: HAProxy reads at most 16 KiB.
const LINE: usize = 100;

/// All services of a model.
pub fn services(model: &Model) -> Vec<&ResolvedService> {
    model.clusters.values().flat_map(|c| &c.services).collect()
}

/// The old workers; none where there is no master socket, or nobody answers on it now.
pub fn old_processes(node: &Node<'_>) -> Vec<Process> {
    let master = &node.paths.master_socket;
    if !node.sys.stat(master).is_ok_and(|s| s.is_some()) {
        return Vec::new();
    }
    let deadline = Deadline::after(node.sys, ASK);
    stats::processes(node.sys, master, deadline).map(|p| p.old_workers).unwrap_or_default()
}

fn via<'n>(node: &'n Node<'_>, worker: Worker) -> Via<'n> {
    match worker {
        Worker::Current => Via::Stats(&node.paths.stats_socket),
        Worker::Old(pid) => Via::Worker(&node.paths.master_socket, pid),
    }
}

/// A worker's sessions; none where it went away meanwhile.
pub fn held(node: &Node<'_>, worker: Worker) -> Vec<Held> {
    let found = stats::sessions(node.sys, via(node, worker), Deadline::after(node.sys, ASK));
    found.unwrap_or_default().into_iter().map(|session| Held { worker, session }).collect()
}

/// Where sessions are.
pub fn places(held: &[Held]) -> BTreeSet<Place> {
    held.iter().map(|h| (h.session.backend.clone(), h.session.server.clone())).collect()
}

/// What is known of sessions.
#[derive(Debug, Default)]
pub struct Found {
    pub old: Vec<OldWorker>,
    pub strays: Vec<Stray>,
}

impl Found {
    pub fn groups(&self) -> Vec<Group> {
        groups(&self.strays)
    }
}

/// Looks once: where there is no old worker and HAProxy's view shows nothing doubtful, this is one question.
pub fn look(node: &Node<'_>, l: &Look<'_>, model: &Model, rows: &[ProxyRow]) -> Found {
    let old = old_processes(node);
    let sessions: Vec<Held> = old.iter().flat_map(|p| held(node, Worker::Old(p.pid))).collect();
    let mut at = places(&sessions);
    at.extend(stray::busy_places(rows));
    let clusters = suspects(&services(model), rows, &at);
    let workers = old.iter().map(|p| old_worker(p, &sessions)).collect();
    Found { old: workers, strays: found(node, l, model, rows, &clusters, &old) }
}

/// The strays of some clusters. Patroni is asked first, and HAProxy's sessions are those of the moment.
pub fn found(
    node: &Node<'_>,
    l: &Look<'_>,
    model: &Model,
    rows: &[ProxyRow],
    clusters: &BTreeSet<String>,
    old: &[Process],
) -> Vec<Stray> {
    if clusters.is_empty() {
        return Vec::new();
    }
    let some: Vec<_> =
        model.clusters.values().map(|c| &c.cluster).filter(|c| clusters.contains(&c.name)).collect();
    let roles = roles(l, &some);
    let workers = old.iter().map(|p| Worker::Old(p.pid)).chain([Worker::Current]);
    let sessions: Vec<Held> = workers.flat_map(|w| held(node, w)).collect();
    still_open(node, strays(&services(model), rows, &roles, &sessions))
}

/// Those of which the end towards the member is not closing; all, where `ss` is missing.
///
/// HAProxy keeps a session whose client has gone until the member has heard of it, and passes it over when it is told to
/// cut it: of a member that is cut off, for minutes. Nobody is there who could write, and no cut would be seen. Where
/// the member has gone and the client has not (close-wait), it sits there still.
fn still_open(node: &Node<'_>, mut all: Vec<Stray>) -> Vec<Stray> {
    let lost: Vec<&Stray> = all.iter().filter(|s| s.why == stray::Why::LostRole).collect();
    let ends = ends(node, &lost);
    let end = |s: &Stray| ends.get(&s.worker)?.get(&s.id).copied();
    let members = lost.iter().filter_map(|s| Some(end(s)?.1)).collect();
    let closing = kernel(node, &["fin-wait-1", "fin-wait-2", "closing", "last-ack"], members);
    all.retain(|s| {
        s.why != stray::Why::LostRole || end(s).is_none_or(|(own, _)| !closing.contains_key(&own))
    });
    all
}

/// Who spoke last in the sessions that are drained, by the kernel; nothing is known where `ss` is missing.
pub fn talk(node: &Node<'_>, all: &[Stray]) -> BTreeMap<(Worker, String), Talk> {
    let drained: Vec<&Stray> = all.iter().filter(|s| s.why == stray::Why::Backup).collect();
    let ends = ends(node, &drained);
    let end = |s: &Stray| ends.get(&s.worker)?.get(&s.id).copied();
    let members = drained.iter().filter_map(|s| Some(end(s)?.1)).collect();
    let heard = kernel(node, &["established"], members);
    let one = |s: &&Stray| Some(((s.worker, s.id.clone()), *heard.get(&end(s)?.0)?));
    drained.iter().filter_map(one).collect()
}

/// The ends of sessions' connections to their members, by worker.
fn ends(node: &Node<'_>, some: &[&Stray]) -> BTreeMap<Worker, Ends> {
    let workers: BTreeSet<Worker> = some.iter().map(|s| s.worker).collect();
    let ask =
        |w: Worker| stats::ends(node.sys, via(node, w), Deadline::after(node.sys, ASK)).unwrap_or_default();
    workers.into_iter().map(|w| (w, ask(w))).collect()
}

/// The connections to members that the kernel has in one of these states, by our end.
fn kernel(node: &Node<'_>, states: &[&str], members: BTreeSet<SocketAddr>) -> BTreeMap<SocketAddr, Talk> {
    if members.is_empty() {
        return BTreeMap::new();
    }
    let states = states.iter().flat_map(|state| ["state", state]);
    let argv = ["ss", "-tinH"].into_iter().chain(states).map(str::to_owned).chain(stray::filter(members));
    let out = node.sys.run(&Command { argv: argv.collect(), timeout: ASK, ..Command::default() });
    out.map(|o| stray::parse_ss(&String::from_utf8_lossy(&o.stdout))).unwrap_or_default()
}

/// Cuts sessions. Of those that ended by themselves meanwhile HAProxy says so, which is as good.
///
/// # Errors
/// When HAProxy does not answer.
pub fn cut(node: &Node<'_>, due: &[&Stray]) -> Result<(), Error> {
    let workers: BTreeSet<Worker> = due.iter().map(|s| s.worker).collect();
    for worker in workers {
        let mine: Vec<&&Stray> = due.iter().filter(|s| s.worker == worker).collect();
        let (socket, prefix) = match worker {
            Worker::Current => (&node.paths.stats_socket, String::new()),
            Worker::Old(pid) => (&node.paths.master_socket, format!("@!{pid} ")),
        };
        for some in mine.chunks(LINE) {
            // `shutdown sessions server` is refused in an old worker ("Proxy is disabled").
            let commands: Vec<String> =
                some.iter().map(|s| format!("{prefix}shutdown session {}", s.id)).collect();
            let line = format!("{}\n", commands.join(";"));
            let asked = node.sys.ask_unix(socket, line.as_bytes(), ASK);
            asked.map_err(|e| Error::new(socket.display().to_string(), format!("cuts no session: {e}")))?;
        }
    }
    Ok(())
}

/// Cuts once what may be cut at once, and says what that was. `all`: idle sessions of a backup tier too, and those in
/// the serving worker; else only what lost its role in old workers.
///
/// # Errors
/// When HAProxy does not cut.
pub fn fix(node: &Node<'_>, l: &Look<'_>, model: &Model, all: bool) -> Result<Vec<Group>, Error> {
    let Some(socket) = &l.stats_socket else { return Ok(Vec::new()) };
    let rows = stats::stat(node.sys, Via::Stats(socket), Deadline::after(node.sys, ASK)).unwrap_or_default();
    let mut found = look(node, l, model, &rows).strays;
    if !all {
        found.retain(|s| s.why == stray::Why::LostRole && s.worker != Worker::Current);
    }
    let due = Waiting::default().due(&found, &talk(node, &found), node.sys.now(), Duration::MAX);
    cut(node, &due)?;
    Ok(groups(due))
}

/// No session is cut while an apply is between its swap and its proof: HAProxy may run either set, and what the node
/// keeps of the request is that of the old one. `--fix` changes no file, so it needs no lock beside this.
///
/// # Errors
/// When an apply is there.
pub fn settled(node: &Node<'_>) -> Result<(), Error> {
    if !transaction::unproven(node.sys, &node.paths.state_dir) {
        return Ok(());
    }
    Err(Error::new("sessions", "none is cut while an apply is at work").hint("wait until it ends"))
}

/// What was cut, for a report: `2 sessions in old worker 123 on pg-test-1, which is replica now: cut`.
pub fn said(cut: &[Group]) -> Vec<String> {
    cut.iter().map(|g| format!("{}-{}: {}: cut", g.cluster, g.service, g.text())).collect()
}

#[cfg(test)]
pub(crate) mod tests;

//! `seed`: what HAProxy's unit runs before a start and before a reload, whoever asked for it. Makes every server's own
//! health check once and writes down the states to begin with. What a state is made of is `daemon::haproxy::seed`'s
//! matter. Never takes longer than the unit gives it, and never keeps HAProxy from starting: without the file HAProxy
//! does as it does without pgsvc.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::Node;
use crate::daemon::haproxy::config::{Ask, Backend, Server, Step, To, backends};
use crate::daemon::haproxy::seed::{Known, Seen, compose};
use crate::daemon::haproxy::state::{self, Op, ServerState};
use crate::daemon::haproxy::{Hook, Info};
use crate::error::Error;
use crate::verify::deadline::Deadline;
use crate::verify::error::ProbeError;
use crate::verify::parallel::parallel;
use crate::verify::patroni::{self, Api};
use crate::verify::tls::TlsConfig;

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

/// One thing that is asked of a member, for however many backends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    addr: SocketAddr,
    /// Host header, and the name in its certificate.
    host: String,
    ask: Option<Ask>,
    /// `None`: plain; else the CA that must have signed, if any.
    tls: Option<Option<String>>,
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
    let addresses = addresses(node, &backends, end);
    let seen = ask_all(node, &backends, &addresses, end);
    let mut known = Vec::new();
    for backend in &backends {
        for server in &backend.servers {
            let address = addresses.get(server.host.as_str()).copied();
            let seen = result(&backends, backend, server, address, &seen);
            known.push(Known { backend, server, address, seen });
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
    let new = path.with_extension("new");
    remove(node, &new)?;
    let me = node.sys.whoami();
    node.sys.create(&new, text.as_bytes(), 0o644, me).map_err(|e| failed("write", &new, &e))?;
    node.sys.rename(&new, path).map_err(|e| failed("write", path, &e))
}

/// All backends of the files that HAProxy is about to load.
fn loaded(node: &Node<'_>) -> Vec<Backend> {
    let mut paths = vec![node.paths.config.clone()];
    let names = node.sys.list(&node.paths.conf_d).unwrap_or_default();
    let is_loaded = |n: &&String| n.ends_with(".cfg") && !n.starts_with('.');
    paths.extend(names.iter().filter(is_loaded).map(|n| node.paths.conf_d.join(n)));
    let read = |p: &std::path::PathBuf| node.sys.read(p).ok();
    paths.iter().filter_map(read).flat_map(|bytes| backends(&String::from_utf8_lossy(&bytes))).collect()
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

/// Every host's address, names asked all at once.
fn addresses(node: &Node<'_>, backends: &[Backend], end: Deadline) -> BTreeMap<String, IpAddr> {
    let mut hosts: Vec<&str> =
        backends.iter().flat_map(|b| b.servers.iter().map(|s| s.host.as_str())).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let found = parallel(&hosts, AT_ONCE, |host| {
        let left = end.left(node.sys)?.min(PROBES / 2);
        host.parse().ok().or_else(|| node.sys.resolve(host, left).ok()?.first().copied())
    });
    hosts.into_iter().zip(found).filter_map(|(host, ip)| Some((host.to_owned(), ip?))).collect()
}

/// Asks each question once.
fn ask_all(
    node: &Node<'_>,
    backends: &[Backend],
    addresses: &BTreeMap<String, IpAddr>,
    end: Deadline,
) -> BTreeMap<Question, Seen> {
    let mut questions: Vec<Question> = Vec::new();
    for b in backends {
        for (s, ip) in b.servers.iter().filter_map(|s| Some((s, addresses.get(&s.host)?))) {
            questions.extend(b.check.iter().map(|step| question(step, s, *ip)));
        }
    }
    questions.sort();
    questions.dedup();
    let answers = parallel(&questions, AT_ONCE, |q| ask(node, q, end));
    questions.into_iter().zip(answers).collect()
}

fn question(step: &Step, s: &Server, ip: IpAddr) -> Question {
    let own = if s.check_port == 0 { s.port } else { s.check_port };
    let (port, ssl) = match step.to {
        To::Default => (own, s.check_ssl),
        To::Port { port, ssl } => (port, ssl),
    };
    Question {
        addr: SocketAddr::new(ip, port),
        host: s.host.clone(),
        ask: step.ask.clone(),
        tls: ssl.then(|| s.ca_file.clone()),
    }
}

fn ask(node: &Node<'_>, q: &Question, end: Deadline) -> Seen {
    let Some(left) = end.left(node.sys) else { return Seen::Silent };
    let Some(ask) = &q.ask else {
        return if node.sys.connect(q.addr, left).is_ok() { Seen::Passes } else { Seen::Silent };
    };
    let tls = match &q.tls {
        None => Ok(None),
        Some(None) => TlsConfig::insecure(None).map(Some),
        Some(Some(ca)) => {
            let pem = node.sys.read(Path::new(ca)).unwrap_or_default();
            TlsConfig::verified(&pem, None).map(Some)
        }
    };
    let Ok(tls) = tls else { return Seen::Silent };
    let api = Api { addr: q.addr, host: q.host.clone(), tls };
    match patroni::check(node.sys, &api, &ask.method, &ask.uri, ask.status, end) {
        Ok(()) => Seen::Passes,
        Err(ProbeError::Status { .. }) => Seen::Refuses,
        Err(_) => Seen::Silent,
    }
}

/// What all steps of a server's check came to; of one that tracks another, what the other's did.
fn result(
    backends: &[Backend],
    backend: &Backend,
    server: &Server,
    address: Option<IpAddr>,
    seen: &BTreeMap<Question, Seen>,
) -> Seen {
    let (checked_in, checked) = match &server.track {
        None => (Some(backend), Some(server)),
        Some((b, s)) => {
            let other = backends.iter().find(|x| x.name == *b);
            (other, other.and_then(|x| x.servers.iter().find(|y| y.name == *s)))
        }
    };
    let (Some(ip), Some(b), Some(s)) = (address, checked_in, checked) else { return Seen::Silent };
    let of = |step: &Step| seen.get(&question(step, s, ip)).copied().unwrap_or(Seen::Silent);
    let all: Vec<Seen> = b.check.iter().map(of).collect();
    if all.contains(&Seen::Refuses) {
        Seen::Refuses
    } else if all.is_empty() || all.contains(&Seen::Silent) {
        Seen::Silent
    } else {
        Seen::Passes
    }
}

#[cfg(test)]
mod tests;

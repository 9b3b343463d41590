//! Every server's own health check, made once by pgsvc itself: each question of each member once, all at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::AT_ONCE;
use crate::daemon::haproxy::config::{Ask, Backend, Server, Step, To};
use crate::daemon::haproxy::seed::Seen;
use crate::inventory::tls::TlsFiles;
use crate::parallel::parallel;
use crate::run::Node;
use crate::verify::deadline::Deadline;
use crate::verify::error::ProbeError;
use crate::verify::patroni::{self, Api};
use crate::verify::tls::TlsConfig;

/// One thing that is asked of a member, for however many backends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    addr: SocketAddr,
    /// Host header, and the name in its certificate.
    host: String,
    ask: Option<Ask>,
    /// `None`: plain.
    tls: Option<TlsFiles>,
}

/// Asks each question once; `end` says by when a host is given up.
pub fn ask_all(
    node: &Node<'_>,
    backends: &[Backend],
    addresses: &BTreeMap<String, IpAddr>,
    end: impl Fn(&str) -> Deadline + Sync,
) -> BTreeMap<Question, Seen> {
    let mut questions: Vec<Question> = Vec::new();
    for b in backends {
        for (s, ip) in b.servers.iter().filter_map(|s| Some((s, addresses.get(&s.host)?))) {
            questions.extend(b.check.iter().map(|step| question(step, s, *ip)));
        }
    }
    questions.sort();
    questions.dedup();
    let files: BTreeSet<TlsFiles> = questions.iter().filter_map(|q| q.tls.clone()).collect();
    let read = |files: TlsFiles| {
        let config = TlsConfig::from_files(node.sys, &files).ok();
        (files, config)
    };
    let configs: Configs = files.into_iter().map(read).collect();
    let answers = parallel(&questions, AT_ONCE, |q| ask(node, q, &configs, end(&q.host)));
    questions.into_iter().zip(answers).collect()
}

/// The hosts that were asked, and whether anything was heard of them.
pub fn heard(seen: &BTreeMap<Question, Seen>) -> BTreeMap<String, bool> {
    let mut hosts = BTreeMap::new();
    for (q, seen) in seen {
        *hosts.entry(q.host.clone()).or_default() |= *seen != Seen::Silent;
    }
    hosts
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
        tls: ssl.then(|| s.tls.clone()),
    }
}

/// By the files that they are made of, which are read once; `None` where they cannot be used.
type Configs = BTreeMap<TlsFiles, Option<TlsConfig>>;

fn ask(node: &Node<'_>, q: &Question, configs: &Configs, end: Deadline) -> Seen {
    let Some(left) = end.left(node.sys) else { return Seen::Silent };
    let Some(ask) = &q.ask else {
        return if node.sys.connect(q.addr, left).is_ok() { Seen::Passes } else { Seen::Silent };
    };
    let tls = match q.tls.as_ref().map(|files| configs.get(files)) {
        None => None,
        Some(Some(Some(config))) => Some(config.clone()),
        Some(_) => return Seen::Silent,
    };
    let api = Api { addr: q.addr, host: q.host.clone(), tls };
    let passes = match ask.wants_writes() {
        true => patroni::takes_writes(node.sys, &api, &ask.uri, end),
        false => patroni::check(node.sys, &api, &ask.method, &ask.uri, ask.status, end).map(|()| true),
    };
    match passes {
        Ok(true) => Seen::Passes,
        Ok(false) | Err(ProbeError::Status { .. }) => Seen::Refuses,
        Err(_) => Seen::Silent,
    }
}

/// What all steps of a server's check came to; of one that tracks another, what the other's did.
pub fn result(
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

//! Asks every member what any of its ports needs to know, each thing once. No port of the load balancer is asked here,
//! and nothing is judged.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::contact::{contact, handshake, or_silence};
use super::health::{api_state, foretold};
use super::{Depth, Look, PROBE, Target};
use crate::host::System;
use crate::inventory::cluster::Cluster;
use crate::inventory::member::Member;
use crate::parallel::parallel;
use crate::resolve::{ResolvedService, Server};
use crate::verify::deadline::Deadline;
use crate::verify::error::ProbeError;
use crate::verify::judge::{Contact, MemberState, Who};
use crate::verify::patroni::{self, Api, ClusterView, MemberHealth};
use crate::verify::tls::TlsConfig;

/// Members at the same time, and probes of one member: the product is below what a process may open by default.
pub(super) const MEMBERS: usize = 128;
const PROBES: usize = 4;

/// Everything seen of one member.
pub(super) struct Seen {
    pub(super) state: MemberState,
    targets: BTreeMap<u16, Contact>,
    checks: BTreeMap<CheckKey, Result<(), String>>,
}

/// Port, TLS, path and status of a service's own check.
type CheckKey = (u16, bool, String, u16);

impl Seen {
    pub(super) fn target(&self, port: u16) -> Contact {
        self.targets.get(&port).cloned().unwrap_or_else(|| Contact::Failed("not asked".into()))
    }

    pub(super) fn check(&self, service: &ResolvedService, server: &Server) -> Result<(), String> {
        self.checks.get(&check_key(service, server)).cloned().unwrap_or_else(|| Err("not asked".into()))
    }
}

fn check_key(s: &ResolvedService, x: &Server) -> CheckKey {
    (x.check_port, x.check_ssl, s.check_url.clone(), s.check_code)
}

/// One question to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Probe {
    Api(u16),
    Target(u16),
    Check(CheckKey),
}

impl Probe {
    fn port(&self) -> u16 {
        match self {
            Self::Api(port) | Self::Target(port) | Self::Check((port, ..)) => *port,
        }
    }

    fn unanswered(&self, why: &str) -> Answer {
        match self {
            Self::Api(_) => Answer::Api(Err(why.to_owned())),
            Self::Target(_) => Answer::Target(Contact::Failed(why.to_owned())),
            Self::Check(_) => Answer::Check(Err(why.to_owned())),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Api(Result<Box<MemberHealth>, String>),
    Target(Contact),
    Check(Result<(), String>),
}

/// An answer, and why when the host did not even answer the connection.
type Heard = (Answer, Option<String>);

/// A member with all that is to be asked of it.
struct Questions<'a> {
    cluster: &'a Cluster,
    member: &'a Member,
    /// Patroni and PostgreSQL: two ports that a firewall may treat differently.
    first: Vec<Probe>,
    rest: Vec<Probe>,
}

impl<'a> Questions<'a> {
    fn new(t: &Target<'a>, member: &'a Member) -> Self {
        let servers = t.services.iter().flat_map(|s| s.servers.iter().map(move |x| (*s, x)));
        let mine: Vec<_> = servers.filter(|(_, x)| x.instance == member.instance).collect();
        let ports: BTreeSet<u16> =
            mine.iter().map(|(_, x)| x.port).filter(|p| *p != member.pg_port).collect();
        let checks: BTreeSet<CheckKey> = mine.iter().map(|(s, x)| check_key(s, x)).collect();
        let first = vec![Probe::Api(member.patroni_port), Probe::Target(member.pg_port)];
        let rest = ports.into_iter().map(Probe::Target).chain(checks.into_iter().map(Probe::Check)).collect();
        Self { cluster: t.cluster, member, first, rest }
    }
}

/// Asks all members, by instance.
pub(super) fn ask(l: &Look<'_>, targets: &[Target<'_>], depth: Depth) -> BTreeMap<String, Seen> {
    let questions: Vec<Questions<'_>> =
        targets.iter().flat_map(|t| t.cluster.members.iter().map(move |m| Questions::new(t, m))).collect();
    // Where members wait for their turn, threads for the probes of one would only take the others' time.
    let probes = if questions.len() > MEMBERS { 1 } else { PROBES };
    let answers = parallel(&questions, MEMBERS, |q| ask_member(l, q, depth, probes));
    let mut health: BTreeMap<&str, Result<Box<MemberHealth>, String>> = BTreeMap::new();
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    for (q, answers) in questions.iter().zip(answers) {
        let instance = &q.member.instance;
        let nothing = || Contact::Failed("not asked".into());
        let state =
            MemberState { instance: instance.clone(), api: Err("not asked".into()), postgres: nothing() };
        let mut one = Seen { state, targets: BTreeMap::new(), checks: BTreeMap::new() };
        for (probe, answer) in q.first.iter().chain(&q.rest).zip(answers) {
            match (probe, answer) {
                (Probe::Api(_), Answer::Api(said)) => drop(health.insert(instance, said)),
                (Probe::Target(port), Answer::Target(contact)) => drop(one.targets.insert(*port, contact)),
                (Probe::Check(key), Answer::Check(result)) => drop(one.checks.insert(key.clone(), result)),
                _ => {}
            }
        }
        one.state.postgres = one.target(q.member.pg_port);
        seen.insert(instance.clone(), one);
    }
    let overviews = overviews(l, targets, &health);
    for q in &questions {
        if let (Some(s), Some(said)) =
            (seen.get_mut(&q.member.instance), health.remove(q.member.instance.as_str()))
        {
            s.state.api = said.map(|h| api_state(&h, q.member, overviews.get(q.cluster.name.as_str())));
        }
    }
    seen
}

/// The members of a cluster that say they hold the leader lock.
pub(super) fn leaders(cluster: &Cluster, seen: &BTreeMap<String, Seen>) -> Vec<String> {
    let leads =
        |m: &&Member| seen.get(&m.instance).is_some_and(|s| s.state.api.as_ref().is_ok_and(|api| api.leader));
    cluster.members.iter().filter(leads).map(|m| m.instance.clone()).collect()
}

/// Each cluster as the first of its members that can tell sees it; one that is silent is not asked again.
fn overviews<'a>(
    l: &Look<'_>,
    targets: &[Target<'a>],
    health: &BTreeMap<&str, Result<Box<MemberHealth>, String>>,
) -> BTreeMap<&'a str, ClusterView> {
    let tells = |m: &&Member| health.get(m.instance.as_str()).is_some_and(Result::is_ok);
    let views = parallel(targets, MEMBERS, |t| {
        let end = Deadline::after(l.sys, PROBE);
        t.cluster.members.iter().filter(tells).find_map(|m| {
            let ip = resolve(l.sys, &m.address).ok()?;
            let api = api(l, t.cluster, m, ip, (m.patroni_port, m.patroni_ssl)).ok()?;
            patroni::cluster(l.sys, &api, end.within(l.sys, PROBE / 3)).ok()
        })
    });
    targets.iter().zip(views).filter_map(|(t, v)| Some((t.cluster.name.as_str(), v?))).collect()
}

/// The answers, in the order of the questions.
fn ask_member(l: &Look<'_>, q: &Questions<'_>, depth: Depth, probes: usize) -> Vec<Answer> {
    let ip = match resolve(l.sys, &q.member.address) {
        Ok(ip) => ip,
        Err(why) => return q.first.iter().chain(&q.rest).map(|p| p.unanswered(&why)).collect(),
    };
    if depth == Depth::Brief
        && let Some(answers) = ask_patroni(l, q, ip, probes)
    {
        return answers;
    }
    let mut answers = ask_host(&q.first, &q.rest, |probe| answer(l, q, ip, probe));
    if let [Answer::Api(said), Answer::Target(postgres), ..] = answers.as_mut_slice()
        && *postgres == Contact::Handshake
        && l.login.is_some()
    {
        let known = said.as_ref().ok().and_then(|h| who(h));
        let log_in = || contact(l, SocketAddr::new(ip, q.member.pg_port), Deadline::after(l.sys, PROBE));
        *postgres = known.map_or_else(log_in, Contact::Session);
    }
    answers
}

/// A brief look's answers: Patroni's alone, where it says who is behind it. That PostgreSQL and the pooler answer is
/// taken for granted, and shown by the sessions through the load balancer, or the look was too brief.
fn ask_patroni(l: &Look<'_>, q: &Questions<'_>, ip: IpAddr, probes: usize) -> Option<Vec<Answer>> {
    let (Answer::Api(Ok(health)), _) = answer(l, q, ip, &Probe::Api(q.member.patroni_port)) else {
        return None;
    };
    let who = who(&health)?;
    // HAProxy asks the same checks all the time: where its word is heard too, what follows from the state is not asked.
    let known = |(port, _, url, code): &CheckKey| {
        let patroni = *port == q.member.patroni_port && *code == 200;
        if patroni && l.stats_socket.is_some() { foretold(&health, url) } else { None }
    };
    let told = |probe: &Probe| match probe {
        Probe::Target(_) => Some(Answer::Target(Contact::Handshake)),
        Probe::Check(key) => known(key).map(Answer::Check),
        Probe::Api(_) => None,
    };
    let open: Vec<&Probe> = q.rest.iter().filter(|probe| told(probe).is_none()).collect();
    let mut heard = parallel(&open, probes, |probe| answer(l, q, ip, probe).0).into_iter();
    let rest: Vec<Answer> = q.rest.iter().filter_map(|probe| told(probe).or_else(|| heard.next())).collect();
    Some([Answer::Api(Ok(health)), Answer::Target(Contact::Session(who))].into_iter().chain(rest).collect())
}

/// The server behind a Patroni that says so exactly; else it must be asked itself.
fn who(h: &MemberHealth) -> Option<Who> {
    let start = h.postmaster_start.filter(|s| s.resolution == 1)?;
    let in_recovery = h.role.as_ref()?.in_recovery()?;
    let system = h.system_identifier.clone();
    (h.is_running() && system.is_some()).then_some(Who { start: start.micros, system, in_recovery })
}

/// Asks the first questions and then, at the same time, the rest. What connects to nobody waits for its whole time: a
/// port is found silent once, and when all the first ones are, so is the host.
fn ask_host(first: &[Probe], rest: &[Probe], ask: impl Fn(&Probe) -> Heard + Sync) -> Vec<Answer> {
    let mut silent: BTreeMap<u16, String> = BTreeMap::new();
    let mut answers = Vec::new();
    for (probe, (answer, why)) in first.iter().zip(parallel(first, PROBES, &ask)) {
        silent.extend(why.map(|why| (probe.port(), why)));
        answers.push(answer);
    }
    let host = first.iter().all(|p| silent.contains_key(&p.port())).then(|| silent.values().next()).flatten();
    let known = |p: &Probe| silent.get(&p.port()).or(host);
    answers.extend(parallel(rest, PROBES, |p| known(p).map_or_else(|| ask(p).0, |why| p.unanswered(why))));
    answers
}

fn answer(l: &Look<'_>, q: &Questions<'_>, ip: IpAddr, probe: &Probe) -> Heard {
    let deadline = Deadline::after(l.sys, PROBE);
    match probe {
        // A login costs the member more than all other questions together. PostgreSQL and the pooler only have to answer:
        // who they are is known from Patroni, and proven by the sessions through the load balancer.
        Probe::Target(port) if [q.member.pg_port, q.member.pgbouncer_port].contains(port) => {
            let (contact, silent) = or_silence(handshake(l, SocketAddr::new(ip, *port), deadline));
            (Answer::Target(contact), silent)
        }
        Probe::Target(port) => (Answer::Target(contact(l, SocketAddr::new(ip, *port), deadline)), None),
        Probe::Api(port) => {
            let (said, silent) =
                over_http(l, q, ip, (*port, q.member.patroni_ssl), |a| patroni::probe(l.sys, a, deadline));
            (Answer::Api(said.map(Box::new)), silent)
        }
        Probe::Check((port, ssl, url, code)) => {
            let (said, silent) = over_http(l, q, ip, (*port, *ssl), |a| {
                patroni::check(l.sys, a, "OPTIONS", url, *code, deadline)
            });
            (Answer::Check(said), silent)
        }
    }
}

fn over_http<T>(
    l: &Look<'_>,
    q: &Questions<'_>,
    ip: IpAddr,
    port: (u16, bool),
    ask: impl FnOnce(&Api) -> Result<T, ProbeError>,
) -> (Result<T, String>, Option<String>) {
    match api(l, q.cluster, q.member, ip, port).map(|a| ask(&a)) {
        Ok(Ok(said)) => (Ok(said), None),
        Ok(Err(e)) => {
            let silent = matches!(e, ProbeError::TimedOut("connecting") | ProbeError::Unreachable(_));
            (Err(e.to_string()), silent.then(|| e.to_string()))
        }
        Err(why) => (Err(why), None),
    }
}

/// Where an API is, by port and whether it speaks TLS.
pub(super) fn api(
    l: &Look<'_>,
    c: &Cluster,
    m: &Member,
    ip: IpAddr,
    (port, ssl): (u16, bool),
) -> Result<Api, String> {
    let tls = match (ssl, l.tls.get(&c.patroni_tls)) {
        (false, _) => None,
        (true, Some(config)) => Some(config.clone()?),
        (true, None) => Some(TlsConfig::from_files(l.sys, &c.patroni_tls).map_err(|e| e.to_string())?),
    };
    Ok(Api { addr: SocketAddr::new(ip, port), host: m.address.clone(), tls })
}

/// A member's address, looked up where it is a name.
///
/// # Errors
/// Why there is none.
pub fn resolve(sys: &dyn System, address: &str) -> Result<IpAddr, String> {
    if let Ok(ip) = address.parse() {
        return Ok(ip);
    }
    let found = sys.resolve(address, PROBE).map_err(|e| format!("{address} does not resolve: {e}"))?;
    found.first().copied().ok_or_else(|| format!("{address} does not resolve"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Asks a host whose `silent` ports connect to nobody: what was asked, and the answers.
    fn asked(silent: &[u16]) -> (Vec<u16>, Vec<Answer>) {
        let first = [Probe::Api(8008), Probe::Target(5432)];
        let check = Probe::Check((8008, false, "/".into(), 200));
        let rest = [Probe::Target(6432), check, Probe::Check((9630, false, "/up".into(), 200))];
        let ports = Mutex::new(Vec::new());
        let answers = ask_host(&first, &rest, |p| {
            ports.lock().unwrap().push(p.port());
            let why = silent.contains(&p.port()).then(|| format!("{} timed out", p.port()));
            (p.unanswered(why.as_deref().unwrap_or("refused")), why)
        });
        let mut ports = ports.into_inner().unwrap();
        ports.sort_unstable();
        (ports, answers)
    }

    #[test]
    fn a_silent_host_is_asked_at_two_ports_only_and_a_silent_port_once() {
        assert_eq!(asked(&[]).0, [5432, 6432, 8008, 8008, 9630]);
        let (ports, answers) = asked(&[8008, 5432]);
        assert_eq!(ports, [5432, 8008]);
        let own = |why: &str| Answer::Check(Err(why.to_owned()));
        assert_eq!(answers.get(2), Some(&Answer::Target(Contact::Failed("5432 timed out".into()))));
        assert_eq!(answers.get(3..), Some(&[own("8008 timed out"), own("5432 timed out")][..]));
        // A firewall in front of the API alone: PostgreSQL is still asked.
        let (ports, answers) = asked(&[8008]);
        assert_eq!(ports, [5432, 6432, 8008, 9630]);
        assert_eq!(answers.get(3..), Some(&[own("8008 timed out"), own("refused")][..]));
    }
}

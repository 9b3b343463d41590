//! What the templates of a service are given: every decision made, only words left.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::inventory::tls::TlsFiles;
use crate::render::haproxy::shape::address;
use crate::resolve::{ResolvedService, Server, Tier, When};

/// One service's file.
#[derive(Debug, Serialize)]
pub struct ServiceView {
    pub cluster: String,
    pub service: String,
    pub listener: String,
    /// Comment lines.
    pub about: Vec<String>,
    pub binds: Vec<String>,
    pub maxconn: u32,
    /// Connections are refused while more than one member is up.
    pub guarded: bool,
    /// A frontend that asks the backup tier when the active one is empty; else one `listen`.
    pub two_tier: bool,
    /// The body of the `listen`.
    pub main: Option<BackendView>,
    pub backends: Vec<BackendView>,
}

#[derive(Debug, Serialize)]
pub struct BackendView {
    pub name: String,
    pub balance: String,
    pub all_backups: bool,
    /// The health check's lines; empty where the servers track others.
    pub check: Vec<String>,
    pub default_server: String,
    /// What follows the keyword `server`: name, address and options.
    pub servers: Vec<String>,
}

/// What must hold for a member beside the service's own check. Members of one backend share one check, so members of
/// different profiles are checked in backends of their own and tracked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Profile {
    role: Option<&'static str>,
    /// Where the role is asked, when that is not where the service's own check goes: port and TLS.
    role_port: Option<(u16, bool)>,
    target: u16,
}

pub fn service(s: &ResolvedService) -> ServiceView {
    let two_tier = s.is_two_tier();
    let mut backends = Vec::new();
    let mut main = None;
    if two_tier {
        for (tier, name) in
            [(Tier::Active, s.listener.clone()), (Tier::Backup, format!("{}-backup", s.listener))]
        {
            let members: Vec<_> = s.tier(tier).into_iter().map(|(m, w)| (m, w, false)).collect();
            backends.extend(tier_backends(s, &name, &members));
        }
    } else {
        let tier = |t: Tier| s.tier(t).into_iter().map(move |(m, w)| (m, w, t == Tier::Backup));
        let mut members: Vec<_> = tier(Tier::Active).chain(tier(Tier::Backup)).collect();
        members.sort_by_key(|(m, _, _)| s.servers.iter().position(|x| std::ptr::eq(x, *m)));
        let mut all = tier_backends(s, &s.listener, &members).into_iter();
        main = all.next();
        backends.extend(all);
    }
    ServiceView {
        cluster: s.cluster.clone(),
        service: s.service.clone(),
        listener: s.listener.clone(),
        about: about(s),
        binds: s.binds.iter().map(|b| bind(b, s.nonlocal)).collect(),
        maxconn: s.maxconn,
        guarded: s.guarded,
        two_tier,
        main,
        backends,
    }
}

fn about(s: &ResolvedService) -> Vec<String> {
    let list = |tier: Tier| {
        let one = |(m, w): (&Server, When)| match w {
            When::Always if !m.conditional() => m.instance.clone(),
            _ if m.tier(true) == Some(tier) && m.tier(false) == Some(tier) => m.instance.clone(),
            _ if m.tier(true) == Some(tier) => format!("{} (while primary)", m.instance),
            _ => format!("{} (while replica)", m.instance),
        };
        s.tier(tier).into_iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let mut lines = vec![format!("active: {}", none_if_empty(list(Tier::Active)))];
    if !s.tier(Tier::Backup).is_empty() {
        lines.push(format!("backup: {}", list(Tier::Backup)));
    }
    lines
}

fn none_if_empty(text: String) -> String {
    if text.is_empty() { "none".into() } else { text }
}

/// `bind` takes an address with its port; IPv6 for itself, so that `*` and `::` can stand side by side.
/// HAProxy manual, "transparent": an address that the node does not have can be bound, whatever the sysctl says.
fn bind(addr: &SocketAddr, nonlocal: bool) -> String {
    let line = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => format!("*:{}", addr.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => format!(":::{} v6only", addr.port()),
        IpAddr::V6(ip) => format!("{ip}:{} v6only", addr.port()),
        IpAddr::V4(_) => addr.to_string(),
    };
    if nonlocal && !addr.ip().is_unspecified() { format!("{line} transparent") } else { line }
}

/// A serving backend, followed by the backends that only check where its members need different checks.
fn tier_backends(s: &ResolvedService, name: &str, members: &[(&Server, When, bool)]) -> Vec<BackendView> {
    let own: Vec<Profile> = members.iter().map(|(m, w, _)| profile(s, m, *w)).collect();
    let mut profiles = own.clone();
    profiles.sort();
    profiles.dedup();
    let resolves = if members.iter().any(|(m, _, _)| m.address.parse::<IpAddr>().is_err()) {
        // A member whose name does not resolve must not keep HAProxy from starting.
        " init-addr last,libc,none"
    } else {
        ""
    };
    let backend = |name: String, check: Vec<String>, servers: Vec<String>, all_backups: bool| BackendView {
        name,
        balance: s.balance.clone(),
        all_backups,
        check,
        default_server: [s.options.line().as_str(), resolves].concat().trim().to_owned(),
        servers,
    };
    let any_backup = members.iter().any(|(_, _, b)| *b);
    if let [one] = profiles.as_slice() {
        let servers = members.iter().map(|(m, _, b)| server(m, &check_options(s, m), *b)).collect();
        return vec![backend(name.to_owned(), check_lines(s, one), servers, any_backup)];
    }
    let check_name = |p: &Profile| {
        let n = profiles.iter().position(|x| x == p).unwrap_or(0).saturating_add(1);
        format!("{name}-check{n}")
    };
    let names: Vec<String> = own.iter().map(check_name).collect();
    let with_names = members.iter().zip(&names);
    let track = |name: &String, m: &Server| ["track ", name, "/", &m.instance].concat();
    let servers = with_names.map(|((m, _, b), name)| server(m, &track(name, m), *b)).collect();
    let mut all = vec![backend(name.to_owned(), Vec::new(), servers, any_backup)];
    for p in &profiles {
        let checked = members.iter().zip(&own).filter(|(_, has)| *has == p);
        let servers = checked.map(|((m, _, _), _)| server(m, &check_options(s, m), false)).collect();
        all.push(backend(check_name(p), check_lines(s, p), servers, false));
    }
    all
}

fn profile(s: &ResolvedService, m: &Server, when: When) -> Profile {
    let role = s.role_path(when);
    let role_port = role.filter(|_| !s.check_is_patroni).map(|_| (m.patroni_port, m.patroni_ssl));
    Profile { role, role_port, target: m.port }
}

/// HAProxy manual, "http-check connect": `default` uses the server's check port and TLS, which a bare `connect` ignores.
/// The last step is the target itself: Patroni may be well while the pooler is dead.
fn check_lines(s: &ResolvedService, p: &Profile) -> Vec<String> {
    let mut lines = vec!["option httpchk".to_owned()];
    let mut ask = |connect: String, uri: &str, code: u16| {
        lines.push(format!("http-check connect {connect}"));
        lines.push(format!("http-check send meth OPTIONS uri {uri}"));
        lines.push(format!("http-check expect status {code}"));
    };
    ask("default".into(), &s.check_url, s.check_code);
    match (p.role, p.role_port) {
        (Some(path), None) => ask("default".into(), path, 200),
        (Some(path), Some((port, ssl))) => {
            ask(format!("port {port}{}", if ssl { " ssl" } else { "" }), path, 200);
        }
        (None, _) => {}
    }
    lines.push(format!("http-check connect port {}", p.target));
    lines
}

fn check_options(s: &ResolvedService, m: &Server) -> String {
    let mut words = ["check port ", &m.check_port.to_string()].concat();
    let role_over_tls = !s.check_is_patroni && m.patroni_ssl && s.follows_roles();
    if m.check_ssl {
        words.push_str(" check-ssl");
    }
    if m.check_ssl || role_over_tls {
        words.push_str(&verification(&s.tls, &m.address));
    }
    words
}

/// `verify required` looks at the chain only; a name must be said, and an IP address cannot be one.
fn verification(tls: &TlsFiles, address: &str) -> String {
    let mut words = match &tls.ca {
        None => " verify none".into(),
        Some(ca) if address.parse::<IpAddr>().is_ok() => format!(" verify required ca-file {ca}"),
        Some(ca) => format!(" verify required ca-file {ca} verifyhost {address} check-sni {address}"),
    };
    if let Some(cert) = &tls.cert {
        words.push_str(&format!(" crt {cert}"));
    }
    words
}

fn server(m: &Server, check: &str, backup: bool) -> String {
    let (address, weight) = (address(&m.address, m.port), m.weight.to_string());
    let backup = if backup { " backup" } else { "" };
    [&m.instance, " ", &address, " ", check, " weight ", &weight, backup].concat()
}

//! What the template of a cluster's keepalived file is given: every decision made, only words left.

use serde::Serialize;

use super::{Interfaces, SERVICE, USER, instance_name};
use crate::daemon::systemd::STABLE_BINARY;
use crate::error::Error;
use crate::inventory::cluster::Cluster;
use crate::render::Layout;
use crate::render::haproxy::vip_socket;
use crate::vip::plane::{Check, RealServer, VirtualServer, reach, url};
use crate::vip::{Duty, Follow, Kind, Mode, Peer, Vip};

#[derive(Serialize)]
pub(super) struct ClusterView {
    cluster: String,
    service: &'static str,
    /// Of the instance and of all that belongs to it.
    name: String,
    dpvs: Option<DpvsView>,
    script: Option<ScriptView>,
    instance: InstanceView,
    servers: Vec<ServerView>,
}

/// What DPVS's own keepalived wants beside the rest.
#[derive(Serialize)]
struct DpvsView {
    interface: String,
    local_addresses: Vec<String>,
}

#[derive(Serialize)]
struct ScriptView {
    call: String,
    timeout: u8,
    fall: u8,
    user: &'static str,
}

#[derive(Serialize)]
struct InstanceView {
    version: u8,
    preempt: bool,
    interface: String,
    vrid: u8,
    priority: u8,
    /// Seconds, as keepalived reads them.
    advert: &'static str,
    password: Option<String>,
    address: String,
    /// Empty for a holder without others, whom unicast has nothing to say to.
    peers: Vec<String>,
    addresses: Vec<String>,
    gateway: Option<String>,
    /// Interfaces beside the instance's own that must be up.
    tracked: Vec<String>,
}

#[derive(Serialize)]
struct ServerView {
    listener: String,
    address: String,
    port: u16,
    algorithm: String,
    kind: &'static str,
    quorum: u16,
    connect_timeout: u8,
    /// A group of local addresses (DPVS).
    local: Option<String>,
    real: Vec<RealView>,
}

#[derive(Serialize)]
struct RealView {
    name: String,
    address: String,
    port: u16,
    weight: u16,
    checks: Vec<CheckView>,
}

#[derive(Serialize)]
struct CheckView {
    kind: &'static str,
    /// The lines of its block.
    lines: Vec<String>,
}

pub(super) fn cluster(
    cluster: &Cluster,
    duty: &Duty,
    servers: &[VirtualServer],
    interfaces: &Interfaces<'_>,
) -> Result<Option<ClusterView>, Error> {
    let Some((index, own)) = duty.holder.and_then(|i| Some((i, duty.holders.get(i)?))) else {
        return Ok(None);
    };
    let vip = &duty.vip;
    let place = format!("cluster '{}'", duty.cluster);
    interfaces.checked(&place)?;
    if vip.auth_pass.is_some() && vip.address.is_ipv6() {
        return Err(Error::new(place, "vip_auth_pass is set, and VRRP has no password for IPv6")
            .hint("leave vip_auth_pass away"));
    }
    let name = instance_name(&duty.cluster);
    let local = vip.dpvs && vip.kind == Kind::Fnat;
    Ok(Some(ClusterView {
        cluster: duty.cluster.clone(),
        service: SERVICE,
        dpvs: vip.dpvs.then(|| DpvsView {
            interface: dpdk(interfaces.vip).to_owned(),
            local_addresses: vip.local_addresses.iter().filter(|_| local).map(ToString::to_string).collect(),
        }),
        script: script(cluster, duty, own, servers)?,
        instance: instance(duty, index, own, interfaces),
        servers: servers.iter().map(|s| server(s, vip, local.then_some(&name))).collect(),
        name,
    }))
}

/// DPVS calls the kernel's side of its interface `dpdk0` `dpdk0.kni`.
fn dpdk(interface: &str) -> &str {
    interface.strip_suffix(".kni").unwrap_or(interface)
}

/// Whom the address follows. A director is asked only whether it is cut off: what is behind it has its own checks.
fn script(
    cluster: &Cluster,
    duty: &Duty,
    own: &Peer,
    servers: &[VirtualServer],
) -> Result<Option<ScriptView>, Error> {
    let vip = &duty.vip;
    let direct = vip.mode == Mode::L4;
    // A demoted primary takes connections it must not have: once is enough. Who only hesitates goes on; of a director that
    // is worth more, as all its checks hesitate at once when the machine does.
    let fall = match vip.follow {
        _ if direct => 3,
        Follow::Primary => 1,
        Follow::Haproxy => 2 - u8::from(vip.fast),
    };
    // The program ends by itself before keepalived would end it.
    let view =
        |argv: &[String], timeout: u8| Some(ScriptView { call: argv.join(" "), timeout, fall, user: USER });
    if direct {
        return Ok(reach(cluster, duty, servers).and_then(|argv| view(&argv, 2)));
    }
    let mut argv = vec![STABLE_BINARY.to_owned(), "check".into()];
    match vip.follow {
        Follow::Haproxy => {
            argv.push(format!("unix:{}:/", vip_socket(&Layout::default(), &duty.cluster).display()))
        }
        Follow::Primary => {
            let Some(m) = cluster.members.iter().find(|m| m.host == own.host) else {
                let what = format!("'{}' is no member, and cannot be the primary", own.host);
                return Err(
                    Error::new(format!("cluster '{}'", duty.cluster), what).hint("use vip_follow: haproxy")
                );
            };
            argv.push(url(m.patroni_ssl, own.address, m.patroni_port, "/primary", 200));
            if m.patroni_ssl {
                argv.extend(cluster.patroni_tls.options());
            }
        }
    }
    let (within, timeout) = if vip.fast { ("900", 2) } else { ("2000", 3) };
    argv.extend(["--within".into(), within.into()]);
    Ok(view(&argv, timeout))
}

fn instance(duty: &Duty, index: usize, own: &Peer, interfaces: &Interfaces<'_>) -> InstanceView {
    let vip = &duty.vip;
    let kni = |name: &str| format!("{}.kni", dpdk(name));
    let on = |address: String, interface: &str| {
        if vip.dpvs { address } else { format!("{address} dev {interface}") }
    };
    let gateway = vip.gateway.filter(|_| vip.mode == Mode::L4 && vip.kind == Kind::Nat);
    let used = [Some(interfaces.vip), gateway.map(|_| interfaces.gateway)];
    let mut tracked: Vec<String> = used
        .into_iter()
        .flatten()
        .filter(|i| *i != interfaces.own && !vip.dpvs)
        .map(ToOwned::to_owned)
        .collect();
    tracked.dedup();
    let mut addresses = vec![on(vip.cidr(), interfaces.vip)];
    addresses.extend(gateway.map(|g| on(g.to_string(), interfaces.gateway)));
    InstanceView {
        version: vip.vrrp_version(),
        preempt: vip.preempt,
        interface: if vip.dpvs { kni(interfaces.own) } else { interfaces.own.to_owned() },
        vrid: vip.vrid,
        priority: Duty::priority(index),
        advert: if vip.fast { "0.2" } else { "1" },
        password: vip.auth_pass.as_ref().map(|p| p.0.clone()),
        address: own.address.to_string(),
        peers: duty.holders.iter().filter(|p| p.host != own.host).map(|p| p.address.to_string()).collect(),
        addresses,
        gateway: gateway.map(|g| g.address.to_string()),
        tracked,
    }
}

fn server(s: &VirtualServer, vip: &Vip, local: Option<&String>) -> ServerView {
    ServerView {
        listener: s.listener.clone(),
        address: s.address.to_string(),
        port: s.port,
        algorithm: s.algorithm.clone(),
        kind: s.kind.word(),
        quorum: s.quorum,
        connect_timeout: if vip.fast { 1 } else { 2 },
        local: local.cloned(),
        real: s.real.iter().map(|r| real(r, vip)).collect(),
    }
}

fn real(r: &RealServer, vip: &Vip) -> RealView {
    RealView {
        name: r.name.clone(),
        address: r.address.to_string(),
        port: r.port,
        weight: r.weight,
        checks: r.checks.iter().map(|c| check(c, vip)).collect(),
    }
}

fn check(c: &Check, vip: &Vip) -> CheckView {
    // Here and not in the virtual server, which takes no 0.
    let retry = format!("retry {}", u8::from(!vip.fast));
    match c {
        Check::Tcp { port } => {
            CheckView { kind: "TCP_CHECK", lines: vec![format!("connect_port {port}"), retry] }
        }
        Check::Http { port, ssl, path, code } => CheckView {
            kind: if *ssl { "SSL_GET" } else { "HTTP_GET" },
            lines: vec![
                format!("connect_port {port}"),
                retry,
                "url {".into(),
                format!("    path \"{path}\""),
                format!("    status_code {code}"),
                "}".into(),
            ],
        },
        Check::Program { argv } => CheckView {
            kind: "MISC_CHECK",
            lines: vec![
                format!("misc_path \"{}\"", argv.join(" ")),
                format!("misc_timeout {}", if vip.fast { 2 } else { 3 }),
                retry,
                format!("user {USER}"),
            ],
        },
    }
}

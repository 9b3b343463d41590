//! What the kernel does for a VIP against what was planned: who holds the address, and where IPVS leads. Whether a
//! member is healthy is not judged here: a real server that is missing failed its check.

pub mod table;

use std::io;
use std::net::IpAddr;
use std::path::Path;

use crate::daemon::keepalived::IPVS;
use crate::host::System;
use crate::vip::Kind;

use table::Server;

/// A virtual server as it was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub address: IpAddr,
    pub port: u16,
    pub real: Vec<Real>,
}

/// One of its real servers, healthy or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Real {
    pub address: IpAddr,
    pub port: u16,
    pub weight: u32,
    pub kind: Kind,
}

/// The kernel's virtual servers; none where IPVS is not loaded.
///
/// # Errors
/// When the table is there and cannot be read.
pub fn read(sys: &dyn System) -> io::Result<Vec<Server>> {
    match sys.read(Path::new(IPVS)) {
        Ok(bytes) => Ok(table::parse(&bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// Whether this node has an address now.
///
/// # Errors
/// When the kernel does not say.
pub fn holds(sys: &dyn System, address: IpAddr) -> io::Result<bool> {
    Ok(sys.addresses()?.contains(&address))
}

/// What of the table contradicts the plan. Virtual servers of addresses that are not planned are somebody else's.
#[must_use]
pub fn compare(planned: &[Planned], table: &[Server]) -> Vec<String> {
    let mut findings = Vec::new();
    for p in planned {
        let name = name(p.address, p.port);
        let is = |s: &&Server| s.protocol == "TCP" && s.address == p.address && s.port == p.port;
        match table.iter().find(is) {
            None => findings.push(format!("the virtual server {name} is not in the kernel's table")),
            Some(server) => findings
                .extend(server.real.iter().filter_map(|r| wrong(p, r)).map(|w| format!("{name}: {w}"))),
        }
    }
    for s in table.iter().filter(|s| planned.iter().any(|p| p.address == s.address)) {
        let is_planned =
            planned.iter().any(|p| s.protocol == "TCP" && p.address == s.address && p.port == s.port);
        if !is_planned {
            let name = name(s.address, s.port);
            findings.push(format!(
                "the virtual server {name} ({}) is not in the plan",
                s.protocol.to_lowercase()
            ));
        }
    }
    findings
}

/// What is wrong with a real server of the table.
fn wrong(p: &Planned, real: &table::Real) -> Option<String> {
    let place = name(real.address, real.port);
    let Some(planned) = p.real.iter().find(|r| r.address == real.address && r.port == real.port) else {
        return Some(format!("the real server {place} is not in the plan"));
    };
    let forward = forward(planned.kind);
    if real.forward != forward {
        let kind = planned.kind.word();
        return Some(format!(
            "the real server {place} is reached by {}, not {forward} ({kind})",
            real.forward
        ));
    }
    (real.weight != planned.weight)
        .then(|| format!("the real server {place} has weight {}, not {}", real.weight, planned.weight))
}

/// The kernel's word (ip_vs.h, ip_vs_fwd_tag).
fn forward(kind: Kind) -> &'static str {
    match kind {
        // FNAT is DPVS's, which has no such table; the closest is said.
        Kind::Nat | Kind::Fnat => "Masq",
        Kind::Dr => "Route",
        Kind::Tun => "Tunnel",
    }
}

fn name(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeSystem;

    fn planned() -> Vec<Planned> {
        let real =
            |n: u8| Real { address: IpAddr::from([192, 0, 2, n]), port: 6432, weight: 100, kind: Kind::Nat };
        vec![Planned { address: IpAddr::from([192, 0, 2, 10]), port: 5433, real: vec![real(21), real(22)] }]
    }

    fn found(text: &str) -> Vec<String> {
        compare(&planned(), &table::parse(text.as_bytes()))
    }

    const HEAD: &str = "TCP  C000020A:1539 wlc\n";
    const GOOD: &str = "  -> C0000215:1920      Masq    100    3          1\n";

    #[test]
    fn the_planned_table_and_fewer_real_servers_are_right() {
        let both = format!("{HEAD}{GOOD}{}", GOOD.replace("215", "216"));
        assert_eq!(found(&both), [""; 0]);
        assert_eq!(found(&format!("{HEAD}{GOOD}")), [""; 0], "the other one is not healthy");
        assert_eq!(found(HEAD), [""; 0]);
    }

    #[test]
    fn every_contradiction_is_named() {
        assert_eq!(found(""), ["the virtual server 192.0.2.10:5433 is not in the kernel's table"]);
        assert_eq!(found("UDP  C000020A:1539 wlc\n").len(), 2);
        for (real, said) in [
            (GOOD.replace("215", "217"), "the real server 192.0.2.23:6432 is not in the plan"),
            (GOOD.replace("1920", "1538"), "the real server 192.0.2.21:5432 is not in the plan"),
            (
                GOOD.replace("Masq ", "Route"),
                "the real server 192.0.2.21:6432 is reached by Route, not Masq (NAT)",
            ),
            (GOOD.replace("100", "0  "), "the real server 192.0.2.21:6432 has weight 0, not 100"),
        ] {
            assert_eq!(found(&format!("{HEAD}{real}")), [format!("192.0.2.10:5433: {said}")]);
        }
    }

    #[test]
    fn a_stranger_under_our_address_is_named_and_one_elsewhere_is_not() {
        let text = format!("{HEAD}TCP  C000020A:0050 rr\nTCP  C000020B:0050 rr\n");
        assert_eq!(found(&text), ["the virtual server 192.0.2.10:80 (tcp) is not in the plan"]);
    }

    #[test]
    fn a_kernel_without_ipvs_has_no_virtual_servers() {
        let sys = FakeSystem::default();
        assert_eq!(read(&sys).unwrap(), []);
        assert!(holds(&sys, IpAddr::from([127, 0, 0, 1])).unwrap());
        assert!(!holds(&sys, IpAddr::from([192, 0, 2, 10])).unwrap());
    }
}

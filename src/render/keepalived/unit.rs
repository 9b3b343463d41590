//! What the kernel of a director or of a real server needs before keepalived and HAProxy start, command by command and
//! never by a shell. Settings that others may rely on as well are not taken back at a stop; addresses and routes are.

use serde::Serialize;

use super::{Interfaces, SERVICE};
use crate::error::Error;
use crate::vip::{Duty, Kind, Mode, Net};

#[derive(Serialize)]
pub(super) struct UnitView {
    cluster: String,
    service: &'static str,
    start: Vec<String>,
    stop: Vec<String>,
}

/// The unit's name.
#[must_use]
pub fn name(cluster: &str) -> String {
    format!("pgsvc-vip-{cluster}.service")
}

/// What is done at a start, and what is taken back at a stop.
#[derive(Default)]
struct Steps {
    start: Vec<String>,
    stop: Vec<String>,
}

impl Steps {
    fn module(&mut self, name: &str) {
        self.start.push(format!("/sbin/modprobe {name}"));
    }

    /// With slashes, for an interface's name may hold a dot.
    fn sysctl(&mut self, name: &str, value: u8) {
        self.start.push(format!("/sbin/sysctl -w net/{name}={value}"));
    }

    fn address(&mut self, duty: &Duty, interface: &str) {
        let vip = Net { address: duty.vip.address, prefix: Net::width(duty.vip.address) };
        // Preferred for nothing: the node's own connections must not come from an address that others answer for.
        let unused = if duty.vip.address.is_ipv6() { " preferred_lft 0" } else { "" };
        self.start.push(format!("/sbin/ip address replace {vip} dev {interface}{unused}"));
        self.stop.push(format!("/sbin/ip address del {vip} dev {interface}"));
    }
}

pub(super) fn view(duty: &Duty, interfaces: &Interfaces<'_>) -> Result<Option<UnitView>, Error> {
    interfaces.checked(&format!("cluster '{}'", duty.cluster))?;
    let mut steps = Steps::default();
    // DPVS has a network stack of its own, and what it passes on needs nothing of a real server.
    if duty.vip.mode == Mode::L4 && !duty.vip.dpvs {
        if duty.directs() {
            director(duty, interfaces, &mut steps);
        }
        if duty.real_server {
            real_server(duty, &mut steps);
        }
    }
    if steps.start.is_empty() {
        return Ok(None);
    }
    let Steps { start, stop } = steps;
    Ok(Some(UnitView { cluster: duty.cluster.clone(), service: SERVICE, start, stop }))
}

fn director(duty: &Duty, interfaces: &Interfaces<'_>, steps: &mut Steps) {
    steps.module("ip_vs");
    steps.module(&format!("ip_vs_{}", duty.vip.algorithm));
    // Sessions on a member that left are reset; without this their packets vanish and the clients hang.
    steps.sysctl("ipv4/vs/expire_nodest_conn", 1);
    if duty.vip.kind != Kind::Nat {
        return;
    }
    if duty.vip.address.is_ipv6() {
        steps.sysctl("ipv6/conf/all/forwarding", 1);
        return;
    }
    steps.sysctl("ipv4/ip_forward", 1);
    // Where clients and members share a network, a redirect would lead answers past the director.
    let mut names = vec!["all", "default", interfaces.own, interfaces.vip, interfaces.gateway];
    let mut seen = Vec::new();
    names.retain(|n| {
        !seen.contains(n) && {
            seen.push(*n);
            true
        }
    });
    for name in names {
        steps.sysctl(&format!("ipv4/conf/{name}/send_redirects"), 0);
    }
}

fn real_server(duty: &Duty, steps: &mut Steps) {
    let six = duty.vip.address.is_ipv6();
    match duty.vip.kind {
        Kind::Nat => {
            let Some(gateway) = duty.vip.gateway else { return };
            for net in duty.vip.clients.iter().filter(|n| n.address.is_ipv6() == six) {
                steps.start.push(format!("/sbin/ip route replace {net} via {}", gateway.address));
                steps.stop.push(format!("/sbin/ip route del {net} via {}", gateway.address));
            }
        }
        Kind::Dr => {
            quiet(six, steps);
            steps.address(duty, "lo");
        }
        Kind::Tun if six => {
            steps.module("ip6_tunnel");
            steps.start.push("/sbin/ip link set ip6tnl0 up".into());
            steps.address(duty, "ip6tnl0");
        }
        Kind::Tun => {
            steps.module("ipip");
            quiet(six, steps);
            // What comes out of the tunnel answers by another interface: looser, for `all` is strict on many systems.
            steps.sysctl("ipv4/conf/tunl0/rp_filter", 2);
            steps.start.push("/sbin/ip link set tunl0 up".into());
            steps.address(duty, "tunl0");
        }
        Kind::Fnat => {}
    }
}

/// The director alone answers for the VIP. IPv6 says of an interface's own addresses only, without being told.
fn quiet(six: bool, steps: &mut Steps) {
    if !six {
        steps.sysctl("ipv4/conf/all/arp_ignore", 1);
        steps.sysctl("ipv4/conf/all/arp_announce", 2);
    }
}

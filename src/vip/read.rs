//! Variables → a VIP. Every error at once.

use super::*;
use crate::error::Kind as Wrong;

const ALGORITHMS: [&str; 10] = ["rr", "wrr", "lc", "wlc", "sh", "mh", "dh", "fo", "ovf", "nq"];

/// Reads a cluster's VIP; `None` where it has none.
///
/// # Errors
/// Into `errors`: values of the wrong type or out of range, and what contradicts itself.
pub fn parse(cluster: &str, shared: &Vars, errors: &mut Errors) -> Option<Vip> {
    let mut r = Reader { vars: shared, place: format!("cluster '{cluster}'"), errors };
    let mode = r.mode()?;
    let (address, mask) = r.address()?;
    let prefix = r.prefix(address, mask);
    let to = match r.one_of("vip_to", &["haproxy", "members"]) {
        Some("members") => To::Members,
        _ => To::Haproxy,
    };
    let follow = match r.one_of("vip_follow", &["primary", "haproxy"]) {
        Some("haproxy") => Follow::Haproxy,
        Some(_) => Follow::Primary,
        // Nodes of their own are no members, and cannot be the primary.
        None if r.is_given("pg_service_provider") || r.is_given("vip_provider") => Follow::Haproxy,
        None => Follow::Primary,
    };
    let dpvs = r.flag("vip_dpvs").unwrap_or(false);
    let kind = match r.one_of("lb_kind", &["NAT", "DR", "TUN", "FNAT"]) {
        Some("NAT") => Kind::Nat,
        Some("DR") => Kind::Dr,
        Some("TUN") => Kind::Tun,
        Some(_) => Kind::Fnat,
        None if dpvs => Kind::Fnat,
        None if to == To::Members => Kind::Nat,
        None => Kind::Dr,
    };
    let algorithm = r.one_of("lb_algo", &ALGORITHMS).unwrap_or("wlc").to_owned();
    let vrid = r.number("vip_vrid", 1, 255).and_then(|n| u8::try_from(n).ok());
    let auth_pass = r.auth_pass();
    let fast = r.one_of("vip_timing", &["normal", "fast"]) == Some("fast");
    let vip = Vip {
        mode,
        address,
        prefix,
        follow,
        to,
        kind,
        algorithm,
        vrid: vrid.unwrap_or_else(|| derived(cluster)),
        auth_pass,
        fast,
        preempt: r.flag("vip_preempt").unwrap_or(false),
        gateway: r.net("vip_gateway"),
        clients: r.nets("vip_clients"),
        provider: r.word("vip_provider"),
        check_port: r.port("vip_check_port").unwrap_or(9102),
        dpvs,
        local_addresses: r.nets("vip_local_addresses").into_iter().map(|n| n.address).collect(),
    };
    contradictions(&mut r, &vip);
    Some(vip)
}

/// A cluster's own VRID where none is given: FNV-1a of its name, folded to 1..=255.
fn derived(cluster: &str) -> u8 {
    let hash = cluster.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    u8::try_from(hash % 255).unwrap_or(0).saturating_add(1)
}

fn contradictions(r: &mut Reader<'_>, vip: &Vip) {
    if vip.auth_pass.is_some() && vip.fast {
        r.unable(
            "vip_auth_pass and vip_timing: fast cannot be had together".into(),
            "VRRP version 3, which fast adverts need, has no password: leave one of the two away",
        );
    }
    if vip.kind == Kind::Fnat && !vip.dpvs {
        r.unable(
            "lb_kind: FNAT is not in the Linux kernel's IPVS".into(),
            "use NAT, DR or TUN, or set vip_dpvs: true for a director with DPVS",
        );
    }
    if vip.dpvs && vip.kind == Kind::Fnat && vip.local_addresses.is_empty() {
        r.unable("lb_kind: FNAT needs vip_local_addresses".into(), "a list of the director's own addresses");
    }
    if vip.mode == Mode::L4
        && vip.to == To::Haproxy
        && vip.kind.maps_ports()
        && vip.gateway.is_none()
        && !vip.dpvs
    {
        r.unable(
            "lb_kind: NAT needs vip_gateway, by which answers come back through the director".into(),
            "set vip_gateway and vip_clients, or lb_kind: DR",
        );
    } else if vip.mode == Mode::L4
        && vip.kind == Kind::Nat
        && (vip.gateway.is_none() || vip.clients.is_empty())
    {
        r.unable(
            "lb_kind: NAT needs vip_gateway and vip_clients".into(),
            "the address on the directors that members answer through, and the networks that clients come from",
        );
    }
    if let Some(gateway) = vip.gateway.filter(|g| g.address.is_ipv4() != vip.address.is_ipv4()) {
        r.unable(
            format!("vip_gateway: {gateway} is of another family than the VIP"),
            "use addresses of one family",
        );
    }
}

struct Reader<'a> {
    vars: &'a Vars,
    place: String,
    errors: &'a mut Errors,
}

impl Reader<'_> {
    fn unable(&mut self, what: String, hint: &str) {
        self.errors.push(Error::new(self.place.clone(), what).hint(hint).kind(Wrong::VipUnable));
    }

    fn push(&mut self, what: String, hint: &str) {
        self.errors.push(Error::new(self.place.clone(), what).hint(hint));
    }

    fn read<T>(&mut self, name: &str, read: impl FnOnce(&str, &Value) -> Result<T, Error>) -> Option<T> {
        let v = value::given(self.vars.get(name))?;
        self.errors.take(read(name, v).map_err(|e| e.within(&self.place)))
    }

    fn is_given(&self, name: &str) -> bool {
        value::given(self.vars.get(name)).is_some()
    }

    fn one_of(&mut self, name: &str, known: &[&'static str]) -> Option<&'static str> {
        let text = self.read(name, value::text)?;
        let found = known.iter().find(|k| k.eq_ignore_ascii_case(&text)).copied();
        if found.is_none() {
            let hint = format!("one of {}", known.join(", "));
            self.push(format!("{name}: '{}' is not valid", text.escape_debug()), &hint);
        }
        found
    }

    fn flag(&mut self, name: &str) -> Option<bool> {
        self.read(name, value::boolean)
    }

    fn number(&mut self, name: &str, low: u64, high: u64) -> Option<u64> {
        self.read(name, |n, v| value::integer(n, v, low, high))
    }

    fn port(&mut self, name: &str) -> Option<u16> {
        self.read(name, value::port)
    }

    fn word(&mut self, name: &str) -> Option<String> {
        self.read(name, |n, v| value::word(n, v, "-_.", 63))
    }

    /// `vip_mode` alone: an address that today's `pg_vip_enabled` names is carried by vip-manager, and two who carry one
    /// address make two holders.
    fn mode(&mut self) -> Option<Mode> {
        match self.one_of("vip_mode", &["none", "l2", "l4"])? {
            "l2" => Some(Mode::L2),
            "l4" => Some(Mode::L4),
            _ => None,
        }
    }

    /// The address, and the mask that may be written behind it.
    fn address(&mut self) -> Option<(IpAddr, Option<u8>)> {
        let name =
            ["vip_address", "pg_vip_address"].into_iter().find(|n| value::given(self.vars.get(n)).is_some());
        let Some(name) = name else {
            let what = "vip_mode is set, and the cluster has no vip_address";
            let error = Error::new(self.place.clone(), what).hint("set vip_address, or vip_mode: none");
            self.errors.push(error.kind(Wrong::NoVip));
            return None;
        };
        let text = self.read(name, value::text)?;
        let Ok(net) = text.parse::<Net>() else {
            // The cluster's own reading of the address says what is wrong with it; a bad mask is only seen here.
            if text.split('/').next().is_some_and(|a| a.parse::<IpAddr>().is_ok()) {
                self.push(
                    format!("{name}: '{}' has no valid mask", text.escape_debug()),
                    "write it as 192.0.2.10/24",
                );
            }
            return None;
        };
        let unusable =
            net.address.is_unspecified() || net.address.is_loopback() || net.address.is_multicast();
        if unusable {
            self.push(
                format!("{name}: {} cannot be a VIP", net.address),
                "an address of the clients' network",
            );
            return None;
        }
        Some((net.address, text.contains('/').then_some(net.prefix)))
    }

    fn prefix(&mut self, address: IpAddr, written: Option<u8>) -> u8 {
        let most = Net::width(address);
        let given = self.number("vip_cidrmask", 1, u64::from(most)).and_then(|n| u8::try_from(n).ok());
        if let (Some(a), Some(b)) = (given, written)
            && a != b
        {
            self.push(format!("vip_address says /{b}, and vip_cidrmask {a}"), "say it once");
        }
        given.or(written).unwrap_or(if address.is_ipv4() { 24 } else { 64 })
    }

    /// keepalived uses eight characters and drops the rest without a word.
    fn auth_pass(&mut self) -> Option<Secret> {
        let text = value::given(self.vars.get("vip_auth_pass")).map(|v| value::text("vip_auth_pass", v))?;
        let fine =
            text.as_ref().is_ok_and(|t| t.chars().all(|c| c.is_ascii_graphic() && !"\"#!{}\\".contains(c)));
        match text {
            Ok(t) if fine && t.len() <= 8 => Some(Secret(t)),
            Ok(t) if fine => {
                let what = format!("vip_auth_pass has {} characters, and VRRP knows eight", t.len());
                self.push(what, "shorten it to the eight that count");
                None
            }
            _ => {
                self.push(
                    "vip_auth_pass holds what cannot stand in keepalived's file".into(),
                    "at most eight letters, digits and signs, without blanks, quotes, #, !, braces and backslashes",
                );
                None
            }
        }
    }

    fn net(&mut self, name: &'static str) -> Option<Net> {
        let text = self.read(name, value::text)?;
        let read = text.parse().ok();
        if read.is_none() {
            self.push(format!("{name}: '{}' is no address", text.escape_debug()), "write it as 192.0.2.1/24");
        }
        read
    }

    fn nets(&mut self, name: &'static str) -> Vec<Net> {
        let entries = match value::given(self.vars.get(name)) {
            None => return Vec::new(),
            Some(Value::Array(list)) => list.clone(),
            Some(one) => vec![one.clone()],
        };
        let mut nets = Vec::new();
        for entry in entries {
            match value::text(name, &entry).ok().and_then(|t| t.trim().parse().ok()) {
                Some(net) => nets.push(net),
                None => {
                    let what = format!("{name}: {} is no address or network", value::show(&entry));
                    self.push(what, "a list of networks: [10.0.0.0/8]");
                }
            }
        }
        nets
    }
}

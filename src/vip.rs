//! A cluster's virtual IP as its operator defined it: defaults filled in, every error at once. Which node does what for
//! it is decided in `duty`, what the director balances in `plane`; nothing here knows keepalived's words.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Errors};
use crate::inventory::Vars;
use crate::settings::Secret;
use crate::value;

pub mod duty;
#[cfg(test)]
pub(crate) mod fixture;
mod net;
pub mod plane;
mod read;

pub use duty::{Duty, Peer};
pub use net::Net;
pub use read::parse;

/// `vip_mode`, where it is not `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// An address that one node holds, by VRRP.
    L2,
    /// An address whose holder (the active director) spreads connections, by IPVS.
    L4,
}

/// `vip_follow`: whom an L2 address sits with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Follow {
    /// The member that Patroni calls the primary.
    Primary,
    /// Any node whose own HAProxy serves.
    Haproxy,
}

/// `vip_to`: what the directors of an L4 address lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum To {
    /// All HAProxy nodes, on the service's own port.
    Haproxy,
    /// The members of the service, on their target port.
    Members,
}

/// `lb_kind`: how a director passes packets on (keepalived.conf(5), "lvs_method").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    Nat,
    Dr,
    Tun,
    /// DPVS only: both addresses are translated.
    Fnat,
}

impl Kind {
    /// keepalived's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Nat => "NAT",
            Self::Dr => "DR",
            Self::Tun => "TUN",
            Self::Fnat => "FNAT",
        }
    }

    /// Whether the real server may listen on another port than the virtual one: only where addresses are translated.
    #[must_use]
    pub fn maps_ports(self) -> bool {
        matches!(self, Self::Nat | Self::Fnat)
    }
}

/// A virtual IP, all defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Vip {
    pub mode: Mode,
    pub address: IpAddr,
    /// Bits of the address's network.
    pub prefix: u8,
    /// Of an L2 address.
    pub follow: Follow,
    /// Of an L4 address.
    pub to: To,
    pub kind: Kind,
    /// `lb_algo`, IPVS's scheduler.
    pub algorithm: String,
    /// VRRP's virtual router id, 1 to 255: two clusters whose nodes hear each other need two.
    pub vrid: u8,
    /// VRRP version 2's password: exactly what keepalived uses of it, at most eight characters. Selects version 2.
    #[serde(skip)]
    pub auth_pass: Option<Secret>,
    /// `vip_timing: fast`: adverts every 0.2 s instead of every second.
    pub fast: bool,
    /// A better node takes the address back when it returns.
    pub preempt: bool,
    /// The members' gateway to the clients, held by the active director (NAT).
    pub gateway: Option<Net>,
    /// Networks that clients come from: what members send there goes back through the director (NAT).
    pub clients: Vec<Net>,
    /// A group of nodes that carry the address; without it, an L2 address is carried by the nodes with HAProxy.
    pub provider: Option<String>,
    /// The port of HAProxy's word on itself, asked by directors.
    pub check_port: u16,
    /// Rendered for DPVS instead of the kernel's IPVS.
    pub dpvs: bool,
    /// DPVS's local addresses (FNAT).
    pub local_addresses: Vec<IpAddr>,
}

impl Vip {
    /// VRRP's version: 3 has no authentication, 2 no adverts of less than a second (RFC 5798; keepalived refuses both).
    #[must_use]
    pub fn vrrp_version(&self) -> u8 {
        if self.auth_pass.is_some() { 2 } else { 3 }
    }

    /// `192.0.2.10/24`.
    #[must_use]
    pub fn cidr(&self) -> String {
        format!("{}/{}", self.address, self.prefix)
    }
}

/// The variables of a VIP that are the cluster's.
pub const SHARED: [&str; 19] = [
    "vip_mode",
    "vip_cidrmask",
    "vip_follow",
    "vip_to",
    "vip_vrid",
    "vip_auth_pass",
    "vip_timing",
    "vip_preempt",
    "vip_gateway",
    "vip_clients",
    "vip_provider",
    "vip_check_port",
    "vip_dpvs",
    "vip_local_addresses",
    "lb_kind",
    "lb_algo",
    "vip_address",
    "pg_vip_address",
    "pg_service_provider",
];

/// The variables that name a host's interface: its own, and today's.
pub const INTERFACE: [&str; 2] = ["vip_interface", "pg_vip_interface"];

#[cfg(test)]
mod tests;

//! The daemons pgsvc configures. What they are told is decided by the transaction; how to tell them is known here.

pub mod haproxy;
pub mod interfaces;
pub mod keepalived;
pub mod metrics_unit;
pub mod own_unit;
pub mod ports;
pub mod systemd;
pub mod watch_unit;

use std::path::PathBuf;

/// Where HAProxy and pgsvc meet on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    pub config: PathBuf,
    pub conf_d: PathBuf,
    pub dropin: PathBuf,
    pub stats_socket: PathBuf,
    pub master_socket: PathBuf,
    pub pidfile: PathBuf,
    pub state_dir: PathBuf,
    /// States that servers begin with: written for one start or reload, and gone after it, as it is after a reboot.
    pub server_state: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            config: "/etc/haproxy/haproxy.cfg".into(),
            conf_d: "/etc/haproxy/conf.d".into(),
            dropin: "/etc/systemd/system/haproxy.service.d/pgsvc.conf".into(),
            stats_socket: "/run/haproxy/admin.sock".into(),
            master_socket: "/run/haproxy-master.sock".into(),
            pidfile: "/run/haproxy.pid".into(),
            state_dir: "/var/lib/pgsvc".into(),
            server_state: "/run/pgsvc/servers".into(),
        }
    }
}

#[cfg(test)]
mod tests;

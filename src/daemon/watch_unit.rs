//! `pgsvc-watch.service`: what it says. When it is wanted is decided by the callers.

use super::own_unit::OwnUnit;
use super::{Paths, systemd};

pub const OWN: OwnUnit = OwnUnit {
    name: "pgsvc-watch.service",
    path: "/etc/systemd/system/pgsvc-watch.service",
    link: "/etc/systemd/system/multi-user.target.wants/pgsvc-watch.service",
    beside: None,
};

/// The unit. It asks HAProxy's sockets, Patroni and the kernel, and writes nothing but the lock's time; that is root's
/// to do, as the sockets and the kept request are.
#[must_use]
pub fn unit(paths: &Paths) -> String {
    let state = paths.state_dir.display();
    format!(
        "# Managed by pgsvc: changes are overwritten.\n\
         [Unit]\n\
         Description=Cuts sessions on members of PostgreSQL clusters that lost the role their service needs\n\
         After=haproxy.service network-online.target\n\
         Wants=network-online.target\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         ExecStart={binary} verify --watch --fix\n\
         Restart=always\n\
         RestartSec=2\n\
         Nice=5\n\
         CPUQuota=20%\n\
         MemoryMax=256M\n\
         TasksMax=160\n\
         LimitNOFILE=16384\n\
         OOMScoreAdjust=200\n\
         ProtectSystem=strict\n\
         ReadWritePaths=-{state}\n\
         ProtectHome=yes\n\
         PrivateTmp=yes\n\
         PrivateDevices=yes\n\
         ProtectKernelTunables=yes\n\
         ProtectKernelModules=yes\n\
         ProtectKernelLogs=yes\n\
         ProtectControlGroups=yes\n\
         ProtectClock=yes\n\
         ProtectHostname=yes\n\
         NoNewPrivileges=yes\n\
         CapabilityBoundingSet=CAP_DAC_OVERRIDE\n\
         RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n\
         RestrictNamespaces=yes\n\
         RestrictRealtime=yes\n\
         RestrictSUIDSGID=yes\n\
         LockPersonality=yes\n\
         MemoryDenyWriteExecute=yes\n\
         SystemCallArchitectures=native\n\
         SystemCallFilter=@system-service\n\
         UMask=0077\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        binary = systemd::STABLE_BINARY,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_runs_the_stable_binary_and_comes_back_after_every_end() {
        let text = unit(&Paths::default());
        assert!(text.contains("\nExecStart=/usr/local/lib/pgsvc/pgsvc verify --watch --fix\n"), "{text}");
        assert!(text.contains("\nRestart=always\n") && text.contains("\nReadWritePaths=-/var/lib/pgsvc\n"));
        assert!(text.starts_with(crate::render::haproxy::MARK));
    }
}

//! `pgsvc-watch.service`: what it says, and that it runs. When it is wanted is decided by the callers.

use std::path::Path;

use super::{Paths, systemd};
use crate::error::Error;
use crate::host::System;

pub const NAME: &str = "pgsvc-watch.service";
pub const PATH: &str = "/etc/systemd/system/pgsvc-watch.service";
/// What enabling makes.
const LINK: &str = "/etc/systemd/system/multi-user.target.wants/pgsvc-watch.service";

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

/// Makes the unit run and start at boot, or not, as its file is there or not. Where the link is as it should be and the
/// text is not new, systemd is not asked.
///
/// # Errors
/// When systemd refuses.
pub fn settle(sys: &dyn System, is_new: bool) -> Result<(), Error> {
    let there = |path: &str| sys.stat(Path::new(path)).is_ok_and(|s| s.is_some());
    match (there(PATH), there(LINK)) {
        (true, true) if is_new => systemd::tell(sys, "restart", NAME),
        (true, true) | (false, false) => Ok(()),
        (true, false) => systemd::enable(sys, NAME),
        (false, true) => {
            systemd::tell(sys, "stop", NAME)?;
            let fail = |e| Error::new(LINK, format!("cannot be removed: {e}"));
            sys.remove_file(Path::new(LINK)).map_err(fail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Output;
    use crate::host::fake::{FakeFile, FakeSystem};

    fn done(unit: bool, link: bool, is_new: bool) -> Vec<String> {
        let mut sys = FakeSystem::default();
        sys.runs = Box::new(|_| Ok(Output::default()));
        for (path, there) in [(PATH, unit), (LINK, link)] {
            if there {
                sys.put(path, FakeFile::default());
            }
        }
        settle(&sys, is_new).unwrap();
        std::mem::take(&mut sys.state().effects)
    }

    #[test]
    fn systemd_is_told_only_where_something_is_to_change() {
        assert_eq!(done(true, true, false), [] as [String; 0]);
        assert_eq!(done(false, false, false), [] as [String; 0]);
        assert_eq!(done(true, true, true), ["run systemctl restart pgsvc-watch.service"]);
        assert_eq!(done(true, false, true), ["run systemctl enable --now pgsvc-watch.service"]);
        let gone = ["run systemctl stop pgsvc-watch.service".to_owned(), format!("remove {LINK}")];
        assert_eq!(done(false, true, false), gone);
    }

    #[test]
    fn the_unit_runs_the_stable_binary_and_comes_back_after_every_end() {
        let text = unit(&Paths::default());
        assert!(text.contains("\nExecStart=/usr/local/lib/pgsvc/pgsvc verify --watch --fix\n"), "{text}");
        assert!(text.contains("\nRestart=always\n") && text.contains("\nReadWritePaths=-/var/lib/pgsvc\n"));
        assert!(text.starts_with(crate::render::haproxy::MARK));
    }
}

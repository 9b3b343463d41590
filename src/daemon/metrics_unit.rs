//! `pgsvc-metrics.timer` and the service that it runs: what they say. When they are wanted is decided by the callers.

use std::path::Path;

use super::own_unit::OwnUnit;
use super::{Paths, systemd};

/// The oneshot; nobody enables it.
pub const SERVICE: &str = "/etc/systemd/system/pgsvc-metrics.service";
pub const OWN: OwnUnit = OwnUnit {
    name: "pgsvc-metrics.timer",
    path: "/etc/systemd/system/pgsvc-metrics.timer",
    link: "/etc/systemd/system/timers.target.wants/pgsvc-metrics.timer",
    beside: Some(SERVICE),
};
/// Seconds between two runs.
const EVERY: u32 = 30;
const EXEC: &str = "verify --metrics ";

/// The oneshot: it asks as `pgsvc verify` does and writes one file. A wrong port is what it is there to tell, and no
/// failure of its own; what it says of a run that could not be made goes to the journal, and systemd's own lines about a
/// unit that runs twice a minute do not.
#[must_use]
pub fn service(paths: &Paths, file: &Path) -> String {
    let state = paths.state_dir.display();
    let dir = file.parent().unwrap_or(Path::new("/")).display();
    format!(
        "# Managed by pgsvc: changes are overwritten.\n\
         [Unit]\n\
         Description=Verifies every port of PostgreSQL clusters, for Prometheus\n\
         After=haproxy.service network-online.target\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         ExecStart={binary} {EXEC}{file}\n\
         SuccessExitStatus=3\n\
         TimeoutStartSec=120\n\
         SyslogLevel=warning\n\
         LogLevelMax=notice\n\
         Nice=5\n\
         CPUQuota=20%\n\
         MemoryMax=256M\n\
         TasksMax=640\n\
         OOMScoreAdjust=200\n\
         ProtectSystem=strict\n\
         ReadWritePaths=-{dir} -{state}\n\
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
         CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_SYS_PTRACE\n\
         RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n\
         RestrictNamespaces=yes\n\
         RestrictRealtime=yes\n\
         RestrictSUIDSGID=yes\n\
         LockPersonality=yes\n\
         MemoryDenyWriteExecute=yes\n\
         SystemCallArchitectures=native\n\
         SystemCallFilter=@system-service\n\
         UMask=0077\n",
        binary = systemd::STABLE_BINARY,
        file = file.display(),
    )
}

/// The timer.
#[must_use]
pub fn timer() -> String {
    format!(
        "# Managed by pgsvc: changes are overwritten.\n\
         [Unit]\n\
         Description=Verifies every port of PostgreSQL clusters, for Prometheus, every {EVERY} s\n\
         \n\
         [Timer]\n\
         OnActiveSec=1\n\
         OnUnitActiveSec={EVERY}\n\
         AccuracySec=1\n\
         \n\
         [Install]\n\
         WantedBy=timers.target\n"
    )
}

/// The file that a service of ours writes.
#[must_use]
pub fn file(service: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(service);
    let line = text.lines().find_map(|l| l.strip_prefix("ExecStart="))?;
    line.split_once(EXEC).map(|(_, file)| file.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_runs_the_stable_binary_and_may_write_beside_its_file_only() {
        let text = service(&Paths::default(), Path::new("/var/lib/x/pgsvc.prom"));
        assert!(
            text.contains("\nExecStart=/usr/local/lib/pgsvc/pgsvc verify --metrics /var/lib/x/pgsvc.prom\n"),
            "{text}"
        );
        assert!(
            text.contains("\nProtectSystem=strict\nReadWritePaths=-/var/lib/x -/var/lib/pgsvc\n"),
            "{text}"
        );
        assert!(text.contains("\nSuccessExitStatus=3\n") && !text.contains("[Install]"));
        assert!(
            text.starts_with(crate::render::haproxy::MARK)
                && timer().starts_with(crate::render::haproxy::MARK)
        );
        assert_eq!(file(text.as_bytes()).as_deref(), Some("/var/lib/x/pgsvc.prom"));
    }

    #[test]
    fn a_strange_service_names_no_file() {
        assert_eq!(file(b"[Service]\nExecStart=/bin/true\n"), None);
        assert_eq!(file(b""), None);
    }
}

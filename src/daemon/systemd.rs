//! systemd, by `systemctl` and `journalctl`. When a unit is reloaded or restarted is decided by the callers.

use std::path::Path;
use std::time::Duration;

use super::Paths;
use crate::error::Error;
use crate::host::{Command, System};

/// A reload runs the unit's own check and recovery first; a start waits for the daemon's word that it is ready.
const TIMEOUT: Duration = Duration::from_secs(60);
const ASK: Duration = Duration::from_secs(10);
/// Where the binary installs itself, so that units outlive an upgrade of whatever brought it.
pub const STABLE_BINARY: &str = "/usr/local/lib/pgsvc/pgsvc";

/// The drop-in that makes the distribution's unit read `conf.d` and open the master socket, and that recovers an
/// unfinished transaction and seeds the servers' states before a start and before a reload, whoever asked for them.
#[must_use]
pub fn dropin(paths: &Paths, haproxy: &Path) -> String {
    let haproxy = haproxy.display();
    let files = format!("-f {} -f {}", paths.config.display(), paths.conf_d.display());
    let pidfile = paths.pidfile.display();
    let master = master_socket(paths, true);
    // `-`: neither a failing recovery nor a failing seed may stop HAProxy from starting; `+`: not in the unit's read-only view of /etc.
    let own = |verb: &str| format!("-+/usr/bin/timeout 2 {STABLE_BINARY} {verb}");
    let (recover, seed, forget) = (own("recover"), own("seed"), own("seed --forget"));
    format!(
        "# Managed by pgsvc: changes are overwritten.\n\
         [Service]\n\
         ExecStartPre=\n\
         ExecStartPre={recover}\n\
         ExecStartPre={seed}\n\
         ExecStart=\n\
         ExecStart={haproxy} -Ws {files} -p {pidfile} -S {master}\n\
         ExecStartPost=\n\
         ExecStartPost={forget}\n\
         ExecReload=\n\
         ExecReload={recover}\n\
         ExecReload={haproxy} -Ws {files} -c -q\n\
         ExecReload={seed}\n\
         ExecReload=/bin/kill -USR2 $MAINPID\n\
         ExecReload={forget}\n"
    )
}

/// The argument of `-S`: members of HAProxy's group may ask, nobody else.
pub(super) fn master_socket(paths: &Paths, group: bool) -> String {
    let group = if group { ",group,haproxy" } else { "" };
    format!("{},mode,660{group}", paths.master_socket.display())
}

/// What systemd says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    pub loaded: bool,
    /// `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`.
    pub active: String,
    pub main_pid: Option<u32>,
}

impl Unit {
    /// Whether there is something to stop.
    #[must_use]
    pub fn is_up(&self) -> bool {
        !matches!(self.active.as_str(), "" | "inactive" | "failed")
    }
}

/// Whether systemd runs this node.
pub fn runs(sys: &dyn System) -> bool {
    sys.stat(Path::new("/run/systemd/system")).is_ok_and(|s| s.is_some())
}

/// The state of a unit.
///
/// # Errors
/// When `systemctl` does not answer.
pub fn unit(sys: &dyn System, name: &str) -> Result<Unit, Error> {
    let text = call(sys, &["show", "-p", "LoadState,ActiveState,MainPID", name], ASK)?;
    let value =
        |key: &str| text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default();
    Ok(Unit {
        loaded: value("LoadState") == "loaded",
        active: value("ActiveState").to_owned(),
        main_pid: value("MainPID").parse().ok().filter(|pid| *pid != 0),
    })
}

/// `reload`, `restart`, `start`, `stop` or `reset-failed` of a unit; its last words are part of the error.
///
/// # Errors
/// When systemd refuses, or the unit fails.
pub fn tell(sys: &dyn System, verb: &str, name: &str) -> Result<(), Error> {
    call(sys, &[verb, name], TIMEOUT).map(drop)
}

/// `start` or `restart` of a unit, however often that was asked for lately.
///
/// # Errors
/// When systemd refuses, or the unit fails.
pub fn tell_anew(sys: &dyn System, verb: &str, name: &str) -> Result<(), Error> {
    // Several tries within ten seconds would hit the unit's start limit.
    let _ = tell(sys, "reset-failed", name);
    tell(sys, verb, name)
}

/// Makes a unit start at boot, and now.
///
/// # Errors
/// When systemd refuses, or the unit fails.
pub fn enable(sys: &dyn System, name: &str) -> Result<(), Error> {
    call(sys, &["enable", "--now", name], TIMEOUT).map(drop)
}

/// Makes systemd read changed unit files.
///
/// # Errors
/// When systemd refuses.
pub fn daemon_reload(sys: &dyn System) -> Result<(), Error> {
    call(sys, &["daemon-reload"], TIMEOUT).map(drop)
}

/// What a unit and systemd said of it last, without what it logs of its connections; empty where there is no journal.
pub fn last_words(sys: &dyn System, name: &str) -> String {
    // Never with --since: of that, -n shows the first lines, not the last (systemd 252).
    let argv = [
        "journalctl",
        "-u",
        name,
        "_TRANSPORT=stdout",
        "_TRANSPORT=journal",
        "-n",
        "2000",
        "--no-pager",
        "-o",
        "cat",
    ];
    let command = Command { argv: argv.map(str::to_owned).to_vec(), timeout: ASK, ..Command::default() };
    sys.run(&command).map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default()
}

fn call(sys: &dyn System, args: &[&str], timeout: Duration) -> Result<String, Error> {
    let argv: Vec<String> =
        std::iter::once("systemctl").chain(args.iter().copied()).map(str::to_owned).collect();
    let place = argv.join(" ");
    let out = sys
        .run(&Command { argv, timeout, ..Command::default() })
        .map_err(|e| Error::new(place.clone(), e.to_string()))?;
    if out.code == 0 {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let said = said.lines().find(|l| !l.trim().is_empty()).unwrap_or("it says nothing");
    Err(Error::new(place, format!("exit code {}: {}", out.code, said.trim())))
}

//! systemd's files around keepalived: the drop-in of its unit, and the units that prepare a node for a cluster's VIP.
//! What the latter say is rendered elsewhere.

use std::path::{Path, PathBuf};

use super::check::ALONE;
use super::{Keepalived, Paths};
use crate::daemon::systemd;
use crate::error::Error;
use crate::plan::Plan;

const PREFIX: &str = "pgsvc-vip-";
const SUFFIX: &str = ".service";
/// Where enabling puts its links.
const WANTS: &str = "multi-user.target.wants";

/// The drop-in that makes the distribution's unit read our main file, come back after every failure, and put nothing
/// into effect that keepalived itself would refuse: a reload with a bad file kills it, and an empty one lets go of all.
#[must_use]
pub fn dropin(paths: &Paths, keepalived: &Path) -> String {
    let (keepalived, config) = (keepalived.display(), paths.config.display());
    let recover = format!("-+/usr/bin/timeout 2 {} recover", systemd::STABLE_BINARY);
    let alone = ALONE.join(" ");
    // Debian's condition is about a file that need not exist. Debian's unit has no Restart, and a group that is killed
    // at once leaves its addresses behind: the next start takes them away. Older ones fork and do not notify (2.1), and
    // leave their children alone when they end. The options are in Debian's variable, then in Red Hat's.
    format!(
        "# Managed by pgsvc: changes are overwritten.\n\
         [Unit]\n\
         ConditionFileNotEmpty=\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         Type=simple\n\
         PIDFile=\n\
         KillMode=control-group\n\
         ExecStartPre=\n\
         ExecStartPre={recover}\n\
         ExecStartPre=/usr/bin/test -s {config}\n\
         ExecStart=\n\
         ExecStart={keepalived} --dont-fork -f {config} $DAEMON_ARGS $KEEPALIVED_OPTIONS\n\
         ExecReload=\n\
         ExecReload={recover}\n\
         ExecReload=/usr/bin/test -s {config}\n\
         ExecReload={alone} {keepalived} -t -f {config}\n\
         ExecReload=/bin/kill -HUP $MAINPID\n\
         Restart=on-failure\n\
         RestartSec=2\n"
    )
}

/// The cluster of a preparation unit, by its path.
#[must_use]
pub fn cluster_of<'p>(paths: &Paths, path: &'p Path) -> Option<&'p str> {
    let name = path.file_name().and_then(|n| n.to_str()).filter(|_| path.parent() == Some(&paths.units))?;
    name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)
}

impl Paths {
    /// The unit that prepares the node for a cluster's VIP.
    #[must_use]
    pub fn unit(&self, cluster: &str) -> PathBuf {
        self.units.join(format!("{PREFIX}{cluster}{SUFFIX}"))
    }

    fn link(&self, name: &str) -> PathBuf {
        self.units.join(WANTS).join(name)
    }
}

impl Keepalived<'_> {
    /// Whether a preparation unit that is installed does not run, or would not at boot.
    #[must_use]
    pub fn has_idle_units(&self) -> bool {
        systemd::runs(self.sys) && self.installed_units().iter().any(|name| self.is_idle(name))
    }

    fn is_idle(&self, name: &str) -> bool {
        let linked = self.sys.stat(&self.paths.link(name)).is_ok_and(|s| s.is_some());
        !linked || systemd::unit(self.sys, name).is_ok_and(|u| u.active != "active")
    }

    fn installed_units(&self) -> Vec<String> {
        let names = self.sys.list(&self.paths.units).unwrap_or_default();
        let ours = |n: &String| n.starts_with(PREFIX) && n.ends_with(SUFFIX);
        names.into_iter().filter(ours).collect()
    }

    /// Brings the preparation units from what they were to what they are; `back`: the plan was undone.
    pub(super) fn settle_units(&self, plan: &Plan, back: bool) -> Result<(), Error> {
        if !plan.daemon_reload || !systemd::runs(self.sys) {
            return Ok(());
        }
        let mut changed = Vec::new();
        for change in plan.changes.iter().filter(|c| cluster_of(&self.paths, &c.path).is_some()) {
            let name = change.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // By its old words, which systemd knows until the daemon-reload: the new ones would not take away what the
            // old ones set up, and of a file that is gone there are none.
            if systemd::unit(self.sys, &name)?.is_up() {
                systemd::tell(self.sys, "stop", &name)?;
            }
            let stays = if back { change.before.is_some() } else { change.after.is_some() };
            if stays { changed.push(name) } else { self.unlink(&name)? }
        }
        systemd::daemon_reload(self.sys)?;
        for name in self.installed_units() {
            if changed.contains(&name) || self.is_idle(&name) {
                let hint = format!("see journalctl -u {name}");
                systemd::enable(self.sys, &name).map_err(|e| e.hint(hint))?;
            }
        }
        Ok(())
    }

    fn unlink(&self, name: &str) -> Result<(), Error> {
        let link = self.paths.link(name);
        let fail = |e| Error::new(link.display().to_string(), format!("cannot be removed: {e}"));
        match self.sys.stat(&link).map_err(fail)? {
            Some(_) => self.sys.remove_file(&link).map_err(fail),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Output;
    use crate::host::fake::{FakeFile, FakeSystem};
    use crate::plan::{Action, FileChange, InstalledFile, RenderedFile};

    fn change(path: PathBuf, before: bool, after: bool) -> FileChange {
        let installed = InstalledFile { content: Vec::new().into(), mode: 0o644, uid: 0, gid: 0 };
        let owner = ("root".to_owned(), "root".to_owned());
        let rendered =
            RenderedFile { path: path.clone(), content: "".into(), mode: 0o644, owner, cluster: None };
        FileChange { path, before: before.then_some(installed), after: after.then_some(rendered) }
    }

    /// What systemd is told where `old` goes and `new` comes; the files are as they are after the swap.
    fn told(back: bool, up: bool) -> Vec<String> {
        let mut sys = FakeSystem::default();
        sys.runs = Box::new(move |c| {
            let active = if up { "active" } else { "inactive" };
            let active = format!("LoadState=loaded\nActiveState={active}\nMainPID=0\n");
            let show = c.argv.get(1).is_some_and(|a| a == "show");
            Ok(Output { stdout: if show { active.into() } else { Vec::new() }, ..Output::default() })
        });
        let paths = Paths::default();
        let text = |p: PathBuf| p.display().to_string();
        sys.put("/run/systemd/system/x", FakeFile::default());
        let there = if back { "old" } else { "new" };
        let gone = if back { "new" } else { "old" };
        sys.put(&text(paths.unit(there)), FakeFile::default());
        sys.put(&text(paths.link(&format!("pgsvc-vip-{gone}.service"))), FakeFile::default());
        let plan = Plan {
            changes: vec![change(paths.unit("new"), false, true), change(paths.unit("old"), true, false)],
            daemon_reload: true,
            ..super::super::tests::plan(Action::Nothing)
        };
        Keepalived::without_systemd(&sys, paths).settle_units(&plan, back).unwrap();
        let effects = std::mem::take(&mut sys.state().effects);
        effects.into_iter().filter(|e| !e.contains("systemctl show")).collect()
    }

    #[test]
    fn a_unit_that_goes_or_changes_is_stopped_while_systemd_still_knows_it() {
        let wants = "/etc/systemd/system/multi-user.target.wants";
        let steps = |gone: &str, comes: &str| {
            let unit = |cluster: &str| format!("pgsvc-vip-{cluster}.service");
            let stops = ["new", "old"].map(|c| format!("run systemctl stop {}", unit(c)));
            let mut steps = stops.to_vec();
            let at = if gone == "new" { 1 } else { 2 };
            steps.insert(at, format!("remove {wants}/{}", unit(gone)));
            steps.push("run systemctl daemon-reload".to_owned());
            steps.push(format!("run systemctl enable --now {}", unit(comes)));
            steps
        };
        assert_eq!(told(false, true), steps("old", "new"));
        assert_eq!(told(true, true), steps("new", "old"), "an undone plan goes the other way");
        // systemd forgets a unit that is down, and cannot stop it when its file is gone.
        assert!(!told(false, false).iter().any(|step| step.contains("stop")));
    }

    #[test]
    fn a_preparation_unit_is_known_by_its_whole_path() {
        let paths = Paths::default();
        assert_eq!(cluster_of(&paths, &paths.unit("pg-test")), Some("pg-test"));
        for path in ["/etc/pgsvc-vip-a.service", "/etc/systemd/system/pgsvc-watch.service"] {
            assert_eq!(cluster_of(&paths, Path::new(path)), None);
        }
    }

    #[test]
    fn the_dropin_tests_before_it_reloads_and_keeps_the_distributions_options() {
        let text = dropin(&Paths::default(), Path::new("/usr/sbin/keepalived"));
        assert!(text.starts_with(crate::render::haproxy::MARK));
        let start = "\nExecStart=\nExecStart=/usr/sbin/keepalived --dont-fork -f /etc/keepalived/pgsvc.conf $DAEMON_ARGS $KEEPALIVED_OPTIONS\n";
        assert!(text.contains(start) && text.contains("\nConditionFileNotEmpty=\n"), "{text}");
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what}"));
        assert!(at("ExecReload=/usr/bin/test -s") < at(" -t -f ") && at(" -t -f ") < at("-HUP"), "{text}");
    }
}

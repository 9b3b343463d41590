//! What an apply would be refused for, without an apply: the candidate is checked in a private temporary directory,
//! and nothing else of the node is written.

use std::path::{Path, PathBuf};

use super::Node;
use crate::error::{Error, Errors};
use crate::host::{Kind, System};
use crate::plan::Plan;
use crate::transaction::{Daemon, Proof, Serving};

/// Names that are tried before giving up.
const TRIES: u128 = 16;

/// Whether the daemon would refuse a plan.
///
/// # Errors
/// All that stands in the way, in the words that an apply uses.
pub fn refuses(node: &Node<'_>, daemon: &dyn Daemon, plan: &Plan) -> Result<(), Errors> {
    // In another root nothing runs that could be asked.
    if node.rooted {
        return Ok(());
    }
    if !plan.candidate.is_empty() {
        let stage = Stage::new(node.sys, &std::env::temp_dir())?;
        stage.fill(plan)?;
        daemon.check(&stage.dir)?;
    }
    daemon.precheck(plan)
}

/// A directory of this process alone; removed when dropped.
struct Stage<'a> {
    sys: &'a dyn System,
    dir: PathBuf,
}

impl<'a> Stage<'a> {
    fn new(sys: &'a dyn System, base: &Path) -> Result<Self, Error> {
        let clock = sys.wall().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        for n in 0..TRIES {
            let dir = base.join(format!("pgsvc-{}-{:x}", std::process::id(), clock.saturating_add(n)));
            if look(sys, &dir)?.is_some() {
                continue;
            }
            sys.create_dir(&dir, 0o700).map_err(|e| failed("make", &dir, &e))?;
            // Somebody may have been faster: what he made is not ours, or not for us alone.
            let ours = |s: &crate::host::Stat| {
                s.kind == Kind::Directory && s.mode == 0o700 && s.uid == sys.whoami().0
            };
            if look(sys, &dir)?.as_ref().is_some_and(ours) {
                return Ok(Self { sys, dir });
            }
        }
        Err(Error::new(base.display().to_string(), "has no room for a private directory")
            .hint("set TMPDIR to a directory that others cannot write to"))
    }

    /// Writes the candidate; `/a/b` lies at `<dir>/a/b`.
    fn fill(&self, plan: &Plan) -> Result<(), Error> {
        for (path, bytes) in &plan.candidate {
            let target = self.dir.join(path.strip_prefix("/").unwrap_or(path));
            if let Some(parent) = target.parent() {
                self.sys.create_dir(parent, 0o700).map_err(|e| failed("make", parent, &e))?;
            }
            let written = self.sys.create(&target, bytes, 0o600, self.sys.whoami());
            written.map_err(|e| failed("write", &target, &e))?;
        }
        Ok(())
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        // What cannot be removed is private, and no reason to call a plan wrong.
        drop(self.sys.remove_dir_all(&self.dir));
    }
}

fn look(sys: &dyn System, path: &Path) -> Result<Option<crate::host::Stat>, Error> {
    sys.stat(path).map_err(|e| failed("look at", path, &e))
}

fn failed(verb: &str, path: &Path, e: &std::io::Error) -> Error {
    Error::new(path.display().to_string(), format!("cannot {verb} it: {e}"))
        .hint("the candidate is checked there; TMPDIR names another place")
}

/// Another root: nothing runs there.
pub(super) struct NoDaemon;

impl Daemon for NoDaemon {
    fn check(&self, _: &Path) -> Result<(), Error> {
        Ok(())
    }
    fn precheck(&self, _: &Plan) -> Result<(), Errors> {
        Ok(())
    }
    fn serving(&self) -> Result<Serving, Error> {
        Ok(Serving::default())
    }
    fn activate(&self, _: &Plan) -> Result<Proof, Error> {
        Ok(Proof::default())
    }
    fn revert(&self, _: &Plan, _: &Serving) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::daemon::Paths;
    use crate::daemon::haproxy::Haproxy;
    use crate::host::Output;
    use crate::host::fake::FakeSystem;
    use crate::host::real::RealSystem;
    use crate::plan::Action;

    fn plan() -> Plan {
        Plan {
            changes: Vec::new(),
            action: Action::Reload,
            reason: String::new(),
            hash: String::new(),
            whole: None,
            candidate: [("/etc/haproxy/haproxy.cfg".into(), b"global\n".to_vec().into())].into(),
            new_binds: vec!["127.0.0.1:5433".parse().unwrap()],
            nonlocal_binds: false,
            commands: Vec::new(),
            hands: Vec::new(),
            daemon_reload: false,
        }
    }

    /// What a plan is refused for where `haproxy -c` prints `alert`; nothing may be left of it.
    fn refused(alert: &'static str, taken: bool) -> String {
        let mut sys = FakeSystem::default();
        sys.runs = Box::new(move |c| {
            let version = c.argv.get(1).is_some_and(|a| a == "-v");
            let text = if version { "HAProxy version 2.6.12 2026/01/01\n" } else { alert };
            let code = i32::from(!version && !alert.is_empty());
            Ok(Output { code, stdout: text.into(), stderr: Vec::new() })
        });
        if taken {
            sys.state().taken.insert("127.0.0.1:5433".parse().unwrap(), std::io::ErrorKind::AddrInUse);
        }
        let node = Node { sys: &sys, paths: Paths::default(), rooted: false };
        let daemon = Haproxy::without_systemd(&sys, Paths::default());
        let answer = refuses(&node, &daemon, &plan()).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(sys.state().files.is_empty(), "the candidate is still there");
        assert_eq!(
            sys.state().dirs.keys().filter(|d| d.starts_with(std::env::temp_dir().join(""))).count(),
            1
        );
        answer
    }

    #[test]
    fn a_plan_is_refused_for_what_an_apply_is_refused_for() {
        assert_eq!(refused("", false), "");
        let alert = "[ALERT] (9) : config : parsing [/etc/haproxy/haproxy.cfg:1] : unknown keyword 'x'\n";
        assert_eq!(refused(alert, false), "/etc/haproxy/haproxy.cfg:1: unknown keyword 'x'");
        assert!(refused("", true).contains("port 5433 on 127.0.0.1: is taken by another process"));
    }

    #[test]
    fn the_candidate_is_seen_by_nobody_else_and_does_not_stay() {
        let base = tempfile::TempDir::new().unwrap();
        let sys = RealSystem::new(None);
        let stage = Stage::new(&sys, base.path()).unwrap();
        stage.fill(&plan()).unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        let file = stage.dir.join("etc/haproxy/haproxy.cfg");
        assert_eq!(
            (mode(&stage.dir), mode(&file), std::fs::read(&file).unwrap()),
            (0o700, 0o600, b"global\n".to_vec())
        );
        drop(stage);
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0);
    }
}

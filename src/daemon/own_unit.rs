//! pgsvc's own units of systemd: their names and places, and that they run where their files are. What they say is in a
//! file each; when they are wanted is decided by the callers.

use std::path::Path;

use super::{metrics_unit, systemd, watch_unit};
use crate::error::Error;
use crate::host::System;

/// The files of all of them.
pub const PATHS: [&str; 3] = [watch_unit::OWN.path, metrics_unit::SERVICE, metrics_unit::OWN.path];
const OWN: [OwnUnit; 2] = [watch_unit::OWN, metrics_unit::OWN];

/// One that is enabled and runs while its file is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnUnit {
    pub name: &'static str,
    pub path: &'static str,
    /// What enabling makes.
    pub link: &'static str,
    /// What else it says: another file that it stands for.
    pub beside: Option<&'static str>,
}

/// Whether a file is one of theirs.
#[must_use]
pub fn is_ours(path: &Path) -> bool {
    PATHS.iter().any(|p| path == Path::new(p))
}

/// Makes every unit run and start at boot, or not, as its file is there or not. Where the link is as it should be and the
/// text is not new, systemd is not asked. `changed`: the files that a run has just written.
/// Gives what systemd refused, of each unit: one says nothing about the other.
pub fn settle(sys: &dyn System, changed: &dyn Fn(&Path) -> bool) -> Vec<(OwnUnit, Error)> {
    let one = |unit: OwnUnit| {
        let files = std::iter::once(unit.path).chain(unit.beside);
        let is_new = files.map(Path::new).any(changed);
        unit.settle(sys, is_new).err().map(|e| (unit, e))
    };
    OWN.into_iter().filter_map(one).collect()
}

impl OwnUnit {
    fn settle(&self, sys: &dyn System, is_new: bool) -> Result<(), Error> {
        let there = |path: &str| sys.stat(Path::new(path)).is_ok_and(|s| s.is_some());
        match (there(self.path), there(self.link)) {
            (true, true) if is_new => systemd::tell(sys, "restart", self.name),
            (true, true) | (false, false) => Ok(()),
            (true, false) => systemd::enable(sys, self.name),
            (false, true) => {
                systemd::tell(sys, "stop", self.name)?;
                // A timer whose service is gone has failed, and would be listed so until the next boot; one that has not
                // failed is unknown by now, which systemd calls an error.
                drop(systemd::tell(sys, "reset-failed", self.name));
                let fail = |e| Error::new(self.link, format!("cannot be removed: {e}"));
                sys.remove_file(Path::new(self.link)).map_err(fail)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Output;
    use crate::host::fake::{FakeFile, FakeSystem};

    /// What is done where these files are there and this one was written.
    fn done(there: &[&str], new: &str) -> Vec<String> {
        let mut sys = FakeSystem::default();
        sys.runs = Box::new(|_| Ok(Output::default()));
        there.iter().for_each(|path| sys.put(path, FakeFile::default()));
        assert!(settle(&sys, &|p| p == Path::new(new)).is_empty());
        std::mem::take(&mut sys.state().effects)
    }

    #[test]
    fn systemd_is_told_only_where_something_is_to_change() {
        let nothing = [] as [String; 0];
        for unit in OWN {
            let (name, both) = (unit.name, [unit.path, unit.link]);
            assert_eq!(done(&both, ""), nothing);
            assert_eq!(done(&[], ""), nothing);
            assert_eq!(done(&both, unit.path), [format!("run systemctl restart {name}")]);
            assert_eq!(done(&[unit.path], unit.path), [format!("run systemctl enable --now {name}")]);
            let told = ["stop", "reset-failed"].map(|verb| format!("run systemctl {verb} {name}"));
            let gone = [told.to_vec(), vec![format!("remove {}", unit.link)]].concat();
            assert_eq!(done(&[unit.link], ""), gone);
        }
    }

    #[test]
    fn a_new_service_restarts_the_timer_that_runs_it() {
        let timer = metrics_unit::OWN;
        assert_eq!(
            done(&[timer.path, timer.link], metrics_unit::SERVICE),
            [format!("run systemctl restart {}", timer.name)]
        );
    }

    #[test]
    fn a_unit_that_systemd_refuses_says_nothing_about_the_other() {
        let mut sys = FakeSystem::default();
        sys.runs = Box::new(|c| {
            let code = i32::from(c.argv.iter().any(|a| a == watch_unit::OWN.name));
            Ok(Output { code, ..Output::default() })
        });
        OWN.iter().for_each(|u| sys.put(u.path, FakeFile::default()));
        let failed = settle(&sys, &|_| false);
        assert_eq!(failed.iter().map(|(u, _)| u.name).collect::<Vec<_>>(), [watch_unit::OWN.name]);
        assert_eq!(sys.state().effects.len(), 2);
    }
}

//! What must hold right after a run that met a fault, before anything is mended.

use std::path::Path;

use pgsvc::report::Report;

use super::Through;
use super::case::{Case, Outcome, serves};
use super::hand::Faults;
use super::haproxy::Process;
use super::scene::{STATE, look};

impl Case {
    /// The run on a node; its report against the files and the process, and which set is there.
    pub fn met(&self, root: &Path, sys: Through<Faults>, what: &str) -> (Report, Process, Outcome) {
        let report = self.scene.run(&sys);
        let process = sys.hand.process.into_inner().unwrap();
        self.says_the_truth(root, &report, &process, what);
        let outcome = self.outcome(root, what);
        (report, process, outcome)
    }

    fn says_the_truth(&self, root: &Path, report: &Report, process: &Process, what: &str) {
        let (now, rooted) = (look(root), self.scene.rooted);
        if !report.failed {
            assert!(now == self.new, "{what}: it says that it went well:{}", now.against(&self.new));
            assert!(rooted || process.loaded == serves(root), "{what}: HAProxy has another set");
        }
        assert_eq!(report.failed, !report.errors.is_empty(), "{what}: a failed run says why: {report:#?}");
        let says = ["nothing was changed", "the old configuration is back and serves"];
        let old = report.rolled_back || says.contains(&report.msg.as_str());
        if report.failed && old {
            assert_eq!(now.visible(), self.old.visible(), "{what}: '{}'", report.msg);
            let same = rooted || process.loaded == self.process.loaded;
            assert!(same, "{what}: '{}', but HAProxy has not the old set", report.msg);
        }
    }

    /// Old or new, or a journal that leads there.
    fn outcome(&self, root: &Path, what: &str) -> Outcome {
        let now = look(root);
        if now.etc == self.old.etc {
            return Outcome::Old;
        }
        if now.etc == self.new.etc {
            return Outcome::New;
        }
        let journal = root.join(STATE.trim_start_matches('/')).join("tx/journal.json").exists();
        assert!(journal, "{what}: between, and no journal:{}", now.against(&self.old));
        Outcome::Healed
    }
}

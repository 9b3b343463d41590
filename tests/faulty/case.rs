//! A kind of run on a node: as it finds it, as it leaves it undisturbed, and what must hold once a fault is gone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use pgsvc::daemon::Paths;
use pgsvc::host::real::RealSystem;
use pgsvc::run::{self, Node};

use super::Through;
use super::disk::Done;
use super::hand::{Fault, Faults};
use super::haproxy::{Effective, Process, effective};
use super::scene::{Look, STATE, Scene, copy, look, room, walk};

/// A node as a kind of run finds it and, undisturbed, leaves it.
pub struct Case {
    pub scene: Scene,
    pub template: tempfile::TempDir,
    pub process: Process,
    pub old: Look,
    pub new: Look,
    pub verbs: Vec<&'static str>,
    pub clocks: usize,
    /// What the run did to files, with its way back where it has one.
    pub log: Vec<Done>,
}

/// A node with one fault in it, or none.
pub fn node(root: &Path, process: Process, at: usize, fault: Fault) -> Through<Faults> {
    Through::new(root, Faults::new(process, at, fault))
}

impl Case {
    pub fn new(scene: Scene) -> Self {
        let template = room();
        let sys = node(template.path(), Process::default(), 0, Fault::None);
        scene.prepare(template.path(), &sys);
        let mut process = sys.hand.process.into_inner().unwrap();
        let old = look(template.path());
        let calm = |process: Process| {
            let root = room();
            copy(template.path(), root.path());
            let sys = node(root.path(), process, 0, Fault::None);
            let report = scene.run(&sys);
            (root, sys, report)
        };
        let (root, sys, report) = calm(process.clone());
        assert!(!report.failed && report.changed, "{}: {report:#?}", scene.name);
        let new = look(root.path());
        assert!(new.etc != old.etc, "{}: nothing changes", scene.name);
        if !scene.rooted {
            assert_eq!(sys.hand.process.lock().unwrap().loaded, serves(root.path()), "{}", scene.name);
        }
        if scene.refused {
            process.refuses = serves(root.path()).map(|e| e.name);
        }
        let (_root, sys, report) = calm(process.clone());
        assert_eq!(report.failed, scene.refused, "{}: {report:#?}", scene.name);
        let clocks = sys.hand.clocks.load(Ordering::SeqCst);
        let (verbs, log) = (sys.hand.verbs.into_inner().unwrap(), sys.hand.log.into_inner().unwrap());
        Self { scene, template, process, old, new, verbs, clocks, log }
    }

    /// The set, its requests, and where a rollback leads.
    fn is_new(&self, now: &Look) -> bool {
        now.etc == self.new.etc && now.requests == self.new.requests && now.back == self.new.back
    }

    /// The fault is gone: what HAProxy's unit runs makes one of the two sets, with the requests that belong to it, and
    /// the next run makes the new one and leaves nothing behind.
    pub fn heals(&self, root: &Path, mut process: Process, what: &str) {
        process.refuses = None;
        let sys = node(root, process, 0, Fault::None);
        let recovered =
            run::recover::recover(&Node { sys: &sys, paths: Paths::default(), rooted: self.scene.rooted });
        assert!(recovered.is_ok(), "{what}: {recovered:?}");
        let now = look(root);
        if now.etc == self.old.etc {
            let same = now.requests == self.old.requests && now.back == self.old.back;
            assert!(same, "{what}: the old set, {recovered:?}, with:{}", now.against(&self.old));
        } else {
            assert!(self.is_new(&now), "{what}: no whole set, {recovered:?}:{}", now.against(&self.new));
        }
        if !self.is_new(&now) {
            let report = self.scene.run(&sys);
            assert!(!report.failed, "{what}: the next run fails: {:#?}", report.errors);
        }
        let now = look(root);
        assert!(self.is_new(&now), "{what}: after the next run:{}", now.against(&self.new));
        let loaded = sys.hand.process.lock().unwrap().loaded.clone();
        let same = self.scene.rooted || loaded.is_none() || loaded == serves(root);
        assert!(same, "{what}: HAProxy has another set after the next run");
        nothing_is_left(root, what);
    }
}

fn nothing_is_left(root: &Path, what: &str) {
    let known = ["lock", "previous", "clusters", "clusters.previous", "original", "rendered", "waiting"];
    for entry in std::fs::read_dir(root.join(STATE.trim_start_matches('/'))).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(known.contains(&name.as_str()), "{what}: {name} is left in {STATE}");
    }
    // What is in /run goes with the next start.
    for path in walk(root).into_iter().filter(|p| !p.starts_with(root.join("run"))) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let left = name.starts_with(".pgsvc-") || name.ends_with(".new");
        assert!(!left, "{what}: {} is left", path.display());
    }
}

/// What HAProxy would have of these files; a node whose last cluster went has none of ours, and is stopped.
pub fn serves(root: &Path) -> Option<Effective> {
    let found = effective(&RealSystem::new(Some(root.to_owned())));
    found.filter(|e| !e.name.is_empty())
}

/// What a fault came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Old,
    New,
    Healed,
}

/// Outcomes by what failed.
#[derive(Default)]
pub struct Table {
    rows: BTreeMap<String, BTreeMap<Outcome, usize>>,
    failures: Vec<String>,
}

impl Table {
    /// Tries one case; what does not hold is kept, and fails the test at its end.
    pub fn tries(&mut self, row: &str, case: impl FnOnce() -> Option<Outcome>) {
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(case));
        match tried {
            Ok(Some(outcome)) => {
                *self.rows.entry(row.to_owned()).or_default().entry(outcome).or_default() += 1
            }
            Ok(None) => {}
            Err(why) => {
                let text = why.downcast_ref::<String>().cloned();
                self.failures.push(text.unwrap_or_else(|| "panicked".to_owned()));
            }
        }
    }

    /// Prints the table, fails where anything did, and gives the counts.
    pub fn end(self, title: &str) -> Counts {
        let mut text = format!(
            "| {title} | cases | old | new | healed by the next run | failures |\n|---|---|---|---|---|---|\n"
        );
        let mut sums = [0; 3];
        for (row, counts) in &self.rows {
            let n =
                [Outcome::Old, Outcome::New, Outcome::Healed].map(|o| counts.get(&o).copied().unwrap_or(0));
            sums = [sums[0] + n[0], sums[1] + n[1], sums[2] + n[2]];
            text += &format!("| {row} | {} | {} | {} | {} | |\n", n.iter().sum::<usize>(), n[0], n[1], n[2]);
        }
        let (failed, total) = (self.failures.len(), sums.iter().sum::<usize>());
        let counts = Counts { old: sums[0], new: sums[1], healed: sums[2] };
        text +=
            &format!("| all | {} | {} | {} | {} | {failed} |\n", total + failed, sums[0], sums[1], sums[2]);
        println!("{text}");
        let some: Vec<&String> = self.failures.iter().take(12).collect();
        assert!(some.is_empty(), "{failed} cases fail, among them {some:#?}");
        counts
    }
}

/// Of cases that came out right.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    pub old: usize,
    pub new: usize,
    pub healed: usize,
}

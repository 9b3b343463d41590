//! Every effect of every kind of run fails once, or is cut short, or is done and reported as failed, or fails and all
//! after it: on real files the node has the old or the new set to the last attribute, or a journal from which the next
//! run makes one of them; and no report says more than that. `make faults` prints the table.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[macro_use]
mod faulty;

use std::collections::BTreeMap;

use faulty::Turn;
use faulty::case::{Case, Outcome, Table, node};
use faulty::hand::Fault;
use faulty::scene::{Scene, copy, room, tree};
use nix::libc::{EACCES, EADDRINUSE, ECONNREFUSED, EINTR, EIO, ENOLCK, ENOSPC, EPERM, EROFS};
use pgsvc::daemon::Paths;
use pgsvc::run::{self, Node};

/// The errors that the n-th effect can meet; a look meets one or the other.
fn faults(verb: &str, n: usize) -> Vec<Fault> {
    let fails: &[i32] = match verb {
        "read" | "stat" | "list" if n.is_multiple_of(2) => &[EIO],
        "read" | "stat" | "list" => &[EACCES],
        "create" | "copy" => &[ENOSPC, EROFS, EIO],
        "attributes" => &[ENOSPC, EPERM],
        "mkdir" => &[ENOSPC, EROFS],
        "rename" | "remove" | "rmdir" => &[EIO, EROFS],
        "sync" => &[EIO, ENOSPC],
        "lock" => &[ENOLCK, EINTR],
        "run" => &[EACCES, EINTR],
        "signal" => &[EPERM],
        "socket" => &[ECONNREFUSED, EINTR],
        "bind" => &[EADDRINUSE, EACCES],
        other => panic!("no error is known of '{other}'"),
    };
    let mut all: Vec<Fault> = fails.iter().map(|e| Fault::Once(Turn::Fails(*e))).collect();
    if matches!(verb, "create" | "copy" | "mkdir" | "rmdir") {
        all.push(Fault::Once(Turn::Half(ENOSPC)));
    }
    if !matches!(verb, "read" | "stat" | "list" | "lock" | "bind") {
        all.push(Fault::Once(Turn::After(EIO)));
    }
    if matches!(verb, "create" | "copy" | "attributes" | "mkdir" | "rename" | "remove" | "rmdir" | "sync") {
        all.extend([Fault::Gone, Fault::ReadOnly]);
    }
    all
}

/// One run with one fault; `None` where the fault met nothing.
fn tried(case: &Case, at: usize, fault: Fault) -> Option<Outcome> {
    let root = room();
    copy(case.template.path(), root.path());
    let sys = node(root.path(), case.process.clone(), at, fault);
    let met = std::sync::Arc::clone(&sys.hand.met);
    let name = format!("{}: {fault:?} at effect {at}", case.scene.name);
    let (_, process, outcome) = case.met(root.path(), sys, &name);
    let met = met.lock().unwrap().clone()?;
    case.heals(root.path(), process, &format!("{name}, {met}"));
    Some(outcome)
}

fn every_fault(scene: Scene) {
    let case = Case::new(scene);
    let mut table = Table::default();
    for (i, verb) in case.verbs.iter().enumerate() {
        for fault in faults(verb, i + 1) {
            table.tries(verb, || {
                let outcome = tried(&case, i + 1, fault);
                assert!(outcome.is_some(), "{}: effect {} never came", case.scene.name, i + 1);
                outcome
            });
        }
    }
    for n in 1..=case.clocks {
        // How often the clock is read depends on who is waited for: one that is read no more jumps for nobody.
        table.tries("clock", || tried(&case, n, Fault::Jump));
    }
    let counts = table.end(case.scene.name);
    assert!(counts.old > case.verbs.len(), "{counts:?}");
    assert!(counts.new > 0 || case.scene.refused, "{counts:?}");
}

/// The disk is gone in every phase of a run, and once it is back the recovery itself meets every fault.
#[test]
fn a_recovery_that_fails_is_taken_up_again() {
    let case = Case::new(Scene::all().into_iter().find(|s| s.name == "change").unwrap());
    let mut phases = BTreeMap::new();
    for (i, _) in case.verbs.iter().enumerate().filter(|(_, v)| ["rename", "remove", "create"].contains(*v)) {
        let root = room();
        copy(case.template.path(), root.path());
        let sys = node(root.path(), case.process.clone(), i + 1, Fault::Gone);
        case.scene.run(&sys);
        let text = std::fs::read(root.path().join("var/lib/pgsvc/tx/journal.json")).unwrap_or_default();
        let journal: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        let process = sys.hand.process.into_inner().unwrap();
        phases.entry(journal["phase"].as_str().unwrap_or("none").to_owned()).or_insert((root, process));
    }
    for phase in ["prepare", "swap", "activate", "proven"] {
        assert!(phases.contains_key(phase), "nobody died in phase {phase}: {:?}", phases.keys());
    }
    let mut table = Table::default();
    for (phase, (left, process)) in &phases {
        let recovers = |at: usize, fault: Fault| {
            let root = room();
            copy(left.path(), root.path());
            let sys = node(root.path(), process.clone(), at, fault);
            let _ = run::recover::recover(&Node { sys: &sys, paths: Paths::default(), rooted: false });
            (root, sys.hand.verbs.into_inner().unwrap())
        };
        let (_, verbs) = recovers(0, Fault::None);
        for (i, verb) in verbs.iter().enumerate() {
            for fault in faults(verb, i + 1) {
                table.tries(&format!("died in {phase}"), || {
                    let (root, _) = recovers(i + 1, fault);
                    let what =
                        format!("died in {phase}; {fault:?} at effect {} of the recovery, {verb}", i + 1);
                    let now = tree(&root.path().join("etc"));
                    case.heals(root.path(), process.clone(), &what);
                    Some(match now {
                        now if now == case.old.etc => Outcome::Old,
                        now if now == case.new.etc => Outcome::New,
                        _ => Outcome::Healed,
                    })
                });
            }
        }
    }
    let counts = table.end("fault in the recovery");
    assert!(counts.old > 0 && counts.new > 0 && counts.healed > 0, "{counts:?}");
}

scenes! { every_fault;
    a_first_install_is_whole_or_undone: "first install",
    a_change_is_whole_or_undone: "change",
    a_change_that_haproxy_refuses_is_undone: "refused change",
    a_change_of_what_runs_is_whole_or_undone: "change while it runs",
    a_cluster_that_goes_goes_whole: "one cluster absent",
    the_last_cluster_goes_whole: "last cluster absent",
    a_rollback_is_whole_or_undone: "rollback",
    a_rollback_that_haproxy_refuses_is_undone: "refused rollback",
    files_of_both_daemons_are_whole: "files with keepalived's",
    an_address_that_moves_moves_whole: "a VIP moves",
    a_cluster_goes_with_its_address: "absent with its VIP",
}

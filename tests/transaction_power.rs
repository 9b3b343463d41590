//! The power goes at every step of every kind of run, and the disk has kept any of what it was not yet made to keep, in
//! any order: what HAProxy's unit runs at the next start makes the old or the new set of it, with the requests that belong
//! to it, and the next run the new one. `make faults` prints the table.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[macro_use]
mod faulty;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use faulty::case::{Case, Outcome, Table};
use faulty::disk::{Dice, Disk, State, materialise};
use faulty::haproxy::Process;
use faulty::scene::{Scene, room, tree};

/// Of each moment with many choices.
const SAMPLES: usize = 24;

/// The distinct trees that a power cut may leave, each with the moment it belongs to.
fn states(case: &Case) -> Vec<(usize, State)> {
    let mut disk = Disk::of(case.template.path());
    let (mut dice, mut seen, mut all) = (Dice(7), BTreeSet::new(), Vec::new());
    for (i, done) in case.log.iter().enumerate() {
        disk.take(done, &mut |disk| {
            for mut state in disk.cuts(SAMPLES, &mut dice) {
                // Memory only.
                state.retain(|path, _| !path.starts_with("run") || path.as_os_str() == "run");
                state.retain(|path, _| !path.starts_with("proc/4242"));
                let mut hash = DefaultHasher::new();
                state.hash(&mut hash);
                if seen.insert(hash.finish()) {
                    all.push((i, state));
                }
            }
        });
    }
    all
}

fn every_cut(scene: Scene) {
    let case = Case::new(scene);
    let states = states(&case);
    let mut table = Table::default();
    for (i, state) in &states {
        let done = format!("{:?}", case.log[*i]);
        let row = done.split('(').next().unwrap().to_lowercase();
        table.tries(&row, || {
            let root = room();
            materialise(state, root.path());
            let found = tree(&root.path().join("etc"));
            let short: String = done.chars().take(160).collect();
            let what = format!("{}: the power goes within or after {short}", case.scene.name);
            case.heals(root.path(), Process::default(), &what);
            Some(if found == case.old.etc {
                Outcome::Old
            } else if found == case.new.etc {
                Outcome::New
            } else {
                Outcome::Healed
            })
        });
    }
    let counts = table.end(&format!("power cut: {}", case.scene.name));
    assert!(
        counts.old > 0 && counts.healed > 0 && counts.old + counts.new + counts.healed == states.len(),
        "{counts:?}"
    );
}

scenes! { every_cut;
    the_power_goes_in_a_first_install: "first install",
    the_power_goes_in_a_change: "change",
    the_power_goes_in_a_change_that_haproxy_refuses: "refused change",
    the_power_goes_in_a_change_of_what_runs: "change while it runs",
    the_power_goes_while_a_cluster_goes: "one cluster absent",
    the_power_goes_while_the_last_cluster_goes: "last cluster absent",
    the_power_goes_in_a_rollback: "rollback",
    the_power_goes_in_a_rollback_that_haproxy_refuses: "refused rollback",
    the_power_goes_between_two_daemons: "files with keepalived's",
    the_power_goes_while_an_address_moves: "a VIP moves",
    the_power_goes_while_a_cluster_goes_with_its_address: "absent with its VIP",
}

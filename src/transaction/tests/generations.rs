//! What is kept for the way back.

use super::*;

#[test]
fn an_apply_of_several_sets_is_one_generation() {
    for keeps in [true, false] {
        let sys = node();
        let (old, first) = (set(&sys), plan(&sys));
        let loader = daemon(&sys);
        let tx = begin(&sys);
        tx.install(&loader, &first).unwrap().keep().unwrap();
        // The second set changes one file again, and one that the first left alone.
        let second = second(&sys);
        let installed = tx.install(&loader, &second).unwrap();
        if keeps {
            installed.keep().unwrap();
        }
        // Else dropped: the next run keeps it.
        drop(tx);
        drop(begin(&sys));
        assert_eq!(rolled_back(&sys, &loader, &first), 5);
        assert_eq!(plain(set(&sys)), plain(old));
    }
}

#[test]
fn a_death_in_a_later_set_loses_no_generation() {
    let mut seen = BTreeMap::new();
    for n in 1.. {
        let sys = node();
        let (old, first) = (set(&sys), plan(&sys));
        let loader = daemon(&sys);
        let tx = begin(&sys);
        tx.install(&loader, &first).unwrap().keep().unwrap();
        let second = second(&sys);
        let done = sys.state().effects.len();
        sys.state().fail = Fail::From(done + n);
        let finished = tx.install(&loader, &second).is_ok_and(|i| i.keep().is_ok());
        sys.state().fail = Fail::Never;
        drop(tx);
        drop(begin(&sys));
        *seen.entry(rolled_back(&sys, &loader, &first)).or_insert(0) += 1;
        assert_eq!(plain(set(&sys)), plain(old), "death before effect {n} of the second set");
        if finished {
            break;
        }
    }
    assert_eq!(seen.into_keys().collect::<Vec<_>>(), [4, 5]);
}

/// Goes back one generation; answers how many files that changes.
fn rolled_back(sys: &FakeSystem, loader: &Loader<'_>, like: &Plan) -> usize {
    let changes = previous(sys, Path::new(STATE)).unwrap().unwrap();
    let count = changes.len();
    apply(sys, loader, &Plan { changes, candidate: BTreeMap::new(), ..like.clone() }).unwrap();
    count
}

/// Attributes of a file that was removed and came back are the directory's own.
fn plain(mut set: Set) -> Set {
    set.values_mut().for_each(|f| f.attributes.clear());
    set
}

fn second(sys: &FakeSystem) -> Plan {
    let again = Plan { candidate: BTreeMap::new(), ..plan(sys) };
    let mut changes = again.changes.clone();
    changes.retain(|c| c.path == Path::new(CFG) || c.path == Path::new(NEW));
    let mut foreign = changes[0].clone();
    foreign.path = FOREIGN.into();
    let file = sys.state().files[Path::new(FOREIGN)].clone();
    let (uid, gid) = file.owner;
    foreign.before = Some(InstalledFile { content: file.bytes.into(), mode: file.mode, uid, gid });
    foreign.after = Some(rendered(FOREIGN, "listen second\n"));
    for change in &mut changes {
        change.after = Some(rendered(change.path.to_str().unwrap(), "second\n"));
    }
    changes.push(foreign);
    Plan { changes, ..again }
}

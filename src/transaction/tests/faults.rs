//! Every effect fails once, and once for good (the process died): the set is the old or the new one, never a mix.

use super::*;

/// The number of effects of an undisturbed apply.
fn total() -> usize {
    let sys = node();
    let plan = plan(&sys);
    apply(&sys, &daemon(&sys), &plan).unwrap();
    let n = sys.state().effects.len();
    assert!(n > 40, "{n}");
    n
}

#[test]
fn every_effect_failing_once_leaves_the_old_or_the_new_set() {
    for n in 1..=total() {
        let sys = node();
        let (old, plan) = (set(&sys), plan(&sys));
        let loader = daemon(&sys);
        sys.state().fail = Fail::At(n);
        let result = apply(&sys, &loader, &plan);
        let what = sys.state().effects[n - 1].clone();
        let now = set(&sys);
        let visible = |s: &Set| -> Set {
            s.iter()
                .filter(|(p, _)| !p.to_string_lossy().contains("/.pgsvc-"))
                .map(|(p, f)| (p.clone(), f.clone()))
                .collect()
        };
        assert!(visible(&now) == old || visible(&now) == new_set(), "effect {n}, {what}: {now:#?}");
        assert_eq!(
            *loader.loaded.lock().unwrap(),
            visible(&now),
            "effect {n}, {what}: the daemon has another set"
        );
        if let Err(Some(failure)) = &result {
            assert_eq!(visible(&now), old, "effect {n}, {what}");
            assert_eq!(failure.rolled_back, Ok(()), "effect {n}, {what}");
        }
        finishes(&sys, &loader, &format!("effect {n}, {what}"));
    }
}

#[test]
fn a_death_at_every_effect_is_recovered_to_the_old_or_the_new_set() {
    let mut outcomes = BTreeMap::new();
    for n in 1..=total() {
        let sys = node();
        let (old, plan) = (set(&sys), plan(&sys));
        let loader = daemon(&sys);
        sys.state().fail = Fail::From(n);
        let _ = apply(&sys, &loader, &plan);
        let what = sys.state().effects[n - 1].clone();
        sys.state().fail = Fail::Never;
        let recovered = recover(&sys, Path::new(STATE), Duration::ZERO).unwrap();
        let now = set(&sys);
        assert!(now == old || now == new_set(), "effect {n}, {what}: {recovered:?} {now:#?}");
        if let Recovered::RolledBack(_) = recovered {
            assert_eq!(now, old);
        }
        *outcomes.entry(now == old).or_insert(0) += 1;
        nothing_left(&sys);
        finishes(&sys, &loader, &format!("effect {n}, {what}"));
    }
    assert_eq!(outcomes.len(), 2, "both outcomes occur: {outcomes:?}");
}

#[test]
fn a_death_within_the_recovery_is_recovered_too() {
    let crash = |n| {
        let sys = node();
        let plan = plan(&sys);
        // In the middle of the swap.
        let swapping = total_until(&format!("rename {CFG}"));
        sys.state().fail = Fail::From(swapping);
        let _ = apply(&sys, &daemon(&sys), &plan);
        let done = sys.state().effects.len();
        sys.state().fail = Fail::From(done + n);
        sys
    };
    let mut died = 0;
    for n in 1.. {
        let sys = crash(n);
        if recover(&sys, Path::new(STATE), Duration::ZERO).is_ok() {
            break;
        }
        died += 1;
        sys.state().fail = Fail::Never;
        recover(&sys, Path::new(STATE), Duration::ZERO).unwrap();
        assert_eq!(set(&sys), set(&node()), "death {n} of the recovery");
        nothing_left(&sys);
    }
    assert!(died > 10, "{died}");
}

fn total_until(effect: &str) -> usize {
    let sys = node();
    let plan = plan(&sys);
    apply(&sys, &daemon(&sys), &plan).unwrap();
    let state = sys.state();
    state.effects.iter().position(|e| e == effect).unwrap() + 1
}

#[test]
fn what_somebody_wrote_before_the_recovery_is_set_aside() {
    let sys = node();
    let (old, plan) = (set(&sys), plan(&sys));
    sys.state().fail = Fail::From(total_until(&format!("rename {CFG}")));
    let _ = apply(&sys, &daemon(&sys), &plan);
    sys.state().fail = Fail::Never;
    sys.put(CFG, file("by hand\n", 0o644, (0, 0), ""));
    recover(&sys, Path::new(STATE), Duration::ZERO).unwrap();
    assert_eq!(set(&sys), old);
    assert_eq!(
        sys.read(Path::new("/var/lib/pgsvc/set-aside/_etc_haproxy_haproxy.cfg.0")).unwrap(),
        b"by hand\n"
    );
}

/// The next run completes to the new set.
fn finishes(sys: &FakeSystem, loader: &Loader<'_>, what: &str) {
    sys.state().fail = Fail::Never;
    drop(begin(sys));
    if set(sys) != new_set() {
        let plan = plan(sys);
        apply(sys, loader, &plan).map_err(|f| panic!("{what}: {f:?}")).unwrap();
    }
    assert_eq!(set(sys), new_set(), "{what}");
    nothing_left(sys);
}

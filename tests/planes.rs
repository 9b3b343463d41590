//! One table for both load balancers: in every state of the members, every port leads to the members that the resolved
//! tiers promise. The promise is `resolve::states::serving`; held against it are a real HAProxy with the rendered
//! configuration, asked through its ports, and the checks of an L4 VIP's directors, carried out.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod standin;
mod planes {
    pub mod directors;
    pub mod proxy;
    pub mod table;
}

use std::collections::{BTreeMap, BTreeSet};

use pgsvc::resolve::states::{MemberState, serving};
use planes::directors::Directors;
use planes::proxy::Proxy;
use planes::table::{STATES, State, cluster, doing, services};
use standin::Member;

type Names = BTreeSet<String>;

/// The members' states by name.
fn known(state: &State) -> BTreeMap<String, MemberState> {
    (1..=5).map(|n| (format!("pg-test-{n}"), doing(state, n).state)).collect()
}

/// Puts the members into each state, and looks at every port of both planes. How many cells, and different answers.
fn table(guarded: bool, states: &[State]) -> (usize, usize) {
    let _alone = standin::alone();
    let cluster = cluster();
    let services = services(&cluster, guarded);
    let mut members: Vec<Member> = (1..=5).map(|n| Member::new(&format!("pg-test-{n}"), n)).collect();
    let directors = Directors::new(&cluster, &services);
    let proxy = Proxy::start(&services);
    let (mut cells, mut wrong, mut distinct) = (0, Vec::new(), BTreeSet::new());
    for state in states {
        (1..).zip(&mut members).for_each(|(n, m)| m.set(doing(state, n)));
        let known = known(state);
        proxy.settle();
        let directed = directors.directed();
        for s in &services {
            let promised = serving(s, &known);
            let (through, by_l4) = (proxy.reaches(&s.service), &directed[&s.listener]);
            if through != promised || *by_l4 != promised {
                wrong.push(format!(
                    "{} / {}: promised {promised:?}, HAProxy {through:?}, directors {by_l4:?}",
                    state.name, s.service
                ));
            }
            cells += 1;
            distinct.insert((s.service.clone(), promised));
        }
    }
    assert!(wrong.is_empty(), "{} of {cells} cells:\n{}", wrong.len(), wrong.join("\n"));
    (cells, distinct.len())
}

#[test]
fn both_planes_keep_the_promise_in_every_state() {
    let (cells, different) = table(false, &STATES);
    assert_eq!(cells, STATES.len() * 10);
    // A table in which little changes proves little.
    assert!(different >= 30, "{different} different answers in {cells} cells");
}

/// HAProxy counts the servers that are up and rejects; the directors ask for each member whether another one is the
/// primary. Both come to the same: while there are two, nobody serves.
#[test]
fn both_planes_lead_to_nobody_while_there_are_two_primaries_and_that_is_guarded_against() {
    let named = ["all healthy", "during a switchover", "switched over", "two primaries"];
    let states: Vec<State> = STATES.into_iter().filter(|s| named.contains(&s.name)).collect();
    let two = states.iter().find(|s| s.name == "two primaries").map(known).unwrap();
    for (guarded, promised) in [(false, 2), (true, 0)] {
        let all = services(&cluster(), guarded);
        let primary = all.iter().find(|s| s.service == "primary").unwrap();
        assert_eq!(serving(primary, &two).len(), promised);
    }
    assert_eq!(table(true, &states).0, 40);
}

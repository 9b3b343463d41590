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

use pgsvc::resolve::states::{States, serving};
use planes::directors::Directors;
use planes::proxy::Proxy;
use planes::table::{STATES, State, cluster, inventory, services};
use serde_json::{Value, json};
use standin::Member;

type Names = BTreeSet<String>;

/// One port in one state: what was simulated, and what both planes did.
struct Cell {
    state: State,
    service: String,
    simulated: Names,
    haproxy: Names,
    directors: Names,
}

impl Cell {
    fn agrees(&self) -> bool {
        self.haproxy == self.simulated && self.directors == self.simulated
    }

    fn json(&self) -> Value {
        json!({"state": self.state.name, "words": self.state.words, "service": self.service, "simulated": self.simulated,
            "haproxy": self.haproxy, "directors": self.directors, "agree": self.agrees()})
    }
}

/// Puts the members into each state, and looks at every port of both planes.
fn table(guarded: bool, states: &[State]) -> Vec<Cell> {
    let _alone = standin::alone();
    let cluster = cluster();
    let services = services(&cluster, guarded);
    let mut members: Vec<Member> = (1..=5).map(|n| Member::new(&format!("pg-test-{n}"), n)).collect();
    let directors = Directors::new(&cluster, &services);
    let proxy = Proxy::start(&services);
    let mut cells = Vec::new();
    for state in states {
        let known = state.known();
        members.iter_mut().for_each(|m| m.set(known.get(&m.name).unwrap().clone()));
        let (mut reached, directed) = proxy.still(|| {
            let reached = services.iter().map(|s| (s.listener.clone(), proxy.reaches(&s.service)));
            (reached.collect::<BTreeMap<String, Names>>(), directors.directed())
        });
        cells.extend(services.iter().map(|s| Cell {
            state: *state,
            service: s.service.clone(),
            simulated: serving(s, &known),
            haproxy: reached.remove(&s.listener).unwrap(),
            directors: directed[&s.listener].clone(),
        }));
    }
    keep(if guarded { "guarded" } else { "plain" }, &cells);
    let wrong: Vec<String> = cells.iter().filter(|c| !c.agrees()).map(|c| c.json().to_string()).collect();
    assert!(wrong.is_empty(), "{} of {} cells:\n{}", wrong.len(), cells.len(), wrong.join("\n"));
    cells
}

/// For `make states`, which prints the table.
fn keep(name: &str, cells: &[Cell]) {
    if let Some(dir) = std::env::var_os("PGSVC_STATES_DIR") {
        let cells: Vec<Value> = cells.iter().map(Cell::json).collect();
        std::fs::write(std::path::Path::new(&dir).join(format!("{name}.json")), json!(cells).to_string())
            .unwrap();
    }
}

#[test]
fn both_planes_keep_the_promise_in_every_state() {
    let cells = table(false, &STATES);
    assert_eq!(cells.len(), STATES.len() * 10);
    let different: BTreeSet<_> = cells.iter().map(|c| (&c.service, &c.simulated)).collect();
    // A table in which little changes proves little.
    assert!(different.len() >= 30, "{} different answers in {} cells", different.len(), cells.len());
}

/// HAProxy counts the servers that are up and rejects; the directors ask for each member whether another one is the
/// primary. Both come to the same: while there are two, nobody serves.
#[test]
fn both_planes_lead_to_nobody_while_there_are_two_primaries_and_that_is_guarded_against() {
    let named = ["all healthy", "during a switchover", "switched over", "two primaries"];
    let states: Vec<State> = STATES.into_iter().filter(|s| named.contains(&s.name)).collect();
    let two = states.iter().find(|s| s.name == "two primaries").map(State::known).unwrap();
    for (guarded, promised) in [(false, 2), (true, 0)] {
        let all = services(&cluster(), guarded);
        let primary = all.iter().find(|s| s.service == "primary").unwrap();
        assert_eq!(serving(primary, &two).len(), promised);
    }
    assert_eq!(table(true, &states).len(), 40);
}

/// What `pgsvc explain --state` prints is what was held against the planes.
#[test]
fn the_command_line_simulates_the_same_table() {
    let services = services(&cluster(), true);
    let mut cells = 0;
    for state in STATES {
        let mut command = assert_cmd::Command::cargo_bin("pgsvc").unwrap();
        command
            .args(["explain", "-i", "-", "--format", "json", "--state", state.words])
            .write_stdin(inventory());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}: {}", state.words, String::from_utf8_lossy(&output.stderr));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let known: States = state.known();
        for s in &services {
            let said = &json["pg-test"]["services"][&s.service]["leads_to"];
            let said: Names =
                said.as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_owned()).collect();
            assert_eq!(said, serving(s, &known), "{} / {}", state.name, s.service);
            cells += 1;
        }
        let answers: BTreeMap<String, Option<u16>> =
            serde_json::from_value(json["pg-test"]["members"]["pg-test-2"]["answers"].clone()).unwrap();
        assert!(
            answers.iter().all(|(path, code)| known.get("pg-test-2").unwrap().says(path) == *code),
            "{answers:?}"
        );
        assert!(answers.len() >= 20);
    }
    assert_eq!(cells, STATES.len() * 10);
}

//! What pgsvc accepts, the real HAProxy accepts; and no accepted value adds a line or a word to a configuration.
//! Bounded and seeded; a failure is made as small as it gets and shown.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod accepts {
    pub mod definitions;
    pub mod real;
}

use accepts::definitions::{FIELDS, definition, harmless, hostile, put};
use accepts::real::{Batch, files, structure};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

const CASES: usize = 200;
/// So many cases make one configuration.
const BATCH: usize = 40;

fn runner() -> TestRunner {
    TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// What is wrong with one case; `None` where it is refused by pgsvc, or right.
fn wrong(case: &Value, twin: &Value) -> Option<String> {
    let rendered = files(case, 0).ok()?;
    let plain = files(twin, 0).unwrap_or_else(|e| panic!("the twin is refused: {e}: {twin}"));
    if structure(&rendered) != structure(&plain) {
        let text: Vec<&str> = rendered.iter().map(|f| &*f.content).collect();
        return Some(format!("another structure than that of harmless values:\n{}", text.join("\n")));
    }
    let mut batch = Batch::new();
    batch.add(&rendered);
    batch.check().err()
}

#[test]
fn what_is_accepted_renders_to_what_haproxy_accepts() {
    let mut runner = runner();
    let strategy = definition();
    let (mut accepted, mut reasons) = (0, std::collections::BTreeMap::<String, usize>::new());
    let mut seen = Vec::new();
    for _ in 0..CASES / BATCH {
        let mut trees: Vec<_> = (0..BATCH).map(|_| strategy.new_tree(&mut runner).unwrap()).collect();
        let mut batch = Batch::new();
        let mut good = true;
        for (i, tree) in trees.iter().enumerate() {
            let case = tree.current();
            match files(&case, i) {
                Ok(rendered) => {
                    good &= structure(&rendered) == structure(&files(&harmless(&case), i).unwrap());
                    accepted += 1;
                    seen.extend(rendered.iter().map(|f| f.content.clone()));
                    batch.add(&rendered);
                }
                Err(e) => {
                    *reasons.entry(e.chars().skip_while(|c| *c != ':').take(60).collect()).or_default() += 1
                }
            }
        }
        if good && batch.check().is_ok() {
            continue;
        }
        for tree in &mut trees {
            while wrong(&tree.current(), &harmless(&tree.current())).is_some() {
                if let Some(e) = smallest(tree) {
                    panic!("{e}");
                }
            }
        }
        panic!("only together: {}", batch.check().unwrap_err());
    }
    println!("{accepted} of {CASES} accepted; refused: {reasons:?}");
    assert!(accepted * 10 >= CASES * 8, "most must be accepted: {reasons:?}");
    for word in [
        "track ",
        "check-ssl verify required ca-file",
        "verifyhost",
        "verify none",
        "v6only",
        "[fd00::",
        " weight 0",
        "option allbackups",
        "-backup if {",
        "-check2",
        "init-addr",
        "http-check connect port 8008 ssl",
    ] {
        assert!(seen.iter().any(|t| t.contains(word)), "no case has {word:?}");
    }
}

/// The smallest case that is still wrong.
fn smallest(tree: &mut impl ValueTree<Value = Value>) -> Option<String> {
    let look = |tree: &dyn ValueTree<Value = Value>| {
        let case = tree.current();
        wrong(&case, &harmless(&case)).map(|e| format!("{e}\n{case:#}"))
    };
    let mut last = look(tree)?;
    while tree.simplify() {
        loop {
            if let Some(e) = look(tree) {
                last = e;
                break;
            }
            if !tree.complicate() {
                return Some(last);
            }
        }
    }
    Some(last)
}

#[test]
fn no_value_adds_a_line_or_a_word() {
    let mut runner = runner();
    let strategy = hostile();
    let (mut refused, mut accepted) = (0, 0);
    let mut batch = Batch::new();
    let mut cases = Vec::new();
    for i in 0..CASES * 4 {
        let (field, text): (&str, String) = strategy.new_tree(&mut runner).unwrap().current();
        if text.trim().is_empty() {
            // Nothing said: the default.
            continue;
        }
        let plain = put(field, None);
        let case = put(field, Some(&text));
        match files(&case, i) {
            Err(_) => refused += 1,
            Ok(rendered) => {
                let twin = files(&plain, i).unwrap();
                assert_eq!(structure(&rendered), structure(&twin), "{field}: {text:?}");
                accepted += 1;
                batch.add(&rendered);
                cases.push((case, plain));
            }
        }
    }
    println!("{refused} refused, {accepted} accepted, over {} fields", FIELDS.len());
    assert!(refused > CASES && accepted > 50, "{refused} refused, {accepted} accepted");
    if let Err(e) = batch.check() {
        for (case, plain) in &cases {
            if let Some(e) = wrong(case, plain) {
                panic!("{e}\n{case:#}");
            }
        }
        panic!("only together: {e}");
    }
}

#[test]
fn a_nodes_own_settings_are_accepted_too() {
    let mut runner = runner();
    let time = "(0|[1-9][0-9]{0,3})(ms|s|m|)";
    let strategy =
        ("[A-Za-z0-9_.@-]{1,63}", "\\PC{1,40}", time, time, 1_u64..=10_000_000, proptest::bool::ANY);
    for _ in 0..20 {
        let (user, password, client, queue, maxconn, auth) =
            strategy.new_tree(&mut runner).unwrap().current();
        let mut case = put("name", None);
        case["node"] = json!({"inventory_hostname": "lb1", "haproxy_admin_username": user, "haproxy_admin_password": password,
            "haproxy_client_timeout": client, "haproxy_server_timeout": client, "haproxy_connect_timeout": queue,
            "haproxy_queue_timeout": queue, "haproxy_maxconn": maxconn, "haproxy_auth_enabled": auth});
        let rendered = files(&case, 0).unwrap_or_else(|e| panic!("{e}: {case}"));
        let mut batch = Batch::new();
        batch.add(&rendered);
        batch.check().unwrap_or_else(|e| panic!("{e}\n{case:#}"));
    }
}

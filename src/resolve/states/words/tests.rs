use super::*;
use crate::inventory::cluster::{Overrides, build};
use serde_json::json;

fn cluster(roles: &[&str]) -> Cluster {
    let one = |(i, role): (usize, &&str)| {
        let vars = json!({"pg_cluster": "pg-test", "pg_seq": i + 1, "pg_role": role});
        (format!("10.0.0.{}", i + 1), vars.as_object().unwrap().into())
    };
    let hosts: Vec<_> = roles.iter().enumerate().map(one).collect();
    let view: Vec<_> = hosts.iter().map(|(n, v)| (n.as_str(), v)).collect();
    build("pg-test", &view, &Overrides::default()).unwrap()
}

fn three() -> Cluster {
    cluster(&["primary", "replica", "offline"])
}

fn said(text: &str) -> Vec<String> {
    parse(text, &three()).unwrap().iter().map(|(_, state)| state.in_words()).collect()
}

#[test]
fn who_is_not_named_is_a_healthy_replica_and_the_inventory_names_the_primary() {
    assert_eq!(said(""), ["primary", "replica", "replica"]);
    assert_eq!(said(" primary=none "), ["replica", "replica", "replica"]);
    assert_eq!(
        said("primary=3, down=1, lag:pg-test-2=64MB"),
        ["down", "replica, 64MB behind", "primary"],
        "the issue's own example"
    );
    assert_eq!(said("down=1"), ["down, and nobody leads in its place", "replica", "replica"]);
    assert_eq!(said("standby_leader=2"), ["replica", "standby leader", "replica"]);
}

#[test]
fn every_word_changes_what_it_names_and_nothing_else() {
    let healthy = parse("", &three()).unwrap();
    for (word, example, _) in
        WORDS.iter().filter(|(w, ..)| !["primary", "standby_leader", "down"].contains(w))
    {
        let states = parse(example, &three()).unwrap();
        assert_ne!(states.get("pg-test-2"), healthy.get("pg-test-2"), "{word}");
        assert_eq!(
            (states.get("pg-test-1"), states.get("pg-test-3")),
            (healthy.get("pg-test-1"), healthy.get("pg-test-3"))
        );
    }
    let words =
        "primary=1,stopped=2,lag:2+3=1536kB,api:3=silent,tag:3=a:b,tag:3=c:d,exporter:3=503,closed:3=7000";
    assert_eq!(said(words)[1], "replica, PostgreSQL stopped, 1536kB behind, port 5432 closed");
    assert_eq!(
        said(words)[2],
        "replica, 1536kB behind, Patroni's API silent, port 7000 closed, port 9630 answers 503, tag a: b, tag c: d"
    );
}

#[test]
fn what_is_wrong_is_named_with_what_helps() {
    for (text, parts) in [
        ("primry=1", ["state 'primry=1': 'primry' is no word", "did you mean 'primary'?"]),
        ("zzzzzz=1", ["'zzzzzz' is no word", "words: primary, standby_leader, down,"]),
        ("primary", ["state 'primary': has no value", "primary=3"]),
        (
            "primary=7",
            ["'7' is no member of pg-test", "its members: 1 (pg-test-1), 2 (pg-test-2), 3 (pg-test-3)"],
        ),
        ("down=1+x", ["state 'down=1+x': 'x' is no member", "its members"]),
        ("lag:2=10mb", ["state 'lag:2=10mb': '10mb' is no size", "64MB; units: B, kB"]),
        ("lag:2=-1MB", ["'-1MB' is no size", "64MB"]),
        ("lag=10MB", ["state 'lag=10MB': names no member", "as in lag:2=64MB"]),
        ("down:2=1", ["names members twice", "as in down=1+2"]),
        ("lag:1=10MB", ["pg-test-1 leads, and so it is behind nobody", "primary=none"]),
        ("primary=2,sync=2", ["pg-test-2 leads", "say who is the primary"]),
        ("primary=2,primary=3", ["state 'primary=3': 'primary=2' is said already", "primary=1+2"]),
        ("primary=2,standby_leader=3", ["'primary=2' is said already", ""]),
        (
            "lag:2=1MB,lag:2+3=2MB",
            ["state 'lag:2+3=2MB': 'lag:2=1MB' is said of pg-test-2 already", "leave one"],
        ),
        ("tag:2=rack", ["a tag has a name and a value", "tag:2=rack:a"]),
        ("api:2=up", ["'up' is no state of it", "down"]),
        ("exporter:2=99", ["'99' is no HTTP status", "503, or down"]),
        ("closed:2=0", ["'0' is no port", "1 to 65535"]),
    ] {
        let e = parse(text, &three()).unwrap_err().to_string();
        assert!(parts.iter().all(|p| e.contains(p)), "{text}: {e}");
    }
    let both = parse("primary=7,lag:2=x", &three()).unwrap_err();
    assert_eq!(both.0.len(), 2, "all at once: {both}");
}

#[test]
fn an_inventory_without_one_primary_needs_to_be_told() {
    for roles in [&["replica", "replica"][..], &["primary", "primary"]] {
        let e = parse("", &cluster(roles)).unwrap_err().to_string();
        assert!(e.contains("primaries; say who is: primary=1, or primary=none"), "{e}");
        assert!(parse("primary=2", &cluster(roles)).is_ok());
    }
}

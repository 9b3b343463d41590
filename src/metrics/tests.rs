//! The exposition, read by a strict parser of the format: what it says, and that Prometheus would take it.
//! Source: Prometheus's documentation, "Exposition formats", text-based format.

use std::collections::BTreeSet;

use super::*;
use crate::verify::stray::{Count, OldWorker};

type Labels = BTreeMap<String, String>;

/// Every sample: name, labels, value.
type Samples = Vec<(String, Labels, f64)>;

/// Reads the format as its description has it, stricter than Prometheus does: HELP and TYPE stand once and before the
/// values, the values of a metric stand together, no series comes twice.
fn parse(text: &str) -> Samples {
    assert!(text.ends_with('\n') && !text.contains("\n\n"), "lines end in one newline each");
    let (mut samples, mut seen, mut typed, mut helped) =
        (Vec::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let (keyword, rest) = rest.split_once(' ').unwrap();
            let (name, said) = rest.split_once(' ').unwrap();
            assert!(is_name(name, true), "{line}");
            match keyword {
                "HELP" => assert!(
                    helped.insert(name.to_owned()) && !said.is_empty() && !said.contains('\\'),
                    "{line}"
                ),
                "TYPE" => {
                    assert!(
                        ["counter", "gauge", "histogram", "summary", "untyped"].contains(&said),
                        "{line}"
                    );
                    assert!(helped.contains(name) && typed.insert(name.to_owned()), "{line}");
                    current = name.to_owned();
                }
                _ => panic!("neither HELP nor TYPE: {line}"),
            }
            continue;
        }
        let (name, labels, value) = sample(line);
        assert_eq!(name, current, "a value outside its metric: {line}");
        assert!(seen.insert((name.clone(), labels.clone())), "twice: {line}");
        samples.push((name, labels, value));
    }
    assert_eq!(typed, helped);
    samples
}

fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name, true), "{line}");
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, value) = rest.split_once("=\"").unwrap();
            assert!(is_name(label, false) && !label.starts_with("__"), "{line}");
            let (value, after) = quoted(value);
            assert!(labels.insert(label.to_owned(), value).is_none(), "a label twice: {line}");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').unwrap();
    assert!(!value.contains(' '), "a timestamp is no business of the textfile collector's: {line}");
    (name.to_owned(), labels, value.parse().unwrap())
}

/// A label's value up to its closing quote, and what follows.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                c => panic!("\\{c} is no escape"),
            }),
            c => value.push(c),
        }
    }
    panic!("no closing quote: {text}")
}

fn is_name(name: &str, colon: bool) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || colon && c == ':';
    name.chars().all(good) && name.starts_with(|c: char| !c.is_ascii_digit())
}

fn port(service: &str, address: &str, status: Status) -> PortResult {
    let n = address.rsplit_once(':').unwrap().1.parse().unwrap();
    PortResult {
        status,
        expected: vec!["pg-test-1".into()],
        ..PortResult::new("pg-test", service, n, address)
    }
}

fn run(report: &Report) -> Samples {
    parse(&text(&Run { report, drift: Some(true), ended: 1_800_000_000, took: 0.0421 }))
}

/// The value of a series; the labels are those that matter, `k=v`.
fn value(samples: &Samples, name: &str, labels: &[&str]) -> Option<f64> {
    let has = |l: &Labels| {
        labels.iter().all(|w| w.split_once('=').is_some_and(|(k, v)| l.get(k).is_some_and(|x| x == v)))
    };
    let mut found = samples.iter().filter(|(n, l, _)| n == name && has(l)).map(|(_, _, v)| *v);
    let first = found.next();
    assert_eq!(found.next(), None, "{name} {labels:?} is not one series");
    first
}

#[test]
fn a_port_is_ok_unless_it_is_wrong_and_its_state_is_one_of_five() {
    let mut elsewhere = port("vip", "10.0.0.9:5437", Status::Ok);
    elsewhere.not_asked([10, 0, 0, 9].into());
    let ports = vec![
        PortResult {
            found: vec!["pg-test-1 (primary)".into()],
            ..port("primary", "127.0.0.1:5433", Status::Ok)
        },
        port("replica", "127.0.0.1:5434", Status::Wrong),
        port("default", "[::1]:5436", Status::Unproven),
        PortResult { expected: Vec::new(), ..port("offline", "127.0.0.1:5438", Status::Empty) },
        elsewhere,
    ];
    let samples = run(&Report { verify: ports, ..Report::default() });
    for (service, address, ok, state, expected, found) in [
        ("primary", "127.0.0.1", 1.0, "ok", 1.0, Some(1.0)),
        ("replica", "127.0.0.1", 0.0, "wrong", 1.0, Some(0.0)),
        ("default", "[::1]", 1.0, "unproven", 1.0, None),
        ("offline", "127.0.0.1", 1.0, "empty", 0.0, Some(0.0)),
        ("vip", "10.0.0.9", 1.0, "elsewhere", 1.0, None),
    ] {
        let service = format!("service={service}");
        let labels = ["cluster=pg-test", &service, &format!("address={address}")];
        assert_eq!(value(&samples, "pgsvc_port_ok", &labels), Some(ok), "{labels:?}");
        assert_eq!(value(&samples, "pgsvc_port_members_expected", &labels), Some(expected), "{labels:?}");
        assert_eq!(value(&samples, "pgsvc_port_members_found", &labels), found, "{labels:?}");
        for one in STATES {
            let labels = [&*service, &format!("status={one}")];
            assert_eq!(
                value(&samples, "pgsvc_port_status", &labels),
                Some(f64::from(one == state)),
                "{labels:?}"
            );
        }
    }
}

#[test]
fn a_port_that_changes_keeps_its_series() {
    let series = |status| {
        let samples =
            run(&Report { verify: vec![port("primary", "127.0.0.1:5433", status)], ..Report::default() });
        let own = samples.into_iter().filter(|(n, ..)| n == "pgsvc_port_ok" || n == "pgsvc_port_status");
        own.map(|(n, l, _)| (n, l)).collect::<Vec<_>>()
    };
    assert_eq!(series(Status::Ok), series(Status::Wrong));
}

#[test]
fn two_addresses_of_a_service_are_two_series() {
    let verify =
        vec![port("primary", "127.0.0.1:5433", Status::Ok), port("primary", "10.0.0.3:5433", Status::Wrong)];
    let samples = run(&Report { verify, ..Report::default() });
    assert_eq!(value(&samples, "pgsvc_port_ok", &["address=127.0.0.1", "port=5433"]), Some(1.0));
    assert_eq!(value(&samples, "pgsvc_port_ok", &["address=10.0.0.3", "port=5433"]), Some(0.0));
}

#[test]
fn sessions_of_old_workers_are_counted_over_all_of_them() {
    let count = |server: &str, count| Count {
        service: "pg-test-primary".into(),
        server: server.into(),
        count,
        oldest: 9,
    };
    let old_workers = vec![
        OldWorker { pid: 7, age: 60, sessions: vec![count("pg-test-1", 2), count("", 1)] },
        OldWorker { pid: 8, age: 30, sessions: vec![count("pg-test-1", 3)] },
    ];
    let samples = run(&Report { old_workers, ..Report::default() });
    assert_eq!(value(&samples, "pgsvc_old_workers", &[]), Some(2.0));
    let held =
        |member: &str| value(&samples, "pgsvc_old_worker_sessions", &["listener=pg-test-primary", member]);
    assert_eq!((held("member=pg-test-1"), held("member=")), (Some(5.0), Some(1.0)));
}

#[test]
fn a_run_without_ports_still_says_when_it_was_and_that_it_failed() {
    let mut report = Report::default();
    report.fail([crate::error::Error::new("a", "b")]);
    let samples = parse(&text(&Run { report: &report, drift: None, ended: 1_800_000_000, took: 0.0421 }));
    assert_eq!(value(&samples, "pgsvc_verify_errors", &[]), Some(1.0));
    assert_eq!(value(&samples, "pgsvc_verify_timestamp_seconds", &[]), Some(1.8e9));
    assert_eq!(value(&samples, "pgsvc_verify_duration_seconds", &[]), Some(0.042));
    assert_eq!(value(&samples, "pgsvc_drift", &[]), None);
}

#[test]
fn a_name_cannot_end_its_label() {
    let samples =
        run(&Report { verify: vec![port("a\"}\n\\", "127.0.0.1:1", Status::Ok)], ..Report::default() });
    assert_eq!(value(&samples, "pgsvc_port_ok", &["service=a\"}\n\\"]), Some(1.0));
}

#[test]
fn every_metric_is_explained_and_every_alert_asks_for_one_that_there_is() {
    let read = |name: &str| {
        std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name))
            .unwrap()
    };
    let count = Count { service: "a".into(), server: "b".into(), count: 1, oldest: 1 };
    let report = Report {
        verify: vec![port("primary", "127.0.0.1:5433", Status::Ok)],
        old_workers: vec![OldWorker { pid: 7, age: 60, sessions: vec![count] }],
        ..Report::default()
    };
    let names: BTreeSet<String> = run(&report).into_iter().map(|(n, ..)| n).collect();
    let page = read("metrics.md");
    for name in &names {
        assert!(page.contains(&format!("`{name}")), "{name} is not in docs/metrics.md");
    }
    let rules: serde_json::Value = serde_yaml::from_str(&read("alerts.yml")).unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap().clone();
    assert!(rules.len() >= 4, "{rules:?}");
    for rule in rules {
        let text = rule["expr"].as_str().unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let asked: Vec<&str> = words.filter(|w| w.starts_with("pgsvc_")).collect();
        assert!(!asked.is_empty() && asked.iter().all(|w| names.contains(*w)), "{text}");
        assert!(rule["for"].is_string() && rule["annotations"]["summary"].is_string(), "{rule}");
    }
}

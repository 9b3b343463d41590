//! Reports in, the screen's text out.

use serde_json::json;

use super::board::When;
use super::*;
use crate::error::Error;
use crate::resolve::Tier;
use crate::verify::judge::PortResult;
use crate::verify::stray::{Busy, Count, OldWorker};

const NOON: u64 = 12 * 3600;

fn port(service: &str, n: u16, status: Status, expected: &[&str], found: &[&str]) -> PortResult {
    let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect();
    let (expected, found) = (names(expected), names(found));
    PortResult {
        status,
        expected,
        found,
        ..PortResult::new("pg-test", service, n, &format!("127.0.0.1:{n}"))
    }
}

fn report(verify: Vec<PortResult>, leader: &str) -> Report {
    let services = json!({"services": {"primary": {"role": "primary"}, "replica": {"role": "read_only"}}});
    Report {
        node: "node3".into(),
        verify,
        clusters: [("pg-test".into(), services)].into(),
        leaders: [("pg-test".into(), leader.split_whitespace().map(str::to_owned).collect())].into(),
        ..Report::default()
    }
}

fn well() -> Report {
    let verify = vec![
        port("primary", 5433, Status::Ok, &["pg-test-1"], &["pg-test-1 (primary)"]),
        port("replica", 5434, Status::Ok, &["pg-test-2"], &["pg-test-2 (replica)"]),
    ];
    let busy =
        |service: &str, server: &str, count| Busy { service: service.into(), server: server.into(), count };
    let sessions = vec![busy("pg-test-primary", "pg-test-1", 12), busy("pg-test-replica", "pg-test-2", 3)];
    Report { sessions, ..report(verify, "pg-test-1") }
}

/// The primary is gone: nobody serves it, and the replica's port has the backup's turn.
fn failing() -> Report {
    let mut primary = port("primary", 5433, Status::Wrong, &["pg-test-1"], &[]);
    primary.why = vec!["HAProxy has no server for it\nnow".into(), "pg-test-1: connecting timed out".into()];
    let mut replica = port("replica", 5434, Status::Ok, &["pg-test-3"], &["pg-test-3 (replica)"]);
    replica.tier = Some(Tier::Backup);
    let sessions =
        vec![Count { service: "pg-test-primary".into(), server: "pg-test-1".into(), count: 2, oldest: 90 }];
    let old_workers = vec![OldWorker { pid: 4711, age: 300, sessions }];
    Report { old_workers, ..report(vec![primary, replica], "") }
}

fn seen(reports: Vec<(u64, Report)>) -> Board {
    let mut board = Board::default();
    for (at, report) in reports {
        board.take(report, When { at: Duration::from_secs(at), wall: NOON + at });
    }
    board
}

fn drawn(board: &Board, at: u64, width: usize, height: usize) -> Vec<Line> {
    let lines = draw(board, &Frame { now: Duration::from_secs(at), wall: NOON + at, width, height });
    assert!(lines.len() <= height && lines.iter().all(|l| l.text.chars().count() <= width), "{lines:#?}");
    lines
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|l| format!("{}\n", l.text)).collect()
}

#[test]
fn a_well_cluster_is_a_table_with_its_leader() {
    let lines = drawn(&seen(vec![(1, well())]), 2, 100, 30);
    assert_eq!(
        text(&lines),
        "pgsvc  node3 at 127.0.0.1  12:00:02 UTC  2 ports: 2 ok\n\
         \n\
         SERVICE    PORT  STATUS  MUST LEAD TO         LEADS TO             SINCE  SESSIONS\n\
         pg-test: leader pg-test-1\n  \
         primary  5433  ok      pg-test-1 (primary)  pg-test-1 (primary)  >1s          12\n  \
         replica  5434  ok      pg-test-2            pg-test-2 (replica)  >1s           3\n"
    );
    assert!(lines.iter().all(|l| [Style::Plain, Style::Head].contains(&l.style)), "nothing stands out");
}

#[test]
fn a_failover_shows_what_is_wrong_why_since_when_and_what_happened() {
    let board = seen(vec![(1, well()), (2, well()), (3, failing()), (8, failing())]);
    let lines = drawn(&board, 9, 100, 30);
    assert_eq!(
        text(&lines),
        "pgsvc  node3 at 127.0.0.1  12:00:09 UTC  2 ports: 1 WRONG, 1 ok\n\
         \n\
         SERVICE    PORT  STATUS  MUST LEAD TO         LEADS TO             SINCE  SESSIONS\n\
         pg-test: by Patroni no member leads\n  \
         primary  5433  WRONG   pg-test-1 (primary)  nobody               6s            0\n      \
         HAProxy has no server for it now; pg-test-1: connecting timed out\n  \
         replica  5434  ok      pg-test-3 (backup)   pg-test-3 (replica)  6s            0\n\
         \n\
         OLD WORKER  AGE   SERVICE          SERVER     SESSIONS  OLDEST\n\
         4711        5m0s  pg-test-primary  pg-test-1  2         1m30s\n\
         \n\
         EVENTS\n\
         12:00:03  pg-test: the leader is nobody\n\
         12:00:03  pg-test-primary (127.0.0.1:5433) WRONG: must lead to pg-test-1, leads to nobody: HAProxy…\n\
         12:00:03  pg-test-replica (127.0.0.1:5434) leads to pg-test-3 (replica)\n\
         12:00:03  old worker 4711: 2 sessions on pg-test-1\n"
    );
    let wrong: Vec<&str> =
        lines.iter().filter(|l| l.style == Style::Wrong).map(|l| l.text.as_str()).collect();
    assert!(
        wrong.len() == 4 && wrong[1].contains("no member leads") && wrong[2].contains("WRONG"),
        "{wrong:?}"
    );
}

#[test]
fn since_counts_from_the_last_change_and_not_from_the_order_of_names() {
    let two = |found: &[&str]| report(vec![port("replica", 5434, Status::Ok, &["a", "b"], found)], "a");
    let board = seen(vec![(1, two(&["a", "b"])), (5, two(&["b", "a"]))]);
    assert!(text(&drawn(&board, 9, 100, 30)).contains(">8s"), "the same, seen in another order");
    assert!(board.events.is_empty());
    let board = seen(vec![(1, two(&["a", "b"])), (5, two(&["b"])), (7, two(&["a", "b"]))]);
    assert!(text(&drawn(&board, 9, 100, 30)).contains(" 2s "), "back again is a change");
    assert_eq!(board.events.len(), 2);
}

#[test]
fn a_look_that_cannot_be_made_says_why_and_forgets_no_time() {
    let mut failed = Report { node: "node3".into(), ..Report::default() };
    failed.fail([Error::new("verify_sslrootcert", "is not\x1b[2J there")]);
    let board = seen(vec![(1, well()), (3, failing()), (4, failed), (6, failing())]);
    assert!(
        text(&drawn(&board, 9, 100, 30)).contains("  6s  "),
        "since the change, not since the look came back"
    );
    let board = {
        let mut failed = Report { node: "node3".into(), ..Report::default() };
        failed.fail([Error::new("verify_sslrootcert", "is not\x1b[2J there")]);
        seen(vec![(1, failed)])
    };
    let lines = drawn(&board, 9, 100, 30);
    assert!(
        text(&lines).contains("the last look ended 8s ago\nerror: verify_sslrootcert: is not [2J there\n"),
        "{}",
        text(&lines)
    );
    assert!(!text(&lines).contains('\x1b'), "nothing that a terminal would obey");
}

#[test]
fn before_the_first_report_it_says_that_it_looks() {
    assert_eq!(text(&drawn(&Board::default(), 0, 100, 30)), "pgsvc  12:00:00 UTC  looking …\n");
}

/// Forty clusters, one of which has a wrong port.
fn many(wrong: usize) -> Report {
    let mut all = Report { node: "lb1".into(), ..Report::default() };
    for n in 0..40 {
        for service in ["primary", "replica"] {
            let status = if n == wrong && service == "primary" { Status::Wrong } else { Status::Ok };
            let mut one = port(service, 5433, status, &["m"], &["m (primary)"]);
            one.cluster = format!("pg-{n:02}");
            all.leaders.insert(one.cluster.clone(), vec!["m".into()]);
            all.verify.push(one);
        }
    }
    all
}

#[test]
fn where_there_is_no_room_the_wrong_ones_come_first_and_the_rest_is_counted() {
    let lines = drawn(&seen(vec![(1, many(33))]), 2, 100, 24);
    let shown = text(&lines);
    assert!(lines[3].text.starts_with("pg-33: leader m"), "{shown}");
    assert!(lines.len() >= 23, "{shown}");
    assert!(lines[lines.len() - 1].text.starts_with("… 68 more ports, 0 of them wrong"), "{shown}");
    let all = text(&drawn(&seen(vec![(1, many(33))]), 2, 100, 200));
    assert!(!all.contains('…') && all.find("pg-00").unwrap() < all.find("pg-33").unwrap(), "in their order");
}

#[test]
fn no_size_of_a_terminal_is_too_small_or_overflows() {
    let board = seen(vec![(1, many(3)), (2, failing()), (3, many(5)), (4, failing())]);
    for height in 0..40 {
        for width in [0, 1, 2, 10, 40, 79, 80, 100, 500] {
            drawn(&board, 5, width, height);
        }
    }
}

#[test]
fn the_address_is_shown_where_it_is_not_one_for_all() {
    let mut all = well();
    all.verify[1].address = "10.0.0.3:5434".into();
    let shown = text(&drawn(&seen(vec![(1, all)]), 2, 100, 30));
    assert!(
        shown.contains("  ADDRESS ") && shown.contains("  10.0.0.3:5434 ") && !shown.contains(" at "),
        "{shown}"
    );
}

#[test]
fn long_names_are_cut_where_the_terminal_ends_and_numbers_stay() {
    let long = "pg-a-very-long-cluster-name-indeed-1";
    let many = [long, "pg-a-very-long-cluster-name-indeed-2", "pg-a-very-long-cluster-name-indeed-3"];
    let verify = vec![port("replica", 5434, Status::Ok, &many, &many)];
    let lines = drawn(&seen(vec![(1, report(verify, long))]), 65, 100, 30);
    let row = lines.iter().find(|l| l.text.contains("5434")).unwrap();
    assert!(row.text.contains('…') && row.text.ends_with(" >1m4s         0"), "{}", row.text);
}

//! `pgsvc explain` as its users run it, and what the pages say that it prints.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::path::Path;

use common::{HOSTS, Inventory, code, err, good, out, run};
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const EXAMPLE: [&str; 3] = ["explain", "-i", "examples/hosts.yml"];

fn explain(more: &[&str]) -> String {
    out(&good(&[&EXAMPLE[..], more].concat()))
}

fn refused(more: &[&str], parts: &[&str]) {
    let output = run(&[&EXAMPLE[..], more].concat());
    assert_eq!(code(&output), 1, "{more:?}");
    for part in parts {
        assert!(err(&output).contains(part) && out(&output).is_empty(), "{more:?}: {}", err(&output));
    }
}

/// The words of a command line; single quotes keep words together.
fn words(command: &str) -> Vec<String> {
    let odd = |(i, part): (usize, &str)| match i % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    };
    command.split('\'').enumerate().flat_map(odd).collect()
}

fn print(command: &str) -> String {
    let all = words(command);
    assert_eq!(all[0], "pgsvc", "{command}");
    out(&good(&all[1..].iter().map(String::as_str).collect::<Vec<_>>()))
}

/// A page with what its commands print now: in the block below `<!-- $ COMMAND -->`, or in a file where it says `> FILE`.
fn renewed(page: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(Path::new(ROOT).join(page)).unwrap();
    let (mut files, mut new, mut lines) = (Vec::new(), String::new(), text.lines());
    while let Some(line) = lines.next() {
        new += &format!("{line}\n");
        let Some(command) = line.strip_prefix("<!-- $ ").and_then(|l| l.strip_suffix(" -->")) else {
            continue;
        };
        if let Some((command, file)) = command.split_once(" > ") {
            files.push((file.to_owned(), print(command)));
            continue;
        }
        let fence = lines.next().unwrap();
        assert!(fence.starts_with("```"), "{page}: {command}");
        lines.by_ref().find(|l| *l == "```").unwrap();
        new += &format!("{fence}\n{}\n```\n", print(command).trim_end());
    }
    assert!(new.contains("<!-- $ pgsvc explain"), "{page} shows nothing");
    files.push((page.to_owned(), new));
    files
}

/// `PGSVC_WRITE_DOCS=1 cargo test --test explain the_pages` writes them anew.
#[test]
fn the_pages_show_what_the_commands_print() {
    for (file, wanted) in ["README.md", "docs/explain.md"].into_iter().flat_map(renewed) {
        let path = Path::new(ROOT).join(&file);
        if std::env::var_os("PGSVC_WRITE_DOCS").is_some() {
            std::fs::write(&path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == wanted, "{file} is not what its commands print");
    }
}

#[test]
fn a_cells_reason_has_the_line_that_is_rendered() {
    let rendered = out(&good(&["render", "-i", "examples/hosts.yml", "--host", "10.10.10.11"]));
    let mut cells = 0;
    for service in ["primary", "replica", "default", "offline"] {
        for member in ["1", "2", "3"] {
            let text = explain(&["--why", service, member]);
            let lines: Vec<&str> = text.lines().filter_map(|l| l.trim().strip_prefix("HAProxy  ")).collect();
            for line in &lines {
                let (section, server) = line.split_once(": ").unwrap();
                let block = rendered.split_once(&format!("\n{}\n", section.trim())).unwrap().1;
                let block = block.split("\n\n").next().unwrap();
                assert!(block.contains(server), "{server} is not in\n{block}");
            }
            assert!(!lines.is_empty(), "{text}");
            cells += lines.len();
        }
    }
    // Two services of one tier, and two whose members that follow the role stand in both or in the second.
    assert_eq!(cells, 3 + 5 + 3 + 3);
    let json: Value =
        serde_json::from_str(&explain(&["--why", "replica", "pg-test-2", "--format", "json"])).unwrap();
    assert_eq!(json["haproxy"].as_array().unwrap().len(), 2);
    let own = tempfile::TempDir::new().unwrap();
    let template =
        "# Managed by pgsvc: cluster={{cluster}} service={{service}}\nlisten x\n    server pg-test-2 mine\n";
    std::fs::write(own.path().join("service.cfg.hbs"), template).unwrap();
    let text = explain(&["--why", "replica", "2", "--templates", own.path().to_str().unwrap()]);
    assert!(text.contains("listen x: server pg-test-2 mine\n"), "{text}");
}

#[test]
fn what_cannot_be_answered_is_refused_with_what_helps() {
    refused(&["--why", "replca", "2"], &["service 'replca'", "did you mean 'replica'?"]);
    refused(&["--why", "replica", "9"], &["'9' is no member of pg-test", "3 (pg-test-3)"]);
    refused(&["--connect", "x"], &["pg-test has none of that name", "primary, replica, default, offline"]);
    refused(&["--state", "primary=9,lag:2=1"], &["state 'primary=9': '9' is no member"]);
    refused(&["--state", "", "--format", "dot"], &["a drawing shows the whole"]);
    refused(&["-c", "pg-tset"], &["cluster 'pg-tset'", "did you mean 'pg-test'?"]);
    assert_eq!(code(&run(&["explain", "--state", "", "--why", "a", "b"])), 64);
    assert_eq!(code(&run(&["explain", "--why", "a"])), 64);
    let two = Inventory::new(&format!(
        "{HOSTS}    pg-b: {{vars: {{pg_cluster: pg-b}}, hosts: {{b1: {{pg_seq: 1, pg_role: primary}}}}}}\n"
    ));
    let output = run(&["explain", "-i", &two.path(), "--state", ""]);
    assert!(err(&output).contains("there are pg-b, pg-test; name it: -c CLUSTER"), "{}", err(&output));
    let one = good(&["explain", "-i", &two.path(), "--state", "", "-c", "pg-b"]);
    assert!(out(&one).contains("5433  primary  pg-b-1    active"), "{}", out(&one));
    let both = out(&good(&["explain", "-i", &two.path(), "--format", "mermaid"]));
    assert_eq!(both.matches("  subgraph ").count(), 2);
}

#[test]
fn no_connection_string_has_a_password() {
    let vars = "pg_cluster: pg-test, pgsvc_verify_user: dbuser, pgsvc_verify_password: hunter2, haproxy_admin_password: open sesame";
    let file =
        Inventory::new(&HOSTS.replace("pg_cluster: pg-test, haproxy_admin_password: 'open sesame'", vars));
    for more in [&["--connect"][..], &["--connect", "--format", "json"], &["--format", "json"]] {
        let text = out(&good(&[&["explain", "-i", &file.path()], more].concat()));
        assert!(text.contains("5434") && !text.contains("hunter2") && !text.contains("sesame"), "{text}");
    }
}

/// psql reads the file, and names each place that it tried: nobody listens there.
#[test]
fn libpq_reads_what_is_printed() {
    let hosts = "\
all:
  children:
    pg-test:
      vars:
        pg_cluster: pg-test
        pg_services: [{name: ro, src_port: 7, dst_port: 9, check_url: /read-only, selector: '[]'}]
      hosts: {127.77.0.1: {pg_seq: 1, pg_role: primary}, 127.77.0.2: {pg_seq: 2}}
";
    let file = Inventory::new(hosts);
    let text = out(&good(&["explain", "-i", &file.path(), "--connect", "ro"]));
    let conf = file.0.path().join("pg_service.conf");
    std::fs::write(&conf, &text).unwrap();
    let url = text.lines().find_map(|l| l.strip_prefix("#   url   ")).unwrap();
    let dsn = text.lines().find_map(|l| l.strip_prefix("#   libpq ")).unwrap();
    for (target, port) in
        [("service=pg-test-ro", "7"), ("service=pg-test-ro.direct", "9"), (url, "7"), (dsn, "7")]
    {
        let mut psql = std::process::Command::new("psql");
        let done = psql
            .args(["-w", "-X", "-c", "select 1", "-d", target])
            .env("PGSERVICEFILE", &conf)
            .env_remove("PGHOST");
        let done =
            done.output().unwrap_or_else(|e| panic!("needs psql: apt-get install postgresql-client: {e}"));
        let said = err(&done);
        for host in ["127.77.0.1", "127.77.0.2"] {
            let tried =
                said.contains(&format!("\"{host}\"")) && said.contains(&format!("port {port} failed"));
            assert!(tried, "{target}: {said}");
        }
    }
}

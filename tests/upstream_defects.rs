//! What upstream's role gets wrong around HAProxy, one test each: we do not have it. The numbers are those of the list
//! of defects; 11 and 13 belong to the reload and to the VIP.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{HOSTS, Inventory, Root, code, difference, err, out, run};

/// One service for `HOSTS`.
fn service(fields: &str) -> String {
    HOSTS.replace("vars: {", &format!("vars: {{pg_services: [{{name: x, src_port: 5440, {fields}}}], "))
}

/// What the service renders to.
fn rendered(inventory: &str) -> String {
    Root::with(inventory).conf("pg-test-x")
}

/// The `server` line of a member; the first, where backends that check it are apart.
fn server(text: &str, seq: u32) -> String {
    let word = format!("server pg-test-{seq} ");
    text.lines()
        .find(|l| l.trim_start().starts_with(&word))
        .unwrap_or_else(|| panic!("no {word}in {text}"))
        .trim()
        .to_owned()
}

#[test]
fn defect_01_numeric_ports_of_checks_and_targets_are_rendered_as_they_are() {
    for (check, dst) in [("9000", "7000"), ("'9000'", "'7000'")] {
        let text = rendered(&service(&format!("selector: '[]', check_port: {check}, dst_port: {dst}")));
        assert!(server(&text, 1).starts_with("server pg-test-1 10.10.10.11:7000 check port 9000 "), "{text}");
    }
    let output = Root::empty().apply(&service("selector: '[]', check_port: none"), &[]);
    assert!(code(&output) == 1 && err(&output).contains("check_port: 'none' is no port"), "{}", err(&output));
}

#[test]
fn defect_02_the_check_port_is_the_members_own_and_not_the_rendering_hosts() {
    let hosts = service("selector: '[]'").replace("pg_seq: 2", "pg_seq: 2, patroni_port: 18008");
    let hosts = hosts.replace("pg_seq: 1", "pg_seq: 1, patroni_port: 28008");
    let text = rendered(&hosts);
    for (seq, port) in [(1, 28008), (2, 18008), (3, 8008)] {
        assert!(server(&text, seq).contains(&format!("check port {port} ")), "{text}");
    }
    let exporter = service("selector: '[]', check_port: pg_exporter")
        .replace("pg_seq: 2", "pg_seq: 2, pg_exporter_port: 19630");
    assert!(server(&rendered(&exporter), 2).contains("check port 19630 "));
}

#[test]
fn defect_03_backups_take_numeric_targets_too() {
    let fields = "dst_port: '7000', check_url: /read-only, selector: '[? pg_role == `offline`]', selector_backup: '[? pg_role != `offline`]'";
    let text = rendered(&service(fields));
    for seq in 1..=3 {
        assert!(server(&text, seq).contains(&format!("10.10.10.1{seq}:7000 ")), "{text}");
    }
    assert!(server(&text, 1).ends_with(" backup") && !server(&text, 3).ends_with(" backup"), "{text}");
}

#[test]
fn defect_04_null_selectors_are_errors_and_strings_mean_what_they_say() {
    for selector in ["nothing", "[0]", "pg_role"] {
        let output = Root::empty().apply(&service(&format!("selector: '{selector}'")), &[]);
        assert_eq!(code(&output), 1);
        assert!(
            err(&output).contains("service 'x' of pg-test: selector")
                && err(&output).contains("no list of members")
        );
    }
    let hosts = service("selector: '[? pg_offline_query ]'")
        .replace("pg_seq: 2", "pg_seq: 2, pg_weight: '50', pg_offline_query: 'yes'");
    let text = rendered(&hosts.replace("pg_seq: 3", "pg_seq: 3, pg_offline_query: 'false'"));
    assert!(server(&text, 2).ends_with(" weight 50"), "{text}");
    assert!(!text.contains("pg-test-3"), "'false' is false: {text}");
}

#[test]
fn defect_05_all_backups_share_the_load() {
    let text = rendered(&service(
        "check_url: /read-only, selector: '[? pg_role == `offline`]', selector_backup: '[? pg_role != `offline`]'",
    ));
    assert!(text.contains("\n    option allbackups\n"), "{text}");
    // Where roles follow Patroni, the backups are a backend of their own, and none of them stands back in it.
    let text = rendered(&service(
        "check_url: /read-only, selector: '[]', selector_backup: '[? pg_role == `primary` || pg_role == `offline`]'",
    ));
    let (_, backups) = text.split_once("backend pg-test-x-backup\n").unwrap();
    for seq in 1..=3 {
        assert!(backups.contains(&format!("server pg-test-{seq} ")), "{text}");
    }
    assert!(!backups.lines().any(|l| l.ends_with(" backup")), "{text}");
}

#[test]
fn defect_06_files_are_owned_by_name_and_header_and_never_touched_before_they_are_right() {
    let root = Root::with(HOSTS);
    let other = HOSTS
        .replace("pg-test", "pg-test-2")
        .replace("vars: {", "vars: {pg_services: [{name: primary, src_port: 5533, selector: '[]'}], ");
    assert_eq!(code(&root.apply(&other, &[])), 0);
    root.put("/etc/haproxy/conf.d/pg-test-ro.cfg", "listen pg-test-ro\n    bind *:6001\n");
    let output = root.apply(HOSTS, &["--absent", "-c", "pg-test"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(root.has("pg-test-ro") && root.has("pg-test-2-primary") && !root.has("pg-test-primary"));
    // A hand-written file at one of our names is nobody's to overwrite.
    root.put("/etc/haproxy/conf.d/pg-test-primary.cfg", "listen mine\n    bind *:6002\n");
    let before = root.tree();
    let output = root.apply(HOSTS, &[]);
    assert!(code(&output) == 1 && err(&output).contains("was not written by pgsvc"), "{}", err(&output));
    // A bad definition leaves every file as it was.
    let output = root.apply(&service("selector: '[ ]'"), &[]);
    assert_eq!(code(&output), 1);
    assert_eq!(difference(&before, &root.tree()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn defect_07_a_second_run_rewrites_nothing() {
    let root = Root::with(HOSTS);
    let times = || {
        let of = |path: &std::path::PathBuf| {
            root.0.path().join(path).symlink_metadata().unwrap().modified().unwrap()
        };
        root.tree().keys().filter(|p| p.starts_with("etc")).map(of).collect::<Vec<_>>()
    };
    let (tree, before) = (root.tree(), times());
    for _ in 0..2 {
        let again = root.apply(HOSTS, &[]);
        assert!(code(&again) == 0 && err(&again).contains("nothing to do"), "{}", err(&again));
    }
    assert_eq!(difference(&tree, &root.tree()), Vec::<std::path::PathBuf>::new());
    assert_eq!(before, times(), "not even written again");
}

#[test]
fn defect_08_one_port_for_two_listeners_is_refused_whoever_has_it() {
    let two = HOSTS.replace("vars: {", "vars: {pg_services: [{name: x, src_port: 5440, selector: '[]'}, {name: y, src_port: 5440, selector: '[]'}], ");
    let output = Root::empty().apply(&two, &[]);
    assert!(
        code(&output) == 1 && err(&output).contains("port 5440 is also that of service 'x'"),
        "{}",
        err(&output)
    );
    // A hand-written listener.
    let root = Root::empty();
    root.put("/etc/haproxy/conf.d/hand.cfg", "listen hand\n    bind 10.10.10.11:5433\n");
    let output = root.apply(HOSTS, &[]);
    assert!(
        code(&output) == 1 && err(&output).contains("hand.cfg") && err(&output).contains("5433"),
        "{}",
        err(&output)
    );
    // Another cluster's, installed earlier.
    let root = Root::with(HOSTS);
    let output = root.apply(&HOSTS.replace("pg-test", "pg-other"), &[]);
    assert!(code(&output) == 1 && err(&output).contains("pg-test-primary.cfg"), "{}", err(&output));
    // A VIP and its own address are one.
    let vip = "{name: x, src_port: 5440, src_ip: vip, selector: '[]'}, {name: y, src_port: 5440, src_ip: 10.10.10.3, selector: '[]'}";
    let hosts =
        HOSTS.replace("vars: {", &format!("vars: {{vip_address: 10.10.10.3/24, pg_services: [{vip}], "));
    let output = Root::empty().apply(&hosts, &[]);
    assert!(code(&output) == 1 && err(&output).contains("10.10.10.3:5440"), "{}", err(&output));
}

#[test]
fn defect_09_what_is_no_longer_defined_leaves_no_file() {
    let with = |names: &[&str]| {
        let list: Vec<String> = names
            .iter()
            .zip(5440..)
            .map(|(n, port)| format!("{{name: {n}, src_port: {port}, selector: '[]'}}"))
            .collect();
        HOSTS.replace("vars: {", &format!("vars: {{pg_services: [{}], ", list.join(", ")))
    };
    let root = Root::with(&with(&["a", "b"]));
    assert_eq!(code(&root.apply(&with(&["a"]), &[])), 0);
    assert!(root.has("pg-test-a") && !root.has("pg-test-b"), "a removed service");
    let fewer = with(&["a"]).replace("        10.10.10.13: {pg_seq: 3, pg_role: offline}\n", "");
    assert_eq!(code(&root.apply(&fewer, &[])), 0);
    assert!(!root.conf("pg-test-a").contains("pg-test-3"), "a removed instance");
    assert_eq!(code(&root.apply(&fewer, &["--absent", "-c", "pg-test"])), 0);
    assert!(!root.has("pg-test-a"), "a cluster that is carried elsewhere now");
}

#[test]
fn defect_10_a_failover_changes_no_file_and_the_new_primary_gets_no_reads() {
    let before = rendered(
        &service("check_url: /read-only, selector: '[]', selector_backup: '[? pg_role == `primary`]'")
            .replace("offline}", "replica}"),
    );
    let after = service("check_url: /read-only, selector: '[]', selector_backup: '[? pg_role == `primary`]'")
        .replace("offline}", "replica}")
        .replace("pg_seq: 1, pg_role: primary", "pg_seq: 1, pg_role: replica")
        .replace("pg_seq: 2, pg_role: replica", "pg_seq: 2, pg_role: primary");
    assert_eq!(before, rendered(&after), "who is primary in the inventory does not matter");
    let (active, backup) = before.split_once("backend pg-test-x-backup\n").unwrap();
    assert!(active.contains("use_backend pg-test-x-backup if { nbsrv(pg-test-x) eq 0 }"), "{before}");
    for seq in 1..=3 {
        assert!(
            active.contains(&format!("server pg-test-{seq} "))
                && backup.contains(&format!("server pg-test-{seq} "))
        );
    }
    assert!(
        active.contains("uri /read-only\n") && active.contains("uri /replica\n"),
        "active only while it is a replica: {before}"
    );
    assert!(backup.contains("uri /read-only\n"), "{before}");
    // The static form is there for whoever asks for it.
    let file = Inventory::new(&after);
    let fixed = out(&run(&["render", "-i", &file.path(), "--role-source", "inventory"]));
    assert!(fixed.contains("server pg-test-2 10.10.10.12:6432 check port 8008 weight 100 backup"), "{fixed}");
}

#[test]
fn defect_12_paths_that_do_not_mean_what_they_seem_are_found() {
    for (fields, code) in [
        ("check_url: '/read-only?lag=0', selector: '[]'", "PGS041 lag-zero"),
        (
            "check_url: /sync, selector: '[]', selector_backup: '[? pg_role == `primary`]'",
            "PGS047 dead-backup",
        ),
    ] {
        let file = Inventory::new(&service(fields));
        let found = out(&run(&["lint", "-i", &file.path()]));
        assert!(
            found.contains(&format!(" {code} ")) && found.contains("service 'x' of pg-test: "),
            "{found}"
        );
    }
    // Without a path, `/` is asked, which is the primary: the matrix says so instead of hiding it.
    let file = Inventory::new(&service("selector: '[]'"));
    let matrix = out(&run(&["explain", "-i", &file.path()]));
    assert!(matrix.contains("/ → the primary"), "{matrix}");
}

//! The command line as its users run it: every verb, its exit code, and what it prints.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::Read;
use std::process::Stdio;

use common::{HOSTS, Inventory, NODE, Root, code, difference, err, good, out, pgsvc, run, run_with, tree};
use serde_json::Value;

const VERBS: [&str; 10] =
    ["render", "plan", "apply", "verify", "explain", "lint", "rollback", "recover", "module", "completions"];

#[test]
fn every_verb_has_help_and_the_top_names_them_all() {
    let top = out(&good(&["--help"]));
    for verb in VERBS {
        assert!(top.lines().any(|l| l.trim_start().starts_with(verb)), "{verb} is not in {top}");
        let help = out(&good(&[verb, "--help"]));
        assert!(help.contains(&format!("Usage: pgsvc {verb}")), "{help}");
    }
    assert!(
        top.contains("Exit codes: 0 good, 1 failed, 2 the plan has changes, 3 a port is wrong, 64 usage")
    );
    assert!(out(&good(&["--version"])).starts_with("pgsvc 0."));
}

#[test]
fn a_usage_error_is_64_and_says_what_was_meant() {
    for (args, part) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["aply"], "apply"),
        (&[], "Usage"),
        (&["plan", "--fromat", "json"], "--format"),
        (&["render", "--format", "xml"], "xml"),
        (&["apply", "--absent", "-i", "x"], "--cluster"),
        (&["plan", "--role-source", "nobody"], "inventory"),
        (&["verify", "--timeout", "soon"], "soon"),
        (&["completions", "cmd"], "bash"),
        (&["completions"], "SHELL"),
    ] {
        let output = run(args);
        assert_eq!(code(&output), 64, "{args:?}");
        assert!(err(&output).contains(part) && out(&output).is_empty(), "{args:?}: {}", err(&output));
    }
}

#[test]
fn render_is_the_same_twice_and_from_whatever_it_is_read() {
    let file = Inventory::new(HOSTS);
    let first = good(&["render", "-i", &file.path()]).stdout;
    assert_eq!(first, good(&["render", "-i", &file.path()]).stdout);
    assert!(first.starts_with(b"==> /etc/haproxy/conf.d/00-pgsvc.cfg <=="));

    let dir = tempfile::TempDir::new().unwrap();
    let put = |name: &str, text: &str| {
        std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        std::fs::write(dir.path().join(name), text).unwrap();
    };
    put("hosts.yml", "all: {children: {pg-test: {hosts: {10.10.10.11: , 10.10.10.12: , 10.10.10.13: }}}}\n");
    put("group_vars/pg-test.yml", "pg_cluster: pg-test\nhaproxy_admin_password: open sesame\n");
    put("host_vars/10.10.10.11.yml", "{pg_seq: 1, pg_role: primary}\n");
    put("host_vars/10.10.10.12.yml", "{pg_seq: 2, pg_role: replica}\n");
    put("host_vars/10.10.10.13/main.yml", "{pg_seq: 3, pg_role: offline}\n");
    assert_eq!(first, good(&["render", "-i", dir.path().to_str().unwrap()]).stdout, "a directory");

    let var = |seq: u64, role: &str| serde_json::json!({"pg_cluster": "pg-test", "haproxy_admin_password": "open sesame", "pg_seq": seq, "pg_role": role});
    let list = serde_json::json!({
        "_meta": {"hostvars": {"10.10.10.11": var(1, "primary"), "10.10.10.12": var(2, "replica"), "10.10.10.13": var(3, "offline")}},
        "all": {"children": ["ungrouped", "pg-test"]},
        "pg-test": {"hosts": ["10.10.10.11", "10.10.10.12", "10.10.10.13"]},
    })
    .to_string();
    put("list/hosts.json", &list);
    assert_eq!(
        first,
        good(&["render", "-i", dir.path().join("list/hosts.json").to_str().unwrap()]).stdout,
        "JSON"
    );
    assert_eq!(first, run_with(&["render", "-i", "-"], list).stdout, "JSON on stdin");
    assert_eq!(first, run_with(&["render", "-i", "-"], HOSTS).stdout, "YAML on stdin");
}

#[test]
fn render_out_writes_what_apply_would_install() {
    let (file, dir) = (Inventory::new(HOSTS), tempfile::TempDir::new().unwrap());
    let said =
        out(&good(&["render", "-i", &file.path(), "--host", NODE, "--out", dir.path().to_str().unwrap()]));
    let written = tree(dir.path());
    assert_eq!(said.lines().count(), written.values().filter(|f| f.3 != b"/").count());
    let root = Root::with(HOSTS);
    let installed = root.tree();
    for (path, file) in written.iter().filter(|(_, f)| f.3 != b"/") {
        assert_eq!(file.3, installed[path].3, "{}", path.display());
    }
    good(&["render", "-i", &file.path(), "--host", NODE, "--out", dir.path().to_str().unwrap()]);
    assert_eq!(written, tree(dir.path()), "a second run writes the same");
    let json: Value =
        serde_json::from_slice(&good(&["render", "-i", &file.path(), "--format", "json"]).stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 8);
    assert!(out(&good(&["render", "--show-templates"])).contains("==> service.cfg.hbs <=="));
}

#[test]
fn explain_shows_the_matrix_as_text_and_as_json() {
    let file = Inventory::new(HOSTS);
    let text = out(&good(&["explain", "-i", &file.path()]));
    for part in
        ["pg-test (roles follow Patroni)", "PORT  SERVICE", "5433  primary", "pg-test-3", "backup as primary"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let fixed = out(&good(&["explain", "-i", &file.path(), "--role-source", "inventory"]));
    assert!(fixed.contains("whatever Patroni says") && !fixed.contains("as primary"), "{fixed}");
    let json: Value =
        serde_json::from_slice(&good(&["explain", "-i", &file.path(), "--format", "json"]).stdout).unwrap();
    let services = json["pg-test"]["services"].as_object().unwrap();
    assert_eq!(services.keys().collect::<Vec<_>>(), ["default", "offline", "primary", "replica"]);
    assert_eq!(services["replica"]["port"], 5434);
    assert_eq!(json["pg-test"]["members"][2]["role"], "offline");
}

#[test]
fn completions_name_every_verb() {
    for shell in ["bash", "zsh", "fish"] {
        let text = out(&good(&["completions", shell]));
        for verb in VERBS {
            assert!(text.contains(verb), "{shell}: {verb}");
        }
    }
}

#[test]
fn a_root_is_filled_once_planned_clean_and_emptied_again() {
    let root = Root::empty();
    root.put("/etc/haproxy/conf.d/hand.cfg", "listen hand\n    bind *:6000\n");
    root.put("/etc/haproxy/conf.d/pg-test-ro.cfg", "listen pg-test-ro\n    bind *:6001\n");
    let nothing = root.tree();
    let planned = root.plan(HOSTS, &[]);
    assert_eq!(code(&planned), 2, "{}", err(&planned));
    assert!(out(&planned).contains("+++ /etc/haproxy/haproxy.cfg (new file)"));
    assert!(!out(&planned).contains("$6$"), "the hash of a password is a secret too");
    assert_eq!(
        difference(&nothing, &root.tree()),
        Vec::<std::path::PathBuf>::new(),
        "a plan touches nothing"
    );

    assert_eq!(code(&root.apply(HOSTS, &[])), 0);
    let installed = root.tree();
    assert!(root.has("pg-test-primary") && root.has("00-pgsvc"));
    let again = root.apply(HOSTS, &[]);
    assert!(code(&again) == 0 && err(&again).contains("nothing to do"), "{}", err(&again));
    assert_eq!(difference(&installed, &root.tree()), Vec::<std::path::PathBuf>::new());
    let clean = root.plan(HOSTS, &[]);
    assert_eq!((code(&clean), out(&clean).as_str()), (0, ""), "{}", err(&clean));

    let fewer = HOSTS.replace("pg_role: offline", "pg_role: offline, pg_weight: 0");
    let planned = root.plan(&fewer, &[]);
    assert_eq!(code(&planned), 2);
    assert!(out(&planned).contains("weight 0"), "{}", out(&planned));

    let gone = root.apply(HOSTS, &["--absent", "-c", "pg-test"]);
    assert_eq!(code(&gone), 0, "{}", err(&gone));
    assert!(root.has("hand") && root.has("pg-test-ro"), "files of others stay");
    assert!(!root.has("pg-test-primary") && !root.has("pg-test-offline"));
    assert!(root.read("/var/lib/pgsvc/clusters/pg-test.json").is_none(), "its request goes with it");
    let again = root.apply(HOSTS, &["--absent", "-c", "pg-test"]);
    assert!(code(&again) == 0 && err(&again).contains("nothing to do"), "{}", err(&again));
}

#[test]
fn a_cluster_goes_also_when_it_has_left_the_inventory() {
    let other = HOSTS.replace("pg-test", "pg-else");
    let root = Root::with(HOSTS);
    let slip = root.apply(&other, &["--absent", "-c", "pg-tset"]);
    assert!(
        code(&slip) == 0 && err(&slip).contains("cluster 'pg-tset': is not in the inventory"),
        "{}",
        err(&slip)
    );
    let planned = root.plan(&other, &["--absent", "-c", "pg-test"]);
    assert!(code(&planned) == 2 && root.has("pg-test-primary"), "{}", err(&planned));
    let gone = root.apply(&other, &["--absent", "-c", "pg-test"]);
    assert!(code(&gone) == 0 && !root.has("pg-test-primary"), "{}", err(&gone));

    // Without any inventory, and without what was kept: only the name is needed.
    let root = Root::with(HOSTS);
    std::fs::remove_dir_all(root.0.path().join("var/lib/pgsvc/clusters")).unwrap();
    let gone = run(&["apply", "--absent", "-c", "pg-test", "--root", &root.path()]);
    assert!(code(&gone) == 0 && !root.has("pg-test-primary"), "{}", err(&gone));
}

#[test]
fn what_is_noted_of_earlier_renderings_changes_no_answer() {
    const NOTES: &str = "/var/lib/pgsvc/rendered";
    const FILE: &str = "etc/haproxy/conf.d/pg-test-primary.cfg";
    let root = Root::with(HOSTS);
    let notes = root.read(NOTES).unwrap();
    assert!(notes.contains(" pg-test-primary.cfg\n") && notes.lines().count() == 5, "{notes}");
    let nothing = |what: &str| assert_eq!(code(&root.plan(HOSTS, &[])), 0, "{what}");
    nothing("all is noted");

    // A line more or less, by hand, is seen and mended, and so is one that the inventory changes.
    let path = root.0.path().join(FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("    mode tcp\n", "    mode tcp\n    option splice-auto\n")).unwrap();
    assert_eq!(code(&root.plan(HOSTS, &[])), 2);
    assert_eq!(code(&root.apply(HOSTS, &[])), 0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    let lighter = HOSTS.replacen("pg_seq: 2", "pg_weight: 7, pg_seq: 2", 1);
    assert_ne!(lighter, HOSTS);
    assert_eq!(code(&root.plan(&lighter, &[])), 2);
    assert_eq!(code(&root.apply(&lighter, &[])), 0);
    assert_ne!(root.read(NOTES).unwrap(), notes);
    assert_eq!(code(&root.apply(HOSTS, &[])), 0);
    assert_eq!(root.read(NOTES).unwrap(), notes);

    // Notes that are gone, or no notes at all, cost time and nothing else; the next run makes them again.
    let noted = root.0.path().join(NOTES.trim_start_matches('/'));
    for lost in ["", "\u{0}\u{0}", "nonsense\n", &notes.replace(' ', ""), &notes.replacen(" 14 ", " 15 ", 1)]
    {
        std::fs::write(&noted, lost).unwrap();
        nothing(lost);
        let again = root.apply(HOSTS, &[]);
        assert!(code(&again) == 0 && err(&again).contains("nothing to do"), "{}", err(&again));
        assert_eq!(root.read(NOTES).unwrap(), notes);
    }
    let gone = root.apply(HOSTS, &["--absent", "-c", "pg-test"]);
    let left = root.read(NOTES).unwrap();
    assert!(code(&gone) == 0 && left.starts_with("all ") && left.lines().count() == 1, "{left}");
}

#[test]
fn templates_lie_where_the_operator_works_and_are_found_again() {
    let (root, work) = (Root::empty(), Inventory::new(HOSTS));
    let built_in = out(&good(&["render", "--show-templates"]));
    let (_, service) = built_in.split_once("==> service.cfg.hbs <==\n").unwrap();
    let (service, _) = service.split_once("\n==> ").unwrap();
    std::fs::create_dir(work.0.path().join("own")).unwrap();
    std::fs::write(work.0.path().join("own/service.cfg.hbs"), format!("{}\n# mine\n", service.trim_end()))
        .unwrap();
    let here = |args: &[&str]| {
        let output =
            pgsvc().current_dir(work.0.path()).args(args).args(["--root", &root.path()]).output().unwrap();
        assert_eq!(code(&output), 0, "{}", err(&output));
    };
    here(&["apply", "-i", "hosts.yml", "--host", NODE, "--templates", "own"]);
    assert!(root.conf("pg-test-primary").ends_with("# mine\n"));
    let kept = run(&["plan", "--root", &root.path()]);
    assert_eq!((code(&kept), out(&kept).as_str()), (0, ""), "from another directory: {}", err(&kept));
    let nowhere = root.plan(HOSTS, &["--templates", "/nowhere"]);
    assert!(code(&nowhere) == 1 && err(&nowhere).contains("/nowhere: is no directory"), "{}", err(&nowhere));
}

#[test]
fn a_cluster_that_is_in_somebodys_way_blocks_no_other() {
    let root = Root::empty();
    root.put("/etc/haproxy/conf.d/hand.cfg", "listen hand\n    bind *:6433\n");
    let second = "    pg-two:\n      vars:\n        pg_cluster: pg-two\n        pg_services: \
        [{name: primary, src_port: 6433, check_url: /primary, selector: '[]'}]\n      hosts:\n        \
        10.10.10.21: {pg_seq: 1, pg_role: primary}\n";
    let both = format!("{HOSTS}{second}");
    let clusters = ["-c", "pg-test", "-c", "pg-two"];
    let planned = root.plan(&both, &clusters);
    assert_eq!(code(&planned), 1, "{}", err(&planned));
    assert!(
        out(&planned).contains("pg-test-primary.cfg") && !out(&planned).contains("pg-two"),
        "{}",
        out(&planned)
    );
    let applied = root.apply(&both, &clusters);
    assert_eq!(code(&applied), 1, "{}", err(&applied));
    assert!(err(&applied).contains("6433") && err(&applied).contains("hand.cfg"), "{}", err(&applied));
    assert!(root.has("pg-test-primary") && !root.has("pg-two-primary"));
    let kept = |name: &str| root.read(&format!("/var/lib/pgsvc/clusters/{name}.json")).is_some();
    assert!(kept("pg-test") && !kept("pg-two"), "only what is installed is kept");
    let alone = root.apply(&both, &["-c", "pg-two"]);
    assert!(code(&alone) == 1 && err(&alone).contains("nothing was changed"), "{}", err(&alone));
}

#[test]
fn json_reports_have_the_documented_fields() {
    let root = Root::empty();
    let report: Value = serde_json::from_slice(&root.plan(HOSTS, &["--format", "json"]).stdout).unwrap();
    assert_eq!(
        (&report["changed"], &report["failed"], &report["node"]),
        (&true.into(), &false.into(), &NODE.into())
    );
    let report: Value = serde_json::from_slice(&root.apply(HOSTS, &["--format", "json"]).stdout).unwrap();
    for field in [
        "changed",
        "failed",
        "msg",
        "action",
        "hash",
        "changes",
        "clusters",
        "verify",
        "errors",
        "warnings",
        "rolled_back",
    ] {
        assert!(report.get(field).is_some(), "{field}");
    }
    let again: Value = serde_json::from_slice(&root.apply(HOSTS, &["--format", "json"]).stdout).unwrap();
    assert_eq!(again["changed"], false);
}

#[test]
fn a_pipe_that_closes_early_is_no_panic() {
    let file = Inventory::new(HOSTS);
    let path = file.path();
    for args in [
        &["render", "-i", &path][..],
        &["explain", "-i", &path],
        &["completions", "bash"],
        &["--help"],
        &["render", "--show-templates"],
    ] {
        let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("pgsvc"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success() && said.is_empty(), "{args:?}: {status} {said}");
    }
}

#[test]
fn there_is_no_colour_where_no_terminal_is_or_none_is_wanted() {
    let root = Root::empty();
    assert!(!root.plan(HOSTS, &[]).stdout.contains(&0x1b));
    // A terminal: script(1) gives the program one.
    let file = Inventory::new(HOSTS);
    let binary = assert_cmd::cargo::cargo_bin("pgsvc");
    let command =
        format!("{} plan -i {} --host {NODE} --root {}", binary.display(), file.path(), root.path());
    let on_a_terminal = |set: bool| {
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).env_remove("NO_COLOR");
        if set {
            script.env("NO_COLOR", "1");
        }
        script.output().unwrap().stdout
    };
    assert!(on_a_terminal(false).contains(&0x1b), "colour on a terminal");
    assert!(!on_a_terminal(true).contains(&0x1b), "none with NO_COLOR");
}

#[test]
fn without_an_inventory_the_node_needs_an_earlier_apply() {
    let root = Root::empty();
    let output = run(&["plan", "--root", &root.path()]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("-i INVENTORY"), "{}", err(&output));
    assert_eq!(code(&root.apply(HOSTS, &[])), 0);
    let kept = run(&["plan", "--root", &root.path()]);
    assert_eq!((code(&kept), out(&kept).as_str()), (0, ""), "{}", err(&kept));
    let output = pgsvc().args(["render"]).output().unwrap();
    assert!(err(&output).contains("-i INVENTORY"), "{}", err(&output));
}

/// Two nodes and a VIP, with a secret for each daemon.
const WITH_VIP: &str = "\
all:
  vars: {haproxy_admin_password: 'open sesame'}
  children:
    pg-test:
      vars: {pg_cluster: pg-test, vip_mode: l2, vip_address: 10.10.10.3, vip_cidrmask: 24, vip_auth_pass: 'opensesa'}
      hosts:
        10.10.10.11: {pg_seq: 1, pg_role: primary}
        10.10.10.12: {pg_seq: 2, pg_role: replica}
";

#[test]
fn a_plan_shows_every_file_of_both_daemons_and_no_secret() {
    let root = Root::empty();
    let planned = root.plan(WITH_VIP, &[]);
    assert_eq!(code(&planned), 2, "{}", err(&planned));
    let json = root.plan(WITH_VIP, &["--format", "json"]);
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    let changes = report["changes"].as_array().unwrap();
    for name in ["haproxy/haproxy.cfg", "haproxy/conf.d/pg-test-primary.cfg", "keepalived/pgsvc"] {
        let new = |path: &str| path.contains(name);
        assert!(changes.iter().any(|c| new(c["path"].as_str().unwrap())), "{name}: {changes:?}");
        assert!(out(&planned).lines().any(|l| l.starts_with("+++ ") && new(l)), "{name}: {}", out(&planned));
    }
    for c in changes {
        let diff = c["diff"].as_str().unwrap();
        assert!(diff.starts_with(&format!("--- {}\n+++ ", c["path"].as_str().unwrap())), "{diff}");
        assert!(out(&planned).contains(diff), "both forms show the same");
    }
    for shown in [&planned, &json] {
        let text = out(shown);
        assert!(
            !text.contains("$6$") && !text.contains("opensesa") && !text.contains("open sesame"),
            "{text}"
        );
        assert!(text.contains("********"), "something was masked");
    }
    assert_eq!((&report["action"], &report["keepalived"]["action"]), (&"nothing".into(), &"nothing".into()));
    assert!(report["reason"].is_string() && report["notice"].is_string() && report["commands"].is_array());
    assert!(report["keepalived"]["reason"].as_str().unwrap().contains("another root"), "{report}");
}

#[test]
fn a_plan_says_that_a_file_changes_in_nothing_but_a_secret() {
    let root = Root::with(HOSTS);
    let planned = root.plan(&HOSTS.replace("open sesame", "sesame, close"), &[]);
    assert_eq!(code(&planned), 2, "{}", err(&planned));
    let text = out(&planned);
    assert!(text.contains("+++ /etc/haproxy/haproxy.cfg (changed): nothing but what is masked\n"), "{text}");
    assert!(
        text.contains("\n    why: files only: nothing runs in another root\n    clients notice: nothing\n"),
        "{text}"
    );
}

#[test]
fn a_metrics_timer_comes_with_its_file_and_goes_without_it() {
    let root = Root::with(HOSTS);
    let unit = |name: &str| root.read(&format!("/etc/systemd/system/pgsvc-metrics.{name}"));
    assert!(unit("service").is_none() && unit("timer").is_none(), "off unless asked for");
    let set =
        |file: &str| HOSTS.replace("{pg_cluster:", &format!("{{pgsvc_metrics_file: '{file}', pg_cluster:"));
    assert_eq!(code(&root.apply(&set("/var/lib/c/pgsvc.prom"), &[])), 0);
    assert!(
        unit("service").unwrap().contains("verify --metrics /var/lib/c/pgsvc.prom\n")
            && unit("timer").is_some()
    );
    let kept = run(&["plan", "--root", &root.path()]);
    assert_eq!((code(&kept), out(&kept).as_str()), (0, ""), "what is kept says the same: {}", err(&kept));
    let wrong = root.plan(&set("/var/lib/c/pgsvc.txt"), &[]);
    assert!(code(&wrong) == 1 && err(&wrong).contains("ends in .prom"), "{}", err(&wrong));
    assert_eq!(code(&root.apply(HOSTS, &[])), 0);
    assert!(unit("service").is_none() && unit("timer").is_none(), "no file, no unit");
    assert_eq!(code(&root.apply(&set("/var/lib/c/pgsvc.prom"), &[])), 0);
    assert_eq!(code(&root.apply(HOSTS, &["--absent", "-c", "pg-test"])), 0);
    assert!(unit("service").is_none() && unit("timer").is_none(), "the last cluster takes them along");
}

#[test]
fn metrics_are_written_of_ports_that_cannot_be_reached_and_the_exit_code_stays() {
    let dir = tempfile::TempDir::new().unwrap();
    let file = Inventory::new(&HOSTS.replace("10.10.10.1", "127.0.1.1"));
    let prom = dir.path().join("pgsvc.prom");
    let verify = |more: &[&str]| {
        let mut args = vec![
            "verify",
            "-i",
            file.0.path().to_str().unwrap(),
            "--host",
            "127.0.1.11",
            "-c",
            "pg-test",
            "--timeout",
            "1",
        ];
        args.extend(more);
        run(&args)
    };
    let output = verify(&["--metrics", prom.to_str().unwrap()]);
    assert!(code(&output) == 3 && out(&output).is_empty(), "{}", err(&output));
    let text = std::fs::read_to_string(&prom).unwrap();
    assert!(text.contains("pgsvc_port_ok{cluster=\"pg-test\",service=\"primary\","), "{text}");
    let shown = verify(&["--metrics", "-"]);
    assert!(out(&shown).starts_with("# HELP pgsvc_port_ok "), "{}", out(&shown));
    let nowhere = verify(&["--metrics", "/nowhere/pgsvc.prom"]);
    assert!(code(&nowhere) == 1 && err(&nowhere).contains("/nowhere is no directory"), "{}", err(&nowhere));
}

/// What `verify --watch` shows of ports that nobody serves, ended by a signal after some seconds.
fn watched(terminal: bool, more: &str) -> String {
    let file = Inventory::new(&HOSTS.replace("10.10.10.1", "127.0.1.1"));
    let binary = assert_cmd::cargo::cargo_bin("pgsvc");
    let watch = format!("{} verify --watch -i {} --host 127.0.1.11 {more}", binary.display(), file.path());
    let command = format!("stty cols 100 rows 30 2>/dev/null; timeout --foreground -s INT 3 {watch}");
    let mut shell = if terminal {
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &command, "/dev/null"]);
        script
    } else {
        let mut sh = std::process::Command::new("sh");
        sh.args(["-c", &command]);
        sh
    };
    let output = shell.stdin(Stdio::null()).env("TERM", "xterm").env("NO_COLOR", "1").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_watch_on_a_terminal_is_a_screen_and_gives_the_terminal_back() {
    let shown = watched(true, "");
    assert!(shown.starts_with("\x1b[?1049h\x1b[?25l\x1b[H"), "{shown:?}");
    assert!(shown.ends_with("\x1b[?25h\x1b[?1049l"), "{shown:?}");
    assert!(shown.contains("4 ports: 4 WRONG") && shown.contains("PORT  STATUS  MUST LEAD TO"), "{shown:?}");
}

#[test]
fn a_watch_without_a_terminal_is_a_line_for_every_change() {
    let lines = watched(false, "");
    assert!(!lines.contains('\x1b'), "{lines:?}");
    let of =
        |port: &str| lines.lines().filter(|l| l.starts_with(&format!("pg-test-{port} (127.0.1.11:"))).count();
    assert_eq!((of("primary"), of("replica")), (1, 1), "once each, however often it is looked: {lines}");
    let json = watched(false, "--format json");
    let events: Vec<Value> = json.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let wrong = |e: &&Value| e["event"] == "port" && e["status"] == "wrong";
    assert_eq!(events.iter().filter(wrong).count(), 4, "{json}");
}

#[test]
fn a_screen_cuts_nothing_and_an_inventory_has_no_sessions_to_cut() {
    let output = run(&["verify", "--watch", "--fix", "-i", "x.yml"]);
    assert!(code(&output) == 1 && err(&output).contains("leave -i and --host away"), "{}", err(&output));
    for usage in [&["verify", "--watch", "--metrics", "x"][..], &["verify", "--vip", "--watch"]] {
        assert_eq!(code(&run(usage)), 64, "{usage:?}");
    }
}

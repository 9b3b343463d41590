use super::*;
use crate::host::Output;
use crate::host::fake::{FakeFile, FakeSystem};

/// A plan without files.
pub(super) fn plan(action: Action) -> Plan {
    Plan {
        changes: Vec::new(),
        action,
        reason: String::new(),
        commands: Vec::new(),
        hands: Vec::new(),
        hash: String::new(),
        whole: None,
        candidate: std::collections::BTreeMap::new(),
        new_binds: Vec::new(),
        nonlocal_binds: false,
        daemon_reload: false,
    }
}

/// A node whose keepalived answers `-t` with `code`.
fn node(code: i32) -> FakeSystem {
    let mut sys = FakeSystem::default();
    sys.runs = Box::new(move |c| {
        let is = |word: &str| c.argv.iter().any(|a| a == word);
        let text = "Keepalived v2.2.7 (01/16,2022)\n".into();
        let code = if is("modprobe") { 1 } else { code };
        Ok(if is("--version") {
            Output { stderr: text, ..Output::default() }
        } else {
            Output { code, ..Output::default() }
        })
    });
    sys
}

fn check(sys: &FakeSystem, files: &[(&str, &str)]) -> String {
    for (path, text) in files {
        sys.put(&format!("/stage{path}"), FakeFile { bytes: (*text).into(), ..FakeFile::default() });
    }
    let daemon = Keepalived::without_systemd(sys, Paths::default());
    daemon.check(Path::new("/stage")).err().map(|e| e.to_string()).unwrap_or_default()
}

#[test]
fn versions_are_read_and_old_ones_refused() {
    assert_eq!(version("Keepalived v2.2.7 (01/16,2022)\n\n"), Some(((2, 2), "2.2.7".into())));
    assert_eq!(version("Keepalived v2.0.19\n").map(|v| v.0 < OLDEST), Some(true));
    assert_eq!(version("bash: keepalived: not found"), None);
}

#[test]
fn a_file_that_says_nothing_is_refused_although_keepalived_takes_it() {
    let empty = [("/etc/keepalived/pgsvc.conf", "# nothing\n\n! but comments\n")];
    assert!(check(&node(0), &empty).contains("let go of all that it serves"));
    assert_eq!(check(&node(0), &[("/etc/keepalived/pgsvc.conf", "global_defs {\n}\n")]), "");
    let crash = check(&node(139), &[("/etc/keepalived/pgsvc.conf", "global_defs {\n}\n")]);
    assert!(crash.contains("crashes on it (exit code 139, signal 11)"), "{crash}");
}

#[test]
fn a_keepalived_that_ends_itself_over_a_scripts_user_is_asked_again_without_a_parent() {
    let candidate = [("/etc/keepalived/pgsvc.conf", "global_defs {\n}\n")];
    let asked = |alone: i32| {
        let mut sys = node(143);
        let inner = std::mem::replace(&mut sys.runs, Box::new(|_| Ok(Output::default())));
        sys.runs = Box::new(move |c| match c.argv.first().map(String::as_str) {
            Some("/usr/bin/unshare") => Ok(Output { code: alone, ..Output::default() }),
            _ => inner(c),
        });
        check(&sys, &candidate)
    };
    assert_eq!(asked(0), "");
    assert!(asked(5).contains("exit code 5"), "{}", asked(5));
    assert!(asked(139).contains("signal 11"), "{}", asked(139));
}

#[test]
fn the_operators_own_file_is_tested_where_it_is_all_that_is_left() {
    let sys = node(0);
    assert_eq!(check(&sys, &[("/etc/keepalived/keepalived.conf", "global_defs {\n}\n")]), "");
    let ran = sys.state().effects.join("\n");
    assert!(ran.contains("-t -f /stage/.keepalived/etc/keepalived/keepalived.conf"), "{ran}");
    assert_eq!(check(&node(1), &[]), "", "no file is no question");
}

#[test]
fn a_director_without_ipvs_is_refused_before_anything_is_touched() {
    let sys = node(0);
    let text = "# Managed by pgsvc: cluster=a service=@keepalived\nvirtual_server 192.0.2.1 5433 {\n}\n";
    let candidate = [(Paths::default().cluster("a"), text.as_bytes().into())].into();
    let plan = Plan { candidate, ..plan(Action::Reload) };
    let daemon = Keepalived::without_systemd(&sys, Paths::default());
    assert!(daemon.precheck(&plan).unwrap_err().to_string().starts_with("IPVS: this node's kernel has none"));
    sys.put(IPVS, FakeFile::default());
    assert_eq!(daemon.precheck(&plan), Ok(()));
}

#[test]
fn a_foreign_keepalived_is_left_alone() {
    let sys = node(0);
    let put = |path: &str, text: &str| sys.put(path, FakeFile { bytes: text.into(), ..FakeFile::default() });
    put("/run/keepalived.pid", "10\n");
    put("/proc/10/stat", "10 (keepalived) S 1 10 10 0");
    put("/proc/10/cmdline", "/usr/sbin/keepalived\0--dont-fork\0");
    put("/proc/11/stat", "11 (keepalived) S 10 10 10 0");
    let running = Keepalived::without_systemd(&sys, Paths::default()).running().unwrap().unwrap();
    assert_eq!(
        (running.master, running.children, running.reads_ours, running.hash),
        (10, vec![11], false, None)
    );
    assert!(sys.state().effects.is_empty(), "{:?}", sys.state().effects);
}

//! On the node in memory: what HAProxy and systemd say is understood, and a lying exit code is seen through.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::haproxy::{Haproxy, Info, State};
use super::*;
use crate::host::Output;
use crate::host::fake::{FakeFile, FakeSystem};
use crate::plan::{Action, Plan};
use crate::transaction::{Daemon, Serving};

fn text(bytes: &str) -> FakeFile {
    FakeFile { bytes: bytes.into(), mode: 0o644, ..FakeFile::default() }
}

fn output(code: i32, stdout: &str, stderr: &str) -> io::Result<Output> {
    Ok(Output { code, stdout: stdout.into(), stderr: stderr.into() })
}

fn reload(hash: &str) -> Plan {
    Plan {
        changes: Vec::new(),
        action: Action::Reload,
        reason: String::new(),
        hash: hash.into(),
        whole: None,
        candidate: BTreeMap::new(),
        new_binds: Vec::new(),
        nonlocal_binds: false,
        commands: Vec::new(),
        hands: Vec::new(),
        daemon_reload: false,
    }
}

/// A node under systemd whose worker is `worker` and whose master counts `failed` reloads; a reload calls `reloaded`.
fn node(
    worker: &Arc<AtomicU32>,
    failed: &Arc<AtomicU32>,
    reloaded: fn(&AtomicU32, &AtomicU32),
) -> FakeSystem {
    let mut sys = FakeSystem::default();
    sys.put("/run/systemd/system/x", text(""));
    sys.put("/proc/7/cmdline", text("/usr/sbin/haproxy\0-Ws\0-f\0/etc/haproxy/haproxy.cfg\0-f\0/etc/haproxy/conf.d\0-S\0/run/haproxy-master.sock,mode,660\0"));
    let (w, f) = (Arc::clone(worker), Arc::clone(failed));
    sys.runs = Box::new(move |command| match command.argv.join(" ").as_str() {
        "systemctl show -p LoadState,ActiveState,MainPID haproxy" => {
            output(0, "LoadState=loaded\nActiveState=active\nMainPID=7\n", "")
        }
        "systemctl reload haproxy" => {
            reloaded(&w, &f);
            output(0, "", "")
        }
        "/usr/sbin/haproxy -v" => output(0, "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://x\n", ""),
        c if c.starts_with("journalctl") => output(
            0,
            "[ALERT]    (7) : Binding [/etc/haproxy/conf.d/b.cfg:2] for proxy b: cannot bind socket (Address already in use) for [127.0.0.1:7499]\n[ALERT]    (7) : [haproxy.main()] Some protocols failed to start their listeners! Exiting.\n",
            "",
        ),
        c => Err(io::Error::other(c.to_owned())),
    });
    let (w, f) = (Arc::clone(worker), Arc::clone(failed));
    sys.answers = Box::new(move |path, _| {
        let pid = w.load(Ordering::Relaxed);
        if path == Path::new("/run/haproxy/admin.sock") {
            let hash = if pid == 100 { "old" } else { "new" };
            return Ok(format!(
                "Name: HAProxy\nVersion: 2.6.12\nPid: {pid}\ndescription: {hash}\nStopping: 0\n"
            )
            .into_bytes());
        }
        let failed = f.load(Ordering::Relaxed);
        Ok(format!("#<PID> <type> <reloads>\n7 master 1 [failed: {failed}] 0d 2.6\n# workers\n{pid} worker 0 0d 2.6\n").into_bytes())
    });
    sys
}

#[test]
fn what_runs_is_seen() {
    let (worker, failed) = (Arc::new(AtomicU32::new(100)), Arc::new(AtomicU32::new(0)));
    let sys = node(&worker, &failed, |_, _| {});
    let running = Haproxy::detect(&sys, Paths::default()).running().unwrap();
    assert_eq!((running.state, running.master, running.pid), (State::Running, Some(7), Some(100)));
    assert_eq!((running.hash.as_deref(), running.version.as_deref()), (Some("old"), Some("2.6.12")));
    assert!(running.has_conf_d && running.has_master_socket && running.by_systemd);
    sys.put(
        "/proc/7/cmdline",
        text("/usr/sbin/haproxy\0-Ws\0-f\0/etc/haproxy/haproxy.cfg\0-S\0/run/other.sock\0"),
    );
    let running = Haproxy::detect(&sys, Paths::default()).running().unwrap();
    assert!(!running.has_conf_d && !running.has_master_socket);
    let none = FakeSystem::default();
    assert_eq!(Haproxy::detect(&none, Paths::default()).running().unwrap().state, State::None);
}

#[test]
fn a_reload_is_proven_by_a_new_worker_with_the_new_hash() {
    let (worker, failed) = (Arc::new(AtomicU32::new(100)), Arc::new(AtomicU32::new(0)));
    let sys = node(&worker, &failed, |worker, _| worker.store(101, Ordering::Relaxed));
    let haproxy = Haproxy::detect(&sys, Paths::default());
    let proof = haproxy.activate(&reload("new")).unwrap();
    assert_eq!((proof.pid, proof.hash.as_str()), (Some(101), "new"));
    worker.store(100, Ordering::Relaxed);
    let wrong = haproxy.activate(&reload("another")).unwrap_err();
    assert!(wrong.what.contains("runs another configuration ('new')"), "{wrong}");
}

#[test]
fn a_lying_exit_code_is_seen_through_and_the_reason_told() {
    let (worker, failed) = (Arc::new(AtomicU32::new(100)), Arc::new(AtomicU32::new(0)));
    let sys = node(&worker, &failed, |_, failed| {
        failed.fetch_add(1, Ordering::Relaxed);
    });
    let haproxy = Haproxy::detect(&sys, Paths::default());
    let error = haproxy.activate(&reload("new")).unwrap_err();
    assert!(error.what.contains("the old worker 100 still serves"), "{error}");
    assert!(
        error.what.contains("cannot bind socket (Address already in use) for [127.0.0.1:7499]"),
        "{error}"
    );
    assert!(!error.what.contains("Some protocols"), "{error}");
    // The way back: the unwanted hash must be gone.
    let before = Serving { running: true, pid: Some(100), hash: Some("old".into()) };
    assert!(haproxy.revert(&reload("new"), &before).is_err());
}

#[test]
fn an_old_haproxy_is_refused_by_name() {
    let mut sys = FakeSystem::default();
    sys.runs = Box::new(|_| output(0, "HA-Proxy version 1.8.27-493ce0b 2020/11/06\n", ""));
    let error = Haproxy::without_systemd(&sys, Paths::default()).version().unwrap_err();
    assert_eq!(error.to_string(), "haproxy: version 1.8.27-493ce0b is too old; 2.4 or newer is needed");
}

#[test]
fn taken_ports_and_foreign_addresses_are_named() {
    let sys = FakeSystem::default();
    sys.put(
        "/proc/net/tcp",
        text("  sl  local_address rem_address   st\n   0: 00000000:1539 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1\n"),
    );
    sys.put("/proc/55/comm", text("nginx\n"));
    sys.put("/proc/55/status", text("PPid:\t54\n"));
    sys.state().dirs.insert("/proc/55/fd".into(), 0o500);
    sys.state().links.insert("/proc/55/fd/3".into(), "socket:[4242]".into());
    let taken = "127.0.0.1:5433".parse().unwrap();
    let absent = "10.0.0.9:5433".parse().unwrap();
    sys.state().taken =
        BTreeMap::from([(taken, ErrorKind::AddrInUse), (absent, ErrorKind::AddrNotAvailable)]);
    let errors = ports::free(&sys, &[taken, absent], false, None).unwrap_err().to_string();
    assert!(errors.contains("port 5433 on 127.0.0.1: is taken by nginx (process 55); stop it"), "{errors}");
    assert!(errors.contains("the address 10.0.0.9 is not on this node"), "{errors}");
    // Its own process hands the socket on.
    ports::free(&sys, &[taken], false, Some(54)).unwrap();
    assert!(ports::free(&sys, &[absent], true, None).is_err(), "nginx has all addresses");
    ports::free(&sys, &[absent], true, Some(55)).unwrap();
    assert_eq!(ports::listeners(&sys, 55), ["0.0.0.0:5433".parse().unwrap()]);
}

#[test]
fn the_dropin_reads_conf_d_and_never_stops_a_start() {
    let text = systemd::dropin(&Paths::default(), Path::new("/usr/sbin/haproxy"));
    assert!(text.contains("\nExecStart=\nExecStart=/usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/conf.d -p /run/haproxy.pid -S /run/haproxy-master.sock,mode,660,group,haproxy\n"), "{text}");
    assert_eq!(text.matches("=-+/usr/bin/timeout 2 /usr/local/lib/pgsvc/pgsvc recover\n").count(), 2);
    let at = |what: &str| text.rfind(what).unwrap_or_else(|| panic!("no {what} in {text}"));
    assert!(
        at("pgsvc seed\n") < at("ExecReload=/bin/kill")
            && at("ExecReload=/bin/kill") < at("pgsvc seed --forget")
    );
    assert!(text.find("pgsvc seed\n").unwrap() < at("ExecStart=/usr") && at("-c -q\n") < at("pgsvc seed\n"));
    for line in text.lines().filter(|l| l.starts_with("Exec")) {
        assert_eq!(text.matches(&format!("{}=\n", line.split('=').next().unwrap())).count(), 1, "{line}");
    }
}

#[test]
fn answers_without_sense_are_none() {
    for text in ["", "Unknown command", "Pid: x\nVersion: 1"] {
        assert_eq!(Info::parse(text), None);
    }
    assert!(
        Duration::from_secs(5) < Haproxy::without_systemd(&FakeSystem::default(), Paths::default()).deadline
    );
}

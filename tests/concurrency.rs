//! Many runs at once on one node with a real HAProxy: real processes, in mount, network and process namespaces of the
//! test's own, for which it must be root. No run loses what another one installed, and nobody waits for ever.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use pgsvc::host::System;
use pgsvc::host::real::RealSystem;
use pgsvc::transaction::Transaction;

const CLUSTERS: u16 = 50;
const CONF_D: &str = "/etc/haproxy/conf.d";

fn call(argv: &[&str]) -> String {
    let out = Command::new(argv[0]).args(&argv[1..]).output().unwrap_or_else(|e| panic!("{}: {e}", argv[0]));
    assert!(out.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Clusters `pg-1` to `pg-n` of two members each behind one load balancer; `weight` is the second member's.
fn inventory(path: &Path, clusters: std::ops::RangeInclusive<u16>, weight: impl Fn(u16) -> u16) {
    let mut text = "all:\n  vars: {pg_service_provider: lb}\n  children:\n".to_owned();
    for n in clusters {
        let service =
            format!("{{name: primary, src_port: {}, check_url: /primary, selector: '[]'}}", 20_000 + n);
        writeln!(
            text,
            "    pg-{n}:\n      vars: {{pg_cluster: pg-{n}, pg_services: [{service}]}}\n      hosts:"
        )
        .unwrap();
        for (seq, weight) in [(1, 100), (2, weight(n))] {
            writeln!(text, "        m{n}-{seq}: {{ansible_host: 127.1.{n}.{seq}, pg_seq: {seq}, pg_role: replica, pg_weight: {weight}}}").unwrap();
        }
    }
    text += "    lb: {hosts: {lb1: {ansible_host: 127.0.0.1}}}\n";
    std::fs::write(path, text).unwrap();
}

fn pgsvc(verb: &str, inventory: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgsvc"));
    command.arg(verb).arg("-i").arg(inventory).args(["--host", "lb1"]).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn apply(inventory: &Path, cluster: &str) -> Command {
    pgsvc("apply", inventory, &["-c", cluster, "--no-verify"])
}

fn good(what: &str, out: &Output) -> String {
    let said = format!("{}{}", common::out(out), common::err(out));
    assert_eq!(out.status.code(), Some(0), "{what}: {said}");
    said
}

/// What the serving worker, or its master, says.
fn ask(socket: &str, line: &str) -> String {
    let sys = RealSystem::new(None);
    let mut last = String::new();
    for _ in 0..100 {
        match sys.ask_unix(Path::new(socket), format!("{line}\n").as_bytes(), Duration::from_secs(2)) {
            Ok(answer) => return String::from_utf8_lossy(&answer).into_owned(),
            Err(e) => last = e.to_string(),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{socket}: {last}")
}

/// The master's count, which starts again at no reload.
fn reloads() -> u32 {
    let said = ask("/run/haproxy-master.sock", "show proc");
    let master = said.lines().find(|l| l.split_whitespace().nth(1) == Some("master")).unwrap().to_owned();
    master.split_whitespace().nth(2).unwrap().parse().unwrap()
}

/// What runs is what the files say, and the files are what the inventory says.
fn settled(inventory: &Path) {
    let file = std::fs::read_to_string(format!("{CONF_D}/00-pgsvc.cfg")).unwrap();
    let hash = file.lines().find_map(|l| l.trim().strip_prefix("description ")).unwrap().to_owned();
    let info = ask("/run/haproxy/admin.sock", "show info");
    assert!(info.contains(&format!("description: {hash}\n")), "{hash} is not what runs: {info}");
    let said = good("plan", &pgsvc("plan", inventory, &[]).output().unwrap());
    assert!(said.contains("nothing to do"), "{said}");
}

fn all_at_once(dir: &Path) {
    let file = dir.join("fifty.yml");
    inventory(&file, 1..=CLUSTERS, |_| 100);
    let one = Instant::now();
    good("the first", &apply(&file, "pg-1").output().unwrap());
    let one = one.elapsed();
    let before = reloads();
    let start = Instant::now();
    let runs: Vec<Child> =
        (1..=CLUSTERS).map(|n| apply(&file, &format!("pg-{n}")).spawn().unwrap()).collect();
    let mut joined = 0;
    for (n, run) in (1..=CLUSTERS).zip(runs) {
        let said = good(&format!("pg-{n}"), &run.wait_with_output().unwrap());
        joined += usize::from(said.contains("together with another run"));
    }
    let (took, reloads) = (start.elapsed(), reloads() - before);
    for n in 1..=CLUSTERS {
        let text = std::fs::read_to_string(format!("{CONF_D}/pg-{n}-primary.cfg")).unwrap();
        assert!(
            text.contains(&format!(":{}", 20_000 + n)) && text.contains(&format!("127.1.{n}.2:")),
            "pg-{n}: {text}"
        );
        assert!(
            Path::new(&format!("/var/lib/pgsvc/clusters/pg-{n}.json")).exists(),
            "pg-{n}: no request is kept"
        );
    }
    settled(&file);
    let left: Vec<_> = std::fs::read_dir("/var/lib/pgsvc/waiting")
        .map_or(Vec::new(), |d| d.flatten().map(|e| e.file_name()).collect());
    assert!(left.is_empty(), "tickets are left: {left:?}");
    assert!(reloads > 0 && reloads < u32::from(CLUSTERS) / 2, "{reloads} reloads for {CLUSTERS} runs");
    println!(
        "| {CLUSTERS} applies at once | all good | {reloads} reloads | {joined} served by another's | {:.1} times one apply |",
        took.as_secs_f64() / one.as_secs_f64()
    );
}

/// Two clusters, each changed again and again by a writer of its own.
fn interleaved(dir: &Path) {
    const ROUNDS: u16 = 8;
    let writer = |own: u16, other: u16| {
        for round in 1..=ROUNDS {
            let file = dir.join(format!("writer-{own}.yml"));
            // A writer knows nothing of what the other one wants by now; every second change needs a reload.
            inventory(&file, 1..=2, |n| if n == own { 10 + round } else { 100 });
            if round % 2 == 0 {
                let text = std::fs::read_to_string(&file).unwrap();
                std::fs::write(
                    &file,
                    text.replace(&format!("127.1.{own}.2"), &format!("127.1.{own}.{}", 10 + round)),
                )
                .unwrap();
            }
            good(&format!("pg-{own}, change {round}"), &apply(&file, &format!("pg-{own}")).output().unwrap());
            let text = std::fs::read_to_string(format!("{CONF_D}/pg-{own}-primary.cfg")).unwrap();
            assert!(
                text.contains(&format!("weight {}", 10 + round)),
                "pg-{own}, change {round}, is not there beside pg-{other}'s: {text}"
            );
        }
    };
    std::thread::scope(|s| {
        let both = [s.spawn(|| writer(1, 2)), s.spawn(|| writer(2, 1))];
        both.into_iter().for_each(|w| w.join().unwrap());
    });
    let mut seen = BTreeSet::new();
    for own in [1, 2] {
        let file = dir.join(format!("writer-{own}.yml"));
        let said = good("plan", &pgsvc("plan", &file, &["-c", &format!("pg-{own}")]).output().unwrap());
        assert!(said.contains("nothing to do"), "the last change of pg-{own} is lost: {said}");
        let kept = std::fs::read_to_string(format!("/var/lib/pgsvc/clusters/pg-{own}.json")).unwrap();
        assert!(
            kept.contains(&format!("127.1.{own}.{}", 10 + ROUNDS)),
            "the last request of pg-{own} is lost: {kept}"
        );
        seen.insert(kept);
    }
    assert_eq!(seen.len(), 2);
    println!("| two clusters, {ROUNDS} changes each, interleaved | all good | no change lost | | |");
}

/// A run that stands still in the middle: whoever waits is told who that is, and what to do; once it is killed, the next
/// run puts right what it left.
fn held(dir: &Path) {
    let file = dir.join("held.yml");
    inventory(&file, 1..=2, |_| 77);
    let mut holder = apply(&file, "pg-1").spawn().unwrap();
    let pid = holder.id().to_string();
    let start = Instant::now();
    while std::fs::read_to_string("/var/lib/pgsvc/lock").unwrap_or_default() != pid {
        assert!(start.elapsed() < Duration::from_secs(60), "it never takes the lock");
        assert!(holder.try_wait().unwrap().is_none(), "it ended before it could be stopped");
    }
    call(&["kill", "-STOP", &pid]);
    let sys = RealSystem::new(None);
    let waits = Instant::now();
    let wait = Duration::from_secs(2);
    let error = Transaction::begin(&sys, Path::new("/var/lib/pgsvc"), wait).err().unwrap().to_string();
    assert!(waits.elapsed() >= wait && waits.elapsed() < 4 * wait, "{:?}", waits.elapsed());
    let names = error.contains(&format!("process {pid} (")) && error.contains("pgsvc apply -i");
    assert!(
        names && error.contains("for more than 2 s") && error.contains("if it hangs, kill it"),
        "{error}"
    );
    call(&["kill", "-KILL", &pid]);
    holder.wait().unwrap();
    good("the next run", &apply(&file, "pg-1").output().unwrap());
    let said = good("plan", &pgsvc("plan", &file, &["-c", "pg-1"]).output().unwrap());
    assert!(said.contains("nothing to do"), "{said}");
    println!("| a run that stands still | named after the wait | killed: the next run is good | | |");
}

/// The namespaces' inside; not a test of its own.
#[test]
fn inside() {
    if std::env::var("PGSVC_TEST_NODE").is_err() {
        return;
    }
    call(&["ip", "link", "set", "lo", "up"]);
    for dir in ["/etc/haproxy", "/var/lib", "/run", "/usr/local/lib"] {
        call(&["mount", "-t", "tmpfs", "-o", "mode=755", "none", dir]);
    }
    for dir in ["/var/lib/haproxy", "/run/haproxy"] {
        std::fs::create_dir(dir).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    all_at_once(dir.path());
    interleaved(dir.path());
    held(dir.path());
    println!("| done |");
}

#[test]
fn many_runs_at_once_lose_nothing_and_none_waits_for_ever() {
    assert!(nix::unistd::geteuid().is_root(), "namespaces are made here: run this test as root");
    assert!(
        RealSystem::new(None).find("haproxy").is_some(),
        "this test needs a real haproxy: apt-get install haproxy"
    );
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "inside", "--nocapture"])
        .env("PGSVC_TEST_NODE", "1");
    let out = command.output().unwrap_or_else(|e| panic!("unshare: {e}"));
    let said = String::from_utf8_lossy(&out.stdout);
    said.lines().filter(|l| l.starts_with("| ")).for_each(|l| println!("{l}"));
    assert!(
        out.status.success() && said.contains("| done |"),
        "{said}\n{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

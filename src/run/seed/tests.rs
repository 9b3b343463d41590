use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;

use super::*;
use crate::daemon::Paths;
use crate::host::real::RealSystem;

/// A member that answers every check with a status; `None`: takes connections and says nothing.
fn member(status: Option<u16>) -> SocketAddr {
    saying(status, "")
}

fn saying(status: Option<u16>, body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some(status) = status else {
                kept.push(stream);
                continue;
            };
            drop(stream.read(&mut [0; 1024]));
            drop(write!(stream, "HTTP/1.0 {status} X\r\n\r\n{body}"));
        }
    });
    addr
}

/// HAProxy's stats socket with one worker and what it says of its servers.
fn haproxy(path: &Path, pid: u32, states: String) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = String::new();
            drop(stream.read_to_string(&mut asked));
            let answer = if asked.starts_with("show info") {
                format!("Version: 2.6.12\nPid: {pid}\nStopping: 0\n\n")
            } else {
                states.clone()
            };
            drop(stream.write_all(answer.as_bytes()));
        }
    });
}

/// A node in a directory with a service for the primary over these members.
fn node_in(dir: &Path, members: &[SocketAddr]) -> Paths {
    let paths = Paths {
        config: dir.join("haproxy.cfg"),
        conf_d: dir.join("conf.d"),
        stats_socket: dir.join("stats.sock"),
        server_state: dir.join("run/servers"),
        state_dir: dir.to_owned(),
        ..Paths::default()
    };
    std::fs::create_dir(&paths.conf_d).unwrap();
    let mut text =
        "backend a-primary\n    load-server-state-from-file global\n    http-check connect default\n    \
        http-check send meth OPTIONS uri /primary\n    http-check expect status 200\n"
            .to_owned();
    for (n, m) in members.iter().enumerate() {
        text.push_str(&format!("    server a-{} {m} check port {} weight 100\n", n + 1, m.port()));
    }
    std::fs::write(paths.conf_d.join("a-primary.cfg"), text).unwrap();
    paths
}

fn written(paths: &Paths) -> Vec<(String, bool)> {
    let text = std::fs::read_to_string(&paths.server_state).unwrap();
    state::parse(&text).unwrap().into_iter().map(|s| (s.name.clone(), s.is_up())).collect()
}

fn pairs(all: &[(&str, bool)]) -> Vec<(String, bool)> {
    all.iter().map(|(n, up)| ((*n).to_owned(), *up)).collect()
}

#[test]
fn a_cold_start_begins_with_what_the_members_say() {
    let dir = tempfile::tempdir().unwrap();
    let paths = node_in(dir.path(), &[member(Some(503)), member(Some(200)), member(None)]);
    let sys = RealSystem::new(None);
    let node = Node { sys: &sys, paths: paths.clone(), rooted: false };
    let began = std::time::Instant::now();
    let done = seed(&node).unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "the unit waits no longer: {:?}", began.elapsed());
    assert_eq!(done, Seeded { servers: 3, up: 1, running: false });
    assert_eq!(written(&paths), pairs(&[("a-1", false), ("a-2", true), ("a-3", false)]));
    forget(&node).unwrap();
    assert!(!paths.server_state.exists(), "a stale file is worse than none");
}

#[test]
fn a_member_that_is_being_promoted_is_down_until_it_takes_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (member(Some(503)), saying(Some(200), r#"{"state": "running", "role": "replica"}"#));
    let paths = node_in(dir.path(), &[old, new, saying(Some(200), r#"{"role": "master"}"#)]);
    let sys = RealSystem::new(None);
    let node = Node { sys: &sys, paths: paths.clone(), rooted: false };
    seed(&node).unwrap();
    assert_eq!(written(&paths), pairs(&[("a-1", false), ("a-2", false), ("a-3", true)]));
}

#[test]
fn a_reload_after_a_failover_believes_the_members_and_not_the_old_process() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (member(Some(503)), member(Some(200)));
    let paths = node_in(dir.path(), &[old, new]);
    let row = |n: u16, addr: SocketAddr, op: u8| {
        format!(
            "3 a-primary {n} a-{n} 127.0.0.1 {op} 0 40 100 8 15 3 5 6 0 0 0 - {} - 0 {} - - 0\n",
            addr.port(),
            addr.port()
        )
    };
    haproxy(&paths.stats_socket, 7, format!("1\n# head\n{}{}", row(1, old, 2), row(2, new, 0)));
    let sys = RealSystem::new(None);
    let node = Node { sys: &sys, paths: paths.clone(), rooted: false };
    assert_eq!(seed(&node).unwrap(), Seeded { servers: 2, up: 1, running: true });
    assert_eq!(written(&paths), pairs(&[("a-1", false), ("a-2", true)]));
    let text = std::fs::read_to_string(&paths.server_state).unwrap();
    assert!(text.contains(" 40 100 "), "a weight by hand stays: {text}");
    // The worker of before still serves: it is waited for, but not for ever.
    forget(&node).unwrap();
    assert!(!paths.server_state.exists());
}

#[test]
fn without_backends_that_want_it_no_file_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let paths = node_in(dir.path(), &[]);
    std::fs::create_dir(dir.path().join("run")).unwrap();
    std::fs::write(&paths.server_state, "stale").unwrap();
    let sys = RealSystem::new(None);
    let node = Node { sys: &sys, paths: paths.clone(), rooted: false };
    assert_eq!(seed(&node).unwrap(), Seeded::default());
    assert!(!paths.server_state.exists());
    forget(&node).unwrap();
}

#[test]
fn a_tracking_server_begins_as_the_one_it_tracks() {
    let dir = tempfile::tempdir().unwrap();
    let well = member(Some(200));
    let paths = node_in(dir.path(), &[well]);
    let text = "backend a-x\n    load-server-state-from-file global\n    server a-1 127.0.0.1:1 track a-primary/a-1\n    \
         server a-9 127.0.0.1:1 track nobody/a-1\n";
    std::fs::write(paths.conf_d.join("b.cfg"), text).unwrap();
    let sys = RealSystem::new(None);
    let node = Node { sys: &sys, paths: paths.clone(), rooted: false };
    seed(&node).unwrap();
    assert_eq!(written(&paths), pairs(&[("a-1", true), ("a-1", true), ("a-9", false)]));
}

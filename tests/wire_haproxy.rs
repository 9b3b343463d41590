//! The statistics probe against a real HAProxy, and what a client sees of one that has no server to give.
// Helpers of tests are tests: what fails there is to panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use pgsvc::{host, verify};

#[path = "../src/verify/testkit.rs"]
mod testkit;
mod wire;

use std::io::Read;
use std::net::TcpStream;
use std::path::Path;

use testkit::{Sockets, refusing, serve, soon};
use verify::error::ProbeError;
use verify::postgres::{Login, PgError, TlsMode, handshake, session};
use verify::stats::{self, Kind, ProxyRow, Status, Via};
use wire::{Haproxy, free_port, local, wait_until};

fn row<'a>(rows: &'a [ProxyRow], proxy: &str, server: &str) -> &'a ProxyRow {
    rows.iter().find(|row| row.proxy == proxy && row.server == server).expect("a row")
}

/// Four servers: healthy, unchecked, refusing, in maintenance; and a proxy with no server up.
fn proxies(live: u16, port: u16, dead: u16) -> String {
    let gone = refusing().port();
    format!(
        "listen pg\n  bind 127.0.0.1:{port}\n  server s1 127.0.0.1:{live} check inter 100 weight 50\n  \
         server s2 127.0.0.1:{live} backup\n  server s3 [::1]:{gone} check inter 100 fall 1\n  \
         server s4 127.0.0.1:{live} disabled\n\
         listen dead\n  bind 127.0.0.1:{dead}\n  server s1 127.0.0.1:{gone} check inter 100 fall 1\n"
    )
}

#[test]
fn the_load_balancers_view_is_read() {
    let live = serve(|mut stream| while stream.read(&mut [0; 100]).unwrap_or(0) > 0 {});
    let (port, dead) = (free_port(), free_port());
    let text = proxies(live.port(), port, dead);
    let proxy = Haproxy::start("hash-1", &text);
    let (stats_socket, master) = (proxy.stats(), proxy.master());
    let stat = || stats::stat(&Sockets, Via::Stats(&stats_socket), soon(5000)).unwrap();
    wait_until("the checks have run", || {
        let rows = stat();
        row(&rows, "dead", "s1").status == Status::Down && row(&rows, "pg", "s1").check_status.is_some()
    });
    let rows = stat();
    let states: Vec<_> = rows.iter().filter(|r| r.proxy == "pg").map(|r| (r.kind, r.status)).collect();
    let server = Kind::Server;
    assert_eq!(
        states,
        [
            (Kind::Frontend, Status::Open),
            (server, Status::Up),
            (server, Status::NoCheck),
            (server, Status::Down),
            (server, Status::Maint),
            (Kind::Backend, Status::Up)
        ]
    );
    let s1 = row(&rows, "pg", "s1");
    assert_eq!((s1.weight, s1.active, s1.backup, s1.addr), (Some(50), Some(1), Some(0), Some(live)));
    assert_eq!(s1.check_status.as_deref(), Some("L4OK"));
    assert_eq!((row(&rows, "pg", "s2").active, row(&rows, "pg", "s2").backup), (Some(0), Some(1)));
    let s3 = row(&rows, "pg", "s3");
    assert_eq!(
        (s3.check_status.as_deref(), s3.last_chk.as_deref()),
        (Some("L4CON"), Some("Connection refused"))
    );
    assert!(s3.addr.is_some_and(|addr| addr.is_ipv6()));
    assert_eq!(row(&rows, "dead", "BACKEND").status, Status::Down);

    a_reload_shows_in_the_master(&proxy, &master, &text, port);
    no_server_means_closed_at_once(dead);
}

fn a_reload_shows_in_the_master(proxy: &Haproxy, master: &Path, text: &str, port: u16) {
    let processes = || stats::processes(&Sockets, master, soon(5000));
    let before = processes().unwrap();
    let worker = before.workers.first().unwrap().pid;
    let info = stats::info(&Sockets, Via::Worker(master, worker), soon(5000)).unwrap();
    assert_eq!((info.pid, info.description.as_str(), info.stopping), (worker, "hash-1", false));
    assert_eq!(stats::info(&Sockets, Via::Stats(&proxy.stats()), soon(5000)).unwrap().pid, worker);

    let held = TcpStream::connect(local(port)).unwrap();
    let sessions = |pid| stats::sessions(&Sockets, Via::Worker(master, pid), soon(5000)).unwrap();
    wait_until("the session is seen", || !sessions(worker).is_empty());
    let of = sessions(worker);
    assert_eq!((of[0].frontend.as_str(), of[0].backend.as_str(), of[0].server.as_str()), ("pg", "pg", "s1"));

    proxy.reload("hash-2", &format!("{text}\n  nonsense\n"));
    wait_until("the failed reload is counted", || processes().is_ok_and(|p| p.failed_reloads == Some(1)));
    proxy.reload("hash-2", text);
    wait_until("a new worker serves", || {
        processes()
            .is_ok_and(|p| p.old_workers.iter().any(|w| w.pid == worker) && p.failed_reloads == Some(0))
    });
    let new = processes().unwrap().workers.first().unwrap().pid;
    let info = stats::info(&Sockets, Via::Worker(master, new), soon(5000)).unwrap();
    assert_eq!((info.pid, info.description.as_str(), info.stopping), (new, "hash-2", false));
    let old = stats::info(&Sockets, Via::Worker(master, worker), soon(5000)).unwrap();
    assert_eq!((old.description.as_str(), old.stopping), ("hash-1", true));
    assert_eq!(sessions(worker).len(), 1, "the old worker holds its session");
    drop(held);
    let nobody = stats::info(&Sockets, Via::Worker(master, 999_999), soon(5000)).unwrap_err();
    assert!(matches!(nobody, ProbeError::NotHaproxy(_)), "{nobody}");
}

fn no_server_means_closed_at_once(dead: u16) {
    for tls in [TlsMode::Disable, TlsMode::Prefer] {
        let login = Login {
            user: "app".to_owned(),
            password: None,
            database: "app".to_owned(),
            tls,
            cleartext: false,
        };
        assert_eq!(session(&Sockets, local(dead), &login, soon(5000)), Err(PgError::ClosedAtOnce));
    }
    assert_eq!(handshake(&Sockets, local(dead), "app", "app", soon(5000)), Err(PgError::ClosedAtOnce));
}

#[test]
fn a_socket_that_does_not_answer_is_named() {
    let missing = Path::new("/nonexistent/stats");
    let told = stats::info(&Sockets, Via::Stats(missing), soon(1000)).unwrap_err();
    assert!(matches!(told, ProbeError::Unreachable(_)), "{told}");
    let dir = tempfile::tempdir().unwrap();
    let silent = dir.path().join("silent");
    let _listener = std::os::unix::net::UnixListener::bind(&silent).unwrap();
    let told = stats::info(&Sockets, Via::Stats(&silent), soon(200)).unwrap_err();
    assert_eq!(told, ProbeError::TimedOut("asking HAProxy"));
}

//! Slow, endless, lying and half-open servers, wherever pgsvc asks one: the real binary, real sockets. It ends in its
//! time, by its own word, and with little memory; what the servers do is in `hostile/servers.rs`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod hostile {
    pub mod servers;
    pub mod watched;
}
mod standin;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hostile::servers::{Says, listen, message, serve, serve_postgres, serve_unix, welcome};
use hostile::watched::{Ran, program, run};
use pgsvc::host::real::RealSystem;
use pgsvc::verify::deadline::Deadline;
use pgsvc::verify::postgres::{self, Login, TlsMode};
use tempfile::TempDir;

/// A health check may take 900 ms; starting the program takes its part on a busy machine.
const CHECK: Duration = Duration::from_millis(2500);
/// A verification asks members twice and then the port, at most 3 s each; more means that something waits for ever.
const VERIFY: Duration = Duration::from_secs(40);
/// A program of 15 MB that is idle has about 8 MB in memory, and this many clusters' worth of answers are never kept.
const MEMORY_KB: u64 = 48 << 10;

fn local(n: u8) -> IpAddr {
    IpAddr::V4(standin::ip(n))
}

/// What an HTTP server may do to who asks it.
fn over_http() -> Vec<(&'static str, Says)> {
    let ok = "HTTP/1.1 200 OK\r\n";
    let body = |b: &str| Says::ends(format!("{ok}Content-Length: {}\r\n\r\n{b}", b.len()));
    vec![
        ("silent", Says::Nothing),
        ("drips a header", Says::Drips(ok.into(), b'a')),
        ("drips a body", Says::Drips(format!("{ok}Content-Length: 100\r\n\r\n").into(), b'{')),
        ("drips chunks", Says::Drips(format!("{ok}Transfer-Encoding: chunked\r\n\r\n").into(), b'0')),
        ("endless header", Says::endless(ok, "X-Y: z\r\n")),
        ("endless header line", Says::endless(ok, "a")),
        ("endless status line", Says::endless("HTTP/1.1 ", "2")),
        ("endless body", Says::endless(format!("{ok}\r\n"), " ")),
        ("endless chunks", Says::endless(format!("{ok}Transfer-Encoding: chunked\r\n\r\n"), "1\r\n \r\n")),
        ("endless chunk size", Says::endless(format!("{ok}Transfer-Encoding: chunked\r\n\r\n"), "0")),
        (
            "endless chunk extension",
            Says::endless(format!("{ok}Transfer-Encoding: chunked\r\n\r\n"), "1;a=b\r\n \r\n"),
        ),
        ("endless interim answers", Says::endless("", "HTTP/1.1 100 Continue\r\n\r\n")),
        (
            "a length of 10^20",
            Says::Holds(format!("{ok}Content-Length: 100000000000000000000\r\n\r\n{{}}").into()),
        ),
        ("a length too long", Says::ends(format!("{ok}Content-Length: 500\r\n\r\n{{}}"))),
        ("a length that is none", Says::Holds(format!("{ok}Content-Length: -1\r\n\r\n{{}}").into())),
        ("garbage", Says::Endless(vec![0x9d; 64], vec![0xf3; 4096])),
        ("deep JSON", body(&"[".repeat(500_000))),
        ("deep objects", body(&r#"{"tags":"#.repeat(100_000))),
        ("many objects", body(&format!(r#"{{"members":[{{}}{}]}}"#, r#",{"":0}"#.repeat(140_000)))),
        ("many tags", body(&format!(r#"{{"tags":[{{}}{}]}}"#, r#",{"":0}"#.repeat(140_000)))),
        (
            "huge numbers",
            body(&format!(
                r#"{{"timeline":1{0},"server_version":{0},"role":"primary"}}"#,
                "9".repeat(400_000)
            )),
        ),
        ("half-closed", Says::HalfCloses),
        ("reset in the header", Says::Resets("HTTP/1.1 200".into())),
        ("reset in the body", Says::Resets(format!("{ok}Content-Length: 500\r\n\r\n{{").into())),
    ]
}

/// What a server may do to who wants to speak TLS with it.
fn over_tls() -> Vec<(&'static str, Says)> {
    // A record of a handshake that announces 64 bytes, a server's hello that never goes on.
    let begun = vec![0x16, 3, 3, 0, 64, 2, 0, 0, 60];
    vec![
        ("silent handshake", Says::Nothing),
        ("a handshake that stalls", Says::Holds(begun.clone())),
        ("a handshake that drips", Says::Drips(begun, 0)),
        ("endless warnings", Says::endless("", [0x15, 3, 3, 0, 2, 1, 90])),
        ("endless empty records", Says::endless("", [0x16, 3, 3, 0, 0])),
        ("endless changes of the cipher", Says::endless("", [0x14, 3, 3, 0, 1, 1])),
        ("plain HTTP", Says::ends("HTTP/1.1 200 OK\r\n\r\n")),
        ("garbage instead", Says::Endless(vec![0x9d; 64], vec![0xf3; 4096])),
        ("reset in the handshake", Says::Resets(vec![0x16, 3, 3])),
    ]
}

/// What a PostgreSQL server or a pooler may do.
fn over_the_wire() -> Vec<(&'static str, Says)> {
    let notice = message(b'N', b"SNOTICE\0Mx\0\0");
    let row = message(b'D', b"\0\x01\0\0\0\x01t");
    let sasl = |first: &str| {
        let offer = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        [offer, message(b'R', &[b"\0\0\0\x0b", first.as_bytes()].concat())].concat()
    };
    vec![
        ("silent", Says::Nothing),
        ("drips a message", Says::Drips(b"R\0\0".to_vec(), 0)),
        ("drips notices", Says::Drips(notice.clone(), b'N')),
        ("endless notices", Says::endless("", notice.clone())),
        ("endless notices within", Says::endless(welcome(), notice)),
        ("endless parameters", Says::endless(message(b'R', &[0; 4]), message(b'S', b"a\0b\0"))),
        ("endless keys", Says::endless(message(b'R', &[0; 4]), message(b'K', &[0; 8]))),
        ("a flood of rows", Says::endless(welcome(), row)),
        (
            "rows of many columns",
            Says::endless(welcome(), message(b'D', &[&[0xff, 0xff][..], &[0; 262_140]].concat())),
        ),
        ("endless descriptions", Says::endless(welcome(), message(b'T', &[0, 0]))),
        ("endless errors", Says::endless(welcome(), message(b'E', b"SERROR\0VERROR\0C42501\0Mno\0\0"))),
        ("a message of 2 GB", Says::endless([&b"R\x7f\xff\xff\xff"[..], &[0; 4]].concat(), "a")),
        ("a message of -1 bytes", Says::Holds(b"R\xff\xff\xff\xff\0\0\0\0".to_vec())),
        ("a message of no bytes", Says::Holds(b"R\0\0\0\0".to_vec())),
        ("2^31 iterations", Says::Holds(sasl("r=x,s=AAAA,i=2147483648"))),
        ("endless mechanisms", Says::endless(b"R\0\x0f\xff\xff\0\0\0\x0a".to_vec(), "SCRAM-SHA-1\0")),
        ("asks twice", Says::endless("", message(b'R', b"\0\0\0\x05salt"))),
        ("garbage", Says::Endless(vec![0x9d; 64], vec![0xf3; 4096])),
        ("half-closed", Says::HalfCloses),
        ("reset in a message", Says::Resets(b"R\0\0".to_vec())),
        ("reset in a session", Says::Resets(welcome())),
    ]
}

/// A few at a time: what waits waits together, what is endless would take the processor from all.
fn each<T: Send>(mut cases: Vec<(&'static str, T)>, look: impl Fn(&str, T) -> Ran + Sync, most: Duration) {
    cases.reverse();
    let (cases, wrong) = (Mutex::new(cases), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((name, case)) = { cases.lock().unwrap().pop() } {
                    let ran = look(name, case);
                    let line = ran.said.lines().next().unwrap_or_default().to_owned();
                    println!("{name:32} {:5} ms {:6} KB  {line}", ran.took.as_millis(), ran.peak_kb);
                    if ran.took > most || ran.peak_kb > MEMORY_KB {
                        wrong
                            .lock()
                            .unwrap()
                            .push(format!("{name}: {:?}, {} KB: {}", ran.took, ran.peak_kb, ran.said));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "beyond {most:?} or {MEMORY_KB} KB:\n{}", wrong.join("\n"));
}

/// One cluster of one member and one service; a port that is 1 refuses.
fn inventory(patroni: SocketAddr, postgres: SocketAddr, balancer: SocketAddr) -> (TempDir, String) {
    let dir = TempDir::new().unwrap();
    let (member, at) = (patroni.ip(), balancer.ip());
    assert_eq!(postgres.ip(), member);
    let text = format!(
        "all:\n  hosts:\n    lb: {{ansible_host: {at}}}\n    db:\n      ansible_host: {member}\n      pg_cluster: pg-test\n      \
         pg_seq: 1\n      pg_role: primary\n      patroni_port: {}\n      pg_port: {p}\n      pgbouncer_port: {p}\n      \
         pg_services: [{{name: primary, src_ip: '*', src_port: {}, check_url: /primary, selector: '[]'}}]\n",
        patroni.port(),
        balancer.port(),
        p = postgres.port(),
    );
    let path = dir.path().join("hosts.yml");
    std::fs::write(&path, text).unwrap();
    (dir, path.display().to_string())
}

fn verified(inventory: &str) -> Ran {
    let words = ["verify", "-i", inventory, "--host", "lb", "-c", "pg-test", "--user", "u", "--timeout", "1"];
    run(program().args(words).env("PGSVC_PASSWORD", "sesame"))
}

fn nobody(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 1)
}

#[test]
fn a_health_check_ends_in_its_time_whatever_it_meets() {
    let asked = |_: &str, url: String| {
        let ran = run(program().args(["check", &url]));
        assert!(ran.code == 1 || url.ends_with("#200"), "{url}: exit {}: {}", ran.code, ran.said);
        assert_eq!(ran.said.lines().count(), usize::from(ran.code == 1), "{url}: {}", ran.said);
        ran
    };
    // Where a whole answer comes its status counts, and this asks for another one.
    let http =
        over_http().into_iter().map(|(n, s)| (n, format!("http://{}/primary#503", serve(local(1), s))));
    let tls = over_tls().into_iter().map(|(n, s)| (n, format!("https://{}/primary#503", serve(local(1), s))));
    each(http.chain(tls).collect(), asked, CHECK);
}

#[test]
fn a_verification_ends_whatever_patroni_is() {
    let look = |_: &str, says: Says| {
        let (_dir, path) = inventory(serve(local(2), says), nobody(local(2)), nobody(local(3)));
        let ran = verified(&path);
        assert_eq!(ran.code, 3, "{}", ran.said);
        ran
    };
    each(over_http(), look, VERIFY);
}

#[test]
fn a_verification_ends_whatever_postgresql_and_the_balancer_are() {
    let look = |_: &str, says: Says| {
        let (_dir, path) = inventory(
            nobody(local(4)),
            serve_postgres(local(4), says.clone()),
            serve_postgres(local(5), says),
        );
        let ran = verified(&path);
        assert_eq!(ran.code, 3, "{}", ran.said);
        ran
    };
    each(over_the_wire(), look, VERIFY);
}

/// PBKDF2's rounds cost the one who answers; a wish for more than 100,000 (PostgreSQL's default is 4096) is refused.
#[test]
fn the_work_that_a_server_can_ask_for_is_bounded() {
    let sys = RealSystem::new(None);
    let asked = |rounds: u64| {
        let at = serve_scram(rounds);
        let (user, password, database) = ("u".into(), Some("sesame".into()), "d".into());
        let login = Login { user, password, database, tls: TlsMode::Disable, cleartext: false };
        let began = Instant::now();
        let error = postgres::session(&sys, at, &login, Deadline::after(&sys, VERIFY)).unwrap_err();
        (error.to_string(), began.elapsed())
    };
    let (most, longest) = asked(100_000);
    assert!(!most.contains("iteration count"), "so many are done: {most}");
    for rounds in [100_001, 2_147_483_647, 4_294_967_295, 99_999_999_999] {
        let (error, took) = asked(rounds);
        println!("{rounds} rounds: {took:?} ({longest:?} for the most): {error}");
        assert!(error.contains("SCRAM"), "{rounds}: {error}");
        assert!(took < longest + Duration::from_secs(1), "{rounds} rounds: {took:?}, the most: {longest:?}");
    }
}

/// Asks for so many rounds, by the client's own nonce, and closes.
fn serve_scram(rounds: u64) -> SocketAddr {
    listen(local(6), move |mut peer| {
        let mut said = [0; 4096];
        let mut hear = |peer: &mut TcpStream| {
            let n = peer.read(&mut said).unwrap_or(0);
            String::from_utf8_lossy(&said[..n]).into_owned()
        };
        hear(&mut peer);
        let _ = peer.write_all(&message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"));
        let nonce = hear(&mut peer).split_once("r=").map(|(_, nonce)| nonce.to_owned()).unwrap_or_default();
        let answer = format!("r={nonce}x,s=QUFBQUFBQUFBQUFBQUFBQQ==,i={rounds}");
        let _ = peer.write_all(&message(b'R', &[b"\0\0\0\x0b", answer.as_bytes()].concat()));
        hear(&mut peer);
    })
}

/// Below a /run of the test's own, as the binary asks the sockets that it knows.
fn with_sockets(stats: Says) -> Ran {
    let run_dir = TempDir::new().unwrap();
    std::fs::create_dir(run_dir.path().join("haproxy")).unwrap();
    serve_unix(&run_dir.path().join("haproxy/admin.sock"), stats.clone());
    serve_unix(&run_dir.path().join("haproxy-master.sock"), stats);
    let (_dir, path) = inventory(nobody(local(7)), nobody(local(7)), nobody("127.0.0.1".parse().unwrap()));
    let script = format!(
        "mount --bind {} /run && exec {} verify -i {path} --host lb -c pg-test --timeout 1",
        run_dir.path().display(),
        env!("CARGO_BIN_EXE_pgsvc"),
    );
    // A mount of this process alone: gone when it ends.
    run(std::process::Command::new("unshare").args(["--mount", "sh", "-c", &script]))
}

/// Of HAProxy's own sockets long answers are read: 64 MB are those of some hundred thousand servers.
#[test]
fn a_verification_ends_whatever_haproxys_sockets_say() {
    let head = "# pxname,svname,status,type\n";
    let fill = |line: &str| [head.as_bytes(), &line.repeat((63 << 20) / line.len()).into_bytes()].concat();
    for (name, says, most_kb) in [
        ("silent", Says::Nothing, MEMORY_KB),
        ("drips", Says::Drips(head.into(), b'a'), MEMORY_KB),
        ("endless", Says::endless(head, "a,b,UP,2\n"), 256 << 10),
        ("endless line", Says::endless(head, "a,"), 256 << 10),
        ("many rows", Says::ends(fill("a,b,UP,2\n")), 256 << 10),
        ("many columns", Says::ends(fill(",,,,,,,,")), 256 << 10),
        ("no table", Says::ends(vec![b'a'; 63 << 20]), 256 << 10),
        ("no text", Says::ends(vec![0xf3; 60 << 20]), 256 << 10),
        ("half-closed", Says::ends(""), MEMORY_KB),
    ] {
        let ran = with_sockets(says);
        println!("{name:32} {:5} ms {:6} KB", ran.took.as_millis(), ran.peak_kb);
        assert!(
            ran.code == 3 && ran.took < VERIFY,
            "{name}: exit {}, {:?}: {}",
            ran.code,
            ran.took,
            ran.said
        );
        assert!(ran.peak_kb <= most_kb, "{name}: {} KB", ran.peak_kb);
        assert!(
            ran.said.contains("HAProxy's own view is missing") || name.starts_with("many"),
            "{name}: {}",
            ran.said
        );
    }
}

/// A program in the place of `getent`.
fn with_getent(script: &str) -> Ran {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("getent");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let paths = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    run(program().args(["check", "tcp://db1.example:5432"]).env("PATH", paths))
}

#[test]
fn a_program_that_hangs_or_never_ends_its_words_holds_nobody() {
    for (name, script) in [
        ("hangs", "sleep 600"),
        ("hangs with its children", "sleep 600 & sleep 600 & wait"),
        ("does not listen to its end", "trap '' TERM INT HUP; while :; do sleep 1; done"),
        ("endless", "exec yes 10.0.0.1"),
        ("endless errors", "exec yes >&2"),
        ("ends, and a child goes on talking", "setsid yes & exit 1"),
    ] {
        let ran = with_getent(script);
        println!("{name:32} {:5} ms {:6} KB  {}", ran.took.as_millis(), ran.peak_kb, ran.said.trim());
        assert!(
            ran.code == 1 && ran.took < CHECK + Duration::from_secs(2),
            "{name}: {:?}: {}",
            ran.took,
            ran.said
        );
        assert!(ran.said.contains("does not resolve"), "{name}: {}", ran.said);
        assert!(ran.peak_kb < MEMORY_KB, "{name}: {} KB", ran.peak_kb);
    }
}

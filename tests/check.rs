//! `pgsvc check` as a unit or keepalived runs it: the binary, real sockets on the loopback, exit codes and one line.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{code, err, out};

/// An HTTP server that answers `code` to `path` and 503 to all else, and how often it was asked.
fn http(bind: &str, path: &'static str, code: u16) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((bind, 0)).unwrap();
    let (addr, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            let mut request = [0; 1024];
            let n = peer.read(&mut request).unwrap_or(0);
            let line = String::from_utf8_lossy(&request[..n]).lines().next().unwrap_or_default().to_owned();
            if n == 0 {
                continue;
            }
            count.fetch_add(1, Ordering::SeqCst);
            let status = if line == format!("OPTIONS {path} HTTP/1.1") { code } else { 503 };
            let _ = peer.write_all(format!("HTTP/1.0 {status} X\r\n\r\n").as_bytes());
        }
    });
    (addr, asked)
}

/// A port that takes connections and never says a word.
fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for peer in listener.incoming().flatten() {
            kept.push(peer);
        }
    });
    addr
}

/// A port that refuses: nobody gets one below 1024 by chance.
const CLOSED: &str = "127.0.0.1:1";

fn check(words: &str) -> (i32, String) {
    let mut args = vec!["check"];
    args.extend(words.split_whitespace());
    let output = common::run(&args);
    assert_eq!(out(&output), "", "stdout is silent");
    (code(&output), err(&output))
}

#[test]
fn it_passes_when_all_needs_hold_and_says_nothing() {
    let (a, asked) = http("127.0.0.1", "/replica?lag=16MB", 200);
    let (b, _) = http("127.0.0.1", "/primary", 503);
    let words = format!("http://{a}/replica?lag=16MB tcp://{a} http://{b}/primary#503");
    assert_eq!(check(&words), (0, String::new()));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn it_fails_with_one_line_that_names_the_need_and_what_was_found() {
    let (a, _) = http("127.0.0.1", "/primary", 503);
    let c = CLOSED;
    let line = |what: &str| (1, format!("pgsvc check: {what}\n"));
    assert_eq!(
        check(&format!("http://{a}/primary")),
        line(&format!("http://{a}/primary: HTTP status 503, expected 200"))
    );
    assert_eq!(check(&format!("tcp://{a} tcp://{c}")), line(&format!("tcp://{c}: connection refused")));
    let (code, said) = check(&format!("https://{a}/primary"));
    assert!(code == 1 && said.contains("speaks no TLS"), "{said}");
    assert_eq!(
        check("unix:/nonexistent/pgsvc.sock:/"),
        line("unix:/nonexistent/pgsvc.sock:/: unreachable: No such file or directory (os error 2)")
    );
}

#[test]
fn unless_and_or_decide_as_written_and_each_need_is_asked_once() {
    let (good, asked) = http("127.0.0.1", "/r", 200);
    let (bad, _) = http("127.0.0.1", "/r", 503);
    let (good, bad) = (format!("http://{good}/r"), format!("http://{bad}/r"));
    let passes = |words: String| match check(&words) {
        (0, said) if said.is_empty() => true,
        (1, said) if said.starts_with("pgsvc check: ") && said.matches('\n').count() == 1 => false,
        other => panic!("{words}: {other:?}"),
    };
    assert!(passes(format!("{good} --unless {bad}")));
    assert!(passes(format!("{good} --unless {good},{bad}")));
    assert!(!passes(format!("{good} --unless {bad} --unless {good}")));
    assert!(passes(format!("{bad} --or {good}")));
    assert!(passes(format!("{bad} --or {good} --unless {bad} --or {bad}")));
    assert!(!passes(format!("{good} {bad} --or {bad}")));
    let before = asked.load(Ordering::SeqCst);
    assert!(passes(format!("{good} --unless {good},{bad} --or {good} {bad} --or {good} --unless {good}")));
    assert_eq!(asked.load(Ordering::SeqCst), before + 1);
}

#[test]
fn ipv6_is_written_in_brackets() {
    let (a, _) = http("::1", "/", 200);
    assert_eq!(check(&format!("http://[::1]:{}/ tcp://[::1]:{}", a.port(), a.port())), (0, String::new()));
}

#[test]
fn a_check_ends_with_its_time_whoever_is_silent_and_however_many() {
    let silent: Vec<String> = (0..8).map(|_| format!("http://{}/x", self::silent())).collect();
    let (good, _) = http("127.0.0.1", "/", 200);
    let took = |words: &str| {
        let begin = Instant::now();
        let (code, said) = check(words);
        (code, said, begin.elapsed())
    };
    let idle = took(&format!("http://{good}/")).2;
    for within in [300, 900] {
        let (code, said, time) = took(&format!("--within {within} {}", silent.join(" ")));
        assert!(code == 1 && said.matches("timed out waiting for the answer").count() == 8, "{said}");
        // A machine that is busy with other tests starts a process late; the probes one after another would take 8 times.
        let limit = Duration::from_millis(within) * 3 + idle * 3;
        assert!(time >= Duration::from_millis(within) && time < limit, "{within}: {time:?} of {limit:?}");
    }
    // Who does not answer in time is not active, and so stands in nobody's way.
    let (code, said, _) = took(&format!("--within 300 http://{good}/ --unless {}", silent[0]));
    assert_eq!((code, said.as_str()), (0, ""));
}

#[test]
fn a_unix_socket_is_asked_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    std::thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            let mut request = String::new();
            let _ = peer.read_to_string(&mut request);
            let status =
                if request.starts_with("GET /up HTTP/1.1\r\nHost: localhost\r\n") { 200 } else { 404 };
            let _ = peer.write_all(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").as_bytes());
        }
    });
    let path = path.display();
    assert_eq!(check(&format!("unix:{path}:/up")), (0, String::new()));
    assert_eq!(check(&format!("unix:{path}:/#404")), (0, String::new()));
    let said = format!("pgsvc check: unix:{path}:/: HTTP status 404, expected 200\n");
    assert_eq!(check(&format!("unix:{path}:/")), (1, said));
}

#[test]
fn words_that_are_wrong_are_usage() {
    for (words, says) in [
        ("", "required arguments were not provided"),
        ("tcp://127.0.0.1:1 --unles tcp://127.0.0.1:2", "did you mean --unless?"),
        ("htpp://127.0.0.1:1/", "did you mean http?"),
        ("--within soon tcp://127.0.0.1:1", "--within MILLISECONDS"),
    ] {
        let (code, said) = check(words);
        assert!(code == 64 && said.contains(says), "{words}: {code} {said}");
    }
    let help = common::good(&["check", "--help"]);
    for word in
        ["--unless NEED,NEED", "--or", "--ca FILE", "--within MS", "unix:SOCKET:/PATH", "tcp://ADDR:PORT"]
    {
        assert!(out(&help).contains(word), "{}", out(&help));
    }
}

#[test]
fn a_ca_that_cannot_be_read_fails_by_name_and_only_where_it_is_needed() {
    let (a, _) = http("127.0.0.1", "/", 200);
    assert_eq!(check(&format!("--ca /nonexistent/ca.pem http://{a}/")), (0, String::new()));
    let (code, said) = check(&format!("--ca /nonexistent/ca.pem https://{a}/"));
    assert!(code == 1 && said.contains("/nonexistent/ca.pem: cannot be read"), "{said}");
    assert_eq!(said.matches('\n').count(), 1);
}

/// A HAProxy that answers 200 over TLS, with a certificate for 127.0.0.1; its port, and the directory with `ca.crt`.
struct Tls {
    child: std::process::Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Tls {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let openssl = |args: &str| {
            let made =
                std::process::Command::new("openssl").current_dir(dir.path()).args(args.split(' ')).output();
            assert!(made.unwrap().status.success(), "openssl {args}");
        };
        let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
        openssl(&format!("{new} -keyout ca.key -out ca.crt -subj /CN=test-ca"));
        openssl(&format!("{new} -keyout other.key -out other.crt -subj /CN=other-ca"));
        let leaf = "-addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
        openssl(&format!(
            "{new} -keyout leaf.pem.key -out leaf.pem -subj /CN=m {leaf} -CA ca.crt -CAkey ca.key"
        ));
        let port = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
        let at = dir.path().display();
        let config = format!(
            "defaults\n    mode http\n    timeout client 2s\nfrontend f\n    bind *:{port} ssl crt {at}/leaf.pem\n    \
             http-request return status 200\n"
        );
        std::fs::write(dir.path().join("h.cfg"), config).unwrap();
        let mut command = std::process::Command::new("haproxy");
        command.args(["-db", "-q", "-f"]).arg(dir.path().join("h.cfg"));
        Self { child: command.spawn().unwrap(), dir, port }
    }

    fn ca(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

#[test]
fn https_is_verified_by_a_ca_where_one_is_named() {
    let server = Tls::start();
    let (port, ca, other) = (server.port, server.ca("ca.crt"), server.ca("other.crt"));
    let begin = Instant::now();
    while check(&format!("tcp://127.0.0.1:{port}")).0 != 0 {
        assert!(begin.elapsed() < Duration::from_secs(10), "HAProxy never listens");
    }
    assert_eq!(check(&format!("https://127.0.0.1:{port}/x")), (0, String::new()));
    assert_eq!(check(&format!("--ca {ca} https://127.0.0.1:{port}/x")), (0, String::new()));
    let (code, said) = check(&format!("--ca {other} https://127.0.0.1:{port}/x"));
    assert!(code == 1 && said.contains("signed by none of the CA file"), "{said}");
    let (code, said) = check(&format!("--ca {ca} https://127.0.0.2:{port}/x"));
    assert!(code == 1 && said.contains("is for another name"), "{said}");
    let (code, said) = check(&format!("http://127.0.0.1:{port}/x"));
    assert!(code == 1 && said.starts_with("pgsvc check: http://"), "{said}");
}

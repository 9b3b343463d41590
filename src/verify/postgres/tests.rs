//! Servers that lie, stall, flood or are something else. What real ones do is in tests/wire_postgres.rs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::*;
use crate::verify::testkit::{Sockets, answer, endless, refusing, serve, soon};

fn login(tls: TlsMode) -> Login {
    Login {
        user: "app".to_owned(),
        password: Some("sesame".to_owned()),
        database: "app".to_owned(),
        tls,
        cleartext: false,
    }
}

fn ask(addr: SocketAddr) -> Result<Identity, PgError> {
    session(&Sockets, addr, &login(TlsMode::Disable), soon(2000))
}

fn said(bytes: impl Into<Vec<u8>>) -> String {
    ask(answer(bytes)).unwrap_err().to_string()
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

fn auth(kind: u32, rest: &[u8]) -> Vec<u8> {
    message(b'R', &[&kind.to_be_bytes(), rest].concat())
}

fn error(code: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{text}\0\0").as_bytes())
}

/// Lets the client in and answers each query with the given messages, one query after the other.
fn scripted(answers: &'static [fn() -> Vec<u8>]) -> SocketAddr {
    serve(move |mut stream: TcpStream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&[auth(0, &[]), message(b'Z', b"I")].concat());
        for answer in answers {
            if stream.read(&mut [0; 4096]).unwrap_or(0) == 0 {
                return;
            }
            let _ = stream.write_all(&answer());
        }
        let _ = stream.read(&mut [0; 4096]);
    })
}

fn row(values: &[Option<&str>]) -> Vec<u8> {
    let mut body = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        let length = value.map_or(-1, |v| i32::try_from(v.len()).unwrap());
        body.extend(length.to_be_bytes());
        body.extend(value.unwrap_or_default().as_bytes());
    }
    message(b'D', &body)
}

fn done(rows: &[u8]) -> Vec<u8> {
    [rows, &message(b'C', b"SELECT 1\0"), &message(b'Z', b"I")].concat()
}

const WHO: fn() -> Vec<u8> =
    || done(&row(&[Some("1000001"), Some("t"), Some("150004"), Some("on"), Some("10.0.0.1"), Some("5432")]));
const DENIED: fn() -> Vec<u8> = || [error("42501", "permission denied"), message(b'Z', b"I")].concat();

#[test]
fn what_is_refused_to_the_user_costs_nothing_else() {
    let who = ask(scripted(&[WHO, DENIED, DENIED])).unwrap();
    assert_eq!(
        (who.in_recovery, who.postmaster_start, who.server_version, who.read_only),
        (true, 1_000_001, 150_004, true)
    );
    assert_eq!((who.server_addr, who.server_port), ("10.0.0.1".parse().ok(), Some(5432)));
    assert_eq!((who.replay, who.system_identifier, who.timeline), (None, None, None));
}

#[test]
fn another_instance_behind_a_pooler_is_not_mixed_in() {
    let who = ask(scripted(&[WHO, DENIED, || done(&row(&[Some("2"), Some("72"), Some("9")]))])).unwrap();
    assert_eq!((who.system_identifier, who.timeline), (None, None));
    let who =
        ask(scripted(&[WHO, DENIED, || done(&row(&[Some("1000001"), Some("72"), Some("9")]))])).unwrap();
    assert_eq!((who.system_identifier.as_deref(), who.timeline), (Some("72"), Some(9)));
}

#[test]
fn a_query_is_bounded_and_its_answer_checked() {
    for (script, said) in [
        (&[(|| done(&[])) as fn() -> Vec<u8>][..], "protocol broken: no row where there is always one"),
        (&[|| done(&row(&[Some("x"), None]))], "protocol broken: an identity without role, start or version"),
        (&[|| done(&row(&[None]).repeat(200))], "protocol broken: more rows than were asked for"),
        (
            &[|| done(&row(&[Some(&"x".repeat(600_000))]).repeat(2))],
            "protocol broken: more rows than were asked for",
        ),
        (&[|| message(b'G', &[0, 0, 0])], "protocol broken: an answer to a query that is none"),
        (&[|| message(b'D', &[0, 5, 0, 0])], "protocol broken: failed to fill whole buffer"),
        (&[|| message(b'D', &[0, 1, 0x7f, 0xff, 0xff, 0xff])], "protocol broken: unexpected EOF"),
        (&[|| error("57P01", "terminating connection")], "terminating connection (57P01)"),
        (&[|| message(b'?', b"")], "protocol broken: unknown message tag `63`"),
    ] {
        let told = ask(scripted(script)).unwrap_err();
        assert_eq!(told.to_string(), said);
    }
}

#[test]
fn what_answers_instead_is_named() {
    for (bytes, told) in [
        (b"".to_vec(), "connection closed at once: no server behind it, or it is dead"),
        (b"HTTP/1.1 400 Bad\r\n\r\n".to_vec(), "not PostgreSQL: answers 'HTTP/1.1 400 Bad....'"),
        (b"R".to_vec(), "connection closed waiting for an answer to the startup message"),
        (b"R\0\0\0\x03".to_vec(), "not PostgreSQL: invalid message length: header length < 4"),
        (b"R\xff\xff\xff\xff".to_vec(), "not PostgreSQL: invalid message length: header length < 4"),
        (b"R\x7f\xff\xff\xff".to_vec(), "not PostgreSQL: a message of 2147483647 bytes: 'R....'"),
        (b"Ecould not fork: no memory\n\0".to_vec(), "could not fork: no memory"),
        (
            error("53300", "sorry, too many clients already"),
            "server full: sorry, too many clients already (53300)",
        ),
        (
            error("57P03", "the database system is starting up"),
            "not accepting connections: the database system is starting up (57P03)",
        ),
        (
            error("28P01", "password authentication failed"),
            "authentication failed: password authentication failed (28P01)",
        ),
        (
            error("08P01", "no more connections allowed (max_client_conn)"),
            "server full: no more connections allowed (max_client_conn) (08P01)",
        ),
        (
            error("08P01", "pgbouncer cannot connect"),
            "the pooler cannot connect: pgbouncer cannot connect (08P01)",
        ),
        (error("3D000", "no\x1b[31m\nsuch\tdatabase"), "no [31m such database (3D000)"),
        (message(b'E', b"C3D000"), "an error without a text"),
        (auth(7, &[]), "cannot log in: the server asks for GSSAPI, which is not spoken here"),
        (auth(99, &[]), "protocol broken: unknown authentication tag `99`"),
        (
            auth(3, &[]),
            "cannot log in: the server asks for the password in clear text, over a connection without TLS",
        ),
        (auth(10, b"PLAIN\0X\0\0"), "cannot log in: the server offers only PLAIN, X"),
        (message(b'Z', b"I"), "not PostgreSQL: answers 'Z....I'"),
        (
            [auth(5, b"salt"), auth(5, b"salt")].concat(),
            "protocol broken: an answer to a startup message that is none",
        ),
    ] {
        assert_eq!(said(bytes), told);
    }
    assert_eq!(ask(refusing()), Err(PgError::Refused));
}

#[test]
fn tls_is_negotiated_before_a_word_is_said() {
    let asked = |bytes: &[u8], mode| session(&Sockets, answer(bytes), &login(mode), soon(2000)).unwrap_err();
    let told = |bytes: &[u8], mode| asked(bytes, mode).to_string();
    assert_eq!(told(b"N", TlsMode::Require), "TLS failed: the server offers none");
    assert_eq!(told(b"SSH-2.0-x", TlsMode::Prefer), "not PostgreSQL: answers 'SSH-2.0-x'");
    assert_eq!(told(b"S", TlsMode::Prefer), "connection closed in the TLS handshake");
    assert_eq!(told(b"N", TlsMode::Prefer), "connection closed waiting for an answer to the startup message");
    assert_eq!(asked(b"", TlsMode::Prefer), PgError::ClosedAtOnce);
    let full = error("53300", "too many");
    assert!(matches!(asked(&full, TlsMode::Require), PgError::Full(_)));
    let stuffed = serve(|mut stream| {
        let _ = stream.read(&mut [0; 100]);
        let _ = stream.write_all(b"S");
        let _ = stream.read(&mut [0; 1000]);
        let _ = stream.write_all(b"no TLS at all");
    });
    let mode = TlsMode::VerifyFull(TlsConfig::insecure(None).unwrap());
    assert_eq!(told(b"S", mode), "cannot log in: verify-full needs a CA");
    let spoken = session(&Sockets, stuffed, &login(TlsMode::Require), soon(2000)).unwrap_err();
    assert_eq!(spoken.to_string(), "not PostgreSQL: offers TLS and speaks none");
}

/// A SCRAM server that goes wrong in one way.
fn scram(first: fn(&str) -> String, last: fn() -> Vec<u8>) -> PgError {
    let addr = serve(move |mut stream| {
        let mut seen = [0; 1000];
        let _ = stream.read(&mut seen);
        let _ = stream.write_all(&auth(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"));
        let n = stream.read(&mut seen).unwrap();
        let sent = String::from_utf8_lossy(&seen[..n]).into_owned();
        let nonce = sent.split("r=").nth(1).unwrap();
        let _ = stream.write_all(&auth(11, first(nonce).as_bytes()));
        let _ = stream.read(&mut seen);
        let _ = stream.write_all(&last());
        std::thread::sleep(Duration::from_millis(50));
    });
    ask(addr).unwrap_err()
}

#[test]
fn a_server_that_cannot_prove_itself_is_not_believed() {
    let good: fn(&str) -> String = |nonce| format!("r={nonce}x,s=QUJD,i=4096");
    let forged = || [auth(12, b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), auth(0, &[])].concat();
    assert!(
        matches!(scram(good, forged), PgError::Authentication(sql) if sql.message.contains("could not prove"))
    );
    assert!(matches!(scram(good, || auth(0, &[])), PgError::Protocol(_)), "no proof at all");
    assert!(matches!(scram(good, || error("28P01", "no")), PgError::Authentication(_)));
    let begun = Instant::now();
    for first in [
        (|_| "r=other,s=QUJD,i=4096".to_owned()) as fn(&str) -> String,
        |nonce| format!("r={nonce}x,s=QUJD,i=4000000000"),
        |nonce| format!("r={nonce}x,s=!,i=1"),
        |_| String::new(),
    ] {
        assert!(matches!(scram(first, || auth(0, &[])), PgError::Protocol(_)));
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "iterations are capped");
}

#[test]
fn floods_and_silence_end_at_the_deadline() {
    let silent = serve(|stream| {
        std::thread::sleep(Duration::from_secs(5));
        drop(stream);
    });
    const NOTICE: &[u8] = b"N\0\0\0\x08SX\0\0";
    let flood = endless(b"", NOTICE, Duration::ZERO);
    let drip = endless(b"R", b"\0", Duration::from_millis(50));
    for addr in [silent, flood, drip] {
        let begun = Instant::now();
        let asked = session(&Sockets, addr, &login(TlsMode::Disable), soon(300));
        let ended = begun.elapsed();
        assert!(asked.is_err() && ended < Duration::from_millis(600), "{asked:?} after {ended:?}");
    }
    let asked = session(&Sockets, flood, &login(TlsMode::Disable), soon(300));
    assert_eq!(asked, Err(PgError::TimedOut("waiting for an answer to the startup message")));
}

#[test]
fn a_handshake_needs_no_login() {
    let greet = |bytes: Vec<u8>| {
        let addr = serve(move |mut stream| {
            let _ = stream.read(&mut [0; 100]);
            let _ = stream.write_all(b"N");
            let _ = stream.read(&mut [0; 1000]);
            let _ = stream.write_all(&bytes);
        });
        handshake(&Sockets, addr, "pgsvc", "postgres", soon(2000))
    };
    assert_eq!(
        greet(auth(10, b"SCRAM-SHA-256\0\0")).unwrap(),
        Handshake { tls: false, answer: Answer::Asks("SCRAM") }
    );
    assert_eq!(greet(auth(5, b"salt")).unwrap().answer, Answer::Asks("md5"));
    assert_eq!(greet(auth(0, &[])).unwrap().answer, Answer::Welcome);
    let full = greet(error("53300", "full")).unwrap().answer;
    assert!(matches!(full, Answer::Refuses(PgError::Full(_))));
    assert!(matches!(greet(message(b'Z', b"I")), Err(PgError::Protocol(_))));
    assert!(matches!(greet(Vec::new()), Err(PgError::Closed(_))));
    assert_eq!(handshake(&Sockets, answer(""), "u", "d", soon(2000)), Err(PgError::ClosedAtOnce));
}

#[test]
fn a_password_is_never_printed() {
    let printed = format!("{:?}", login(TlsMode::Prefer));
    assert!(!printed.contains("sesame") && printed.contains("app") && printed.contains("***"), "{printed}");
    let mut zero = login(TlsMode::Disable);
    zero.cleartext = true;
    zero.password = Some("ses\0ame".to_owned());
    let told = session(&Sockets, answer(auth(3, &[])), &zero, soon(2000)).unwrap_err().to_string();
    assert_eq!(told, "cannot log in: the password holds a zero byte");
    zero.password = None;
    let told = session(&Sockets, answer(auth(5, b"salt")), &zero, soon(2000)).unwrap_err().to_string();
    assert_eq!(told, "cannot log in: the server asks for a password, and none is given");
}

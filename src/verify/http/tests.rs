//! The client against servers that are truthful, slow, endless or lying.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::verify::testkit::{Sockets, answer, endless, refusing, serve, soon};

fn ask(addr: SocketAddr) -> Result<Response, ProbeError> {
    get(&Sockets, addr, None, "pg-test-1", "GET", "/patroni", soon(2000))
}

fn body(bytes: &[u8]) -> Result<String, ProbeError> {
    ask(answer(bytes)).map(|r| format!("{} {}", r.status, String::from_utf8_lossy(&r.body)))
}

#[test]
fn bodies_end_by_length_by_chunks_or_with_the_connection() {
    assert_eq!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi and more").unwrap(), "200 hi");
    assert_eq!(body(b"HTTP/1.0 503 \r\nServer: x\r\n\r\nall of it").unwrap(), "503 all of it");
    assert_eq!(body(b"HTTP/1.0 200\n\nold").unwrap(), "200 old");
    let chunked =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2;x=y\r\nhi\r\nA\r\n0123456789\r\n0\r\n\r\n";
    assert_eq!(body(chunked).unwrap(), "200 hi0123456789");
    assert_eq!(body(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n").unwrap(), "204 ");
    let head = answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    assert_eq!(get(&Sockets, head, None, "h", "HEAD", "/", soon(2000)).unwrap().body, b"");
}

#[test]
fn the_request_is_one_request() {
    let addr = serve(|mut stream| {
        let mut seen = [0; 500];
        let n = stream.read(&mut seen).unwrap();
        let text = String::from_utf8_lossy(&seen[..n]).replace("\r\n", "|");
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).unwrap();
    });
    let text = get(&Sockets, addr, None, "::1", "OPTIONS", "/replica?lag=1", soon(2000)).unwrap().body;
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "OPTIONS /replica?lag=1 HTTP/1.1|Host: [::1]|User-Agent: pgsvc|Connection: close||"
    );
    for (host, method, path) in [
        ("h", "GET", "/a b"),
        ("h", "GET", "/a\r\nX: y"),
        ("h", "GET", "patroni"),
        ("h", "GET", ""),
        ("h", "get\n", "/"),
        ("h", "", "/"),
        ("h\r\nX: y", "GET", "/"),
        ("", "GET", "/"),
    ] {
        let asked = get(&Sockets, addr, None, host, method, path, soon(500));
        assert!(matches!(asked, Err(ProbeError::Question(_))), "{host:?} {method:?} {path:?}: {asked:?}");
    }
}

#[test]
fn lies_are_named() {
    for (bytes, said) in [
        (&b""[..], "closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", "not HTTP: ends at 2 of 5 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhi", "not HTTP: content length '-1'"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi",
            "not HTTP: content length '2'",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            "answer too large: more than 1 MB of body",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n", "answer too large: more than 1 MB of body"),
        (b"HTTP/1.1 200 OK\r\nSer", "not HTTP: ends within the header: 'HTTP/1.1 200 OK..Ser'"),
        (b"HTTP/1.1 OK 200\r\n\r\n", "not HTTP: answers 'HTTP/1.1 OK 200'"),
        (b"HTTP/1.1 20\r\n\r\n", "not HTTP: answers 'HTTP/1.1 20'"),
        (b"SSH-2.0-OpenSSH\r\n", "not HTTP: answers 'SSH-2.0-OpenSSH..'"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "speaks TLS, was asked in plain HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nhi\r\n", "not HTTP: chunk size '-2'"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            "answer too large: more than 1 MB of body",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi", "not HTTP: ends at 2 of 5 bytes"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhiho\r\n",
            "not HTTP: a chunk that runs over its size",
        ),
    ] {
        assert_eq!(body(bytes).unwrap_err().to_string(), said);
    }
    assert_eq!(ask(refusing()), Err(ProbeError::Refused));
}

#[test]
fn endless_answers_end_at_a_limit() {
    const QUICK: Duration = Duration::ZERO;
    let header = endless(b"HTTP/1.1 200 OK\r\n", b"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", QUICK);
    assert_eq!(ask(header), Err(HEADER_TOO_LARGE));
    let body = endless(b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 4096], QUICK);
    assert_eq!(ask(body), Err(BODY_TOO_LARGE));
    let chunks = endless(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"8\r\n01234567\r\n8\r\n01234567\r\n",
        QUICK,
    );
    assert!(ask(chunks).is_err());
    let interim = endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", QUICK);
    assert!(matches!(ask(interim), Err(ProbeError::NotHttp(_))));
}

#[test]
fn slow_answers_end_at_the_deadline() {
    let silent = serve(|stream| {
        std::thread::sleep(Duration::from_secs(5));
        drop(stream);
    });
    let dripping = endless(b"HTTP/1.1 200 OK\r\n", b"X", Duration::from_millis(20));
    for addr in [silent, dripping] {
        let begun = Instant::now();
        let asked = get(&Sockets, addr, None, "h", "GET", "/", soon(300));
        assert_eq!(asked, Err(ProbeError::TimedOut("waiting for the answer")));
        assert!(begun.elapsed() < Duration::from_millis(1000), "{:?}", begun.elapsed());
    }
    let passed = get(&Sockets, refusing(), None, "h", "GET", "/", soon(0));
    assert_eq!(passed, Err(ProbeError::TimedOut("connecting")));
}

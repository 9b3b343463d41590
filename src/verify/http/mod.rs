//! A minimal HTTP/1.1 client: one request, one bounded answer, one connection. No JSON, no Patroni, no retries here.

use std::io::{Read, Write};
use std::net::SocketAddr;

use crate::host::{Stream, System};

use super::deadline::{Bounded, Deadline};
use super::error::{ProbeError, excerpt, is_closed};
use super::tls::{self, TlsConfig};

mod unix;
pub use unix::get_unix;

const HEADER_LIMIT: usize = 16 << 10;
const BODY_LIMIT: usize = 1 << 20;
const HEADER_TOO_LARGE: ProbeError = ProbeError::TooLarge("16 KB of header");
const BODY_TOO_LARGE: ProbeError = ProbeError::TooLarge("1 MB of body");
/// "100 Continue" and its like before the answer; more is a game.
const INTERIM_LIMIT: usize = 4;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// At most 1 MB.
    pub body: Vec<u8>,
}

/// Asks once, over a connection of its own, and reads the answer whole. `tls`: speak TLS, the server's name being the
/// configuration's or else `host`.
///
/// # Errors
/// Why there is no answer; a status is never an error here.
pub fn get(
    sys: &dyn System,
    addr: SocketAddr,
    tls: Option<&TlsConfig>,
    host: &str,
    method: &str,
    path: &str,
    deadline: Deadline,
) -> Result<Response, ProbeError> {
    let request = request(host, method, path)?;
    let stream = Bounded::connect(sys, addr, deadline).map_err(|e| ProbeError::from_io(&e, "connecting"))?;
    let mut stream: Box<dyn Stream + '_> = match tls {
        Some(config) => tls::wrap(Box::new(stream), config, host)?,
        None => Box::new(stream),
    };
    let sent = stream.write_all(request.as_bytes()).and_then(|()| stream.flush());
    match sent {
        // A server may answer and close before it has read everything: what it said counts.
        Err(e) if !is_closed(e.kind()) => return Err(ProbeError::from_io(&e, "sending the request")),
        _ => {}
    }
    Reader::new(stream).response(method)
}

/// The request's text; anything that could smuggle a second line into it is refused.
fn request(host: &str, method: &str, path: &str) -> Result<String, ProbeError> {
    let wrong = |what: &str, value: &str| Err(ProbeError::Question(format!("{what} {value:?}")));
    if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase()) {
        return wrong("method", method);
    }
    if !path.starts_with('/') || path.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return wrong("path", path);
    }
    if host.is_empty() || host.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'/') {
        return wrong("host", host);
    }
    // An IPv6 address in a Host header stands in brackets.
    let host = if host.matches(':').count() > 1 && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    Ok(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: pgsvc\r\nConnection: close\r\n\r\n"))
}

/// How the body ends.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    None,
    Length(usize),
    Chunked,
    ToEnd,
}

/// A stream's bytes, a line or a count at a time. `filled` are the bytes that were read and not yet used.
struct Reader<'a> {
    stream: Box<dyn Stream + 'a>,
    filled: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(stream: Box<dyn Stream + 'a>) -> Self {
        Self { stream, filled: Vec::new() }
    }

    fn response(mut self, method: &str) -> Result<Response, ProbeError> {
        for _ in 0..INTERIM_LIMIT {
            let head = self.head()?;
            let status = status_of(&head)?;
            if (100..200).contains(&status) {
                continue;
            }
            let body = match framing(&head, status, method)? {
                Framing::None => Vec::new(),
                Framing::Length(length) => self.exactly(length)?,
                Framing::Chunked => self.chunked()?,
                Framing::ToEnd => self.rest()?,
            };
            return Ok(Response { status, body });
        }
        Err(ProbeError::NotHttp("interim answers without end".to_owned()))
    }

    /// One more read; false at the end of the stream.
    fn fill(&mut self) -> Result<bool, ProbeError> {
        let mut chunk = [0; 8 << 10];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(n) => {
                    self.filled.extend_from_slice(chunk.get(..n).unwrap_or_default());
                    return Ok(n > 0);
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                // An end without TLS's goodbye is common; what is missing shows in the framing.
                Err(e) if is_closed(e.kind()) => return Ok(false),
                Err(e) => return Err(tls::explain(&e, "waiting for the answer")),
            }
        }
    }

    /// The header block, as text, its last empty line left out.
    fn head(&mut self) -> Result<String, ProbeError> {
        let mut seen = 0;
        loop {
            // The end may straddle two reads: look again at the last three bytes.
            if let Some((end, next)) = end_of_head(&self.filled, seen) {
                let rest = self.filled.split_off(next);
                let mut head = std::mem::replace(&mut self.filled, rest);
                head.truncate(end);
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            sniff(&self.filled)?;
            if self.filled.len() > HEADER_LIMIT {
                return Err(HEADER_TOO_LARGE);
            }
            seen = self.filled.len().saturating_sub(3);
            if !self.fill()? {
                return Err(match self.filled.is_empty() {
                    true => ProbeError::Closed,
                    false => {
                        ProbeError::NotHttp(format!("ends within the header: {}", excerpt(&self.filled)))
                    }
                });
            }
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, ProbeError> {
        if length > BODY_LIMIT {
            return Err(BODY_TOO_LARGE);
        }
        while self.filled.len() < length {
            if !self.fill()? {
                return Err(ProbeError::NotHttp(format!("ends at {} of {length} bytes", self.filled.len())));
            }
        }
        let rest = self.filled.split_off(length);
        Ok(std::mem::replace(&mut self.filled, rest))
    }

    fn rest(mut self) -> Result<Vec<u8>, ProbeError> {
        loop {
            if self.filled.len() > BODY_LIMIT {
                return Err(BODY_TOO_LARGE);
            }
            if !self.fill()? {
                return Ok(self.filled);
            }
        }
    }

    fn chunked(&mut self) -> Result<Vec<u8>, ProbeError> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let bad = || ProbeError::NotHttp(format!("chunk size {}", excerpt(line.as_bytes())));
            // `from_str_radix` would take a sign.
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(bad());
            }
            let size = usize::from_str_radix(digits, 16).map_err(|_| BODY_TOO_LARGE)?;
            if size == 0 {
                // Trailers say nothing that is asked for, and the connection ends here anyway.
                return Ok(body);
            }
            if size > BODY_LIMIT.saturating_sub(body.len()) {
                return Err(BODY_TOO_LARGE);
            }
            body.append(&mut self.exactly(size)?);
            if !self.line()?.is_empty() {
                return Err(ProbeError::NotHttp("a chunk that runs over its size".to_owned()));
            }
        }
    }

    /// A short line, its end left out.
    fn line(&mut self) -> Result<String, ProbeError> {
        loop {
            if let Some(end) = self.filled.iter().position(|b| *b == b'\n') {
                let rest = self.filled.split_off(end.saturating_add(1));
                let line = std::mem::replace(&mut self.filled, rest);
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.filled.len() > 1024 {
                return Err(ProbeError::NotHttp("a chunk size without end".to_owned()));
            }
            if !self.fill()? {
                return Err(ProbeError::NotHttp("ends within a chunk".to_owned()));
            }
        }
    }
}

/// Where the header ends and the body begins, looking from `from` on.
fn end_of_head(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let tail = bytes.get(from..)?;
    let at = |pattern: &[u8]| {
        let found = tail.windows(pattern.len()).position(|w| w == pattern)?.saturating_add(from);
        Some((found, found.saturating_add(pattern.len())))
    };
    match (at(b"\r\n\r\n"), at(b"\n\n")) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Refuses what cannot become an HTTP answer as early as it shows, instead of waiting for the deadline.
fn sniff(bytes: &[u8]) -> Result<(), ProbeError> {
    let wanted = b"HTTP/1.";
    if bytes.iter().zip(wanted).all(|(a, b)| a == b) {
        return Ok(());
    }
    match bytes {
        // A TLS alert or handshake record, version 3.x.
        [0x15 | 0x16, 3, ..] => Err(ProbeError::SpeaksTls),
        [0x15 | 0x16] => Ok(()),
        _ => Err(ProbeError::NotHttp(format!("answers {}", excerpt(bytes)))),
    }
}

/// `HTTP/1.0 200 OK` → 200.
fn status_of(head: &str) -> Result<u16, ProbeError> {
    let line = head.lines().next().unwrap_or_default();
    let code = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split_ascii_whitespace().nth(1))
        .filter(|code| code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()));
    code.and_then(|code| code.parse().ok())
        .filter(|code| *code >= 100)
        .ok_or_else(|| ProbeError::NotHttp(format!("answers {}", excerpt(line.as_bytes()))))
}

fn framing(head: &str, status: u16, method: &str) -> Result<Framing, ProbeError> {
    if method == "HEAD" || status == 204 || status == 304 {
        return Ok(Framing::None);
    }
    let mut length = None;
    for line in head.lines().skip(1) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") && value.to_ascii_lowercase().ends_with("chunked") {
            return Ok(Framing::Chunked);
        }
        if name.eq_ignore_ascii_case("content-length") {
            let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
            if !digits || length.is_some_and(|known| known != value) {
                return Err(ProbeError::NotHttp(format!("content length {}", excerpt(value.as_bytes()))));
            }
            length = Some(value);
        }
    }
    match length {
        // A number too large for a usize is too large for a body.
        Some(digits) => Ok(Framing::Length(digits.parse().map_err(|_| BODY_TOO_LARGE)?)),
        None => Ok(Framing::ToEnd),
    }
}

#[cfg(test)]
mod tests;

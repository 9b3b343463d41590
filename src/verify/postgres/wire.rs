//! Messages in and out, TLS negotiated before. Bounded: a message is at most 1 MB, an answer too, and what is only
//! said in passing (notices, parameters, notifications) is dropped as it comes, until the deadline. No SQL here.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, Header, Message};
use postgres_protocol::message::frontend;

use crate::host::{Stream, System};
use crate::verify::deadline::{Bounded, Deadline};
use crate::verify::error::excerpt;
use crate::verify::tls::{self, TlsConfig};

use super::TlsMode;
use super::error::{PgError, ancient, is_fatal};

const MESSAGE_LIMIT: usize = 1 << 20;
const ROW_LIMIT: usize = 100;

pub(super) type Row = Vec<Option<String>>;

pub(super) struct Wire<'a> {
    stream: Box<dyn Stream + 'a>,
    buf: BytesMut,
    /// What is being waited for, in the words of an error.
    pub(super) step: &'static str,
    /// The other side has said something already.
    heard: bool,
    tls: bool,
    /// Logged in: the other side deserves a goodbye.
    pub(super) ready: bool,
}

impl<'a> Wire<'a> {
    /// Connects, and speaks TLS as the mode and the server's offer have it.
    pub(super) fn connect(
        sys: &'a dyn System,
        addr: SocketAddr,
        mode: &TlsMode,
        deadline: Deadline,
    ) -> Result<Self, PgError> {
        let stream = Bounded::connect(sys, addr, deadline).map_err(|e| match e.kind() {
            // A port that nobody has refuses; who resets had accepted: HAProxy's guard, before a word was said.
            io::ErrorKind::ConnectionReset => PgError::ClosedAtOnce,
            io::ErrorKind::ConnectionAborted => PgError::Unreachable(e.to_string()),
            _ => PgError::from_io(&e, "connecting", true),
        })?;
        let wire = Self {
            stream: Box::new(stream),
            buf: BytesMut::new(),
            step: "waiting for the first answer",
            heard: false,
            tls: false,
            ready: false,
        };
        match mode {
            TlsMode::Disable => Ok(wire),
            TlsMode::Prefer => wire.negotiate(&TlsConfig::insecure(None).map_err(question)?, false, addr),
            TlsMode::Require => wire.negotiate(&TlsConfig::insecure(None).map_err(question)?, true, addr),
            TlsMode::VerifyFull(config) if config.verifies() => wire.negotiate(config, true, addr),
            TlsMode::VerifyFull(_) => Err(PgError::Login("verify-full needs a CA".to_owned())),
        }
    }

    fn negotiate(mut self, config: &TlsConfig, needed: bool, addr: SocketAddr) -> Result<Self, PgError> {
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        self.send(&request)?;
        // One byte is the answer. More, in clear before the handshake, is another protocol or an attack.
        self.fill()?;
        match *self.buf {
            [b'S'] => {}
            // A server that cannot even fork says so here; the next message tells.
            [b'E', ..] => return Ok(self),
            [b'N'] if needed => return Err(PgError::Tls("the server offers none".to_owned())),
            [b'N'] => {
                self.buf.clear();
                self.heard = true;
                return Ok(self);
            }
            _ => return Err(PgError::NotPostgres(format!("answers {}", excerpt(&self.buf)))),
        }
        let name = addr.ip().to_string();
        let raw = std::mem::replace(&mut self.stream, Box::new(Nothing));
        let stream =
            tls::wrap(raw, config, &name).map_err(|e| PgError::from_probe(e, "in the TLS handshake"))?;
        Ok(Self { stream, buf: BytesMut::new(), step: self.step, heard: true, tls: true, ready: false })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), PgError> {
        let sent = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
        match sent {
            // A server that refuses says why and closes: what it said is still to be read.
            Err(e) if !crate::verify::error::is_closed(e.kind()) => {
                Err(PgError::from_io(&e, self.step, self.heard))
            }
            _ => Ok(()),
        }
    }

    /// The next message that is meant as an answer.
    pub(super) fn next(&mut self) -> Result<Message, PgError> {
        loop {
            while !self.whole()? {
                self.fill()?;
            }
            self.heard = true;
            match Message::parse(&mut self.buf) {
                Ok(Some(
                    Message::NoticeResponse(_)
                    | Message::ParameterStatus(_)
                    | Message::NotificationResponse(_),
                )) => {}
                Ok(Some(message)) => return Ok(message),
                Ok(None) => self.fill()?,
                Err(e) => return Err(PgError::Protocol(e.to_string())),
            }
        }
    }

    /// Whether the buffer begins with a whole message. The length is judged before a byte of room is made for it.
    fn whole(&self) -> Result<bool, PgError> {
        if let (false, Some(tag)) = (self.heard, self.buf.first())
            && !matches!(tag, b'R' | b'E' | b'N' | b'S')
        {
            return Err(PgError::NotPostgres(format!("answers {}", excerpt(&self.buf))));
        }
        let wrong =
            |what: String| if self.heard { PgError::Protocol(what) } else { PgError::NotPostgres(what) };
        let header = Header::parse(&self.buf).map_err(|e| wrong(e.to_string()))?;
        let Some(header) = header else { return Ok(false) };
        let length = usize::try_from(header.len()).unwrap_or(usize::MAX);
        if length > MESSAGE_LIMIT {
            return Err(match (self.heard, header.tag(), self.buf.get(1..)) {
                (false, b'E', Some(text)) if text.first().is_some_and(u8::is_ascii_graphic) => ancient(text),
                _ => wrong(format!("a message of {length} bytes: {}", excerpt(&self.buf))),
            });
        }
        Ok(self.buf.len() > length)
    }

    fn fill(&mut self) -> Result<(), PgError> {
        let mut chunk = [0; 8 << 10];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    let heard = self.heard || !self.buf.is_empty();
                    return Err(PgError::from_io(&io::ErrorKind::UnexpectedEof.into(), self.step, heard));
                }
                Ok(n) => {
                    self.buf.extend_from_slice(chunk.get(..n).unwrap_or_default());
                    return Ok(());
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(PgError::from_io(&e, self.step, self.heard || !self.buf.is_empty())),
            }
        }
    }

    /// Runs one statement by the simple protocol, which every pooler mode passes, and gives its rows as text.
    pub(super) fn query(&mut self, sql: &str) -> Result<Vec<Row>, PgError> {
        self.step = "waiting for a query's answer";
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out).map_err(|e| PgError::Protocol(e.to_string()))?;
        self.send(&out)?;
        let mut rows = Vec::new();
        let mut bytes = 0_usize;
        let mut failed = None;
        loop {
            match self.next() {
                Ok(Message::ReadyForQuery(_)) => return failed.map_or(Ok(rows), Err),
                Ok(Message::ErrorResponse(body)) if is_fatal(&body) => {
                    return Err(PgError::from_response(&body));
                }
                Ok(Message::ErrorResponse(body)) => failed = failed.or(Some(PgError::from_response(&body))),
                Ok(Message::DataRow(body)) => {
                    bytes = bytes.saturating_add(body.buffer().len());
                    if rows.len() >= ROW_LIMIT || bytes > MESSAGE_LIMIT {
                        return Err(PgError::Protocol("more rows than were asked for".to_owned()));
                    }
                    rows.push(row(&body)?);
                }
                Ok(
                    Message::RowDescription(_) | Message::CommandComplete(_) | Message::EmptyQueryResponse,
                ) => {}
                Ok(_) => return Err(unexpected("to a query")),
                // A pooler may close the connection after an error: the error is the news.
                Err(closed) => return Err(failed.unwrap_or(closed)),
            }
        }
    }
}

impl Drop for Wire<'_> {
    /// Says goodbye, as servers and poolers log a line about every client that does not.
    fn drop(&mut self) {
        if self.ready {
            let mut out = BytesMut::new();
            frontend::terminate(&mut out);
            let _ = self.send(&out);
        }
    }
}

pub(super) fn unexpected(to: &str) -> PgError {
    PgError::Protocol(format!("an answer {to} that is none"))
}

fn question(error: crate::verify::error::ProbeError) -> PgError {
    PgError::Login(error.to_string())
}

fn row(body: &DataRowBody) -> Result<Row, PgError> {
    let mut row = Row::new();
    let mut ranges = body.ranges();
    while let Some(range) = ranges.next().map_err(|e| PgError::Protocol(e.to_string()))? {
        let value = range.map(|range| body.buffer().get(range).unwrap_or_default());
        row.push(value.map(|value| String::from_utf8_lossy(value).into_owned()));
    }
    Ok(row)
}

/// Stands in while the stream is being wrapped.
struct Nothing;

impl Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::NotConnected.into())
    }
}

impl Write for Nothing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Nothing {
    fn set_timeout(&mut self, _: std::time::Duration) -> io::Result<()> {
        Ok(())
    }

    fn peer(&self) -> Option<SocketAddr> {
        None
    }
}

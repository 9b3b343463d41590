//! Why there is no PostgreSQL session, told apart as far as the answer allows. What it means for a port is not
//! decided here. SQLSTATE codes: PostgreSQL's manual, appendix A.

use std::fmt;
use std::io;

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorResponseBody;

use crate::verify::error::{ProbeError, is_closed};

/// An error in the server's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sql {
    /// The SQLSTATE; empty where the server gave none.
    pub code: String,
    /// At most 200 characters, without control characters.
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PgError {
    /// Nothing listens there.
    Refused,
    /// No way there.
    Unreachable(String),
    /// Accepted and closed without a byte: what HAProxy does with no server up.
    ClosedAtOnce,
    /// Closed in this step, after an answer had begun.
    Closed(&'static str),
    /// The deadline passed in this step.
    TimedOut(&'static str),
    /// Something else than PostgreSQL answered.
    NotPostgres(String),
    /// TLS failed, or is wanted and not offered.
    Tls(String),
    /// The server wants something the login does not have or may not do.
    Login(String),
    /// 28P01, 28000, and poolers' words for them.
    Authentication(Sql),
    /// 53300, and poolers' words for it: no connection is left.
    Full(Sql),
    /// 57P03: starting up, shutting down, recovering, or not accepting connections.
    StartingUp(Sql),
    /// 08xxx: a pooler that cannot serve, its server being dead, most often.
    Pooler(Sql),
    /// Any other error of the server's.
    Server(Sql),
    /// PostgreSQL's protocol, broken.
    Protocol(String),
}

impl PgError {
    /// The server's error, where it is one.
    pub fn sql(&self) -> Option<&Sql> {
        match self {
            Self::Authentication(sql) | Self::Full(sql) | Self::StartingUp(sql) => Some(sql),
            Self::Pooler(sql) | Self::Server(sql) => Some(sql),
            _ => None,
        }
    }

    /// An error response, by its code; by its words where a pooler hides the code.
    pub(super) fn from_response(body: &ErrorResponseBody) -> Self {
        let mut sql = Sql::default();
        let mut fields = body.fields();
        // A field list that breaks off keeps what came before it.
        while let Ok(Some(field)) = fields.next() {
            match field.type_() {
                b'C' => sql.code = printable(field.value_bytes(), 5),
                b'M' => sql.message = printable(field.value_bytes(), 200),
                _ => {}
            }
        }
        if sql == Sql::default() {
            sql.message = "an error without a text".to_owned();
        }
        Self::classify(sql)
    }

    pub(super) fn classify(sql: Sql) -> Self {
        let says = |words: &[&str]| words.iter().any(|word| sql.message.contains(word));
        match sql.code.as_str() {
            "28P01" | "28000" => Self::Authentication(sql),
            "53300" => Self::Full(sql),
            "57P03" => Self::StartingUp(sql),
            // pgbouncer says nearly everything, its server's refusals included, under one code.
            code if code.starts_with("08") => {
                if says(&[
                    "no more connections allowed",
                    "too many clients",
                    "too many connections",
                    "connection slots",
                ]) {
                    Self::Full(sql)
                } else if says(&["authentication failed", "no such user", "no authentication method"]) {
                    Self::Authentication(sql)
                } else if says(&["the database system is"]) {
                    Self::StartingUp(sql)
                } else if says(&["no such database"]) {
                    Self::Server(sql)
                } else {
                    Self::Pooler(sql)
                }
            }
            _ => Self::Server(sql),
        }
    }

    /// An I/O error in a step; `heard`: whether the other side had said anything yet.
    pub(super) fn from_io(error: &io::Error, step: &'static str, heard: bool) -> Self {
        match error.kind() {
            kind if is_closed(kind) && !heard => Self::ClosedAtOnce,
            kind if is_closed(kind) => Self::Closed(step),
            _ => Self::from_probe(crate::verify::tls::explain(error, step), step),
        }
    }

    pub(super) fn from_probe(error: ProbeError, step: &'static str) -> Self {
        match error {
            ProbeError::Refused => Self::Refused,
            ProbeError::Unreachable(why) => Self::Unreachable(why),
            ProbeError::TimedOut(step) => Self::TimedOut(step),
            ProbeError::Closed => Self::Closed(step),
            ProbeError::Tls(why) => Self::Tls(why),
            ProbeError::NoTls => Self::NotPostgres("offers TLS and speaks none".to_owned()),
            other => Self::Login(other.to_string()),
        }
    }
}

/// Whether the server ends the session with this error, whatever the language of its messages.
pub(super) fn is_fatal(body: &ErrorResponseBody) -> bool {
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        if field.type_() == b'V' {
            return matches!(field.value_bytes(), b"FATAL" | b"PANIC");
        }
    }
    false
}

/// Fit to be printed on one line, at most `limit` characters.
fn printable(bytes: &[u8], limit: usize) -> String {
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit).collect()
}

/// What was written before PostgreSQL's third protocol: a text, up to a zero byte.
pub(super) fn ancient(bytes: &[u8]) -> PgError {
    let text = bytes.split(|b| *b == 0).next().unwrap_or_default();
    PgError::classify(Sql { code: String::new(), message: printable(text, 200).trim().to_owned() })
}

impl fmt::Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.code.is_empty() { Ok(()) } else { write!(f, " ({})", self.code) }
    }
}

impl fmt::Display for PgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Unreachable(why) => write!(f, "unreachable: {why}"),
            Self::ClosedAtOnce => {
                f.write_str("connection closed at once: no server behind it, or it is dead")
            }
            Self::Closed(step) => write!(f, "connection closed {step}"),
            Self::TimedOut(step) => write!(f, "timed out {step}"),
            Self::NotPostgres(what) => write!(f, "not PostgreSQL: {what}"),
            Self::Tls(why) => write!(f, "TLS failed: {why}"),
            Self::Login(why) => write!(f, "cannot log in: {why}"),
            Self::Authentication(sql) => write!(f, "authentication failed: {sql}"),
            Self::Full(sql) => write!(f, "server full: {sql}"),
            Self::StartingUp(sql) => write!(f, "not accepting connections: {sql}"),
            Self::Pooler(sql) => write!(f, "the pooler cannot connect: {sql}"),
            Self::Server(sql) => write!(f, "{sql}"),
            Self::Protocol(what) => write!(f, "protocol broken: {what}"),
        }
    }
}

impl std::error::Error for PgError {}

//! Why a probe over HTTP, TLS or a Unix socket got no answer. What that means for a port is not decided here.

use std::fmt;
use std::io;

/// What kept an answer from arriving. The target's address is the caller's to name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeError {
    /// Nothing listens there.
    Refused,
    /// No way there: no route, no such socket, no permission.
    Unreachable(String),
    /// The deadline passed in this step.
    TimedOut(&'static str),
    /// The connection was closed before a byte of an answer.
    Closed,
    /// The TLS handshake failed: certificate, version, a client certificate that is wanted.
    Tls(String),
    /// TLS was spoken, something else came back.
    NoTls,
    /// Plain HTTP was spoken, the other side speaks TLS.
    SpeaksTls,
    /// TLS was spoken, the other side speaks plain HTTP.
    SpeaksPlainHttp,
    /// Something answered that is not HTTP.
    NotHttp(String),
    /// More than a probe reads: the limit that was passed.
    TooLarge(&'static str),
    /// Another status than the one asked for.
    Status { got: u16, wanted: u16 },
    /// The body is not the JSON that was expected.
    BadJson(String),
    /// HAProxy answered something else than asked for.
    NotHaproxy(String),
    /// The question itself cannot be asked: a path with a line break, a certificate that is none.
    Question(String),
}

impl ProbeError {
    /// An I/O error in the given step, before any byte of an answer has come.
    pub(crate) fn from_io(error: &io::Error, step: &'static str) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::TimedOut(step),
            kind if is_closed(kind) => Self::Closed,
            _ => Self::Unreachable(error.to_string()),
        }
    }
}

/// Whether the other side ended the connection, by FIN or by RST.
pub(crate) fn is_closed(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as K;
    matches!(
        kind,
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof | K::NotConnected
    )
}

/// The first bytes of an answer, made fit to be printed: at most 40, what is not ASCII as dots.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let text: String =
        bytes.iter().take(40).map(|b| if (0x20..0x7f).contains(b) { char::from(*b) } else { '.' }).collect();
    if bytes.len() > 40 { format!("'{text}…'") } else { format!("'{text}'") }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Unreachable(why) => write!(f, "unreachable: {why}"),
            Self::TimedOut(step) => write!(f, "timed out {step}"),
            Self::Closed => f.write_str("closed the connection without an answer"),
            Self::Tls(why) => write!(f, "TLS failed: {why}"),
            Self::NoTls => f.write_str("speaks no TLS"),
            Self::SpeaksTls => f.write_str("speaks TLS, was asked in plain HTTP"),
            Self::SpeaksPlainHttp => f.write_str("speaks plain HTTP, was asked over TLS"),
            Self::NotHttp(what) => write!(f, "not HTTP: {what}"),
            Self::TooLarge(limit) => write!(f, "answer too large: more than {limit}"),
            Self::Status { got, wanted } => write!(f, "HTTP status {got}, expected {wanted}"),
            Self::BadJson(why) => write!(f, "bad JSON: {why}"),
            Self::NotHaproxy(what) => write!(f, "not what HAProxy answers: {what}"),
            Self::Question(why) => write!(f, "cannot be asked: {why}"),
        }
    }
}

impl std::error::Error for ProbeError {}

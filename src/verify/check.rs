//! A health check for programs that ask for an exit code: needs, alternatives, and what must not be so. All probes of one
//! check run at once and end at one moment. What its words mean is read in `words`; nothing here prints.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::deadline::{Bounded, Deadline};
use super::error::ProbeError;
use super::http;
use super::tls::TlsConfig;
use crate::error::Error;
use crate::host::System;
use crate::inventory::tls::TlsFiles;
use crate::parallel::parallel;

mod words;
pub use words::parse;

/// As long as a check may take where nothing else is said: a little less than the second it is asked in.
pub const WITHIN: Duration = Duration::from_millis(900);
/// More probes at once than any cluster has members and conditions.
const AT_ONCE: usize = 256;

/// One condition. Displayed as the word that it is read from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// An answer with this code, asked as HAProxy's checks ask (OPTIONS).
    Http { ssl: bool, host: String, port: u16, path: String, code: u16 },
    /// A port that takes connections.
    Tcp { host: String, port: u16 },
    /// An HTTP answer with this code over a Unix socket.
    Unix { socket: PathBuf, path: String, code: u16 },
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let code = match self {
            Self::Http { ssl, host, port, path, code } => {
                write!(f, "http{}://{}:{port}{path}", if *ssl { "s" } else { "" }, bare(host))?;
                *code
            }
            Self::Unix { socket, path, code } => {
                write!(f, "unix:{}:{path}", socket.display())?;
                *code
            }
            Self::Tcp { host, port } => return write!(f, "tcp://{}:{port}", bare(host)),
        };
        if code == 200 { Ok(()) } else { write!(f, "#{code}") }
    }
}

/// Holds when all its needs hold, and none of the groups holds wholly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alternative {
    pub needs: Vec<Need>,
    pub unless: Vec<Vec<Need>>,
}

/// What is asked. Passes when any alternative holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub alternatives: Vec<Alternative>,
    /// Whom `https` trusts, and as whom it asks.
    pub tls: TlsFiles,
    pub within: Duration,
}

/// Why a need does not hold; `Ok` where it does.
pub type Answers = BTreeMap<Need, Result<(), String>>;

/// Asks, and says in one line why the check fails; `None` where it passes.
///
/// # Errors
/// A file that cannot be used: nothing was asked.
pub fn check(sys: &dyn System, question: &Question) -> Result<Option<String>, Error> {
    Ok(judge(question, &ask(sys, question)?))
}

/// The answer to every need, each asked once. One that is late does not hold.
///
/// # Errors
/// A file that cannot be used.
pub fn ask(sys: &dyn System, question: &Question) -> Result<Answers, Error> {
    let deadline = Deadline::after(sys, question.within);
    let all: BTreeSet<&Need> =
        question.alternatives.iter().flat_map(|a| a.needs.iter().chain(a.unless.iter().flatten())).collect();
    let all: Vec<&Need> = all.into_iter().collect();
    let tls = tls(sys, question, &all)?;
    let found = parallel(&all, AT_ONCE, |need| probe(sys, need, tls.as_ref(), deadline));
    Ok(all.into_iter().cloned().zip(found).collect())
}

/// Why the check fails; `None` where it passes. A need that was not asked does not hold.
#[must_use]
pub fn judge(question: &Question, answers: &Answers) -> Option<String> {
    let mut reasons = Vec::new();
    for alternative in &question.alternatives {
        let why = against(alternative, answers);
        if why.is_empty() {
            return None;
        }
        reasons.push(why.join(", "));
    }
    let line = reasons.join("; or ");
    Some(line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

/// All that keeps an alternative from holding.
fn against(alternative: &Alternative, answers: &Answers) -> Vec<String> {
    let said = |need: &Need| match answers.get(need) {
        Some(Ok(())) => None,
        Some(Err(why)) => Some(why.as_str()),
        None => Some("was not asked"),
    };
    let missing = alternative.needs.iter().filter_map(|n| Some(format!("{n}: {}", said(n)?)));
    let held = alternative.unless.iter().filter(|group| group.iter().all(|n| said(n).is_none()));
    let in_the_way = held.map(|group| {
        let words: Vec<String> = group.iter().map(Need::to_string).collect();
        format!("--unless {}: holds", words.join(","))
    });
    missing.chain(in_the_way).collect()
}

fn tls(sys: &dyn System, question: &Question, all: &[&Need]) -> Result<Option<TlsConfig>, Error> {
    if !all.iter().any(|n| matches!(n, Need::Http { ssl: true, .. })) {
        return Ok(None);
    }
    let hint = "--ca and --cert name PEM files that the user of the check may read";
    TlsConfig::from_files(sys, &question.tls).map(Some).map_err(|e| e.hint(hint))
}

fn probe(sys: &dyn System, need: &Need, tls: Option<&TlsConfig>, deadline: Deadline) -> Result<(), String> {
    let is = |response: Result<http::Response, ProbeError>, wanted: u16| match response {
        Ok(r) if r.status == wanted => Ok(()),
        Ok(r) => Err(ProbeError::Status { got: r.status, wanted }.to_string()),
        Err(e) => Err(e.to_string()),
    };
    match need {
        Need::Http { ssl, host, port, path, code } => {
            let at = SocketAddr::new(address(sys, host, deadline)?, *port);
            is(http::get(sys, at, tls.filter(|_| *ssl), host, "OPTIONS", path, deadline), *code)
        }
        Need::Tcp { host, port } => {
            let at = SocketAddr::new(address(sys, host, deadline)?, *port);
            let open = Bounded::connect(sys, at, deadline).map(drop);
            open.map_err(|e| ProbeError::from_io(&e, "connecting").to_string())
        }
        Need::Unix { socket, path, code } => {
            is(http::get_unix(sys, socket, "localhost", "GET", path, deadline), *code)
        }
    }
}

fn address(sys: &dyn System, host: &str, deadline: Deadline) -> Result<IpAddr, String> {
    if let Ok(ip) = host.parse() {
        return Ok(ip);
    }
    let left = deadline.left(sys).ok_or("timed out resolving the name")?;
    let found = sys.resolve(host, left).map_err(|e| format!("does not resolve: {e}"))?;
    found.first().copied().ok_or_else(|| "does not resolve".to_owned())
}

#[cfg(test)]
mod tests;

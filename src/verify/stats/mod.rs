//! HAProxy's own view, asked over its sockets: what the load balancer believes. Only questions; commands that change
//! anything belong to the daemon module.

mod csv;
mod ends;
mod master;

use std::path::Path;

use crate::host::System;

use super::deadline::Deadline;
use super::error::{ProbeError, excerpt};

pub use csv::{Kind, ProxyRow, Status, parse_stat};
pub use ends::{Ends, parse_ends};
pub use master::{Process, Processes, parse_proc};

/// Rows, sessions or processes that an answer may hold. Each takes HAProxy 200 bytes and more to say, so that the longest
/// answer that is read cannot have as many; in memory, small ones would take many times their text.
const MOST: usize = 250_000;

fn too_many(what: &str) -> ProbeError {
    ProbeError::NotHaproxy(format!("more than {MOST} {what}"))
}

/// The process that is asked.
#[derive(Debug, Clone, Copy)]
pub enum Via<'a> {
    /// The worker that listens on this stats socket.
    Stats(&'a Path),
    /// A worker by its process id, old ones included, through the master socket.
    Worker(&'a Path, u32),
}

/// `show info`, the fields that a proof of a reload needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    pub version: String,
    pub pid: u32,
    /// The configuration's `description`; empty when it has none.
    pub description: String,
    pub node: String,
    /// Seconds since this worker started.
    pub uptime: u64,
    /// The worker drains: it takes no new connections.
    pub stopping: bool,
    pub current_connections: u64,
    pub max_connections: u64,
    pub listeners: u64,
}

/// One session of `show sess`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// `0x…`, as `shutdown session` wants it.
    pub id: String,
    pub source: String,
    pub frontend: String,
    /// Empty until a backend is chosen, as is the server.
    pub backend: String,
    pub server: String,
    /// Seconds since it began.
    pub age: u64,
}

/// All frontends, backends and servers.
///
/// # Errors
/// Why there is no answer; `NotHaproxy` when it is not a statistics table.
pub fn stat(sys: &dyn System, via: Via<'_>, deadline: Deadline) -> Result<Vec<ProxyRow>, ProbeError> {
    parse_stat(&ask(sys, via, "show stat", deadline)?)
}

/// The process itself.
///
/// # Errors
/// Why there is no answer; `NotHaproxy` when it is no process information.
pub fn info(sys: &dyn System, via: Via<'_>, deadline: Deadline) -> Result<Info, ProbeError> {
    parse_info(&ask(sys, via, "show info", deadline)?)
}

/// The clients' sessions; those of the sockets themselves are left out.
///
/// # Errors
/// Why there is no answer; `NotHaproxy` when a line is no session.
pub fn sessions(sys: &dyn System, via: Via<'_>, deadline: Deadline) -> Result<Vec<Session>, ProbeError> {
    parse_sessions(&ask(sys, via, "show sess", deadline)?)
}

/// The connections to members behind the sessions of a worker, by session.
///
/// # Errors
/// Why there is no answer.
pub fn ends(sys: &dyn System, via: Via<'_>, deadline: Deadline) -> Result<Ends, ProbeError> {
    Ok(parse_ends(&ask(sys, via, "show sess all", deadline)?))
}

/// The master's workers, old ones included.
///
/// # Errors
/// Why there is no answer; `NotHaproxy` when it is no table of processes. The master socket is reset or blocks during
/// a reload: ask again.
pub fn processes(sys: &dyn System, master: &Path, deadline: Deadline) -> Result<Processes, ProbeError> {
    parse_proc(&ask(sys, Via::Stats(master), "show proc", deadline)?)
}

fn ask(sys: &dyn System, via: Via<'_>, question: &str, deadline: Deadline) -> Result<String, ProbeError> {
    let (path, line) = match via {
        Via::Stats(path) => (path, format!("{question}\n")),
        Via::Worker(path, pid) => (path, format!("@!{pid} {question}\n")),
    };
    let left = deadline.left(sys).ok_or(ProbeError::TimedOut("asking HAProxy"))?;
    let answer = sys.ask_unix(path, line.as_bytes(), left);
    let answer = answer.map_err(|e| ProbeError::from_io(&e, "asking HAProxy"))?;
    if answer.iter().all(u8::is_ascii_whitespace) && !question.starts_with("show sess") {
        return Err(ProbeError::Closed);
    }
    Ok(text(answer))
}

/// An answer as text, in little more memory than it has already. HAProxy's own words are ASCII: of an answer that is no
/// UTF-8 nothing else is kept.
pub(crate) fn text(answer: Vec<u8>) -> String {
    String::from_utf8(answer).unwrap_or_else(|e| {
        let ascii = |b: u8| if b.is_ascii() { char::from(b) } else { '?' };
        e.into_bytes().into_iter().map(ascii).collect()
    })
}

/// What HAProxy says instead of an answer: its first line.
fn refused(answer: &str) -> ProbeError {
    ProbeError::NotHaproxy(excerpt(answer.trim_start().lines().next().unwrap_or_default().as_bytes()))
}

/// Reads `show info`: `Name: value` lines, unknown ones skipped.
///
/// # Errors
/// `NotHaproxy` when there is no process id in it.
pub fn parse_info(answer: &str) -> Result<Info, ProbeError> {
    let get = |name: &str| {
        answer.lines().find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)))
    };
    let text = |name| get(name).map(|(_, value)| value.trim().to_owned()).unwrap_or_default();
    let number = |name| text(name).parse().unwrap_or_default();
    let pid = text("Pid").parse().map_err(|_| refused(answer))?;
    Ok(Info {
        version: text("Version"),
        pid,
        description: text("description"),
        node: text("node"),
        uptime: number("Uptime_sec"),
        stopping: number("Stopping") != 0,
        current_connections: number("CurrConns"),
        max_connections: number("Maxconn"),
        listeners: number("Listeners"),
    })
}

/// Reads `show sess`: an id, then `name=value` words; unknown ones skipped.
///
/// # Errors
/// `NotHaproxy` when a line is no session, or when there are more than can be.
pub fn parse_sessions(answer: &str) -> Result<Vec<Session>, ProbeError> {
    let mut sessions = Vec::new();
    for line in answer.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (id, rest) =
            line.split_once(": ").filter(|(id, _)| id.starts_with("0x")).ok_or_else(|| refused(answer))?;
        if sessions.len() >= MOST {
            return Err(too_many("sessions"));
        }
        let get = |name: &str| {
            let mut words = rest.split_ascii_whitespace().filter_map(|word| word.split_once('='));
            let value = words.find(|(n, _)| *n == name).map(|(_, value)| value).unwrap_or_default();
            if value.starts_with('<') { String::new() } else { value.to_owned() }
        };
        let frontend = get("fe");
        if frontend == "GLOBAL" {
            continue;
        }
        sessions.push(Session {
            id: id.to_owned(),
            source: get("src"),
            frontend,
            backend: get("be"),
            server: get("srv"),
            age: seconds(&get("age")),
        });
    }
    Ok(sessions)
}

/// HAProxy's human time, `1d2h`, `59m58s`, `0d00h01m57s` → seconds.
fn seconds(text: &str) -> u64 {
    let mut total: u64 = 0;
    let mut number: u64 = 0;
    for c in text.chars() {
        let unit = match c {
            'd' => 86_400,
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => {
                number = number.saturating_mul(10).saturating_add(c.to_digit(10).map_or(0, u64::from));
                continue;
            }
        };
        total = total.saturating_add(number.saturating_mul(unit));
        number = 0;
    }
    total
}

#[cfg(test)]
mod tests;

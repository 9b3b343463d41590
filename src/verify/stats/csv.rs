//! `show stat`: a table whose columns go by their names, as releases add some. No sockets here.
//! Source: HAProxy's management guide, "CSV format".

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::verify::error::ProbeError;

use super::{MOST, too_many};

/// HAProxy 3.2 has some 130.
const COLUMNS: usize = 1000;
/// Longer than any name and than what a check heard, bytes.
const FIELD: usize = 16 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Frontend,
    Backend,
    Server,
}

/// A row's state; the counts of checks, as in `UP 1/3`, are left to the raw text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Up,
    /// Serves, but checks have begun to fail (`UP 1/3`).
    GoingDown,
    Down,
    /// Does not serve, but checks have begun to pass (`DOWN 1/2`).
    GoingUp,
    /// Serves unchecked.
    NoCheck,
    /// Takes no new sessions (`DRAIN`), or has the weight zero (`NOLB`).
    Drain,
    Maint,
    /// A frontend that accepts.
    Open,
    /// A frontend that is at its limit.
    Full,
    /// A frontend that no longer accepts: paused, stopped, draining with its worker.
    Stop,
    Other,
}

impl Status {
    pub(super) fn parse(raw: &str) -> Self {
        let partial = raw.contains('/') && !raw.contains('(');
        match (raw.split([' ', '(']).next().unwrap_or_default(), partial) {
            ("UP", false) => Self::Up,
            ("UP", true) => Self::GoingDown,
            ("DOWN", false) => Self::Down,
            ("DOWN", true) => Self::GoingUp,
            ("no", _) => Self::NoCheck,
            ("DRAIN" | "NOLB", _) => Self::Drain,
            ("MAINT", _) => Self::Maint,
            ("OPEN", _) => Self::Open,
            ("FULL", _) => Self::Full,
            ("STOP" | "PAUSED" | "WAITING", _) => Self::Stop,
            _ => Self::Other,
        }
    }

    /// Whether new sessions may go to a server or backend in this state.
    pub fn serves(self) -> bool {
        matches!(self, Self::Up | Self::GoingDown | Self::NoCheck)
    }
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyRow {
    pub proxy: String,
    /// `FRONTEND` and `BACKEND` are rows of the proxy itself.
    pub server: String,
    pub kind: Kind,
    pub status: Status,
    /// As HAProxy prints it: `UP 1/3`, `MAINT (via pg/s1)`.
    pub status_text: String,
    /// The effective weight; of a backend, the sum of those that serve.
    pub weight: Option<u32>,
    /// Of a server 1 or 0; of a backend, how many active servers are up.
    pub active: Option<u32>,
    pub backup: Option<u32>,
    /// `L7OK`, `L4CON`, …; none where nothing is checked.
    pub check_status: Option<String>,
    /// A check is running: the status is that of the one before.
    pub checking: bool,
    /// The status of an HTTP check.
    pub check_code: Option<u16>,
    /// What the last check heard.
    pub last_chk: Option<String>,
    /// Current sessions.
    pub scur: u64,
    /// Sessions since the worker started.
    pub stot: u64,
    /// Waiting for a server.
    pub qcur: u64,
    /// `maxconn` of a frontend or a server; none where there is no limit.
    pub limit: Option<u32>,
    /// Seconds since the status changed.
    pub lastchg: Option<u64>,
    /// A server's address; none for one without (`<unresolved>`).
    pub addr: Option<SocketAddr>,
    /// `tcp`, `http`.
    pub mode: String,
}

/// Reads `show stat`.
///
/// # Errors
/// `NotHaproxy` when the first line names no proxies, servers and states, or when there are more rows than can be.
pub fn parse_stat(answer: &str) -> Result<Vec<ProxyRow>, ProbeError> {
    let mut records = records(answer);
    let header = records.next().unwrap_or_default();
    let mut columns: HashMap<String, usize> = HashMap::new();
    for (index, name) in header.into_iter().enumerate() {
        // The first of two columns with one name is the documented one.
        columns.entry(name.trim_start_matches(['#', ' ']).to_owned()).or_insert(index);
    }
    if !["pxname", "svname", "status"].iter().all(|name| columns.contains_key(*name)) {
        return Err(super::refused(answer));
    }
    let rows: Vec<ProxyRow> = records.take(MOST + 1).filter_map(|record| row(&columns, &record)).collect();
    if rows.len() > MOST { Err(too_many("rows")) } else { Ok(rows) }
}

fn row(columns: &HashMap<String, usize>, record: &[String]) -> Option<ProxyRow> {
    let get = |name: &str| {
        let value = columns.get(name).and_then(|index| record.get(*index));
        value.map(String::as_str).filter(|value| !value.is_empty())
    };
    let text = |name| get(name).map(str::to_owned);
    let server = text("svname")?;
    let kind = match (get("type"), server.as_str()) {
        (Some("0"), _) | (None, "FRONTEND") => Kind::Frontend,
        (Some("1"), _) | (None, "BACKEND") => Kind::Backend,
        // 3 is a listener's socket, shown on request only.
        (Some("2") | None, _) => Kind::Server,
        _ => return None,
    };
    let status_text = text("status").unwrap_or_default();
    let check = get("check_status");
    Some(ProxyRow {
        proxy: text("pxname")?,
        kind,
        server,
        status: Status::parse(&status_text),
        status_text,
        weight: get("weight").and_then(|v| v.parse().ok()),
        active: get("act").and_then(|v| v.parse().ok()),
        backup: get("bck").and_then(|v| v.parse().ok()),
        check_status: check.map(|status| status.trim_start_matches(['*', ' ']).to_owned()),
        checking: check.is_some_and(|status| status.starts_with('*')),
        check_code: get("check_code").and_then(|v| v.parse().ok()),
        last_chk: text("last_chk"),
        scur: get("scur").and_then(|v| v.parse().ok()).unwrap_or_default(),
        stot: get("stot").and_then(|v| v.parse().ok()).unwrap_or_default(),
        qcur: get("qcur").and_then(|v| v.parse().ok()).unwrap_or_default(),
        limit: get("slim").and_then(|v| v.parse().ok()).map(|n: u64| u32::try_from(n).unwrap_or(u32::MAX)),
        lastchg: get("lastchg").and_then(|v| v.parse().ok()),
        addr: get("addr").and_then(|v| v.parse().ok()),
        mode: text("mode").unwrap_or_default(),
    })
}

/// Records of the table: a quoted field may hold commas, doubled quotes and line ends (what a check heard does). Fields
/// beyond those that a table can have are left out, and what is too long for one is cut.
fn records(text: &str) -> impl Iterator<Item = Vec<String>> + '_ {
    let mut chars = text.chars().peekable();
    std::iter::from_fn(move || {
        let mut record = Vec::new();
        let mut field = String::new();
        let mut quoted = false;
        while let Some(c) = chars.next() {
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    field.push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted && record.len() < COLUMNS => record.push(std::mem::take(&mut field)),
                ',' if !quoted => field.clear(),
                '\n' if !quoted && record.is_empty() && field.is_empty() => {}
                '\n' if !quoted => {
                    record.push(field);
                    return Some(record);
                }
                '\r' if !quoted => {}
                c if field.len() < FIELD => field.push(c),
                _ => {}
            }
        }
        if !field.is_empty() {
            record.push(field);
        }
        Some(record).filter(|record| !record.is_empty())
    })
}

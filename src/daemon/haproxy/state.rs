//! `show servers state` and the file of the same form that a new HAProxy process reads its servers' states from.
//! Nothing is asked and nothing decided here. Source: HAProxy's management guide, "show servers state".

use crate::error::Error;

/// The only version there is, 1.6 to 3.x.
const VERSION: &str = "1";
const HEADER: &str = "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
    srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
    bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr \
    srv_agent_addr srv_agent_port";
/// 2.4 says 25 columns, older ones fewer.
const COLUMNS: usize = 25;

/// Servers that an answer may hold: each is some 80 bytes of text at least, and takes more in memory.
const MOST: usize = 500_000;

/// A server as the running process has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerState {
    pub backend: String,
    pub name: String,
    /// An IP address; `-` where the name never resolved.
    pub address: String,
    pub port: u16,
    pub check_port: u16,
    pub op: Op,
    /// Bits of `admin`.
    pub admin: u8,
    /// Now, and as configured.
    pub weight: u32,
    pub initial_weight: u32,
    /// Seconds since the last change.
    pub since: u64,
    pub check_status: u32,
    pub check_result: u32,
    /// 0 to rise + fall - 1: at `rise` and above it is up.
    pub health: u32,
    pub check_state: u32,
    pub agent_state: u32,
    pub fqdn: Option<String>,
    pub use_ssl: bool,
    pub agent_port: u16,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Op {
    #[default]
    Stopped,
    Starting,
    Running,
    /// Up, and no longer taking new sessions.
    Stopping,
}

/// Administrative states; the other bits are of the configuration (`disabled`), of DNS or of a tracked server.
pub mod admin {
    /// `set server … state maint`, by hand.
    pub const MAINT: u8 = 0x01;
    /// `set server … state drain`, by hand.
    pub const DRAIN: u8 = 0x08;
    /// By hand, in either way.
    pub const BY_HAND: u8 = MAINT | DRAIN;
}

impl ServerState {
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.op, Op::Running | Op::Starting) && self.admin == 0
    }
}

/// Reads an answer to `show servers state`.
///
/// # Errors
/// What is no such answer.
pub fn parse(text: &str) -> Result<Vec<ServerState>, Error> {
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    if lines.next() != Some(VERSION) {
        return Err(strange(text));
    }
    let mut servers = Vec::new();
    for line in lines.filter(|l| !l.starts_with('#')) {
        if servers.len() >= MOST {
            return Err(Error::new("show servers state", format!("says more than {MOST} servers")));
        }
        servers.push(row(line).ok_or_else(|| strange(line))?);
    }
    Ok(servers)
}

fn strange(text: &str) -> Error {
    let line: String = text.trim().lines().next().unwrap_or_default().chars().take(80).collect();
    Error::new("show servers state", format!("'{}' is no such answer", line.escape_debug()))
}

fn row(line: &str) -> Option<ServerState> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let word = |n: usize| words.get(n).copied();
    let number = |n: usize| word(n)?.parse::<u32>().ok();
    // 2.4 and older have fewer columns at the end.
    let late = |n: usize| match word(n) {
        None | Some("-") => Some(0),
        Some(text) => text.parse::<u16>().ok(),
    };
    Some(ServerState {
        backend: word(1)?.to_owned(),
        name: word(3)?.to_owned(),
        address: word(4)?.to_owned(),
        op: match number(5)? {
            0 => Op::Stopped,
            1 => Op::Starting,
            2 => Op::Running,
            3 => Op::Stopping,
            _ => return None,
        },
        admin: u8::try_from(number(6)?).ok()?,
        weight: number(7)?,
        initial_weight: number(8)?,
        since: word(9)?.parse().ok()?,
        check_status: number(10)?,
        check_result: number(11)?,
        health: number(12)?,
        check_state: number(13)?,
        agent_state: number(14)?,
        fqdn: word(17).filter(|f| *f != "-").map(str::to_owned),
        port: late(18)?,
        use_ssl: word(20) == Some("1"),
        check_port: late(21)?,
        agent_port: late(24)?,
    })
}

/// The file that a starting HAProxy reads (`server-state-file`). Servers are found by their backend's and their own
/// name; the numbers before those names are of no account.
#[must_use]
pub fn file(servers: &[ServerState]) -> String {
    debug_assert_eq!(HEADER.split_ascii_whitespace().count(), COLUMNS + 1);
    let mut text = format!("{VERSION}\n{HEADER}\n");
    for s in servers {
        let op = match s.op {
            Op::Stopped => 0,
            Op::Starting => 1,
            Op::Running => 2,
            Op::Stopping => 3,
        };
        text.push_str(&format!(
            "1 {} 1 {} {} {op} {} {} {} {} {} {} {} {} {} 0 0 {} {} - {} {} - - {}\n",
            s.backend,
            s.name,
            s.address,
            s.admin,
            s.weight,
            s.initial_weight,
            s.since,
            s.check_status,
            s.check_result,
            s.health,
            s.check_state,
            s.agent_state,
            s.fqdn.as_deref().unwrap_or("-"),
            s.port,
            u8::from(s.use_ssl),
            s.check_port,
            s.agent_port,
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "1\n# be_id be_name srv_id srv_name …\n\
        3 pg-test-default 1 pg-test-1 10.10.10.11 2 0 100 100 8 15 3 5 6 0 0 0 node1 5432 - 0 8008 - - 8008\n\
        3 pg-test-default 2 pg-test-2 fd00::12 0 8 40 100 8 17 2 0 6 0 0 0 - 5432 - 1 8008 - - 0\n\n";

    #[test]
    fn an_answer_is_read_and_written_again() {
        let read = parse(ANSWER).unwrap();
        assert_eq!(read.len(), 2);
        let (a, b) = (&read[0], &read[1]);
        assert_eq!((a.backend.as_str(), a.name.as_str(), a.port), ("pg-test-default", "pg-test-1", 5432));
        assert_eq!((a.op, a.health, a.check_port, a.fqdn.as_deref()), (Op::Running, 5, 8008, Some("node1")));
        assert!(a.is_up() && !b.is_up());
        assert_eq!((b.admin & admin::BY_HAND, b.weight, b.initial_weight), (admin::DRAIN, 40, 100));
        assert_eq!(parse(&file(&read)).unwrap(), read);
        assert_eq!(file(&read).lines().nth(2).unwrap().split(' ').count(), COLUMNS);
    }

    #[test]
    fn nonsense_is_no_answer() {
        for bad in [
            "",
            "2\n",
            "Unknown command",
            "1\n3 a 1 b",
            "1\n3 a 1 b 10.0.0.1 9 0 1 1 1 1 1 1 1 1 0 0 - 1 - 0 1 - - 1",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert!(parse("1\n# only a head\n").unwrap().is_empty());
    }
}

//! What the serving worker says of its servers and limits. Nothing is changed here.

use std::collections::BTreeMap;

use super::state::{self, admin};
use super::{Haproxy, Info};
use crate::error::Error;
use crate::plan::{Live, LiveServer};
use crate::verify::stats::{self, Kind};

/// Frontends and servers: `show stat -1 <types> -1`, 1 and 4.
const STATE: &str = "show servers state;show stat -1 5 -1";

impl Haproxy<'_> {
    /// The worker that serves, with its servers, in one round trip. Those are `None` where they cannot be read.
    pub(super) fn worker(&self) -> Result<(Info, Option<Live>), Error> {
        let answer = self.ask(&format!("show info;{STATE}"))?;
        let info = Info::parse(&answer).ok_or_else(|| self.strange())?;
        Ok((info, live(&answer)))
    }

    /// The servers as they are now.
    pub(super) fn live(&self) -> Result<Live, Error> {
        live(&self.ask(STATE)?).ok_or_else(|| {
            let place = self.paths.stats_socket.display().to_string();
            Error::new(place, "does not say which servers it has")
        })
    }
}

/// Reads the two answers out of all that was answered.
fn live(answer: &str) -> Option<Live> {
    // Answers end with an empty line; the first line of this one is its version.
    let from = answer.match_indices("1\n# be_id ").map(|(at, _)| at);
    let from =
        from.filter_map(|at| answer.split_at_checked(at)).find(|(b, _)| b.is_empty() || b.ends_with('\n'));
    let (states, table) = from?.1.split_once("# pxname,")?;
    let head: Vec<&str> = table.lines().next()?.split(',').collect();
    if !["scur", "qcur", "slim"].iter().all(|column| head.contains(column)) {
        return None;
    }
    let rows = stats::parse_stat(&format!("# pxname,{table}")).ok()?;
    let rows: BTreeMap<_, _> = rows.into_iter().map(|r| ((r.proxy.clone(), r.server.clone()), r)).collect();
    let mut live = Live::default();
    for s in state::parse(states).ok()? {
        let key = (s.backend, s.name);
        // Both are of one moment, or nearly: a server that only one of them has came or went between them.
        let Some(row) = rows.get(&key) else { continue };
        let server = LiveServer {
            address: s.address,
            port: s.port,
            fqdn: s.fqdn,
            weight: s.weight,
            maxconn: row.limit.unwrap_or(0),
            maintenance: s.admin & admin::MAINT != 0,
            drain: s.admin & admin::DRAIN != 0,
            sessions: row.scur.saturating_add(row.qcur),
        };
        live.servers.insert(key, server);
    }
    let limits = rows.into_values().filter(|r| r.kind == Kind::Frontend);
    live.listeners = limits.map(|r| (r.proxy, r.limit.unwrap_or(0))).collect();
    Some(live)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_limits_are_read_from_one_answer() {
        let answer = "Name: HAProxy\nPid: 1\n\n1\n# be_id be_name …\n\
            3 b 1 s1 10.0.0.1 2 0 40 100 8 15 3 5 6 0 0 0 - 5432 - 0 8008 - - 0\n\
            3 b 2 s2 10.0.0.2 0 9 1 1 8 15 3 5 6 0 0 0 db2 5432 - 0 8008 - - 0\n\n\
            # pxname,svname,qcur,scur,slim,status\nf,FRONTEND,,7,100,OPEN\nb,s1,2,3,300,UP\nb,s2,0,0,,MAINT\n\n";
        let live = live(answer).unwrap();
        let s1 = live.server("b", "s1").unwrap();
        assert_eq!((s1.weight, s1.maxconn, s1.sessions, s1.maintenance), (40, 300, 5, false));
        let s2 = live.server("b", "s2").unwrap();
        assert_eq!((s2.maxconn, s2.maintenance, s2.drain, s2.fqdn.as_deref()), (0, true, true, Some("db2")));
        assert_eq!(live.listeners.get("f"), Some(&100));
    }

    #[test]
    fn what_is_cut_short_says_nothing() {
        for answer in
            ["", "Pid: 1\n\n", "1\n# be_id x\n", "1\n# be_id x\n3 b\n\n# pxname,svname,slim,scur,qcur\n"]
        {
            assert_eq!(live(answer), None, "{answer:?}");
        }
    }
}

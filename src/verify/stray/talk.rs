//! When a session that is drained may be cut: when nobody is at work in it, or after the grace.
//!
//! HAProxy does not tell who works: its `exp=` counts in minutes where the timeout is a day, and a report that computes
//! for an hour moves no byte. The kernel tells who spoke last on the connection to the member: after the member's word
//! the session waits for the client, after the client's the member works.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Stray, Why, Worker};

/// After the member's last word.
const IDLE: Duration = Duration::from_secs(1);
/// Where question and answer fell into one tick of the kernel's clock, most likely the answer came last.
const UNCLEAR: Duration = Duration::from_secs(10);
/// What still works then is cut.
pub const GRACE: Duration = Duration::from_secs(300);

/// Who spoke last on a connection to a member, and how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    Member(Duration),
    Client(Duration),
    Unclear(Duration),
}

impl Talk {
    fn idle(self) -> bool {
        match self {
            Self::Member(quiet) => quiet >= IDLE,
            Self::Unclear(quiet) => quiet >= UNCLEAR,
            Self::Client(_) => false,
        }
    }
}

/// Reads `ss -tinH`: a line with the two ends, and one below it with what the kernel counts, by this node's end. A time
/// of zero is left out by `ss`.
pub fn parse_ss(text: &str) -> BTreeMap<SocketAddr, Talk> {
    let mut found = BTreeMap::new();
    let mut own: Option<SocketAddr> = None;
    for line in text.lines() {
        if !line.starts_with(|c: char| c.is_whitespace()) {
            own = line.split_ascii_whitespace().filter_map(|w| w.parse().ok()).next();
        } else if let Some(own) = own.take() {
            found.insert(own, talk(line));
        }
    }
    found
}

fn talk(line: &str) -> Talk {
    let ago = |name: &str| {
        let value = line.split_ascii_whitespace().find_map(|w| w.strip_prefix(name)?.parse().ok());
        Duration::from_millis(value.unwrap_or(0))
    };
    let (sent, heard, acknowledged) = (ago("lastsnd:"), ago("lastrcv:"), ago("lastack:"));
    let quiet = sent.min(heard);
    // An acknowledgement that came alone, after all data: the member has taken a question, and has no answer yet.
    if sent < heard || acknowledged < quiet {
        Talk::Client(quiet)
    } else if heard < sent {
        Talk::Member(quiet)
    } else {
        Talk::Unclear(quiet)
    }
}

/// The words of a filter of `ss` for connections to these members.
pub fn filter(members: impl IntoIterator<Item = SocketAddr>) -> Vec<String> {
    let mut words = Vec::new();
    for member in members {
        if !words.is_empty() {
            words.push("or".to_owned());
        }
        words.extend(["dst".to_owned(), member.to_string()]);
    }
    words
}

/// Since when sessions are drained.
#[derive(Debug, Default)]
pub struct Waiting(BTreeMap<(Worker, String), Duration>);

impl Waiting {
    /// The sessions to cut now: all that lost their role, of those that are drained the idle ones and, after the grace,
    /// the rest. `talk` is known of some.
    pub fn due<'s>(
        &mut self,
        strays: &'s [Stray],
        talk: &BTreeMap<(Worker, String), Talk>,
        now: Duration,
        grace: Duration,
    ) -> Vec<&'s Stray> {
        let key = |s: &Stray| (s.worker, s.id.clone());
        let drained: Vec<_> = strays.iter().filter(|s| s.why == Why::Backup).map(key).collect();
        self.0.retain(|k, _| drained.contains(k));
        for k in drained {
            self.0.entry(k).or_insert(now);
        }
        let is_due = |s: &&Stray| {
            let since = self.0.get(&key(s)).copied().unwrap_or(now);
            s.why == Why::LostRole
                || talk.get(&key(s)).is_some_and(|t| t.idle())
                || now.saturating_sub(since) >= grace
        };
        strays.iter().filter(is_due).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::stray::Live;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn who_spoke_last_is_read_of_the_kernel() {
        // iproute2 6.1: a session that waits, one whose query runs, one of which cannot be told, one this very moment.
        let text = "0      0      10.10.10.11:1 10.10.10.12:6432\n\
            \t bbr wscale:10,10 rto:204 bytes_sent:237 lastsnd:4040 lastrcv:4036 lastack:4036 pacing_rate 1bps\n\
            0      0      10.10.10.11:2 10.10.10.12:6432\n\
            \t bbr lastsnd:4036 lastrcv:4040 lastack:3992\n\
            0      0      10.10.10.11:3 10.10.10.12:6432\n\
            \t bbr lastsnd:4036 lastrcv:4036 lastack:4036\n\
            0      0      [fd00::1]:4 [fd00::2]:6432\n\
            \t cubic lastsnd:8 lastack:4\n\
            0      0      10.10.10.11:5 10.10.10.12:6432\n\
            \t bbr lastsnd:4036 lastrcv:4036 lastack:3996\n";
        let found: Vec<Talk> = parse_ss(text).into_values().collect();
        let wanted = [Talk::Member(ms(4036)), Talk::Client(ms(4036)), Talk::Unclear(ms(4036))];
        assert_eq!(found[..3], wanted);
        assert_eq!(found[3..], [Talk::Client(ms(4036)), Talk::Member(ms(0))]);
        assert!(parse_ss("Error: an inet prefix is expected\n").is_empty());
    }

    #[test]
    fn the_filter_names_the_members() {
        let of = |text: &[&str]| filter(text.iter().map(|a| a.parse().unwrap())).join(" ");
        assert_eq!(of(&["10.0.0.1:5432", "[fd00::1]:6432"]), "dst 10.0.0.1:5432 or dst [fd00::1]:6432");
    }

    fn stray(id: &str, why: Why) -> Stray {
        Stray {
            cluster: "c".into(),
            service: "s".into(),
            instance: "c-1".into(),
            live: Live::Leads,
            why,
            worker: Worker::Current,
            id: id.into(),
        }
    }

    #[test]
    fn the_idle_go_at_once_and_the_busy_after_the_grace() {
        let all = ["lost", "idle", "busy", "fast", "unclear", "unknown"]
            .map(|id| stray(id, if id == "lost" { Why::LostRole } else { Why::Backup }));
        let key = |id: &str| (Worker::Current, id.to_owned());
        let talk = BTreeMap::from([
            (key("lost"), Talk::Client(ms(0))),
            (key("idle"), Talk::Member(ms(1000))),
            (key("busy"), Talk::Client(ms(3_600_000))),
            (key("fast"), Talk::Member(ms(999))),
            (key("unclear"), Talk::Unclear(ms(9999))),
        ]);
        let mut waiting = Waiting::default();
        let mut due = |talk: &BTreeMap<_, _>, now: u64| {
            waiting.due(&all, talk, ms(now), ms(5000)).iter().map(|s| s.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(due(&talk, 100), ["lost", "idle"]);
        let quiet = BTreeMap::from([(key("unclear"), Talk::Unclear(ms(10_000)))]);
        assert_eq!(due(&quiet, 5099), ["lost", "unclear"]);
        assert_eq!(due(&talk, 5100).len(), all.len());
    }

    #[test]
    fn who_was_right_in_between_gets_the_whole_grace_again() {
        let one = [stray("a", Why::Backup)];
        let (mut waiting, nothing) = (Waiting::default(), BTreeMap::new());
        assert!(waiting.due(&one, &nothing, ms(0), ms(5000)).is_empty());
        assert!(waiting.due(&[], &nothing, ms(4000), ms(5000)).is_empty());
        assert!(waiting.due(&one, &nothing, ms(6000), ms(5000)).is_empty());
        assert_eq!(waiting.due(&one, &nothing, ms(11_000), ms(5000)).len(), 1);
    }
}

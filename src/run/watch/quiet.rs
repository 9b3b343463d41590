//! How long a member is waited for. All are asked at once, and what one of them says is known when the last one has answered or
//! was given up: a member whose network is gone would take its full time from every look, and from the new leader with it.
//! What silence means is not decided here.

use std::collections::BTreeMap;
use std::time::Duration;

/// A member that answers HAProxy's checks answers within this time.
const FULL: Duration = Duration::from_secs(1);
/// For one that was silent; it answers within milliseconds where it is there and well.
const SHORT: Duration = Duration::from_millis(250);
/// One that is only slow gets its full time again now and then, and keeps it once it is heard.
const AGAIN: Duration = Duration::from_secs(5);

/// The members that said nothing when they were asked last, and when they had their full time last.
#[derive(Default)]
pub(super) struct Quiet(BTreeMap<String, Duration>);

impl Quiet {
    pub fn patience(&self, host: &str, now: Duration) -> Duration {
        let short = |at: &Duration| now.saturating_sub(*at) < AGAIN;
        if self.0.get(host).is_some_and(short) { SHORT } else { FULL }
    }

    /// Whether anything was heard of the hosts that were asked at that time.
    pub fn heard(&mut self, hosts: BTreeMap<String, bool>, asked: Duration) {
        for (host, heard) in hosts {
            if heard {
                self.0.remove(&host);
            } else if self.patience(&host, asked) == FULL {
                self.0.insert(host, asked);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_member_is_waited_for_now_and_then_only_and_one_that_is_heard_again_in_full() {
        let mut quiet = Quiet::default();
        let mut full = Vec::new();
        for n in 0..20 {
            let now = Duration::from_millis(600) * n;
            if quiet.patience("a", now) == FULL {
                full.push(n);
            }
            quiet.heard(BTreeMap::from([("a".to_owned(), false), ("b".to_owned(), true)]), now);
        }
        assert_eq!(full, [0, 9, 18]);
        let now = Duration::from_millis(12_001);
        assert_eq!((quiet.patience("a", now), quiet.patience("b", now)), (SHORT, FULL));
        quiet.heard(BTreeMap::from([("a".to_owned(), true)]), now);
        assert_eq!(quiet.patience("a", now), FULL);
    }
}

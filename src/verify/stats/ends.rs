//! `show sess all`: of each session, between which addresses it goes on to the member. No sockets here.

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// By session: this node's end and the member's of the connection behind it.
pub type Ends = BTreeMap<String, (SocketAddr, SocketAddr)>;

/// Reads `show sess all`: of a session's lines, those of backend and server say an address each. A session without a
/// connection to a member has none, and is left out, as are more sessions than a process can have.
pub fn parse_ends(answer: &str) -> Ends {
    let mut ends = Ends::new();
    let mut session = "";
    let mut own: Option<SocketAddr> = None;
    for line in answer.lines() {
        if ends.len() >= super::MOST {
            break;
        }
        if let Some((id, _)) = line.split_once(": ").filter(|(id, _)| id.starts_with("0x")) {
            (session, own) = (id, None);
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        let address = |mut words: std::str::SplitAsciiWhitespace<'_>| {
            words.find_map(|w| w.strip_prefix("addr=")).and_then(|a| a.parse().ok())
        };
        match words.next() {
            Some(word) if word.starts_with("backend=") => own = address(words),
            Some(word) if word.starts_with("server=") => {
                if let (Some(own), Some(member)) = (own, address(words)) {
                    ends.insert(session.to_owned(), (own, member));
                }
            }
            _ => {}
        }
    }
    ends
}

//! States of a cluster in words: `primary=3,down=1,lag:2=64MB`. Who serves in them is `lead`'s matter.

use super::{MemberState, Role, size};
use crate::error::{Error, Errors, nearest};
use crate::inventory::cluster::Cluster;
use crate::inventory::member::Member;

/// The members' states by instance, in the cluster's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct States(Vec<(String, MemberState)>);

impl States {
    #[must_use]
    pub fn get(&self, instance: &str) -> Option<&MemberState> {
        self.0.iter().find(|(name, _)| name == instance).map(|(_, state)| state)
    }

    fn get_mut(&mut self, instance: &str) -> Option<&mut MemberState> {
        self.0.iter_mut().find(|(name, _)| name == instance).map(|(_, state)| state)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &MemberState)> {
        self.0.iter().map(|(name, state)| (name.as_str(), state))
    }
}

/// The words, each with an example and what it says. `M` is a `pg_seq` or an instance's name, or several with `+`.
pub const WORDS: [(&str, &str, &str); 13] = [
    ("primary", "primary=3", "who is the primary; primary=none: nobody (else the inventory's one)"),
    ("standby_leader", "standby_leader=1", "a standby cluster, and who leads it"),
    ("down", "down=1+2", "the node is off, or cut off"),
    ("stopped", "stopped=2", "PostgreSQL is stopped, and Patroni says so"),
    ("sync", "sync=2", "a synchronous standby"),
    ("noloadbalance", "noloadbalance=2", "the member has this tag of Patroni's"),
    ("lag", "lag:2=64MB", "so much behind the leader"),
    ("tag", "tag:2=rack:a", "a tag of Patroni's, and its value"),
    ("api", "api:2=down", "Patroni's API is down, or silent: it takes connections and never answers"),
    ("pooler", "pooler:2=down", "pgbouncer takes no connections"),
    ("postgres", "postgres:2=down", "PostgreSQL takes no connections, and Patroni takes it for running"),
    ("exporter", "exporter:2=503", "what pg_exporter answers, or down"),
    ("closed", "closed:2=7000", "a port that takes no connections"),
];

/// One part of the text: `word=value` or `word:members=value`.
struct Item<'a> {
    text: &'a str,
    word: &'a str,
    members: Vec<&'a Member>,
    value: &'a str,
}

/// The members' states. Those that are not named are healthy replicas, and the inventory's primary is the primary where
/// nobody else is said to lead.
///
/// # Errors
/// Everything that is wrong with the text: words, members, values, and what cannot be true together.
pub fn parse(text: &str, cluster: &Cluster) -> Result<States, Errors> {
    let mut errors = Errors::default();
    let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty());
    let items: Vec<Item<'_>> = parts.filter_map(|p| errors.take(item(p, cluster))).collect();
    let replica = |m: &Member| (m.instance.clone(), MemberState::new(Role::Replica));
    let mut states = States(cluster.members.iter().map(replica).collect());
    twice(&items, &mut errors);
    leaders(&items, cluster, &mut states, &mut errors);
    for item in &items {
        for m in &item.members {
            if let Some(state) = states.get_mut(&m.instance) {
                errors.take(apply(item, m, state));
            }
        }
    }
    errors.finish(states)
}

fn place(text: &str) -> String {
    format!("state '{text}'")
}

fn item<'a>(text: &'a str, cluster: &'a Cluster) -> Result<Item<'a>, Errors> {
    let wrong = |what: &str| Error::new(place(text), what);
    let (left, value) = text
        .split_once('=')
        .map(|(l, v)| (l.trim(), v.trim()))
        .ok_or_else(|| wrong("has no value").hint("such as primary=3 or lag:2=64MB"))?;
    let (word, listed) = match left.split_once(':') {
        Some((word, listed)) => (word, Some(listed)),
        None => (left, None),
    };
    let Some((_, example, _)) = WORDS.iter().find(|(w, _, _)| *w == word) else {
        let known = WORDS.iter().map(|(w, _, _)| *w);
        let hint = match nearest(word, known.clone()) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("words: {}", known.collect::<Vec<_>>().join(", ")),
        };
        return Err(wrong(&format!("'{word}' is no word for a state")).hint(hint).into());
    };
    let names = match (listed, example.contains(':')) {
        (Some(listed), true) => listed,
        (None, false) => value,
        (Some(_), false) => return Err(wrong("names members twice").hint(format!("as in {example}")).into()),
        (None, true) => return Err(wrong("names no member").hint(format!("as in {example}")).into()),
    };
    if word == "primary" && names == "none" {
        return Ok(Item { text, word, members: Vec::new(), value });
    }
    let mut errors = Errors::default();
    let found = names
        .split('+')
        .filter_map(|n| errors.take(member(n.trim(), cluster).map_err(|e| e.within(&place(text)))));
    let members = found.collect();
    errors.finish(Item { text, word, members, value })
}

/// A member by its `pg_seq` or its instance's name.
///
/// # Errors
/// A name that no member has.
pub fn member<'a>(name: &str, cluster: &'a Cluster) -> Result<&'a Member, Error> {
    let is = |m: &&Member| m.instance == name || m.seq.to_string() == name;
    cluster.members.iter().find(is).ok_or_else(|| {
        let all: Vec<String> =
            cluster.members.iter().map(|m| format!("{} ({})", m.seq, m.instance)).collect();
        Error::new("", format!("'{name}' is no member of {}", cluster.name))
            .hint(format!("its members: {}", all.join(", ")))
    })
}

/// A word said twice of one member, or a second time of the whole.
fn twice(items: &[Item<'_>], errors: &mut Errors) {
    for (i, a) in items.iter().enumerate() {
        let leads = |word: &str| word == "primary" || word == "standby_leader";
        for b in items.iter().skip(i.saturating_add(1)) {
            if leads(a.word) && leads(b.word) {
                let what = format!("'{}' is said already", a.text);
                errors.push(Error::new(place(b.text), what).hint("several at once: primary=1+2"));
            } else if a.word == b.word && !["tag", "closed"].contains(&a.word) {
                for m in a.members.iter().filter(|m| b.members.iter().any(|o| o.instance == m.instance)) {
                    let what = format!("'{}' is said of {} already", a.text, m.instance);
                    errors.push(Error::new(place(b.text), what).hint("leave one of them out"));
                }
            }
        }
    }
}

fn leaders(items: &[Item<'_>], cluster: &Cluster, states: &mut States, errors: &mut Errors) {
    let said = items.iter().find(|i| i.word == "primary" || i.word == "standby_leader");
    let (role, members) = match said {
        Some(i) if i.word == "standby_leader" => (Role::StandbyLeader, i.members.clone()),
        Some(i) => (Role::Primary, i.members.clone()),
        None => (Role::Primary, cluster.members.iter().filter(|m| m.role == "primary").collect()),
    };
    if said.is_none() && members.len() != 1 {
        let what = format!("the inventory of {} has {} primaries", cluster.name, members.len());
        errors.push(Error::new("state", what).hint("say who is: primary=1, or primary=none"));
    }
    for m in members {
        if let Some(state) = states.get_mut(&m.instance) {
            state.role = role;
        }
    }
}

fn apply(item: &Item<'_>, m: &Member, state: &mut MemberState) -> Result<(), Error> {
    let wrong = |what: String, hint: &str| Err(Error::new(place(item.text), what).hint(hint));
    let down = || match item.value {
        "down" => Ok(()),
        other => wrong(format!("'{other}' is no state of it"), "down"),
    };
    let leads = matches!(state.role, Role::Primary | Role::StandbyLeader);
    if leads && ["sync", "lag"].contains(&item.word) {
        let what = format!("{} leads, and so it is behind nobody", m.instance);
        return wrong(what, "say who is the primary: primary=3, or primary=none");
    }
    match item.word {
        "down" => state.on = false,
        "stopped" => {
            state.running = false;
            state.close(m.pg_port);
        }
        "sync" => state.role = Role::SyncStandby,
        "noloadbalance" => state.noloadbalance = true,
        "lag" => match size(item.value).and_then(|n| u64::try_from(n).ok()) {
            Some(lag) => state.lag = lag,
            None => return wrong(format!("'{}' is no size", item.value), "64MB; units: B, kB, MB, GB, TB"),
        },
        "tag" => match item.value.split_once(':') {
            Some((k, v)) => state.tags.push((k.into(), v.into())),
            None => return wrong("a tag has a name and a value".into(), "tag:2=rack:a"),
        },
        "api" if item.value == "silent" => (state.api, state.silent) = (false, true),
        "api" => {
            down()?;
            state.api = false;
        }
        "pooler" => {
            down()?;
            state.close(m.pgbouncer_port);
        }
        "postgres" => {
            down()?;
            state.close(m.pg_port);
        }
        "exporter" if item.value == "down" => state.close(m.pg_exporter_port),
        "exporter" => match item.value.parse() {
            Ok(code @ 100..=599) => state.others.push((m.pg_exporter_port, code)),
            _ => return wrong(format!("'{}' is no HTTP status", item.value), "503, or down"),
        },
        "closed" => match item.value.parse() {
            Ok(port @ 1..) => state.close(port),
            _ => return wrong(format!("'{}' is no port", item.value), "1 to 65535"),
        },
        // Who leads is told already.
        _ => {}
    }
    Ok(())
}

impl MemberState {
    fn close(&mut self, port: u16) {
        if !self.closed.contains(&port) {
            self.closed.push(port);
        }
    }

    /// What is said of it, for people: `primary`, `replica, 64MB behind`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let role = match self.role {
            Role::Primary => "primary",
            Role::Replica => "replica",
            Role::SyncStandby => "synchronous standby",
            Role::StandbyLeader => "standby leader",
        };
        if !self.on {
            let led = matches!(self.role, Role::Primary | Role::StandbyLeader);
            return if led { "down, and nobody leads in its place".into() } else { "down".into() };
        }
        let mut words = vec![role.to_owned()];
        let mut say = |is: bool, text: &str| words.extend(is.then(|| text.to_owned()));
        say(!self.running, "PostgreSQL stopped");
        say(self.lag > 0, &format!("{} behind", human(self.lag)));
        say(self.noloadbalance, "noloadbalance");
        say(self.silent, "Patroni's API silent");
        say(!self.api && !self.silent, "Patroni's API down");
        for port in &self.closed {
            say(true, &format!("port {port} closed"));
        }
        for (port, code) in &self.others {
            say(true, &format!("port {port} answers {code}"));
        }
        for (k, v) in &self.tags {
            say(true, &format!("tag {k}: {v}"));
        }
        words.join(", ")
    }
}

/// Bytes in the largest unit that makes a whole number.
fn human(bytes: u64) -> String {
    let units = [("TB", 40), ("GB", 30), ("MB", 20), ("kB", 10)];
    let fits = |(_, bits): &(&str, u32)| bytes.trailing_zeros() >= *bits;
    match units.into_iter().find(fits) {
        Some((unit, bits)) => format!("{}{unit}", bytes >> bits),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests;

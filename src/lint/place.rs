//! Where the object of an error was written: errors name objects, inventories have places. Nothing is judged here.

use super::view::{ClusterView, View};
use crate::error::{Error, Kind};
use crate::inventory::cluster::Listed;
use crate::inventory::{Host, Place};

/// Where an entry of a list of services, or the first of these fields that it has, was written; nothing for the text's
/// own services.
pub fn of_entry(c: &ClusterView<'_>, e: &Listed<'_>, fields: &[&str]) -> Option<Place> {
    let (variable, index) = e.from?;
    let host = c.hosts.iter().find(|h| h.vars.contains_key(variable))?;
    let has = |field: &&&str| {
        let inner = host.inner(variable);
        inner.is_some_and(|i| i.contains_key(&format!("[{index}].{field}")))
    };
    let path = match fields.iter().find(has) {
        Some(field) => format!("{variable}[{index}].{field}"),
        None => format!("{variable}[{index}]"),
    };
    host.place(&path).cloned()
}

/// What an error is about.
pub struct Found {
    pub object: String,
    /// What the error says behind the object: a field, or a variable.
    pub rest: String,
    pub place: Option<Place>,
}

/// The object of a cluster's or a node's error, and where it was written.
pub fn of_error(view: &View<'_>, c: Option<&ClusterView<'_>>, error: &Error) -> Found {
    let (object, rest) = match error.place.split_once(": ") {
        Some((object, rest)) => (object, rest),
        None => (error.place.as_str(), ""),
    };
    let words = || words(rest).chain(words(&error.what));
    let place = match (quoted(object), c) {
        (Some(("variable", name)), _) => {
            let host = object.split('\'').nth(3).unwrap_or_default();
            view.inventory.hosts.iter().find(|h| h.name == host).and_then(|h| h.place(name)).cloned()
        }
        (Some(("host" | "node", name)), _) => {
            let host = view.inventory.hosts.iter().find(|h| h.name == name);
            host.and_then(|h| of_host(h, words()))
        }
        (_, Some(c)) if object.starts_with("service ") => {
            let named = quoted(object).and_then(|(_, name)| c.entry(name));
            let number = object.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok());
            let entry = named.or_else(|| c.entries.get(number?.checked_sub(1)?));
            // The innermost first: `haproxy: maxconn` is said of both.
            let inner = words().map(|w| format!("haproxy.{w}"));
            let fields: Vec<String> = inner.chain(words().map(str::to_owned)).collect();
            let said = meant(error.kind).iter().copied();
            let fields: Vec<&str> = said.chain(fields.iter().map(String::as_str)).collect();
            entry.and_then(|e| of_entry(c, e, &fields))
        }
        (_, Some(c)) => of_cluster(c, &error.what, words()),
        _ => None,
    };
    Found { object: object.to_owned(), rest: rest.to_owned(), place }
}

/// The variable that is named, of the host that is named last; else the cluster's own.
fn of_cluster<'w>(
    c: &ClusterView<'_>,
    what: &str,
    words: impl Iterator<Item = &'w str> + Clone,
) -> Option<Place> {
    let named = c.hosts.iter().filter_map(|h| Some((what.rfind(h.name.as_str())?, *h)));
    let host = named.max_by_key(|(at, h)| (*at, h.name.len())).map(|(_, h)| h);
    let own = host.and_then(|h| words.clone().find_map(|w| h.place(w)));
    own.or_else(|| c.hosts.iter().find_map(|h| words.clone().find_map(|w| h.place(w))))
        .cloned()
        .or_else(|| c.place(&["pg_cluster"]))
}

fn of_host<'w>(host: &Host, mut words: impl Iterator<Item = &'w str>) -> Option<Place> {
    words.find_map(|w| host.place(w)).or_else(|| host.place("pg_cluster")).cloned()
}

/// `service 'x' of …` → (`service`, `x`).
fn quoted(object: &str) -> Option<(&str, &str)> {
    let (kind, rest) = object.split_once(" '")?;
    Some((kind, rest.split('\'').next()?))
}

/// What could be a variable or a field, in order.
fn words(text: &str) -> impl Iterator<Item = &str> + Clone {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|w| w.len() > 1)
}

/// The fields that an error of a sort is about, whatever its words.
fn meant(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::DuplicateName | Kind::ListenerName => &["name"],
        Kind::DuplicatePort => &["src_port", "port"],
        Kind::NoVip => &["src_ip", "ip"],
        _ => &[],
    }
}

//! Runs that wait for the node: what they ask for is installed together, by the first of them that gets its turn, with
//! one reload. A run that waits leaves a ticket; the lock beside it tells that the run still lives. Nothing is
//! installed here, and a run whose wish was fulfilled by another still proves its own ports.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Node, kept};
use crate::host::Lock;
use crate::inventory::Args;
use crate::report::Change;
use crate::request::{self, Model, State};
use crate::settings::VerifyMode;
use crate::transaction::real_directory;

/// What a waiting run asks for, in the words in which a node keeps requests.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Wish {
    /// Settings and options: only runs that agree on them can be one.
    node: Value,
    verify: String,
    clusters: Vec<(String, Value)>,
}

/// What another run did for a waiting one.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    pub by: u32,
    pub reason: String,
    pub changes: Vec<Change>,
}

/// A place in the queue; given up when dropped.
pub struct Ticket<'a> {
    node: &'a Node<'a>,
    name: PathBuf,
    _lives: Box<dyn Lock>,
}

/// Another run that waits.
pub struct Guest {
    name: PathBuf,
    wish: Wish,
}

fn dir(node: &Node<'_>) -> PathBuf {
    node.paths.state_dir.join("waiting")
}

/// Only a plain run can be done by another: one that may restart, adopt or drop does so with its own consent.
fn wish(model: &Model) -> Option<Wish> {
    let o = &model.options;
    let plain = model.state == State::Present && model.failed.is_empty() && !model.check && o.root.is_none();
    let consents = o.adopt || o.force || o.allow_restart;
    let verify = match o.verify {
        VerifyMode::Fail => "fail",
        VerifyMode::Report => "report",
        VerifyMode::Off => "off",
    };
    (plain && !consents).then(|| Wish {
        node: model.kept.node.clone(),
        verify: verify.to_owned(),
        clusters: model.kept.clusters.clone(),
    })
}

/// Leaves a ticket; `None` where the run cannot be done by another, or nothing can be written: then it waits as it is.
pub fn leave<'a>(node: &'a Node<'a>, model: &Model) -> Option<Ticket<'a>> {
    let text = serde_json::to_vec(&wish(model)?).ok()?;
    let dir = dir(node);
    real_directory(node.sys, &dir).ok()?;
    node.sys.create_dir(&dir, 0o700).ok()?;
    let name = dir.join(std::process::id().to_string());
    let lives = node.sys.lock(&name.with_extension("lock"), Duration::ZERO).ok()?;
    let ticket = Ticket { node, name, _lives: lives };
    ticket.clear();
    kept::replace(node, &ticket.name.with_extension("json"), &text, 0o600).ok()?;
    Some(ticket)
}

impl Ticket<'_> {
    /// What was done meanwhile; asked when it is this run's turn.
    pub fn done(self) -> Option<Done> {
        serde_json::from_slice(&self.node.sys.read(&self.name.with_extension("done")).ok()?).ok()
    }

    fn clear(&self) {
        for kind in ["new", "json", "done"] {
            drop(self.node.sys.remove_file(&self.name.with_extension(kind)));
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.clear();
        drop(self.node.sys.remove_file(&self.name.with_extension("lock")));
    }
}

/// The living runs that can be one with this one: the same settings, other clusters. Needs the node's lock.
pub fn guests(node: &Node<'_>, model: &Model) -> Vec<Guest> {
    let Some(mine) = wish(model) else { return Vec::new() };
    let dir = dir(node);
    let mut taken: Vec<String> = mine.clusters.iter().map(|(name, _)| name.clone()).collect();
    let mut guests = Vec::new();
    for file in node.sys.list(&dir).unwrap_or_default() {
        let path = dir.join(&file);
        if !file.ends_with(".json") || !lives(node, &path) {
            continue;
        }
        let read = node.sys.read(&path).ok().and_then(|bytes| serde_json::from_slice::<Wish>(&bytes).ok());
        let Some(wish) = read.filter(|w| w.node == mine.node && w.verify == mine.verify) else { continue };
        if wish.clusters.iter().any(|(name, _)| taken.contains(name)) {
            continue;
        }
        taken.extend(wish.clusters.iter().map(|(name, _)| name.clone()));
        guests.push(Guest { name: path.with_extension(""), wish });
    }
    guests
}

/// Whether the run that left a ticket is there; what a dead one left goes.
fn lives(node: &Node<'_>, ticket: &Path) -> bool {
    let lock = ticket.with_extension("lock");
    let held = node.sys.lock(&lock, Duration::ZERO).is_err();
    if !held {
        drop(node.sys.remove_file(ticket));
        drop(node.sys.remove_file(&lock));
    }
    held
}

/// This run's and its guests' wishes as one; `None` where they are none without fault.
#[must_use]
pub fn together(model: &Model, guests: &[Guest]) -> Option<Model> {
    let mut args: Args = model.kept.node.as_object()?.clone();
    let all = guests.iter().flat_map(|g| &g.wish.clusters).chain(&model.kept.clusters);
    args.extend(request::joined(all.map(|(_, args)| args.clone())));
    let mut request = request::from_arguments(&args).ok()?;
    request.options = model.options.clone();
    let mut all = request::model(request).ok()?;
    all.node = model.node.clone();
    let has = |name: &String| all.clusters.contains_key(name);
    let complete = model.clusters.keys().all(has)
        && guests.iter().flat_map(|g| &g.wish.clusters).all(|(name, _)| has(name));
    (all.failed.is_empty() && complete).then_some(all)
}

/// Tells the guests what was done for them.
pub fn tell(node: &Node<'_>, guests: &[Guest], reason: &str, changes: &[(Option<String>, Change)]) {
    for guest in guests {
        let is_its = |c: &Option<String>| {
            c.as_ref().is_some_and(|c| guest.wish.clusters.iter().any(|(name, _)| name == c))
        };
        let changes = changes.iter().filter(|(c, _)| is_its(c)).map(|(_, change)| change.clone()).collect();
        let done = Done { by: std::process::id(), reason: reason.to_owned(), changes };
        // Who is not told finds nothing to do, and says so.
        if let Ok(text) = serde_json::to_vec(&done) {
            drop(kept::replace(node, &guest.name.with_extension("done"), &text, 0o600));
        }
    }
}

#[cfg(test)]
mod tests;

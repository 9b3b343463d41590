//! What was kept, as a request again.

use std::path::Path;

use serde_json::Value;

use super::{NODE, dir, failed, previous};
use crate::error::{Error, Errors};
use crate::inventory::Args;
use crate::request::{self, Request};
use crate::run::Node;

/// The requests kept on this node, as one. `flags` are in the module arguments' words.
///
/// # Errors
/// When there is none, or one is broken.
pub fn load(node: &Node<'_>, only: &[String], flags: &Args) -> Result<Request, Errors> {
    load_from(node, &dir(node), only, flags)
}

/// The requests of the set that a rollback goes back to, as one.
///
/// # Errors
/// When there is none, or one is broken.
pub fn load_previous(node: &Node<'_>, only: &[String], flags: &Args) -> Result<Request, Errors> {
    load_from(node, &previous(node), only, flags)
}

fn load_from(node: &Node<'_>, dir: &Path, only: &[String], flags: &Args) -> Result<Request, Errors> {
    let files = node.sys.list(dir).unwrap_or_default();
    let known: Vec<&str> =
        files.iter().filter(|f| *f != NODE).filter_map(|f| f.strip_suffix(".json")).collect();
    // What goes needs nothing that was kept of it.
    let absent = flags.get("state").and_then(Value::as_str) == Some("absent");
    let mut errors = Errors::default();
    if known.is_empty() && !absent {
        errors.push(Error::new(dir.display().to_string(), "holds no request of an earlier apply"));
    } else if !absent {
        let unknown = only.iter().filter(|n| !known.contains(&n.as_str()));
        unknown
            .for_each(|n| errors.push(Error::new(format!("cluster '{n}'"), "was not applied on this node")));
    }
    let mut args = if files.iter().any(|f| f == NODE) { read(node, &dir.join(NODE))? } else { Args::new() };
    let wanted = known.into_iter().filter(|n| only.is_empty() || only.iter().any(|o| o == n));
    let clusters = wanted.map(|name| read(node, &dir.join(format!("{name}.json"))).map(Value::Object));
    args.extend(request::joined(clusters.collect::<Result<Vec<_>, _>>()?));
    if absent {
        args.insert("clusters".into(), only.into());
    }
    args.extend(flags.clone());
    let hinted = errors.0.into_iter().map(|e| e.hint("name the inventory: -i INVENTORY")).collect();
    Errors(hinted).finish(())?;
    request::from_arguments(&args)
}

fn read(node: &Node<'_>, path: &Path) -> Result<Args, Error> {
    let bytes = node.sys.read(path).map_err(|e| failed("read", path, &e))?;
    serde_json::from_slice(&bytes).map_err(|e| {
        Error::new(path.display().to_string(), format!("is broken: {e}"))
            .hint("run 'pgsvc apply' with the inventory again")
    })
}

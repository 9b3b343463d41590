//! Inventories as Ansible reads them: hosts with their merged variables. What a cluster is, is decided in `cluster`.

pub mod ansible;
pub mod cluster;
pub mod member;
mod needed;
pub mod tls;
mod vars;
pub mod yaml;

use std::collections::BTreeMap;

use serde::Serialize;

pub use ansible::{Source, from_bytes, load};
pub use needed::{is_plain, needed};
pub use vars::{Var, Vars};

/// Module arguments, or flags in their words: a JSON object.
pub type Args = serde_json::Map<String, serde_json::Value>;

/// Where something was written. Line and column count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A host of the inventory.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Host {
    /// The inventory hostname.
    pub name: String,
    pub vars: Vars,
    /// All groups the host is in, parents included, `all` left out; sorted.
    pub groups: Vec<String>,
}

/// Places inside a variable, by path: `[1].selector`.
pub type Inner = BTreeMap<String, Place>;

/// The variables whose inside has places.
pub const PLACED: [&str; 4] =
    ["pg_services", "pg_services_extra", "pg_default_services", "pgsvc_lint_ignore"];

impl Host {
    /// Where a variable, or what is inside of it (`pg_services[1].selector`), was written: the place of the innermost part
    /// that is known, nothing where not even the variable's is.
    #[must_use]
    pub fn place(&self, path: &str) -> Option<&Place> {
        let end = path.find('[').unwrap_or(path.len());
        let (name, mut rest) = path.split_at_checked(end)?;
        let var = self.vars.var(name)?;
        if let Some(inner) = &var.inner {
            while !rest.is_empty() {
                if let Some(place) = inner.get(rest) {
                    return Some(place);
                }
                rest = rest.get(..rest.rfind(['.', '[']).unwrap_or(0)).unwrap_or_default();
            }
        }
        var.place.as_ref()
    }

    /// Places inside a variable, where they are known.
    #[must_use]
    pub fn inner(&self, name: &str) -> Option<&Inner> {
        self.vars.var(name)?.inner.as_ref()
    }
}

/// All hosts, in the order of the inventory.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Inventory {
    pub hosts: Vec<Host>,
    /// What was read in a way its author may not have meant: a duplicate key, say.
    pub warnings: Vec<String>,
}

//! Inventories as Ansible reads them: hosts with their merged variables. What a cluster is, is decided in `cluster`.

pub mod ansible;
pub mod cluster;
pub mod member;
mod needed;
pub mod tls;
pub mod yaml;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

pub use ansible::{Source, from_bytes, load};
pub use needed::needed;

/// The variables of a host, merged with Ansible's precedence.
///
/// A vaulted value is `{"__ansible_vault": "…"}` and an unsafe one `{"__ansible_unsafe": "…"}`, as
/// `ansible-inventory --list` writes them; a Jinja expression is the string it was written as.
pub type Vars = serde_json::Map<String, Value>;

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
    /// Where each top-level variable that won was written, where that is known.
    pub places: BTreeMap<String, Place>,
    /// Where what is inside of some of them was written, by variable.
    #[serde(skip)]
    pub inner: BTreeMap<String, Arc<Inner>>,
}

/// Places inside a variable, by path: `[1].selector`. Hosts that have the variable from one place share them.
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
        if let Some(inner) = self.inner.get(name) {
            while !rest.is_empty() {
                if let Some(place) = inner.get(rest) {
                    return Some(place);
                }
                rest = rest.get(..rest.rfind(['.', '[']).unwrap_or(0)).unwrap_or_default();
            }
        }
        self.places.get(name)
    }
}

/// All hosts, in the order of the inventory.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Inventory {
    pub hosts: Vec<Host>,
    /// What was read in a way its author may not have meant: a duplicate key, say.
    pub warnings: Vec<String>,
}

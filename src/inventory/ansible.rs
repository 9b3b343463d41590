//! Ansible inventories: files, directories and `ansible-inventory --list`, merged with Ansible's own precedence.
//!
//! What a variable means to PostgreSQL may not live here, and nothing here touches the system: [`Source`] reads.

mod graph;
mod ini;
mod list;
mod literal;
mod merge;
mod numeral;
mod range;
mod reader;
mod shell;
mod source;
mod text;
mod vars_files;
mod yaml_file;

use std::path::Path;

pub use source::Source;

use super::Inventory;
use crate::error::{Error, Errors};

/// Reads an inventory file with the `group_vars` and `host_vars` beside it, or a directory of such.
///
/// A file that holds the output of `ansible-inventory --list` is complete; nothing beside it is read.
///
/// # Errors
/// All that Ansible would refuse or skip: a file that is only half understood routes to the wrong server.
pub fn load(source: &dyn Source, path: &Path) -> Result<Inventory, Errors> {
    let mut reader = reader::Reader::new(source);
    reader.read(path);
    let neighbours = reader.neighbours(path);
    merge::finish(source, reader, neighbours.as_deref())
}

/// Reads an inventory that has no neighbours: what stands on stdin. `name` is what errors call it.
///
/// # Errors
/// As [`load`]; and nothing at all, which is what a failed command leaves in a pipe.
pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Inventory, Errors> {
    if bytes.trim_ascii().is_empty() {
        let error = Error::new(name, "no inventory, not a single byte of one");
        return Err(error.hint("did the command before the pipe fail?").into());
    }
    let source = source::Nothing;
    let mut reader = reader::Reader::new(&source);
    // JSON or YAML, never INI: any line of text would make a host of its first word.
    reader.bytes(name, Path::new("stdin.yml"), bytes);
    merge::finish(&source, reader, None)
}

#[cfg(test)]
mod tests;

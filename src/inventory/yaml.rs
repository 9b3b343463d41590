//! YAML as PyYAML and Ansible read it (version 1.1), as a tree that knows where everything was written.
//!
//! `no` is false here, `010` is eight and `22:22` is 1342, because that is what Ansible makes of them. What a mapping
//! means to an inventory may not live here.

mod build;
mod entries;
mod hint;
mod json;
mod scalar;
mod tag;
mod timestamp;

use std::rc::Rc;

use serde_json::Value;

pub use hint::text;

use super::Place;
use crate::error::Error;

/// The largest file that is read; a hundred times the largest inventory seen.
pub const MAX_BYTES: usize = 20 * 1024 * 1024;
/// The deepest nesting; what lies deeper is an attack or an accident.
pub const MAX_DEPTH: usize = 200;
/// What all aliases of a file together may expand to, in nodes and bytes of text.
pub const ALIAS_BUDGET: u64 = 128 * 1024 * 1024;

/// A line and a column, both from 1; zero where they are not known (JSON).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct At {
    pub line: usize,
    pub column: usize,
}

impl At {
    /// The place in a file, where it is known.
    pub fn place(self, file: &str) -> Option<Place> {
        (self.line > 0).then(|| Place { file: file.to_owned(), line: self.line, column: self.column })
    }

    /// `file:line:column`, or the file alone where no more is known.
    pub fn text(self, file: &str) -> String {
        self.place(file).map_or_else(|| file.to_owned(), |place| place.to_string())
    }
}

/// A value and where it begins. Cheap to clone: aliases share what they name.
#[derive(Debug, Clone)]
pub struct Node {
    pub at: At,
    pub data: Data,
    /// What the value costs when it is written out with all its aliases.
    weight: u64,
}

#[derive(Debug, Clone)]
pub enum Data {
    /// Null, a boolean, a number, a string; a vaulted or unsafe one is an object with that one key.
    Scalar(Rc<Value>),
    List(Rc<Vec<Node>>),
    /// In the order of the file, every key once, merges done.
    Map(Rc<Vec<Entry>>),
}

/// A key of a mapping with its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key as Ansible's JSON shows it.
    pub key: String,
    /// Whether the key was a string; `10` and `true` are not.
    pub text: bool,
    pub at: At,
    pub value: Node,
}

/// What a file holds.
#[derive(Debug, Clone)]
pub struct Document {
    /// `None` for a file without a document (empty, or comments only).
    pub root: Option<Node>,
    /// Whether it was JSON, which has no places.
    pub json: bool,
    /// Readings that the author may not have meant.
    pub warnings: Vec<String>,
}

impl Node {
    /// Nothing, at a place.
    pub fn null(at: At) -> Self {
        Self::scalar(at, Value::Null)
    }

    /// Null, or nothing written at all.
    pub fn is_null(&self) -> bool {
        matches!(&self.data, Data::Scalar(value) if value.is_null())
    }

    /// What Python calls falsy: null, false, zero, an empty string, list or mapping.
    pub fn is_falsy(&self) -> bool {
        match &self.data {
            Data::List(items) => items.is_empty(),
            Data::Map(entries) => entries.is_empty(),
            Data::Scalar(value) => match &**value {
                Value::Null | Value::Bool(false) => true,
                Value::Number(number) => number.as_f64() == Some(0.0),
                Value::String(text) => text.is_empty(),
                _ => false,
            },
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar(value) => value.as_str(),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&[Entry]> {
        match &self.data {
            Data::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.data {
            Data::List(items) => Some(items),
            _ => None,
        }
    }

    /// The value of a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// What the value is, in an operator's words.
    pub fn kind(&self) -> &'static str {
        match &self.data {
            Data::List(_) => "a list",
            Data::Map(_) => "a mapping",
            Data::Scalar(value) => match &**value {
                Value::Null => "nothing",
                Value::Bool(_) => "a boolean",
                Value::Number(_) => "a number",
                Value::Object(_) => "a vaulted or unsafe string",
                _ => "a string",
            },
        }
    }

    /// The value alone. The budget of aliases has bounded what this can cost, the depth limit how far it recurses.
    pub fn to_value(&self) -> Value {
        match &self.data {
            Data::Scalar(value) => (**value).clone(),
            Data::List(items) => Value::Array(items.iter().map(Node::to_value).collect()),
            Data::Map(entries) => {
                Value::Object(entries.iter().map(|e| (e.key.clone(), e.value.to_value())).collect())
            }
        }
    }

    fn scalar(at: At, value: Value) -> Self {
        let text = match &value {
            Value::String(text) => text.len(),
            Value::Object(wrapped) => wrapped.values().filter_map(Value::as_str).map(str::len).sum(),
            _ => 0,
        };
        Self { at, weight: weigh(text), data: Data::Scalar(Rc::new(value)) }
    }

    fn list(at: At, items: Vec<Node>) -> Self {
        let weight = items.iter().fold(weigh(0), |sum, item| sum.saturating_add(item.weight));
        Self { at, weight, data: Data::List(Rc::new(items)) }
    }

    fn map(at: At, entries: Vec<Entry>) -> Self {
        let weight = entries.iter().fold(weigh(0), |sum, entry| {
            sum.saturating_add(entry.value.weight).saturating_add(weigh(entry.key.len()))
        });
        Self { at, weight, data: Data::Map(Rc::new(entries)) }
    }
}

/// A node's own cost: a constant for its place in the tree, and its text.
fn weigh(text: usize) -> u64 {
    u64::try_from(text).unwrap_or(u64::MAX).saturating_add(32)
}

/// Reads a file as Ansible does: as JSON where it is JSON, else as YAML.
///
/// # Errors
/// Everything PyYAML refuses, and what is too large, too deep or expands too far; with place and a hint.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Document, Error> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::new(file, format!("{} bytes are too many for an inventory file", bytes.len()))
            .hint(format!("at most {MAX_BYTES}; is it the file you meant?")));
    }
    let text = hint::text(file, bytes)?;
    if text.trim_start().starts_with(['{', '['])
        && let Some(root) = json::parse(text)
    {
        return Ok(Document { root: Some(root), json: true, warnings: Vec::new() });
    }
    hint::printable(file, text)?;
    build::Builder::new(file, text).run()
}

#[cfg(test)]
mod tests;

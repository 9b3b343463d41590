//! JSON into the same tree, in the order of the file: `serde_json`'s own map would sort the hosts.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::{At, Entry, Node};

/// The whole text as one JSON value; `None` where it is none, and YAML gets its turn.
pub fn parse(text: &str) -> Option<Node> {
    serde_json::from_str::<Tree>(text).ok().map(|tree| tree.0)
}

struct Tree(Node);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor).map(Tree)
    }
}

struct TreeVisitor;

fn scalar(value: Value) -> Node {
    Node::scalar(At::default(), value)
}

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(scalar(Value::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(scalar(Value::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(scalar(Value::from(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(scalar(Value::from(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Number::from_f64(value).map(|n| scalar(Value::Number(n))).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(scalar(Value::String(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(Tree(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::list(At::default(), items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = super::entries::Entries::default();
        while let Some((key, Tree(value))) = access.next_entry::<String, Tree>()? {
            entries.insert(Entry { key, text: true, at: At::default(), value });
        }
        Ok(wrapped(entries.finish()))
    }
}

/// Ansible's own wrappers are scalars of this tree, however they came.
fn wrapped(entries: Vec<Entry>) -> Node {
    if let [entry] = entries.as_slice()
        && matches!(entry.key.as_str(), "__ansible_vault" | "__ansible_unsafe")
        && let Some(text) = entry.value.as_str()
    {
        let object = [(entry.key.clone(), Value::String(text.to_owned()))].into_iter().collect();
        return scalar(Value::Object(object));
    }
    Node::map(At::default(), entries)
}

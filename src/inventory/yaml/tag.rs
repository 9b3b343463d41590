//! Tags: how they are called, and what Ansible's own wrap a value in.

use saphyr_parser::Tag;
use serde_json::Value;

/// A value in one of Ansible's wrappers, as its JSON shows it.
pub fn wrap(key: &str, text: String) -> Value {
    Value::Object([(key.to_owned(), Value::String(text))].into_iter().collect())
}

/// A tag as it is written: `!vault`, `!!str`, or in full.
pub fn name(tag: &Tag) -> String {
    if tag.is_yaml_core_schema() {
        return format!("!!{}", tag.suffix);
    }
    format!("{}{}", tag.handle, tag.suffix)
}

//! The entries of a mapping while it is read. What their keys mean may not live here.

use std::collections::BTreeMap;

use super::{At, Entry};

/// As many duplicate keys are told of in one file; who has more has made one mistake, not many.
const TOLD: usize = 20;

/// Entries by the rules of a Python dictionary: the first writing sets the order, the last one the value.
#[derive(Default)]
pub struct Entries {
    list: Vec<Entry>,
    index: BTreeMap<String, usize>,
}

impl Entries {
    /// Adds an entry, and says whether the key was there before.
    pub fn insert(&mut self, entry: Entry) -> bool {
        if let Some(old) = self.index.get(&entry.key).and_then(|i| self.list.get_mut(*i)) {
            *old = entry;
            return true;
        }
        self.index.insert(entry.key.clone(), self.list.len());
        self.list.push(entry);
        false
    }

    pub fn finish(self) -> Vec<Entry> {
        self.list
    }
}

/// A mapping's entries: merged ones come first and lose to its own; a key written twice is told of.
pub fn join(file: &str, merged: Vec<Entry>, own: Vec<Entry>, warnings: &mut Vec<String>) -> Vec<Entry> {
    let mut entries = Entries::default();
    for entry in merged {
        entries.insert(entry);
    }
    let mut seen: BTreeMap<String, At> = BTreeMap::new();
    for entry in own {
        if let Some(first) = seen.insert(entry.key.clone(), entry.at)
            && warnings.len() < TOLD
        {
            warnings.push(format!(
                "{}: the key '{}' is already on line {}; this last one counts",
                entry.at.text(file),
                entry.key,
                first.line
            ));
        }
        entries.insert(entry);
    }
    entries.finish()
}

//! The variables of a host. What a group says is one value, however many hosts are in it: lists of services are the
//! largest part of an inventory, and a thousand clusters have five members each. No meaning of any variable may live here.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Inner, Place};

/// A value and where it was written.
#[derive(Debug, Clone)]
pub struct Var {
    pub value: Value,
    pub place: Option<Place>,
    /// Where what is inside was written, of the variables that somebody asks for.
    pub inner: Option<Inner>,
}

impl Var {
    /// A variable that nothing is known of inside.
    pub fn flat(value: Value, place: Option<Place>) -> Self {
        Self { value, place, inner: None }
    }
}

/// Variables by name, merged with Ansible's precedence.
///
/// A vaulted value is `{"__ansible_vault": "…"}` and an unsafe one `{"__ansible_unsafe": "…"}`, as
/// `ansible-inventory --list` writes them; a Jinja expression is the string it was written as.
#[derive(Debug, Clone, Default)]
pub struct Vars(BTreeMap<Arc<str>, Arc<Var>>);

impl Vars {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).map(|var| &var.value)
    }

    /// With where it was written.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<&Var> {
        self.0.get(name).map(Arc::as_ref)
    }

    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(AsRef::as_ref)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, var)| (name.as_ref(), &var.value))
    }

    pub fn insert(&mut self, name: &str, value: Value) {
        self.0.insert(name.into(), Arc::new(Var::flat(value, None)));
    }

    /// Sees to it that a variable has a value; one that has it already stays what it is in memory.
    pub fn set<V: Into<Value>>(&mut self, name: &str, value: V)
    where
        Value: PartialEq<V>,
    {
        if self.get(name).is_none_or(|known| *known != value) {
            self.insert(name, value.into());
        }
    }

    /// The same of a variable that is there; one that is not stays away.
    pub fn correct<V: Into<Value>>(&mut self, name: &str, value: V)
    where
        Value: PartialEq<V>,
    {
        if self.contains_key(name) {
            self.set(name, value);
        }
    }

    /// The same variable as somebody else's.
    pub fn share(&mut self, name: &Arc<str>, var: &Arc<Var>) {
        self.0.insert(Arc::clone(name), Arc::clone(var));
    }

    /// Has a variable of somebody else's, the same in memory, where there is one.
    pub fn share_of(&mut self, other: &Self, name: &str) {
        if let Some((name, var)) = other.0.get_key_value(name) {
            self.share(name, var);
        }
    }

    /// The same variables, those of which `keep` says no with nothing in them.
    #[must_use]
    pub fn emptied(&self, keep: impl Fn(&str) -> bool) -> Self {
        let nothing = Arc::new(Var::flat(Value::Null, None));
        let one = |(name, var): (&Arc<str>, &Arc<Var>)| {
            (Arc::clone(name), Arc::clone(if keep(name) { var } else { &nothing }))
        };
        Self(self.0.iter().map(one).collect())
    }

    /// Where both are one value in memory, which most that are equal are.
    #[must_use]
    pub fn shares(&self, other: &Self, name: &str) -> bool {
        match (self.0.get(name), other.0.get(name)) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        }
    }
}

impl PartialEq for Vars {
    /// By their values, wherever they were written.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl From<Map<String, Value>> for Vars {
    fn from(map: Map<String, Value>) -> Self {
        map.into_iter().collect()
    }
}

impl From<&Map<String, Value>> for Vars {
    fn from(map: &Map<String, Value>) -> Self {
        map.clone().into()
    }
}

impl FromIterator<(String, Value)> for Vars {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(all: I) -> Self {
        Self(all.into_iter().map(|(name, v)| (name.into(), Arc::new(Var::flat(v, None)))).collect())
    }
}

impl Extend<(String, Value)> for Vars {
    fn extend<I: IntoIterator<Item = (String, Value)>>(&mut self, all: I) {
        self.0.extend(Self::from_iter(all).0);
    }
}

impl Serialize for Vars {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Vars {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Map::deserialize(from).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_shared_variable_is_one_value_and_a_copy_of_it_is_another() {
        let (name, var): (Arc<str>, _) = ("pg_services".into(), Arc::new(Var::flat(json!([1]), None)));
        let (mut a, mut b) = (Vars::new(), Vars::new());
        a.share(&name, &var);
        b.share(&name, &var);
        assert!(a.shares(&b, "pg_services") && a.shares(&b, "nowhere") && a == b);
        b.insert("pg_services", json!([1]));
        assert!(!a.shares(&b, "pg_services") && a == b);
        assert!(!a.shares(&Vars::new(), "pg_services") && a != Vars::new());
    }

    #[test]
    fn emptied_variables_keep_their_names() {
        let vars: Vars = json!({"a": 1, "b": [2]}).as_object().unwrap().into();
        let some = vars.emptied(|name| name == "a");
        assert_eq!(serde_json::to_value(&some).unwrap(), json!({"a": 1, "b": null}));
        assert_eq!(serde_json::from_value::<Vars>(json!({"a": 1, "b": null})).unwrap(), some);
    }
}

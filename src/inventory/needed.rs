//! A variable that is about to be used: in the clear, or an error that says how to get it there.

use serde_json::Value;

use super::Vars;
use crate::error::Error;

/// The value of a variable of a host, unsafe strings unwrapped; `None` where it is not set.
///
/// # Errors
/// A value that only Ansible can read: encrypted, or a template, anywhere inside it.
pub fn needed(vars: &Vars, name: &str, host: &str) -> Result<Option<Value>, Error> {
    vars.get(name).map(|value| clear(value, name, host)).transpose()
}

fn clear(value: &Value, name: &str, host: &str) -> Result<Value, Error> {
    Ok(match value {
        Value::String(text) if template(text) => return Err(jinja(name, host)),
        Value::Array(items) => {
            Value::Array(items.iter().map(|v| clear(v, name, host)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => {
            if map.contains_key("__ansible_vault") {
                return Err(vaulted(name, host));
            }
            if let (1, Some(Value::String(text))) = (map.len(), map.get("__ansible_unsafe")) {
                return Ok(Value::String(text.clone()));
            }
            let pair = |(key, v): (&String, &Value)| Ok((key.clone(), clear(v, name, host)?));
            Value::Object(map.iter().map(pair).collect::<Result<_, Error>>()?)
        }
        other => other.clone(),
    })
}

/// What Ansible takes for a template; a `!unsafe` string never is one.
fn template(text: &str) -> bool {
    // Most texts have no brace at all.
    text.contains('{') && ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

/// Whether a value can be read as it is: nothing of it is encrypted, a template or marked as none.
pub fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(text) => !template(text),
        Value::Array(items) => items.iter().all(is_plain),
        Value::Object(map) => {
            let marks = ["__ansible_vault", "__ansible_unsafe"];
            !marks.iter().any(|mark| map.contains_key(*mark)) && map.values().all(is_plain)
        }
        _ => true,
    }
}

fn place(name: &str, host: &str) -> String {
    format!("variable '{name}' of host '{host}'")
}

// `ansible-inventory --list` decrypts files that are encrypted as a whole; a single `!vault` value it passes on
// encrypted, password or not, and templates it passes on as they were written (measured on core 2.19).
fn vaulted(name: &str, host: &str) -> Error {
    Error::new(place(name, host), "is encrypted by ansible-vault").hint(
        "run pgsvc as Ansible's module, which gets it in the clear; or move it to a vars file that is encrypted as a \
         whole and pipe `ansible-inventory -i INVENTORY --list --ask-vault-pass` (or --vault-password-file) into \
         `pgsvc … -i -`: that decrypts whole files, not single !vault values",
    )
}

fn jinja(name: &str, host: &str) -> Error {
    Error::new(place(name, host), "is a Jinja template, which only Ansible can evaluate").hint(
        "run pgsvc as Ansible's module, which gets the result; or write a plain value (`ansible-inventory --list` \
         does not evaluate templates); text that is no template is marked !unsafe",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ask(value: Value) -> Result<Option<Value>, Error> {
        let vars: Vars = [("v".to_owned(), value)].into_iter().collect();
        needed(&vars, "v", "db1")
    }

    #[test]
    fn a_plain_value_is_itself_and_a_missing_one_is_none() {
        assert_eq!(ask(json!({"a": [1, "x"]})).unwrap(), Some(json!({"a": [1, "x"]})));
        assert_eq!(needed(&Vars::new(), "v", "db1").unwrap(), None);
    }

    #[test]
    fn what_is_plain_is_read_as_it_is_and_what_is_not_is_not_plain() {
        for plain in [json!({"a": [1, "x", null]}), json!("{ no }"), json!(true)] {
            assert!(is_plain(&plain) && ask(plain.clone()) == Ok(Some(plain)));
        }
        for other in [json!("{{ x }}"), json!({"__ansible_vault": "x"}), json!([{"__ansible_unsafe": "x"}])] {
            assert!(!is_plain(&other) && ask(other.clone()) != Ok(Some(other)));
        }
    }

    #[test]
    fn an_unsafe_value_is_unwrapped_even_where_it_looks_like_a_template() {
        let value = json!([{"__ansible_unsafe": "{{ x }}"}]);
        assert_eq!(ask(value).unwrap(), Some(json!(["{{ x }}"])));
    }

    #[test]
    fn a_vaulted_value_or_a_template_names_variable_host_and_way_out() {
        let vault =
            ask(json!({"a": [{"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256"}]})).unwrap_err().to_string();
        assert!(vault.starts_with("variable 'v' of host 'db1': is encrypted"), "{vault}");
        assert!(vault.contains("--vault-password-file") && !vault.contains("AES256"));
        for text in ["{{ x }}", "a{% if %}", "{# c #}"] {
            let jinja = ask(json!({"a": text})).unwrap_err().to_string();
            assert!(jinja.starts_with("variable 'v' of host 'db1': is a Jinja template"), "{jinja}");
        }
        assert!(ask(json!("{ no }")).is_ok());
    }
}

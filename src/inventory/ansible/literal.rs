//! Values of INI inventories: what Python's `ast.literal_eval` makes of them, else the text itself.
//!
//! So `5432` is a number, `True` a boolean, `true` a string, `['a', 1]` a list and `010` a string.

use serde_json::Value;

use super::numeral::Numeral;
use super::text;

/// Deeper than this, Python gives up as well.
const DEEPEST: usize = 190;

/// The value of `key=value` in an INI inventory.
pub fn value(source: &str) -> Value {
    let mut reader = Reader { rest: source.trim_start_matches([' ', '\t']), depth: 0 };
    match reader.whole() {
        Some(Item(value)) => value,
        None => Value::String(source.to_owned()),
    }
}

struct Item(Value);

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn whole(&mut self) -> Option<Item> {
        let item = self.tuple_or_item("")?;
        self.space();
        (self.rest.is_empty() || self.rest.starts_with('#')).then_some(item)
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\x0c']);
    }

    fn eat(&mut self, token: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// One value, or several with commas between them, which make a tuple; `end` closes them.
    fn tuple_or_item(&mut self, end: &str) -> Option<Item> {
        let first = self.item()?;
        if !self.eat(",") {
            return Some(first);
        }
        let mut items = vec![first.0];
        loop {
            self.space();
            let over = if end.is_empty() {
                self.rest.is_empty() || self.rest.starts_with('#')
            } else {
                self.rest.starts_with(end)
            };
            if over {
                return Some(Item(Value::Array(items)));
            }
            items.push(self.item()?.0);
            if !self.eat(",") {
                return Some(Item(Value::Array(items)));
            }
        }
    }

    fn item(&mut self) -> Option<Item> {
        self.depth = self.depth.checked_add(1).filter(|depth| *depth <= DEEPEST)?;
        self.space();
        let item = match self.rest.chars().next()? {
            '[' => self.list("[", "]"),
            '(' => self.parentheses(),
            '{' => self.braces(),
            '+' | '-' => self.signed(),
            c if c.is_ascii_digit() || c == '.' => self.number().map(|number| Item(number.value(false))),
            _ => self.name(),
        };
        self.depth = self.depth.saturating_sub(1);
        item
    }

    fn list(&mut self, open: &str, close: &str) -> Option<Item> {
        self.eat(open);
        let mut items = Vec::new();
        while !self.eat(close) {
            items.push(self.item()?.0);
            if !self.eat(",") {
                return self.eat(close).then_some(Item(Value::Array(items)));
            }
        }
        Some(Item(Value::Array(items)))
    }

    fn parentheses(&mut self) -> Option<Item> {
        self.eat("(");
        if self.eat(")") {
            return Some(Item(Value::Array(Vec::new())));
        }
        let item = self.tuple_or_item(")")?;
        self.eat(")").then_some(item)
    }

    /// A dictionary, or a set, which becomes a list.
    fn braces(&mut self) -> Option<Item> {
        let before = self.rest;
        self.eat("{");
        if self.eat("}") {
            return Some(Item(Value::Object(serde_json::Map::new())));
        }
        self.item()?;
        if !self.eat(":") {
            self.rest = before;
            return self.list("{", "}");
        }
        self.rest = before;
        self.eat("{");
        let mut map = serde_json::Map::new();
        while !self.eat("}") {
            let key = match self.item()?.0 {
                Value::String(key) => key,
                // Python cannot hash these, and Ansible stops there.
                Value::Array(_) | Value::Object(_) => return None,
                other => other.to_string(),
            };
            if !self.eat(":") {
                return None;
            }
            let value = self.item()?.0;
            map.insert(key, value);
            if !self.eat(",") {
                return self.eat("}").then_some(Item(Value::Object(map)));
            }
        }
        Some(Item(Value::Object(map)))
    }

    fn signed(&mut self) -> Option<Item> {
        let negative = self.eat("-");
        if !negative {
            self.eat("+");
        }
        self.space();
        self.number().map(|number| Item(number.value(negative)))
    }

    /// The name of a constant, or strings, any number of them side by side.
    fn name(&mut self) -> Option<Item> {
        for (word, value) in
            [("True", Value::Bool(true)), ("False", Value::Bool(false)), ("None", Value::Null)]
        {
            let whole = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            if let Some(rest) = self.rest.strip_prefix(word).filter(|rest| whole(rest)) {
                self.rest = rest;
                return Some(Item(value));
            }
        }
        let (mut joined, bytes, rest) = text::literal(self.rest)?;
        self.rest = rest;
        loop {
            self.space();
            match text::literal(self.rest) {
                Some((more, same, rest)) if same == bytes => {
                    joined.push_str(&more);
                    self.rest = rest;
                }
                Some(_) => return None,
                None => return Some(Item(Value::String(joined))),
            }
        }
    }

    fn number(&mut self) -> Option<Numeral> {
        let hex = self.rest.get(..2).is_some_and(|p| p.eq_ignore_ascii_case("0x"));
        let mut end = 0;
        let mut previous = ' ';
        for (offset, c) in self.rest.char_indices() {
            let exponent = !hex && matches!(previous, 'e' | 'E') && matches!(c, '+' | '-');
            if !(c.is_alphanumeric() || matches!(c, '_' | '.') || exponent) {
                break;
            }
            previous = c;
            end = offset.saturating_add(c.len_utf8());
        }
        let (token, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Numeral::read(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pythons_literals_are_read() {
        for (text, want) in [
            ("5432", json!(5432)),
            ("-1", json!(-1)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("1_000", json!(1000)),
            ("00", json!(0)),
            ("True", json!(true)),
            ("None", json!(null)),
            ("'010'", json!("010")),
            ("\"a\" 'b'", json!("ab")),
            ("r'\\n'", json!("\\n")),
            ("'\\x41\\n\\q'", json!("A\n\\q")),
            ("[1, 'a', [True,],]", json!([1, "a", [true]])),
            ("(1)", json!(1)),
            ("(1,)", json!([1])),
            ("1, 2", json!([1, 2])),
            ("()", json!([])),
            ("{'a': {1: None}, 'b': {2}}", json!({"a": {"1": null}, "b": [2]})),
            ("5432 # port", json!(5432)),
            ("b'x'", json!("x")),
        ] {
            assert_eq!(value(text), want, "{text}");
        }
    }

    #[test]
    fn everything_else_is_the_text_itself() {
        for text in [
            "",
            "true",
            "yes",
            "010",
            "10.0.0.1",
            "a b",
            "a # b",
            "1 2",
            "10-20",
            "--1",
            "Truely",
            "[1",
            "[a]",
            "f'x'",
            "1__0",
            "1_",
            "+_5",
            "0x",
            "12h",
            "{{ x }}",
            "{'a'}x",
            "'a",
            "é",
            "2024-01-02",
            "1:2",
            "'a' b'b'",
            "{1: }",
            ",",
        ] {
            assert_eq!(value(text), json!(text), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(value(&deep), json!(deep));
    }
}

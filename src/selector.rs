//! JMESPath, and the only place that knows it: compiling, the reference text's legacy literals, evaluating over members.
//! What the selected members mean is decided in `resolve`.
//!
//! The crate passes the official compliance suite but for `avg([])`, which is mended here. It differs from Python's
//! implementation, which Ansible uses, in what the specification leaves open:
//! - texts have no order: `[? pg_role > 'a' ]` selects nobody (Python compares them; `sort` and `max` do order texts);
//! - a legacy literal (`` `primary` ``) is a syntax error to the crate: it is rewritten before;
//! - `[ ]`, with a space, selects nobody: it is refused;
//! - functions that compute yield fractions, so that `to_string(abs(…))` says `3.0`;
//! - an unknown function is an error at once here, with its column, and not first when a member is looked at.

use jmespath::{Expression, Rcvar, Runtime, Variable};
use serde_json::{Map, Value};

use crate::error::{Error, nearest};

/// An expression longer than this is refused: the parser recurses.
const LONGEST: usize = 4096;
/// Operators and brackets in an expression: each may be a level of recursion, and more could exhaust the stack.
const MOST_OPERATORS: usize = 200;

const FUNCTIONS: [&str; 26] = [
    "abs", "avg", "ceil", "contains", "ends_with", "floor", "join", "keys", "length", "map", "max", "max_by",
    "merge", "min", "min_by", "not_null", "reverse", "sort", "sort_by", "starts_with", "sum", "to_array",
    "to_number", "to_string", "type", "values",
];

/// A compiled selector.
pub struct Selector {
    text: String,
    expression: Expression<'static>,
}

/// Which member an element of a selector's result is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub cluster: String,
    pub seq: u64,
}

/// Members in the form that selectors are evaluated on; converted once.
pub struct Candidates(Rcvar);

impl Candidates {
    pub fn new(members: &[Map<String, Value>]) -> Self {
        let list = members.iter().map(|m| Rcvar::new(variable(&Value::Object(m.clone())))).collect();
        Self(Rcvar::new(Variable::Array(list)))
    }
}

/// `serde_json` → `jmespath` by value, without a trip through text.
fn variable(value: &Value) -> Variable {
    match value {
        Value::Null => Variable::Null,
        Value::Bool(b) => Variable::Bool(*b),
        Value::Number(n) => Variable::Number(n.clone()),
        Value::String(s) => Variable::String(s.clone()),
        Value::Array(list) => Variable::Array(list.iter().map(|v| Rcvar::new(variable(v))).collect()),
        Value::Object(map) => {
            Variable::Object(map.iter().map(|(k, v)| (k.clone(), Rcvar::new(variable(v)))).collect())
        }
    }
}

impl Selector {
    /// Compiles an expression as the reference text writes it.
    ///
    /// # Errors
    /// A syntax error or an unknown function, with its column (from 1).
    pub fn compile(text: &str) -> Result<Self, Error> {
        refuse_traps(text)?;
        let rewritten = rewrite_literals(text);
        let expression = RUNTIME.with(|runtime| runtime.compile(&rewritten)).map_err(|e| syntax(text, &e))?;
        if let Some((name, column)) = unknown_function(&rewritten) {
            let hint = match nearest(&name, FUNCTIONS) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("known functions: {}", FUNCTIONS.join(", ")),
            };
            return Err(Error::new("", format!("unknown function '{name}' at column {column}")).hint(hint));
        }
        Ok(Self { text: text.to_owned(), expression })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The members it selects, in its order, each once.
    ///
    /// # Errors
    /// A result that is no list, or whose elements are no members.
    pub fn select(&self, candidates: &Candidates) -> Result<Vec<Identity>, Error> {
        let found = self.expression.search(&candidates.0).map_err(|e| evaluation(&e))?;
        let Variable::Array(list) = &*found else {
            return Err(Error::new("", format!("yields {}, no list of members", kind(&found))).hint(
                "a selector filters the list of members: \"[]\", \"[? pg_role == `replica` ]\", \"[0:1]\"",
            ));
        };
        let mut members: Vec<Identity> = Vec::new();
        for element in list {
            let identity = identity(element).ok_or_else(|| {
                Error::new("", format!("yields {} without pg_cluster and pg_seq, no member", kind(element)))
                    .hint("select whole members: \"[? … ]\", not \"[].name\"")
            })?;
            if !members.contains(&identity) {
                members.push(identity);
            }
        }
        Ok(members)
    }
}

thread_local! {
    static RUNTIME: &'static Runtime = Box::leak(Box::new(runtime()));
}

/// The crate's functions, with `avg` of an empty list mended: the specification says null.
fn runtime() -> Runtime {
    use jmespath::functions::{ArgumentType, CustomFunction, Signature};
    let mut runtime = Runtime::new();
    runtime.register_builtin_functions();
    let numbers = ArgumentType::TypedArray(Box::new(ArgumentType::Number));
    runtime.register_function(
        "avg",
        Box::new(CustomFunction::new(
            Signature::new(vec![numbers], None),
            Box::new(|args: &[Rcvar], _: &mut jmespath::Context| {
                let list: Vec<f64> = args
                    .first()
                    .and_then(|v| v.as_array())
                    .map(|a| a.iter().filter_map(|v| v.as_number()).collect())
                    .unwrap_or_default();
                let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
                if count == 0 {
                    return Ok(Rcvar::new(Variable::Null));
                }
                let mean = list.iter().sum::<f64>() / f64::from(count);
                Ok(Rcvar::new(serde_json::Number::from_f64(mean).map_or(Variable::Null, Variable::Number)))
            }),
        )),
    );
    runtime
}

fn kind(v: &Variable) -> &'static str {
    match v {
        Variable::Null => "null",
        Variable::Bool(_) => "a boolean",
        Variable::Number(_) => "a number",
        Variable::String(_) => "a text",
        Variable::Array(_) => "a list",
        Variable::Object(_) => "a map",
        Variable::Expref(_) => "an expression",
    }
}

fn identity(v: &Variable) -> Option<Identity> {
    let map = v.as_object()?;
    let cluster = map.get("pg_cluster")?.as_string()?.clone();
    let seq = map.get("pg_seq")?.as_number().filter(|n| *n >= 0.0 && n.fract() == 0.0)?;
    // A sequence number is small; the cast of a checked whole number loses nothing.
    format!("{seq:.0}").parse().ok().map(|seq| Identity { cluster, seq })
}

/// What parses, but means something else than was written.
fn refuse_traps(text: &str) -> Result<(), Error> {
    if text.len() > LONGEST {
        return Err(Error::new("", format!("is {} characters long", text.len()))
            .hint(format!("at most {LONGEST}")));
    }
    if text.trim().is_empty() {
        return Err(Error::new("", "is empty").hint("\"[]\" selects every member"));
    }
    let operators = outside_quotes(text).filter(|(_, c)| "[{(!.&|<>=".contains(*c)).count();
    if operators > MOST_OPERATORS {
        return Err(Error::new("", format!("has {operators} operators and brackets"))
            .hint(format!("at most {MOST_OPERATORS}")));
    }
    let mut open_at = None;
    for (i, c) in outside_quotes(text) {
        match c {
            '[' => open_at = Some(i),
            ']' if open_at.is_some_and(|o| i > o.saturating_add(1)) => {
                return Err(Error::new("", format!("'[ ]' at column {} selects nobody", column(text, open_at.unwrap_or(0))))
                    .hint("write \"[]\", without a space, for every member"));
            }
            c if c.is_whitespace() => {}
            _ => open_at = None,
        }
    }
    Ok(())
}

/// The characters of an expression that stand in no literal, with their byte offsets; a literal is one `"`.
fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    let mut quote = None;
    let mut escaped = false;
    text.char_indices().filter_map(move |(i, c)| {
        if let Some(q) = quote {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == q {
                quote = None;
                return Some((i, '"'));
            }
            return None;
        }
        if matches!(c, '"' | '\'' | '`') {
            quote = Some(c);
            return None;
        }
        Some((i, c))
    })
}

fn column(text: &str, offset: usize) -> usize {
    text.get(..offset).map_or(1, |head| head.chars().count().saturating_add(1))
}

/// JMESPath's legacy literals: `` `primary` `` means `'primary'`. Valid JSON between backticks stays JSON.
fn rewrite_literals(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(8));
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let Some(after) = rest.get(c.len_utf8()..) else { break };
        let end = if matches!(c, '"' | '\'' | '`') { closing(after, c) } else { None };
        match end {
            Some(end) => {
                let (body, tail) = after.split_at(end);
                if c == '`' {
                    out.push_str(&literal(body));
                } else {
                    out.push(c);
                    out.push_str(body);
                    out.push(c);
                }
                rest = tail.get(1..).unwrap_or_default();
            }
            None => {
                out.push(c);
                rest = after;
            }
        }
    }
    out
}

/// Byte offset of the unescaped closing quote.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return Some(i);
        }
    }
    None
}

fn literal(body: &str) -> String {
    let plain = body.replace("\\`", "`");
    let as_text = format!("\"{}\"", plain.trim_start());
    let is_json = |s: &str| serde_json::from_str::<Value>(s).is_ok();
    if is_json(&plain) || !is_json(&as_text) {
        return format!("`{body}`");
    }
    // The same length keeps an error's column right; only a plain word can be a raw string.
    if plain.contains(['\\', '"', '\'']) || plain.starts_with(char::is_whitespace) {
        let escaped = as_text.replace('`', "\\`");
        return format!("`{escaped}`");
    }
    format!("'{plain}'")
}

/// The first function that does not exist, with its column: the crate reports those only when it evaluates.
fn unknown_function(text: &str) -> Option<(String, usize)> {
    let mut word = String::new();
    let mut start = 0;
    for (i, c) in outside_quotes(text) {
        if c.is_ascii_alphanumeric() || c == '_' {
            if word.is_empty() {
                start = i;
            }
            word.push(c);
            continue;
        }
        if c == '(' && !word.is_empty() && !FUNCTIONS.contains(&word.as_str()) {
            return Some((word, column(text, start)));
        }
        word.clear();
    }
    None
}

/// The names an expression mentions outside its literals: the variables it may need.
pub fn identifiers(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut word = String::new();
    for (_, c) in outside_quotes(text).chain([(0, ' ')]) {
        if c.is_ascii_alphanumeric() || c == '_' {
            word.push(c);
        } else if !word.is_empty() {
            let name = std::mem::take(&mut word);
            if !name.starts_with(|c: char| c.is_ascii_digit()) && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    for name in quoted(text) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// JMESPath's quoted identifiers: `"pg_role"` is the variable, `'pg_role'` a text.
fn quoted(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((_, from)) = rest.find(['"', '\'', '`']).and_then(|i| rest.split_at_checked(i)) {
        let mut chars = from.chars();
        let Some((quote, end)) = chars.next().and_then(|q| Some((q, closing(chars.as_str(), q)?))) else { break };
        let (body, after) = chars.as_str().split_at(end);
        if quote == '"' {
            names.extend(serde_json::from_str::<String>(&format!("\"{body}\"")).ok());
        }
        rest = after.get(1..).unwrap_or_default();
    }
    names
}

/// Whether an expression needs variables that it does not name (`keys(@)`, `values(@)`, `*`): such a selector cannot be
/// served from members of which only selected variables were collected.
pub fn needs_all_variables(text: &str) -> bool {
    let bare: String = outside_quotes(text).map(|(_, c)| c).filter(|c| !c.is_whitespace()).collect();
    ["keys(", "values(", "to_string(@", ".*", "].*", "merge("].iter().any(|form| bare.contains(form))
        || bare.starts_with('*')
        || bare.contains("[?*")
}

fn syntax(text: &str, e: &jmespath::JmespathError) -> Error {
    let what = e.to_string();
    let first = what.lines().next().unwrap_or("is no JMESPath expression");
    // The crate's first line ends with "(line 0, column 4)", counted from 0.
    let message = first.split(" (line").next().unwrap_or(first).trim_start_matches("Parse error: ");
    Error::new("", format!("{message} at column {}", column(text, e.offset)))
        .hint("a JMESPath expression such as \"[? pg_role == `replica` && !pg_offline_query ]\"")
}

fn evaluation(e: &jmespath::JmespathError) -> Error {
    let what = e.to_string();
    let first = what.lines().next().unwrap_or("cannot be evaluated");
    Error::new("", first.split(" (line").next().unwrap_or(first).to_owned())
}

#[cfg(test)]
mod compliance;
#[cfg(test)]
mod tests;

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

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use jmespath::ast::Ast;
use jmespath::{Context, Expression, Rcvar, Runtime, Variable};
use serde_json::Value;

mod alone;
mod text;
use alone::Answers;
use text::{column, only_named_variables, refuse_traps, rewrite_literals, unknown_function};
pub use text::{identifiers, needs_all_variables, truths, variables};

use crate::error::{Error, nearest};

const FUNCTIONS: [&str; 26] = [
    "abs",
    "avg",
    "ceil",
    "contains",
    "ends_with",
    "floor",
    "join",
    "keys",
    "length",
    "map",
    "max",
    "max_by",
    "merge",
    "min",
    "min_by",
    "not_null",
    "reverse",
    "sort",
    "sort_by",
    "starts_with",
    "sum",
    "to_array",
    "to_number",
    "to_string",
    "type",
    "values",
];

/// A compiled selector, with what its text says of the variables it needs.
#[derive(Clone)]
pub struct Selector(Rc<Compiled>);

struct Compiled {
    text: String,
    expression: Expression<'static>,
    names: Vec<String>,
    all: bool,
    named: bool,
    answers: Answers,
}

/// Which member an element of a selector's result is.
#[derive(PartialEq, Eq)]
struct Identity<'a> {
    cluster: &'a str,
    seq: u64,
}

/// Members in the form that selectors are evaluated on; converted once.
pub struct Candidates(Rcvar);

/// One member in that form.
#[derive(Clone)]
pub struct Candidate(Rcvar);

impl Candidate {
    /// A member with those of its variables that `keep` names.
    pub fn new<'v>(
        vars: impl IntoIterator<Item = (&'v str, &'v Value)>,
        keep: impl Fn(&str) -> bool,
    ) -> Self {
        let kept = vars.into_iter().filter(|(k, _)| keep(k));
        let vars = kept.map(|(k, v)| (k.to_owned(), Rcvar::new(variable(v)))).collect();
        Self(Rcvar::new(Variable::Object(vars)))
    }

    /// The same with one variable set.
    #[must_use]
    pub fn with(&self, name: &str, text: &str) -> Self {
        let mut vars = self.0.as_object().cloned().unwrap_or_default();
        vars.insert(name.to_owned(), Rcvar::new(Variable::String(text.to_owned())));
        Self(Rcvar::new(Variable::Object(vars)))
    }
}

impl FromIterator<Candidate> for Candidates {
    fn from_iter<I: IntoIterator<Item = Candidate>>(members: I) -> Self {
        Self(Rcvar::new(Variable::Array(members.into_iter().map(|m| m.0).collect())))
    }
}

impl Candidates {
    /// The place of an element of a result: mostly it is the member itself. `None` for one that says it is a member and
    /// is none of these.
    fn place(&self, element: &Rcvar, is: &Identity<'_>) -> Option<usize> {
        let all = self.0.as_array()?;
        let itself = all.iter().position(|m| Rc::ptr_eq(m, element));
        itself.or_else(|| all.iter().position(|m| identity(m).is_some_and(|m| m == *is)))
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

/// Selectors that are remembered: a node's clusters have the same few, thousands of times.
const REMEMBERED: usize = 256;

thread_local! {
    static RUNTIME: &'static Runtime = Box::leak(Box::new(runtime()));
    static KNOWN: RefCell<BTreeMap<String, Selector>> = const { RefCell::new(BTreeMap::new()) };
}

impl Selector {
    /// Compiles an expression as the reference text writes it. A text that was seen before is not compiled again.
    ///
    /// # Errors
    /// A syntax error or an unknown function, with its column (from 1).
    pub fn compile(text: &str) -> Result<Self, Error> {
        if let Some(known) = KNOWN.with_borrow(|known| known.get(text).cloned()) {
            return Ok(known);
        }
        let new = Self::new(text)?;
        KNOWN.with_borrow_mut(|known| {
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(text.to_owned(), new.clone());
        });
        Ok(new)
    }

    fn new(text: &str) -> Result<Self, Error> {
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
        let (names, all, named) = (identifiers(text), needs_all_variables(text), only_named_variables(text));
        let (text, answers) = (text.to_owned(), Answers::default());
        Ok(Self(Rc::new(Compiled { text, expression, names, all, named, answers })))
    }

    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The names it mentions outside its literals: the variables it may need.
    pub fn names(&self) -> &[String] {
        &self.0.names
    }

    /// Whether it needs variables that it does not name.
    pub fn needs_all_variables(&self) -> bool {
        self.0.all
    }

    /// Whether it surely looks at no variables but those it names.
    pub fn only_named_variables(&self) -> bool {
        self.0.named
    }

    fn interpret(&self, on: &Rcvar, ast: &Ast) -> Result<Rcvar, Error> {
        // By the tree itself: `search` would turn the members into text and back, each time.
        let found = RUNTIME.with(|runtime| {
            let mut context = Context::new(self.0.expression.as_str(), runtime);
            jmespath::interpret(on, ast, &mut context)
        });
        found.map_err(|e| evaluation(&e))
    }

    /// The places of the members it selects, in its order, each once.
    ///
    /// # Errors
    /// A result that is no list, or whose elements are no members.
    pub fn select(&self, candidates: &Candidates) -> Result<Vec<usize>, Error> {
        let found = self.interpret(&candidates.0, self.0.expression.as_ast())?;
        let Variable::Array(list) = &*found else {
            return Err(Error::new("", format!("yields {}, no list of members", kind(&found))).hint(
                "a selector filters the list of members: \"[]\", \"[? pg_role == `replica` ]\", \"[0:1]\"",
            ));
        };
        let mut places: Vec<usize> = Vec::new();
        for element in list {
            let is = identity(element).ok_or_else(|| {
                Error::new("", format!("yields {} without pg_cluster and pg_seq, no member", kind(element)))
                    .hint("select whole members: \"[? … ]\", not \"[].name\"")
            })?;
            if let Some(place) = candidates.place(element, &is).filter(|p| !places.contains(p)) {
                places.push(place);
            }
        }
        Ok(places)
    }
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

fn identity(v: &Variable) -> Option<Identity<'_>> {
    let map = v.as_object()?;
    let cluster = map.get("pg_cluster")?.as_string()?.as_str();
    let seq = map.get("pg_seq")?;
    if let Variable::Number(n) = &**seq
        && let Some(seq) = n.as_u64()
    {
        return Some(Identity { cluster, seq });
    }
    let seq = seq.as_number().filter(|n| *n >= 0.0 && n.fract() == 0.0)?;
    // A sequence number is small; the cast of a checked whole number loses nothing.
    format!("{seq:.0}").parse().ok().map(|seq| Identity { cluster, seq })
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

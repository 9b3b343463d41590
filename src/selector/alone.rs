//! Selectors that can be asked of one member alone, and by the variables that they name: what mostly stands in an inventory.
//! A node's clusters have the same few selectors and their members the same few roles, so that an answer is remembered by
//! the variables that it came from.

use std::cell::RefCell;

use jmespath::ast::Ast;
use serde_json::Value;

use super::{Candidate, Selector};
use crate::error::Error;

/// Answers of one selector that are remembered: members differ in their roles and in little else that selectors name.
const ANSWERS: usize = 64;

/// Answers by the values of the variables that a selector names, in their order.
#[derive(Default)]
pub(super) struct Answers(RefCell<Vec<(Vec<Option<Value>>, bool)>>);

impl Answers {
    fn of(&self, values: &[Option<&Value>]) -> Option<bool> {
        let same = |known: &[Option<Value>]| known.iter().map(Option::as_ref).eq(values.iter().copied());
        self.0.borrow().iter().find(|(known, _)| same(known)).map(|(_, taken)| *taken)
    }

    /// Lists and maps are not kept: there is no end to their size.
    fn keep(&self, values: &[Option<&Value>], taken: bool) {
        let mut all = self.0.borrow_mut();
        if all.len() < ANSWERS && !values.iter().flatten().any(|v| v.is_array() || v.is_object()) {
            all.push((values.iter().map(|v| v.cloned()).collect(), taken));
        }
    }
}

impl Selector {
    /// Whether it selects a member of which `variable` tells the variables, whoever else is there. `None` of an expression
    /// that needs the whole list to tell, or variables that it does not name.
    ///
    /// # Errors
    /// As of `select`.
    pub fn takes<'v>(&self, variable: impl Fn(&str) -> Option<&'v Value>) -> Option<Result<bool, Error>> {
        let ast = self.0.expression.as_ast();
        if !self.only_named_variables() {
            return None;
        }
        if is_everybody(ast) {
            return Some(Ok(true));
        }
        let predicate = filter(ast)?;
        let values: Vec<Option<&Value>> = self.names().iter().map(|name| variable(name)).collect();
        if let Some(taken) = self.0.answers.of(&values) {
            return Some(Ok(taken));
        }
        let named = self.names().iter().zip(&values).filter_map(|(name, v)| Some((name.as_str(), (*v)?)));
        let taken = self.interpret(&Candidate::new(named, |_| true).0, predicate).map(|f| f.is_truthy());
        if let Ok(taken) = taken {
            self.0.answers.keep(&values, taken);
        }
        Some(taken)
    }
}

/// `[]` of a list of members: they are maps, and so there is nothing to flatten.
fn is_everybody(ast: &Ast) -> bool {
    let Ast::Projection { lhs, rhs, .. } = ast else { return false };
    let Ast::Flatten { node, .. } = &**lhs else { return false };
    matches!((&**node, &**rhs), (Ast::Identity { .. }, Ast::Identity { .. }))
}

/// What a filter of the whole list asks of each element, where an expression is one and nothing else.
fn filter(ast: &Ast) -> Option<&Ast> {
    let Ast::Projection { lhs, rhs, .. } = ast else { return None };
    match (&**lhs, &**rhs) {
        (Ast::Identity { .. }, Ast::Condition { predicate, then, .. })
            if matches!(**then, Ast::Identity { .. }) =>
        {
            Some(predicate)
        }
        _ => None,
    }
}

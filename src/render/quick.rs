//! The plain part of a template, made ready once: text, values, `if`, `each`, `with`, partials. A node of a thousand
//! clusters renders one template four thousand times, and a walk over these steps costs a tenth of what the engine takes,
//! which turns every view into JSON first. The templates themselves stay the only source: what is not plain in them, and
//! whatever goes wrong, is the engine's matter.

use handlebars::Handlebars;
use handlebars::template::{HelperTemplate, Parameter, Template, TemplateElement};

/// Partials in partials, at most.
const DEEPEST: usize = 8;

/// What a view has under a name.
pub enum Item<'a> {
    Text(&'a str),
    Number(u64),
    Flag(bool),
    Texts(&'a [String]),
    Views(&'a dyn Views),
    /// A view, where there is one.
    View(Option<&'a dyn View>),
}

/// Data of a template, by name.
pub trait View {
    /// `None` for a name that it does not have.
    fn item(&self, name: &str) -> Option<Item<'_>>;
}

/// Views of one kind.
pub trait Views {
    fn each(&self) -> Box<dyn Iterator<Item = &dyn View> + '_>;
    fn is_empty(&self) -> bool;
}

impl<V: View> Views for Vec<V> {
    fn each(&self) -> Box<dyn Iterator<Item = &dyn View> + '_> {
        Box::new(self.iter().map(|v| v as &dyn View))
    }
    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

/// A template as steps.
pub struct Steps(Vec<Step>);

enum Step {
    Text(String),
    Value(String),
    This,
    If { name: String, then: Steps, other: Steps },
    Each { name: String, body: Steps },
    With { name: String, body: Steps },
}

/// Where the walk is.
#[derive(Clone, Copy)]
enum Place<'a> {
    View(&'a dyn View),
    Text(&'a str),
}

impl Steps {
    /// Makes a template ready; `None` where something in it is not plain.
    pub fn of(engine: &Handlebars<'_>, name: &str) -> Option<Self> {
        steps(engine, engine.get_template(name)?, 0)
    }

    /// The text for a view; `None` where the engine has to say what is wrong.
    pub fn text(&self, view: &dyn View) -> Option<String> {
        let mut out = String::with_capacity(4096);
        walk(&self.0, Place::View(view), &mut out)?;
        Some(out)
    }
}

fn steps(engine: &Handlebars<'_>, template: &Template, depth: usize) -> Option<Steps> {
    if depth > DEEPEST {
        return None;
    }
    let mut all = Vec::new();
    for element in &template.elements {
        match element {
            TemplateElement::RawString(text) => all.push(Step::Text(text.clone())),
            TemplateElement::Expression(e) | TemplateElement::HtmlExpression(e) => all.push(value(e)?),
            TemplateElement::HelperBlock(block) => all.push(helper(engine, block, depth)?),
            TemplateElement::PartialExpression(p) => {
                let plain = p.params.is_empty() && p.hash.is_empty() && p.template.is_none();
                if !plain || p.indent.as_ref().is_some_and(|i| !i.is_empty()) {
                    return None;
                }
                let partial = engine.get_template(p.name.as_name()?)?;
                all.extend(steps(engine, partial, depth.saturating_add(1))?.0);
            }
            TemplateElement::Comment(_) => {}
            _ => return None,
        }
    }
    Some(Steps(all))
}

fn value(e: &HelperTemplate) -> Option<Step> {
    let plain = e.params.is_empty() && e.hash.is_empty() && !e.block;
    let name = plain.then(|| word(&e.name)).flatten()?;
    Some(if name == "this" { Step::This } else { Step::Value(name) })
}

fn helper(engine: &Handlebars<'_>, block: &HelperTemplate, depth: usize) -> Option<Step> {
    let [param] = block.params.as_slice() else { return None };
    let name = word(param).filter(|n| n != "this")?;
    if !block.hash.is_empty() || block.block_param.is_some() {
        return None;
    }
    let part = |template: &Option<Template>| match template {
        Some(t) => steps(engine, t, depth.saturating_add(1)),
        None => Some(Steps(Vec::new())),
    };
    let body = part(&block.template)?;
    match (block.name.as_name()?, &block.inverse) {
        ("if", inverse) => Some(Step::If { name, then: body, other: part(inverse)? }),
        ("each", None) => Some(Step::Each { name, body }),
        ("with", None) => Some(Step::With { name, body }),
        _ => None,
    }
}

/// A name that stands for itself: no path, no local variable, no literal.
fn word(p: &Parameter) -> Option<String> {
    let name = p.as_name()?;
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    plain.then(|| name.to_owned())
}

fn walk(steps: &[Step], place: Place<'_>, out: &mut String) -> Option<()> {
    let item = |name: &str| match place {
        Place::View(view) => view.item(name),
        Place::Text(_) => None,
    };
    for step in steps {
        match step {
            Step::Text(text) => out.push_str(text),
            Step::This => match place {
                Place::Text(text) => out.push_str(text),
                Place::View(_) => return None,
            },
            Step::Value(name) => match item(name)? {
                Item::Text(text) => out.push_str(text),
                Item::Number(n) => out.push_str(&n.to_string()),
                Item::Flag(yes) => out.push_str(if yes { "true" } else { "false" }),
                Item::Texts(_) | Item::Views(_) | Item::View(_) => return None,
            },
            Step::If { name, then, other } => {
                let way = if truthy(&item(name)?) { then } else { other };
                walk(&way.0, place, out)?;
            }
            Step::Each { name, body } => match item(name)? {
                Item::Texts(list) => list.iter().try_for_each(|t| walk(&body.0, Place::Text(t), out))?,
                Item::Views(list) => list.each().try_for_each(|v| walk(&body.0, Place::View(v), out))?,
                _ => return None,
            },
            Step::With { name, body } => match item(name)? {
                Item::View(Some(view)) => walk(&body.0, Place::View(view), out)?,
                _ => return None,
            },
        }
    }
    Some(())
}

/// As the engine has it: nothing, no, 0 and what is empty are not.
fn truthy(item: &Item<'_>) -> bool {
    match item {
        Item::Text(text) => !text.is_empty(),
        Item::Number(n) => *n != 0,
        Item::Flag(yes) => *yes,
        Item::Texts(list) => !list.is_empty(),
        Item::Views(list) => !list.is_empty(),
        Item::View(view) => view.is_some(),
    }
}

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use super::*;
use crate::render::Templates;

#[derive(Serialize)]
struct Outer {
    name: String,
    empty: String,
    number: u64,
    zero: u64,
    yes: bool,
    no: bool,
    texts: Vec<String>,
    none: Vec<String>,
    inners: Vec<Inner>,
    one: Option<Inner>,
}

#[derive(Serialize)]
struct Inner {
    name: String,
    texts: Vec<String>,
}

impl View for Outer {
    fn item(&self, name: &str) -> Option<Item<'_>> {
        Some(match name {
            "name" => Item::Text(&self.name),
            "empty" => Item::Text(&self.empty),
            "number" => Item::Number(self.number),
            "zero" => Item::Number(self.zero),
            "yes" => Item::Flag(self.yes),
            "no" => Item::Flag(self.no),
            "texts" => Item::Texts(&self.texts),
            "none" => Item::Texts(&self.none),
            "inners" => Item::Views(&self.inners),
            "one" => Item::View(self.one.as_ref().map(|v| v as &dyn View)),
            _ => return None,
        })
    }
}

impl View for Inner {
    fn item(&self, name: &str) -> Option<Item<'_>> {
        match name {
            "name" => Some(Item::Text(&self.name)),
            "texts" => Some(Item::Texts(&self.texts)),
            _ => None,
        }
    }
}

fn outer() -> Outer {
    let inner = |name: &str| Inner { name: name.into(), texts: vec![format!("{name}1"), "<&\">".into()] };
    Outer {
        name: "o\n<".into(),
        empty: String::new(),
        number: 12_345_678_901,
        zero: 0,
        yes: true,
        no: false,
        texts: vec!["a".into(), String::new(), "c".into()],
        none: Vec::new(),
        inners: vec![inner("x"), inner("y")],
        one: Some(inner("z")),
    }
}

fn engine(text: &str) -> Handlebars<'static> {
    let mut engine = Handlebars::new();
    engine.set_strict_mode(true);
    engine.register_escape_fn(handlebars::no_escape);
    engine
        .register_template_string("part", "part {{name}}\n{{#each texts}}\n  {{{this}}}\n{{/each}}\n")
        .unwrap();
    engine.register_template_string("t", text).unwrap();
    engine
}

const PLAIN: [&str; 11] = [
    "",
    "a {{name}} b {{{name}}} {{number}} {{yes}} {{no}}{{empty}}|\n",
    "{{#if yes}}\nyes\n{{else}}\nno\n{{/if}}\n",
    "{{#if no}}yes{{else}}no{{/if}} {{#if zero}}yes{{else}}no{{/if}} {{#if number}}yes{{/if}}",
    "{{#if empty}}a{{else if none}}b{{else if name}}c{{else}}d{{/if}}\n",
    "  {{#if inners}}\n  some\n  {{/if}}\nend\n",
    "{{#each texts}}\n    {{this}}\n{{/each}}\n",
    "{{#each none}}\n    {{this}}\n{{/each}}\nx",
    "{{#each inners}}\n\n{{name}}:\n{{#each texts}}\n  - {{this}}\n{{/each}}\n{{> part}}\n{{/each}}\n",
    "{{! a comment }}\n{{#with one}}\n{{> part}}\n{{/with}}\n{{name}}\n",
    "{{~#if yes~}}  a  {{~/if~}}\n b {{~name}} \\{{name}}\n",
];

#[test]
fn plain_templates_give_what_the_engine_gives() {
    for text in PLAIN {
        let engine = engine(text);
        let steps = Steps::of(&engine, "t").unwrap_or_else(|| panic!("not plain: {text}"));
        assert_eq!(steps.text(&outer()), engine.render("t", &outer()).ok(), "{text}");
    }
}

#[test]
fn what_is_not_plain_is_left_to_the_engine() {
    for text in [
        "{{#each inners}}{{../name}}{{/each}}",
        "{{#each texts}}{{@index}}{{/each}}",
        "{{#each texts}}a{{else}}b{{/each}}",
        "{{#each texts as |t|}}{{t}}{{/each}}",
        "{{#unless no}}a{{/unless}}",
        "{{lookup texts 0}}",
        "{{one.name}}",
        "{{> part name=\"x\"}}",
        "a\n  {{> part}}\n",
        "{{#if (eq number 1)}}a{{/if}}",
    ] {
        assert!(Steps::of(&engine(text), "t").is_none(), "{text}");
    }
}

#[test]
fn what_goes_wrong_is_told_by_the_engine() {
    for text in ["{{nothing}}", "{{#each texts}}{{name}}{{/each}}", "{{texts}}", "{{#with none}}a{{/with}}"] {
        let steps = Steps::of(&engine(text), "t").unwrap_or_else(|| panic!("not plain: {text}"));
        assert_eq!(steps.text(&outer()), None, "{text}");
    }
}

#[test]
fn the_template_of_a_service_is_plain() {
    assert!(Templates::new(&BTreeMap::new()).unwrap().service.is_some());
}

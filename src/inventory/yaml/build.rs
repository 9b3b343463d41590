//! The parser's events into the tree: tags, anchors, merges and every limit. Spellings are `scalar`'s matter.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::Value;

use super::tag::{name, wrap};
use super::{ALIAS_BUDGET, At, Document, Entry, MAX_DEPTH, Node, entries, hint, scalar};
use crate::error::Error;

/// What a collection's tag makes of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Plain,
    Unsafe,
    Set,
}

/// A key that waits for its value.
enum Key {
    Text { key: String, text: bool, at: At },
    Merge,
}

enum Inside {
    List(Vec<Node>),
    Map { merged: Vec<Entry>, own: Vec<Entry>, key: Option<Key> },
}

struct Frame {
    at: At,
    anchor: usize,
    shape: Shape,
    inside: Inside,
}

pub struct Builder<'a> {
    file: &'a str,
    text: &'a str,
    lines: usize,
    stack: Vec<Frame>,
    anchors: BTreeMap<usize, Node>,
    /// What aliases have expanded to so far.
    spent: u64,
    /// How many of the open collections are `!unsafe`.
    unsafes: usize,
    root: Option<Node>,
    warnings: Vec<String>,
}

impl<'a> Builder<'a> {
    pub fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            lines: text.lines().count(),
            stack: Vec::new(),
            anchors: BTreeMap::new(),
            spent: 0,
            unsafes: 0,
            root: None,
            warnings: Vec::new(),
        }
    }

    pub fn run(mut self) -> Result<Document, Error> {
        let mut parser = Parser::new(StrInput::new(self.text));
        let mut documents = 0_usize;
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| hint::broken(self.file, self.text, &error))?;
            let at = hint::at(&span.start);
            let event = self.unbroken(event, &span);
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) => {
                    documents = documents.saturating_add(1);
                    if documents > 1 {
                        return Err(self.error(at, "a second document in the file").hint(
                            "an inventory or variables file holds one: remove the line '---' in the middle, or split the file",
                        ));
                    }
                }
                event => self.event(event, at)?,
            }
        }
        Ok(Document { root: self.root, json: false, warnings: self.warnings })
    }

    /// A block scalar that ends with the file, without a line break there, has none at its own end either.
    fn unbroken<'e>(&self, event: Event<'e>, span: &Span) -> Event<'e> {
        let Event::Scalar(text, style @ (ScalarStyle::Literal | ScalarStyle::Folded), anchor, tag) = event
        else {
            return event;
        };
        let end = self.text.rsplit('\n').next().unwrap_or_default();
        let last = !end.trim().is_empty() && span.end.line() >= self.lines;
        let text = match text.strip_suffix('\n') {
            Some(shorter) if last => shorter.to_owned().into(),
            _ => text,
        };
        Event::Scalar(text, style, anchor, tag)
    }

    fn error(&self, at: At, what: impl Into<String>) -> Error {
        Error::new(at.text(self.file), what)
    }

    fn event(&mut self, event: Event<'_>, at: At) -> Result<(), Error> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                // `<<` merges only as it stands; in quotes it is a key like any other.
                if style == ScalarStyle::Plain && tag.is_none() && text == "<<" && self.wants_key() {
                    self.set_key(Key::Merge);
                    return Ok(());
                }
                if style == ScalarStyle::Plain && tag.is_none() && text.is_empty() && self.wants_key() {
                    return Err(self.error(at, "a key without a name").hint("write one before the ':'"));
                }
                let value = self.scalar(&text, style, tag.as_deref(), at)?;
                self.place(Node::scalar(at, value), anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(self
                        .error(at, "an alias inside the value that it names")
                        .hint("values cannot contain themselves"));
                };
                self.spent = self.spent.saturating_add(node.weight);
                if self.spent > ALIAS_BUDGET {
                    return Err(self
                        .error(at, "the aliases of this file expand to too much")
                        .hint("write the values out, or keep them in group_vars"));
                }
                self.place(node, 0)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(at, anchor, tag.as_deref(), Inside::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                let inside = Inside::Map { merged: Vec::new(), own: Vec::new(), key: None };
                self.open(at, anchor, tag.as_deref(), inside)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            _ => Ok(()),
        }
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: At) -> Result<Value, Error> {
        let quote = |what: String| self.error(at, what).hint("quote it if it is meant as text");
        let name = tag.map(name);
        let value = match name.as_deref() {
            None if style == ScalarStyle::Plain => scalar::plain(text).map_err(quote)?,
            None => Value::String(text.to_owned()),
            Some("!") if text.is_empty() => Value::String(String::new()),
            // Ansible resolves these as if they stood without quotes: `!unsafe "12"` is a number.
            Some("!" | "!unsafe") => scalar::plain(text).map_err(quote)?,
            Some("!vault" | "!vault-encrypted") => match scalar::plain(text).map_err(quote)? {
                Value::String(text) => return Ok(wrap("__ansible_vault", text)),
                _ => {
                    return Err(self
                        .error(at, "!vault needs the encrypted text")
                        .hint("write it as `!vault |` and the lines below"));
                }
            },
            Some(tag) => match tag.strip_prefix("!!").and_then(|tag| scalar::tagged(tag, text)) {
                Some(value) => value.map_err(|what| self.error(at, format!("{what}, as {tag} wants it")))?,
                None => return Err(self.unknown(tag, at)),
            },
        };
        Ok(match value {
            Value::String(text) if self.unsafes > 0 || name.as_deref() == Some("!unsafe") => {
                if self.wants_key() { Value::String(text) } else { wrap("__ansible_unsafe", text) }
            }
            value => value,
        })
    }

    fn unknown(&self, tag: &str, at: At) -> Error {
        self.error(at, format!("the tag {tag} is not read here"))
            .hint("Ansible's are !vault and !unsafe; a value that begins with ! must be quoted")
    }

    fn open(&mut self, at: At, anchor: usize, tag: Option<&Tag>, inside: Inside) -> Result<(), Error> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(self
                .error(at, format!("nested deeper than {MAX_DEPTH} levels"))
                .hint("is a bracket never closed?"));
        }
        if self.wants_key() {
            return Err(self
                .error(at, "a mapping or a list as a key")
                .hint("a value that begins with {{ must be quoted: \"{{ … }}\""));
        }
        let list = matches!(inside, Inside::List(_));
        let shape = match tag.map(name).as_deref() {
            None | Some("!") => Shape::Plain,
            Some("!unsafe") => Shape::Unsafe,
            Some("!!seq") if list => Shape::Plain,
            Some("!!map") if !list => Shape::Plain,
            Some("!!set") if !list => Shape::Set,
            Some("!vault") => {
                return Err(self
                    .error(at, "!vault needs the encrypted text")
                    .hint("write it as `!vault |` and the lines below"));
            }
            Some(tag) => return Err(self.unknown(tag, at)),
        };
        if shape == Shape::Unsafe {
            self.unsafes = self.unsafes.saturating_add(1);
        }
        self.stack.push(Frame { at, anchor, shape, inside });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        if frame.shape == Shape::Unsafe {
            self.unsafes = self.unsafes.saturating_sub(1);
        }
        let node = match frame.inside {
            Inside::List(items) => Node::list(frame.at, items),
            Inside::Map { merged, own, .. } => {
                let entries = entries::join(self.file, merged, own, &mut self.warnings);
                if frame.shape == Shape::Set {
                    let keys = entries.into_iter().map(|e| Node::scalar(e.at, Value::String(e.key)));
                    Node::list(frame.at, keys.collect())
                } else {
                    Node::map(frame.at, entries)
                }
            }
        };
        self.place(node, frame.anchor)
    }

    fn wants_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { inside: Inside::Map { key: None, .. }, .. }))
    }

    fn set_key(&mut self, new: Key) {
        if let Some(Frame { inside: Inside::Map { key, .. }, .. }) = self.stack.last_mut() {
            *key = Some(new);
        }
    }

    /// Puts a finished value where the innermost open collection expects one.
    fn place(&mut self, node: Node, anchor: usize) -> Result<(), Error> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        if self.wants_key() {
            let super::Data::Scalar(value) = &node.data else {
                return Err(self.error(node.at, "a mapping or a list as a key").hint("a key is a name"));
            };
            let (key, text) = scalar::key(value);
            self.set_key(Key::Text { key, text, at: node.at });
            return Ok(());
        }
        let merging = match self.stack.last_mut().map(|frame| &mut frame.inside) {
            None => {
                self.root = Some(node);
                return Ok(());
            }
            Some(Inside::List(items)) => {
                items.push(node);
                return Ok(());
            }
            Some(Inside::Map { own, key, .. }) => match key.take() {
                Some(Key::Text { key, text, at }) => {
                    own.push(Entry { key, text, at, value: node });
                    return Ok(());
                }
                _ => node,
            },
        };
        let found = self.merge(&merging)?;
        if let Some(Frame { inside: Inside::Map { merged, .. }, .. }) = self.stack.last_mut() {
            merged.extend(found);
        }
        Ok(())
    }

    /// The entries behind `<<`: of a mapping, or of a list of them, where the first one wins.
    fn merge(&mut self, node: &Node) -> Result<Vec<Entry>, Error> {
        let maps: Vec<&Node> = match node.as_list() {
            Some(items) => items.iter().rev().collect(),
            None => vec![node],
        };
        let mut found = Vec::new();
        for map in maps {
            let Some(entries) = map.as_map() else {
                return Err(self
                    .error(map.at, format!("<< merges mappings, this is {}", map.kind()))
                    .hint("name a mapping by its anchor, or a list of such"));
            };
            found.extend(entries.iter().cloned());
        }
        Ok(found)
    }
}

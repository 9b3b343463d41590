//! A selector as text: what parses but means something else, the reference text's legacy literals, the names it mentions.
//! Nothing is compiled or evaluated here.

use serde_json::Value;

use super::FUNCTIONS;
use crate::error::Error;

/// An expression longer than this is refused: the parser recurses.
const LONGEST: usize = 4096;
/// Operators and brackets in an expression: each may be a level of recursion, and more could exhaust the stack.
const MOST_OPERATORS: usize = 200;

/// What parses, but means something else than was written.
pub(super) fn refuse_traps(text: &str) -> Result<(), Error> {
    if text.len() > LONGEST {
        return Err(
            Error::new("", format!("is {} characters long", text.len())).hint(format!("at most {LONGEST}"))
        );
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
                return Err(Error::new(
                    "",
                    format!("'[ ]' at column {} selects nobody", column(text, open_at.unwrap_or(0))),
                )
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

pub(super) fn column(text: &str, offset: usize) -> usize {
    text.get(..offset).map_or(1, |head| head.chars().count().saturating_add(1))
}

/// JMESPath's legacy literals: `` `primary` `` means `'primary'`. Valid JSON between backticks stays JSON.
pub(super) fn rewrite_literals(text: &str) -> String {
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
pub(super) fn unknown_function(text: &str) -> Option<(String, usize)> {
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

/// A name outside of quotes, whether it is called as a function, and whether it is a condition by itself.
fn bare_names(text: &str) -> Vec<(String, bool, bool)> {
    let plain: Vec<char> = outside_quotes(text).map(|(_, c)| c).filter(|c| !c.is_whitespace()).collect();
    let word = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    let mut names = Vec::new();
    let mut rest = plain.as_slice();
    while let Some((first, after)) = rest.split_first() {
        if !word(first) {
            rest = after;
            continue;
        }
        let (before, _) = plain.split_at(plain.len().saturating_sub(rest.len()));
        let (name, after) = rest.split_at(rest.iter().take_while(|c| word(c)).count());
        let asked = match before {
            [.., '?' | '!'] | [.., '&', '&'] | [.., '|', '|'] => true,
            [.., c, '('] => !word(c),
            _ => false,
        };
        let ends = matches!(after, [] | [']' | ')' | '&' | '|', ..]);
        if !first.is_ascii_digit() {
            names.push((name.iter().collect(), after.first() == Some(&'('), asked && ends));
        }
        rest = after;
    }
    names
}

/// The variables an expression names outside of quotes: no functions.
pub fn variables(text: &str) -> Vec<String> {
    let calls: Vec<String> =
        bare_names(text).into_iter().filter(|(_, call, _)| *call).map(|(n, ..)| n).collect();
    identifiers(text).into_iter().filter(|n| !calls.contains(n)).collect()
}

/// The variables that an expression takes for true or false.
pub fn truths(text: &str) -> Vec<String> {
    bare_names(text).into_iter().filter(|(_, _, alone)| *alone).map(|(n, ..)| n).collect()
}

/// JMESPath's quoted identifiers: `"pg_role"` is the variable, `'pg_role'` a text.
fn quoted(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((_, from)) = rest.find(['"', '\'', '`']).and_then(|i| rest.split_at_checked(i)) {
        let mut chars = from.chars();
        let Some((quote, end)) = chars.next().and_then(|q| Some((q, closing(chars.as_str(), q)?))) else {
            break;
        };
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

/// Whether an expression surely looks at no variables but those it names: comparisons of names with literals, and no
/// function, wildcard or whole member. In doubt it is not so.
pub(super) fn only_named_variables(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c.is_whitespace() || "_[]?!=<>&|\",.:-".contains(c);
    !text.contains('"') && outside_quotes(text).all(|(_, c)| plain(c))
}

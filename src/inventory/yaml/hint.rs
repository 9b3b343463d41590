//! What a file's text must be before it is parsed, and what helps when it does not parse.

use saphyr_parser::{Marker, ScanError};

use super::At;
use crate::error::Error;

/// The text of a file: UTF-8, a byte order mark left out.
///
/// # Errors
/// The place of the first byte that is none.
pub fn text<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, Error> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let at = position(&String::from_utf8_lossy(good));
        Error::new(at.text(file), "a byte that is no UTF-8").hint("save the file as UTF-8 text")
    })
}

/// Refuses what YAML refuses; a NUL would end the text without a word.
pub fn printable(file: &str, text: &str) -> Result<(), Error> {
    let odd = |c: char| matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\x7f'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}');
    let Some((offset, c)) = text.char_indices().find(|(_, c)| odd(*c)) else { return Ok(()) };
    let at = position(text.get(..offset).unwrap_or_default());
    Err(Error::new(at.text(file), format!("the control character U+{:04X}", u32::from(c)))
        .hint("YAML allows none; write it as an escape in double quotes, or save the file as text"))
}

/// A place of the parser's, which counts columns from 0.
pub fn at(marker: &Marker) -> At {
    At { line: marker.line(), column: marker.col().saturating_add(1) }
}

/// Where the text ends.
fn position(text: &str) -> At {
    let line = text.bytes().filter(|b| *b == b'\n').count().saturating_add(1);
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
    At { line, column }
}

/// The parser's complaint, with what usually causes it on that line.
pub fn broken(file: &str, text: &str, error: &ScanError) -> Error {
    let at = at(error.marker());
    let line = text.lines().nth(at.line.saturating_sub(1)).unwrap_or_default();
    let above = text.lines().nth(at.line.saturating_sub(2)).unwrap_or_default();
    Error::new(at.text(file), format!("broken YAML: {}", error.info())).hint(cause(error.info(), line, above))
}

fn cause(info: &str, line: &str, above: &str) -> &'static str {
    let indent = |text: &str| text.len().saturating_sub(text.trim_start().len());
    let tab = |text: &str| text.get(..indent(text)).is_some_and(|margin| margin.contains('\t'));
    if tab(line) || tab(above) {
        "indent with spaces: YAML allows no tabs there"
    } else if bare_jinja(line) || bare_jinja(above) {
        "a value that begins with {{ must be quoted: \"{{ … }}\""
    } else if info.contains("comments must be separated") {
        "put a space before the #; or quote the value, if the # belongs to it"
    } else if info.contains("mapping values are not allowed") || line.matches(": ").count() > 1 {
        "a value that contains ': ' must be quoted; or the line is indented too far"
    } else if info.contains("quoted") || info.contains("end of stream") {
        "a quote or a bracket is never closed; look at this line and above"
    } else if info.contains("anchor") || info.contains("alias") {
        "an alias needs its anchor above it; a value that begins with * or & must be quoted"
    } else if info.contains("cannot start any token") || line.trim_start().starts_with(['@', '`', '%']) {
        "a value that begins with @, `, % or another special character must be quoted"
    } else {
        "check the indentation and the quotes of this line and the one above"
    }
}

fn bare_jinja(line: &str) -> bool {
    let value = line.split_once(": ").map_or(line, |(_, value)| value);
    value.trim_start().trim_start_matches("- ").starts_with("{{")
}

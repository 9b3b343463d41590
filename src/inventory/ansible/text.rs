//! Python's string literals: prefixes, quotes and escapes. Nothing else may live here.

/// A string literal at the start of the text: its value, whether it is of bytes, and what follows it.
pub fn literal(source: &str) -> Option<(String, bool, &str)> {
    let letters = source.find(['\'', '"']).filter(|end| *end <= 2)?;
    let (prefix, rest) = source.split_at_checked(letters)?;
    let prefix = prefix.to_ascii_lowercase();
    if !matches!(prefix.as_str(), "" | "u" | "r" | "b" | "br" | "rb") {
        return None;
    }
    let (raw, bytes) = (prefix.contains('r'), prefix.contains('b'));
    let quote = ["'''", "\"\"\"", "'", "\""].into_iter().find(|quote| rest.starts_with(quote))?;
    let mut rest = rest.strip_prefix(quote)?;
    let mut value = String::new();
    loop {
        if let Some(after) = rest.strip_prefix(quote) {
            return (!bytes || value.is_ascii()).then_some((value, bytes, after));
        }
        let c = rest.chars().next()?;
        rest = rest.get(c.len_utf8()..)?;
        if c != '\\' {
            value.push(c);
        } else if raw {
            let escaped = rest.chars().next()?;
            value.extend(['\\', escaped]);
            rest = rest.get(escaped.len_utf8()..)?;
        } else {
            rest = escape(rest, bytes, &mut value)?;
        }
    }
}

/// What stands behind a backslash; the text after it.
fn escape<'a>(rest: &'a str, bytes: bool, value: &mut String) -> Option<&'a str> {
    let c = rest.chars().next()?;
    let after = rest.get(c.len_utf8()..)?;
    let simple = match c {
        '\\' | '\'' | '"' => c,
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '0'..='7' => {
            let count = rest.bytes().take(3).take_while(|b| matches!(b, b'0'..=b'7')).count();
            return coded(rest, count, 8, value);
        }
        'x' => return coded(after, 2, 16, value),
        'u' if !bytes => return coded(after, 4, 16, value),
        'U' if !bytes => return coded(after, 8, 16, value),
        // Names of characters are a table of a megabyte.
        'N' if !bytes => return None,
        other => {
            value.push('\\');
            other
        }
    };
    value.push(simple);
    Some(after)
}

fn coded<'a>(rest: &'a str, digits: usize, radix: u32, value: &mut String) -> Option<&'a str> {
    let (code, after) = rest.split_at_checked(digits)?;
    let valid = code.chars().all(|c| c.is_digit(radix));
    value.push(valid.then(|| u32::from_str_radix(code, radix).ok().and_then(char::from_u32)).flatten()?);
    Some(after)
}

//! A line into words as Python's `shlex.split(line, comments=True)` does it. What the words mean may not live here.

/// The words of a line.
///
/// # Errors
/// A quote that is never closed, or a backslash at the end.
pub fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            // Even inside a word: `a=b#c` ends at the mark.
            '#' => break,
            '\'' => quoted(&mut rest, word.get_or_insert_default())?,
            '"' => double(&mut rest, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(rest.next().ok_or("a backslash at the end")?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

const OPEN: &str = "a quote that is never closed";

fn quoted(rest: &mut impl Iterator<Item = char>, word: &mut String) -> Result<(), &'static str> {
    for c in rest {
        if c == '\'' {
            return Ok(());
        }
        word.push(c);
    }
    Err(OPEN)
}

/// In double quotes a backslash escapes itself and the quote, and stays before anything else.
fn double(rest: &mut impl Iterator<Item = char>, word: &mut String) -> Result<(), &'static str> {
    while let Some(c) = rest.next() {
        match c {
            '"' => return Ok(()),
            '\\' => match rest.next().ok_or(OPEN)? {
                c @ ('"' | '\\') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
    Err(OPEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_split_as_a_shell_would() {
        let cases: [(&str, &[&str]); 6] = [
            ("h a=1  b=2 # rest", &["h", "a=1", "b=2"]),
            ("h a=\"x y\" b='it\"s' c=\"\\\"q\\\" \\n\"", &["h", "a=x y", "b=it\"s", "c=\"q\" \\n"]),
            ("h a=b#c d", &["h", "a=b"]),
            ("h a=\\ b ''", &["h", "a= b", ""]),
            ("h x=\"'1'\"", &["h", "x='1'"]),
            ("", &[]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        assert!(split("h a='x").is_err() && split("h a=\"x\\").is_err() && split("h \\").is_err());
    }
}

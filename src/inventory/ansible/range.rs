//! Host patterns: `db[01:03].example.com:5433` into names and a port. Who the hosts are may not live here.

use std::net::Ipv6Addr;

/// As many hosts as one pattern may make; ten times the largest inventory seen.
const MOST: usize = 100_000;
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The names of a pattern, and the port behind it.
///
/// # Errors
/// What is wrong with its ranges.
pub fn expand(pattern: &str) -> Result<(Vec<String>, Option<u64>), String> {
    let (base, port) = match split_port(pattern) {
        (base, port) if is_address(base) => (base, port),
        _ => (pattern, None),
    };
    let mut names = Vec::new();
    ranges(base, &mut names, 0)?;
    Ok((names, port))
}

/// The port of `[address]:port` or `name:port`.
fn split_port(pattern: &str) -> (&str, Option<u64>) {
    let Some((base, digits)) = pattern.rsplit_once(':') else { return (pattern, None) };
    let Some(port) = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten() else {
        return (pattern, None);
    };
    match base.strip_prefix('[').and_then(|b| b.strip_suffix(']')) {
        // The brackets of an address; the ones of a range have no port of their own inside.
        Some(inner) if is_address(inner) => (inner, Some(port)),
        // `[1:3]:22` is neither to Ansible; it makes hosts of all of it.
        Some(_) => (pattern, None),
        _ if outside(base).is_some_and(|rest| !rest.contains(':')) => (base, Some(port)),
        _ => (pattern, None),
    }
}

/// The text outside of `[…]`; `None` where the brackets do not pair.
fn outside(text: &str) -> Option<String> {
    let mut rest = text;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once('[') {
        kept.push_str(before);
        rest = after.split_once(']')?.1;
    }
    kept.push_str(rest);
    (!kept.contains(']')).then_some(kept)
}

/// What Ansible takes for an address: a host name with ranges, or an IPv6 address with ranges.
fn is_address(text: &str) -> bool {
    let Some(plain) = with_ranges_as(text, "1") else { return false };
    plain.parse::<Ipv6Addr>().is_ok()
        || plain.split('.').all(|label| {
            label.starts_with(|c: char| c.is_alphanumeric() || c == '_')
                && !label.ends_with(['-', '_'])
                && label.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
        })
}

/// The text with every well-formed range replaced.
fn with_ranges_as(text: &str, by: &str) -> Option<String> {
    let mut rest = text;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once('[') {
        let (range, after) = after.split_once(']')?;
        let bounds: Vec<&str> = range.split(':').collect();
        let digits = |b: &str| !b.is_empty() && b.bytes().all(|b| b.is_ascii_digit());
        let hex = |b: &str| !b.is_empty() && b.bytes().all(|b| b.is_ascii_hexdigit());
        let letter = |b: &str| matches!(b.as_bytes(), [b] if b.is_ascii_alphabetic());
        let colons = text.split(['[', ']']).step_by(2).any(|part| part.contains(':'));
        let pair =
            |a: &str, b: &str| digits(a) && digits(b) || letter(a) && letter(b) || colons && hex(a) && hex(b);
        match bounds.as_slice() {
            [a, b] if pair(a, b) => {}
            [a, b, step] if pair(a, b) && digits(step) => {}
            _ => return None,
        }
        kept.push_str(before);
        kept.push_str(by);
        rest = after;
    }
    kept.push_str(rest);
    Some(kept)
}

/// Expands the first range, and then what is left, as Ansible does.
fn ranges(line: &str, names: &mut Vec<String>, depth: usize) -> Result<(), String> {
    let Some((head, rest)) = line.split_once('[') else {
        if names.len() >= MOST {
            return Err(format!("makes more than {MOST} hosts"));
        }
        names.push(line.to_owned());
        return Ok(());
    };
    let Some((range, tail)) = rest.split_once(']') else {
        return Err("has a '[' that is never closed".to_owned());
    };
    if head.contains(']') {
        return Err("has a ']' before its '['".to_owned());
    }
    if depth > 8 {
        return Err("has more than 8 ranges".to_owned());
    }
    for item in sequence(range)? {
        ranges(&format!("{head}{item}{tail}"), names, depth.saturating_add(1))?;
    }
    Ok(())
}

fn sequence(range: &str) -> Result<Vec<String>, String> {
    let bounds: Vec<&str> = range.split(':').collect();
    let (begin, end, step) = match bounds.as_slice() {
        [begin, end] => (*begin, *end, "1"),
        [begin, end, step] => (*begin, *end, *step),
        _ => return Err(format!("has the range [{range}], which is neither begin:end nor begin:end:step")),
    };
    let begin = if begin.is_empty() { "0" } else { begin };
    if end.is_empty() {
        return Err(format!("has the range [{range}] without an end"));
    }
    let width = if begin.len() > 1 && begin.starts_with('0') { begin.len() } else { 0 };
    if width > 0 && width != end.len() {
        return Err(format!("has the range [{range}], whose begin and end are not equally long"));
    }
    let step: usize = step
        .parse()
        .ok()
        .filter(|s| *s > 0)
        .ok_or_else(|| format!("has the range [{range}], whose step is no number from 1"))?;
    if let (Some(from), Some(to)) = (LETTERS.find(begin), LETTERS.find(end)) {
        if from > to {
            return Err(format!("has the range [{range}], which ends before it begins"));
        }
        return Ok(LETTERS
            .chars()
            .skip(from)
            .take(to.saturating_sub(from).saturating_add(1))
            .step_by(step)
            .map(String::from)
            .collect());
    }
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|_| format!("has the range [{range}], which is neither of numbers nor of letters"))
    };
    let (from, to) = (number(begin)?, number(end)?);
    if from > to {
        // Ansible makes no host of it and says nothing; nobody means that.
        return Err(format!("has the range [{range}], which ends before it begins"));
    }
    if to.abs_diff(from) / u64::try_from(step).unwrap_or(u64::MAX) >= MOST as u64 {
        return Err(format!("makes more than {MOST} hosts"));
    }
    Ok((from..=to).step_by(step).map(|n| format!("{n:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str) -> Vec<String> {
        expand(pattern).unwrap().0
    }

    #[test]
    fn ranges_of_numbers_and_letters_expand() {
        assert_eq!(names("node[1:3]"), ["node1", "node2", "node3"]);
        assert_eq!(names("n[01:10:4].x"), ["n01.x", "n05.x", "n09.x"]);
        assert_eq!(names("n[a:c]"), ["na", "nb", "nc"]);
        assert_eq!(names("n[y:B]"), ["ny", "nz", "nA", "nB"]);
        assert_eq!(names("n[:1][a:b]"), ["n0a", "n0b", "n1a", "n1b"]);
        assert_eq!(names("n[8:11]"), ["n8", "n9", "n10", "n11"]);
        assert_eq!(names("plain"), ["plain"]);
    }

    #[test]
    fn a_port_is_taken_off_a_name_and_a_bracketed_address_but_not_off_an_address() {
        assert_eq!(expand("db[1:2]:22"), Ok((vec!["db1".to_owned(), "db2".to_owned()], Some(22))));
        assert_eq!(expand("[fe80::1]:22"), Ok((vec!["fe80::1".to_owned()], Some(22))));
        assert_eq!(expand("fe80::1"), Ok((vec!["fe80::1".to_owned()], None)));
        assert_eq!(expand("10.0.0.1:5433"), Ok((vec!["10.0.0.1".to_owned()], Some(5433))));
        assert_eq!(expand("bad-:22"), Ok((vec!["bad-:22".to_owned()], None)));
    }

    #[test]
    fn a_range_that_makes_no_sense_is_an_error() {
        for pattern in [
            "n[1:",
            "n[1]",
            "n[1:2:3:4]",
            "n[1:]",
            "n[01:100]",
            "n[c:a]",
            "n[3:1]",
            "n[1:x]",
            "n[1:9:0]",
            "n[0:99999999]",
        ] {
            assert!(expand(pattern).is_err(), "{pattern}");
        }
        assert!(expand("n[0:9999][0:9999]").is_err());
    }
}

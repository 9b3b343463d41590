//! Timestamps: PyYAML makes dates of them, Ansible's JSON writes those in ISO form. Nothing else may live here.

/// What a plain scalar is, as a timestamp.
#[derive(Debug, PartialEq, Eq)]
pub enum Timestamp {
    /// Not of that form.
    No,
    /// Of that form, and a date that exists, in ISO form.
    Date(String),
    /// Of that form, but not in any calendar.
    Impossible,
}

/// Reads `2024-01-02`, `2001-12-14 21:59:43.10 -5`, `2001-12-14t21:59:43Z` and the like.
pub fn read(text: &str) -> Timestamp {
    let Some((date, rest)) = date(text) else { return Timestamp::No };
    if rest.is_empty() {
        // A date alone has two digits throughout; `2024-1-2` is a string.
        return if text.len() == 10 { check(date, None) } else { Timestamp::No };
    }
    match time(rest) {
        Some(time) => check(date, Some(time)),
        None => Timestamp::No,
    }
}

struct Time {
    hour: u32,
    minute: u32,
    second: u32,
    micro: u32,
    /// Minutes east of Greenwich.
    zone: Option<i32>,
}

fn date(text: &str) -> Option<((u32, u32, u32), &str)> {
    let (year, rest) = digits(text, 4, 4)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 1, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 1, 2)?;
    Some(((year, month, day), rest))
}

fn time(text: &str) -> Option<Time> {
    let rest = match text.strip_prefix(['T', 't']) {
        Some(rest) => rest,
        None if text.starts_with([' ', '\t']) => text.trim_start_matches([' ', '\t']),
        None => return None,
    };
    let (hour, rest) = digits(rest, 1, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(':')?, 2, 2)?;
    let (second, rest) = digits(rest.strip_prefix(':')?, 2, 2)?;
    let (micro, rest) = match rest.strip_prefix('.') {
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (fraction, rest) = rest.split_at(end);
            let six: String = fraction.chars().chain("000000".chars()).take(6).collect();
            (six.parse().ok()?, rest)
        }
        None => (0, rest),
    };
    Some(Time { hour, minute, second, micro, zone: zone(rest)? })
}

/// The outer `None` is a malformed zone, the inner one no zone at all.
#[allow(clippy::option_option)]
fn zone(text: &str) -> Option<Option<i32>> {
    if text.is_empty() {
        return Some(None);
    }
    let text = text.trim_start_matches([' ', '\t']);
    if text == "Z" {
        return Some(Some(0));
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+')?),
    };
    let (hours, rest) = digits(rest, 1, 2)?;
    let (minutes, rest) = match rest.strip_prefix(':') {
        Some(rest) => digits(rest, 2, 2)?,
        None => (0, rest),
    };
    if !rest.is_empty() {
        return None;
    }
    let total = i32::try_from(hours.saturating_mul(60).saturating_add(minutes)).ok()?;
    Some(Some(total.saturating_mul(sign)))
}

/// At least `min` and at most `max` digits, and what follows them.
fn digits(text: &str, min: usize, max: usize) -> Option<(u32, &str)> {
    let count = text.bytes().take(max).take_while(u8::is_ascii_digit).count();
    if count < min {
        return None;
    }
    let (number, rest) = text.split_at_checked(count)?;
    Some((number.parse().ok()?, rest))
}

fn check((year, month, day): (u32, u32, u32), time: Option<Time>) -> Timestamp {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    };
    if year == 0 || day == 0 || day > days {
        return Timestamp::Impossible;
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    let Some(time) = time else { return Timestamp::Date(date) };
    let far = time.zone.is_some_and(|zone| zone.abs() >= 24 * 60);
    if time.hour > 23 || time.minute > 59 || time.second > 59 || far {
        return Timestamp::Impossible;
    }
    let mut iso = format!("{date}T{:02}:{:02}:{:02}", time.hour, time.minute, time.second);
    if time.micro > 0 {
        iso.push_str(&format!(".{:06}", time.micro));
    }
    if let Some(zone) = time.zone {
        let sign = if zone < 0 { '-' } else { '+' };
        iso.push_str(&format!("{sign}{:02}:{:02}", zone.abs() / 60, zone.abs() % 60));
    }
    Timestamp::Date(iso)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iso(text: &str) -> String {
        match read(text) {
            Timestamp::Date(iso) => iso,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_timestamp_reads_as_python_writes_it() {
        assert_eq!(iso("2024-01-02"), "2024-01-02");
        assert_eq!(iso("2001-12-14 21:59:43.10 -5"), "2001-12-14T21:59:43.100000-05:00");
        assert_eq!(iso("2001-12-14t21:59:43Z"), "2001-12-14T21:59:43+00:00");
        assert_eq!(iso("2001-1-4 1:02:03"), "2001-01-04T01:02:03");
    }

    #[test]
    fn what_is_no_date_stays_a_string_and_an_impossible_one_is_known() {
        for text in ["2024-1-2", "2024-01-02x", "2024-01-02 10:00", "10-01-02", "2024-01-02T1:1:1"] {
            assert_eq!(read(text), Timestamp::No, "{text}");
        }
        for text in ["2024-02-30", "2024-13-01", "0000-01-01", "2024-01-01 24:00:00"] {
            assert_eq!(read(text), Timestamp::Impossible, "{text}");
        }
    }
}

//! Numbers of bytes as Patroni reads them (3.0.2, `utils.parse_int`): a number as C reads one, perhaps a fraction, and
//! one of PostgreSQL's units. No state may be known here.

/// Units from the smallest, each with its bits.
const UNITS: [(&str, u32); 5] = [("B", 0), ("kB", 10), ("MB", 20), ("GB", 30), ("TB", 40)];

/// The bytes; `None` for what Patroni takes for no number, and so for no limit.
#[must_use]
pub fn size(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, rest) = whole(digits)?;
    if rest.starts_with('.') {
        return fraction(digits).and_then(|n| n.checked_mul(sign));
    }
    whole.checked_mul(sign)?.checked_mul(1 << bits(rest)?)
}

fn bits(unit: &str) -> Option<u32> {
    let unit = unit.trim();
    if unit.is_empty() { Some(0) } else { UNITS.iter().find(|(u, _)| *u == unit).map(|(_, bits)| *bits) }
}

/// A leading zero makes an octal number, `0x` one of base 16.
fn whole(text: &str) -> Option<(i64, &str)> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match hex {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_hexdigit()) => (rest, 16),
        _ if text.starts_with('0') => (text, 8),
        _ => (text, 10),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (number, rest) = digits.split_at_checked(end)?;
    if number.is_empty() && rest.starts_with('.') {
        return Some((0, rest));
    }
    Some((i64::from_str_radix(number, radix).ok()?, rest))
}

/// Rounded to the next smaller unit: 1.5MB is 1536kB.
fn fraction(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let bits = bits(unit)?;
    let smaller = bits.saturating_sub(10);
    let (before, after) = number.split_once('.').filter(|(_, after)| !after.is_empty())?;
    // Six digits are finer than the smaller unit.
    let after: String = after.chars().chain("000000".chars()).take(6).collect();
    let millionth: i64 = format!("{before}{after}").parse().ok()?;
    let scaled = millionth.checked_mul(1 << bits.saturating_sub(smaller))?;
    let rounded = scaled.checked_add(500_000)?.checked_div(1_000_000)?;
    rounded.checked_mul(1 << smaller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_as_patroni_reads_it() {
        // By Patroni 3.0.2's own parse_int(text, 'B').
        for (text, bytes) in [
            ("1", Some(1)),
            ("16MB", Some(16 << 20)),
            (" 16 MB ", Some(16 << 20)),
            ("+1kB", Some(1024)),
            ("-1kB", Some(-1024)),
            ("1.5MB", Some(1536 << 10)),
            ("0.5GB", Some(512 << 20)),
            (".5kB", Some(512)),
            ("0x10MB", Some(16 << 20)),
            ("010MB", Some(8 << 20)),
            ("08MB", None),
            ("10mb", None),
            ("soon", None),
            ("", None),
            ("1.5.5MB", None),
            ("1.", None),
        ] {
            assert_eq!(size(text), bytes, "{text:?}");
        }
    }
}

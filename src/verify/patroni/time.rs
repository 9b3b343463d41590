//! Points in time as Patroni and PostgreSQL print them → microseconds since the epoch. No clock here.

/// A point in time, with what its text was good for. It identifies an instance: a postmaster starts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartTime {
    /// Microseconds since 1970-01-01 00:00:00 UTC.
    pub micros: i64,
    /// How fine the text was, in microseconds: 1, or 1000 where Patroni 1.x and 2.0 print milliseconds.
    pub resolution: i64,
}

impl StartTime {
    pub fn exact(micros: i64) -> Self {
        Self { micros, resolution: 1 }
    }

    /// Whether this is the moment `micros`, as far as the text can tell.
    pub fn is(self, micros: i64) -> bool {
        micros.div_euclid(self.resolution.max(1)) == self.micros.div_euclid(self.resolution.max(1))
    }

    /// Reads `2023-08-18 11:03:37.966359+00:00` (Patroni since 2.1, by Python; no fraction when it is zero),
    /// `2023-08-18 11:03:37.966 UTC` (before, by PostgreSQL's `to_char`), `2023-08-18T11:03:37+02`, with offsets of
    /// hours, minutes and seconds. `None` for a zone that goes by a name other than UTC or GMT, as it fixes no moment.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (date, rest) = text.split_once([' ', 'T'])?;
        let zone_at = rest.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.')?;
        let (clock, zone) = rest.split_at_checked(zone_at)?;
        let [year, month, day] = triple(date, '-')?;
        let days = days_from_civil(year, month, day)?;
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
        let [hour, minute, second] = triple(clock, ':')?;
        // 60 is a leap second.
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?;
        // Only the named form stops at milliseconds; elsewhere missing digits are zeros.
        let resolution = if fraction.len() == 3 && zone.starts_with(' ') { 1000 } else { 1 };
        Some(Self { micros: seconds * 1_000_000 + micros(fraction)?, resolution })
    }
}

/// Three unsigned numbers, each of at most four digits.
fn triple(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(digits);
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

fn digits(text: &str) -> Option<i64> {
    let fine = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    fine.then(|| text.parse().ok())?
}

/// `966` → 966000; what is finer than a microsecond is cut off.
fn micros(fraction: &str) -> Option<i64> {
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    fraction
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(6)
        .try_fold(0_i64, |sum, b| sum.checked_mul(10)?.checked_add(i64::from(b.checked_sub(b'0')?)))
}

/// Seconds east of Greenwich.
fn offset(zone: &str) -> Option<i64> {
    let zone = zone.trim();
    if matches!(zone, "Z" | "UTC" | "GMT" | "Etc/UTC") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let mut seconds = 0;
    let mut parts = match rest.len() {
        // `+0200`
        4 if !rest.contains(':') => vec![rest.get(..2)?, rest.get(2..)?],
        _ => rest.split(':').collect(),
    }
    .into_iter();
    for unit in [3600, 60, 1] {
        let Some(part) = parts.next() else { break };
        seconds += digits(part)? * unit;
    }
    (parts.next().is_none() && seconds < 86_400).then_some(sign * seconds)
}

/// Days since 1970-01-01 in the Gregorian calendar; by Howard Hinnant's algorithm, years counted from March.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: i64 = 1_692_356_617_966_359;

    #[test]
    fn every_release_prints_the_same_moment() {
        for text in [
            "2023-08-18 11:03:37.966359+00:00",
            "2023-08-18 11:03:37.966359+00",
            "2023-08-18 11:03:37.966359 UTC",
            "2023-08-18T11:03:37.966359Z",
            "2023-08-18 13:03:37.966359+02:00",
            "2023-08-18 16:33:37.966359+0530",
            "2023-08-18 07:33:37.966359-03:30",
            " 2023-08-18 11:22:37.966359+00:19:00 ",
        ] {
            assert_eq!(StartTime::parse(text), Some(StartTime::exact(MOMENT)), "{text}");
        }
        let coarse = StartTime::parse("2023-08-18 11:03:37.966 UTC").unwrap();
        assert_eq!(coarse, StartTime { micros: MOMENT - 359, resolution: 1000 });
        assert!(coarse.is(MOMENT) && !coarse.is(MOMENT + 1000) && !coarse.is(MOMENT - 400));
        assert!(StartTime::exact(MOMENT).is(MOMENT) && !StartTime::exact(MOMENT).is(MOMENT + 1));
        assert_eq!(StartTime::parse("1970-01-01 00:00:00+00:00"), Some(StartTime::exact(0)));
        assert_eq!(StartTime::parse("2024-02-29 23:59:59+00"), Some(StartTime::exact(1_709_251_199_000_000)));
        assert_eq!(StartTime::parse("1969-12-31 23:59:59.5+00"), Some(StartTime::exact(-500_000)));
    }

    #[test]
    fn what_fixes_no_moment_is_none() {
        for text in [
            "",
            "now",
            "2023-08-18",
            "2023-08-18 11:03:37",
            "2023-08-18 11:03:37.966 CEST",
            "2023-13-18 11:03:37+00",
            "2023-08-18 25:03:37+00",
            "2023-08-18 11:03+00",
            "2023-08-18 11:03:37.9é+00",
            "2023-08-18 11:03:37+é",
            "99999-08-18 11:03:37+00",
            "2023-08-18 11:03:37+1:2:3:4",
        ] {
            assert_eq!(StartTime::parse(text), None, "{text}");
        }
    }
}

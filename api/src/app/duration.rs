//! Lengths of time in ISO 8601 form, such as `PT30S` or `P7D`.
//!
//! Shape   `P`, then weeks or days, then `T` with hours, minutes and seconds; each at most once and in this order.
//!         Only seconds take a fraction, of which milliseconds are kept. Years and months have no fixed length and
//!         are refused.
//! Source  ISO 8601-1:2019, 5.5.2.

use std::fmt::Write as _;
use std::time::Duration;

const DAY_S: u64 = 86_400;
/// Most digits of a number: more would be longer than any bound we set, and could overflow.
const DIGITS_MAX: usize = 12;

/// Why a text is not a length of time.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DurationError {
    /// Years or months.
    #[error("gives years or months, whose length varies; use days, such as `P30D`")]
    Calendar,
    /// Anything else.
    #[error("is not a duration of the form `PT30S`, `PT5M` or `P7D`")]
    Malformed,
}

/// Reads a duration.
///
/// # Errors
/// [`DurationError`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let rest = text.strip_prefix('P').ok_or(DurationError::Malformed)?;
    let (date, time) = match rest.split_once('T') {
        Some((_, "")) => return Err(DurationError::Malformed),
        Some((date, time)) => (date, time),
        None if rest.is_empty() => return Err(DurationError::Malformed),
        None => (rest, ""),
    };
    if date.contains(['Y', 'M']) {
        return Err(DurationError::Calendar);
    }
    let units = [('W', 7 * DAY_S), ('D', DAY_S)];
    let days = sum(date, &units)?;
    let time = sum(time, &[('H', 3_600), ('M', 60), ('S', 1)])?;
    days.checked_add(time).ok_or(DurationError::Malformed)
}

/// Reads `<number><unit>` parts whose units come in the given order.
fn sum(mut text: &str, mut units: &[(char, u64)]) -> Result<Duration, DurationError> {
    let mut total = Duration::ZERO;
    while !text.is_empty() {
        let end = text.find(|c: char| c.is_ascii_alphabetic()).ok_or(DurationError::Malformed)?;
        let (number, rest) = text.split_at(end);
        let place = units.iter().position(|unit| rest.starts_with(unit.0)).ok_or(DurationError::Malformed)?;
        let (unit, seconds) = units[place];
        let (whole, fraction) = match number.split_once(['.', ',']) {
            Some((whole, fraction)) if unit == 'S' => (whole, millis(fraction)?),
            Some(_) => return Err(DurationError::Malformed),
            None => (number, Duration::ZERO),
        };
        let part = digits(whole)?.checked_mul(seconds).ok_or(DurationError::Malformed)?;
        total = total.checked_add(Duration::from_secs(part) + fraction).ok_or(DurationError::Malformed)?;
        (text, units) = (&rest[1..], &units[place + 1..]);
    }
    Ok(total)
}

fn digits(text: &str) -> Result<u64, DurationError> {
    let well_formed = (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if well_formed { text.parse().map_err(|_| DurationError::Malformed) } else { Err(DurationError::Malformed) }
}

fn millis(fraction: &str) -> Result<Duration, DurationError> {
    digits(fraction)?;
    let kept: String = fraction.chars().chain("00".chars()).take(3).collect();
    digits(&kept).map(Duration::from_millis)
}

/// Prints a duration in its shortest form, down to milliseconds.
pub fn print(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    let mut text = "P".to_owned();
    let mut part = |number: u64, unit: char| {
        if number > 0 {
            write!(text, "{number}{unit}").unwrap_or_default();
        }
    };
    part(seconds / DAY_S, 'D');
    let in_day = seconds % DAY_S;
    if in_day == 0 && millis == 0 {
        return if seconds == 0 { "PT0S".to_owned() } else { text };
    }
    text.push('T');
    let mut part = |number: u64, unit: char| {
        if number > 0 {
            write!(text, "{number}{unit}").unwrap_or_default();
        }
    };
    part(in_day / 3_600, 'H');
    part(in_day / 60 % 60, 'M');
    match (in_day % 60, millis) {
        (0, 0) => {}
        (seconds, 0) => part(seconds, 'S'),
        (seconds, millis) => {
            let fraction = format!("{millis:03}");
            write!(text, "{seconds}.{}S", fraction.trim_end_matches('0')).unwrap_or_default();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_and_printed_in_its_shortest_form() {
        for (text, millis, shortest) in [
            ("PT0S", 0, "PT0S"),
            ("PT30S", 30_000, "PT30S"),
            ("PT90S", 90_000, "PT1M30S"),
            ("P7D", 604_800_000, "P7D"),
            ("P1W", 604_800_000, "P7D"),
            ("PT24H", 86_400_000, "P1D"),
            ("P1DT2H3M4.5S", 93_784_500, "P1DT2H3M4.5S"),
            ("PT0.05S", 50, "PT0.05S"),
            ("PT1,0009S", 1_000, "PT1S"),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(print(Duration::from_millis(millis)), shortest);
        }
    }

    #[test]
    fn years_and_months_are_refused_by_name() {
        for text in ["P1Y", "P1M", "P1Y2M3DT4H"] {
            assert_eq!(parse(text), Err(DurationError::Calendar), "{text}");
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        for text in [
            "",
            "P",
            "PT",
            "30",
            "PT30",
            "PTS",
            "P7",
            "P1DT",
            "PT1.5H",
            "PT1S2M",
            "PT1S1S",
            "-PT1S",
            "P-1D",
            " PT1S",
            "PT1s",
            "PT1.S",
            "PT9999999999999S",
            "PTéS",
        ] {
            assert_eq!(parse(text), Err(DurationError::Malformed), "{text}");
        }
    }
}

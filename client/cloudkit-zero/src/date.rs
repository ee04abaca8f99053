//! Dates of the wire: those of signatures, of `Date` and `Retry-After`.
//! Takes and gives seconds since 1970; years from 1970 to 9999.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970; zero before.
pub fn seconds_of(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A time of a signature: `YYYYMMDDTHHMMSSZ`, whose first eight digits are the day of the scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AmzDate([u8; 16]);

impl AmzDate {
    /// Of seconds since 1970.
    pub fn of(seconds: u64) -> AmzDate {
        let (year, month, day) = civil(seconds / DAY_SECONDS);
        let rest = seconds % DAY_SECONDS;
        let mut text = *b"00000000T000000Z";
        digits(&mut text[0..4], year);
        digits(&mut text[4..6], month);
        digits(&mut text[6..8], day);
        digits(&mut text[9..11], rest / 3600);
        digits(&mut text[11..13], rest / 60 % 60);
        digits(&mut text[13..15], rest % 60);
        AmzDate(text)
    }

    /// All sixteen characters.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The eight digits of the day.
    pub fn day(&self) -> &[u8] {
        &self.0[..8]
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        // Digits, T and Z only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Reads an HTTP date (RFC 9110 5.6.7): the fixed form, and the two old ones that a recipient must accept.
pub fn parse_http_date(text: &str) -> Option<u64> {
    let text = text.trim();
    if !text.is_ascii() || text.len() > 40 {
        return None;
    }
    let words: Vec<&str> = text.split([' ', ',', '-']).filter(|word| !word.is_empty()).collect();
    // `Sun Nov  6 08:49:37 1994` is the form of asctime; the others are `Sun, 06 Nov 1994 08:49:37 GMT` and
    // `Sunday, 06-Nov-94 08:49:37 GMT`.
    let (day, month, year, time) = match words.as_slice() {
        [_, month, day, time, year] => (day, month, year, time),
        [_, day, month, year, time, "GMT"] => (day, month, year, time),
        _ => return None,
    };
    let month = 1 + MONTHS.iter().position(|name| name == month)? as u64;
    let mut year_number = number(year)?;
    if year.len() == 2 {
        year_number += if year_number < 70 { 2000 } else { 1900 };
    }
    let day = number(day)?;
    let mut parts = time.split(':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let whole = parts.next().is_none() && hour < 24 && minute < 60 && second <= 60;
    if !whole || !(1970..=9999).contains(&year_number) || !(1..=31).contains(&day) {
        return None;
    }
    Some(days(year_number, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second)
}

/// What a `Retry-After` asks for: seconds, or a date from which `now` is taken off. None when it is neither.
pub fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    parse_http_date(text).map(|at| Duration::from_secs(at.saturating_sub(seconds_of(now))))
}

const DAY_SECONDS: u64 = 86_400;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn number(text: &str) -> Option<u64> {
    let plain = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

fn digits(into: &mut [u8], mut value: u64) {
    for place in into.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Year, month and day of a day since 1970: eras of 400 years that begin in March, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The inverse of `civil`.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = (month + 9) % 12;
    let of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_date_has_sixteen_characters() {
        assert_eq!(AmzDate::of(784_111_777).as_str(), "19941106T084937Z");
        assert_eq!(AmzDate::of(0).as_str(), "19700101T000000Z");
        assert_eq!(AmzDate::of(951_782_400).day(), b"20000229");
    }

    #[test]
    fn days_and_dates_are_inverse() {
        for day in (0..1_000_000).step_by(17) {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }

    #[test]
    fn the_three_forms_of_a_date_are_the_same_second() {
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse_http_date(text), Some(784_111_777), "{text}");
        }
    }

    #[test]
    fn nonsense_is_no_date() {
        for text in [
            "",
            "soon",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 19940 08:49:37 GMT",
            "Sun, -6 Nov 1994 08:49:37 PST",
            "Sün, 06",
        ] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }

    #[test]
    fn retry_after_takes_seconds_and_dates() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(parse_retry_after(" 3 ", now), Some(Duration::from_secs(3)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(parse_retry_after("-1", now), None);
        assert_eq!(parse_retry_after("99999999999999999999999", now), None);
    }
}

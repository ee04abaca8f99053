//! Points in time and the spellings that HTTP, XML and signatures give them.
//!
//! Invariant: arithmetic is proleptic Gregorian in UTC without leap seconds, as every Amazon date is. Reading
//! accepts only dates that exist; writing covers the years 0 to 9999 and clamps beyond, which no stored time
//! reaches. The clock itself belongs to the caller.

use std::fmt::Write as _;

/// Milliseconds since 1970-01-01T00:00:00Z; negative before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// A date and a time of day in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// 0..=9999.
    pub year: i32,
    /// 1..=12.
    pub month: u32,
    /// 1..=31.
    pub day: u32,
    /// 0..=23.
    pub hour: u32,
    /// 0..=59.
    pub minute: u32,
    /// 0..=59.
    pub second: u32,
    /// 0..=999.
    pub millisecond: u32,
}

impl Timestamp {
    /// From whole seconds since the epoch; saturates.
    pub fn from_seconds(seconds: i64) -> Timestamp {
        Timestamp(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub fn as_ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This time without its milliseconds.
    pub fn truncated_to_second(self) -> Timestamp {
        Timestamp(self.0 - self.0.rem_euclid(1000))
    }

    /// From a date that exists; `None` otherwise.
    pub fn from_civil(civil: Civil) -> Option<Timestamp> {
        let Civil { year, month, day, hour, minute, second, millisecond } = civil;
        let in_range = (0..=YEAR_MAX).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60
            && millisecond < 1000;
        if !in_range {
            return None;
        }
        let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        let days = days_from_civil(year, month, day);
        Some(Timestamp((days * DAY_SECONDS + seconds) * 1000 + i64::from(millisecond)))
    }

    /// Date and time of day; years outside 0 to 9999 are clamped.
    pub fn to_civil(self) -> Civil {
        let clamped = self.0.clamp(CIVIL_MS_MIN, CIVIL_MS_MAX);
        let millisecond = clamped.rem_euclid(1000) as u32;
        let seconds = clamped.div_euclid(1000);
        let (year, month, day) = civil_from_days(seconds.div_euclid(DAY_SECONDS));
        let of_day = seconds.rem_euclid(DAY_SECONDS) as u32;
        Civil {
            year,
            month,
            day,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            millisecond,
        }
    }

    /// Reads `YYYYMMDDTHHMMSSZ`, the form of `X-Amz-Date`.
    pub fn parse_basic(text: &[u8]) -> Option<Timestamp> {
        if text.len() != 16 || text[8] != b'T' || text[15] != b'Z' {
            return None;
        }
        Timestamp::from_civil(Civil {
            year: digits(&text[0..4])? as i32,
            month: digits(&text[4..6])?,
            day: digits(&text[6..8])?,
            hour: digits(&text[9..11])?,
            minute: digits(&text[11..13])?,
            second: digits(&text[13..15])?,
            millisecond: 0,
        })
    }

    /// Writes `YYYYMMDDTHHMMSSZ`.
    pub fn to_basic(self) -> [u8; 16] {
        let civil = self.to_civil();
        let mut text = *b"00000000T000000Z";
        put_digits(&mut text[0..4], civil.year as u32);
        put_digits(&mut text[4..6], civil.month);
        put_digits(&mut text[6..8], civil.day);
        put_digits(&mut text[9..11], civil.hour);
        put_digits(&mut text[11..13], civil.minute);
        put_digits(&mut text[13..15], civil.second);
        text
    }

    /// Writes `YYYY-MM-DDTHH:MM:SS.mmmZ`, the form of dates in XML.
    pub fn to_iso8601(self) -> String {
        let civil = self.to_civil();
        let mut text = String::with_capacity(24);
        write!(
            text,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second, civil.millisecond
        )
        .expect("writing to a String does not fail");
        text
    }

    /// Reads ISO 8601 as XML bodies and POST policies carry it: `YYYY-MM-DD` alone (midnight UTC) or with
    /// `THH:MM:SS`, an optional fraction and `Z` or `+HH:MM`. Digits of the fraction after the third are
    /// dropped.
    pub fn parse_iso8601(text: &[u8]) -> Option<Timestamp> {
        if text.len() < 10 || text.len() > ISO_TEXT_BYTES_MAX || text[4] != b'-' || text[7] != b'-' {
            return None;
        }
        let mut civil = Civil {
            year: digits(&text[0..4])? as i32,
            month: digits(&text[5..7])?,
            day: digits(&text[8..10])?,
            hour: 0,
            minute: 0,
            second: 0,
            millisecond: 0,
        };
        if text.len() == 10 {
            return Timestamp::from_civil(civil);
        }
        let clock = &text[10..];
        if clock.len() < 10 || clock[0] != b'T' || clock[3] != b':' || clock[6] != b':' {
            return None;
        }
        civil.hour = digits(&clock[1..3])?;
        civil.minute = digits(&clock[4..6])?;
        civil.second = digits(&clock[7..9])?;
        let mut rest = &clock[9..];
        if rest[0] == b'.' {
            let count = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let kept = count.min(3);
            if count == 0 {
                return None;
            }
            civil.millisecond = digits(&rest[1..1 + kept])? * [0, 100, 10, 1][kept];
            rest = &rest[1 + count..];
        }
        let offset_ms = zone_offset_ms(rest)?;
        Timestamp::from_civil(civil).map(|local| Timestamp(local.0 - offset_ms))
    }

    /// Writes the preferred HTTP form, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 5.6.7), without
    /// milliseconds.
    pub fn to_http(self) -> String {
        let civil = self.to_civil();
        let day_number = self.0.clamp(CIVIL_MS_MIN, CIVIL_MS_MAX).div_euclid(DAY_SECONDS * 1000);
        let weekday = (day_number + EPOCH_WEEKDAY).rem_euclid(7) as usize;
        let mut text = String::with_capacity(29);
        write!(
            text,
            "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
            &WEEKDAYS[weekday][..3],
            civil.day,
            MONTHS[civil.month as usize - 1],
            civil.year,
            civil.hour,
            civil.minute,
            civil.second
        )
        .expect("writing to a String does not fail");
        text
    }

    /// Reads any of HTTP's three date forms (RFC 9110 5.6.7), and the numeric zone that old S3 clients send
    /// instead of `GMT`. `now` places the two-digit years of the RFC 850 form: one that would lie more than
    /// 50 years ahead is of the past. The day's name is not checked against the date.
    pub fn parse_http(text: &[u8], now: Timestamp) -> Option<Timestamp> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= HTTP_TEXT_BYTES_MAX)?.trim();
        let (first, rest) = text.split_once(' ')?;
        if let Some(name) = first.strip_suffix(',') {
            let rest = rest.trim_start();
            if WEEKDAYS.iter().any(|day| day[..3] == *name) {
                return parse_imf_fixdate(rest);
            }
            return if WEEKDAYS.contains(&name) { parse_rfc850(rest, now) } else { None };
        }
        if WEEKDAYS.iter().any(|day| day[..3] == *first) { parse_asctime(rest) } else { None }
    }
}

/// `06 Nov 1994 08:49:37 GMT`, and `27 Mar 2007 19:36:42 +0000`.
fn parse_imf_fixdate(text: &str) -> Option<Timestamp> {
    let mut parts = text.split(' ').filter(|part| !part.is_empty());
    let day = one_or_two_digits(parts.next()?)?;
    let month = month_number(parts.next()?)?;
    let year_text = parts.next()?;
    if year_text.len() != 4 {
        return None;
    }
    let year = digits(year_text.as_bytes())? as i32;
    let (hour, minute, second) = clock(parts.next()?)?;
    let offset_ms = match parts.next()? {
        "GMT" | "UTC" | "Z" => 0,
        zone => numeric_zone_ms(zone.as_bytes())?,
    };
    if parts.next().is_some() {
        return None;
    }
    Timestamp::from_civil(Civil { year, month, day, hour, minute, second, millisecond: 0 })
        .map(|local| Timestamp(local.0 - offset_ms))
}

/// `06-Nov-94 08:49:37 GMT`.
fn parse_rfc850(text: &str, now: Timestamp) -> Option<Timestamp> {
    let mut parts = text.split(' ');
    let mut date = parts.next()?.split('-');
    let day = one_or_two_digits(date.next()?)?;
    let month = month_number(date.next()?)?;
    let year_text = date.next()?;
    let (hour, minute, second) = clock(parts.next()?)?;
    if date.next().is_some() || parts.next()? != "GMT" || parts.next().is_some() || year_text.len() != 2 {
        return None;
    }
    let now_year = now.to_civil().year;
    let mut year = now_year - now_year % 100 + digits(year_text.as_bytes())? as i32;
    if year > now_year + 50 {
        year -= 100;
    }
    Timestamp::from_civil(Civil { year, month, day, hour, minute, second, millisecond: 0 })
}

/// `Nov  6 08:49:37 1994`.
fn parse_asctime(text: &str) -> Option<Timestamp> {
    let mut parts = text.split(' ').filter(|part| !part.is_empty());
    let month = month_number(parts.next()?)?;
    let day = one_or_two_digits(parts.next()?)?;
    let (hour, minute, second) = clock(parts.next()?)?;
    let year_text = parts.next()?;
    if year_text.len() != 4 || parts.next().is_some() {
        return None;
    }
    let year = digits(year_text.as_bytes())? as i32;
    Timestamp::from_civil(Civil { year, month, day, hour, minute, second, millisecond: 0 })
}

fn clock(text: &str) -> Option<(u32, u32, u32)> {
    let bytes = text.as_bytes();
    if bytes.len() != 8 || bytes[2] != b':' || bytes[5] != b':' {
        return None;
    }
    // RFC 9110 5.6.7 allows a leap second, which our arithmetic does not have: it is taken as the one before.
    let second = match digits(&bytes[6..8])? {
        60 => 59,
        second => second,
    };
    Some((digits(&bytes[0..2])?, digits(&bytes[3..5])?, second))
}

fn month_number(name: &str) -> Option<u32> {
    MONTHS.iter().position(|month| *month == name).map(|index| index as u32 + 1)
}

fn one_or_two_digits(text: &str) -> Option<u32> {
    if matches!(text.len(), 1 | 2) { digits(text.as_bytes()) } else { None }
}

/// The zone of ISO 8601: `Z` or `+HH:MM`.
fn zone_offset_ms(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => numeric_zone_ms(&[*sign, *h1, *h2, *m1, *m2]),
        _ => None,
    }
}

/// The zone of RFC 5322: `+HHMM`.
fn numeric_zone_ms(zone: &[u8]) -> Option<i64> {
    let [sign @ (b'+' | b'-'), hhmm @ ..] = zone else { return None };
    if hhmm.len() != 4 {
        return None;
    }
    let (hours, minutes) = (digits(&hhmm[..2])?, digits(&hhmm[2..])?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let ms = i64::from(hours * 60 + minutes) * 60_000;
    Some(if *sign == b'-' { -ms } else { ms })
}

/// A run of at most nine decimal digits as a number.
fn digits(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    text.iter()
        .try_fold(0u32, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))
}

fn put_digits(out: &mut [u8], mut value: u32) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        2 => 28 + u32::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01. Years are counted from March, so that the leap day is the last of its year and the
/// length of the months before any month is a linear formula.
fn days_from_civil(year: i32, month: u32, day: u32) -> i64 {
    let march_year = i64::from(year) - i64::from(month <= 2);
    let march_month = i64::from((month + 9) % 12);
    let day_of_year = (153 * march_month + 2) / 5 + i64::from(day) - 1;
    let leap_days = march_year.div_euclid(4) - march_year.div_euclid(100) + march_year.div_euclid(400);
    march_year * 365 + leap_days + day_of_year - MARCH_0000_TO_EPOCH_DAYS
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i32, u32, u32) {
    let days = days + MARCH_0000_TO_EPOCH_DAYS;
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS);
    // The three corrections take out the leap days of 4, 100 and 400 years.
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / (ERA_DAYS - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * march_month + 2) / 5 + 1) as u32;
    let month = ((march_month + 2) % 12 + 1) as u32;
    let year = (era * 400 + year_of_era) as i32 + i32::from(month <= 2);
    (year, month, day)
}

const YEAR_MAX: i32 = 9999;
const DAY_SECONDS: i64 = 86_400;
/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const MARCH_0000_TO_EPOCH_DAYS: i64 = 719_468;
/// 1970-01-01 was a Thursday.
const EPOCH_WEEKDAY: i64 = 4;
/// 0000-01-01T00:00:00.000Z.
const CIVIL_MS_MIN: i64 = -62_167_219_200_000;
/// 9999-12-31T23:59:59.999Z.
const CIVIL_MS_MAX: i64 = 253_402_300_799_999;
const ISO_TEXT_BYTES_MAX: usize = 40;
const HTTP_TEXT_BYTES_MAX: usize = 64;
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    #[test]
    fn every_day_of_the_calendar_follows_the_one_before() {
        let (mut year, mut month, mut day) = (0, 1, 1);
        let mut days = days_from_civil(0, 1, 1);
        while year <= YEAR_MAX {
            assert_eq!(days_from_civil(year, month, day), days);
            assert_eq!(civil_from_days(days), (year, month, day));
            days += 1;
            day += 1;
            if day > days_in_month(year, month) {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }

    #[test]
    fn known_instants_read_and_write_alike() {
        let time = Timestamp::from_seconds(784_111_777);
        assert_eq!(time.to_http(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(time.to_iso8601(), "1994-11-06T08:49:37.000Z");
        assert_eq!(&time.to_basic(), b"19941106T084937Z");
        let forms = [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 10:49:37 +0200",
            "Sun, 06 Nov 1994 03:19:37 -0530",
        ];
        for text in forms {
            assert_eq!(Timestamp::parse_http(text.as_bytes(), NOW), Some(time), "{text}");
        }
        assert_eq!(Timestamp::parse_basic(b"19941106T084937Z"), Some(time));
    }

    #[test]
    fn two_digit_years_lie_at_most_fifty_years_ahead() {
        let parse = |text: &str| Timestamp::parse_http(text.as_bytes(), NOW).map(|time| time.to_civil().year);
        assert_eq!(parse("Sunday, 06-Nov-73 08:49:37 GMT"), Some(2073));
        assert_eq!(parse("Sunday, 06-Nov-74 08:49:37 GMT"), Some(1974));
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for text in [
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 29 Feb 2023 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Xyz, 06 Nov 1994 08:49:37 GMT",
            "1994-11-06T08:49:37Z",
            "",
            "Sun,",
            "+06 Nov",
        ] {
            assert_eq!(Timestamp::parse_http(text.as_bytes(), NOW), None, "{text}");
        }
        for text in [
            "19941106T084937",
            "19941306T084937Z",
            "1994-1106T08493Z",
            "19941106t084937Z",
            "+9941106T084937Z",
        ] {
            assert_eq!(Timestamp::parse_basic(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn iso_dates_take_fractions_and_zones() {
        let parse = |text: &str| Timestamp::parse_iso8601(text.as_bytes()).map(Timestamp::to_iso8601);
        assert_eq!(parse("2024-02-29").as_deref(), Some("2024-02-29T00:00:00.000Z"));
        assert_eq!(parse("2024-02-29T01:02:03Z").as_deref(), Some("2024-02-29T01:02:03.000Z"));
        assert_eq!(parse("2024-02-29T01:02:03.5Z").as_deref(), Some("2024-02-29T01:02:03.500Z"));
        assert_eq!(parse("2024-02-29T01:02:03.123456Z").as_deref(), Some("2024-02-29T01:02:03.123Z"));
        assert_eq!(parse("2024-02-29T01:02:03+01:30").as_deref(), Some("2024-02-28T23:32:03.000Z"));
        for text in [
            "2023-02-29",
            "2024-02-29T01:02:03",
            "2024-02-29T01:02:03.Z",
            "2024-02-29T01:02:03+0130",
            "2024-2-29",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn times_before_the_epoch_and_beyond_the_calendar_do_not_panic() {
        assert_eq!(Timestamp(-1).to_iso8601(), "1969-12-31T23:59:59.999Z");
        assert_eq!(Timestamp(-1).to_http(), "Wed, 31 Dec 1969 23:59:59 GMT");
        assert_eq!(Timestamp(-1).as_seconds(), -1);
        assert_eq!(Timestamp(i64::MIN).to_iso8601(), "0000-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(i64::MAX).to_iso8601(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp(i64::MAX).to_http(), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(Timestamp::from_seconds(i64::MAX).0, i64::MAX);
        assert_eq!(Timestamp(1_999).truncated_to_second(), Timestamp(1_000));
    }
}

//! The `Date` field, formatted once per second and core.
//! Invariant: the text is at most one reactor turn plus one second old.
//! Left to others: parsing dates (the `aws` crate).

use std::cell::RefCell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http_types::HeaderValue;

/// An IMF-fixdate (RFC 9110 section 5.6.7), always of this length.
pub(crate) type DateText = [u8; 29];

struct Cached {
    text: DateText,
    value: HeaderValue,
    valid_until: Instant,
}

thread_local! {
    static CACHED: RefCell<Option<Cached>> = const { RefCell::new(None) };
}

/// The current date; `now` is the time of the reactor's turn.
pub(crate) fn current(now: Instant) -> DateText {
    with_cached(now, |cached| cached.text)
}

/// The same as a field value, which is cheap to clone.
pub(crate) fn current_value(now: Instant) -> HeaderValue {
    with_cached(now, |cached| cached.value.clone())
}

fn with_cached<T>(now: Instant, read: impl FnOnce(&Cached) -> T) -> T {
    CACHED.with_borrow_mut(|slot| match slot {
        Some(cached) if now < cached.valid_until => read(cached),
        _ => read(slot.insert(Cached::fresh(now))),
    })
}

impl Cached {
    fn fresh(now: Instant) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let text = format(since_epoch.as_secs());
        let value = HeaderValue::from_bytes(&text).expect("a date is made of visible characters");
        let rest_of_second = Duration::from_nanos(u64::from(1_000_000_000 - since_epoch.subsec_nanos()));
        Self { text, value, valid_until: now + rest_of_second }
    }
}

const WEEKDAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const SECONDS_PER_DAY: u64 = 86_400;

fn format(seconds: u64) -> DateText {
    let days = seconds / SECONDS_PER_DAY;
    let second_of_day = seconds % SECONDS_PER_DAY;
    let (year, month_index, day) = civil(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    // 1970-01-01 was a Thursday. The remainder is below 7.
    text[..3].copy_from_slice(WEEKDAYS[(days % 7) as usize]);
    text[8..11].copy_from_slice(MONTHS[month_index]);
    put_two_digits(&mut text, 5, day);
    put_two_digits(&mut text, 12, year / 100);
    put_two_digits(&mut text, 14, year % 100);
    put_two_digits(&mut text, 17, second_of_day / 3_600);
    put_two_digits(&mut text, 20, second_of_day / 60 % 60);
    put_two_digits(&mut text, 23, second_of_day % 60);
    text
}

fn put_two_digits(text: &mut DateText, at: usize, value: u64) {
    // Both digits are below 10, so the narrowing loses nothing.
    text[at] = b'0' + (value / 10 % 10) as u8;
    text[at + 1] = b'0' + (value % 10) as u8;
}

/// Year, month from 0, and day from 1 of a day counted from 1970-01-01, in the Gregorian calendar.
fn civil(mut days: u64) -> (u64, usize, u64) {
    let mut year = 1970;
    while days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
    }
    let leap = days_of_year(year) == 366;
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month_index = 0;
    while days >= lengths[month_index] {
        days -= lengths[month_index];
        month_index += 1;
    }
    (year, month_index, days + 1)
}

fn days_of_year(year: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    if leap { 366 } else { 365 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_have_their_known_text() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(str::from_utf8(&format(seconds)).unwrap(), text);
        }
    }

    #[test]
    fn the_cached_text_is_renewed_after_its_second() {
        let now = Instant::now();
        let first = current(now);
        assert_eq!(current(now), first);
        std::thread::sleep(Duration::from_millis(1_050));
        assert_ne!(current(now + Duration::from_millis(1_050)), first);
    }
}

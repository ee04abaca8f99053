//! Numbers as people read them: `1,234,567`, `1.5 ms`, `99.9 %`.

/// A whole number with a comma at each thousand.
pub fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    if value <= -0.5 {
        out.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time given in microseconds, in the unit that suits it.
pub fn micros(value: f64) -> String {
    match value {
        us if us < 9.95 => format!("{us:.1} us"),
        us if us < 999.5 => format!("{us:.0} us"),
        us if us < 999_500.0 => three_digits(us / 1e3) + " ms",
        us => three_digits(us / 1e6) + " s",
    }
}

/// A round time given in microseconds, as at the ticks of an axis: without decimals that are zero.
pub fn round_micros(value: f64) -> String {
    let (value, unit) = match value {
        us if us < 1e3 => (us, "us"),
        us if us < 1e6 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    format!("{} {unit}", plain(value))
}

/// As many decimals as say something.
pub fn plain(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The percentile at which one in `nines` requests takes longer: 1 is the minimum, 2 the median, 100 is 99 %.
pub fn percentile(nines: f64) -> String {
    // 99.94 % must not be shown as 99.9 %: one digit more than there are nines, unless it is just them.
    let digits = (nines.log10().ceil() as usize).saturating_sub(1);
    let text = format!("{:.digits$}", (1.0 - 1.0 / nines) * 100.0);
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} %")
}

/// Bytes as MiB, without the unit.
pub fn mebibytes(bytes: f64) -> String {
    let mebibytes = bytes / f64::from(1 << 20);
    if mebibytes < 10.0 { format!("{mebibytes:.1}") } else { thousands(mebibytes) }
}

/// The median with the smallest and the largest round behind it.
pub fn spread([low, median, high]: [f64; 3], show: impl Fn(f64) -> String) -> (String, String) {
    (show(median), format!("{}-{}", show(low), show(high)))
}

fn three_digits(value: f64) -> String {
    if value < 9.995 {
        format!("{value:.2}")
    } else if value < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([1_234_567.0, 999.4, -1000.0].map(thousands), ["1,234,567", "999", "-1,000"]);
        assert_eq!([1.25, 12.4, 999.6, 1500.0].map(micros), ["1.2 us", "12 us", "1.00 ms", "1.50 ms"]);
        assert_eq!([0.1, 10.0, 1e3, 1e7].map(round_micros), ["0.1 us", "10 us", "1 ms", "10 s"]);
        assert_eq!([86_400.0, 999_600.0, 2.5e6].map(micros), ["86.4 ms", "1.00 s", "2.50 s"]);
        assert_eq!([0.0, 0.05, 2.5, 30.0, 100.0].map(plain), ["0", "0.05", "2.5", "30", "100"]);
        assert_eq!([5e5, 3e9].map(mebibytes), ["0.5", "2,861"]);
    }

    #[test]
    fn a_percentile_has_the_digits_of_its_nines() {
        let shown = [1.0, 2.0, 10.0, 100.0, 1e3, 1e5, 31.6].map(percentile);
        assert_eq!(shown, ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.999 %", "96.8 %"]);
    }
}

//! Limits as people read them: lines of a terminal while they are measured, cells of a page, and the sentence that says what
//! a table's shares are taken of.

use super::figures::thousands;
use super::json::{Limit, Report};

/// A value with its unit.
pub fn figure(value: f64, unit: &str) -> String {
    match unit {
        "bytes/s" => format!("{:.2} GB/s", value / 1e9),
        unit => format!("{} {unit}", thousands(value)),
    }
}

/// What stands beside a limit: the tool with its flags, its figure, the share that ours is of it, and whether that agrees.
pub fn beside(limit: &Limit) -> String {
    let (Some(tool), Some(value), Some(ratio)) = (&limit.tool, limit.tool_value, limit.ratio()) else {
        return limit.no_tool.clone().unwrap_or_else(|| "not checked by another tool".to_owned());
    };
    let by = limit.compared.as_ref().map_or_else(String::new, |compared| {
        format!(", by {}: {:.2} and {:.2}", compared.what, compared.value, compared.tool_value)
    });
    let mark = if limit.agrees == Some(true) { "" } else { "  DIFFERS" };
    format!("{}: {} ({ratio:.2}{by}){mark}", tool, figure(value, &limit.unit))
}

/// A limit on a terminal: what else is to be known stands on a line of its own.
pub fn line(limit: &Limit) -> String {
    let mut out =
        format!("{:<36} {:>20}   {}\n", limit.name, figure(limit.value, &limit.unit), beside(limit));
    if let Some(note) = &limit.note {
        out += &format!("{:36} {note}\n", "");
    }
    out
}

/// What shares are taken of, or why none is; nothing where no limits were given.
pub fn held_against(report: &Report) -> Option<String> {
    let fit = report.fit.as_ref()?;
    Some(match (fit.rate, &fit.reason) {
        (Some(rate), _) => {
            let others = match report.peers.iter().all(|peer| fit.holds_for(peer)) {
                true => "",
                false if fit.is_synced => " Servers that sync less are not held against it.",
                false => " Servers that do not speak HTTP are not held against it.",
            };
            format!("The limit is the {}: {} requests/s.{others}", fit.limit, thousands(rate))
        }
        (None, reason) => {
            let limit = if fit.limit.is_empty() { String::new() } else { format!(" of the {}", fit.limit) };
            format!("No share is taken{limit}: {}.", reason.as_deref().unwrap_or("it is not known"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::json::{Compared, Fit};
    use crate::report::samples;

    #[test]
    fn a_limit_names_its_tool_with_flags_and_the_ratio() {
        let limit = Limit {
            name: "echo".to_owned(),
            value: 200_000.0,
            unit: "requests/s".to_owned(),
            tool: Some("wrk -t1 URL".to_owned()),
            tool_value: Some(100_000.0),
            agrees: Some(false),
            ..Limit::default()
        };
        assert_eq!(beside(&limit), "wrk -t1 URL: 100,000 requests/s (2.00)  DIFFERS");
        let compared = Some(Compared { what: "us".to_owned(), value: 4.0, tool_value: 5.0 });
        let agreed = Limit { compared, agrees: Some(true), ..limit.clone() };
        assert_eq!(beside(&agreed), "wrk -t1 URL: 100,000 requests/s (0.80, by us: 4.00 and 5.00)");
        let alone = Limit { tool: None, tool_value: None, no_tool: Some("no tool".to_owned()), ..limit };
        assert_eq!(beside(&alone), "no tool");
    }

    #[test]
    fn a_table_says_what_its_shares_are_taken_of() {
        let mut report = samples::report();
        let fit = |rate, reason: Option<&str>| {
            Some(Fit {
                limit: "echo".to_owned(),
                rate,
                is_synced: false,
                is_of_http: true,
                reason: reason.map(str::to_owned),
            })
        };
        report.fit = fit(Some(2e5), None);
        assert_eq!(held_against(&report).as_deref(), Some("The limit is the echo: 200,000 requests/s."));
        report.peers[1].speaks = Some("RESP 2".to_owned());
        assert!(held_against(&report).is_some_and(|words| words.ends_with("HTTP are not held against it.")));
        report.fit = fit(None, Some("it was not measured"));
        assert_eq!(
            held_against(&report).as_deref(),
            Some("No share is taken of the echo: it was not measured.")
        );
        report.fit = None;
        assert_eq!(held_against(&report), None);
    }
}

//! `zerocloud doctor`: is this machine fit to keep data, and if not, why does it matter and what mends it.
//! Invariant: it changes nothing but a scratch file beside the data, which it removes.

mod disk;
mod host;

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::{DoctorArgs, ServeArgs};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::serve;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Grade {
    /// As it should be.
    Good,
    /// Works, but worse than it could.
    Warn,
    /// Must be mended.
    Fail,
}

/// One thing looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How bad it is.
    pub grade: Grade,
    /// What was found.
    pub finding: String,
    /// Why it matters; empty if all is well.
    pub why: String,
    /// What to do; empty if all is well.
    pub mend: String,
}

impl Finding {
    /// All is well.
    pub fn good(check: &'static str, finding: impl Into<String>) -> Finding {
        Finding {
            check,
            grade: Grade::Good,
            finding: finding.into(),
            why: String::new(),
            mend: String::new(),
        }
    }

    /// Works, but worse than it could.
    pub fn warn(
        check: &'static str,
        finding: impl Into<String>,
        why: &str,
        mend: impl Into<String>,
    ) -> Finding {
        Finding { check, grade: Grade::Warn, finding: finding.into(), why: why.into(), mend: mend.into() }
    }

    /// Must be mended.
    pub fn fail(
        check: &'static str,
        finding: impl Into<String>,
        why: &str,
        mend: impl Into<String>,
    ) -> Finding {
        Finding { check, grade: Grade::Fail, finding: finding.into(), why: why.into(), mend: mend.into() }
    }
}

/// Looks at everything and prints it. The exit code is 0, 1 with warnings, 2 with failures.
pub fn run(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let like_serve =
        ServeArgs { data: args.data.clone(), config: args.config.clone(), ..ServeArgs::default() };
    let config = serve::load(&like_serve)?;
    let findings = examine(&config);
    let worst = findings.iter().map(|finding| finding.grade).max().unwrap_or(Grade::Good);
    let text = if args.json { format!("{}\n", to_json(&findings, worst)) } else { to_text(&findings) };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::storage(format!("stdout: {error}")))?;
    Ok(match worst {
        Grade::Good => ExitCode::SUCCESS,
        Grade::Warn => Exit::Findings.into(),
        Grade::Fail => Exit::Failed.into(),
    })
}

fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = vec![
        host::processor(),
        host::kernel(),
        host::io_uring(),
        host::memlock(),
        host::descriptors(),
        host::cgroup(),
        host::clock(),
        host::seccomp(),
    ];
    findings.extend(host::ports(config));
    findings.extend(host::certificates(config));
    findings.push(disk::directory(config));
    findings.push(disk::file_system(config));
    findings.extend(disk::room(config));
    findings.extend(disk::trials(config));
    findings
}

fn to_json(findings: &[Finding], worst: Grade) -> Value {
    let list: Vec<Value> = findings
        .iter()
        .map(|one| {
            json!({
                "check": one.check,
                "grade": name(one.grade),
                "finding": one.finding,
                "why": one.why,
                "mend": one.mend,
            })
        })
        .collect();
    json!({ "grade": name(worst), "findings": list })
}

fn name(grade: Grade) -> &'static str {
    match grade {
        Grade::Good => "good",
        Grade::Warn => "warn",
        Grade::Fail => "fail",
    }
}

fn to_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for one in findings {
        text.push_str(&format!("{:<5} {:<13} {}\n", name(one.grade), one.check, one.finding));
        if one.grade != Grade::Good {
            text.push_str(&format!(
                "      {:<13} why:  {}\n      {:<13} mend: {}\n",
                "", one.why, "", one.mend
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_good_says_why_and_how_to_mend_it() {
        let directory = crate::scratch::Directory::new("doctor");
        let layer = crate::config::Layer { data: Some(directory.path().join("data")), ..Default::default() };
        let config = Config::merge(layer, Default::default(), None, false).expect("valid");
        let findings = examine(&config);
        assert!(findings.len() >= 14, "{}", findings.len());
        for one in &findings {
            assert!(!one.finding.is_empty(), "{}", one.check);
            assert_eq!(one.grade == Grade::Good, one.why.is_empty() && one.mend.is_empty(), "{}", one.check);
        }
        assert!(!directory.path().join("data").exists(), "the doctor makes no data directory");
        assert_eq!(
            std::fs::read_dir(directory.path()).expect("list").count(),
            0,
            "and leaves no scratch file"
        );
    }

    #[test]
    fn a_report_shows_every_finding() {
        let findings = [
            Finding::good("kernel", "6.18"),
            Finding::fail("port", "taken", "it cannot listen", "stop the other"),
        ];
        let text = to_text(&findings);
        assert!(text.contains("why:  it cannot listen") && text.contains("mend: stop the other"));
        assert_eq!(to_json(&findings, Grade::Fail)["findings"][1]["grade"], "fail");
    }
}

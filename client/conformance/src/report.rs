//! What became of the cases.

use crate::case::Wrong;
use crate::subject::{Subject, Time};
use cloudkit_core::api::Capabilities;
use std::fmt;

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The fact holds.
    Passed,
    /// It does not; the text says what was seen instead.
    Failed(String),
    /// It was not asked for, for this reason.
    Skipped(String),
}

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// The fact.
    pub name: &'static str,
    /// What became of it.
    pub verdict: Verdict,
}

/// The cases of one service of one subject.
#[derive(Debug, Clone)]
pub struct Report {
    /// The subject and the service.
    pub title: String,
    /// The cases, in their order.
    pub cases: Vec<Case>,
    capabilities: Capabilities,
}

/// What a case needs to be asked for.
pub(crate) struct Needs {
    pub(crate) capabilities: &'static [&'static str],
    pub(crate) minutes: bool,
}

impl Report {
    pub(crate) fn new(subject: &dyn Subject, capabilities: Capabilities) -> Self {
        let title = format!("{} {}", subject.name(), capabilities.service.name());
        Self { title, cases: Vec::new(), capabilities }
    }

    pub(crate) async fn run(
        &mut self,
        name: &'static str,
        needs: Needs,
        time: Time,
        case: impl Future<Output = Result<(), Wrong>>,
    ) {
        let missing = needs.capabilities.iter().find(|one| !self.capabilities.supports(one));
        let verdict = match missing {
            Some(missing) => {
                let note = self.capabilities.get(missing).map_or("", |entry| &*entry.note);
                Verdict::Skipped(format!("capabilities: no {missing}: {note}"))
            }
            None if needs.minutes && time == Time::Real => {
                Verdict::Skipped(String::from("it lasts for minutes where time is real"))
            }
            None => match case.await {
                Ok(()) => Verdict::Passed,
                Err(Wrong::Wrong(text)) => Verdict::Failed(text),
                Err(Wrong::CannotAsk(why)) => Verdict::Skipped(why),
            },
        };
        self.cases.push(Case { name, verdict });
    }

    /// Passed, failed, skipped.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count =
            |wanted: fn(&Verdict) -> bool| self.cases.iter().filter(|case| wanted(&case.verdict)).count();
        (
            count(|verdict| *verdict == Verdict::Passed),
            count(|verdict| matches!(verdict, Verdict::Failed(_))),
            count(|verdict| matches!(verdict, Verdict::Skipped(_))),
        )
    }

    /// The names of the cases that failed.
    pub fn failed(&self) -> Vec<&'static str> {
        let failed = |case: &&Case| matches!(case.verdict, Verdict::Failed(_));
        self.cases.iter().filter(failed).map(|case| case.name).collect()
    }

    /// Prints the report, and panics if a case failed.
    pub fn assert(&self) {
        println!("{self}");
        assert!(self.failed().is_empty(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, failed, skipped) = self.counts();
        writeln!(f, "{}: {passed} passed, {failed} failed, {skipped} skipped", self.title)?;
        for Case { name, verdict } in &self.cases {
            match verdict {
                Verdict::Passed => writeln!(f, "  ok      {name}")?,
                Verdict::Failed(text) => writeln!(f, "  FAILED  {name}: {text}")?,
                Verdict::Skipped(why) => writeln!(f, "  skipped {name}: {why}")?,
            }
        }
        Ok(())
    }
}

//! How a case says what it sees.

use crate::subject::Subject;
use cloudkit_core::common::{CloudError, Failure};
use std::fmt::{Debug, Display};
use std::time::Duration;

/// Why a case did not pass.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// The fact does not hold.
    Wrong(String),
    /// The subject gives the suite no way to ask.
    CannotAsk(String),
}

/// What a case gives.
pub(crate) type Shown = Result<(), Wrong>;

impl From<CloudError> for Wrong {
    fn from(error: CloudError) -> Self {
        Self::Wrong(format!("it failed: {error} ({error:?})"))
    }
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Self {
        Self::from(CloudError::from(failure))
    }
}

impl From<serde_json::Error> for Wrong {
    fn from(error: serde_json::Error) -> Self {
        Self::Wrong(format!("no JSON: {error}"))
    }
}

pub(crate) fn wrong(text: impl Into<String>) -> Wrong {
    Wrong::Wrong(text.into())
}

/// What a failure means, for all providers alike: the variant, or what the code stands for.
pub(crate) fn kind(error: &CloudError) -> String {
    let means: [(&str, bool); 6] = [
        ("Unsupported", error.is_unsupported()),
        ("NotModified", error.is_not_modified()),
        ("PreconditionFailed", error.is_precondition_failed()),
        ("Throttled", error.is_throttled()),
        ("Conflict", error.is_conflict()),
        ("NotFound", error.is_not_found()),
    ];
    if let CloudError::NotFound { resource_type, .. } = error {
        return format!("NotFound {resource_type}");
    }
    if let CloudError::Provider { code, .. } = error
        && ARGUMENT_CODES.contains(&code.as_str())
    {
        return String::from("Validation");
    }
    if let Some((word, _)) = means.iter().find(|(_, is)| *is) {
        return (*word).to_owned();
    }
    match error {
        CloudError::Validation(_) => String::from("Validation"),
        CloudError::Auth(_) => String::from("Auth"),
        CloudError::Network(_) => String::from("Network"),
        CloudError::Provider { code, .. } => format!("Provider {code}"),
        other => format!("{other:?}").split(['(', ' ']).next().unwrap_or("").to_owned(),
    }
}

/// Both failures of a receipt, which a provider may also tell by the code alone.
const ARGUMENT_CODES: [&str; 2] = ["ReceiptHandleIsInvalid", "MessageNotInflight"];

/// Fails unless the outcome is a failure of this kind, as [`kind`] words it.
pub(crate) fn refused<T: Debug, E: Into<CloudError>>(
    what: &str,
    outcome: Result<T, E>,
    wanted: &str,
) -> Shown {
    match outcome {
        Ok(value) => {
            let seen: String = format!("{value:?}").chars().take(200).collect();
            Err(wrong(format!("{what}: a {wanted} was expected, and it gave {seen}")))
        }
        Err(error) => {
            let error = error.into();
            if kind(&error) == wanted {
                return Ok(());
            }
            Err(wrong(format!("{what}: a {wanted} was expected, and it was {}: {error:?}", kind(&error))))
        }
    }
}

/// Asks until there is an answer, for up to a minute of the subject's time.
pub(crate) async fn eventually<T>(
    subject: &dyn Subject,
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<Option<T>, Wrong>,
) -> Result<T, Wrong> {
    // A bound on the number of looks, not on the clock: a stalled machine makes it slower and not red.
    for _ in 0..LOOK_COUNT_MAX {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        subject.pass(LOOK_EVERY).await;
    }
    Err(wrong(format!("{what} did not happen in a minute")))
}

/// The words for two values that should be one.
pub(crate) fn differ(what: &dyn Display, left: &dyn Debug, right: &dyn Debug) -> String {
    let cut = |text: String| text.chars().take(SHOWN_CHARS_MAX).collect::<String>();
    format!("{what}: {} is not {}", cut(format!("{left:?}")), cut(format!("{right:?}")))
}

const SHOWN_CHARS_MAX: usize = 600;
const LOOK_EVERY: Duration = Duration::from_millis(200);
const LOOK_COUNT_MAX: u32 = 300;

/// Fails unless both are equal.
macro_rules! same {
    ($what:expr, $left:expr, $right:expr) => {
        // A match, so that what both are made of lives as long as they do.
        match (&$left, &$right) {
            (left, right) => {
                if *left != *right {
                    return Err($crate::case::wrong($crate::case::differ(&$what, &left, &right)));
                }
            }
        }
    };
}

/// Fails unless it is true.
macro_rules! holds {
    ($what:expr, $fact:expr) => {
        if !$fact {
            return Err($crate::case::wrong(format!("{}: {} is false", $what, stringify!($fact))));
        }
    };
}

/// A public function that runs these cases. After a name stand the capabilities without which it is not asked for, and
/// `minutes` if it lasts for minutes of the subject's time.
macro_rules! suite {
    (
        $(#[$doc:meta])* $suite:ident: $service:ident;
        $($name:ident $([$($need:literal),*])? $($minutes:ident)?;)*
    ) => {
        $(#[$doc])*
        pub async fn $suite<S: $service + ?Sized, U: $crate::Subject>(service: &S, subject: &U) -> $crate::Report {
            let mut report = $crate::Report::new(subject, service.capabilities());
            $(
                let needs = $crate::report::Needs {
                    capabilities: &[$($($need),*)?],
                    minutes: suite!(@minutes $($minutes)?),
                };
                // On the heap: all cases together would make one future too large for a test's stack.
                report.run(stringify!($name), needs, subject.time(), Box::pin($name(service, subject))).await;
            )*
            report
        }
    };
    (@minutes) => { false };
    (@minutes minutes) => { true };
}

//! Delivery policies: how often and when a web hook is tried again, and how much it gets at a time.
//! Invariant: a `DeliveryPolicy` obeys AWS's bounds, all waiting together at most an hour.
//! Source: Amazon SNS developer guide, "Message delivery retries" and "Creating an HTTP/S delivery policy". The guide draws
//! the curves of the backoff functions without giving their formulas; those here begin and end at the same values.
//! Leaves to the callers: keeping the policy's text.

use std::fmt;

use aws::json::{JsonError, Plain, Reader};

use crate::model::limits::SMALL_POLICY_BYTES_MAX;

/// A delivery policy, with AWS's defaults for what it does not say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeliveryPolicy {
    min_delay_s: u32,
    max_delay_s: u32,
    retry_count: u32,
    no_delay_count: u32,
    min_delay_count: u32,
    max_delay_count: u32,
    backoff: Backoff,
    /// Deliveries to one subscription in one second; None: as many as come.
    receives_per_second: Option<u32>,
    /// The Content-Type of deliveries.
    content_type: Option<Box<str>>,
}

/// How delays grow from the least to the greatest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Backoff {
    Linear,
    Arithmetic,
    Geometric,
    Exponential,
}

/// Why a policy is refused: the words behind `Invalid parameter: DeliveryPolicy: `.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyError(String);

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PolicyError {}

/// Retries of one delivery at most.
const RETRY_COUNT_MAX: u32 = 100;
/// All delays of one delivery together.
const DELAY_SUM_MAX_S: u64 = 3_600;
/// One delay.
const DELAY_MAX_S: u32 = 3_600;

impl Default for DeliveryPolicy {
    fn default() -> DeliveryPolicy {
        DeliveryPolicy {
            min_delay_s: 20,
            max_delay_s: 20,
            retry_count: 3,
            no_delay_count: 0,
            min_delay_count: 0,
            max_delay_count: 0,
            backoff: Backoff::Linear,
            receives_per_second: None,
            content_type: None,
        }
    }
}

impl DeliveryPolicy {
    /// Reads the DeliveryPolicy of a subscription. Errors: it is no JSON object, or breaks a bound.
    pub fn of_subscription(json: &str) -> Result<DeliveryPolicy, PolicyError> {
        let mut policy = DeliveryPolicy::default();
        let read = read_object(json, &mut |name, r| match name {
            "healthyRetryPolicy" => policy.read_retries(r),
            "throttlePolicy" => policy.read_throttle(r),
            "requestPolicy" => policy.read_request(r),
            _ => Ok(false),
        });
        read?;
        policy.checked()
    }

    /// Reads the DeliveryPolicy of a topic, which counts for subscriptions that have none of their own. The second value:
    /// whether those that have one are overruled.
    pub fn of_topic(json: &str) -> Result<(DeliveryPolicy, bool), PolicyError> {
        let mut policy = DeliveryPolicy::default();
        let mut overrules = false;
        let read = read_object(json, &mut |name, r| match name {
            "http" => {
                r.structure("", &mut |name, r| match name {
                    "defaultHealthyRetryPolicy" => policy.read_retries(r),
                    "defaultThrottlePolicy" => policy.read_throttle(r),
                    "defaultRequestPolicy" => policy.read_request(r),
                    "disableSubscriptionOverrides" => {
                        overrules = r.boolean()?;
                        Ok(true)
                    }
                    _ => Ok(false),
                })?;
                Ok(true)
            }
            _ => Ok(false),
        });
        read?;
        Ok((policy.checked()?, overrules))
    }

    /// The policy that counts for a subscription. What was stored was checked when it was set; what cannot be read any more
    /// counts as not set.
    #[must_use]
    pub fn in_force(subscription: Option<&str>, topic: Option<&str>) -> DeliveryPolicy {
        let of_topic = topic.and_then(|json| DeliveryPolicy::of_topic(json).ok());
        let own = subscription.and_then(|json| DeliveryPolicy::of_subscription(json).ok());
        match (own, of_topic) {
            (Some(own), None | Some((_, false))) => own,
            (_, Some((policy, _))) => policy,
            (None, None) => DeliveryPolicy::default(),
        }
    }

    /// Milliseconds until the next try after `failures` tries have failed; None: that was the last one.
    #[must_use]
    pub fn delay_ms(&self, failures: u32) -> Option<u64> {
        let retry = failures.checked_sub(1)?;
        if retry >= self.retry_count {
            return None;
        }
        let Some(retry) = retry.checked_sub(self.no_delay_count) else { return Some(0) };
        let Some(step) = retry.checked_sub(self.min_delay_count) else { return Some(self.min_delay_ms()) };
        let steps = self.backoff_count();
        if step < steps { Some(self.backoff_ms(step, steps)) } else { Some(self.max_delay_ms()) }
    }

    /// Deliveries to one subscription in one second; None: no bound.
    #[must_use]
    pub fn receives_per_second(&self) -> Option<u32> {
        self.receives_per_second
    }

    /// The Content-Type that deliveries are to have; None: the usual one.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    fn min_delay_ms(&self) -> u64 {
        u64::from(self.min_delay_s) * 1_000
    }

    fn max_delay_ms(&self) -> u64 {
        u64::from(self.max_delay_s) * 1_000
    }

    fn backoff_count(&self) -> u32 {
        self.retry_count.saturating_sub(self.no_delay_count + self.min_delay_count + self.max_delay_count)
    }

    /// The delay of step 0 to `steps` - 1: from the least to the greatest.
    fn backoff_ms(&self, step: u32, steps: u32) -> u64 {
        let (low, high) = (self.min_delay_ms() as f64, self.max_delay_ms() as f64);
        let last = f64::from(steps.saturating_sub(1).max(1));
        let step = f64::from(step);
        let delay = match self.backoff {
            Backoff::Linear => low + (high - low) * step / last,
            // Each step is longer than the one before it by the same amount more.
            Backoff::Arithmetic => low + (high - low) * (step * (step + 1.0)) / (last * (last + 1.0)),
            Backoff::Geometric => low * (high / low).powf(step / last),
            Backoff::Exponential => low + (high - low) * (step.exp2() - 1.0) / (last.exp2() - 1.0),
        };
        // Delays are positive and at most an hour.
        delay.round() as u64
    }

    fn read_retries(&mut self, r: &mut Reader<'_>) -> Result<bool, JsonError> {
        r.structure("", &mut |name, r| {
            let field = match name {
                "minDelayTarget" => &mut self.min_delay_s,
                "maxDelayTarget" => &mut self.max_delay_s,
                "numRetries" => &mut self.retry_count,
                "numNoDelayRetries" => &mut self.no_delay_count,
                "numMinDelayRetries" => &mut self.min_delay_count,
                "numMaxDelayRetries" => &mut self.max_delay_count,
                "backoffFunction" => {
                    self.backoff = match &*r.string()? {
                        "linear" => Backoff::Linear,
                        "arithmetic" => Backoff::Arithmetic,
                        "geometric" => Backoff::Geometric,
                        "exponential" => Backoff::Exponential,
                        _ => return Err(JsonError::Syntax),
                    };
                    return Ok(true);
                }
                _ => return Ok(false),
            };
            *field = count(r)?;
            Ok(true)
        })?;
        Ok(true)
    }

    fn read_throttle(&mut self, r: &mut Reader<'_>) -> Result<bool, JsonError> {
        r.structure("", &mut |name, r| {
            if name != "maxReceivesPerSecond" {
                return Ok(false);
            }
            self.receives_per_second = Some(count(r)?);
            Ok(true)
        })?;
        Ok(true)
    }

    fn read_request(&mut self, r: &mut Reader<'_>) -> Result<bool, JsonError> {
        r.structure("", &mut |name, r| {
            if name != "headerContentType" {
                return Ok(false);
            }
            self.content_type = Some(r.string()?.into());
            Ok(true)
        })?;
        Ok(true)
    }

    fn checked(self) -> Result<DeliveryPolicy, PolicyError> {
        let refuse = |text: &str| Err(PolicyError(text.to_owned()));
        if self.retry_count > RETRY_COUNT_MAX {
            return refuse("healthyRetryPolicy.numRetries must be less than or equal to 100");
        }
        let (min, max) = (self.min_delay_s, self.max_delay_s);
        if min < 1 || max < 1 || min > DELAY_MAX_S || max > DELAY_MAX_S {
            return refuse("healthyRetryPolicy.minDelayTarget and maxDelayTarget must be between 1 and 3600");
        }
        if max < min {
            return refuse(
                "healthyRetryPolicy.maxDelayTarget must be greater than or equal to minDelayTarget",
            );
        }
        let phases = [self.no_delay_count, self.min_delay_count, self.max_delay_count];
        if phases.iter().map(|count| u64::from(*count)).sum::<u64>() > u64::from(self.retry_count) {
            return refuse(
                "healthyRetryPolicy.numRetries must be greater than or equal to the sum of numNoDelayRetries, numMinDelayRetries and numMaxDelayRetries",
            );
        }
        let delays = (1..=self.retry_count).filter_map(|failures| self.delay_ms(failures));
        if delays.sum::<u64>() > DELAY_SUM_MAX_S * 1_000 {
            return refuse("healthyRetryPolicy: the total delay of all retries must not exceed 3600 seconds");
        }
        if self.receives_per_second == Some(0) {
            return refuse("throttlePolicy.maxReceivesPerSecond must be greater than 0");
        }
        let is_header = |text: &str| {
            !text.is_empty() && text.len() <= 256 && http_types::HeaderValue::from_str(text).is_ok()
        };
        if self.content_type.as_deref().is_some_and(|text| !is_header(text)) {
            return refuse("requestPolicy.headerContentType is not a content type");
        }
        Ok(self)
    }
}

/// Whole numbers from 0 on. Errors: anything else.
fn count(r: &mut Reader<'_>) -> Result<u32, JsonError> {
    u32::try_from(r.integer()?).map_err(|_| JsonError::Syntax)
}

/// Reads a text that is one object. Errors: it is none, or longer than is kept.
fn read_object(
    json: &str,
    each: &mut dyn FnMut(&str, &mut Reader<'_>) -> Result<bool, JsonError>,
) -> Result<(), PolicyError> {
    if json.len() > SMALL_POLICY_BYTES_MAX {
        return Err(PolicyError("the policy is too long".to_owned()));
    }
    let read = Reader::<Plain>::new(json.as_bytes()).and_then(|mut reader| {
        reader.structure("", &mut |name, r| each(name, r))?;
        reader.finish()
    });
    read.map_err(|_| PolicyError("failed to parse JSON.".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The delays of a retry policy in seconds.
    fn delays(healthy: &str) -> Vec<f64> {
        let policy = DeliveryPolicy::of_subscription(&format!(r#"{{"healthyRetryPolicy":{healthy}}}"#));
        let policy = policy.expect("a policy");
        let delays = (1..).map_while(|failures| policy.delay_ms(failures));
        delays.map(|delay| delay as f64 / 1000.0).collect()
    }

    #[test]
    fn a_web_hook_without_a_policy_is_tried_three_times_more_after_twenty_seconds_each() {
        let policy = DeliveryPolicy::default();
        let delays: Vec<_> = (1..=4).map(|failures| policy.delay_ms(failures)).collect();
        assert_eq!(delays, [Some(20_000), Some(20_000), Some(20_000), None]);
        assert_eq!(policy.delay_ms(0), None, "nothing has failed");
    }

    #[test]
    fn the_phases_follow_each_other() {
        let healthy = r#"{"minDelayTarget":1,"maxDelayTarget":60,"numRetries":10,"numNoDelayRetries":2,
            "numMinDelayRetries":2,"numMaxDelayRetries":3,"backoffFunction":"linear"}"#;
        assert_eq!(delays(healthy), [0.0, 0.0, 1.0, 1.0, 1.0, 30.5, 60.0, 60.0, 60.0, 60.0]);
    }

    #[test]
    fn every_function_begins_at_the_least_and_ends_at_the_greatest_delay_and_never_falls() {
        for function in ["linear", "arithmetic", "geometric", "exponential"] {
            for retries in [1, 2, 3, 10, 50] {
                let healthy = format!(
                    r#"{{"minDelayTarget":2,"maxDelayTarget":64,"numRetries":{retries},"backoffFunction":"{function}"}}"#
                );
                let delays = delays(&healthy);
                assert_eq!(delays.len(), retries);
                assert_eq!(delays[0], 2.0, "{function} {retries}");
                assert!(delays.windows(2).all(|pair| pair[0] <= pair[1]), "{function} {delays:?}");
                if retries > 1 {
                    assert_eq!(delays[retries - 1], 64.0, "{function} {retries}");
                }
            }
        }
        let healthy =
            r#"{"minDelayTarget":1,"maxDelayTarget":16,"numRetries":5,"backoffFunction":"geometric"}"#;
        assert_eq!(delays(healthy), [1.0, 2.0, 4.0, 8.0, 16.0]);
    }

    #[test]
    fn what_breaks_a_bound_is_refused() {
        for healthy in [
            r#"{"numRetries":101}"#,
            r#"{"minDelayTarget":0}"#,
            r#"{"minDelayTarget":30}"#,
            r#"{"maxDelayTarget":3601}"#,
            r#"{"numRetries":3,"numNoDelayRetries":2,"numMinDelayRetries":2}"#,
            r#"{"numRetries":100,"minDelayTarget":40,"maxDelayTarget":40}"#,
            r#"{"numNoDelayRetries":4294967295,"numMinDelayRetries":4294967295}"#,
            r#"{"numRetries":-1}"#,
            r#"{"numRetries":"x"}"#,
            r#"{"backoffFunction":"cubic"}"#,
            "[]",
            "3",
        ] {
            let json = format!(r#"{{"healthyRetryPolicy":{healthy}}}"#);
            assert!(DeliveryPolicy::of_subscription(&json).is_err(), "{json}");
        }
        for json in [
            "",
            "[]",
            "{",
            r#"{"throttlePolicy":{"maxReceivesPerSecond":0}}"#,
            r#"{"requestPolicy":{"headerContentType":"a\nb"}}"#,
            &format!("{{}}{}", " ".repeat(SMALL_POLICY_BYTES_MAX)),
        ] {
            assert!(DeliveryPolicy::of_subscription(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_subscriptions_policy_counts_unless_the_topic_forbids_it() {
        let own = r#"{"healthyRetryPolicy":{"numRetries":1},"throttlePolicy":{"maxReceivesPerSecond":7}}"#;
        let topic = |overrules: bool| {
            format!(
                r#"{{"http":{{"defaultHealthyRetryPolicy":{{"numRetries":2}},"disableSubscriptionOverrides":{overrules}}}}}"#
            )
        };
        let retries = |own: Option<&str>, topic: Option<&str>| {
            let policy = DeliveryPolicy::in_force(own, topic);
            (1..).map_while(|failures| policy.delay_ms(failures)).count()
        };
        assert_eq!(retries(None, None), 3);
        assert_eq!(retries(Some(own), None), 1);
        assert_eq!(retries(None, Some(&topic(false))), 2);
        assert_eq!(retries(Some(own), Some(&topic(false))), 1);
        assert_eq!(retries(Some(own), Some(&topic(true))), 2);
        assert_eq!(DeliveryPolicy::in_force(Some(own), None).receives_per_second(), Some(7));
    }
}

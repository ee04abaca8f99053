//! The policy of a POST form: until when it holds and what the form must be.
//! Invariant: a field that no condition covers refuses the form, so a signed policy never lets more through than it says.

use serde_json::Value;

use super::error::{Code, Error};
use super::form::Fields;

/// A policy that was read.
#[derive(Clone, Debug)]
pub struct Policy {
    expires: aws::Timestamp,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug)]
enum Condition {
    Equal { field: String, value: String },
    StartsWith { field: String, value: String },
    Length { min: u64, max: u64 },
}

impl Policy {
    /// Reads a policy from its base64 text.
    pub fn parse(text: &str) -> Result<Policy, Error> {
        let compact: String = text.chars().filter(|char| !char.is_ascii_whitespace()).collect();
        let json =
            aws::encoding::unbase64(compact.as_bytes()).ok_or_else(|| invalid("Policy is not base64."))?;
        let json: Value = serde_json::from_slice(&json).map_err(|_| invalid("Invalid JSON."))?;
        let expires = json.get("expiration").and_then(Value::as_str);
        let expires = expires.ok_or_else(|| invalid("Policy missing expiration."))?;
        let expires = aws::Timestamp::parse_iso8601(expires.as_bytes())
            .ok_or_else(|| invalid("Invalid 'expiration' value."))?;
        let listed = json.get("conditions").and_then(Value::as_array);
        let listed = listed.ok_or_else(|| invalid("Policy missing conditions."))?;
        let mut conditions = Vec::new();
        for condition in listed {
            match condition {
                Value::Object(pairs) if !pairs.is_empty() => {
                    for (field, value) in pairs {
                        let value = text_of(value).ok_or_else(|| invalid("Invalid Simple-Condition."))?;
                        conditions.push(Condition::Equal { field: field.to_ascii_lowercase(), value });
                    }
                }
                Value::Array(parts) => conditions.push(parse_condition(parts)?),
                _ => return Err(invalid("Invalid Simple-Condition.")),
            }
        }
        Ok(Policy { expires, conditions })
    }

    /// Checks a form. `bucket`: the bucket of the request, which counts as a field.
    pub fn check(&self, fields: &Fields, bucket: &str, now: aws::Timestamp) -> Result<(), Error> {
        if self.expires <= now {
            return Err(denied("Policy expired."));
        }
        let value_of = |field: &str| match field {
            "bucket" => Some(bucket),
            field => fields.get(field),
        };
        for condition in &self.conditions {
            let (field, holds) = match condition {
                Condition::Equal { field, value } => (field, value_of(field) == Some(value.as_str())),
                Condition::StartsWith { field, value } => {
                    // A field that is absent is empty.
                    (field, value_of(field).unwrap_or("").starts_with(value.as_str()))
                }
                Condition::Length { .. } => continue,
            };
            if !holds {
                return Err(denied(&format!("Policy Condition failed: [\"{field}\"]")));
            }
        }
        let is_covered = |name: &str| {
            self.conditions.iter().any(|condition| match condition {
                Condition::Equal { field, .. } | Condition::StartsWith { field, .. } => field == name,
                Condition::Length { .. } => false,
            })
        };
        let names = fields.iter().map(|(name, _)| name).chain(["bucket"]);
        for name in names {
            if !is_exempt(name) && !is_covered(name) {
                return Err(denied(&format!("Extra input fields: {name}")));
            }
        }
        Ok(())
    }

    /// The lengths that a file may have, both ends included. `None`: the policy says nothing.
    #[must_use]
    pub fn lengths(&self) -> Option<(u64, u64)> {
        let mut found: Option<(u64, u64)> = None;
        for condition in &self.conditions {
            if let Condition::Length { min, max } = condition {
                found = Some(match found {
                    None => (*min, *max),
                    Some((low, high)) => (low.max(*min), high.min(*max)),
                });
            }
        }
        found
    }
}

/// Fields that need no condition. A checksum only narrows what the file may be.
fn is_exempt(name: &str) -> bool {
    const EXEMPT: [&str; 5] = ["awsaccesskeyid", "signature", "x-amz-signature", "policy", "file"];
    EXEMPT.contains(&name) || name.starts_with("x-ignore-") || name.starts_with("x-amz-checksum-")
}

fn parse_condition(parts: &[Value]) -> Result<Condition, Error> {
    let [operator, first, second] = parts else { return Err(invalid("Invalid condition.")) };
    let operator = operator.as_str().unwrap_or("").to_ascii_lowercase();
    if operator == "content-length-range" {
        let bound = |value: &Value| {
            let number = match value {
                Value::String(text) => text.parse().ok(),
                other => other.as_u64(),
            };
            number.ok_or_else(|| invalid("Invalid content-length-range."))
        };
        return Ok(Condition::Length { min: bound(first)?, max: bound(second)? });
    }
    let field = first.as_str().and_then(|field| field.strip_prefix('$'));
    let field = field.ok_or_else(|| invalid("Invalid condition field."))?.to_ascii_lowercase();
    let value = text_of(second).ok_or_else(|| invalid("Invalid condition value."))?;
    match operator.as_str() {
        "eq" => Ok(Condition::Equal { field, value }),
        "starts-with" => Ok(Condition::StartsWith { field, value }),
        _ => Err(invalid("Invalid condition operator.")),
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn invalid(why: &str) -> Error {
    Error::from(Code::InvalidPolicyDocument).message(format!("Invalid Policy: {why}"))
}

fn denied(why: &str) -> Error {
    Error::from(Code::AccessDenied).message(format!("Invalid according to Policy: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: aws::Timestamp = aws::Timestamp(1_700_000_000_000);

    fn policy(conditions: &str) -> Result<Policy, Error> {
        let json = format!("{{\"expiration\":\"2030-01-01T00:00:00Z\",\"conditions\":{conditions}}}");
        Policy::parse(&aws::encoding::base64(json.as_bytes()))
    }

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.set(name, (*value).to_owned());
        }
        fields
    }

    #[test]
    fn conditions_must_hold_and_cover_every_field() {
        let all = policy(r#"[{"bucket":"b"},["starts-with","$Key","foo"],["EQ","$acl","private"]]"#)
            .expect("valid");
        let check = |pairs: &[(&str, &str)]| all.check(&fields(pairs), "b", NOW);
        assert!(
            check(&[("key", "foo.txt"), ("acl", "private"), ("x-ignore-me", "1"), ("policy", "p")]).is_ok()
        );
        for bad in [
            &[("key", "bar"), ("acl", "private")][..],
            &[("key", "foo")],
            &[("key", "foo"), ("acl", "public-read")],
            &[("key", "foo"), ("acl", "private"), ("content-type", "x")],
        ] {
            assert!(check(bad).expect_err("refused").is(Code::AccessDenied), "{bad:?}");
        }
        let good = [("key", "foo"), ("acl", "private")];
        assert!(all.check(&fields(&good), "other", NOW).is_err());
        assert!(all.check(&fields(&good), "b", aws::Timestamp(i64::MAX)).is_err());
        let uncovered = policy(r#"[["starts-with","$key",""]]"#).expect("valid");
        assert!(uncovered.check(&fields(&[("key", "k")]), "b", NOW).is_err(), "the bucket is a field");
    }

    #[test]
    fn malformed_policies_are_told_from_violated_ones() {
        for bad in [
            "[{}]",
            "[1]",
            "{}",
            r#"[["content-length-range",0]]"#,
            r#"[["content-length-range",-1,5]]"#,
            r#"[["matches","$key","x"]]"#,
            r#"[["eq","key","x"]]"#,
        ] {
            assert!(policy(bad).expect_err("refused").is(Code::InvalidPolicyDocument), "{bad}");
        }
        let parse = |json: &str| Policy::parse(&aws::encoding::base64(json.as_bytes()));
        assert!(parse(r#"{"EXPIRATION":"2030-01-01T00:00:00Z","conditions":[]}"#).is_err());
        assert!(parse(r#"{"expiration":"2030-01-01T00:00:00Z","CONDITIONS":[]}"#).is_err());
        assert!(parse(r#"{"expiration":"soon","conditions":[]}"#).is_err());
        assert!(parse("no json").is_err());
        assert!(Policy::parse("no base64!").is_err());
    }

    #[test]
    fn length_ranges_intersect() {
        let found =
            policy(r#"[["content-length-range",1,10],["content-length-range","5","20"]]"#).expect("valid");
        assert_eq!(found.lengths(), Some((5, 10)));
        assert_eq!(policy("[]").expect("valid").lengths(), None);
    }
}

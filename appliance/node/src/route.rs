//! Which service a request is for: by `X-Amz-Target`, by the scope of its signature, by `Action=`, else by path.
//! Invariant: in virtual-host style every path belongs to the bucket, so `/-/` and `/v1/` are ours only where the host
//! names no bucket.
//! Leaves to the services: everything behind the name.

use http::RequestHead;

/// Where a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// `/-/`: health, metrics, administration.
    Admin,
    /// One of our services.
    Service(ServiceId),
    /// A service of AWS that this appliance knows by name and does not have.
    Absent(&'static AbsentService),
}

/// The services that are built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServiceId {
    /// Objects.
    S3,
    /// Tables and their streams.
    Dynamodb,
}

impl ServiceId {
    /// Every one.
    pub const ALL: [ServiceId; 2] = [ServiceId::S3, ServiceId::Dynamodb];
}

/// A service that is not built, and how its clients read errors.
#[derive(PartialEq, Eq, Debug)]
pub struct AbsentService {
    /// Its name in a scope.
    pub name: &'static str,
    /// The shape of its errors.
    pub dialect: Dialect,
}

/// How a service writes errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// awsJson: `{"__type":...}`.
    Json,
    /// awsQuery and ec2Query: `<ErrorResponse>`.
    Query,
    /// restJson: `x-amzn-ErrorType` and `{"message":...}`.
    RestJson,
}

/// By scope name.
static ABSENT: [AbsentService; 11] = [
    AbsentService { name: "sqs", dialect: Dialect::Json },
    AbsentService { name: "kms", dialect: Dialect::Json },
    AbsentService { name: "logs", dialect: Dialect::Json },
    AbsentService { name: "sns", dialect: Dialect::Query },
    AbsentService { name: "iam", dialect: Dialect::Query },
    AbsentService { name: "sts", dialect: Dialect::Query },
    AbsentService { name: "ec2", dialect: Dialect::Query },
    AbsentService { name: "elasticloadbalancing", dialect: Dialect::Query },
    AbsentService { name: "monitoring", dialect: Dialect::Query },
    AbsentService { name: "lambda", dialect: Dialect::RestJson },
    AbsentService { name: "api", dialect: Dialect::RestJson },
];

/// How `X-Amz-Target` begins; DynamoDB's streams have a word of their own that begins like the tables'.
const TARGETS: [(&str, &str); 4] =
    [("DynamoDB", "dynamodb"), ("AmazonSQS", "sqs"), ("TrentService", "kms"), ("Logs_", "logs")];

/// Names the service of a request.
pub fn route(head: &RequestHead, virtual_hosts: &[String]) -> Route {
    if let Some(target) = head.headers.get("x-amz-target").and_then(|value| value.to_str().ok())
        && let Some((_, name)) = TARGETS.iter().find(|(prefix, _)| target.starts_with(prefix))
    {
        return named(name);
    }
    let scope = scope_service(head);
    if let Some(service) = scope {
        if service == DYNAMODB {
            return Route::Service(ServiceId::Dynamodb);
        }
        if let Some(found) = ABSENT.iter().find(|absent| absent.name == service) {
            return Route::Absent(found);
        }
    }
    let by_path = head.authority.as_deref().and_then(|host| bucket_of_host(host, virtual_hosts)).is_none();
    if by_path && (head.path == "/-" || head.path.starts_with("/-/")) {
        return Route::Admin;
    }
    if by_path && (head.path.starts_with("/v1/") || head.path.starts_with("/api/v1/")) {
        return named("api");
    }
    // Amazon's own name of the service, of a request that says nothing else: a health check.
    if by_path && scope.is_none() && head.authority.as_deref().is_some_and(is_host_of_dynamodb) {
        return Route::Service(ServiceId::Dynamodb);
    }
    Route::Service(ServiceId::S3)
}

/// DynamoDB's name in a scope.
const DYNAMODB: &str = "dynamodb";

fn is_host_of_dynamodb(authority: &str) -> bool {
    authority.get(..DYNAMODB.len()).is_some_and(|name| name.eq_ignore_ascii_case(DYNAMODB))
        && authority.as_bytes().get(DYNAMODB.len()) == Some(&b'.')
}

fn named(name: &str) -> Route {
    if name == DYNAMODB {
        return Route::Service(ServiceId::Dynamodb);
    }
    Route::Absent(
        ABSENT.iter().find(|absent| absent.name == name).expect("the names in this file are in the table"),
    )
}

/// How a SigV4 header begins.
const SIGNATURE_START: &str = "AWS4-HMAC-SHA256 Credential=";

/// The service in the scope of a SigV4 signature, in the header or in the query. Nothing is verified here.
fn scope_service(head: &RequestHead) -> Option<&str> {
    let header = head.headers.get(http_types::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    // Every SDK writes it right behind the algorithm; looking for the word takes longer.
    if let Some(text) = header
        && let Some(credential) =
            text.strip_prefix(SIGNATURE_START).or_else(|| text.split("Credential=").nth(1))
    {
        let end = credential.bytes().position(|byte| byte == b',' || byte == b' ');
        return credential[..end.unwrap_or(credential.len())].rsplit('/').nth(1);
    }
    let query = head.query.as_deref()?;
    let credential = query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Credential="))?;
    // Slashes in the value are coded, in either case.
    let mut parts =
        credential.rsplit('/').flat_map(|part| part.rsplit("%2F")).flat_map(|part| part.rsplit("%2f"));
    parts.nth(1)
}

/// The bucket that a host name carries in front of one of our domains.
pub fn bucket_of_host<'a>(authority: &'a str, virtual_hosts: &[String]) -> Option<&'a str> {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    virtual_hosts.iter().filter_map(|domain| bucket_before(host, domain)).min_by_key(|bucket| bucket.len())
}

fn bucket_before<'a>(host: &'a str, domain: &str) -> Option<&'a str> {
    let split = host.len().checked_sub(domain.len())?;
    let (front, back) = (host.get(..split)?, host.get(split..)?);
    let bucket = front.strip_suffix('.')?;
    (back.eq_ignore_ascii_case(domain) && !bucket.is_empty()).then_some(bucket)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use http_types::{HeaderMap, HeaderValue, Method};

    /// A head as a client on this machine would send it.
    pub fn head(method: Method, path: &str, query: Option<&str>) -> RequestHead {
        RequestHead {
            method,
            path: path.into(),
            query: query.map(Into::into),
            headers: HeaderMap::new(),
            version: http::Version::H11,
            authority: Some("127.0.0.1:8080".into()),
            tls: false,
            peer: "127.0.0.1:50000".parse().expect("address"),
        }
    }

    fn hosts() -> Vec<String> {
        vec!["localhost".into(), "s3.example.test".into(), "example.test".into()]
    }

    #[test]
    fn the_service_is_named_by_target_scope_or_path() {
        let mut request = head(Method::POST, "/", None);
        request.headers.insert("x-amz-target", HeaderValue::from_static("DynamoDB_20120810.GetItem"));
        assert_eq!(route(&request, &hosts()), Route::Service(ServiceId::Dynamodb));
        request
            .headers
            .insert("x-amz-target", HeaderValue::from_static("DynamoDBStreams_20120810.ListStreams"));
        assert_eq!(route(&request, &hosts()), Route::Service(ServiceId::Dynamodb));
        request.headers.insert("x-amz-target", HeaderValue::from_static("AmazonSQS.SendMessage"));
        assert!(matches!(route(&request, &hosts()), Route::Absent(service) if service.name == "sqs"));
        let query = "X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fdynamodb%2Faws4_request";
        let presigned = head(Method::POST, "/", Some(query));
        assert_eq!(route(&presigned, &hosts()), Route::Service(ServiceId::Dynamodb));
        let mut request = head(Method::POST, "/", None);
        let signed = "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/sns/aws4_request, SignedHeaders=host, Signature=0";
        request.headers.insert("authorization", HeaderValue::from_static(signed));
        assert!(matches!(route(&request, &hosts()), Route::Absent(service) if service.name == "sns"));
        let query = "a=b&X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Flambda%2Faws4_request";
        assert!(
            matches!(route(&head(Method::GET, "/", Some(query)), &hosts()), Route::Absent(s) if s.name == "lambda")
        );
        let query = "X-Amz-Credential=AK/20260101/us-east-1/s3/aws4_request";
        assert_eq!(route(&head(Method::GET, "/b/k", Some(query)), &hosts()), Route::Service(ServiceId::S3));
        assert_eq!(route(&head(Method::GET, "/-/live", None), &hosts()), Route::Admin);
        assert_eq!(
            route(&head(Method::GET, "/bucket/-/live", None), &hosts()),
            Route::Service(ServiceId::S3)
        );
        assert!(
            matches!(route(&head(Method::GET, "/api/v1/x", None), &hosts()), Route::Absent(s) if s.name == "api")
        );
    }

    #[test]
    fn a_virtual_host_owns_every_path() {
        let mut request = head(Method::GET, "/-/metrics", None);
        request.authority = Some("bucket.localhost:8080".into());
        assert_eq!(route(&request, &hosts()), Route::Service(ServiceId::S3));
    }

    #[test]
    fn amazons_host_name_of_dynamodb_needs_no_signature_and_is_no_bucket() {
        let of = |host: &str, hosts: &[String]| {
            let mut request = head(Method::GET, "/", None);
            request.authority = Some(host.into());
            route(&request, hosts)
        };
        for host in ["dynamodb.us-east-1.amazonaws.com", "DynamoDB.eu-west-1.amazonaws.com:8080"] {
            assert_eq!(of(host, &hosts()), Route::Service(ServiceId::Dynamodb), "{host}");
        }
        for host in ["dynamodb", "dynamodbs.test", "dynamodb.localhost", "my.dynamodb.test"] {
            assert_eq!(of(host, &hosts()), Route::Service(ServiceId::S3), "{host}");
        }
    }

    #[test]
    fn the_longest_domain_gives_the_bucket() {
        let hosts = hosts();
        assert_eq!(bucket_of_host("a.b.s3.example.test:80", &hosts), Some("a.b"));
        assert_eq!(bucket_of_host("S3.Example.Test", &["s3.example.test".to_string()]), None);
        assert_eq!(bucket_of_host("x.LOCALHOST", &hosts), Some("x"));
        assert_eq!(bucket_of_host("localhost:8080", &hosts), None);
        assert_eq!(bucket_of_host("notlocalhost", &hosts), None);
        assert_eq!(bucket_of_host("[::1]:8080", &hosts), None);
        assert_eq!(bucket_of_host("é.localhost", &hosts), Some("é"));
    }
}

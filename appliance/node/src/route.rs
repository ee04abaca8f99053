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
    /// Queues.
    Sqs,
    /// Topics.
    Sns,
    /// The build cache.
    Cache,
}

impl ServiceId {
    /// Every one.
    pub const ALL: [ServiceId; 5] =
        [ServiceId::S3, ServiceId::Dynamodb, ServiceId::Sqs, ServiceId::Sns, ServiceId::Cache];
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

/// The services that are built and have a name of their own in a scope, in a target and in front of Amazon's hosts. What
/// names nothing of these is S3's.
const BUILT: [(&str, ServiceId); 3] =
    [("dynamodb", ServiceId::Dynamodb), (SQS, ServiceId::Sqs), (SNS, ServiceId::Sns)];

/// By scope name.
static ABSENT: [AbsentService; 9] = [
    AbsentService { name: "kms", dialect: Dialect::Json },
    AbsentService { name: "logs", dialect: Dialect::Json },
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
    if let Some(service) = scope
        && let Some(route) = try_named(service)
    {
        return route;
    }
    let by_path = head.authority.as_deref().and_then(|host| bucket_of_host(host, virtual_hosts)).is_none();
    if !by_path {
        return Route::Service(ServiceId::S3);
    }
    if head.path == "/-" || head.path.starts_with("/-/") {
        return Route::Admin;
    }
    if is_path_of_cache(&head.path) {
        return Route::Service(ServiceId::Cache);
    }
    if head.path.starts_with("/v1/") || head.path.starts_with("/api/v1/") {
        return named("api");
    }
    if scope.is_some() {
        return Route::Service(ServiceId::S3);
    }
    // Amazon's own name of a service, of a request that says nothing else: a health check, or one that nobody signed.
    if let Some((_, service)) =
        BUILT.iter().find(|(name, _)| head.authority.as_deref().is_some_and(|host| is_host_of(name, host)))
    {
        return Route::Service(*service);
    }
    unsigned_query(head).map_or(Route::Service(ServiceId::S3), named)
}

/// Names the service of a request where nothing but the build cache is served: its dialects then stand at the root too.
pub fn route_to_cache(head: &RequestHead) -> Route {
    let is_admin = head.path == "/-" || head.path.starts_with("/-/") || head.path == METRICS_ALIAS;
    if is_admin { Route::Admin } else { Route::Service(ServiceId::Cache) }
}

/// What other caches call `/-/metrics`.
pub const METRICS_ALIAS: &str = "/metrics";

/// Whether a path is the build cache's on the port that it shares with buckets. `api` is no bucket's name, and two letters
/// are none either.
fn is_path_of_cache(path: &str) -> bool {
    const PREFIXES: [&str; 3] = ["/api/v1/", "/v8/artifacts/", "/v1/cache/"];
    // Turborepo asks for many artifacts at once there.
    const WHOLE: &str = "/v8/artifacts";
    path == WHOLE || PREFIXES.iter().any(|prefix| path.starts_with(prefix))
}

/// Queues' name in a scope.
const SQS: &str = "sqs";
/// Topics' name in a scope.
const SNS: &str = "sns";
/// The version that requests to topics name.
const SNS_VERSION: &str = "2010-03-31";

/// The actions of the links in messages of topics.
const LINKS: [&str; 2] = ["ConfirmSubscription", "Unsubscribe"];

/// The service of the Query protocol that an unsigned request is for: one that somebody let in by a policy, or a link that
/// a message carries. Nothing of S3 has an `Action`, nor posts a form of this type to the root or below an account.
fn unsigned_query(head: &RequestHead) -> Option<&'static str> {
    let query = head.query.as_deref().unwrap_or_default();
    if head.method == http_types::Method::GET && sns::signing::is_certificate_path(&head.path) {
        return Some(SNS);
    }
    if aws::query::peek(query, "Action").is_some() {
        return Some(of_version(query));
    }
    let content_type = head.headers.get(http_types::header::CONTENT_TYPE)?.to_str().ok()?;
    let is_form = content_type.starts_with("application/x-www-form-urlencoded")
        && head.method == http_types::Method::POST
        && query.is_empty();
    // Which of the two a form is for stands in its body, which `of_form` looks at.
    (is_form && (head.path == "/" || is_path_of_queue(&head.path))).then_some(SQS)
}

/// The service that an unsigned form is for, which the head alone does not say.
pub fn of_form(form: &[u8]) -> ServiceId {
    match of_version(str::from_utf8(form).unwrap_or_default()) {
        SNS => ServiceId::Sns,
        _ => ServiceId::Sqs,
    }
}

/// Whether a path is that of a queue's URL: an account and a name.
fn is_path_of_queue(path: &str) -> bool {
    let mut parts = path.trim_start_matches('/').split('/');
    let (account, name, rest) = (parts.next(), parts.next(), parts.next());
    rest.is_none() && name.is_some() && account.and_then(aws::account::AccountId::parse).is_some()
}

fn of_version(parameters: &str) -> &'static str {
    match aws::query::peek(parameters, "Version").as_deref() {
        Some(SNS_VERSION) => SNS,
        // The links in messages of topics name no version.
        None if aws::query::peek(parameters, "Action").is_some_and(|action| LINKS.contains(&&*action)) => SNS,
        _ => SQS,
    }
}

fn is_host_of(name: &str, authority: &str) -> bool {
    authority.get(..name.len()).is_some_and(|front| front.eq_ignore_ascii_case(name))
        && authority.as_bytes().get(name.len()) == Some(&b'.')
}

fn try_named(name: &str) -> Option<Route> {
    if let Some((_, service)) = BUILT.iter().find(|(built, _)| *built == name) {
        return Some(Route::Service(*service));
    }
    ABSENT.iter().find(|absent| absent.name == name).map(Route::Absent)
}

fn named(name: &str) -> Route {
    try_named(name).expect("the names in this file are in its tables")
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
        assert_eq!(route(&request, &hosts()), Route::Service(ServiceId::Sqs));
        request.headers.insert("x-amz-target", HeaderValue::from_static("TrentService.Encrypt"));
        assert!(matches!(route(&request, &hosts()), Route::Absent(service) if service.name == "kms"));
        let query = "X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fdynamodb%2Faws4_request";
        let presigned = head(Method::POST, "/", Some(query));
        assert_eq!(route(&presigned, &hosts()), Route::Service(ServiceId::Dynamodb));
        let mut request = head(Method::POST, "/", None);
        let signed = "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/sns/aws4_request, SignedHeaders=host, Signature=0";
        request.headers.insert("authorization", HeaderValue::from_static(signed));
        assert_eq!(route(&request, &hosts()), Route::Service(ServiceId::Sns));
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
            matches!(route(&head(Method::GET, "/v1/x", None), &hosts()), Route::Absent(s) if s.name == "api")
        );
    }

    #[test]
    fn the_build_cache_has_its_prefixes_and_alone_it_has_every_path() {
        let cache = Route::Service(ServiceId::Cache);
        for path in [
            "/api/v1/objects/00",
            "/api/v1/cache/default/bazel/ac/00",
            "/v8/artifacts/0123456789abcdef",
            "/v8/artifacts",
            "/v1/cache/123",
        ] {
            assert_eq!(route(&head(Method::GET, path, None), &hosts()), cache, "{path}");
            assert_eq!(route_to_cache(&head(Method::GET, path, None)), cache, "{path}");
        }
        for path in ["/cas/00", "/ac/00", "/status", "/metrics", "/v8/artifactsx"] {
            assert_eq!(
                route(&head(Method::GET, path, None), &hosts()),
                Route::Service(ServiceId::S3),
                "{path}"
            );
        }
        for path in ["/cas/00", "/ac/00", "/status", "/bucket/key", "/v1/x"] {
            assert_eq!(route_to_cache(&head(Method::GET, path, None)), cache, "{path}");
        }
        for path in ["/-/live", "/metrics"] {
            assert_eq!(route_to_cache(&head(Method::GET, path, None)), Route::Admin, "{path}");
        }
        // Signed as for S3, as `curl --aws-sigv4` does it.
        let mut request = head(Method::GET, "/api/v1/stats", None);
        let signed = "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        request.headers.insert("authorization", HeaderValue::from_static(signed));
        assert_eq!(route(&request, &hosts()), cache);
        let mut virtual_host = head(Method::GET, "/api/v1/stats", None);
        virtual_host.authority = Some("bucket.localhost".into());
        assert_eq!(route(&virtual_host, &hosts()), Route::Service(ServiceId::S3));
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
        assert_eq!(of("sqs.us-east-1.amazonaws.com", &hosts()), Route::Service(ServiceId::Sqs));
        for host in ["dynamodb", "sqs", "dynamodbs.test", "dynamodb.localhost", "my.dynamodb.test"] {
            assert_eq!(of(host, &hosts()), Route::Service(ServiceId::S3), "{host}");
        }
    }

    #[test]
    fn an_unsigned_query_goes_to_the_service_of_its_version_and_an_unsigned_form_to_queues() {
        let of = |method, path: &str, query: Option<&str>, content_type: Option<&'static str>| {
            let mut request = head(method, path, query);
            if let Some(content_type) = content_type {
                request.headers.insert("content-type", HeaderValue::from_static(content_type));
            }
            route(&request, &hosts())
        };
        let form = Some("application/x-www-form-urlencoded; charset=utf-8");
        let queues = Route::Service(ServiceId::Sqs);
        let query = "Action=SendMessage&Version=2012-11-05&MessageBody=x";
        assert_eq!(of(Method::GET, "/123456789012/orders", Some(query), None), queues);
        assert_eq!(of(Method::GET, "/", Some("Action=ListQueues"), None), queues);
        assert_eq!(of(Method::POST, "/123456789012/orders", None, form), queues);
        assert_eq!(of(Method::POST, "/", None, form), queues);
        let topics = "Action=ConfirmSubscription&Version=2010-03-31&Token=x";
        assert_eq!(of(Method::GET, "/", Some(topics), None), Route::Service(ServiceId::Sns));
        let link = "Action=Unsubscribe&SubscriptionArn=arn:aws:sns:us-east-1:123456789012:t:x";
        assert_eq!(of(Method::GET, "/", Some(link), None), Route::Service(ServiceId::Sns));
        assert_eq!(of_form(b"Action=Publish&Version=2010-03-31&Message=x"), ServiceId::Sns);
        assert_eq!(of_form(b"Action=SendMessage&MessageBody=Version=2010-03-31"), ServiceId::Sqs);
        assert_eq!(of_form(b"\xff"), ServiceId::Sqs);
        let objects = Route::Service(ServiceId::S3);
        assert_eq!(of(Method::POST, "/bucket", None, form), objects);
        assert_eq!(of(Method::POST, "/123456789012/orders/more", None, form), objects);
        assert_eq!(of(Method::POST, "/bucket", Some("delete"), form), objects);
        assert_eq!(of(Method::PUT, "/123456789012/orders", None, form), objects);
        assert_eq!(of(Method::GET, "/bucket/key", Some("Actions=1"), None), objects);
        let mut virtual_host = head(Method::GET, "/key", Some(query));
        virtual_host.authority = Some("bucket.localhost".into());
        assert_eq!(route(&virtual_host, &hosts()), objects);
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

//! What a configuration file and the environment may say, and how refusals read.

use super::*;
use std::ffi::OsString;

fn file(text: &str) -> Result<Layer, Failure> {
    from_text(Path::new("/etc/zerocloud/z.toml"), text)
}

fn merged(text: &str) -> Result<Config, Failure> {
    Config::merge(Layer::default(), Layer::default(), Some(file(text)?), false)
}

fn refusal(text: &str) -> String {
    let failure = merged(text).expect_err("must be refused");
    assert_eq!(failure.exit, crate::exit::Exit::Configuration);
    assert!(!failure.message.contains('\n'), "one line: {failure}");
    failure.message
}

#[test]
fn nothing_at_all_is_a_complete_configuration() {
    let config = Config::merge(Layer::default(), Layer::default(), None, false).expect("defaults are valid");
    assert_eq!(config.data, Path::new("./zerocloud-data"));
    assert_eq!(config.listen, ["127.0.0.1:8080".parse().expect("address")]);
    assert_eq!((config.region.as_str(), config.account_id.as_str()), ("us-east-1", "000000000000"));
    assert!(config.s3.default_public_access_block && config.s3.sse_c_needs_tls);
    assert_eq!(config.s3.sigv2, SigV2::Presigned);
    assert_eq!(config.virtual_hosts, ["localhost"]);
}

#[test]
fn version_2_signatures_have_three_settings() {
    for (text, expected) in
        [("true", SigV2::Everywhere), ("false", SigV2::Refused), ("\"presigned\"", SigV2::Presigned)]
    {
        let layer = file(&format!("[s3]\nsigv2 = {text}\n")).expect("valid");
        let config = Config::merge(Layer::default(), Layer::default(), Some(layer), false).expect("valid");
        assert_eq!(config.s3.sigv2, expected, "{text}");
    }
    for (text, found) in [("\"true\"", "\"true\""), ("1", "integer")] {
        let message = refusal(&format!("[s3]\nsigv2 = {text}\n"));
        let expected = format!(":2: `s3.sigv2` must be true, false or \"presigned\", not {found}");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_key() {
    assert_eq!(
        refusal("region = \"eu-west-1\"\nlisen = \"127.0.0.1:1\"\n"),
        "/etc/zerocloud/z.toml:2: unknown key `lisen`; did you mean `listen`?"
    );
    assert_eq!(
        refusal("[s3]\nsigv2 = true\ndefault_owership = \"ObjectWriter\"\n"),
        "/etc/zerocloud/z.toml:3: unknown key `s3.default_owership`; did you mean `default_ownership`?"
    );
    let message = refusal("[log]\nzzzzzzz = 1\n");
    assert!(message.contains(":2: unknown key `log.zzzzzzz`; known here: level, access"), "{message}");
    assert!(refusal("[s4]\n").contains("did you mean `s3`?"));
}

#[test]
fn the_first_unknown_key_of_a_file_is_named() {
    assert!(refusal("zz1 = 1\naa2 = 1\n").contains(":1: unknown key `zz1`"));
}

#[test]
fn a_value_of_the_wrong_type_or_range_is_refused_with_its_line() {
    assert!(refusal("\nshards = \"two\"\n").contains(":2: `shards` must be a whole number, not string"));
    assert!(refusal("shards = 0").contains("`shards` must be a whole number from 1 to 256"));
    assert!(refusal("shards = -1").contains("from 1 to 256"));
    assert!(refusal("listen = [1]").contains("must be a list of strings"));
    assert!(refusal("listen = [\"nowhere\"]").contains("needs an address and a port"));
    assert!(refusal("account_id = \"12\"").contains("12 digits"));
    assert!(refusal("[log]\nlevel = \"loud\"").contains("must be one of error, warn, info, debug"));
    assert!(refusal("region = \"us east\"").contains("region"));
    assert!(refusal("tls_cert = \"a.pem\"").contains("without tls_key"));
    assert!(refusal("a = = 1").contains(":1: not valid TOML"));
    assert!(refusal("listen = []").contains("listen is empty"));
}

#[test]
fn a_syntax_error_does_not_show_the_text_of_the_file() {
    let message = refusal("[[account]]\nsecret_key = \"SuperSecretValue\nid = 1\n");
    assert!(!message.contains("SuperSecretValue"), "{message}");
}

#[test]
fn flag_beats_environment_beats_file() {
    let flags = Layer { region: Some("flag-1".into()), ..Layer::default() };
    let environment = Layer { region: Some("env-1".into()), data: Some("/env".into()), ..Layer::default() };
    let text = "region = \"file-1\"\ndata = \"/file\"\nshards = 7\n";
    let layer = file(text).expect("valid");
    let config = Config::merge(flags, environment, Some(layer), false).expect("valid");
    assert_eq!(config.region, "flag-1");
    assert_eq!(config.data, Path::new("/env"));
    assert_eq!(config.shards, Some(7));
}

#[test]
fn paths_in_a_file_are_beside_the_file() {
    let config = merged("data = \"here\"\ntls_cert = \"/abs/c.pem\"\ntls_key = \"k.pem\"").expect("valid");
    assert_eq!(config.data, Path::new("/etc/zerocloud/here"));
    let tls = config.tls.expect("both are set");
    assert_eq!((tls.cert, tls.key), ("/abs/c.pem".into(), "/etc/zerocloud/k.pem".into()));
}

#[test]
fn every_documented_key_of_s3_and_account_is_read() {
    let text = r#"
        region = "us-east-1"
        virtual_hosts = ["s3.example.test"]
        [[account]]
        id = "111111111111"
        name = "alt"
        access_key = "ALTKEY"
        secret_key = "altsecretaltsecret"
        canonical_id = "00000000000000000000000000000000000000000000000000000000000000ff"
        display_name = "Alt"
        email = "alt@example.test"
        tenant = "t1"
        [s3]
        default_ownership = "ObjectWriter"
        default_public_access_block = false
        sigv2 = true
        sse_c_needs_tls = false
        storage_classes = ["STANDARD", "LUKEWARM", "FROZEN"]
        kms_keys = ["testkey-1", "testkey-2"]
        [debug]
        day_seconds = 10
    "#;
    assert!(refusal(text).contains("needs --debug"));
    let layer = file(text).expect("valid");
    let config = Config::merge(Layer::default(), Layer::default(), Some(layer), true).expect("valid");
    assert_eq!(config.day_seconds, 10);
    assert_eq!(config.s3.storage_classes.len(), 3);
    assert!(
        config.s3.sigv2 == SigV2::Everywhere
            && !config.s3.sse_c_needs_tls
            && !config.s3.default_public_access_block
    );
    let ring = config.key_ring("ROOTKEY", &Secret::new("rootsecret")).expect("consistent");
    let key = aws::account::Credentials::lookup(&ring, "ALTKEY").expect("listed");
    assert_eq!(key.account.id.as_str(), "111111111111");
    assert_eq!(key.account.display_name, "Alt");
    assert_eq!(key.account.tenant.as_deref(), Some("t1"));
    assert!(key.account.canonical_id.as_str().ends_with("ff"));
}

#[test]
fn every_documented_key_of_the_cache_is_read() {
    let text = r#"
        [cache]
        max_bytes = "100GB"
        retention_days = 30
        max_age_days = 365
        lease_seconds = 600
        max_object_size = 1073741824
        scrub_days = 7
        scrub_rate = "8MiB"
        auth_required = true
        anonymous = "read"
        host_requests_per_minute = 100
        first_byte_ms = 400
        [[cache.namespace]]
        name = "web"
        max_bytes = "10GiB"
        max_objects = 100000
        requests_per_second = 50
        bytes_per_second = "100MB"
        retention_days = 7
        max_age_days = 14
        [[cache.namespace]]
        name = "app"
    "#;
    let cache = merged(text).expect("valid").cache;
    assert_eq!(cache.max_bytes, Some(cache::Size::Bytes(100_000_000_000)));
    assert_eq!((cache.retention.as_secs(), cache.lease.as_secs()), (30 * 86_400, 600));
    assert_eq!(cache.max_age.map(|age| age.as_secs()), Some(365 * 86_400));
    assert_eq!((cache.max_object_bytes, cache.anonymous), (1 << 30, tokens::Anonymous::Reads));
    assert_eq!((cache.scrub.map(|time| time.as_secs()), cache.scrub_rate), (Some(7 * 86_400), 8 << 20));
    assert_eq!(cache.namespaces[0].max_bytes, Some(10 << 30));
    assert_eq!((cache.namespaces[0].max_objects, cache.namespaces[1].max_objects), (Some(100_000), None));
    let [web, app] = &cache.namespaces[..] else { panic!("two namespaces") };
    let rates = |of: &cache::Namespace| {
        [of.requests_per_second, of.bytes_per_second, of.retention_days, of.max_age_days]
    };
    assert_eq!((rates(web), rates(app)), ([Some(50), Some(100_000_000), Some(7), Some(14)], [None; 4]));
    assert_eq!((cache.host_requests_per_minute, cache.first_byte.as_millis()), (Some(100), 400));
    let default = merged("").expect("valid").cache;
    assert_eq!((default.host_requests_per_minute, default.first_byte.as_millis()), (None, 250));
    assert_eq!((default.max_bytes, default.anonymous), (None, tokens::Anonymous::Refused));
    assert_eq!((default.retention.as_secs(), default.lease.as_secs()), (90 * 86_400, 1_800));
    assert_eq!((default.scrub.map(|time| time.as_secs()), default.scrub_rate), (Some(14 * 86_400), 64 << 20));
    assert_eq!(merged("[cache]\nscrub_days = 0").expect("valid").cache.scrub, None);
}

#[test]
fn a_wrong_value_of_the_cache_is_refused_with_its_line() {
    for (text, expected) in [
        ("max_bytes = \"100G\"", ":2: size `100G` must be like 100GB"),
        ("max_bytes = \"100%\"", ":2: size `100%` must be from 1% to 95%"),
        ("max_bytes = true", ":2: `cache.max_bytes` must be a size such as \"100GB\", not boolean"),
        ("max_object_size = \"20%\"", ":2: size `20%` must be like 100GB"),
        ("retention_days = 0", ":2: `cache.retention_days` must be a whole number from 1 to 36500"),
        ("anonymous = \"write\"", ":2: anonymous `write` must be \"none\" or \"read\""),
        ("max_byte = 1", ":2: unknown key `cache.max_byte`; did you mean `max_bytes`?"),
        ("[[cache.namespace]]\nmax_objects = 1", ":2: `namespace.name` is missing"),
        (
            "[[cache.namespace]]\nname = \"w\"\nbytes_per_second = \"10%\"",
            ":4: size `10%` must be like 100GB",
        ),
        (
            "[[cache.namespace]]\nname = \"w\"\nrequests_per_second = 0",
            ":4: `namespace.requests_per_second` must be a whole number from 1",
        ),
        ("[[cache.namespace]]\nname = \"Web\"", ":3: namespace `Web` must be"),
        (
            "[[cache.namespace]]\nname = \"w\"\n[[cache.namespace]]\nname = \"w\"",
            ":4: namespace `w` is listed twice",
        ),
        ("auth_required = false\nanonymous = \"none\"", "auth_required (AUTH_REQUIRED) is false and"),
    ] {
        let message = refusal(&format!("[cache]\n{text}\n"));
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn the_variables_of_the_cache_beat_its_table() {
    let lookup = |name: &str| match name {
        "MAX_CACHE_SIZE" => Some(OsString::from("20%")),
        "CACHE_RETENTION_DAYS" => Some(OsString::from("7")),
        "AUTH_REQUIRED" => Some(OsString::from("false")),
        "ZIM_CACHE_READ_TOKEN" => Some(OsString::from("secret-of-the-reader")),
        "ZIM_CACHE_WRITE_TOKEN" => Some(OsString::new()),
        _ => None,
    };
    let environment = from_environment(&lookup).expect("valid");
    let layer = file("[cache]\nmax_bytes = \"1GB\"\nretention_days = 90\nmax_age_days = 9").expect("valid");
    let config = Config::merge(Layer::default(), environment, Some(layer), false).expect("valid");
    assert_eq!(config.cache.max_bytes, Some(cache::Size::Percent(20)));
    assert_eq!(config.cache.retention.as_secs(), 7 * 86_400);
    assert_eq!(config.cache.max_age.map(|age| age.as_secs()), Some(9 * 86_400));
    assert_eq!(config.cache.anonymous, tokens::Anonymous::Writes);
    assert!(config.cache.read_token.is_some() && config.cache.write_token.is_none());
    assert!(!format!("{config:?}").contains("secret-of-the-reader"));
    for (name, value) in [
        ("MAX_CACHE_SIZE", "lots"),
        ("CACHE_RETENTION_DAYS", "0"),
        ("AUTH_REQUIRED", "maybe"),
        ("ZIM_CACHE_READ_TOKEN", "a b"),
    ] {
        let failure = from_environment(&|asked| (asked == name).then(|| value.into())).expect_err("refused");
        assert!(failure.message.starts_with(&format!("{name}: ")), "{failure}");
        assert!(name != "ZIM_CACHE_READ_TOKEN" || !failure.message.contains(value), "{failure}");
    }
}

#[test]
fn a_configuration_prints_without_its_secrets() {
    let text =
        "[[account]]\nid = \"111111111111\"\naccess_key = \"ALTKEY\"\nsecret_key = \"altsecretaltsecret\"\n";
    let config = merged(text).expect("valid");
    assert!(!format!("{config:?}").contains("altsecret"));
}

#[test]
fn a_key_stands_for_one_account_only() {
    let account =
        "[[account]]\nid = \"111111111111\"\naccess_key = \"ALTKEY\"\nsecret_key = \"altsecretaltsecret\"\n";
    assert!(refusal(&format!("{account}{account}")).contains("listed twice"));
    let config = merged(account).expect("valid");
    assert!(config.key_ring("ALTKEY", &Secret::new("rootsecret")).is_err());
}

#[test]
fn environment_variables_are_read_and_bad_ones_named() {
    let lookup = |name: &str| match name {
        "ZEROCLOUD_LISTEN" => Some(OsString::from("127.0.0.1:0, [::1]:9000")),
        "ZEROCLOUD_PIN" => Some(OsString::from("off")),
        "ZEROCLOUD_REGION" => Some(OsString::new()),
        _ => None,
    };
    let layer = from_environment(&lookup).expect("valid");
    assert_eq!(layer.listen.expect("set").len(), 2);
    assert_eq!(layer.pin, Some(false));
    assert_eq!(layer.region, None);
    let failure =
        from_environment(&|name| (name == "ZEROCLOUD_SHARDS").then(|| "many".into())).expect_err("refused");
    assert!(failure.message.starts_with("ZEROCLOUD_SHARDS: "), "{failure}");
}

#[test]
fn half_a_root_key_is_refused() {
    assert!(root_key_override(&|name| (name == "ZEROCLOUD_ROOT_ACCESS_KEY").then(|| "AKEY".into())).is_err());
}

#[test]
fn an_unknown_variable_is_named_with_the_nearest_one() {
    let names = ["ZEROCLOUD_LISTN", "ZEROCLOUD_DATA", "PATH"].map(OsString::from);
    let unknown = unknown_variables(names.into_iter());
    assert_eq!(unknown, [("ZEROCLOUD_LISTN".to_string(), Some("ZEROCLOUD_LISTEN".to_string()))]);
}

#[test]
fn listen_addresses_take_ipv6_and_localhost() {
    assert_eq!(parse_address("[::1]:80").expect("valid").to_string(), "[::1]:80");
    assert_eq!(parse_address("localhost:80").expect("valid").to_string(), "127.0.0.1:80");
    assert!(parse_address("127.0.0.1").is_err());
    assert!(parse_address("127.0.0.1:99999").is_err());
}

#[test]
fn settings_that_need_a_restart_are_named() {
    let old = merged("region = \"us-east-1\"\n[log]\nlevel = \"info\"").expect("valid");
    let new = merged("region = \"eu-west-1\"\n[log]\nlevel = \"debug\"").expect("valid");
    assert_eq!(old.needs_restart(&new), ["region"]);
    let old = merged("[cache]\nmax_bytes = \"1GB\"").expect("valid");
    let opened = merged("[cache]\nmax_bytes = \"1GB\"\nanonymous = \"read\"").expect("valid");
    assert!(old.needs_restart(&opened).is_empty());
    let grown = merged("[cache]\nmax_bytes = \"2GB\"\nanonymous = \"read\"").expect("valid");
    assert_eq!(old.needs_restart(&grown), ["cache"]);
}

#[test]
fn a_service_managers_sockets_replace_the_default_and_stand_beside_what_was_named() {
    let address = |text: &str| text.parse::<std::net::SocketAddr>().expect("address");
    let merge = |layer| Config::merge(layer, Layer::default(), None, false).expect("valid");
    let mut config = merge(Layer::default());
    config.inherit(&[]);
    assert_eq!(config.listen, [address("127.0.0.1:8080")]);
    config.inherit(&[address("[::1]:80")]);
    assert_eq!(config.listen, [address("[::1]:80")]);
    let named = vec![address("192.0.2.1:80"), address("[::1]:80")];
    let mut config = merge(Layer { listen: Some(named), ..Layer::default() });
    config.inherit(&[address("[::1]:80"), address("127.0.0.1:80")]);
    assert_eq!(config.listen, ["[::1]:80", "127.0.0.1:80", "192.0.2.1:80"].map(address));
    assert!(config.beyond_loopback());
}

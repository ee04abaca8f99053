//! The real binary, as its users meet it: start, configuration, refusals, health, signals.

mod harness;

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::{Node, PATIENCE, Scratch, run, secret_of, text, zerocloud};

#[test]
fn the_first_start_makes_a_private_directory_and_keys_and_says_where_it_listens() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let node = Node::start(&data, &[]);
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("credentials")), 0o600);
    assert!(node.greeting.contains(&format!("run: zerocloud env --data {}", data.display())));
    let endpoint = std::fs::read_to_string(data.join("endpoint")).expect("endpoint");
    assert_eq!(endpoint.lines().next(), Some(format!("http://{}", node.addresses[0]).as_str()));
    let secret = secret_of(&data);
    assert!(!node.greeting.contains(&secret), "a pipe is no terminal: the secret stays in its file");
    let log = node.stop();
    assert!(!log.contains(&secret));
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
    assert!(!data.join("endpoint").exists(), "a node that stopped has no endpoint");
    assert!(!log.contains("failed"), "{log}");
    // The second start keeps the keys.
    let node = Node::start(&data, &[]);
    assert_eq!(secret_of(&data), secret);
    let log = node.stop();
    assert!(!log.contains("failed"), "{log}");
}

#[test]
fn every_listener_gets_a_ready_line() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &["--listen", "127.0.0.1:0", "--listen", "localhost:0"]);
    assert_eq!(node.addresses.len(), 2);
    for address in &node.addresses {
        TcpStream::connect(address).expect("listens");
    }
    node.stop();
}

#[test]
fn health_and_metrics_answer_and_carry_request_ids() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let live = node.request("GET /-/live HTTP/1.1");
    assert!(live.starts_with("HTTP/1.1 200") && live.contains("x-amz-request-id: "), "{live}");
    let ready = node.request("GET /-/ready HTTP/1.1");
    let body = ready.split("\r\n\r\n").nth(1).expect("a body");
    let ready: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(ready["ready"], true);
    assert!(!ready["shards"].as_array().expect("shards").is_empty());
    let metrics = node.request("GET /-/metrics HTTP/1.1");
    for name in [
        "zerocloud_ready 1",
        "zerocloud_requests_total{service=\"node\"",
        "zerocloud_ring_turns_total",
        "zerocloud_shard_writable{shard=\"0\"} 1",
        "zerocloud_disk_available_bytes",
        "zerocloud_started_after_cut 0",
    ] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    assert!(node.request("GET /-/nothing HTTP/1.1").starts_with("HTTP/1.1 404"));
    assert!(node.request("POST /-/live HTTP/1.1").starts_with("HTTP/1.1 405"));
    node.stop();
}

#[test]
fn a_start_says_whether_the_run_before_was_cut() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let says = |node: &Node, text: &str| node.request("GET /-/metrics HTTP/1.1").contains(text);
    drop(Node::start(&data, &[])); // killed
    let node = Node::start(&data, &[]);
    assert!(says(&node, "\nzerocloud_started_after_cut 1\n"));
    assert!(node.stop().contains("did not end by itself"));
    let node = Node::start(&data, &[]);
    assert!(says(&node, "\nzerocloud_started_after_cut 0\n"));
    assert!(!node.stop().contains("did not end by itself"));
    // A start that is refused when the directory is its own already says nothing of a run.
    let set_mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(data.join("credentials"), permissions).expect("chmod");
    };
    set_mode(0o644);
    let refused = run(zerocloud().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data));
    assert_eq!(refused.status.code(), Some(78), "{}", text(&refused.stderr));
    set_mode(0o600);
    let node = Node::start(&data, &[]);
    assert!(says(&node, "\nzerocloud_started_after_cut 0\n"));
    node.stop();
}

#[test]
fn a_proxied_stranger_sees_neither_reasons_nor_metrics() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let metrics = node.request("GET /-/metrics HTTP/1.1\r\nX-Forwarded-For: 192.0.2.7");
    assert!(metrics.starts_with("HTTP/1.1 403"), "{metrics}");
    let ready = node.request("GET /-/ready HTTP/1.1\r\nX-Forwarded-For: 192.0.2.7");
    assert!(ready.starts_with("HTTP/1.1 200") && !ready.contains("shards"), "{ready}");
    node.stop();
}

#[test]
fn a_request_that_is_signed_wrongly_is_refused_with_a_code_and_no_trace_in_the_log() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &["--log", "debug"]);
    let date = "X-Amz-Date: 20260101T000000Z\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD";
    let signed = format!(
        "GET /bucket/key HTTP/1.1\r\n{date}\r\nAuthorization: AWS4-HMAC-SHA256 Credential=NOBODY/20260101/us-east-1/s3/aws4_request, \
         SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={}",
        "ab".repeat(32)
    );
    let reply = node.request(&signed);
    assert!(reply.starts_with("HTTP/1.1 403"), "{reply}");
    assert!(reply.contains("<Error>") && reply.contains("<RequestId>"), "{reply}");
    let log = node.stop();
    assert!(!log.contains("abababab"), "{log}");
}

#[test]
fn a_service_that_is_not_built_answers_in_its_own_dialect() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let reply = node.request("POST / HTTP/1.1\r\nX-Amz-Target: TrentService.ListKeys\r\nContent-Length: 0");
    assert!(reply.starts_with("HTTP/1.1 501") && reply.contains("\"__type\""), "{reply}");
    node.stop();
}

#[test]
fn a_message_that_is_no_request_is_refused_as_an_error_document() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let reply = node.raw(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n");
    assert!(reply.starts_with("HTTP/1.1 400") && reply.contains("x-amz-request-id"), "{reply}");
    node.stop();
}

#[test]
fn a_directory_in_use_is_refused_with_75_and_the_holder() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let node = Node::start(&data, &[]);
    let second = run(zerocloud().args(["--listen", "127.0.0.1:0", "--data"]).arg(&data));
    assert_eq!(second.status.code(), Some(75));
    let message = text(&second.stderr);
    let last = message.lines().last().expect("a message");
    assert!(last.starts_with("zerocloud: ") && last.contains(&node.child.id().to_string()), "{message}");
    node.stop();
}

#[test]
fn a_port_in_use_is_refused_with_75() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("one"), &[]);
    let second = run(zerocloud().args(["--listen", &node.addresses[0], "--data"]).arg(scratch.join("two")));
    assert_eq!(second.status.code(), Some(75));
    assert!(text(&second.stderr).contains("another process holds the port"));
    node.stop();
}

#[test]
fn a_directory_with_other_things_in_it_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    scratch.write("diary.txt", "mine", 0o644);
    let output = run(zerocloud().args(["--listen", "127.0.0.1:0", "--data"]).arg(&scratch.0));
    assert_eq!(output.status.code(), Some(70));
    assert!(text(&output.stderr).contains("is not a zerocloud data directory"), "{}", text(&output.stderr));
    assert_eq!(std::fs::read_dir(&scratch.0).expect("list").count(), 1);
}

#[test]
fn a_bad_configuration_is_refused_with_78_line_and_nearest_key() {
    let scratch = Scratch::new();
    let config =
        scratch.write("z.toml", "region = \"us-east-1\"\nlisten_on = []\n[s3]\nsigv2 = true\n", 0o600);
    let output = run(zerocloud().args(["serve", "--check", "--config"]).arg(&config));
    assert_eq!(output.status.code(), Some(78));
    let message = text(&output.stderr);
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.contains("z.toml:2: unknown key `listen_on`; did you mean `listen`?"), "{message}");
}

#[test]
fn check_says_yes_without_touching_anything() {
    let scratch = Scratch::new();
    let config = scratch.write("z.toml", "data = \"data\"\nlisten = [\"127.0.0.1:1\"]\n", 0o644);
    let output = run(zerocloud().args(["serve", "--check", "--config"]).arg(&config));
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    assert!(!scratch.join("data").exists());
}

#[test]
fn check_warns_of_what_has_no_effect() {
    let scratch = Scratch::new();
    let config = scratch.write("z.toml", "listen = [\"0.0.0.0:1\"]\n", 0o644);
    let mut check = zerocloud();
    check.args(["serve", "--check", "--config"]).arg(&config);
    let output = run(check.env("ZEROCLOUD_LISTN", "x").env("STORAGE_DRIVER", "s3"));
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stderr);
    for part in [
        "ZEROCLOUD_LISTN means nothing; did you mean ZEROCLOUD_LISTEN?",
        "STORAGE_DRIVER=\"s3\"",
        "without TLS",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[test]
fn a_file_with_a_secret_that_others_may_read_is_refused() {
    let scratch = Scratch::new();
    let account =
        "[[account]]\nid = \"111111111111\"\naccess_key = \"ALTKEY\"\nsecret_key = \"altsecretaltsecret\"\n";
    let config = scratch.write("z.toml", account, 0o644);
    let check = |config: &Path| run(zerocloud().args(["serve", "--check", "--config"]).arg(config));
    let output = check(&config);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("others may read it"), "{}", text(&output.stderr));
    let config = scratch.write("z.toml", account, 0o600);
    assert_eq!(check(&config).status.code(), Some(0));
}

#[test]
fn a_wrong_command_line_is_64_and_help_is_0() {
    assert_eq!(run(zerocloud().arg("--no-such-flag")).status.code(), Some(64));
    assert_eq!(run(zerocloud().args(["env", "--shell", "tcsh"])).status.code(), Some(64));
    let help = run(zerocloud().arg("--help"));
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("Examples:"));
    let version = text(&run(zerocloud().arg("--version")).stdout);
    assert!(version.contains("on-disk format 1") && version.contains("commit "), "{version}");
}

#[test]
fn env_prints_the_lines_for_each_shell() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let missing = run(zerocloud().args(["env", "--data"]).arg(&data));
    assert_eq!(missing.status.code(), Some(78));
    let node = Node::start(&data, &[]);
    let url = format!("http://{}", node.addresses[0]);
    let secret = secret_of(&data);
    let print =
        |shell: &str| text(&run(zerocloud().args(["env", "--shell", shell, "--data"]).arg(&data)).stdout);
    assert!(print("sh").contains(&format!("export AWS_ENDPOINT_URL='{url}'\n")));
    assert!(print("sh").contains(&format!("export AWS_SECRET_ACCESS_KEY='{secret}'\n")));
    assert!(print("fish").contains(&format!("set -gx AWS_ENDPOINT_URL '{url}'\n")));
    assert!(print("powershell").contains(&format!("$Env:AWS_ENDPOINT_URL = '{url}'\n")));
    assert!(print("cmd").contains(&format!("set \"AWS_ENDPOINT_URL={url}\"\r\n")));
    for shell in ["sh", "fish", "powershell", "cmd"] {
        assert!(print(shell).contains("AWS_DEFAULT_REGION"), "{shell}");
    }
    let json = text(&run(zerocloud().args(["env", "--json", "--data"]).arg(&data)).stdout);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["AWS_ENDPOINT_URL"], url);
    node.stop();
}

#[test]
fn keys_from_the_environment_override_and_are_not_written() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let mut command = zerocloud();
    command.args(["--listen", "127.0.0.1:0", "--data"]).arg(&data);
    command
        .env("ZEROCLOUD_ROOT_ACCESS_KEY", "OPERATOR")
        .env("ZEROCLOUD_ROOT_SECRET_KEY", "operators-own-secret");
    let node = Node::spawn(command);
    assert!(!data.join("credentials").exists());
    assert!(!node.stop().contains("operators-own-secret"));
}

#[test]
fn sighup_reloads_the_log_level_and_names_what_needs_a_restart() {
    let scratch = Scratch::new();
    let config = scratch.write("z.toml", "[log]\nlevel = \"warn\"\n", 0o600);
    let config_text = config.to_str().expect("UTF-8").to_string();
    let node = Node::start(&scratch.join("data"), &["--config", &config_text]);
    let changed =
        "region = \"eu-west-1\"\n[log]\nlevel = \"info\"\naccess = true\n[limits]\nhead_bytes = 4096\n";
    scratch.write("z.toml", changed, 0o600);
    node.signal("HUP");
    // Each core has the new bounds in its own time, and the access log begins after they have been sent.
    let large = format!("GET /-/live?{} HTTP/1.1", "a".repeat(5_000));
    let is_refused = |reply: &str| reply.starts_with("HTTP/1.1 414") || reply.starts_with("HTTP/1.1 431");
    let begun = Instant::now();
    while !is_refused(&node.request(&large)) {
        assert!(begun.elapsed() < PATIENCE, "a large head is still taken");
        std::thread::sleep(Duration::from_millis(20));
    }
    while !node.errors().contains("configuration reloaded") {
        assert!(begun.elapsed() < PATIENCE, "the reload is not over");
        std::thread::sleep(Duration::from_millis(20));
    }
    node.request("GET /-/live HTTP/1.1");
    let log = node.stop();
    assert!(log.contains("\"keys\":\"region\""), "{log}");
    assert!(log.contains("configuration reloaded"), "{log}");
    assert!(log.contains("\"path\":\"/-/live\""), "{log}");
}

#[test]
fn the_access_log_shows_the_path_and_not_the_query() {
    let scratch = Scratch::new();
    let config = scratch.write("z.toml", "[log]\naccess = true\n", 0o600);
    let node = Node::start(&scratch.join("data"), &["--config", config.to_str().expect("UTF-8")]);
    let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=feedfacefeedface";
    node.request(&format!("GET /bucket/some-key?{query} HTTP/1.1"));
    let log = node.stop();
    assert!(log.contains("/bucket/some-key"), "{log}");
    assert!(!log.contains("feedface"), "{log}");
}

#[test]
fn the_epoll_backend_serves_too() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &["--backend", "epoll"]);
    assert!(node.request("GET /-/ready HTTP/1.1").contains("\"backend\":\"epoll\""));
    node.stop();
}

#[test]
fn verify_reads_a_fresh_directory_and_refuses_one_in_use() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let verify = || run(zerocloud().args(["verify", "--json", "--data"]).arg(&data));
    assert_eq!(verify().status.code(), Some(78), "not there");
    let node = Node::start(&data, &[]);
    assert_eq!(verify().status.code(), Some(75), "in use");
    node.stop();
    let output = verify();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["sound"], true);
}

#[test]
fn doctor_reports_as_json_and_its_exit_code_is_its_worst_grade() {
    let scratch = Scratch::new();
    let output = run(zerocloud().args(["doctor", "--json", "--data"]).arg(scratch.join("data")));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let worst = match report["grade"].as_str().expect("a grade") {
        "good" => 0,
        "warn" => 1,
        _ => 2,
    };
    assert_eq!(output.status.code(), Some(worst));
    let checks: Vec<&str> = report["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter_map(|one| one["check"].as_str())
        .collect();
    for check in [
        "kernel",
        "io_uring",
        "memlock",
        "descriptors",
        "file system",
        "direct I/O",
        "discard",
        "sync",
        "clock",
        "port",
        "space",
        "inodes",
        "cgroup",
    ] {
        assert!(checks.contains(&check), "{check} in {checks:?}");
    }
}

#[test]
fn licenses_are_printed() {
    let output = run(zerocloud().arg("licenses"));
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("Apache License"));
}
